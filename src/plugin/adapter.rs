//! Adapts a plugin's C table to the core's model traits and checks everything that the plugin returns.

use core::ffi::c_void;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use walkforge_plugin_abi::{WF_OK, wf_error, wf_feature, wf_past, wf_plugin_api, wf_requirements, wf_string};

use super::description::{Description, ModelKind, asset_set};
use super::error::{check, from_c};
use crate::error::{Code, Error, Result, fail};
use crate::model::{AssetSet, Context, Estimator, Factory, Model, Requirements};
use crate::panel::{Past, days_of};
use crate::plugin::checking::call_trace::CallTrace;
use crate::plugin::checking::guarded_memory::{InputArray, OutputArray};
use crate::plugin::service::{context_handle, settings_handle};
use crate::settings::{Setting, SettingValues};

/// Maximum deviation of the sum of a model's weights from 1.
const SUM_TOLERANCE: f64 = 1e-6;

/// A plugin that is loaded and whose table and description are valid.
#[derive(Clone)]
pub struct Plugin {
    table: Arc<PluginTable>,
    version: String,
    kind: ModelKind,
    settings: Vec<Setting>,
    description: String,
}

/// The file that a plugin comes from, and the trace of calls into it.
#[derive(Default)]
pub(super) struct Origin {
    /// SHA-256 of the file; `None` if the plugin is linked into the program.
    pub(super) sha256: Option<String>,
    pub(super) trace: Option<Arc<CallTrace>>,
}

/// A plugin's functions, all required ones present.
///
/// They are called by the contract of `wf_plugin_api`: with a model that the same table made and that is not destroyed,
/// with arguments that are valid during the call, and with an out-parameter for errors that is null or writable.
pub(super) struct PluginTable {
    pub(super) name: String,
    pub(super) api: wf_plugin_api,
    origin: Origin,
    /// Whether a call came back with other rounding, traps or flushing than it was given.
    changed_float_modes: AtomicBool,
}

impl PluginTable {
    /// Runs `body`, a call of the plugin's function `call`, and records it in the trace. What the plugin does to the
    /// floating-point environment ends with the call.
    pub(super) fn traced<R>(&self, call: &str, body: impl FnOnce() -> R) -> R {
        let (out, changed) = CallTrace::around(self.origin.trace.as_deref(), call, body);
        self.changed_float_modes.fetch_or(changed, Ordering::Relaxed);
        out
    }

    /// Runs `body`, a call of the plugin's function `call` that stores its error through the given pointer, and
    /// converts the code and the error that it returns.
    pub(super) fn call(&self, call: &str, body: impl FnOnce(*mut *mut wf_error) -> i32) -> Result<()> {
        let mut error = core::ptr::null_mut();
        let code = self.traced(call, || body(&raw mut error));
        // SAFETY: the plugin stores nothing but an error of `error_new`, and hands it over, by the ABI.
        unsafe { check(&self.name, call, code, error) }
    }
}

impl Plugin {
    /// Validates a table that a plugin filled; `source` names the plugin in messages.
    pub(super) fn new(api: wf_plugin_api, source: &str, origin: Origin) -> Result<Self> {
        let require = |functions: &[(&str, bool)]| -> Result<()> {
            let missing: Vec<&str> =
                functions.iter().filter(|(_, is_present)| !is_present).map(|(name, _)| *name).collect();
            if !missing.is_empty() {
                fail!(PluginAbi, "plugin {source} leaves required functions null: {}", missing.join(", "));
            }
            Ok(())
        };
        let common = [
            ("describe", api.describe.is_some()),
            ("create", api.create.is_some()),
            ("destroy", api.destroy.is_some()),
            ("requirements", api.requirements.is_some()),
        ];
        // Without a description the kind is unknown: report what an estimator lacks.
        if api.describe.is_none() {
            require(&[&common[..], &[("weights", api.weights.is_some())]].concat())?;
        }
        let Description { name, version, kind, settings, text } =
            Description::read(&api, source, origin.trace.as_deref())?;
        let of_kind = match kind {
            ModelKind::Estimator => ("weights", api.weights.is_some()),
            ModelKind::Network => ("build", api.build.is_some()),
        };
        require(&[&common[..], &[of_kind]].concat())?;
        Ok(Self {
            version,
            kind,
            settings,
            table: Arc::new(PluginTable { name, api, origin, changed_float_modes: AtomicBool::new(false) }),
            description: text,
        })
    }

