//! The C side of the SDK: the table of an [`Estimator`], slices from pointers, errors from panics.
//!
//! # The host's contract
//! The host keeps the contract of `wf_plugin_api` for each function of the table: a model was made by `create` of the
//! same table and is destroyed once, after its last use; `fit` has its model to itself; a past, a context and settings
//! are valid during the call, with arrays of the lengths they state; an out-parameter points to writable memory of its
//! type, and `error` is null or writable.

use core::any::Any;
use core::ffi::c_void;
use core::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::OnceLock;

use walkforge_plugin_abi::{
    WF_ABI_MAJOR, WF_ABI_MINOR, WF_ASSETS_BY_DATE, WF_LOG_INFO, WF_LOG_WARN, WF_OK, wf_cancel_service, wf_context,
    wf_error, wf_feature, wf_host, wf_log_service, wf_past, wf_plugin_api, wf_requirements, wf_settings,
    wf_settings_service, wf_string,
};

use crate::{Error, Estimator, Feature, Past, Requirements, code};

// One plugin library has one host: the process that loaded it.
static HOST: OnceLock<&'static wf_host> = OnceLock::new();

pub(crate) fn string(text: &str) -> wf_string {
    wf_string { data: text.as_ptr().cast(), length: text.len() }
}

/// The settings of a model, validated by the host against the plugin's description.
///
/// Every method returns `None` if the setting was omitted and has a default of null, or if it has another type.
///
/// ```
/// use walkforge_plugin::{Context, Error, Estimator, Past, Requirements, Settings, export_estimator};
///
/// struct Decaying {
///     lookback: usize,
///     decay: f64,
///     is_short: bool,
/// }
///
/// impl Estimator for Decaying {
///     const DESCRIPTION: &'static str = r#"{"name": "decaying", "version": "1.0.0", "kind": "estimator", "settings": [
///         {"name": "lookback", "type": "integer", "minimum": 2, "maximum": 10000, "default": 60, "doc": "rows"},
///         {"name": "decay", "type": "real", "minimum": 0.0, "maximum": 1.0, "default": null, "doc": "1 if not set"},
///         {"name": "side", "type": "choice", "choices": ["long", "short"], "default": "long", "doc": "side"}]}"#;
///
///     fn create(settings: &Settings, _context: Context) -> Result<Self, Error> {
///         let lookback = settings.count("lookback").ok_or_else(|| Error::new("setting 'lookback' is missing"))?;
///         let decay = settings.real("decay").unwrap_or(1.0);
///         let is_short = settings.text("side") == Some("short");
///         // For a user who sets side = "short" and nothing else:
///         assert_eq!((lookback, decay, is_short), (60, 1.0, true));
///         Ok(Self { lookback, decay, is_short })
///     }
/// #   fn requirements(&self) -> Requirements { Requirements { lookback: self.lookback, min_history: 0 } }
/// #   fn weights(&self, _past: &Past, _out: &mut [f64]) -> Result<(), Error> { Ok(()) }
///     // …
/// }
/// # use walkforge::internals::model::Factory as _;
/// # export_estimator!(wf_plugin_init_decaying, Decaying);
/// # let plugin = unsafe { walkforge::register(wf_plugin_init_decaying, "decaying") }.unwrap();
/// # let settings = serde_json::from_str(r#"{"side": "short"}"#).unwrap();
/// # let settings = walkforge::internals::settings::SettingValues::check("model", plugin.settings(), &settings).unwrap();
/// # plugin.create(&settings, &walkforge::internals::model::Context::default()).unwrap();
/// ```
pub struct Settings {
    settings: *const wf_settings,
    service: &'static wf_settings_service,
}

/// A getter of the service `settings`.
type Get<T> = unsafe extern "C" fn(*const wf_settings, wf_string, *mut T) -> i32;

impl Settings {
    /// Returns an integer.
    pub fn integer(&self, name: &str) -> Option<i64> {
        self.get(self.service.get_integer, name, 0)
    }

    /// Returns an integer as a count; also `None` if it is negative.
    pub fn count(&self, name: &str) -> Option<usize> {
        self.integer(name).and_then(|value| usize::try_from(value).ok())
    }

    /// Returns a boolean.
    pub fn boolean(&self, name: &str) -> Option<bool> {
        self.get(self.service.get_boolean, name, 0).map(|value| value != 0)
    }

