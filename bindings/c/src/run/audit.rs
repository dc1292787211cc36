//! The look-ahead audit of a run.

use core::mem::offset_of;

use walkforge::panel::days_of;
use walkforge::run::DEFAULT_DATES;
use walkforge_plugin_abi::{wf_error, wf_string};

use super::{seen, wf_run};
use crate::guard::{answer, guard, sized, string, wanted};

/// What a look-ahead audit found.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct wf_audit {
    /// Size of this struct in bytes.
    pub struct_size: usize,
    /// Dates at which the data were cut.
    pub dates: usize,
    /// Decisions that were compared.
    pub compared: usize,
    /// 1 where a weight moved, else 0; the fields below then say which one first, and are 0 else.
    pub moved: i32,
    /// The date of its decision, days since 1970-01-01.
    pub date: i32,
    /// The row of its decision.
    pub row: usize,
    /// The window.
    pub window: usize,
    /// The model.
    pub model: usize,
    /// The last date that was left as it was, days since 1970-01-01.
    pub changed_after: i32,
    /// What was done: `altered`, `removed`, or `order` where the windows were walked in reverse. Valid for ever.
    pub change: wf_string,
    /// Largest |difference| of a weight; infinite where no weights came at all.
    pub difference: f64,
}

/// Size of the first version of `wf_audit`, whose last field this was.
const FIRST_AUDIT: usize = offset_of!(wf_audit, difference) + size_of::<f64>();

/// Changes the future at up to `dates` dates (0 for as many as the command line takes) and compares every decision up
/// to each: no weight may move. The run needs no step before, and its results stay as they are. That a weight moved is
/// told in `audit`, not by the code. `wf_run_cancel` stops it.
///
/// # Safety
/// `run` is one of ours; `audit` is as large as its size says, `error` null or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wf_run_audit(
    run: *const wf_run,
    dates: usize,
    audit: *mut wf_audit,
    error: *mut *mut wf_error,
) -> i32 {
    guard(error, || {
        wanted("audit", audit)?;
        let mut told = wf_audit {
            struct_size: size_of::<wf_audit>(),
            dates: 0,
            compared: 0,
            moved: 0,
            date: 0,
            row: 0,
            window: 0,
            model: 0,
            changed_after: 0,
            change: string(""),
            difference: 0.0,
        };
        // SAFETY: as demanded of the caller. The struct is checked before the work, so that a bad one costs nothing.
        unsafe {
            sized("audit", audit, FIRST_AUDIT)?;
            seen(run, |run| {
                let found = run.audit(if dates == 0 { DEFAULT_DATES } else { dates })?;
                (told.dates, told.compared) = (found.dates, found.compared);
                if let Some(moved) = &found.moved {
                    told.moved = 1;
                    (told.date, told.row) = (days_of(moved.date), moved.row);
                    (told.window, told.model) = (moved.window, moved.model);
                    (told.changed_after, told.change) = (days_of(moved.after), string(moved.change));
                    told.difference = moved.difference;
                }
                answer("audit", audit, FIRST_AUDIT, &told)
            })
        }
    })
}
