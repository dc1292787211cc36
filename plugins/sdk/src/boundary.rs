//! The C side of the SDK: the table of an [`Estimator`](crate::Estimator), pointers made slices, panics made errors.

use core::any::Any;
use core::ffi::c_void;
use core::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::OnceLock;

use walkforge_plugin_abi::{
    WF_ABI_MAJOR, WF_ABI_MINOR, WF_LOG_INFO, WF_LOG_WARN, WF_OK, WF_UNIVERSE_BY_DATE, wf_cancel_service, wf_context,
    wf_error, wf_host, wf_log_service, wf_past, wf_plugin_api, wf_requirements, wf_settings, wf_settings_service,
    wf_string,
};

use crate::{Error, Estimator, Feature, Past, Requirements, code};

/// The host's table, kept for the life of the process.
#[derive(Clone, Copy)]
struct Host(&'static wf_host);

// One plugin library has one host: the process that loaded it.
static HOST: OnceLock<Host> = OnceLock::new();

/// The settings of a model, checked by the host.
pub struct Settings {
    settings: *const wf_settings,
    service: &'static wf_settings_service,
}

pub(crate) fn string(text: &str) -> wf_string {
    wf_string { data: text.as_ptr().cast(), length: text.len() }
}

impl Settings {
    /// A whole number; `None` where it was left out and has no default.
    pub fn integer(&self, name: &str) -> Option<i64> {
        let mut out = 0;
        // SAFETY: the settings and the service are the host's and valid during `create`; `out` is ours.
        let status = unsafe { (self.service.get_integer)(self.settings, string(name), &raw mut out) };
        (status == WF_OK).then_some(out)
    }

    /// A count; `None` where it was left out or is negative.
    pub fn count(&self, name: &str) -> Option<usize> {
        self.integer(name).and_then(|number| usize::try_from(number).ok())
    }

    /// A truth value; `None` where it was left out and has no default.
    pub fn boolean(&self, name: &str) -> Option<bool> {
        let mut out = 0;
        // SAFETY: as in `integer`.
        let status = unsafe { (self.service.get_boolean)(self.settings, string(name), &raw mut out) };
        (status == WF_OK).then_some(out != 0)
    }

    /// A text or a choice; `None` where it was left out and has no default.
    pub fn text(&self, name: &str) -> Option<&str> {
        let mut out = wf_string { data: core::ptr::null(), length: 0 };
        // SAFETY: as in `integer`; the text that is written lives as long as the settings, and so as `self`.
        unsafe {
            let status = (self.service.get_text)(self.settings, string(name), &raw mut out);
            if status != WF_OK || out.data.is_null() {
                return None;
            }
            core::str::from_utf8(core::slice::from_raw_parts(out.data.cast(), out.length)).ok()
        }
    }

    /// A number; `None` where it was left out and has no default.
    pub fn real(&self, name: &str) -> Option<f64> {
        let mut out = 0.0;
        // SAFETY: as in `integer`.
        let status = unsafe { (self.service.get_real)(self.settings, string(name), &raw mut out) };
        (status == WF_OK).then_some(out)
    }
}

/// Who a model works for, during one call.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    context: *const wf_context,
    call: PhantomData<&'a ()>,
}

impl Context<'_> {
    /// A context of nobody, for tests: messages go nowhere, and nothing is cancelled.
    pub const NOBODY: Self = Self { context: core::ptr::null(), call: PhantomData };

    /// Tells the host program what goes on.
    pub fn info(&self, message: &str) {
        self.write(WF_LOG_INFO, message);
    }

    /// Tells the host program that something looks wrong.
    pub fn warn(&self, message: &str) {
        self.write(WF_LOG_WARN, message);
    }

    fn write(&self, level: i32, message: &str) {
        // SAFETY: the service is a host's table of this id; the context is valid during the call it came with.
        unsafe {
            if let Ok(log) = service::<wf_log_service>("log", 1) {
                (log.write)(self.context, level, string(message));
            }
        }
    }

    /// Whether the caller wants the work to stop; return [`code::CANCELLED`] then.
    pub fn cancelled(&self) -> bool {
        // SAFETY: as in `write`.
        unsafe { service::<wf_cancel_service>("cancel", 1).is_ok_and(|cancel| (cancel.requested)(self.context) != 0) }
    }
}

/// A service of the host.
///
/// # Safety
/// `T` is what the ABI gives the service of this name and version.
pub(crate) unsafe fn service<T>(name: &str, minimum_version: u32) -> Result<&'static T, Error> {
    let host = HOST.get().ok_or_else(|| Error::new("the plugin was not initialised"))?;
    // SAFETY: `get_service` answers null or a table that lives as long as the process, of type T by the contract of
    // this function.
    let service = unsafe { (host.0.get_service)(string(name), minimum_version).cast::<T>().as_ref() };
    service.ok_or_else(|| Error::new(format!("the host has no service '{name}'")))
}

