//! `wf_plugin`: a loaded plugin, to read its description. Experiments name plugins and need no handle.

use walkforge_plugin_abi::{wf_error, wf_string};

use super::guard::{Handle, HandleType, check_pointer, guard, put, string, utf8};
use super::runtime::{runtime_of, wf_runtime};
use walkforge::Plugin;

/// A loaded plugin.
pub enum wf_plugin {}

impl HandleType for Plugin {
    const NAME: &'static str = "wf_plugin";
    type Shared = ();
}

/// Loads a plugin: a registered one by name, a file by path (`name` contains a `/` or ends in `.so`), or a file by name
/// in the runtime's plugin folders. The plugin is never unloaded; the caller frees the handle with `wf_plugin_free`.
///
/// Errors: `WF_E_NOT_FOUND` with the folders that were searched; `WF_E_PLUGIN_ABI` if the file is not a plugin for this
/// ABI, or the runtime does not allow it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wf_plugin_load(
    runtime: *const wf_runtime,
    name: wf_string,
    plugin: *mut *mut wf_plugin,
    error: *mut *mut wf_error,
) -> i32 {
    guard(error, || {
        check_pointer("plugin", plugin)?;
        // SAFETY: the contract of the C ABI.
        unsafe {
            let loaded = runtime_of(runtime)?.search.load(utf8("name", name)?)?;
            put("plugin", plugin, Handle::into_raw(loaded, ()).cast())
        }
    })
}

/// Gets the plugin's description as JSON: name, version, kind, and settings with types, ranges and defaults. Valid
/// until the handle is freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wf_plugin_describe(
    plugin: *const wf_plugin,
    description: *mut wf_string,
    error: *mut *mut wf_error,
) -> i32 {
    guard(error, || {
        // SAFETY: the contract of the C ABI.
        unsafe {
            Handle::read(plugin.cast::<Handle<Plugin>>(), |plugin| {
                put("description", description, string(plugin.description()))
            })
        }
    })
}

/// Frees a plugin handle; null is accepted. The plugin's code stays loaded.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wf_plugin_free(plugin: *mut wf_plugin) {
    // SAFETY: the contract of the C ABI.
    unsafe { Handle::free(plugin.cast::<Handle<Plugin>>()) };
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::process::Command;
    use std::ptr::null_mut;

    use walkforge::Code;

    use super::{wf_plugin_free, wf_plugin_load};
    use crate::error::{wf_error_free, wf_error_message};
    use crate::guard::{string, utf8};
    use crate::runtime::{wf_runtime_free, wf_runtime_new, wf_runtime_options};

    /// Loads a plugin with an allow-list: the code, and the message of the error.
    fn load(folder: &Path, sha256: &str, name: &str) -> (i32, String) {
        let (mut runtime, mut plugin, mut error) = (null_mut(), null_mut(), null_mut());
        let options = wf_runtime_options {
            struct_size: size_of::<wf_runtime_options>(),
            threads: 1,
            plugin_path: string(folder.to_str().unwrap()),
            log: None,
            log_data: null_mut(),
            parallel_for: None,
            parallel_data: null_mut(),
            plugin_sha256: string(sha256),
        };
        // SAFETY: everything lives during the calls, and is freed once.
        unsafe {
            let mut status = wf_runtime_new(&raw const options, &raw mut runtime, &raw mut error);
            if status == 0 {
                status = wf_plugin_load(runtime, string(name), &raw mut plugin, &raw mut error);
            }
            let message = utf8("message", wf_error_message(error)).unwrap().to_owned();
            wf_error_free(error);
            wf_plugin_free(plugin);
            wf_runtime_free(runtime);
            (status, message)
        }
    }

    #[test]
    fn a_file_that_is_not_on_the_allow_list_is_refused() {
        // Cargo leaves the plugin beside the test program, as it is one of its dependencies.
        let plugin = std::env::current_exe().unwrap().with_file_name("libwalkforge_hrp.so");
        let folder = tempfile::tempdir().unwrap();
        let (honest, changed) = (folder.path().join("libwalkforge_hrp.so"), folder.path().join("changed.so"));
        let mut bytes = std::fs::read(plugin).unwrap();
        std::fs::write(&honest, &bytes).unwrap();
        bytes.push(0);
        std::fs::write(&changed, bytes).unwrap();
        // The digest as another program computes it.
        let output = Command::new("sha256sum").arg(&honest).output().unwrap();
        let digest = String::from_utf8(output.stdout).unwrap().split(' ').next().unwrap().to_owned();
        let load = |sha256: &str, name: &str| load(folder.path(), sha256, name);
        let changed = changed.to_str().unwrap();
        assert_eq!(load("", "hrp").0, 0);
        assert_eq!(load(&digest, "hrp").0, 0);
        let (status, message) = load(&digest, changed);
        assert_eq!(status, Code::PluginAbi.as_i32(), "{message}");
        assert!(message.contains("none of the 1 that are allowed"), "{message}");
        let (status, message) = load("abc", "hrp");
        assert_eq!(status, Code::InvalidSetting.as_i32(), "{message}");
        assert!(message.contains("the list of allowed plugins has \"abc\""), "{message}");
    }
}