    /// Returns a text, a choice or a date (`YYYY-MM-DD`).
    pub fn text(&self, name: &str) -> Option<&str> {
        let text = self.get(self.service.get_text, name, wf_string { data: core::ptr::null(), length: 0 })?;
        if text.data.is_null() {
            return None;
        }
        // SAFETY: the host wrote a text that is valid as long as the settings, which outlive `self`.
        unsafe { core::str::from_utf8(core::slice::from_raw_parts(text.data.cast(), text.length)).ok() }
    }

    /// Returns a real number.
    pub fn real(&self, name: &str) -> Option<f64> {
        self.get(self.service.get_real, name, 0.0)
    }

    fn get<T>(&self, get: Get<T>, name: &str, mut out: T) -> Option<T> {
        // SAFETY: the getter is the host's, its settings are valid during `create`, which outlives `self`, and `out` is
        // a local variable.
        let status = unsafe { get(self.settings, string(name), &raw mut out) };
        (status == WF_OK).then_some(out)
    }
}

/// The model of a run on whose behalf the host makes a call, valid during that call.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    context: *const wf_context,
    call: PhantomData<&'a ()>,
}

impl Context<'_> {
    /// A context without a host, for unit tests: messages are discarded and nothing is cancelled.
    ///
    /// ```
    /// use walkforge_plugin::Context;
    ///
    /// Context::DETACHED.warn("nobody reads this");
    /// assert!(!Context::DETACHED.cancelled());
    /// ```
    pub const DETACHED: Self = Self { context: core::ptr::null(), call: PhantomData };

    /// Logs progress to the host program.
    pub fn info(&self, message: &str) {
        self.write(WF_LOG_INFO, message);
    }

    /// Logs a warning to the host program.
    pub fn warn(&self, message: &str) {
        self.write(WF_LOG_WARN, message);
    }

    fn write(&self, level: i32, message: &str) {
        // SAFETY: `log` is a `wf_log_service`, which accepts a null context; any other is valid during its call, which
        // outlives `self`.
        unsafe {
            if let Ok(log) = service::<wf_log_service>("log", 1) {
                (log.write)(self.context, level, string(message));
            }
        }
    }

    /// Returns whether the caller has cancelled the work. If so, fail with [`code::CANCELLED`].
    pub fn cancelled(&self) -> bool {
        // SAFETY: `cancel` is a `wf_cancel_service`, with the same contract for the context as in `write`.
        unsafe { service::<wf_cancel_service>("cancel", 1).is_ok_and(|cancel| (cancel.requested)(self.context) != 0) }
    }
}

/// Returns a service of the host.
///
/// # Safety
/// `T` is the table that the ABI defines for the service of this name and version.
pub(crate) unsafe fn service<T>(name: &str, minimum_version: u32) -> Result<&'static T, Error> {
    let host = HOST.get().ok_or_else(|| Error::new("the plugin was not initialised"))?;
    // SAFETY: `get_service` returns null or a table that is valid until the process ends; the caller vouches for `T`.
    let service = unsafe { (host.get_service)(string(name), minimum_version).cast::<T>().as_ref() };
    service.ok_or_else(|| Error::new(format!("the host has no service '{name}'")))
}

/// Returns the message of a panic and drops its payload.
///
/// Dropping may panic too. The payload of that second panic is leaked, because nothing may unwind out of the plugin.
fn panic_message(payload: Box<dyn Any + Send>) -> String {
    let text = payload
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| payload.downcast_ref::<&str>().copied())
        .unwrap_or("no message")
        .to_owned();
    if let Err(second) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
        core::mem::forget(second);
    }
    text
}

/// Runs `body` and returns a code; passes its error or a caught panic to the host through `error`, which may be null.
pub(crate) fn guard(error: *mut *mut wf_error, body: impl FnOnce() -> Result<(), Error>) -> i32 {
    let failure = match catch_unwind(AssertUnwindSafe(body)) {
        Ok(Ok(())) => return WF_OK,
        Ok(Err(failure)) => failure,
        Err(payload) => Error::new(format!("the plugin panicked: {}", panic_message(payload))),
    };
    if let (false, Some(host)) = (error.is_null(), HOST.get()) {
        // SAFETY: `error_new` has the same offset in every version of the ABI; `error` is not null, so it is writable
        // by the host's contract.
        unsafe { *error = (host.error_new)(failure.code, string(&failure.message), core::ptr::null_mut()) };
    }
    if failure.code == WF_OK { code::PLUGIN } else { failure.code }
}

