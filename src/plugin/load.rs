//! Finding and loading plugins: by path, by name along the search path, or from a function linked into the program.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{CStr, OsStr};
use std::mem::{MaybeUninit, offset_of};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use walkforge_plugin_abi::{WF_ABI_MAJOR, wf_plugin_api, wf_plugin_init};

use super::adapter::Plugin;
use super::error::check;
use super::host::HOST;
use crate::error::{Code, Error, Result, fail};

/// The environment variable that names folders with plugins.
const PATH_VARIABLE: &str = "WALKFORGE_PLUGIN_PATH";

/// Size of the first version of the plugin's table, whose last field this was.
const FIRST: usize = offset_of!(wf_plugin_api, weights) + size_of::<wf_plugin_init>();

/// The folders in which plugins are sought, in order.
#[derive(Clone, Default)]
pub struct Search {
    folders: Vec<PathBuf>,
    registered: BTreeMap<String, Plugin>,
}

impl Search {
    /// The given folders only.
    pub fn folders(folders: Vec<PathBuf>) -> Self {
        Self { folders, registered: BTreeMap::new() }
    }

    /// Those of `WALKFORGE_PLUGIN_PATH`, then the folders of the executable and of this library, then
    /// `../lib/walkforge/plugins` from each.
    pub fn standard() -> Self {
        let mut folders: Vec<PathBuf> =
            std::env::var_os(PATH_VARIABLE).map(|list| std::env::split_paths(&list).collect()).unwrap_or_default();
        let beside: BTreeSet<PathBuf> = [std::env::current_exe().ok(), this_library()]
            .into_iter()
            .flatten()
            .filter_map(|path| path.parent().map(Path::to_owned))
            .collect();
        folders.extend(beside.iter().cloned());
        folders.extend(beside.iter().map(|folder| folder.join("../lib/walkforge/plugins")));
        folders.retain(|folder| !folder.as_os_str().is_empty());
        Self::folders(folders)
    }

    /// Makes a plugin that is linked into the program known under `name`, before any folder is searched.
    ///
    /// # Errors
    /// `InvalidArgument` where the name is empty, looks like a path or is taken.
    pub fn add(&mut self, name: &str, plugin: Plugin) -> Result<()> {
        if name.is_empty() || is_path(name) {
            fail!(InvalidArgument, "a plugin cannot be registered as \"{name}\"; allowed is a name that is no path");
        }
        if self.registered.contains_key(name) {
            fail!(InvalidArgument, "a plugin is registered as \"{name}\" already");
        }
        self.registered.insert(name.to_owned(), plugin);
        Ok(())
    }

    /// Loads the plugin `name`: a path where it has a `/` or ends in `.so`, else the first of `libwalkforge_NAME.so`,
    /// `libNAME.so` and `NAME.so` along the folders.
    ///
    /// # Errors
    /// `NotFound` with the folders that were searched; `PluginAbi` where a file is no plugin of this ABI.
    pub fn load(&self, name: &str) -> Result<Plugin> {
        if is_path(name) {
            return load_file(Path::new(name));
        }
        if let Some(plugin) = self.registered.get(name) {
            return Ok(plugin.clone());
        }
        let names = [format!("libwalkforge_{name}.so"), format!("lib{name}.so"), format!("{name}.so")];
        let found = self.folders.iter().flat_map(|folder| names.iter().map(|file| folder.join(file)));
        if let Some(path) = found.into_iter().find(|path| path.is_file()) {
            return load_file(&path);
        }
        let folders: Vec<String> = self.folders.iter().map(|folder| folder.display().to_string()).collect();
        fail!(
            NotFound,
            "plugin '{name}' was not found: no {} in {}; {PATH_VARIABLE} can name further folders",
            names.join(", "),
            folders.join(", ")
        )
    }
}

fn is_path(name: &str) -> bool {
    name.contains('/') || Path::new(name).extension().is_some_and(|ending| ending == "so")
}