    /// Keeps that the plugin changed rounding, traps or flushing.
    pub(super) fn note_float_modes(&self) {
        self.table.changed_float_modes.store(true, Ordering::Relaxed);
    }

    /// The plugin's description of itself, as JSON.
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

    fn changed_float_modes(&self) -> bool {
        self.table.changed_float_modes.load(Ordering::Relaxed)
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
    /// Creates a model.
    pub(super) fn instance(&self, settings: &SettingValues, context: &Context) -> Result<Instance> {
        let table = Arc::clone(&self.table);
        let mut handle = core::ptr::null_mut();
        let create = table.api.create.ok_or_else(|| missing(&table.name, "create"))?;
        table.call("create", |error| {
            // SAFETY: context and settings live during the call; `handle` is a local variable.
            unsafe { create(context_handle(context), settings_handle(settings), &raw mut handle, error) }
        })?;
        // Made before the requirements are read, so that it is destroyed if that fails.
        let mut instance = Instance {
            table,
            handle,
            requirements: Requirements { lookback: 1, min_history: 0, common_rows: 0 },
            asset_set: AssetSet::ByDate,
            context: context.clone(),
        };
        (instance.requirements, instance.asset_set) = instance.read_requirements()?;
        Ok(instance)
    }
}

fn missing(plugin: &str, call: &str) -> Error {
    Error::new(Code::PluginAbi, format!("plugin '{plugin}' has no function {call}"))
}

/// A model of a plugin.
pub(super) struct Instance {
    pub(super) table: Arc<PluginTable>,
    /// The plugin's pointer to the model: made by its `create`, destroyed when this is dropped.
    pub(super) handle: *mut c_void,
    pub(super) requirements: Requirements,
    /// Used for networks only.
    pub(super) asset_set: AssetSet,
    pub(super) context: Context,
}

// SAFETY: by the ABI a model may move between threads.
unsafe impl Send for Instance {}
// SAFETY: by the ABI many threads may call the functions that take a const model; `fit` takes `&mut self`.
unsafe impl Sync for Instance {}

impl Instance {
    fn read_requirements(&self) -> Result<(Requirements, AssetSet)> {
        let name = &self.table.name;
        let requirements = self.table.api.requirements.ok_or_else(|| missing(name, "requirements"))?;
        let mut out = wf_requirements {
            struct_size: size_of::<wf_requirements>(),
            lookback: 0,
            min_history: 0,
            universe: 0,
            common_rows: 0,
        };
        self.table.call("requirements", |error| {
            // SAFETY: the model is alive; `out` is a local variable that starts with its size.
            unsafe { requirements(self.handle, &raw mut out, error) }
        })?;
        let wf_requirements { lookback, min_history, common_rows, .. } = out;
        if lookback == 0 || min_history > lookback {
            fail!(
                Plugin,
                "plugin '{name}' requires a lookback of {lookback} rows with {min_history} finite returns; allowed are \
                 at least 1 row and no more returns than rows"
            );
        }
        if common_rows > lookback {
            fail!(
                Plugin,
                "plugin '{name}' requires {common_rows} rows in common in a lookback of {lookback}; allowed are no more"
            );
        }
        Ok((Requirements { lookback, min_history, common_rows }, asset_set(name, out.universe)?))
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        if let Some(destroy) = self.table.api.destroy {
            // SAFETY: the model is alive and is destroyed once, here.
            self.table.traced("destroy", || unsafe { destroy(self.handle) });
        }
    }
}

impl Estimator for Instance {
    fn requirements(&self) -> Requirements {
        self.requirements
    }

    fn gives_scores(&self) -> bool {
        self.table.api.scores.is_some()
    }

    fn needs_fit(&self) -> bool {
        self.table.api.fit.is_some()
    }

