//! From a plugin's C table to the core's model traits. Everything a plugin answers is checked here.

use core::ffi::c_void;
use std::sync::Arc;

use walkforge_plugin_abi::{WF_OK, wf_error, wf_feature, wf_past, wf_plugin_api, wf_requirements, wf_string};

use super::description::{Description, ModelKind};
use super::error::{check, from_c};
use super::network::universe;
use crate::error::{Code, Error, Result, fail};
use crate::model::{AssetSet, Context, Estimator, Factory, Model, Requirements};
use crate::panel::{Past, days_of};
use crate::plugin::checking::call_trace::CallTrace;
use crate::plugin::checking::guarded_memory::{Guarded, Lent};
use crate::plugin::service::{context_handle, settings_handle};
use crate::settings::{Setting, SettingValues};

/// How far from 1 the sum of a model's weights may be.
const SUM_TOLERANCE: f64 = 1e-6;

/// A plugin that was loaded and understood.
#[derive(Clone)]
pub struct Plugin {
    table: Arc<PluginTable>,
    version: String,
    kind: ModelKind,
    settings: Vec<Setting>,
    description: String,
}

/// Where a plugin comes from, and who is told of the calls into it.
#[derive(Default)]
pub(super) struct Origin {
    /// SHA-256 of its file; none where it is linked into the program.
    pub(super) sha256: Option<String>,
    pub(super) trail: Option<Arc<CallTrace>>,
}

/// A plugin's functions, all of those that are needed present.
pub(super) struct PluginTable {
    pub(super) name: String,
    pub(super) api: wf_plugin_api,
    origin: Origin,
}

impl PluginTable {
    /// Runs `body`, a call into the plugin.
    pub(super) fn calling<R>(&self, call: &str, body: impl FnOnce() -> R) -> R {
        CallTrace::around(self.origin.trail.as_deref(), call, body)
    }
}

impl Plugin {
    /// Understands a filled table: required functions, description, declared settings.
    pub(super) fn new(api: wf_plugin_api, source: &str, origin: Origin) -> Result<Self> {
        let needed = |functions: &[(&str, bool)]| -> Result<()> {
            let missing: Vec<&str> = functions.iter().filter(|(_, there)| !there).map(|(name, _)| *name).collect();
            if !missing.is_empty() {
                fail!(PluginAbi, "plugin {source} leaves null in its table what it needs: {}", missing.join(", "));
            }
            Ok(())
        };
        let common = [
            ("describe", api.describe.is_some()),
            ("create", api.create.is_some()),
            ("destroy", api.destroy.is_some()),
            ("requirements", api.requirements.is_some()),
        ];
        // Without a description the kind is not known; an estimator is the older one.
        if api.describe.is_none() {
            needed(&[&common[..], &[("weights", api.weights.is_some())]].concat())?;
        }
        let Description { name, version, kind, settings, text } =
            Description::read(&api, source, origin.trail.as_deref())?;
        let own = match kind {
            ModelKind::Estimator => ("weights", api.weights.is_some()),
            ModelKind::Network => ("build", api.build.is_some()),
        };
        needed(&[&common[..], &[own]].concat())?;
        Ok(Self { version, kind, settings, table: Arc::new(PluginTable { name, api, origin }), description: text })
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

    fn sha256(&self) -> Option<&str> {
        self.table.origin.sha256.as_deref()
    }

    fn settings(&self) -> &[Setting] {
        &self.settings
    }

    fn is_network(&self) -> bool {
        self.kind == ModelKind::Network
    }

    fn create(&self, settings: &SettingValues, context: &Context) -> Result<Model> {
        let instance = self.instance(settings, context)?;
        Ok(match self.kind {
            ModelKind::Estimator => Model::Estimator(Box::new(instance)),
            ModelKind::Network => Model::Network(Arc::new(instance)),
        })
    }
}

impl Plugin {
    /// Makes a model.
    pub(super) fn instance(&self, settings: &SettingValues, context: &Context) -> Result<Instance> {
        let table = Arc::clone(&self.table);
        let mut instance = core::ptr::null_mut();
        let mut error = core::ptr::null_mut();
        let create = table.api.create.ok_or_else(|| missing(&table.name, "create"))?;
        // SAFETY: settings and context live during the call; both out-parameters are ours.
        unsafe {
            let (context, settings) = (context_handle(context), settings_handle(settings));
            let status = table.calling("create", || create(context, settings, &raw mut instance, &raw mut error));
            check(&table.name, "create", status, error)?;
        }
        let needs = Requirements { lookback: 1, min_history: 0 };
        let universe = AssetSet::ByDate;
        let mut model = Instance { table, handle: instance, needs, universe, context: context.clone() };
        (model.needs, model.universe) = model.ask_requirements()?;
        Ok(model)
    }
}

fn missing(plugin: &str, call: &str) -> Error {
    Error::new(Code::PluginAbi, format!("plugin '{plugin}' has no function {call}"))
}

/// One model of a plugin.
pub(super) struct Instance {
    pub(super) table: Arc<PluginTable>,
    pub(super) handle: *mut c_void,
    pub(super) needs: Requirements,
    /// Of a network.
    pub(super) universe: AssetSet,
    pub(super) context: Context,
}

// SAFETY: the ABI lets a model move between threads, and `weights` be called by many at once; `fit` takes `&mut`.
unsafe impl Send for Instance {}
// SAFETY: as above.
unsafe impl Sync for Instance {}

impl Instance {
    fn ask_requirements(&self) -> Result<(Requirements, AssetSet)> {
        let name = &self.table.name;
        let call = self.table.api.requirements.ok_or_else(|| missing(name, "requirements"))?;
        let mut out =
            wf_requirements { struct_size: size_of::<wf_requirements>(), lookback: 0, min_history: 0, universe: 0 };
        let mut error = core::ptr::null_mut();
        // SAFETY: the instance is the plugin's own; both out-parameters are ours.
        unsafe {
            let status = self.table.calling("requirements", || call(self.handle, &raw mut out, &raw mut error));
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
        Ok((Requirements { lookback, min_history }, universe(name, out.universe)?))
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        if let Some(destroy) = self.table.api.destroy {
            // SAFETY: made by this plugin's `create`, destroyed once.
            self.table.calling("destroy", || unsafe { destroy(self.handle) });
        }
    }
}

impl Estimator for Instance {
    fn requirements(&self) -> Requirements {
        self.needs
    }

