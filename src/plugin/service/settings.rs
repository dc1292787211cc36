//! Service `settings`: a plugin's `create` reads its settings.

use serde_json::Value as Json;
use walkforge_plugin_abi::{WF_OK, wf_settings, wf_settings_service, wf_string};

use crate::error::Code;
use crate::plugin::error::{string, text};
use crate::settings::SettingValues;

/// Service `settings`, version 1.
pub(super) static SETTINGS: wf_settings_service =
    wf_settings_service { struct_size: size_of::<wf_settings_service>(), get_integer, get_real, get_boolean, get_text };

/// Passes settings to a plugin's `create`.
pub(in crate::plugin) fn settings_handle(values: &SettingValues) -> *const wf_settings {
    core::ptr::from_ref(values).cast()
}

/// Reads a setting and writes it to `out`; `NotFound` if it was omitted or has another type.
///
/// # Safety
/// `settings` is null or came from [`settings_handle`] for a call that has not returned; `name` is a string; `out` is
/// null or writable. The plugin's contract says so of every getter.
unsafe fn read<T>(
    settings: *const wf_settings,
    name: wf_string,
    out: *mut T,
    convert: impl FnOnce(&Json) -> Option<T>,
) -> i32 {
    if settings.is_null() || out.is_null() {
        return Code::InvalidArgument.as_i32();
    }
    // SAFETY: `settings` is not null, so it points to values that live and are never written during the call.
    let (values, name) = unsafe { (&*settings.cast::<SettingValues>(), text(name)) };
    match values.get(&name).and_then(convert) {
        None => Code::NotFound.as_i32(),
        Some(value) => {
            // SAFETY: `out` is not null, so it is writable.
            unsafe { out.write(value) };
            WF_OK
        }
    }
}

/// Defines a getter of the service from a conversion of the JSON value.
macro_rules! getter {
    ($name:ident, $type:ty, $convert:expr) => {
        unsafe extern "C" fn $name(settings: *const wf_settings, name: wf_string, out: *mut $type) -> i32 {
            let convert = $convert;
            // SAFETY: the plugin keeps the contract of `read`.
            unsafe { read(settings, name, out, convert) }
        }
    };
}

getter!(get_integer, i64, Json::as_i64);
getter!(get_real, f64, Json::as_f64);
getter!(get_boolean, i32, |value: &Json| value.as_bool().map(i32::from));
// The text lives as long as the settings.
getter!(get_text, wf_string, |value: &Json| value.as_str().map(string));
