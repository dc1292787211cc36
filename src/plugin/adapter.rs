//! From a plugin's C table to the core's model traits. Everything a plugin answers is checked here.

use core::ffi::c_void;
use std::sync::Arc;

use serde_json::Value as Json;
use walkforge_plugin_abi::{wf_error, wf_feature, wf_past, wf_plugin_api, wf_requirements, wf_string};

use super::error::{check, string, text};
use super::host::{context_handle, settings_handle};
use crate::error::{Code, Error, Result, fail};
use crate::model::{Context, Estimator, Factory, Requirements};
use crate::panel::{Past, days_of};
use crate::settings::{Setting, Values};

/// How far from 1 the sum of a model's weights may be.
const SUM_TOLERANCE: f64 = 1e-6;

/// A plugin that was loaded and understood.
#[derive(Clone)]
pub struct Plugin {
    table: Arc<Table>,
    version: String,
    settings: Vec<Setting>,
    description: String,
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
        let text = description;
        let description: Json = serde_json::from_str(&text).map_err(|error| {
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
        Ok(Self {
            version: field("version")?,
            settings,
            table: Arc::new(Table { name: field("name")?, api }),
            description: text,
        })
    }

    /// What the plugin says of itself, as JSON.
    pub fn description(&self) -> &str {
        &self.description
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

    fn create(&self, settings: &Values, context: &Context) -> Result<Box<dyn Estimator>> {
        let table = Arc::clone(&self.table);
        let mut instance = core::ptr::null_mut();
        let mut error = core::ptr::null_mut();
        let create = table.api.create.ok_or_else(|| missing(&table.name, "create"))?;
        // SAFETY: settings and context live during the call; both out-parameters are ours.
        unsafe {
            let status = create(context_handle(context), settings_handle(settings), &raw mut instance, &raw mut error);
            check(&table.name, "create", status, error)?;
        }
        let needs = Requirements { lookback: 1, min_history: 0 };
        let mut model = Instance { table, handle: instance, needs, context: context.clone() };
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
    context: Context,
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
        let train = Shown::new(train, &self.context);
        let validation = validation.map(|validation| Shown::new(validation, &self.context));
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
        let call = self.table.api.weights.ok_or_else(|| missing(name, "weights"))?;
        let out = self.answer("weights", "weight", call, past)?;
        let sum: f64 = out.iter().sum();
        if (sum - 1.0).abs() > SUM_TOLERANCE {
            fail!(Plugin, "the weights of plugin '{name}' sum to {sum}; allowed is 1 within {SUM_TOLERANCE}");
        }
        Ok(out)
    }

    fn scores(&self, past: &Past) -> Result<Option<Vec<f64>>> {
        self.table.api.scores.map(|call| self.answer("scores", "score", call, past)).transpose()
    }
}

/// A function that answers with a number for each asset.
type Answer = unsafe extern "C" fn(*const c_void, *const wf_past, *mut f64, usize, *mut *mut wf_error) -> i32;

impl Instance {
    /// Asks for a number an asset; each must be finite.
    fn answer(&self, call: &str, what: &str, function: Answer, past: &Past) -> Result<Vec<f64>> {
        let name = &self.table.name;
        let mut out = vec![f64::NAN; past.assets().len()];
        let shown = Shown::new(past, &self.context);
        let view = shown.as_c();
        let mut error = core::ptr::null_mut();
        // SAFETY: the past lives during the call, `out` has room for as many numbers as it says.
        unsafe {
            let status = function(self.handle, &raw const view, out.as_mut_ptr(), out.len(), &raw mut error);
            check(name, call, status, error)?;
        }
        if let Some(at) = out.iter().position(|value| !value.is_finite()) {
            fail!(Plugin, "plugin '{name}' gave {} as the {what} of {}; it must be finite", out[at], past.names()[at]);
        }
        Ok(out)
    }
}

/// A past laid out as the ABI wants it.
struct Shown<'a> {
    past: &'a Past,
    context: &'a Context,
    dates: Vec<i32>,
    names: Vec<wf_string>,
    members: Vec<u8>,
    features: Vec<wf_feature>,
}

impl<'a> Shown<'a> {
    fn new(past: &'a Past, context: &'a Context) -> Self {
        Self {
            past,
            context,
            dates: past.dates().iter().map(|&date| days_of(date)).collect(),
            names: past.names().iter().map(|name| string(name)).collect(),
            features: past
                .features()
                .iter()
                .zip(past.feature_names())
                .map(|(values, name)| wf_feature { name: string(name), values: values.as_ptr() })
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
            context: context_handle(self.context),
            feature_count: self.features.len(),
            features: self.features.as_ptr(),
        }
    }
}
