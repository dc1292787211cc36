//! The results of a run: models, weights, paths, metrics and the run directory.

use core::mem::offset_of;
use std::path::Path;

use walkforge::internals::run::write_directory;
use walkforge::{MetricValue, Result, Run, days_of};
use walkforge_plugin_abi::{wf_error, wf_string};

use super::{TimedRun, wf_run, with_run};
use crate::guard::{Handle, check_capacity, check_pointer, copy_out, fail, guard, put, read_struct, string, utf8};
use crate::panel::wf_panel;
use crate::windows::wf_windows;

/// Buffers for the out-of-sample path of a model, one element per row. Null buffers are skipped.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct wf_path {
    /// Size of this struct in bytes.
    pub struct_size: usize,
    /// Number of elements of each buffer.
    pub capacity: usize,
    /// Rows in the panel.
    pub rows: *mut usize,
    /// Returns before costs; 0.01 is 1 %.
    pub gross: *mut f64,
    /// Transaction costs as a fraction of wealth.
    pub cost: *mut f64,
    /// Returns after costs.
    pub net: *mut f64,
    /// Turnover of the trade whose weights are first held on this row, 0 without one: half the sum of the absolute
    /// changes of weights.
    pub turnover: *mut f64,
}

/// Size of the first version of `wf_path`, which ended with this field.
const FIRST_PATH: usize = offset_of!(wf_path, turnover) + size_of::<*mut f64>();

fn model_at(run: &Run, model: usize) -> Result<usize> {
    let count = run.paths.len();
    if model >= count {
        fail!(InvalidArgument, "model {model} is out of range: the run has {count} models");
    }
    Ok(model)
}

/// Gets the number of models: the benchmark, which has index 0, and the models of the experiment in its order.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wf_run_model_count(run: *const wf_run, count: *mut usize, error: *mut *mut wf_error) -> i32 {
    guard(error, || {
        // SAFETY: the contract of the C ABI.
        unsafe { with_run(run, |run| put("count", count, run.paths.len())) }
    })
}

/// Gets the name of a model by index. Valid until the run is freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wf_run_model_name(
    run: *const wf_run,
    model: usize,
    name: *mut wf_string,
    error: *mut *mut wf_error,
) -> i32 {
    guard(error, || {
        // SAFETY: the contract of the C ABI.
        unsafe { with_run(run, |run| put("name", name, string(&run.models[model_at(run, model)?].name))) }
    })
}

/// Gets the panel of a run as a new handle, which the caller frees with `wf_panel_free`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wf_run_panel(run: *const wf_run, panel: *mut *mut wf_panel, error: *mut *mut wf_error) -> i32 {
    guard(error, || {
        check_pointer("panel", panel)?;
        // SAFETY: the contract of the C ABI.
        unsafe { with_run(run, |run| put("panel", panel, Handle::into_raw(run.panel.clone(), ()).cast())) }
    })
}

/// Gets the windows of a run as a new handle, which the caller frees with `wf_windows_free`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wf_run_windows(
    run: *const wf_run,
    windows: *mut *mut wf_windows,
    error: *mut *mut wf_error,
) -> i32 {
    guard(error, || {
        check_pointer("windows", windows)?;
        // SAFETY: the contract of the C ABI.
        unsafe { with_run(run, |run| put("windows", windows, Handle::into_raw(run.windows.clone(), ()).cast())) }
    })
}

/// Gets the target weights, `[assets]`, that a model decided at the close of `row`, with constraints applied, as
/// fractions of wealth. They are held from row `row + 1 + execution_lag` on. `due` becomes 1 if a rebalance is due at
/// `row`, else 0; then `weights` is left unchanged.
///
/// Errors: `WF_E_NOT_READY` if the window that decides at `row` is not computed yet: step the run and call again;
/// `WF_E_INFEASIBLE` if the path of the model ended before, as its choice left no portfolio within the constraints.
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
        check_pointer("due", due)?;
        // SAFETY: the contract of the C ABI.
        unsafe {
            with_run(run, |run| {
                let Some(target) = run.target(model_at(run, model)?, row)? else { return put("due", due, 0) };
                let order = run.panel.output_order();
                let ordered: Vec<f64> = order.iter().map(|&column| target.weights[column]).collect();
                copy_out("weights", weights, capacity, &ordered)?;
                put("due", due, 1)
            })
        }
    })
}