/// What a panic said. What it carried may panic itself when it is dropped, and what comes of that is left alone: nothing
/// may leave the plugin.
fn words(panic: Box<dyn Any + Send>) -> String {
    let text = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("no message")
        .to_owned();
    if let Err(another) = catch_unwind(AssertUnwindSafe(|| drop(panic))) {
        core::mem::forget(another);
    }
    text
}

/// Runs `body`; hands an error or a caught panic to the host.
pub(crate) fn guard(error: *mut *mut wf_error, body: impl FnOnce() -> Result<(), Error>) -> i32 {
    let failed = match catch_unwind(AssertUnwindSafe(body)) {
        Ok(Ok(())) => return WF_OK,
        Ok(Err(failed)) => failed,
        Err(panic) => Error::new(format!("the plugin panicked: {}", words(panic))),
    };
    if let (false, Some(host)) = (error.is_null(), HOST.get()) {
        // SAFETY: the slot is frozen in every version; `error` is not null and the host owns what is written there.
        unsafe { *error = (host.0.error_new)(failed.code, string(&failed.message), core::ptr::null_mut()) };
    }
    if failed.code == WF_OK { code::PLUGIN } else { failed.code }
}

/// Fills the host's table with the functions of `M`.
///
/// # Safety
/// `host` is null or valid for the life of the process; `out` is null or starts with its size and is as large as it
/// says; `error` is null or writable.
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
    // SAFETY: as demanded of the caller.
    unsafe { entered(host, out, error, &api) }
}

/// Takes the host's table, and hands over ours.
///
/// # Safety
/// As for [`initialise`].
pub(crate) unsafe fn entered(
    host: *const wf_host,
    out: *mut wf_plugin_api,
    error: *mut *mut wf_error,
    api: &wf_plugin_api,
) -> i32 {
    if host.is_null() || out.is_null() {
        return code::PLUGIN;
    }
    // SAFETY: not null, and valid for the life of the process by the contract of this function.
    let host: &'static wf_host = unsafe { &*host };
    if host.abi_major != WF_ABI_MAJOR {
        let message = format!(
            "the plugin was built for ABI {WF_ABI_MAJOR}.{WF_ABI_MINOR}, the host has {}.{}",
            host.abi_major, host.abi_minor
        );
        if !error.is_null() {
            // SAFETY: the slot is frozen in every version, this host's included; `error` is writable.
            unsafe { *error = (host.error_new)(code::PLUGIN, string(&message), core::ptr::null_mut()) };
        }
        return code::PLUGIN;
    }
    HOST.get_or_init(|| Host(host));
    guard(error, || {
        // SAFETY: `out` is at least as large as the size it starts with; no more than that is written.
        unsafe {
            let room = (*out).struct_size.min(size_of::<wf_plugin_api>());
            core::ptr::copy_nonoverlapping(core::ptr::from_ref(api).cast::<u8>(), out.cast::<u8>(), room);
            (*out).struct_size = room;
        }
        Ok(())
    })
}

/// Hands a description over.
///
/// # Safety
/// `out` is room for one string.
pub(crate) unsafe fn describe_as(description: &'static str, out: *mut wf_string, error: *mut *mut wf_error) -> i32 {
    guard(error, || {
        // SAFETY: as demanded of the caller; the description is static.
        unsafe { *out = string(description) };
        Ok(())
    })
}

unsafe extern "C" fn describe<M: Estimator>(out: *mut wf_string, error: *mut *mut wf_error) -> i32 {
    // SAFETY: the host passes room for one string.
    unsafe { describe_as(M::DESCRIPTION, out, error) }
}

