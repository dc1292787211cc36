//! A hostile plugin that uses the Rust SDK, in the process of its host. Whatever it does (its setting `mode`), the
//! result is a clean error that names plugin, model, window and date, and the host keeps working.

use std::ffi::{c_char, c_void};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

use walkforge::{Code, Error, Experiment, Plugin, Run, Runtime, register};
use walkforge_plugin::abi::{wf_error, wf_host, wf_past, wf_plugin_api, wf_string};
use walkforge_plugin::{Context, Error as PluginError, Estimator, Past, Requirements, Settings, export_estimator};

use crate::common::panels::five_assets;
use crate::common::{hrp, search};

/// The payload of a panic that panics when it is dropped.
struct Spiteful;

impl Drop for Spiteful {
    fn drop(&mut self) {
        panic!("the payload of a panic was dropped");
    }
}

struct Hostile {
    mode: String,
}

impl Drop for Hostile {
    fn drop(&mut self) {
        assert_ne!(self.mode, "panic in drop", "on purpose");
    }
}

impl Estimator for Hostile {
    const DESCRIPTION: &'static str = r#"{"name": "hostile", "version": "1", "kind": "estimator", "doc": "does harm",
        "settings": [{"name": "mode", "type": "text", "default": "none", "doc": "what harm"}]}"#;

    fn create(settings: &Settings, _context: Context) -> Result<Self, PluginError> {
        let mode = settings.text("mode").unwrap_or_default().to_owned();
        match mode.as_str() {
            "panic in create" => panic!("on purpose"),
            "error in create" => Err(PluginError::setting("mode", &mode, "anything else")),
            _ => Ok(Self { mode }),
        }
    }

    fn requirements(&self) -> Requirements {
        let (lookback, min_history) = match self.mode.as_str() {
            "panic in requirements" => panic!("on purpose"),
            "lookback of 0" => (0, 0),
            "more history than lookback" => (10, 11),
            "all history there is" => (usize::MAX, 1),
            "more history than there is" => (usize::MAX, usize::MAX),
            _ => (20, 10),
        };
        Requirements { lookback, min_history }
    }

    fn fit(&mut self, _train: &Past, _validation: Option<&Past>) -> Result<(), PluginError> {
        assert_ne!(self.mode, "panic in fit", "on purpose");
        if self.mode == "error in fit" { Err(PluginError::data("these data will not do")) } else { Ok(()) }
    }

    fn weights(&self, past: &Past, out: &mut [f64]) -> Result<(), PluginError> {
        let count = out.len() as f64;
        match self.mode.as_str() {
            "writes nothing" => return Ok(()),
            "panic in weights" => panic!("on purpose"),
            "panic with a number" => std::panic::panic_any(7),
            "panic with a spiteful payload" => std::panic::panic_any(Spiteful),
            "empty message" => return Err(PluginError::new("")),
            "huge message" => return Err(PluginError::new("0123456789".repeat(1_000_000))),
            "a code that is none" => return Err(PluginError { code: 4711, message: "what".to_owned() }),
            "a code of success" => return Err(PluginError { code: 0, message: "it failed".to_owned() }),
            "a slice too far" => out.copy_from_slice(&past.returns[..=past.names.len()]),
            _ => (),
        }
        out.fill(1.0 / count);
        match self.mode.as_str() {
            "not a number" => out[1] = f64::NAN,
            "infinite" => out[2] = f64::INFINITY,
            "wrong sum" => out[0] += 0.001,
            "sums to nothing" => out.fill(0.0),
            "short" => (out[0], out[1]) = (out[0] + 2.0, out[1] - 2.0),
            _ => (),
        }
        Ok(())
    }
}

export_estimator!(wf_plugin_init_hostile, Hostile);

/// The host's table and the SDK's `weights`, for modes that the SDK cannot express.
static HOST: OnceLock<usize> = OnceLock::new();
static SAFE: OnceLock<Weights> = OnceLock::new();
/// Where the panel of a run keeps a value, for the mode that writes there.
static LENT_TO_NOBODY: AtomicUsize = AtomicUsize::new(0);
type Weights = unsafe extern "C" fn(*const c_void, *const wf_past, *mut f64, usize, *mut *mut wf_error) -> i32;

fn string(bytes: &[u8]) -> wf_string {
    wf_string { data: bytes.as_ptr().cast::<c_char>(), length: bytes.len() }
}

