// The real host, for the examples in the documentation of this crate, which `include!` this file.

use std::sync::{Mutex, PoisonError};

use walkforge::model::{Context as HostContext, Factory as _, Model};
use walkforge::plugin::{Plugin, register};
use walkforge::settings::SettingValues;
use walkforge_plugin::{
    AssetSet, Context, Error, Estimator, Network, Past, Program, Requirements, Settings, Shape, abi, initialise,
    initialise_network,
};

type Read = fn(&Settings) -> Result<(), Error>;
type Build = fn(&Shape, &mut Program) -> Result<(), Error>;

static READ: Mutex<Option<Read>> = Mutex::new(None);
static BUILD: Mutex<Option<Build>> = Mutex::new(None);

fn lock<T>(of: &'static Mutex<T>) -> std::sync::MutexGuard<'static, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Reader;

impl Estimator for Reader {
    const DESCRIPTION: &'static str = r#"{"name": "reader", "version": "1.0.0", "kind": "estimator", "settings": [
        {"name": "lookback", "type": "integer", "minimum": 2, "maximum": 10000, "default": 60, "doc": "rows"},
        {"name": "decay", "type": "real", "minimum": 0.0, "maximum": 1.0, "default": null, "doc": "decay"},
        {"name": "side", "type": "choice", "choices": ["long", "short"], "default": "long", "doc": "side"}]}"#;

    fn create(settings: &Settings, _context: Context) -> Result<Self, Error> {
        let read = lock(&READ).take();
        read.map_or(Ok(()), |read| read(settings)).map(|()| Self)
    }

    fn requirements(&self) -> Requirements {
        Requirements { lookback: 1, min_history: 0 }
    }

    fn weights(&self, _past: &Past, _out: &mut [f64]) -> Result<(), Error> {
        Ok(())
    }
}

struct Builder;

impl Network for Builder {
    const DESCRIPTION: &'static str = r#"{"name": "builder", "version": "1.0.0", "kind": "network"}"#;

    fn create(_settings: &Settings, _context: Context) -> Result<Self, Error> {
        Ok(Self)
    }

    fn requirements(&self) -> Requirements {
        Requirements { lookback: 60, min_history: 0 }
    }

    fn asset_set(&self) -> AssetSet {
        AssetSet::ByDate
    }

    fn build(&self, shape: &Shape, program: &mut Program) -> Result<(), Error> {
        let build = lock(&BUILD).take();
        build.map_or(Ok(()), |build| build(shape, program))
    }
}

unsafe extern "C" fn reader(
    host: *const abi::wf_host,
    out: *mut abi::wf_plugin_api,
    error: *mut *mut abi::wf_error,
) -> i32 {
    // SAFETY: both functions have the contract of `wf_plugin_entry`.
    unsafe { initialise::<Reader>(host, out, error) }
}

unsafe extern "C" fn builder(
    host: *const abi::wf_host,
    out: *mut abi::wf_plugin_api,
    error: *mut *mut abi::wf_error,
) -> i32 {
    // SAFETY: both functions have the contract of `wf_plugin_entry`.
    unsafe { initialise_network::<Builder>(host, out, error) }
}

fn create(plugin: &Plugin, settings: &str) -> Model {
    let settings = serde_json::from_str(settings).unwrap();
    let settings = SettingValues::check("model", plugin.settings(), &settings).unwrap();
    plugin.create(&settings, &HostContext::default()).unwrap()
}

/// Connects the SDK to the host, so that its services are there.
#[allow(dead_code)]
pub fn connect() {
    // SAFETY: `reader` is the init function of a plugin.
    unsafe { register(reader, "reader") }.unwrap();
}

/// Calls `body` with what a user's `settings`, a JSON object, come to.
#[allow(dead_code)]
pub fn with_settings(settings: &str, body: Read) {
    *lock(&READ) = Some(body);
    // SAFETY: `reader` is the init function of a plugin.
    create(&unsafe { register(reader, "reader") }.unwrap(), settings);
}

/// Describes a network for `assets` assets and the feature plane `volume` with `body`.
#[allow(dead_code)]
pub fn build(assets: usize, body: Build) {
    *lock(&BUILD) = Some(body);
    // SAFETY: `builder` is the init function of a plugin.
    let model = create(&unsafe { register(builder, "builder") }.unwrap(), "{}");
    let Model::Network(network) = model else { panic!("a network is one") };
    network.build(assets, &["volume".to_owned()]).unwrap();
}
