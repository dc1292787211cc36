//! What a plugin may ask of us: the host table and its services.

use core::ffi::c_void;

use serde_json::Value as Json;
use walkforge_plugin_abi::{WF_ABI_MAJOR, WF_ABI_MINOR, WF_OK, wf_host, wf_settings, wf_settings_service, wf_string};

use super::error::{error_new, text};
use super::services::STATISTICS;
use crate::error::Code;
use crate::settings::Values;

/// The one host table of this library; it holds functions only, no state.
pub(super) static HOST: wf_host = wf_host {
    struct_size: size_of::<wf_host>(),
    abi_major: WF_ABI_MAJOR,
    abi_minor: WF_ABI_MINOR,
    error_new,
    get_service,
};

static SETTINGS: wf_settings_service =
    wf_settings_service { struct_size: size_of::<wf_settings_service>(), get_integer, get_real, get_boolean, get_text };

unsafe extern "C" fn get_service(id: wf_string, minimum_version: u32) -> *const c_void {
    // SAFETY: the plugin passes text as the ABI demands.
    let id = unsafe { text(id) };
    match (id.as_str(), minimum_version) {
        ("settings", 0..=1) => (&raw const SETTINGS).cast(),
        ("statistics", 0..=1) => (&raw const STATISTICS).cast(),
        _ => core::ptr::null(),
    }
}

/// Settings as a plugin's `create` gets them.
pub(super) fn settings_handle(values: &Values) -> *const wf_settings {
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
    let (values, name) = unsafe { (&*settings.cast::<Values>(), text(name)) };
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
