//! From a plugin's C table to the core's model traits. Everything a plugin answers is checked here.

use core::ffi::c_void;
use std::sync::Arc;

use jiff::civil::{Date, date};
use serde_json::Value as Json;
use walkforge_plugin_abi::{wf_past, wf_plugin_api, wf_requirements, wf_string};

use super::error::{check, text};
use super::host::settings_handle;
use crate::error::{Code, Error, Result, fail};
use crate::model::{Estimator, Factory, Requirements};
use crate::panel::Past;
use crate::settings::{Setting, Values};

/// How far from 1 the sum of a model's weights may be.
const SUM_TOLERANCE: f64 = 1e-6;

/// A plugin that was loaded and understood.
pub struct Plugin {
    table: Arc<Table>,
    version: String,
    settings: Vec<Setting>,
}

/// A plugin's functions, all of those that are needed present.
struct Table {
    name: String,
    api: wf_plugin_api,
}

impl Plugin {
    /// Understands a filled table: required functions, description, declared settings.
    pub(super) fn new(api: wf_plugin_api, source: &str) -> Result<Self> {
        let (Some(describe), Some(_), Some(_), Some(_), Some(_)) =
            (api.describe, api.create, api.destroy, api.requirements, api.weights)
        else {
            fail!(PluginAbi, "plugin {source} lacks one of describe, create, destroy, requirements, weights");
        };
        let mut description = wf_string { data: core::ptr::null(), length: 0 };
        let mut error = core::ptr::null_mut();
        // SAFETY: the function is the plugin's; both out-parameters are ours; the text lives as long as the process.
        let description = unsafe {
            let status = describe(&raw mut description, &raw mut error);
            check(source, "describe", status, error)?;
            text(description)
        };
        let description: Json = serde_json::from_str(&description).map_err(|error| {
            Error::new(Code::PluginAbi, format!("the description of plugin {source} is not JSON: {error}"))
        })?;
        let field = |name: &str| {
            description[name].as_str().map(str::to_owned).ok_or_else(|| {
                Error::new(Code::PluginAbi, format!("the description of plugin {source} needs a text '{name}'"))
            })
        };
        let kind = field("kind")?;
        if kind != "estimator" {
            fail!(PluginAbi, "plugin {source} is of kind '{kind}'; this version knows 'estimator'");
        }
        let declared = description["settings"].as_array().map(Vec::as_slice).unwrap_or_default();
        let settings = declared
            .iter()
            .map(Setting::from_json)
            .collect::<Result<_>>()
            .map_err(|error| error.context(format!("the description of plugin {source} cannot be used")))?;
        Ok(Self { version: field("version")?, settings, table: Arc::new(Table { name: field("name")?, api }) })
    }
}

impl Factory for Plugin {
    fn name(&self) -> &str {
        &self.table.name
    }

    fn version(&self) -> &str {
        &self.version
    }

    fn settings(&self) -> &[Setting] {
        &self.settings
    }

    fn create(&self, settings: &Values) -> Result<Box<dyn Estimator>> {
        let table = Arc::clone(&self.table);
        let mut instance = core::ptr::null_mut();
        let mut error = core::ptr::null_mut();
        let create = table.api.create.ok_or_else(|| missing(&table.name, "create"))?;
        // SAFETY: the settings live during the call; both out-parameters are ours.
        unsafe {
            let status = create(settings_handle(settings), &raw mut instance, &raw mut error);
            check(&table.name, "create", status, error)?;
        }
        let mut model = Instance { table, handle: instance, needs: Requirements { lookback: 1, min_history: 0 } };
        model.needs = model.ask_requirements()?;
        Ok(Box::new(model))
    }
}

fn missing(plugin: &str, call: &str) -> Error {
    Error::new(Code::PluginAbi, format!("plugin '{plugin}' has no function {call}"))
}

/// One model of a plugin.
struct Instance {
    table: Arc<Table>,
    handle: *mut c_void,
    needs: Requirements,
}

// SAFETY: the ABI lets a model move between threads, and `weights` be called by many at once; `fit` takes `&mut`.
unsafe impl Send for Instance {}
// SAFETY: as above.
unsafe impl Sync for Instance {}

