//! What a plugin may ask of us: the host table and its services.

pub(in crate::plugin) mod program;
mod statistics;

use core::ffi::c_void;

use serde_json::Value as Json;
use walkforge_plugin_abi::{
    WF_ABI_MAJOR, WF_ABI_MINOR, WF_LOG_DEBUG, WF_LOG_ERROR, WF_LOG_INFO, WF_LOG_WARN, WF_OK, wf_cancel_service,
    wf_context, wf_host, wf_log_service, wf_settings, wf_settings_service, wf_string,
};

use crate::error::Code;
use crate::model::{Context, LogLevel};
use crate::plugin::error::{error_new, text};
use crate::plugin::service::program::PROGRAM;
use crate::plugin::service::statistics::STATISTICS;
use crate::settings::SettingValues;

/// The one host table of this library; it holds functions only, no state.
pub(in crate::plugin) static HOST: wf_host = wf_host {
    struct_size: size_of::<wf_host>(),
    abi_major: WF_ABI_MAJOR,
    abi_minor: WF_ABI_MINOR,
    error_new,
    get_service,
};

static SETTINGS: wf_settings_service =
    wf_settings_service { struct_size: size_of::<wf_settings_service>(), get_integer, get_real, get_boolean, get_text };

static LOG: wf_log_service = wf_log_service { struct_size: size_of::<wf_log_service>(), write };

static CANCEL: wf_cancel_service = wf_cancel_service { struct_size: size_of::<wf_cancel_service>(), requested };

unsafe extern "C" fn get_service(id: wf_string, minimum_version: u32) -> *const c_void {
    // SAFETY: the plugin passes text as the ABI demands.
    let id = unsafe { text(id) };
    match (id.as_str(), minimum_version) {
        ("settings", 0..=1) => (&raw const SETTINGS).cast(),
        ("log", 0..=1) => (&raw const LOG).cast(),
        ("cancel", 0..=1) => (&raw const CANCEL).cast(),
        ("program", 0..=1) => (&raw const PROGRAM).cast(),
        ("statistics", 0..=1) => (&raw const STATISTICS).cast(),
        _ => core::ptr::null(),
    }
}

/// Who a plugin works for, as its calls get it.
pub(in crate::plugin) fn context_handle(context: &Context) -> *const wf_context {
    core::ptr::from_ref(context).cast()
}

/// A level of `WF_LOG_*` as ours; what is beyond them is for whoever looks for a fault.
pub(crate) fn level(number: i32) -> LogLevel {
    match number {
        ..=WF_LOG_ERROR => LogLevel::Error,
        WF_LOG_WARN => LogLevel::Warn,
        WF_LOG_INFO => LogLevel::Info,
        _ => LogLevel::Debug,
    }
}

/// The number of a level, one of `WF_LOG_*`.
pub(crate) fn level_number(level: LogLevel) -> i32 {
    match level {
        LogLevel::Error => WF_LOG_ERROR,
        LogLevel::Warn => WF_LOG_WARN,
        LogLevel::Info => WF_LOG_INFO,
        LogLevel::Debug => WF_LOG_DEBUG,
    }
}

unsafe extern "C" fn write(context: *const wf_context, number: i32, message: wf_string) {
    // SAFETY: the plugin passes the context it was given and text as the ABI demands.
    let (context, message) = unsafe { (context.cast::<Context>().as_ref(), text(message)) };
    if let Some(context) = context {
        context.log(level(number), &message);
    }
}

unsafe extern "C" fn requested(context: *const wf_context) -> i32 {
    // SAFETY: the plugin passes the context it was given.
    unsafe { context.cast::<Context>().as_ref() }.map_or(0, |context| i32::from(context.cancelled()))
}

/// Settings as a plugin's `create` gets them.
pub(in crate::plugin) fn settings_handle(values: &SettingValues) -> *const wf_settings {
    core::ptr::from_ref(values).cast()
}

/// Reads one setting and writes it through `out`; `NotFound` where it was left out or is of another type.
///
/// # Safety
/// `settings` is from [`settings_handle`] and its values live; `out` is null or writable.
unsafe fn read<T>(
    settings: *const wf_settings,
    name: wf_string,
    out: *mut T,
    convert: impl FnOnce(&Json) -> Option<T>,
) -> i32 {
    if settings.is_null() || out.is_null() {
        return Code::InvalidArgument.as_i32();
    }
    // SAFETY: both are valid by the contract of this function, and the values are never written.
    let (values, name) = unsafe { (&*settings.cast::<SettingValues>(), text(name)) };
    match values.get(&name).and_then(convert) {
        None => Code::NotFound.as_i32(),
        Some(value) => {
            // SAFETY: not null, writable by the contract of this function.
            unsafe { out.write(value) };
            WF_OK
        }
    }
}

unsafe extern "C" fn get_integer(settings: *const wf_settings, name: wf_string, out: *mut i64) -> i32 {
    // SAFETY: the plugin passes what its `create` was given, and room for one number.
    unsafe { read(settings, name, out, Json::as_i64) }
}

unsafe extern "C" fn get_real(settings: *const wf_settings, name: wf_string, out: *mut f64) -> i32 {
    // SAFETY: as in `get_integer`.
    unsafe { read(settings, name, out, Json::as_f64) }
}

unsafe extern "C" fn get_boolean(settings: *const wf_settings, name: wf_string, out: *mut i32) -> i32 {
    // SAFETY: as in `get_integer`.
    unsafe { read(settings, name, out, |value| value.as_bool().map(i32::from)) }
}

unsafe extern "C" fn get_text(settings: *const wf_settings, name: wf_string, out: *mut wf_string) -> i32 {
    let view = |value: &Json| value.as_str().map(|text| wf_string { data: text.as_ptr().cast(), length: text.len() });
    // SAFETY: as in `get_integer`; the text lives in the settings.
    unsafe { read(settings, name, out, view) }
}