    fn needs_fit(&self) -> bool {
        self.table.api.fit.is_some()
    }

    fn fit(&mut self, train: &Past, validation: Option<&Past>) -> Result<()> {
        let Some(fit) = self.table.api.fit else { return Ok(()) };
        let train = PastView::new(train, &self.context)?;
        let validation = validation.map(|validation| PastView::new(validation, &self.context)).transpose()?;
        let (train, validation) = (train.as_c()?, validation.as_ref().map(PastView::as_c).transpose()?);
        let validation = validation.as_ref().map_or(core::ptr::null(), Lent::as_ptr);
        let mut error = core::ptr::null_mut();
        // SAFETY: the instance is the plugin's own and ours alone (`&mut`); the pasts live during the call.
        unsafe {
            let status = self.table.calling("fit", || fit(self.handle, train.as_ptr(), validation, &raw mut error));
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
    /// Asks for weights with room for `capacity` numbers, too few; says what was wrong with how it was refused.
    pub(super) fn weigh_into(&self, past: &Past, capacity: usize, with_error: bool) -> Result<Option<String>> {
        let call = self.table.api.weights.ok_or_else(|| missing(&self.table.name, "weights"))?;
        let mut room = Guarded::new(&vec![f64::NAN; capacity.max(1)])?;
        let shown = PastView::new(past, &self.context)?;
        let view = shown.as_c()?;
        let mut error = core::ptr::null_mut();
        let place = if with_error { &raw mut error } else { core::ptr::null_mut() };
        // SAFETY: the past lives during the call; there is room for `capacity` numbers.
        let (status, error) = unsafe {
            let room = room.as_mut_ptr();
            let status = self.table.calling("weights", || call(self.handle, view.as_ptr(), room, capacity, place));
            (status, from_c(error))
        };
        let wrote = room.to_vec().iter().any(|value| !value.is_nan());
        let silent = with_error && error.is_none_or(|error| error.message().is_empty());
        Ok(refused("weights", capacity, status, wrote, silent))
    }

    /// The same of a computed input.
    pub(super) fn compute_into(
        &self,
        input: usize,
        past: &Past,
        capacity: usize,
        with_error: bool,
    ) -> Result<Option<String>> {
        let call = self.table.api.compute.ok_or_else(|| missing(&self.table.name, "compute"))?;
        let mut room = Guarded::new(&vec![f32::NAN; capacity.max(1)])?;
        let shown = PastView::new(past, &self.context)?;
        let view = shown.as_c()?;
        let mut error = core::ptr::null_mut();
        let place = if with_error { &raw mut error } else { core::ptr::null_mut() };
        // SAFETY: as in `weigh_into`.
        let (status, error) = unsafe {
            let room = room.as_mut_ptr();
            let status =
                self.table.calling("compute", || call(self.handle, input, view.as_ptr(), room, capacity, place));
            (status, from_c(error))
        };
        let wrote = room.to_vec().iter().any(|value| !value.is_nan());
        let silent = with_error && error.is_none_or(|error| error.message().is_empty());
        Ok(refused("compute", capacity, status, wrote, silent))
    }

    /// Destroys nothing, which a plugin must accept.
    pub(super) fn destroy_null(&self) {
        if let Some(destroy) = self.table.api.destroy {
            // SAFETY: null is accepted, by the ABI.
            self.table.calling("destroy", || unsafe { destroy(core::ptr::null_mut()) });
        }
    }

    /// Asks for a number an asset; each must be finite.
    fn answer(&self, call: &str, what: &str, function: Answer, past: &Past) -> Result<Vec<f64>> {
        let name = &self.table.name;
        let count = past.assets().len();
        let mut out = vec![f64::NAN; count];
        let mut guarded = if self.context.is_checking() { Some(Guarded::new(&out)?) } else { None };
        let room = guarded.as_mut().map_or(out.as_mut_ptr(), Guarded::as_mut_ptr);
        let shown = PastView::new(past, &self.context)?;
        let view = shown.as_c()?;
        let mut error = core::ptr::null_mut();
        // SAFETY: the past lives during the call, and there is room for as many numbers as are said.
        unsafe {
            let status = self.table.calling(call, || function(self.handle, view.as_ptr(), room, count, &raw mut error));
            check(name, call, status, error)?;
        }
        if let Some(guarded) = &guarded {
            if !guarded.is_intact_before() {
                fail!(Plugin, "plugin '{name}' wrote before the first {what} of the buffer that it was lent");
            }
            out = guarded.to_vec();
        }
        if let Some(at) = out.iter().position(|value| !value.is_finite()) {
            fail!(
                Plugin,
                "plugin '{name}' gave {} as the {what} of {}; it must be finite, and every {what} be written",
                out[at],
                past.names()[at]
            );
        }
        Ok(out)
    }
}

/// What was wrong with how a call refused a room that is one number too small: whether it wrote, and whether it could say why and
/// did not.
fn refused(call: &str, capacity: usize, status: i32, wrote: bool, silent: bool) -> Option<String> {
    if status == WF_OK {
        Some(format!("{call} returned WF_OK with room for {capacity} of {} numbers", capacity + 1))
    } else if wrote {
        Some(format!("{call} failed, as it must, but wrote to the buffer before"))
    } else if silent {
        Some(format!("{call} failed with code {status}, as it must, but without an error and its message"))
    } else {
        None
    }
}

/// A past laid out as the ABI wants it.
pub(super) struct PastView<'a> {
    context: &'a Context,
    dates: Lent<'a, i32>,
    names: Lent<'a, wf_string>,
    returns: Lent<'a, f64>,
    members: Lent<'a, u8>,
    features: Lent<'a, wf_feature>,
    // What names and features point to in checking mode.
    _texts: Vec<Lent<'a, u8>>,
    _planes: Vec<Lent<'a, f64>>,
}

impl<'a> PastView<'a> {
    pub(super) fn new(past: &'a Past, context: &'a Context) -> Result<Self> {
        let checking = context.is_checking();
        let mut texts = Vec::new();
        let mut text = |text: &'a String| -> Result<wf_string> {
            let lent = Lent::new(text.as_bytes().into(), checking)?;
            let out = wf_string { data: lent.as_ptr().cast(), length: lent.len() };
            texts.push(lent);
            Ok(out)
        };
        let names = past.names().iter().map(&mut text).collect::<Result<Vec<_>>>()?;
        let mut planes = Vec::new();
        let mut features = Vec::new();
        for (values, name) in past.features().iter().zip(past.feature_names()) {
            let plane = Lent::new(values.into(), checking)?;
            features.push(wf_feature { name: text(name)?, values: plane.as_ptr() });
            planes.push(plane);
        }
        let dates: Vec<i32> = past.dates().iter().map(|&date| days_of(date)).collect();
        let members: Vec<u8> = past.members().iter().map(|&member| u8::from(member)).collect();
        Ok(Self {
            context,
            dates: Lent::new(dates.into(), checking)?,
            names: Lent::new(names.into(), checking)?,
            returns: Lent::new(past.returns().into(), checking)?,
            members: Lent::new(members.into(), checking)?,
            features: Lent::new(features.into(), checking)?,
            _texts: texts,
            _planes: planes,
        })
    }

    pub(super) fn as_c(&self) -> Result<Lent<'_, wf_past>> {
        let view = wf_past {
            struct_size: size_of::<wf_past>(),
            rows: self.dates.len(),
            assets: self.names.len(),
            dates: self.dates.as_ptr(),
            names: self.names.as_ptr(),
            returns: self.returns.as_ptr(),
            members: self.members.as_ptr(),
            context: context_handle(self.context),
            feature_count: self.features.len(),
            features: self.features.as_ptr(),
        };
        Lent::new(vec![view].into(), self.context.is_checking())
    }
}
