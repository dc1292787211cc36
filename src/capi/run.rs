//! `wf_run`: an experiment that the caller steps, and whose results it reads.

use core::mem::offset_of;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use walkforge_plugin_abi::{wf_error, wf_string};

use super::guard::{Handle, HandleType, answer, fill, guard, options, put, room, sized, string, utf8, wanted};
use super::panel::{read, wf_panel};
use super::runtime::{runtime_of, wf_runtime};
use super::windows::wf_windows;
use crate::error::{Code, Error, Result, fail};
use crate::evaluate::MetricValue;
use crate::experiment::Experiment;
use crate::panel::days_of;
use crate::run::{DEFAULT_DATES, Progress, Run, write_directory};

/// An experiment under way.
pub enum wf_run {}

/// The experiment is TOML.
pub const WF_TOML: i32 = 0;
/// The experiment is JSON with the same keys.
pub const WF_JSON: i32 = 1;

/// How far a run is.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct wf_progress {
    /// Size of this struct in bytes.
    pub struct_size: usize,
    /// Windows that are finished for every model.
    pub done: usize,
    /// Windows in all.
    pub windows: usize,
    /// 1 when nothing is left to do, else 0.
    pub finished: i32,
    /// Networks that are being trained, each on a window. The fields below tell of the one whose window comes first, and
    /// are 0 and NaN without one.
    pub training: usize,
    /// Its window.
    pub window: usize,
    /// Its model.
    pub model: usize,
    /// Epochs that are done.
    pub epoch: usize,
    /// Most epochs.
    pub max_epochs: usize,
    /// Mean loss of the batches of the last epoch; NaN before the first is done.
    pub loss: f64,
    /// Net Sharpe ratio of the last epoch on the validation span, a year; NaN where there is none.
    pub validation_sharpe: f64,
    /// Learning rate of the last epoch; NaN before the first is done.
    pub learning_rate: f64,
    /// Seconds that this training takes at most from here; NaN where that is unknown.
    pub seconds_left: f64,
    /// Samples that it goes through at a time.
    pub micro_batch: usize,
    /// Networks (seeds) of it that are trained at a time.
    pub stack: usize,
    /// 1 where what could be kept for the backward pass is computed again, to save memory, else 0.
    pub recompute: i32,
    /// Bytes that were planned for it before its first step.
    pub planned_bytes: usize,
    /// Most bytes that it held so far.
    pub measured_bytes: usize,
}

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

/// Size of the first version of `wf_progress`, whose last field this was.
const FIRST_PROGRESS: usize = offset_of!(wf_progress, finished) + size_of::<i32>();
/// Size of the first version of `wf_path`, whose last field this was.
const FIRST_PATH: usize = offset_of!(wf_path, turnover) + size_of::<*mut f64>();

/// A run and when it began, for the time that its directory states.
struct Held {
    run: Run,
    started: Instant,
}

impl HandleType for Held {
    const NAME: &'static str = "wf_run";
    /// The wish to cancel, which another thread than the stepping one may have.
    type Shared = Arc<AtomicBool>;
}

/// # Safety
/// `run` is null or one of ours that was not freed.
unsafe fn seen<R>(run: *const wf_run, body: impl FnOnce(&Run) -> Result<R>) -> Result<R> {
    // SAFETY: as demanded of the caller.
    unsafe { Handle::read(run.cast::<Handle<Held>>(), |held| body(&held.run)) }
}

/// # Safety
/// `out` is null or starts with its size and is as large as it says.
unsafe fn tell(run: &Run, out: *mut wf_progress) -> Result<()> {
    let Progress { done, windows } = run.progress();
    let learning = run.training();
    let first = learning.first();
    let last = first.and_then(|first| first.last);
    let told = wf_progress {
        struct_size: size_of::<wf_progress>(),
        done,
        windows,
        finished: i32::from(done == windows),
        training: learning.len(),
        window: first.map_or(0, |first| first.window),
        model: first.map_or(0, |first| first.model),
        epoch: first.map_or(0, |first| first.epochs),
        max_epochs: first.map_or(0, |first| first.max_epochs as usize),
        loss: last.map_or(f64::NAN, |last| last.loss),
        validation_sharpe: last.and_then(|last| last.validation).unwrap_or(f64::NAN),
        learning_rate: last.map_or(f64::NAN, |last| last.learning_rate),
        seconds_left: first.and_then(|first| first.seconds_left).unwrap_or(f64::NAN),
        micro_batch: first.map_or(0, |first| first.memory.micro_batch),
        stack: first.map_or(0, |first| first.memory.stack),
        recompute: first.map_or(0, |first| i32::from(first.memory.recompute)),
        planned_bytes: first.map_or(0, |first| first.memory.bytes),
        measured_bytes: first.map_or(0, |first| first.measured_bytes),
    };
    // SAFETY: as demanded of the caller.
    unsafe { answer("progress", out, FIRST_PROGRESS, &told) }
}

fn model_at(run: &Run, model: usize) -> Result<usize> {
    let count = run.paths.len();
    if model >= count {
        fail!(InvalidArgument, "model {model} of a run with {count} models");
    }
    Ok(model)
}

