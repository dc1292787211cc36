//! What a run has computed: models, weights, paths, metrics and the run directory.

use core::mem::offset_of;
use std::path::Path;

use walkforge::error::Result;
use walkforge::evaluate::MetricValue;
use walkforge::panel::days_of;
use walkforge::run::{Run, write_directory};
use walkforge_plugin_abi::{wf_error, wf_string};

use super::{Held, seen, wf_run};
use crate::guard::{Handle, fail, fill, guard, options, put, room, string, utf8, wanted};
use crate::panel::wf_panel;
use crate::windows::wf_windows;

/// Buffers for the out-of-sample path of a model, one entry a row; a null buffer is left out.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct wf_path {
    /// Size of this struct in bytes.
    pub struct_size: usize,
    /// Entries that each buffer has room for.
    pub capacity: usize,
    /// Rows of the panel.
    pub rows: *mut usize,
    /// Returns before costs; 0.01 is one percent.
    pub gross: *mut f64,
    /// Cost charged on that row, as a share of wealth.
    pub cost: *mut f64,
    /// Returns after costs.
    pub net: *mut f64,
    /// Half of the sum of |w - w before| of the trade that is first held on that row, a share of wealth; 0 without one.
    pub turnover: *mut f64,
}

/// Size of the first version of `wf_path`, whose last field this was.
const FIRST_PATH: usize = offset_of!(wf_path, turnover) + size_of::<*mut f64>();

fn model_at(run: &Run, model: usize) -> Result<usize> {
    let count = run.paths.len();
    if model >= count {
        fail!(InvalidArgument, "model {model} of a run with {count} models");
    }
    Ok(model)
}

/// The number of models: equal weight, which is number 0, and those of the experiment in its order.
///
/// # Safety
/// `run` is one of ours; `count` is writable, `error` null or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wf_run_model_count(run: *const wf_run, count: *mut usize, error: *mut *mut wf_error) -> i32 {
    guard(error, || {
        // SAFETY: as demanded of the caller.
        unsafe { seen(run, |run| put("count", count, run.paths.len())) }
    })
}

/// The name of a model; valid until the run is freed.
///
/// # Safety
/// `run` is one of ours; `name` is writable, `error` null or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wf_run_model_name(
    run: *const wf_run,
    model: usize,
    name: *mut wf_string,
    error: *mut *mut wf_error,
) -> i32 {
    guard(error, || {
        // SAFETY: as demanded of the caller.
        unsafe { seen(run, |run| put("name", name, string(&run.models[model_at(run, model)?].name))) }
    })
}

/// The panel of a run, as a handle of its own that the caller frees.
///
/// # Safety
/// `run` is one of ours; `panel` is writable, `error` null or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wf_run_panel(run: *const wf_run, panel: *mut *mut wf_panel, error: *mut *mut wf_error) -> i32 {
    guard(error, || {
        wanted("panel", panel)?;
        // SAFETY: as demanded of the caller.
        unsafe { seen(run, |run| put("panel", panel, Handle::give(run.panel.clone(), ()).cast())) }
    })
}

/// The windows of a run, as a handle of its own that the caller frees.
///
/// # Safety
/// `run` is one of ours; `windows` is writable, `error` null or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wf_run_windows(
    run: *const wf_run,
    windows: *mut *mut wf_windows,
    error: *mut *mut wf_error,
) -> i32 {
    guard(error, || {
        wanted("windows", windows)?;
        // SAFETY: as demanded of the caller.
        unsafe { seen(run, |run| put("windows", windows, Handle::give(run.windows.clone(), ()).cast())) }
    })
}

/// The target of a model that was decided at the close of `row`, constraints applied, `[assets]` in the order of the
/// data. `due` becomes 1 where a rebalance is due there, and 0 where none is, which leaves `weights` as it was.
/// `WF_E_NOT_READY` where the window that decides at `row` is still to be computed: step the run, and ask again. Weights
/// are shares of wealth; they are held from row `row + 1 + execution_lag` on.
///
/// # Safety
/// `run` is one of ours; `weights` has room for `capacity` values; `due` is writable, `error` null or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wf_run_weights(
    run: *const wf_run,
    model: usize,
    row: usize,
    weights: *mut f64,
    capacity: usize,
    due: *mut i32,
    error: *mut *mut wf_error,
) -> i32 {
    guard(error, || {
        wanted("due", due)?;
        // SAFETY: as demanded of the caller.
        unsafe {
            seen(run, |run| {
                let Some(target) = run.target(model_at(run, model)?, row)? else { return put("due", due, 0) };
                let order = run.panel.output_order();
                let ordered: Vec<f64> = order.iter().map(|&column| target.weights[column]).collect();
                fill("weights", weights, capacity, &ordered)?;
                put("due", due, 1)
            })
        }
    })
}