    fn fit(&mut self, train: &Past, validation: Option<&Past>) -> Result<()> {
        let Some(fit) = self.table.api.fit else { return Ok(()) };
        let train = PastView::new(train, &self.context)?;
        let validation = validation.map(|validation| PastView::new(validation, &self.context)).transpose()?;
        let (train, validation) = (train.as_c()?, validation.as_ref().map(PastView::as_c).transpose()?);
        let validation = validation.as_ref().map_or(core::ptr::null(), InputArray::as_ptr);
        self.table.call("fit", |error| {
            // SAFETY: the model is alive and nobody else uses it (`&mut self`); the pasts live during the call.
            unsafe { fit(self.handle, train.as_ptr(), validation, error) }
        })
    }

    fn weights(&self, past: &Past) -> Result<Vec<f64>> {
        let name = &self.table.name;
        let weights = self.table.api.weights.ok_or_else(|| missing(name, "weights"))?;
        let out = self.read_per_asset("weights", "weight", weights, past)?;
        let sum: f64 = out.iter().sum();
        if (sum - 1.0).abs() > SUM_TOLERANCE {
            fail!(Plugin, "the weights of plugin '{name}' sum to {sum}; allowed is 1 within {SUM_TOLERANCE}");
        }
        Ok(out)
    }

    fn scores(&self, past: &Past) -> Result<Option<Vec<f64>>> {
        self.table.api.scores.map(|scores| self.read_per_asset("scores", "score", scores, past)).transpose()
    }
}

/// A function of the table that writes one value per asset.
type PerAsset = unsafe extern "C" fn(*const c_void, *const wf_past, *mut f64, usize, *mut *mut wf_error) -> i32;

impl Instance {
    /// Calls `weights` with a buffer of `capacity` elements, one too few, and with or without an error pointer. Returns
    /// what was wrong with the way in which it failed.
    pub(super) fn probe_weights(&self, past: &Past, capacity: usize, with_error: bool) -> Result<Option<String>> {
        let weights = self.table.api.weights.ok_or_else(|| missing(&self.table.name, "weights"))?;
        self.probe("weights", past, f64::NAN, capacity, with_error, |view, out, error| {
            // SAFETY: the model is alive, the past lives during the call, and `out` has `capacity` elements.
            unsafe { weights(self.handle, view, out, capacity, error) }
        })
    }

    /// As [`Instance::probe_weights`], for computed input `input` of a network.
    pub(super) fn probe_compute(
        &self,
        input: usize,
        past: &Past,
        capacity: usize,
        with_error: bool,
    ) -> Result<Option<String>> {
        let compute = self.table.api.compute.ok_or_else(|| missing(&self.table.name, "compute"))?;
        self.probe("compute", past, f32::NAN, capacity, with_error, |view, out, error| {
            // SAFETY: the model is alive, the past lives during the call, and `out` has `capacity` elements.
            unsafe { compute(self.handle, input, view, out, capacity, error) }
        })
    }

    /// Runs `body`, a call of the plugin's function `call`, with a past, a buffer of `capacity` NaN and an error
    /// pointer.
    fn probe<T: Copy + Into<f64>>(
        &self,
        call: &str,
        past: &Past,
        nan: T,
        capacity: usize,
        with_error: bool,
        body: impl FnOnce(*const wf_past, *mut T, *mut *mut wf_error) -> i32,
    ) -> Result<Option<String>> {
        let mut buffer = vec![nan; capacity.max(1)];
        let mut out = OutputArray::new(&mut buffer, true)?;
        let past = PastView::new(past, &self.context)?;
        let view = past.as_c()?;
        let mut error = core::ptr::null_mut();
        let error_pointer = if with_error { &raw mut error } else { core::ptr::null_mut() };
        let code = self.table.traced(call, || body(view.as_ptr(), out.as_mut_ptr(), error_pointer));
        // SAFETY: the plugin stores nothing but an error of `error_new`, and hands it over, by the ABI.
        let error = unsafe { from_c(error) };
        out.finish();
        let has_written = buffer.iter().any(|&value| !value.into().is_nan());
        let has_no_message = with_error && error.is_none_or(|error| error.message().is_empty());
        Ok(if code == WF_OK {
            let needed = capacity + 1;
            Some(format!("{call} returned WF_OK with a buffer of {capacity} elements; {needed} are needed"))
        } else if has_written {
            Some(format!("{call} failed, as it must, but had written to the buffer"))
        } else if has_no_message {
            Some(format!("{call} failed with code {code}, as it must, but without an error message"))
        } else {
            None
        })
    }