/// Prepares a run: settings checked, plugins loaded, windows cut. Nothing is computed yet. `format` is `WF_TOML` or
/// `WF_JSON`; paths in the experiment are relative to `folder` (empty: the current one). With a `panel`, which is copied,
/// the experiment has no `[data]`; with null the file is read that it names. The handle is the caller's, freed with
/// `wf_run_free`; runtime and panel may be freed before it. `WF_E_INVALID_SETTING` that names the setting, and what reading
/// data and loading plugins give.
///
/// # Safety
/// `runtime` is one of ours; `panel` is null or one of ours; texts are text; `run` is writable, `error` null or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wf_run_new(
    runtime: *const wf_runtime,
    experiment: wf_string,
    format: i32,
    folder: wf_string,
    panel: *const wf_panel,
    run: *mut *mut wf_run,
    error: *mut *mut wf_error,
) -> i32 {
    guard(error, || {
        wanted("run", run)?;
        // SAFETY: as demanded of the caller.
        let (runtime, text, folder) =
            unsafe { (runtime_of(runtime)?, utf8("experiment", experiment)?, utf8("folder", folder)?) };
        let folder = PathBuf::from(folder);
        let experiment = match format {
            WF_TOML => Experiment::from_toml(text, folder, &[])?,
            WF_JSON => {
                let tree = serde_json::from_str(text).map_err(|error| {
                    Error::new(Code::InvalidSetting, format!("the experiment is not JSON: {error}"))
                })?;
                Experiment::from_json(&tree, folder)?
            }
            _ => fail!(InvalidArgument, "'format' is {format}; allowed are WF_TOML (0) and WF_JSON (1)"),
        };
        let data = if panel.is_null() {
            experiment.panel()?
        } else {
            if experiment.names_data() {
                fail!(InvalidSetting, "section 'data' is given beside a panel; leave out one of the two");
            }
            // SAFETY: as demanded of the caller.
            unsafe { read(panel, |panel| Ok(panel.clone()))? }
        };
        // SAFETY: as demanded of the caller.
        unsafe { give(Run::new(experiment, data, &runtime)?, run) }
    })
}

/// The same from an experiment file (TOML); data paths are relative to it.
///
/// # Safety
/// As for `wf_run_new`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wf_run_read(
    runtime: *const wf_runtime,
    file: wf_string,
    run: *mut *mut wf_run,
    error: *mut *mut wf_error,
) -> i32 {
    guard(error, || {
        wanted("run", run)?;
        // SAFETY: as demanded of the caller.
        let (runtime, file) = unsafe { (runtime_of(runtime)?, utf8("file", file)?) };
        let experiment = Experiment::from_file(Path::new(file), &[])?;
        let panel = experiment.panel()?;
        // SAFETY: as demanded of the caller.
        unsafe { give(Run::new(experiment, panel, &runtime)?, run) }
    })
}

/// # Safety
/// `out` is null or writable.
unsafe fn give(run: Run, out: *mut *mut wf_run) -> Result<()> {
    let cancel = run.cancel_flag();
    // SAFETY: as demanded of the caller.
    unsafe { put("run", out, Handle::give(Held { run, started: Instant::now() }, cancel).cast()) }
}

/// Goes on with the next windows, one a thread, and says how far the run is; `progress` may be null. A step takes a model
/// that trains itself through a whole window, and a network through one epoch; a window counts as done once every model is
/// through it. On an error what the step had not finished is tried again by the next one. A finished run does nothing.
/// Errors name model, window and date: `WF_E_PLUGIN` for what a plugin did, `WF_E_INVALID_DATA` for data that it cannot use, `WF_E_INFEASIBLE` where
/// no portfolio keeps the constraints, `WF_E_CANCELLED` after `wf_run_cancel`.
///
/// # Safety
/// `run` is one of ours; `progress` is null or as large as its size says, `error` null or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wf_run_step(run: *mut wf_run, progress: *mut wf_progress, error: *mut *mut wf_error) -> i32 {
    guard(error, || {
        // SAFETY: as demanded of the caller. The struct is checked before the work, so that a bad one costs nothing.
        unsafe {
            if !progress.is_null() {
                sized("progress", progress, FIRST_PROGRESS)?;
            }
            Handle::change(run.cast::<Handle<Held>>(), |held| {
                held.run.step()?;
                if progress.is_null() { Ok(()) } else { tell(&held.run, progress) }
            })
        }
    })
}

/// How far the run is.
///
/// # Safety
/// `run` is one of ours; `progress` is as large as its size says, `error` null or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wf_run_progress(
    run: *const wf_run,
    progress: *mut wf_progress,
    error: *mut *mut wf_error,
) -> i32 {
    guard(error, || {
        // SAFETY: as demanded of the caller.
        unsafe { seen(run, |run| tell(run, progress)) }
    })
}

/// Makes the step that is under way, or the next one, return `WF_E_CANCELLED`; further steps go on with the run. May be
/// called by any thread, also while another one steps.
///
/// # Safety
/// `run` is one of ours; `error` is null or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wf_run_cancel(run: *const wf_run, error: *mut *mut wf_error) -> i32 {
    guard(error, || {
        // SAFETY: as demanded of the caller.
        unsafe { Handle::shared(run.cast::<Handle<Held>>())? }.store(true, Ordering::Relaxed);
        Ok(())
    })
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

/// Frees a run; null is accepted.
///
/// # Safety
/// `run` is null or one of ours, not used again.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wf_run_free(run: *mut wf_run) {
    // SAFETY: as demanded of the caller.
    unsafe { Handle::free(run.cast::<Handle<Held>>()) };
}
