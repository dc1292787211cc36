//! `wf_plugin`: a plugin that was loaded, to be asked what it is. Experiments name plugins and need no handle.

use walkforge_plugin_abi::{wf_error, wf_string};

use super::guard::{Handle, HandleType, guard, put, string, utf8, wanted};
use super::runtime::{runtime_of, wf_runtime};
use crate::plugin::Plugin;

/// A loaded plugin.
pub enum wf_plugin {}

impl HandleType for Plugin {
    const NAME: &'static str = "wf_plugin";
    type Shared = ();
}

/// Loads a plugin by name along the runtime's folders, by path (a name with a `/`, or with the ending `.so`), or as it was
/// registered. It is never unloaded; the handle is the caller's, freed with `wf_plugin_free`. `WF_E_NOT_FOUND` with the
/// folders that were searched; `WF_E_PLUGIN_ABI` where the file is no plugin of this ABI, or is not one of those that the
/// runtime allows.
///
/// # Safety
/// `runtime` is one of ours; `name` is text; `plugin` is writable, `error` null or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wf_plugin_load(
    runtime: *const wf_runtime,
    name: wf_string,
    plugin: *mut *mut wf_plugin,
    error: *mut *mut wf_error,
) -> i32 {
    guard(error, || {
        wanted("plugin", plugin)?;
        // SAFETY: as demanded of the caller.
        unsafe {
            let loaded = runtime_of(runtime)?.search.load(utf8("name", name)?)?;
            put("plugin", plugin, Handle::give(loaded, ()).cast())
        }
    })
}

/// What the plugin says of itself, as JSON: name, version, kind, settings with types, ranges and defaults. Valid until
/// the handle is freed.
///
/// # Safety
/// `plugin` is one of ours; `description` is writable, `error` null or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wf_plugin_describe(
    plugin: *const wf_plugin,
    description: *mut wf_string,
    error: *mut *mut wf_error,
) -> i32 {
    guard(error, || {
        // SAFETY: as demanded of the caller.
        unsafe {
            Handle::read(plugin.cast::<Handle<Plugin>>(), |plugin| {
                put("description", description, string(plugin.description()))
            })
        }
    })
}

/// Frees the handle; the plugin's code stays loaded. Null is accepted.
///
/// # Safety
/// `plugin` is null or one of ours, not used again.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wf_plugin_free(plugin: *mut wf_plugin) {
    // SAFETY: as demanded of the caller.
    unsafe { Handle::free(plugin.cast::<Handle<Plugin>>()) };
}
