//! Hostile networks in the process of their host: through the service `program` as C sees it, and with the Rust SDK.
//! Whatever they do (the setting `mode`), the result is a clean error that names model, window and plugin, and the host
//! keeps working.

use std::ffi::c_void;
use std::sync::OnceLock;

use walkforge::{Code, Error, Experiment, Run, Runtime, register};
use walkforge_plugin::abi::{
    WF_NO_VALUE, wf_error, wf_host, wf_network_shape, wf_past, wf_plugin_api, wf_program, wf_program_service,
    wf_requirements,
};
use walkforge_plugin::{
    Axis, Context, Error as PluginError, Network, Past, Program, Requirements, Settings, Shape, export_network,
};

use crate::common::panels::five_assets;
use crate::common::{hrp, search};

mod harms;

use harms::{HARMS, LOOKBACK, Net, string};

struct Hostile {
    mode: String,
}

impl Network for Hostile {
    const DESCRIPTION: &'static str = r#"{"name": "hostile", "version": "1", "kind": "network", "doc": "does harm",
        "settings": [{"name": "mode", "type": "text", "default": "none", "doc": "what harm"}]}"#;
    const COMPUTES: bool = true;

    fn create(settings: &Settings, _context: Context) -> Result<Self, PluginError> {
        Ok(Self { mode: settings.text("mode").unwrap_or_default().to_owned() })
    }

    fn requirements(&self) -> Requirements {
        Requirements { lookback: LOOKBACK, min_history: 10 }
    }

    fn build(&self, shape: &Shape, program: &mut Program) -> Result<(), PluginError> {
        assert_ne!(self.mode, "panic in build", "on purpose");
        if self.mode == "error in build" {
            return Err(PluginError::data("these data will not do"));
        }
        let features = program.computed("features", &[Axis::Assets, Axis::Fixed(3)], false);
        let scores = program.linear("head", features, 1);
        let scores = program.reshape(scores, &[shape.assets]);
        program.output_scores(scores);
        Ok(())
    }

    fn compute(&self, input: usize, past: &Past, out: &mut [f32]) -> Result<(), PluginError> {
        assert_eq!(input, 0);
        match self.mode.as_str() {
            "compute writes nothing" => return Ok(()),
            "compute panics" => panic!("on purpose"),
            "compute fails" => return Err(PluginError::data("these data will not do")),
            "compute goes too far" => out[3 * past.names.len()] = 0.0,
            "compute cannot tell" => out.fill(f32::NAN),
            _ => out.fill(0.5),
        }
        match self.mode.as_str() {
            "compute writes infinities" => out[4] = f32::INFINITY,
            "compute forgets one" => out[7] = f32::from_bits(0x7fd5_7a11),
            _ => (),
        }
        Ok(())
    }
}

export_network!(wf_plugin_init_hostile_network, Hostile);

/// The host's table, and the SDK's `build` and `requirements`.
static HOST: OnceLock<usize> = OnceLock::new();
static SAFE: OnceLock<Build> = OnceLock::new();
static ASKED: OnceLock<Requires> = OnceLock::new();
type Build = unsafe extern "C" fn(*const c_void, *const wf_network_shape, *mut wf_program, *mut *mut wf_error) -> i32;
type Requires = unsafe extern "C" fn(*const c_void, *mut wf_requirements, *mut *mut wf_error) -> i32;

