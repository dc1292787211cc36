//! `wf_run`: an experiment that the caller steps, and whose results it reads.

use core::mem::offset_of;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use walkforge::error::{Code, Error, Result};
use walkforge::experiment::Experiment;
use walkforge::run::{Progress, Run};
use walkforge_plugin_abi::{wf_error, wf_string};

use crate::guard::{Handle, HandleType, answer, fail, guard, put, sized, utf8, wanted};
use crate::panel::{read, wf_panel};
use crate::runtime::{runtime_of, wf_runtime};

mod audit;
mod results;

pub use audit::*;
pub use results::*;

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

/// Size of the first version of `wf_progress`, whose last field this was.
const FIRST_PROGRESS: usize = offset_of!(wf_progress, finished) + size_of::<i32>();

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

/// Frees a run; null is accepted.
///
/// # Safety
/// `run` is null or one of ours, not used again.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wf_run_free(run: *mut wf_run) {
    // SAFETY: as demanded of the caller.
    unsafe { Handle::free(run.cast::<Handle<Held>>()) };
}

#[cfg(test)]
mod tests {
    use std::mem::zeroed;
    use std::ptr::{null, null_mut};

    use super::{WF_TOML, wf_progress, wf_run_free, wf_run_new, wf_run_progress, wf_run_step};
    use crate::guard::string;
    use crate::runtime::{wf_runtime_free, wf_runtime_new, wf_runtime_register};

    const EXPERIMENT: &str = "
[windows]
train_months = 6
validation_months = 3
test_months = 3
step_months = 3
[train]
max_epochs = 4
batch_size = 16
accumulation_steps = 2
early_stop_epochs = 2
[[models]]
name = \"net\"
plugin = \"lstm\"
[models.settings]
hidden_size = 4
layers = 1
lookback = 10
dropout = 0.0
";

    #[test]
    fn progress_of_the_c_abi_tells_what_is_being_trained() {
        let prices = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/data/sp500_20_prices.csv");
        let experiment = format!("threads = 1\n[data]\nprices = \"{prices}\"\n{EXPERIMENT}");
        let (mut runtime, mut run) = (null_mut(), null_mut());
        let none = null_mut();
        // SAFETY: handles and structs are used as the functions demand, and freed once.
        unsafe {
            let mut progress: wf_progress = zeroed();
            progress.struct_size = size_of::<wf_progress>();
            assert_eq!(wf_runtime_new(null(), &raw mut runtime, none), 0);
            assert_eq!(
                wf_runtime_register(runtime, string("lstm"), Some(walkforge_lstm::wf_plugin_init_lstm), none),
                0
            );
            assert_eq!(wf_run_new(runtime, string(&experiment), WF_TOML, string(""), null(), &raw mut run, none), 0);
            wf_runtime_free(runtime);
            assert_eq!(wf_run_progress(run, &raw mut progress, none), 0);
            assert_eq!((progress.training, progress.epoch, progress.max_epochs), (0, 0, 0));
            for epoch in 1..4 {
                assert_eq!(wf_run_step(run, &raw mut progress, none), 0);
                assert_eq!((progress.done, progress.finished, progress.training), (0, 0, 1));
                assert_eq!((progress.window, progress.model), (0, 1));
                assert_eq!((progress.epoch, progress.max_epochs), (epoch, 4));
                assert!(progress.loss.is_finite() && progress.validation_sharpe.is_finite());
                assert!(progress.learning_rate == 1e-3 && progress.seconds_left > 0.0);
                assert_eq!((progress.micro_batch, progress.stack, progress.recompute), (32, 1, 0));
                assert!(progress.planned_bytes > 0 && progress.planned_bytes == progress.measured_bytes);
            }
            // The last epoch closes the window; the next step begins the one after it.
            assert_eq!(wf_run_step(run, &raw mut progress, none), 0);
            assert_eq!((progress.done, progress.training), (1, 0));
            assert!(progress.loss.is_nan() && progress.validation_sharpe.is_nan() && progress.learning_rate.is_nan());
            assert_eq!(wf_run_step(run, &raw mut progress, none), 0);
            assert_eq!((progress.done, progress.training, progress.window, progress.epoch), (1, 1, 1, 1));
            wf_run_free(run);
        }
    }
}