/// Makes a model and hands it over.
///
/// # Safety
/// Settings and context are the host's and valid during the call; `model` is room for one pointer.
pub(crate) unsafe fn create_model<M>(
    context: *const wf_context,
    settings: *const wf_settings,
    model: *mut *mut c_void,
    error: *mut *mut wf_error,
    make: impl FnOnce(&Settings, Context) -> Result<M, Error>,
) -> i32 {
    guard(error, || {
        // SAFETY: this is the type that the ABI gives the service of this name.
        let service = unsafe { service::<wf_settings_service>("settings", 1) }?;
        let made = Box::new(make(&Settings { settings, service }, Context { context, call: PhantomData })?);
        // SAFETY: the host passes room for one pointer; `destroy` takes it back.
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
    // SAFETY: the host passes its context and settings, and room for one pointer.
    unsafe { create_model(context, settings, model, error, M::create) }
}

/// Frees a model that [`create_model`] made.
pub(crate) unsafe extern "C" fn destroy_model<M>(model: *mut c_void) {
    if !model.is_null() {
        guard(core::ptr::null_mut(), || {
            // SAFETY: made by `create_model` as an `M`, and the host destroys a model once.
            drop(unsafe { Box::from_raw(model.cast::<M>()) });
            Ok(())
        });
    }
}

/// Writes what a model needs.
///
/// # Safety
/// `out` starts with its size and is as large as it says.
pub(crate) unsafe fn require(needs: Requirements, universe: i32, out: *mut wf_requirements) {
    // SAFETY: as demanded of the caller; a host that knows no universe has no room for it.
    unsafe {
        (*out).lookback = needs.lookback;
        (*out).min_history = needs.min_history;
        if (*out).struct_size >= core::mem::offset_of!(wf_requirements, universe) + size_of::<i32>() {
            (*out).universe = universe;
        }
    }
}

unsafe extern "C" fn requirements<M: Estimator>(
    model: *const c_void,
    out: *mut wf_requirements,
    error: *mut *mut wf_error,
) -> i32 {
    guard(error, || {
        // SAFETY: `model` was made by `create::<M>`; `out` is the host's room for one struct of the size it says.
        unsafe { require((*model.cast::<M>()).requirements(), WF_UNIVERSE_BY_DATE, out) };
        Ok(())
    })
}

/// Text of the host's.
///
/// # Safety
/// It is UTF-8 and as long as it says.
pub(crate) unsafe fn read_string(text: &wf_string) -> &str {
    // SAFETY: as demanded of the caller.
    unsafe { core::str::from_utf8(core::slice::from_raw_parts(text.data.cast(), text.length)).unwrap_or("?") }
}

/// Calls `body` with the slices of a past.
///
/// # Safety
/// `past` is valid, with arrays of the sizes it states.
pub(crate) unsafe fn with_past<R>(past: *const wf_past, body: impl FnOnce(&Past) -> R) -> R {
    // SAFETY: the host fills every array to `rows` and `assets`, both at least 1, with names in UTF-8.
    unsafe {
        let past = &*past;
        let cells = past.rows * past.assets;
        let names = core::slice::from_raw_parts(past.names, past.assets);
        let names: Vec<&str> = names.iter().map(|name| read_string(name)).collect();
        let features: Vec<Feature> = if past.feature_count == 0 {
            Vec::new()
        } else {
            core::slice::from_raw_parts(past.features, past.feature_count)
                .iter()
                .map(|feature| Feature {
                    name: read_string(&feature.name),
                    values: core::slice::from_raw_parts(feature.values, cells),
                })
                .collect()
        };
        body(&Past {
            dates: core::slice::from_raw_parts(past.dates, past.rows),
            names: &names,
            returns: core::slice::from_raw_parts(past.returns, cells),
            members: core::slice::from_raw_parts(past.members, cells),
            features: &features,
            context: Context { context: past.context, call: PhantomData },
        })
    }
}

unsafe extern "C" fn fit<M: Estimator>(
    model: *mut c_void,
    train: *const wf_past,
    validation: *const wf_past,
    error: *mut *mut wf_error,
) -> i32 {
    guard(error, || {
        // SAFETY: `model` was made by `create::<M>` and is used by this thread alone; pasts are valid during the call.
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

/// Calls `body` with a model, a past and the host's room for a number an asset.
///
/// # Safety
/// `model` was made by `create::<M>`; `past` is valid; `out` has room for `capacity` numbers.
unsafe fn answer<M: Estimator>(
    model: *const c_void,
    past: *const wf_past,
    out: *mut f64,
    capacity: usize,
    error: *mut *mut wf_error,
    body: impl FnOnce(&M, &Past, &mut [f64]) -> Result<(), Error>,
) -> i32 {
    guard(error, || {
        // SAFETY: as demanded of the caller.
        unsafe {
            let out = core::slice::from_raw_parts_mut(out, capacity);
            with_past(past, |past| {
                let room = past.names.len();
                let out = out.get_mut(..room).ok_or_else(|| Error::new("the host's buffer is too small"))?;
                body(&*model.cast::<M>(), past, out)
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
    // SAFETY: the host passes its own model, a past and a buffer of that capacity.
    unsafe { answer::<M>(model, past, out, capacity, error, M::weights) }
}

unsafe extern "C" fn scores<M: Estimator>(
    model: *const c_void,
    past: *const wf_past,
    out: *mut f64,
    capacity: usize,
    error: *mut *mut wf_error,
) -> i32 {
    // SAFETY: as in `weights`.
    unsafe { answer::<M>(model, past, out, capacity, error, M::scores) }
}