unsafe extern "C" fn raw_weights(
    model: *const c_void,
    past: *const wf_past,
    out: *mut f64,
    capacity: usize,
    error: *mut *mut wf_error,
) -> i32 {
    // SAFETY: the model is of the SDK's type; the host's table lives as long as the process; `error` is the host's.
    unsafe {
        let host = &*(*HOST.get().unwrap() as *const wf_host);
        let mode = &(*model.cast::<Hostile>()).mode;
        let causes = match mode.as_str() {
            "a long chain of causes" => 100_000,
            "a message of no letters" => 0,
            "writes to the panel" => {
                let cell = LENT_TO_NOBODY.load(Ordering::Relaxed) as *mut f64;
                cell.write_volatile(cell.read_volatile() + 0.01);
                return SAFE.get().unwrap()(model, past, out, capacity, error);
            }
            _ => return SAFE.get().unwrap()(model, past, out, capacity, error),
        };
        let mut last = (host.error_new)(6, string(b"the \xff\xfe root"), std::ptr::null_mut());
        for _ in 0..causes {
            last = (host.error_new)(6, string(b"because"), last);
        }
        *error = last;
        6
    }
}

unsafe extern "C" fn raw_init(host: *const wf_host, out: *mut wf_plugin_api, error: *mut *mut wf_error) -> i32 {
    // SAFETY: the arguments are passed on unchanged.
    unsafe {
        let status = wf_plugin_init_hostile(host, out, error);
        HOST.get_or_init(|| host as usize);
        if let Some(weights) = (*out).weights {
            SAFE.get_or_init(|| weights);
            (*out).weights = Some(raw_weights);
        }
        status
    }
}

/// Prepares an experiment with the plugin in a mode and an honest model.
fn prepare(mode: &str) -> Result<Run, Error> {
    let experiment = format!(
        "[windows]\ntrain_months = 12\nvalidation_months = 3\ntest_months = 3\nstep_months = 3\n\
         [[models]]\nname = \"honest\"\nplugin = \"hrp\"\nsettings = {{ lookback = 60 }}\n\
         [[models]]\nname = \"m\"\nplugin = \"hostile\"\nsettings = {{ mode = \"{mode}\" }}\n"
    );
    let experiment = Experiment::from_toml(&experiment, "".into(), &[]).unwrap();
    // SAFETY: the function is the plugin's entry.
    let hostile = unsafe { register(raw_init, "hostile") }.unwrap();
    let search = search([("hostile", hostile), ("hrp", hrp())]);
    Run::new(experiment, five_assets(), &Runtime::new(search, 2).unwrap())
}

/// Runs an experiment with the plugin in a mode and an honest model; also returns the first error of a step.
///
/// # Errors
/// Of preparing the run.
fn run(mode: &str) -> Result<(Run, Option<Error>), Error> {
    let mut run = prepare(mode)?;
    while run.progress().done < run.windows.len() {
        if let Err(error) = run.step() {
            return Ok((run, Some(error)));
        }
    }
    Ok((run, None))
}

const MODEL: &str = "model 'm': ";
const DECISION: &str = "model 'm', window 0: the decision of 2018-01-31: ";
const TRAINED: &str = "model 'm', window 0: the model trained from 2018-01-01: ";

#[test]
fn a_run_whose_data_a_plugin_wrote_to_fails_and_stays_failed() {
    let mut run = prepare("writes to the panel").unwrap();
    // The last return of the data: no model has seen it before the last window.
    let last = run.panel.dates().len() - 1;
    LENT_TO_NOBODY.store(run.panel.returns(last).as_ptr() as usize, Ordering::Relaxed);
    let error = loop {
        match run.step() {
            Ok(progress) => assert!(progress.done < run.windows.len(), "the run ended well"),
            Err(error) => break error,
        }
    };
    assert_eq!(error.code(), Code::Plugin);
    assert!(error.to_string().contains("the data of this run were changed in memory while windows 0 to"), "{error}");
    let done = run.progress().done;
    assert!((0..5).all(|_| run.step().is_err()) && run.progress().done == done);
}

