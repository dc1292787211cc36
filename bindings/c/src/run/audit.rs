//! The look-ahead audit of a run.

use core::mem::offset_of;

use walkforge::days_of;
use walkforge::internals::run::DEFAULT_DATES;
use walkforge_plugin_abi::{wf_error, wf_string};

use super::{wf_run, with_run};
use crate::guard::{check_pointer, guard, string, struct_size, write_struct};

/// The result of a look-ahead audit.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct wf_audit {
    /// Size of this struct in bytes.
    pub struct_size: usize,
    /// Number of dates after which the data were changed.
    pub dates: usize,
    /// Number of decisions that were compared.
    pub compared: usize,
    /// 1 if a weight differs, else 0. The fields below describe the first decision that differs, and are 0 without one.
    pub moved: i32,
    /// Date of the decision, as days since 1970-01-01.
    pub date: i32,
    /// Row of the decision.
    pub row: usize,
    /// Index of the window.
    pub window: usize,
    /// Index of the model.
    pub model: usize,
    /// The last date whose data were not changed, as days since 1970-01-01.
    pub changed_after: i32,
    /// What was done to later data: `altered`, `removed`, or `order` if the windows were run in reverse order. Valid
    /// forever.
    pub change: wf_string,
    /// Largest absolute difference of a weight; infinite if there is no decision to compare with.
    pub difference: f64,
}

/// Size of the first version of `wf_audit`, which ended with this field.
const FIRST_AUDIT: usize = offset_of!(wf_audit, difference) + size_of::<f64>();

/// Checks for look-ahead: changes the data after up to `dates` dates (0 for the default of the command line) and
/// compares all decisions up to each date, whose weights must not differ. A look-ahead is reported in `audit`; the
/// function still returns `WF_OK`. The run need not be stepped before, and its results stay unchanged. `wf_run_cancel`
/// cancels the audit.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wf_run_audit(
    run: *const wf_run,
    dates: usize,
    audit: *mut wf_audit,
    error: *mut *mut wf_error,
) -> i32 {
    guard(error, || {
        check_pointer("audit", audit)?;
        let mut result = wf_audit {
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
        // SAFETY: the contract of the C ABI. The struct is checked first, so that no work is lost.
        unsafe {
            struct_size("audit", audit, FIRST_AUDIT)?;
            with_run(run, |run| {
                let found = run.audit(if dates == 0 { DEFAULT_DATES } else { dates })?;
                (result.dates, result.compared) = (found.dates, found.compared);
                if let Some(moved) = &found.moved {
                    result.moved = 1;
                    (result.date, result.row) = (days_of(moved.date), moved.row);
                    (result.window, result.model) = (moved.window, moved.model);
                    (result.changed_after, result.change) = (days_of(moved.after), string(moved.change));
                    result.difference = moved.difference;
                }
                write_struct("audit", audit, FIRST_AUDIT, &result)
            })
        }
    })
}