/// The file that this code was loaded from: the shared library, or the program it is linked into.
fn this_library() -> Option<PathBuf> {
    let mut found = MaybeUninit::<libc::Dl_info>::uninit();
    let address = (&raw const HOST).cast();
    // SAFETY: the address is one of ours, and `found` is read only where the call says that it filled it; the name
    // lives as long as the library.
    let name = unsafe {
        if libc::dladdr(address, found.as_mut_ptr()) == 0 {
            return None;
        }
        let name = found.assume_init().dli_fname;
        if name.is_null() {
            return None;
        }
        CStr::from_ptr(name)
    };
    std::fs::canonicalize(OsStr::from_bytes(name.to_bytes())).ok()
}

fn load_file(path: &Path) -> Result<Plugin> {
    let (init, source) = entry(path)?;
    // SAFETY: the function is a plugin's entry, as its symbol says.
    unsafe { register(init, &source) }
}

/// Loads a library and finds a plugin's entry in it; gives what messages call it, too.
pub(super) fn entry(path: &Path) -> Result<(wf_plugin_init, String)> {
    let source = path.display().to_string();
    if !path.is_file() {
        fail!(NotFound, "plugin file {source} is not there");
    }
    let refused = |error: libloading::Error| {
        // What the loader says, such as the symbol that is missing, is the cause of the library's own words.
        let why = std::error::Error::source(&error).map_or(error.to_string(), ToString::to_string);
        Error::new(Code::PluginAbi, format!("plugin file {source} cannot be loaded: {why}"))
    };
    // A bare file name would be sought along the system's folders instead of where it was found.
    let full = std::path::absolute(path).map_err(|error| Error::io("find", path, &error))?;
    // SAFETY: loading runs the library's initialisers; a user who names a plugin asks for just that.
    let library = unsafe { libloading::Library::new(&full) }.map_err(refused)?;
    let stem = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    let stem = stem.strip_prefix("lib").unwrap_or(&stem);
    let stem = stem.strip_prefix("walkforge_").unwrap_or(stem);
    let named = format!("wf_plugin_init_{stem}");
    // SAFETY: a symbol of this name has the type of `wf_plugin_init`, by the ABI.
    let init =
        unsafe { library.get::<wf_plugin_init>(&named).or_else(|_| library.get::<wf_plugin_init>("wf_plugin_init")) };
    let Ok(init) = init.map(|symbol| *symbol) else {
        fail!(PluginAbi, "plugin file {source} has neither {named} nor wf_plugin_init");
    };
    // Plugins are never unloaded: their descriptions and models may be used until the process ends.
    std::mem::forget(library);
    Ok((init, source))
}

/// A table of which nothing is filled yet.
pub(super) const EMPTY: wf_plugin_api = wf_plugin_api {
    struct_size: size_of::<wf_plugin_api>(),
    abi_major: 0,
    abi_minor: 0,
    describe: None,
    create: None,
    destroy: None,
    requirements: None,
    fit: None,
    weights: None,
    scores: None,
};

/// Takes a plugin whose init function is linked into the program; `source` is what messages call it.
///
/// # Safety
/// `init` keeps the promises of `wf_plugin_init` and lives as long as the process.
///
/// # Errors
/// `PluginAbi` where its ABI version or description cannot be used, and the plugin's own errors.
pub unsafe fn register(init: wf_plugin_init, source: &str) -> Result<Plugin> {
    let mut api = EMPTY;
    let mut error = core::ptr::null_mut();
    // SAFETY: the host table is static; `api` starts with its size; `error` is ours.
    unsafe {
        let status = init(&raw const HOST, &raw mut api, &raw mut error);
        check(source, "init", status, error)?;
    }
    if api.abi_major != WF_ABI_MAJOR {
        fail!(PluginAbi, "plugin {source} was built for ABI {}, this host has {WF_ABI_MAJOR}", api.abi_major);
    }
    if api.struct_size < FIRST {
        fail!(PluginAbi, "plugin {source} fills a table of {} bytes; at least {FIRST} are needed", api.struct_size);
    }
    Plugin::new(api, source)
}