#[test]
fn each_mode_is_a_clean_error_and_the_host_keeps_working() {
    let failed_in =
        |context: &str, call: &str, words: &str| format!("{context}plugin 'hostile' failed in {call}: {words}");
    let panicked = "the plugin panicked: on purpose";
    let cases = [
        ("panic in create", Code::Plugin, failed_in(MODEL, "create", panicked)),
        ("error in create", Code::InvalidSetting, failed_in(MODEL, "create", "setting 'mode': found error in create")),
        ("panic in requirements", Code::Plugin, failed_in(MODEL, "requirements", panicked)),
        ("lookback of 0", Code::Plugin, format!("{MODEL}plugin 'hostile' requires a lookback of 0 rows")),
        (
            "more history than lookback",
            Code::Plugin,
            format!("{MODEL}plugin 'hostile' requires a lookback of 10 rows with 11 finite returns; allowed are"),
        ),
        (
            "more history than there is",
            Code::InvalidData,
            format!(
                "model 'm' cannot decide on 24 of 24 decision dates. 2018-12-31 to 2020-11-30 (24 dates): no asset is a member \
                 with {} finite returns in all rows",
                usize::MAX
            ),
        ),
        ("panic in fit", Code::Plugin, failed_in(TRAINED, "fit", "the plugin panicked: assertion")),
        ("error in fit", Code::InvalidData, failed_in(TRAINED, "fit", "these data will not do")),
        (
            "writes nothing",
            Code::Plugin,
            format!("{DECISION}plugin 'hostile' returned NaN as the weight of A; every weight must be"),
        ),
        ("panic in weights", Code::Plugin, failed_in(DECISION, "weights", panicked)),
        ("panic with a number", Code::Plugin, failed_in(DECISION, "weights", "the plugin panicked: no message")),
        (
            "panic with a spiteful payload",
            Code::Plugin,
            failed_in(DECISION, "weights", "the plugin panicked: no message"),
        ),
        ("a slice too far", Code::Plugin, failed_in(DECISION, "weights", "the plugin panicked: ")),
        (
            "empty message",
            Code::Plugin,
            format!("{DECISION}plugin 'hostile' failed in weights with code 6 and no message"),
        ),
        ("a code that is none", Code::Plugin, failed_in(DECISION, "weights", "what")),
        ("a code of success", Code::Plugin, failed_in(DECISION, "weights", "it failed")),
        (
            "not a number",
            Code::Plugin,
            format!("{DECISION}plugin 'hostile' returned NaN as the weight of B; every weight must be"),
        ),
        (
            "infinite",
            Code::Plugin,
            format!("{DECISION}plugin 'hostile' returned inf as the weight of C; every weight must be"),
        ),
        ("wrong sum", Code::Plugin, format!("{DECISION}the weights of plugin 'hostile' sum to 1.001")),
        ("sums to nothing", Code::Plugin, format!("{DECISION}the weights of plugin 'hostile' sum to 0; allowed is 1")),
        ("a message of no letters", Code::Plugin, failed_in(DECISION, "weights", "the \u{fffd}\u{fffd} root")),
    ];
    for (mode, code, expected) in cases {
        let (run, error) = match run(mode) {
            Ok((run, error)) => (Some(run), error.unwrap_or_else(|| panic!("'{mode}' went unseen"))),
            Err(error) => (None, error),
        };
        assert_eq!(
            (error.code(), error.to_string().starts_with(&expected)),
            (code, true),
            "{mode}: {error}\n{expected}"
        );
        // The run is unchanged, and the next step fails in the same way.
        if let Some(mut run) = run {
            assert_eq!(run.progress().done, 0, "{mode}");
            assert_eq!(run.step().unwrap_err().to_string(), error.to_string(), "{mode}");
        }
    }
    let (run, error) = run("none").unwrap();
    assert!(error.is_none(), "{error:?}");
    assert_eq!(run.progress().done, run.windows.len());
}

#[test]
fn unusual_but_valid_modes_are_accepted() {
    for mode in ["all history there is", "panic in drop"] {
        let (run, error) = run(mode).unwrap();
        assert!(error.is_none(), "{mode}: {error:?}");
        assert_eq!(run.progress().done, run.windows.len());
    }
}

#[test]
fn negative_weights_are_made_long_only_and_the_change_is_recorded() {
    let (run, error) = run("short").unwrap();
    assert!(error.is_none(), "{error:?}");
    assert!(run.targets[2].iter().all(|target| target.weights.iter().all(|weight| *weight >= 0.0)));
    assert!(run.changes[2].len() >= run.targets[2].len(), "{:?}", run.changes[2]);
    assert!(run.changes[0].is_empty());
}

#[test]
fn long_messages_and_deep_chains_of_causes_are_truncated() {
    let (_, error) = run("huge message").unwrap();
    let message = error.unwrap().to_string();
    assert!(message.len() < 70_000 && message.ends_with(" ... (10000000 bytes)"), "{}", message.len());
    let (_, error) = run("a long chain of causes").unwrap();
    let message = error.unwrap().to_string();
    assert!(message.len() < 1_000 && message.ends_with("because: the \u{fffd}\u{fffd} root"), "{message}");
}

/// The description of the next plugin, and the state of its table.
static NEXT: Mutex<(&[u8], Table)> = Mutex::new((b"", Table::Filled));

#[derive(Clone, Copy, PartialEq)]
enum Table {
    Filled,
    Untouched,
    Refused,
    Major(u32),
}