unsafe extern "C" fn raw_build(
    model: *const c_void,
    shape: *const wf_network_shape,
    program: *mut wf_program,
    error: *mut *mut wf_error,
) -> i32 {
    // SAFETY: the model is of the SDK's type; the host's table lives as long as the process; the rest is the host's.
    unsafe {
        let host = &*(*HOST.get().unwrap() as *const wf_host);
        let service = (host.get_service)(string(b"program"), 1).cast::<wf_program_service>();
        let net = Net { service: &*service, program, assets: (*shape).assets };
        let mode = (*model.cast::<Hostile>()).mode.as_str();
        if let Some((_, harm, ..)) = HARMS.iter().find(|(name, ..)| *name == mode) {
            harm(net);
            return 0;
        }
        match mode {
            "fails with a code alone" => 6,
            "fails after a failure" => {
                if net.op("gelu", &[net.rows()], "") != WF_NO_VALUE {
                    return 0;
                }
                *error = (host.error_new)(6, string(b"no gelu"), std::ptr::null_mut());
                6
            }
            "an error and success" => {
                *error = (host.error_new)(6, string(b"never mind"), std::ptr::null_mut());
                net.scores(net.honest());
                0
            }
            "looks at shapes" => {
                let (rows, mut axes) = (net.rows(), [7; 4]);
                let ask = |value, axes: *mut usize, capacity| {
                    (service.as_ref().unwrap().shape)(program, value, axes, capacity)
                };
                let counts = [
                    ask(rows, axes.as_mut_ptr(), 4),
                    ask(rows, std::ptr::null_mut(), 4),
                    ask(rows, axes.as_mut_ptr().wrapping_byte_add(17), 1),
                    ask(i32::MAX, axes.as_mut_ptr().wrapping_add(2), 2),
                    ask(WF_NO_VALUE, axes.as_mut_ptr().wrapping_add(2), 2),
                ];
                let expected = ([2, 2, 2, 0, 0], [net.assets, LOOKBACK, 7, 7]);
                net.scores(net.score(rows));
                if (counts, axes) == expected { 0 } else { 6 }
            }
            _ => SAFE.get().unwrap()(model, shape, program, error),
        }
    }
}

unsafe extern "C" fn raw_requirements(
    model: *const c_void,
    out: *mut wf_requirements,
    error: *mut *mut wf_error,
) -> i32 {
    // SAFETY: the arguments are passed on unchanged.
    unsafe {
        let status = ASKED.get().unwrap()(model, out, error);
        if (*model.cast::<Hostile>()).mode == "a universe that is none" {
            (*out).universe = 7;
        }
        status
    }
}

unsafe extern "C" fn raw_init(host: *const wf_host, out: *mut wf_plugin_api, error: *mut *mut wf_error) -> i32 {
    // SAFETY: the arguments are passed on unchanged.
    unsafe {
        let status = wf_plugin_init_hostile_network(host, out, error);
        HOST.get_or_init(|| host as usize);
        if let (Some(build), Some(requirements)) = ((*out).build, (*out).requirements) {
            SAFE.get_or_init(|| build);
            ASKED.get_or_init(|| requirements);
            (*out).build = Some(raw_build);
            (*out).requirements = Some(raw_requirements);
        }
        status
    }
}

unsafe extern "C" fn without_compute(host: *const wf_host, out: *mut wf_plugin_api, error: *mut *mut wf_error) -> i32 {
    // SAFETY: the arguments are passed on unchanged.
    unsafe {
        let status = raw_init(host, out, error);
        (*out).compute = None;
        status
    }
}

unsafe extern "C" fn weigh(_: *const c_void, _: *const wf_past, _: *mut f64, _: usize, _: *mut *mut wf_error) -> i32 {
    0
}

unsafe extern "C" fn without_build(host: *const wf_host, out: *mut wf_plugin_api, error: *mut *mut wf_error) -> i32 {
    // SAFETY: the arguments are passed on unchanged.
    unsafe {
        let status = raw_init(host, out, error);
        // A function of estimators does not help a network.
        (*out).build = None;
        (*out).weights = Some(weigh);
        status
    }
}

/// Runs an experiment with the network in a mode and an honest model; also returns the first error of a step.
///
/// # Errors
/// Of preparing the run.
fn run(plugin: &str, mode: &str) -> Result<(Run, Option<Error>), Error> {
    let experiment = format!(
        "[windows]\ntrain_months = 12\nvalidation_months = 3\ntest_months = 3\nstep_months = 12\n[train]\nmax_epochs = 1\n\
         [[models]]\nname = \"honest\"\nplugin = \"hrp\"\nsettings = {{ lookback = 60 }}\n\
         [[models]]\nname = \"m\"\nplugin = \"{plugin}\"\nsettings = {{ mode = \"{mode}\" }}\n"
    );
    // SAFETY: the functions are the plugins' own entries, linked into this test.
    let (hostile, poor) =
        unsafe { (register(raw_init, "hostile").unwrap(), register(without_compute, "poor").unwrap()) };
    let search = search([("hostile", hostile), ("poor", poor), ("hrp", hrp())]);
    let experiment = Experiment::from_toml(&experiment, "".into(), &[]).unwrap();
    let mut run = Run::new(experiment, five_assets(), &Runtime::new(search, 2).unwrap())?;
    while run.progress().done < run.windows.len() {
        if let Err(error) = run.step() {
            return Ok((run, Some(error)));
        }
    }
    Ok((run, None))
}