/// Initialises a plugin of the estimator `M`.
///
/// # Safety
/// The contract of `wf_plugin_entry`: `host` is null or valid until the process ends; `out` is null or points to a
/// table that starts with its size in bytes; `error` is null or writable.
pub unsafe fn initialise<M: Estimator>(
    host: *const wf_host,
    out: *mut wf_plugin_api,
    error: *mut *mut wf_error,
) -> i32 {
    let api = wf_plugin_api {
        struct_size: size_of::<wf_plugin_api>(),
        abi_major: WF_ABI_MAJOR,
        abi_minor: WF_ABI_MINOR,
        describe: Some(describe::<M>),
        create: Some(create::<M>),
        destroy: Some(destroy_model::<M>),
        requirements: Some(requirements::<M>),
        fit: if M::FITS { Some(fit::<M>) } else { None },
        weights: Some(weights::<M>),
        scores: if M::SCORES { Some(scores::<M>) } else { None },
        build: None,
        compute: None,
    };
    // SAFETY: the caller keeps the contract of `wf_plugin_entry`.
    unsafe { exchange_tables(host, out, error, &api) }
}

/// Stores the host's table and copies `api` to `out`, as far as the host's version of the table reaches.
///
/// # Safety
/// As for [`initialise`].
pub(crate) unsafe fn exchange_tables(
    host: *const wf_host,
    out: *mut wf_plugin_api,
    error: *mut *mut wf_error,
    api: &wf_plugin_api,
) -> i32 {
    if host.is_null() || out.is_null() {
        return code::PLUGIN;
    }
    // SAFETY: `host` is not null, so it is valid until the process ends.
    let host: &'static wf_host = unsafe { &*host };
    if host.abi_major != WF_ABI_MAJOR {
        let message = format!(
            "the plugin was built for ABI {WF_ABI_MAJOR}.{WF_ABI_MINOR}, the host has {}.{}",
            host.abi_major, host.abi_minor
        );
        if !error.is_null() {
            // SAFETY: `error_new` has the same offset in every version of the ABI; `error` is writable.
            unsafe { *error = (host.error_new)(code::PLUGIN, string(&message), core::ptr::null_mut()) };
        }
        return code::PLUGIN;
    }
    HOST.get_or_init(|| host);
    guard(error, || {
        // SAFETY: `out` is at least as large as the size it starts with, and no more bytes than that are written.
        unsafe {
            let size = (*out).struct_size.min(size_of::<wf_plugin_api>());
            core::ptr::copy_nonoverlapping(core::ptr::from_ref(api).cast::<u8>(), out.cast::<u8>(), size);
            (*out).struct_size = size;
        }
        Ok(())
    })
}

/// Writes a description to `out`.
///
/// # Safety
/// `out` is writable.
pub(crate) unsafe fn write_description(
    description: &'static str,
    out: *mut wf_string,
    error: *mut *mut wf_error,
) -> i32 {
    guard(error, || {
        // SAFETY: `out` is writable, and the text is static.
        unsafe { *out = string(description) };
        Ok(())
    })
}

unsafe extern "C" fn describe<M: Estimator>(out: *mut wf_string, error: *mut *mut wf_error) -> i32 {
    // SAFETY: `out` is writable by the host's contract.
    unsafe { write_description(M::DESCRIPTION, out, error) }
}

/// Creates a model with `make` and writes its address to `model`.
///
/// # Safety
/// `context` and `settings` are the host's and valid during the call; `model` is writable.
pub(crate) unsafe fn create_model<M>(
    context: *const wf_context,
    settings: *const wf_settings,
    model: *mut *mut c_void,
    error: *mut *mut wf_error,
    make: impl FnOnce(&Settings, Context) -> Result<M, Error>,
) -> i32 {
    guard(error, || {
        // SAFETY: the ABI defines `wf_settings_service` for this service.
        let service = unsafe { service::<wf_settings_service>("settings", 1) }?;
        let made = Box::new(make(&Settings { settings, service }, Context { context, call: PhantomData })?);
        // SAFETY: `model` is writable. `destroy_model` frees what is written.
        unsafe { *model = Box::into_raw(made).cast() };
        Ok(())
    })
}

unsafe extern "C" fn create<M: Estimator>(
    context: *const wf_context,
    settings: *const wf_settings,
    model: *mut *mut c_void,
    error: *mut *mut wf_error,
) -> i32 {
    // SAFETY: context, settings and `model` are as the host's contract says.
    unsafe { create_model(context, settings, model, error, M::create) }
}

