//! Finds and loads plugins: by path, by name along the search path, or from an init function linked into the program.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{CStr, OsStr};
use std::mem::{MaybeUninit, offset_of};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use walkforge_plugin_abi::{WF_ABI_MAJOR, wf_plugin_api, wf_plugin_entry};

use super::adapter::{Origin, Plugin};
use super::error::check;
use super::library::{AllowList, Candidate, Loaded};
use crate::device::keep_environment;
use crate::error::{Result, fail};
use crate::plugin::checking::call_trace::CallTrace;
use crate::plugin::service::HOST;

/// The environment variable that names folders with plugins.
const PATH_VARIABLE: &str = "WALKFORGE_PLUGIN_PATH";

/// Size of the first version of the plugin's table; its last field was `weights`.
const FIRST_SIZE: usize = offset_of!(wf_plugin_api, weights) + size_of::<wf_plugin_entry>();

/// The environment variable that lists the SHA-256 digests of the plugin files that the command may load.
const ALLOW_VARIABLE: &str = "WALKFORGE_PLUGIN_SHA256";

/// Where plugins are searched for, and which files may be loaded.
///
/// In this order: plugins registered with [`PluginSearch::add`], the folders that the user or the program names, the
/// program's built-in plugins ([`PluginSearch::add_built_in`]), and the folders beside the program and this library.
#[derive(Clone, Default)]
pub struct PluginSearch {
    folders: Vec<PathBuf>,
    beside: Vec<PathBuf>,
    registered: BTreeMap<String, Plugin>,
    built_in: BTreeMap<String, Plugin>,
    allowed: Option<AllowList>,
}

impl PluginSearch {
    /// Searches the given folders only.
    pub fn folders(folders: Vec<PathBuf>) -> Self {
        Self { folders, ..Self::default() }
    }

    /// Searches the folders of `WALKFORGE_PLUGIN_PATH`, then the folders of the executable and of this library, then
    /// `../lib/walkforge/plugins` relative to each of those two.
    pub fn standard() -> Self {
        let mut folders: Vec<PathBuf> =
            std::env::var_os(PATH_VARIABLE).map(|list| std::env::split_paths(&list).collect()).unwrap_or_default();
        folders.retain(|folder| !folder.as_os_str().is_empty());
        let own_folders: BTreeSet<PathBuf> = [std::env::current_exe().ok(), this_library()]
            .into_iter()
            .flatten()
            .filter_map(|path| path.parent().map(Path::to_owned))
            .collect();
        let mut beside: Vec<PathBuf> = own_folders.iter().cloned().collect();
        beside.extend(own_folders.iter().map(|folder| folder.join("../lib/walkforge/plugins")));
        beside.retain(|folder| !folder.as_os_str().is_empty());
        Self { folders, beside, ..Self::default() }
    }

    /// Allows only plugin files with one of these SHA-256 digests: 64 hexadecimal digits each, separated by `,`.
    ///
    /// Plugins that are linked into the program need no digest. A file is refused before any of its code runs, and the
    /// bytes that were hashed are those that are loaded: the loader receives the open file, not its path. Libraries
    /// beside a plugin (`$ORIGIN`) are therefore not found, and they would not be checked; link them into the plugin.
    ///
    /// # Errors
    /// `InvalidSetting` if an entry is not a digest, or if there is none.
    pub fn allow_only(self, sha256: &str) -> Result<Self> {
        Ok(Self { allowed: Some(AllowList::parse(sha256)?), ..self })
    }

    /// Applies [`PluginSearch::allow_only`] with the list of `WALKFORGE_PLUGIN_SHA256`, if that variable is set.
    ///
    /// # Errors
    /// As for [`PluginSearch::allow_only`]. An empty variable is an error too, as it would allow nothing.
    pub fn allow_by_environment(self) -> Result<Self> {
        match std::env::var_os(ALLOW_VARIABLE) {
            None => Ok(self),
            Some(list) => self
                .allow_only(&list.to_string_lossy())
                .map_err(|error| error.context(format!("variable {ALLOW_VARIABLE}"))),
        }
    }

    /// Registers a plugin that is linked into the program under `name`. It is found before any folder is searched.
    ///
    /// # Errors
    /// `InvalidArgument` if the name is empty, looks like a path or is taken.
    pub fn add(&mut self, name: &str, plugin: Plugin) -> Result<()> {
        Self::insert(&mut self.registered, name, plugin)
    }

    /// Registers a built-in plugin of the program under `name`. It is found after a file of that name in a folder that
    /// the user or the program names, and before one beside the program.
    ///
    /// # Errors
    /// As for [`PluginSearch::add`].
    pub fn add_built_in(&mut self, name: &str, plugin: Plugin) -> Result<()> {
        Self::insert(&mut self.built_in, name, plugin)
    }

