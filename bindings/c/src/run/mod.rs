//! `wf_run`: an experiment that the caller advances step by step, and its results.

use core::mem::offset_of;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use walkforge::{Code, Error, Experiment, Progress, Result, Run};
use walkforge_plugin_abi::{wf_error, wf_string};

use crate::guard::{Handle, HandleType, check_pointer, fail, guard, put, struct_size, utf8, write_struct};
use crate::panel::{wf_panel, with_panel};
use crate::runtime::{runtime_of, wf_runtime};

mod audit;
mod results;

pub use audit::*;
pub use results::*;

/// A run of an experiment.
pub enum wf_run {}

/// The experiment is TOML.
pub const WF_TOML: i32 = 0;
/// The experiment is JSON with the same keys.
pub const WF_JSON: i32 = 1;

/// The progress of a run.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct wf_progress {
    /// Size of this struct in bytes.
    pub struct_size: usize,
    /// Number of windows that every model has completed.
    pub done: usize,
    /// Number of windows.
    pub windows: usize,
    /// 1 if the run is finished, else 0.
    pub finished: i32,
    /// Number of networks in training, one per model and window. The fields below describe the one in the first window;
    /// without one they are 0 or NaN.
    pub training: usize,
    /// Index of the window.
    pub window: usize,
    /// Index of the model.
    pub model: usize,
    /// Number of completed epochs.
    pub epoch: usize,
    /// Maximum number of epochs.
    pub max_epochs: usize,
    /// Mean loss over the batches of the last epoch; NaN before the first is complete.
    pub loss: f64,
    /// Annualised net Sharpe ratio on the validation span after the last epoch; NaN if undefined.
    pub validation_sharpe: f64,
    /// Learning rate of the last epoch; NaN before the first is complete.
    pub learning_rate: f64,
    /// Upper estimate of the remaining seconds of this training; NaN if unknown.
    pub seconds_left: f64,
    /// Number of samples per micro-batch.
    pub micro_batch: usize,
    /// Number of seeds that are trained together.
    pub stack: usize,
    /// 1 if activations are recomputed in the backward pass to save memory, else 0.
    pub recompute: i32,
    /// Bytes that were planned before the first step.
    pub planned_bytes: usize,
    /// Largest number of bytes held so far.
    pub measured_bytes: usize,
}

/// Size of the first version of `wf_progress`, which ended with this field.
const FIRST_PROGRESS: usize = offset_of!(wf_progress, finished) + size_of::<i32>();

/// A run and its start time, for the duration in its directory.
struct TimedRun {
    run: Run,
    started: Instant,
}

impl HandleType for TimedRun {
    const NAME: &'static str = "wf_run";
    /// The cancel flag, which any thread may set during a step.
    type Shared = Arc<AtomicBool>;
}

/// Lends the run of a handle to `body`.
///
/// # Safety
/// The handle contract of [`Handle::read`].
unsafe fn with_run<R>(run: *const wf_run, body: impl FnOnce(&Run) -> Result<R>) -> Result<R> {
    // SAFETY: the handle contract.
    unsafe { Handle::read(run.cast::<Handle<TimedRun>>(), |timed| body(&timed.run)) }
}

/// # Safety
/// The contract of the C ABI.
unsafe fn write_progress(run: &Run, out: *mut wf_progress) -> Result<()> {
    let Progress { done, windows } = run.progress();
    let training = run.training();
    let first = training.first();
    let last = first.and_then(|first| first.last);
    let progress = wf_progress {
        struct_size: size_of::<wf_progress>(),
        done,
        windows,
        finished: i32::from(done == windows),
        training: training.len(),
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
    // SAFETY: the contract of the C ABI.
    unsafe { write_struct("progress", out, FIRST_PROGRESS, &progress) }
}

/// Makes a run: checks the settings, loads the plugins and cuts the windows, and computes nothing yet. `experiment` is
/// the text of an experiment in the form `format`, `WF_TOML` or `WF_JSON`; paths in it are relative to `folder` (empty:
/// the working directory). The data come from `panel`, which is copied, or, if that is null, from the experiment's
/// section `data`; exactly one of the two must be given. The caller frees the handle with `wf_run_free`; the run keeps
/// working after runtime and panel are freed.
///
/// Errors: `WF_E_INVALID_ARGUMENT` for another `format`; `WF_E_INVALID_SETTING`, naming the setting; the errors of
/// `wf_panel_read` and `wf_plugin_load`.
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
        check_pointer("run", run)?;
        // SAFETY: the contract of the C ABI.
        let (runtime, text, folder) =
            unsafe { (runtime_of(runtime)?, utf8("experiment", experiment)?, utf8("folder", folder)?) };
        let folder = PathBuf::from(folder);
        let experiment = match format {
            WF_TOML => {
                let no_overrides = [];
                Experiment::from_toml(text, folder, &no_overrides)?
            }
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
                fail!(InvalidSetting, "section 'data' is given together with a panel; leave out one of the two");
            }
            // SAFETY: the contract of the C ABI.
            unsafe { with_panel(panel, |panel| Ok(panel.clone()))? }
        };
        // SAFETY: the contract of the C ABI.
        unsafe { put_run(Run::new(experiment, data, &runtime)?, run) }
    })
}