/// The number of out-of-sample rows that are computed so far, the same for every model.
///
/// # Safety
/// `run` is one of ours; `length` is writable, `error` null or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wf_run_path_length(run: *const wf_run, length: *mut usize, error: *mut *mut wf_error) -> i32 {
    guard(error, || {
        // SAFETY: as demanded of the caller.
        unsafe { seen(run, |run| put("length", length, run.paths[0].rows.len())) }
    })
}

/// Copies the out-of-sample path of a model, as far as it is computed, into the buffers of `path`.
///
/// # Safety
/// `run` is one of ours; `path` is as large as its size says, and each buffer that is not null has room for its
/// capacity; `error` is null or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wf_run_path(
    run: *const wf_run,
    model: usize,
    path: *const wf_path,
    error: *mut *mut wf_error,
) -> i32 {
    guard(error, || {
        wanted("path", path)?;
        let empty = wf_path {
            struct_size: size_of::<wf_path>(),
            capacity: 0,
            rows: core::ptr::null_mut(),
            gross: core::ptr::null_mut(),
            cost: core::ptr::null_mut(),
            net: core::ptr::null_mut(),
            turnover: core::ptr::null_mut(),
        };
        // SAFETY: as demanded of the caller; the capacity is checked before anything is written.
        unsafe {
            let path = options("path", path, FIRST_PATH, empty)?;
            seen(run, |run| {
                let found = &run.paths[model_at(run, model)?];
                let needed = found.rows.len();
                if path.capacity < needed {
                    fail!(BufferTooSmall, "'path.capacity' is {}; {needed} are needed", path.capacity);
                }
                let columns = [
                    ("path.gross", path.gross, &found.gross),
                    ("path.cost", path.cost, &found.cost),
                    ("path.net", path.net, &found.net),
                    ("path.turnover", path.turnover, &found.turnover),
                ];
                // All buffers are checked before one is written.
                let columns = columns.into_iter().filter(|(_, out, _)| !out.is_null());
                if !path.rows.is_null() {
                    room("path.rows", path.rows, path.capacity, needed)?;
                }
                for (name, out, _) in columns.clone() {
                    room(name, out, path.capacity, needed)?;
                }
                if !path.rows.is_null() {
                    fill("path.rows", path.rows, path.capacity, &found.rows)?;
                }
                for (name, out, values) in columns {
                    fill(name, out, path.capacity, values)?;
                }
                Ok(())
            })
        }
    })
}

/// A metric of a model's out-of-sample path, as far as it is computed, against equal weight; a date is given as days
/// since 1970-01-01. Names and definitions are those of `wf_metric_name` and `wf_metric_doc`. Undefined is NaN, and
/// `reason`, which may be null, then says why (valid for ever; else empty). `WF_E_INVALID_ARGUMENT` for another name.
///
/// # Safety
/// `run` is one of ours; `name` is text; `value` is writable, `reason` and `error` null or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wf_run_metric(
    run: *const wf_run,
    model: usize,
    name: wf_string,
    value: *mut f64,
    reason: *mut wf_string,
    error: *mut *mut wf_error,
) -> i32 {
    guard(error, || {
        wanted("value", value)?;
        // SAFETY: as demanded of the caller.
        unsafe {
            let name = utf8("name", name)?;
            seen(run, |run| {
                let (number, why) = match run.metric(model_at(run, model)?, name)? {
                    MetricValue::Number(number) => (number, ""),
                    MetricValue::Day(day) => (f64::from(days_of(day)), ""),
                    MetricValue::Undefined(why) => (f64::NAN, why),
                };
                if !reason.is_null() {
                    put("reason", reason, string(why))?;
                }
                put("value", value, number)
            })
        }
    })
}

/// Writes the run directory of a finished run: `weights.csv`, `returns.csv`, `report.html` and `run.json`.
/// `WF_E_NOT_READY` where windows are still to be computed; `WF_E_EXISTS` where `folder` holds something else; a folder
/// that holds this run already is left as it is. `WF_E_IO` where the system refuses to write; what is there then does not
/// look like a finished run.
///
/// # Safety
/// `run` is one of ours; `folder` is text; `error` is null or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wf_run_save(run: *const wf_run, folder: wf_string, error: *mut *mut wf_error) -> i32 {
    guard(error, || {
        // SAFETY: as demanded of the caller.
        unsafe {
            let folder = utf8("folder", folder)?;
            if folder.is_empty() {
                fail!(InvalidArgument, "'folder' is empty");
            }
            Handle::read(run.cast::<Handle<Held>>(), |held| {
                write_directory(&held.run, Path::new(folder), held.started.elapsed().as_secs_f64())
            })
        }
    })
}