impl Instance {
    fn ask_requirements(&self) -> Result<Requirements> {
        let name = &self.table.name;
        let call = self.table.api.requirements.ok_or_else(|| missing(name, "requirements"))?;
        let mut out = wf_requirements { struct_size: size_of::<wf_requirements>(), lookback: 0, min_history: 0 };
        let mut error = core::ptr::null_mut();
        // SAFETY: the instance is the plugin's own; both out-parameters are ours.
        unsafe {
            let status = call(self.handle, &raw mut out, &raw mut error);
            check(name, "requirements", status, error)?;
        }
        let wf_requirements { lookback, min_history, .. } = out;
        if lookback == 0 || min_history > lookback {
            fail!(
                Plugin,
                "plugin '{name}' asks for a lookback of {lookback} rows with {min_history} finite returns; allowed are \
                 at least 1 row and no more returns than rows"
            );
        }
        Ok(Requirements { lookback, min_history })
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        if let Some(destroy) = self.table.api.destroy {
            // SAFETY: made by this plugin's `create`, destroyed once.
            unsafe { destroy(self.handle) };
        }
    }
}

impl Estimator for Instance {
    fn requirements(&self) -> Requirements {
        self.needs
    }

    fn fits(&self) -> bool {
        self.table.api.fit.is_some()
    }

    fn fit(&mut self, train: &Past, validation: Option<&Past>) -> Result<()> {
        let Some(fit) = self.table.api.fit else { return Ok(()) };
        let train = Shown::new(train);
        let validation = validation.map(Shown::new);
        let (train, validation) = (train.as_c(), validation.as_ref().map(Shown::as_c));
        let validation = validation.as_ref().map_or(core::ptr::null(), core::ptr::from_ref);
        let mut error = core::ptr::null_mut();
        // SAFETY: the instance is the plugin's own and ours alone (`&mut`); the pasts live during the call.
        unsafe {
            let status = fit(self.handle, &raw const train, validation, &raw mut error);
            check(&self.table.name, "fit", status, error)
        }
    }

    fn weights(&self, past: &Past) -> Result<Vec<f64>> {
        let name = &self.table.name;
        let weights = self.table.api.weights.ok_or_else(|| missing(name, "weights"))?;
        let mut out = vec![f64::NAN; past.assets().len()];
        let shown = Shown::new(past);
        let view = shown.as_c();
        let mut error = core::ptr::null_mut();
        // SAFETY: the past lives during the call, `out` has room for as many numbers as it says.
        unsafe {
            let status = weights(self.handle, &raw const view, out.as_mut_ptr(), out.len(), &raw mut error);
            check(name, "weights", status, error)?;
        }
        if let Some(at) = out.iter().position(|weight| !weight.is_finite()) {
            fail!(Plugin, "plugin '{name}' gave {} as the weight of {}; it must be finite", out[at], past.names()[at]);
        }
        let sum: f64 = out.iter().sum();
        if (sum - 1.0).abs() > SUM_TOLERANCE {
            fail!(Plugin, "the weights of plugin '{name}' sum to {sum}; allowed is 1 within {SUM_TOLERANCE}");
        }
        Ok(out)
    }
}

/// A past laid out as the ABI wants it.
struct Shown<'a> {
    past: &'a Past,
    dates: Vec<i32>,
    names: Vec<wf_string>,
    members: Vec<u8>,
}

impl<'a> Shown<'a> {
    fn new(past: &'a Past) -> Self {
        Self {
            past,
            dates: past.dates().iter().map(|&date| days(date)).collect(),
            names: past
                .names()
                .iter()
                .map(|name| wf_string { data: name.as_ptr().cast(), length: name.len() })
                .collect(),
            members: past.members().iter().map(|&member| u8::from(member)).collect(),
        }
    }

    fn as_c(&self) -> wf_past {
        wf_past {
            struct_size: size_of::<wf_past>(),
            rows: self.dates.len(),
            assets: self.names.len(),
            dates: self.dates.as_ptr(),
            names: self.names.as_ptr(),
            returns: self.past.returns().as_ptr(),
            members: self.members.as_ptr(),
        }
    }
}

/// Days since 1970-01-01.
fn days(day: Date) -> i32 {
    const EPOCH: Date = date(1970, 1, 1);
    // Both are civil dates, so their distance is a whole number of days that fits 32 bits.
    (day.duration_since(EPOCH).as_hours() / 24) as i32
}