/// Frees a model that [`create_model`] made.
pub(crate) unsafe extern "C" fn destroy_model<M>(model: *mut c_void) {
    if !model.is_null() {
        guard(core::ptr::null_mut(), || {
            // SAFETY: `create_model::<M>` made it from a box, and the host destroys a model once.
            drop(unsafe { Box::from_raw(model.cast::<M>()) });
            Ok(())
        });
    }
}

/// Borrows the model of a call.
///
/// # Safety
/// `model` was made by [`create_model::<M>`](create_model), was not destroyed, and is not borrowed mutably.
pub(crate) unsafe fn borrow_model<'a, M>(model: *const c_void) -> &'a M {
    // SAFETY: the caller vouches for type and lifetime.
    unsafe { &*model.cast::<M>() }
}

/// Writes the requirements of a model to `out`; `assets` is one of `WF_ASSETS_*`, `common_rows` as in
/// [`Estimator::common_rows`].
///
/// # Safety
/// `out` points to a struct that starts with its size in bytes.
pub(crate) unsafe fn write_requirements(
    requirements: Requirements,
    assets: i32,
    common_rows: usize,
    out: *mut wf_requirements,
) {
    // SAFETY: the first version of the struct has the first two fields; the size tells which of the others are there.
    unsafe {
        (*out).lookback = requirements.lookback;
        (*out).min_history = requirements.min_history;
        if (*out).struct_size >= core::mem::offset_of!(wf_requirements, universe) + size_of::<i32>() {
            (*out).universe = assets;
        }
        if (*out).struct_size >= core::mem::offset_of!(wf_requirements, common_rows) + size_of::<usize>() {
            (*out).common_rows = common_rows;
        }
    }
}

unsafe extern "C" fn requirements<M: Estimator>(
    model: *const c_void,
    out: *mut wf_requirements,
    error: *mut *mut wf_error,
) -> i32 {
    guard(error, || {
        // SAFETY: model and `out` are as the host's contract says.
        unsafe {
            let model = borrow_model::<M>(model);
            write_requirements(model.requirements(), WF_ASSETS_BY_DATE, model.common_rows(), out);
        }
        Ok(())
    })
}

/// Borrows a string of the host; damaged UTF-8 becomes `?`.
///
/// # Safety
/// `text` points to as many bytes as it states.
pub(crate) unsafe fn read_string(text: &wf_string) -> &str {
    // SAFETY: the caller vouches for pointer and length.
    unsafe { core::str::from_utf8(core::slice::from_raw_parts(text.data.cast(), text.length)).unwrap_or("?") }
}

/// Calls `body` with the slices of a past.
///
/// # Safety
/// `past` is valid, with arrays of the lengths it states.
pub(crate) unsafe fn with_past<R>(past: *const wf_past, body: impl FnOnce(&Past) -> R) -> R {
    // SAFETY: the caller vouches for `past` and its arrays: `rows` dates, `assets` names, `rows` x `assets` elements in
    // each plane. The struct of an older host is shorter, so it is read field by field through the pointer, and never
    // borrowed as a whole. All fields up to `context` are in version 1.0.
    unsafe {
        let (rows, assets) = ((*past).rows, (*past).assets);
        let elements = rows * assets;
        let names = core::slice::from_raw_parts((*past).names, assets);
        let names: Vec<&str> = names.iter().map(|name| read_string(name)).collect();
        let features: Vec<Feature> = feature_planes(past)
            .iter()
            .map(|feature| Feature {
                name: read_string(&feature.name),
                values: core::slice::from_raw_parts(feature.values, elements),
            })
            .collect();
        body(&Past {
            dates: core::slice::from_raw_parts((*past).dates, rows),
            names: &names,
            returns: core::slice::from_raw_parts((*past).returns, elements),
            members: core::slice::from_raw_parts((*past).members, elements),
            features: &features,
            constant_within: constant_within(past),
            context: Context { context: (*past).context, call: PhantomData },
        })
    }
}

/// The feature planes of a past; none if it is of a host before 1.1, whose struct ends before them.
///
/// # Safety
/// As for [`with_past`].
unsafe fn feature_planes<'a>(past: *const wf_past) -> &'a [wf_feature] {
    const END: usize = core::mem::offset_of!(wf_past, features) + size_of::<*const wf_feature>();
    // SAFETY: the fields behind the size are read only if the host says that its struct reaches over them, and the
    // table only if it has entries, as its pointer may be null otherwise.
    unsafe {
        if (*past).struct_size < END || (*past).feature_count == 0 {
            return &[];
        }
        core::slice::from_raw_parts((*past).features, (*past).feature_count)
    }
}