/// Checks the code and the message of a mode's error, and that it names the model, and the window where one was begun,
/// and leaves the run unchanged.
fn fails(plugin: &str, mode: &str, code: Code, words: &str) {
    let (run, error) = match run(plugin, mode) {
        Ok((run, error)) => (Some(run), error.unwrap_or_else(|| panic!("'{mode}' went unseen"))),
        Err(error) => (None, error),
    };
    let text = error.to_string();
    assert_eq!((error.code(), text.contains(words)), (code, true), "{mode}: {text}\n{words}");
    let place = if run.is_some() { "model 'm', window 0: " } else { "model 'm': " };
    assert!(text.starts_with(place) && text.len() < 4000, "{mode}: {text}");
    let named = text.contains("plugin 'hostile'") || code == Code::InvalidSetting;
    assert!(named, "{mode}: {text}");
    if let Some(mut run) = run {
        assert_eq!(run.step().unwrap_err().to_string(), text, "{mode}");
    }
}

#[test]
fn each_misuse_of_the_builder_is_a_clean_error() {
    for (mode, _, code, words) in HARMS {
        fails("hostile", mode, *code, words);
    }
}

#[test]
fn each_fault_in_the_functions_of_the_plugin_is_a_clean_error() {
    let used = "the network of plugin 'hostile' cannot be used: ";
    for (mode, code, words) in [
        ("panic in build", Code::Plugin, "plugin 'hostile' failed in build: the plugin panicked: assertion".to_owned()),
        ("error in build", Code::InvalidData, "plugin 'hostile' failed in build: these data will not do".to_owned()),
        (
            "fails with a code alone",
            Code::Plugin,
            "plugin 'hostile' failed in build with code 6 and no message".to_owned(),
        ),
        ("fails after a failure", Code::Plugin, format!("{used}op 'gelu' is unknown")),
        (
            "a universe that is none",
            Code::Plugin,
            "plugin 'hostile' sets the universe of its requirements to 7; allowed are".to_owned(),
        ),
        (
            "compute writes nothing",
            Code::Plugin,
            "plugin 'hostile' wrote nothing to element 0 of computed input 0; every element must be written".to_owned(),
        ),
        (
            "compute writes infinities",
            Code::Plugin,
            "plugin 'hostile' wrote an infinite value to element 4 of computed input 0".to_owned(),
        ),
        (
            "compute forgets one",
            Code::Plugin,
            "plugin 'hostile' wrote nothing to element 7 of computed input 0".to_owned(),
        ),
        ("compute fails", Code::InvalidData, "plugin 'hostile' failed in compute: these data will not do".to_owned()),
        (
            "compute panics",
            Code::Plugin,
            "plugin 'hostile' failed in compute: the plugin panicked: on purpose".to_owned(),
        ),
        (
            "compute goes too far",
            Code::Plugin,
            "plugin 'hostile' failed in compute: the plugin panicked: index".to_owned(),
        ),
    ] {
        fails("hostile", mode, code, &words);
    }
    fails("poor", "none", Code::PluginAbi, "plugin 'hostile' declares a computed input and has no function compute");
    // SAFETY: the function is a plugin entry.
    let error = unsafe { register(without_build, "bare") }.err().unwrap();
    assert_eq!(error.to_string(), "plugin bare leaves required functions null: build");
}

#[test]
fn unusual_but_valid_modes_are_accepted() {
    for mode in ["none", "compute cannot tell", "an error and success", "looks at shapes"] {
        let (run, error) = run("hostile", mode).unwrap();
        assert!(error.is_none(), "{mode}: {error:?}");
        for target in &run.targets[2] {
            assert!(target.weights.iter().all(|weight| weight.is_finite()), "{mode}");
            assert!((target.weights.iter().sum::<f64>() - 1.0).abs() < 1e-9, "{mode}");
        }
        assert!(!run.targets[2].is_empty());
    }
}