unsafe extern "C" fn describe(out: *mut wf_string, _error: *mut *mut wf_error) -> i32 {
    let description = NEXT.lock().unwrap_or_else(PoisonError::into_inner).0;
    // SAFETY: the host passes a writable string; the text is static.
    unsafe { *out = string(description) };
    0
}

unsafe extern "C" fn odd_init(host: *const wf_host, out: *mut wf_plugin_api, error: *mut *mut wf_error) -> i32 {
    let table = NEXT.lock().unwrap().1;
    // SAFETY: the arguments are passed on unchanged; the host's functions are set.
    unsafe {
        match table {
            Table::Untouched => return 0,
            Table::Refused => {
                *error = ((*host).error_new)(4, string(b"no licence"), std::ptr::null_mut());
                return 4;
            }
            Table::Filled | Table::Major(_) => (),
        }
        let status = wf_plugin_init_hostile(host, out, error);
        (*out).describe = Some(describe);
        if let Table::Major(major) = table {
            (*out).abi_major = major;
        }
        status
    }
}

fn odd(description: Vec<u8>, table: Table) -> Result<Plugin, Error> {
    *NEXT.lock().unwrap() = (description.leak(), table);
    // SAFETY: the function is a plugin entry, however odd its results.
    unsafe { register(odd_init, "odd") }
}

#[test]
fn an_invalid_description_or_table_is_refused_with_the_reason() {
    let whole = |settings: &str| {
        format!(r#"{{"name": "odd", "version": "1", "kind": "estimator", "doc": "", "settings": {settings}}}"#)
    };
    let setting = |fields: &str| whole(&format!(r#"[{{"name": "x", "doc": "", {fields}}}]"#));
    for (description, expected) in [
        (String::new(), "returned WF_OK from describe without a text"),
        ("{".to_owned(), "the description of plugin odd is not JSON: EOF"),
        ("[[[[".repeat(1000), "is not JSON: recursion limit"),
        ("7".to_owned(), "needs a text 'kind'"),
        (r#"{"kind": "estimator"}"#.to_owned(), "needs a text 'name'"),
        (r#"{"kind": "estimator", "name": "odd"}"#.to_owned(), "needs a text 'version'"),
        (whole("[]").replace("estimator", "oracle"), "is of kind \"oracle\"; this version knows \"estimator\""),
        (whole("[]").replace("\"odd\"", "\"o d\""), "has a name of \"o d\"; allowed are"),
        (whole("[]").replace("\"1\"", "\"\""), "has a version of \"\"; allowed are"),
        (whole("{}"), "'settings' must be a list"),
        (whole("[7]"), "field 'name' of setting '7' must be a text"),
        (setting(r#""type": "integer", "minimum": 5, "maximum": 4"#), "has a minimum above its maximum"),
        (setting(r#""type": "integer", "maximum": 4, "default": 5"#), "the default 5 of setting 'x' is not"),
        (setting(r#""type": "choice", "choices": []"#), "'choices' of setting 'x' must be a list of at least one"),
        (setting(r#""type": "spell""#), "setting 'x' is of type \"spell\"; allowed are integer, real"),
        (" ".repeat(50_000_000), "has a description of 50000000 bytes; allowed are at most 1048576"),
    ] {
        let error = odd(description.into_bytes(), Table::Filled).err().unwrap();
        let message = error.to_string();
        assert_eq!((error.code(), message.contains(expected)), (Code::PluginAbi, true), "{message:.300}\n{expected}");
        assert!(message.contains("odd") && message.len() < 1000, "{message:.300}");
    }
    let error = odd(b"{\"name\": \"\xff\"}".to_vec(), Table::Filled).err().unwrap();
    assert_eq!(error.code(), Code::PluginAbi);
    assert!(error.to_string().contains("the description of plugin odd is not UTF-8"), "{error}");
    for (table, code, expected) in [
        (
            Table::Untouched,
            Code::PluginAbi,
            "plugin odd returned WF_OK from its init function without filling the table",
        ),
        (Table::Refused, Code::Plugin, "plugin 'odd' failed in init: no licence"),
        (Table::Major(2), Code::PluginAbi, "plugin odd was built for ABI 2, this host has 1"),
        (Table::Major(0), Code::PluginAbi, "plugin odd was built for ABI 0, this host has 1"),
    ] {
        let error = odd(whole("[]").into_bytes(), table).err().unwrap();
        assert_eq!((error.code(), error.to_string().as_str()), (code, expected));
    }
    assert!(odd(whole("[]").into_bytes(), Table::Filled).is_ok());
}