/// [`Past::constant_within`]; empty if the past is of a host whose struct ends before it.
///
/// # Safety
/// As for [`with_past`].
unsafe fn constant_within<'a>(past: *const wf_past) -> &'a [f64] {
    const END: usize = core::mem::offset_of!(wf_past, constant_within) + size_of::<*const f64>();
    // SAFETY: the field is read only if the host says that its struct reaches over it; then it has one value per asset.
    unsafe {
        if (*past).struct_size < END || (*past).constant_within.is_null() {
            return &[];
        }
        core::slice::from_raw_parts((*past).constant_within, (*past).assets)
    }
}

/// The C function `fit`: calls [`Estimator::fit`]; `validation` is null where the window has no validation span.
unsafe extern "C" fn fit<M: Estimator>(
    model: *mut c_void,
    train: *const wf_past,
    validation: *const wf_past,
    error: *mut *mut wf_error,
) -> i32 {
    guard(error, || {
        // SAFETY: by the contract of `wf_plugin_api` this call has the model to itself, `train` is valid, and
        // `validation` is valid unless it is null.
        unsafe {
            let model = &mut *model.cast::<M>();
            with_past(train, |train| {
                if validation.is_null() {
                    model.fit(train, None)
                } else {
                    with_past(validation, |validation| model.fit(train, Some(validation)))
                }
            })
        }
    })
}

/// Calls `body` with a model, a past and the host's buffer, cut to one element per asset.
///
/// # Safety
/// `model` and `past` are as the host's contract says; `out` points to `capacity` writable elements.
unsafe fn write_per_asset<M: Estimator>(
    model: *const c_void,
    past: *const wf_past,
    out: *mut f64,
    capacity: usize,
    error: *mut *mut wf_error,
    body: impl FnOnce(&M, &Past, &mut [f64]) -> Result<(), Error>,
) -> i32 {
    guard(error, || {
        // SAFETY: the caller vouches for all three.
        unsafe {
            let out = core::slice::from_raw_parts_mut(out, capacity);
            with_past(past, |past| {
                let assets = past.names.len();
                let out = out.get_mut(..assets).ok_or_else(|| Error::new("the host's buffer is too small"))?;
                body(borrow_model::<M>(model), past, out)
            })
        }
    })
}

unsafe extern "C" fn weights<M: Estimator>(
    model: *const c_void,
    past: *const wf_past,
    out: *mut f64,
    capacity: usize,
    error: *mut *mut wf_error,
) -> i32 {
    // SAFETY: model, past and `out` are as the host's contract says.
    unsafe { write_per_asset::<M>(model, past, out, capacity, error, M::weights) }
}

unsafe extern "C" fn scores<M: Estimator>(
    model: *const c_void,
    past: *const wf_past,
    out: *mut f64,
    capacity: usize,
    error: *mut *mut wf_error,
) -> i32 {
    // SAFETY: model, past and `out` are as the host's contract says.
    unsafe { write_per_asset::<M>(model, past, out, capacity, error, M::scores) }
}

#[cfg(test)]
mod tests {
    use super::{string, wf_past, with_past};
    use core::mem::{offset_of, size_of};

    #[test]
    fn limits_of_constant_returns_are_read_from_hosts_that_have_them() {
        let (dates, names, returns, members) = ([19_358, 19_359], [string("A"), string("B")], [0.5; 4], [1; 4]);
        let limits = [1e-12, 5e-7];
        let mut past = wf_past {
            struct_size: size_of::<wf_past>(),
            rows: 2,
            assets: 2,
            dates: dates.as_ptr(),
            names: names.as_ptr(),
            returns: returns.as_ptr(),
            members: members.as_ptr(),
            context: core::ptr::null(),
            feature_count: 0,
            features: core::ptr::null(),
            constant_within: limits.as_ptr(),
        };
        // SAFETY: arrays of the lengths that the struct states.
        unsafe { with_past(&raw const past, |past| assert_eq!(past.constant_within, limits)) };
        past.struct_size = offset_of!(wf_past, constant_within);
        // SAFETY: as above.
        unsafe { with_past(&raw const past, |past| assert!(past.constant_within.is_empty())) };
    }
}