/// Gets the number of out-of-sample rows that are computed so far; it is the same for all models.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wf_run_path_length(run: *const wf_run, length: *mut usize, error: *mut *mut wf_error) -> i32 {
    guard(error, || {
        // SAFETY: the contract of the C ABI.
        unsafe { with_run(run, |run| put("length", length, run.paths[0].rows.len())) }
    })
}

/// Copies the out-of-sample path of a model, as far as it is computed, to the buffers of `path`.
///
/// Errors: `WF_E_BUFFER_TOO_SMALL` if `path->capacity` is less than the number of rows, `wf_run_path_length`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wf_run_path(
    run: *const wf_run,
    model: usize,
    path: *const wf_path,
    error: *mut *mut wf_error,
) -> i32 {
    guard(error, || {
        check_pointer("path", path)?;
        let empty = wf_path {
            struct_size: size_of::<wf_path>(),
            capacity: 0,
            rows: core::ptr::null_mut(),
            gross: core::ptr::null_mut(),
            cost: core::ptr::null_mut(),
            net: core::ptr::null_mut(),
            turnover: core::ptr::null_mut(),
        };
        // SAFETY: the contract of the C ABI.
        unsafe {
            let path = read_struct("path", path, FIRST_PATH, empty)?;
            with_run(run, |run| {
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
                // All buffers are checked before any of them is written.
                let columns = columns.into_iter().filter(|(_, out, _)| !out.is_null());
                if !path.rows.is_null() {
                    check_capacity("path.rows", path.rows, path.capacity, needed)?;
                }
                for (name, out, _) in columns.clone() {
                    check_capacity(name, out, path.capacity, needed)?;
                }
                if !path.rows.is_null() {
                    copy_out("path.rows", path.rows, path.capacity, &found.rows)?;
                }
                for (name, out, values) in columns {
                    copy_out(name, out, path.capacity, values)?;
                }
                Ok(())
            })
        }
    })
}

/// Computes a metric of a model's out-of-sample path, as far as it is computed.
/// Names and definitions are those of `wf_metric_name` and `wf_metric_doc`; dates are days since 1970-01-01. If the
/// metric is undefined, `value` is NaN and `reason`, which may be null, says why; else `reason` is empty. Reasons are
/// valid forever.
///
/// Errors: `WF_E_INVALID_ARGUMENT` for an unknown name.
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
        check_pointer("value", value)?;
        // SAFETY: the contract of the C ABI.
        unsafe {
            let name = utf8("name", name)?;
            with_run(run, |run| {
                let (number, undefined) = match run.metric(model_at(run, model)?, name)? {
                    MetricValue::Number(number) => (number, ""),
                    MetricValue::Day(day) => (f64::from(days_of(day)), ""),
                    MetricValue::Undefined(why) => (f64::NAN, why),
                };
                if !reason.is_null() {
                    put("reason", reason, string(undefined))?;
                }
                put("value", value, number)
            })
        }
    })
}

/// Writes the run directory of a finished run: `weights.csv`, `returns.csv`, `report.html` and `run.json`. A directory
/// that already holds this run is left unchanged.
///
/// Errors: `WF_E_NOT_READY` if the run is not finished; `WF_E_EXISTS` if `folder` holds anything else; `WF_E_IO` if a
/// file cannot be written, in which case the directory is not recognised as a finished run.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wf_run_save(run: *const wf_run, folder: wf_string, error: *mut *mut wf_error) -> i32 {
    guard(error, || {
        // SAFETY: the contract of the C ABI.
        unsafe {
            let folder = utf8("folder", folder)?;
            if folder.is_empty() {
                fail!(InvalidArgument, "'folder' is empty");
            }
            Handle::read(run.cast::<Handle<TimedRun>>(), |timed| {
                write_directory(&timed.run, Path::new(folder), timed.started.elapsed().as_secs_f64())
            })
        }
    })
}