/// Makes a run from an experiment file (TOML), like `wf_run_new`. Paths in the experiment are relative to the file.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wf_run_read(
    runtime: *const wf_runtime,
    file: wf_string,
    run: *mut *mut wf_run,
    error: *mut *mut wf_error,
) -> i32 {
    guard(error, || {
        check_pointer("run", run)?;
        // SAFETY: the contract of the C ABI.
        let (runtime, file) = unsafe { (runtime_of(runtime)?, utf8("file", file)?) };
        let experiment = Experiment::from_file(Path::new(file), &[])?;
        let panel = experiment.panel()?;
        // SAFETY: the contract of the C ABI.
        unsafe { put_run(Run::new(experiment, panel, &runtime)?, run) }
    })
}

/// # Safety
/// `out` is null or writable.
unsafe fn put_run(run: Run, out: *mut *mut wf_run) -> Result<()> {
    let cancel = run.cancel_flag();
    // SAFETY: by the contract of this function.
    unsafe { put("run", out, Handle::into_raw(TimedRun { run, started: Instant::now() }, cancel).cast()) }
}

/// Advances the run: per thread, one window of an estimator or one epoch of a network. Writes the progress to
/// `progress`, which may be null. A window is done when every model has completed it. After an error the next step
/// repeats the work that was not completed. A step of a finished run does nothing.
///
/// Errors, naming model, window and date: `WF_E_PLUGIN` if a plugin failed; `WF_E_INVALID_DATA` for data that a model
/// cannot use; `WF_E_INFEASIBLE` if no portfolio satisfies the constraints; `WF_E_CANCELLED` after `wf_run_cancel`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wf_run_step(run: *mut wf_run, progress: *mut wf_progress, error: *mut *mut wf_error) -> i32 {
    guard(error, || {
        // SAFETY: the contract of the C ABI. The struct is checked first, so that no work is lost.
        unsafe {
            if !progress.is_null() {
                struct_size("progress", progress, FIRST_PROGRESS)?;
            }
            Handle::change(run.cast::<Handle<TimedRun>>(), |timed| {
                timed.run.step()?;
                if progress.is_null() { Ok(()) } else { write_progress(&timed.run, progress) }
            })
        }
    })
}

/// Gets the progress of the run.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wf_run_progress(
    run: *const wf_run,
    progress: *mut wf_progress,
    error: *mut *mut wf_error,
) -> i32 {
    guard(error, || {
        // SAFETY: the contract of the C ABI.
        unsafe { with_run(run, |run| write_progress(run, progress)) }
    })
}

/// Cancels the current step, or the next one if there is none: it returns `WF_E_CANCELLED`. Later steps continue the
/// run. May be called on any thread, also during a step.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wf_run_cancel(run: *const wf_run, error: *mut *mut wf_error) -> i32 {
    guard(error, || {
        // SAFETY: the contract of the C ABI.
        unsafe { Handle::shared(run.cast::<Handle<TimedRun>>())? }.store(true, Ordering::Relaxed);
        Ok(())
    })
}

/// Frees a run; null is accepted.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wf_run_free(run: *mut wf_run) {
    // SAFETY: the contract of the C ABI.
    unsafe { Handle::free(run.cast::<Handle<TimedRun>>()) };
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
    fn the_progress_describes_the_network_in_training() {
        let prices = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/data/sp500_20_prices.csv");
        let experiment = format!("threads = 1\n[data]\nprices = \"{prices}\"\n{EXPERIMENT}");
        let (mut runtime, mut run) = (null_mut(), null_mut());
        let none = null_mut();
        // SAFETY: handles and structs are valid for the calls, and each handle is freed once.
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
                assert!(progress.measured_bytes > 0 && progress.measured_bytes <= progress.planned_bytes);
            }
            // The last epoch completes the window; the next step starts the next window.
            assert_eq!(wf_run_step(run, &raw mut progress, none), 0);
            assert_eq!((progress.done, progress.training), (1, 0));
            assert!(progress.loss.is_nan() && progress.validation_sharpe.is_nan() && progress.learning_rate.is_nan());
            assert_eq!(wf_run_step(run, &raw mut progress, none), 0);
            assert_eq!((progress.done, progress.training, progress.window, progress.epoch), (1, 1, 1, 1));
            wf_run_free(run);
        }
    }
}