    /// Calls `destroy` with null, which a plugin must accept.
    pub(super) fn destroy_null(&self) {
        if let Some(destroy) = self.table.api.destroy {
            // SAFETY: `destroy` accepts null, by the ABI.
            self.table.traced("destroy", || unsafe { destroy(core::ptr::null_mut()) });
        }
    }

    /// Calls `function`, which is called `call` in the table, and returns one finite value per asset; `what` names a
    /// value.
    fn read_per_asset(&self, call: &str, what: &str, function: PerAsset, past: &Past) -> Result<Vec<f64>> {
        let name = &self.table.name;
        let capacity = past.assets().len();
        let mut values = vec![f64::NAN; capacity];
        let mut out = OutputArray::new(&mut values, self.context.is_checking())?;
        let view = PastView::new(past, &self.context)?;
        let view = view.as_c()?;
        self.table.call(call, |error| {
            // SAFETY: the model is alive, the past lives during the call, and `out` has `capacity` elements.
            unsafe { function(self.handle, view.as_ptr(), out.as_mut_ptr(), capacity, error) }
        })?;
        if !out.finish() {
            fail!(Plugin, "plugin '{name}' wrote before the first {what} of the buffer that it received");
        }
        if let Some(index) = values.iter().position(|value| !value.is_finite()) {
            fail!(
                Plugin,
                "plugin '{name}' returned {} as the {what} of {}; every {what} must be written and finite",
                values[index],
                past.names()[index]
            );
        }
        Ok(values)
    }
}

/// A past with the layout of the ABI.
pub(super) struct PastView<'a> {
    context: &'a Context,
    dates: InputArray<'a, i32>,
    names: InputArray<'a, wf_string>,
    returns: InputArray<'a, f64>,
    members: InputArray<'a, u8>,
    features: InputArray<'a, wf_feature>,
    constant_within: InputArray<'a, f64>,
    // What `names` and `features` point to.
    _texts: Vec<InputArray<'a, u8>>,
    _planes: Vec<InputArray<'a, f64>>,
}

impl<'a> PastView<'a> {
    pub(super) fn new(past: &'a Past, context: &'a Context) -> Result<Self> {
        let checking = context.is_checking();
        let mut texts = Vec::new();
        let mut text = |text: &'a String| -> Result<wf_string> {
            let bytes = InputArray::new(text.as_bytes().into(), checking)?;
            let out = wf_string { data: bytes.as_ptr().cast(), length: bytes.len() };
            texts.push(bytes);
            Ok(out)
        };
        let names = past.names().iter().map(&mut text).collect::<Result<Vec<_>>>()?;
        let mut planes = Vec::new();
        let mut features = Vec::new();
        for (values, name) in past.features().iter().zip(past.feature_names()) {
            let plane = InputArray::new(values.into(), checking)?;
            features.push(wf_feature { name: text(name)?, values: plane.as_ptr() });
            planes.push(plane);
        }
        let dates: Vec<i32> = past.dates().iter().map(|&date| days_of(date)).collect();
        let members: Vec<u8> = past.members().iter().map(|&member| u8::from(member)).collect();
        Ok(Self {
            context,
            dates: InputArray::new(dates.into(), checking)?,
            names: InputArray::new(names.into(), checking)?,
            returns: InputArray::new(past.returns().into(), checking)?,
            members: InputArray::new(members.into(), checking)?,
            features: InputArray::new(features.into(), checking)?,
            constant_within: InputArray::new(past.constant_within().into(), checking)?,
            _texts: texts,
            _planes: planes,
        })
    }

    /// The struct that a plugin receives. It borrows from `self`.
    pub(super) fn as_c(&self) -> Result<InputArray<'_, wf_past>> {
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
            constant_within: self.constant_within.as_ptr(),
        };
        InputArray::new(vec![view].into(), self.context.is_checking())
    }
}