    fn insert(plugins: &mut BTreeMap<String, Plugin>, name: &str, plugin: Plugin) -> Result<()> {
        if name.is_empty() || is_path(name) {
            fail!(InvalidArgument, "a plugin cannot be registered as \"{name}\"; allowed is a name that is not a path");
        }
        if plugins.contains_key(name) {
            fail!(InvalidArgument, "a plugin is already registered as \"{name}\"");
        }
        plugins.insert(name.to_owned(), plugin);
        Ok(())
    }

    /// Loads the plugin `name`. A name that contains a `/` or ends in `.so` is a path; any other is searched for, in
    /// each folder as `libwalkforge_NAME.so`, `libNAME.so` and `NAME.so`.
    ///
    /// # Errors
    /// `NotFound` with the folders that were searched; `PluginAbi` if the file is not a plugin of this ABI or may not
    /// be loaded.
    pub fn load(&self, name: &str) -> Result<Plugin> {
        if is_path(name) {
            return self.load_file(Path::new(name));
        }
        if let Some(plugin) = self.registered.get(name) {
            return Ok(plugin.clone());
        }
        let names = [format!("libwalkforge_{name}.so"), format!("lib{name}.so"), format!("{name}.so")];
        let file_in = |folders: &[PathBuf]| {
            folders.iter().flat_map(|folder| names.iter().map(|file| folder.join(file))).find(|path| path.is_file())
        };
        if let Some(path) = file_in(&self.folders) {
            return self.load_file(&path);
        }
        if let Some(plugin) = self.built_in.get(name) {
            return Ok(plugin.clone());
        }
        if let Some(path) = file_in(&self.beside) {
            return self.load_file(&path);
        }
        let folders = self.folders.iter().chain(&self.beside);
        let folders: Vec<String> = folders.map(|folder| folder.display().to_string()).collect();
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
        let candidate = Candidate::open(path)?;
        // Code that runs on loading, such as that which -ffast-math links in, may set modes for good.
        let (loaded, changed) = keep_environment(|| candidate.load(self.allowed.as_ref()));
        let Loaded { init, source, sha256 } = loaded?;
        // SAFETY: the function has the symbol of an init function, which keeps the contract of `wf_plugin_entry`.
        let plugin = unsafe { initialise(init, &source, Origin { sha256: Some(sha256), trace: None })? };
        if changed {
            plugin.note_float_modes();
        }
        Ok(plugin)
    }
}

fn is_path(name: &str) -> bool {
    name.contains('/') || Path::new(name).extension().is_some_and(|ending| ending == "so")
}

/// Returns the file that contains this code: the shared library, or the program that it is linked into.
fn this_library() -> Option<PathBuf> {
    let mut info = MaybeUninit::<libc::Dl_info>::uninit();
    let address = (&raw const HOST).cast();
    // SAFETY: the address is that of a static; `info` is read only if the call reports that it filled it; the name
    // lives as long as the library.
    let name = unsafe {
        if libc::dladdr(address, info.as_mut_ptr()) == 0 {
            return None;
        }
        let name = info.assume_init().dli_fname;
        if name.is_null() {
            return None;
        }
        CStr::from_ptr(name)
    };
    std::fs::canonicalize(OsStr::from_bytes(name.to_bytes())).ok()
}

/// A table that no plugin has filled yet.
pub(super) const EMPTY_TABLE: wf_plugin_api = wf_plugin_api {
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

/// Initialises a plugin whose init function is linked into the program; `source` names the plugin in messages.
///
/// # Safety
/// `init` keeps the contract of `wf_plugin_entry`, and it and the functions that it sets keep that of `wf_plugin_api`,
/// until the process ends.
///
/// # Errors
/// `PluginAbi` if its ABI version or description is invalid; any error of the plugin.
pub unsafe fn register(init: wf_plugin_entry, source: &str) -> Result<Plugin> {
    // SAFETY: the contract is the same.
    unsafe { initialise(init, source, Origin::default()) }
}

/// Initialises a plugin and validates its table.
///
/// # Safety
/// As for [`register`].
pub(super) unsafe fn initialise(init: wf_plugin_entry, source: &str, origin: Origin) -> Result<Plugin> {
    let mut api = EMPTY_TABLE;
    let mut error = core::ptr::null_mut();
    // SAFETY: the host table is static; `api` and `error` are local variables, and `api` starts with its size.
    unsafe {
        let (code, _) =
            CallTrace::around(origin.trace.as_deref(), "init", || init(&raw const HOST, &raw mut api, &raw mut error));
        check(source, "init", code, error)?;
    }
    let abi = api.abi_major;
    if abi == 0 && api.describe.is_none() {
        fail!(PluginAbi, "plugin {source} returned WF_OK from its init function without filling the table");
    }
    if abi != WF_ABI_MAJOR {
        fail!(PluginAbi, "plugin {source} was built for ABI {abi}, this host has {WF_ABI_MAJOR}");
    }
    if api.struct_size < FIRST_SIZE {
        fail!(
            PluginAbi,
            "plugin {source} fills a table of {} bytes; at least {FIRST_SIZE} are needed",
            api.struct_size
        );
    }
    Plugin::new(api, source, origin)
}
