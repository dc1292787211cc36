//! Finding and loading plugins: by path, by name along the search path, or from a function linked into the program.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{CStr, OsStr};
use std::mem::{MaybeUninit, offset_of};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use walkforge_plugin_abi::{WF_ABI_MAJOR, wf_plugin_api, wf_plugin_entry};

use super::adapter::{Origin, Plugin};
use super::error::check;
use super::library::{AllowList, Candidate, Loaded};
use crate::error::{Result, fail};
use crate::plugin::checking::call_trace::CallTrace;
use crate::plugin::service::HOST;

/// The environment variable that names folders with plugins.
const PATH_VARIABLE: &str = "WALKFORGE_PLUGIN_PATH";

/// Size of the first version of the plugin's table, whose last field this was.
const FIRST: usize = offset_of!(wf_plugin_api, weights) + size_of::<wf_plugin_entry>();

/// The environment variable that lists the plugin files that the command line may load.
const ALLOW_VARIABLE: &str = "WALKFORGE_PLUGIN_SHA256";

/// The folders in which plugins are sought, in order, and which files may be loaded from them.
#[derive(Clone, Default)]
pub struct PluginSearch {
    folders: Vec<PathBuf>,
    registered: BTreeMap<String, Plugin>,
    allowed: Option<AllowList>,
}

impl PluginSearch {
    /// The given folders only.
    pub fn folders(folders: Vec<PathBuf>) -> Self {
        Self { folders, ..Self::default() }
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

    /// Refuses every plugin file but those with one of these SHA-256 digests: 64 hexadecimal digits each, `,` between
    /// them. Plugins that are linked into the program are not asked for one. A file is refused before any of its code
    /// runs, and what was hashed is what is loaded: the loader gets the open file, not its path. So libraries that a
    /// plugin wants beside it (`$ORIGIN`) are not found, nor would they have been checked: link them into it.
    ///
    /// # Errors
    /// `InvalidSetting` where the list holds something else, or nothing.
    pub fn allow_only(self, sha256: &str) -> Result<Self> {
        Ok(Self { allowed: Some(AllowList::parse(sha256)?), ..self })
    }

    /// The same with the list of `WALKFORGE_PLUGIN_SHA256`, where that is set.
    ///
    /// # Errors
    /// As for [`PluginSearch::allow_only`]: a variable that is set and empty allows nothing, and is taken for a mistake.
    pub fn allow_by_environment(self) -> Result<Self> {
        match std::env::var_os(ALLOW_VARIABLE) {
            None => Ok(self),
            Some(list) => self
                .allow_only(&list.to_string_lossy())
                .map_err(|error| error.context(format!("variable {ALLOW_VARIABLE}"))),
        }
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
    /// `NotFound` with the folders that were searched; `PluginAbi` where a file is no plugin of this ABI, or may not be
    /// loaded.
    pub fn load(&self, name: &str) -> Result<Plugin> {
        if is_path(name) {
            return self.load_file(Path::new(name));
        }
        if let Some(plugin) = self.registered.get(name) {
            return Ok(plugin.clone());
        }
        let names = [format!("libwalkforge_{name}.so"), format!("lib{name}.so"), format!("{name}.so")];
        let found = self.folders.iter().flat_map(|folder| names.iter().map(|file| folder.join(file)));
        if let Some(path) = found.into_iter().find(|path| path.is_file()) {
            return self.load_file(&path);
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

impl PluginSearch {
    fn load_file(&self, path: &Path) -> Result<Plugin> {
        let Loaded { init, source, sha256 } = Candidate::open(path)?.load(self.allowed.as_ref())?;
        // SAFETY: the function is a plugin's entry, as its symbol says.
        unsafe { understand(init, &source, Origin { sha256: Some(sha256), trail: None }) }
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
    build: None,
    compute: None,
};

/// Takes a plugin whose init function is linked into the program; `source` is what messages call it.
///
/// # Safety
/// `init` keeps the promises of `wf_plugin_entry` and lives as long as the process.
///
/// # Errors
/// `PluginAbi` where its ABI version or description cannot be used, and the plugin's own errors.
pub unsafe fn register(init: wf_plugin_entry, source: &str) -> Result<Plugin> {
    // SAFETY: as demanded of our caller.
    unsafe { understand(init, source, Origin::default()) }
}

/// Initialises a plugin and reads its table.
///
/// # Safety
/// As for [`register`].
pub(super) unsafe fn understand(init: wf_plugin_entry, source: &str, origin: Origin) -> Result<Plugin> {
    let mut api = EMPTY;
    let mut error = core::ptr::null_mut();
    // SAFETY: the host table is static; `api` starts with its size; `error` is ours.
    unsafe {
        let status =
            CallTrace::around(origin.trail.as_deref(), "init", || init(&raw const HOST, &raw mut api, &raw mut error));
        check(source, "init", status, error)?;
    }
    let abi = api.abi_major;
    if abi == 0 && api.describe.is_none() {
        fail!(PluginAbi, "plugin {source} returned WF_OK from its init and filled nothing of the table");
    }
    if abi != WF_ABI_MAJOR {
        fail!(PluginAbi, "plugin {source} was built for ABI {abi}, this host has {WF_ABI_MAJOR}");
    }
    if api.struct_size < FIRST {
        fail!(PluginAbi, "plugin {source} fills a table of {} bytes; at least {FIRST} are needed", api.struct_size);
    }
    Plugin::new(api, source, origin)
}
