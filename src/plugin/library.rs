//! A plugin's library: its file is opened once and hashed, compared with an allow-list where there is one, and loaded.
//!
//! With an allow-list the loader is handed the file that was hashed, as `/proc/self/fd/N`, and not its path: whoever puts
//! another file in its place in between changes nothing. Whoever may write into the file itself still can; keep plugins
//! where only those may write who may choose them. Without an allow-list the path is loaded, so that a library finds
//! others beside it (`$ORIGIN`) and debuggers show where it is.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs::File;
use std::io::Read;
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use libloading::os::unix::{Library, RTLD_LOCAL, RTLD_NOW};
use sha2::{Digest, Sha256};
use walkforge_plugin_abi::wf_plugin_entry;

use crate::error::{Code, Error, Result, fail};

/// SHA-256 digests of the plugin files that may be loaded.
#[derive(Clone, Debug)]
pub(super) struct AllowList(BTreeSet<String>);

impl AllowList {
    /// From digests as hexadecimal digits, `,` between them.
    pub(super) fn parse(text: &str) -> Result<Self> {
        let digest = |entry: &str| {
            let digits = entry.trim().to_ascii_lowercase();
            if digits.len() != 64 || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
                fail!(
                    InvalidSetting,
                    "the list of allowed plugins has \"{}\"; allowed are SHA-256 digests of 64 hexadecimal digits, ',' \
                     between them",
                    entry.trim()
                );
            }
            Ok(digits)
        };
        text.split(',').map(digest).collect::<Result<_>>().map(Self)
    }
}

/// A plugin file that is open and hashed, and not yet loaded.
pub(super) struct Candidate {
    path: PathBuf,
    file: File,
    /// Device and number: what the loader takes for one and the same file.
    identity: (u64, u64),
    sha256: String,
}

/// A file that this process has loaded.
struct LoadedFile {
    identity: (u64, u64),
    sha256: String,
    /// Paths that the loader knows it by.
    paths: Vec<PathBuf>,
    /// Stays open: the loader remembers files by name, so the number in `/proc/self/fd/N` must never become another's.
    file: File,
}

// The loader's own list of libraries is the process's, and so is what has to be known of it.
static KNOWN: Mutex<Vec<LoadedFile>> = Mutex::new(Vec::new());

impl Candidate {
    /// Opens and hashes a file.
    pub(super) fn open(path: &Path) -> Result<Self> {
        let source = path.display();
        if path.is_dir() {
            fail!(PluginAbi, "plugin file {source} is a folder; name the library inside it");
        }
        if !path.is_file() {
            fail!(NotFound, "plugin file {source} is not there");
        }
        let refused = |error: std::io::Error| Error::io("read", path, &error);
        let mut file = File::open(path).map_err(refused)?;
        let found = file.metadata().map_err(refused)?;
        let (mut hash, mut buffer, mut start) = (Sha256::new(), vec![0; 1 << 16], Vec::new());
        loop {
            let count = file.read(&mut buffer).map_err(refused)?;
            if count == 0 {
                break;
            }
            start.extend_from_slice(&buffer[..count.min(4_usize.saturating_sub(start.len()))]);
            hash.update(&buffer[..count]);
        }
        if start.is_empty() {
            fail!(PluginAbi, "plugin file {source} is empty");
        }
        if start != *b"\x7fELF" {
            fail!(PluginAbi, "plugin file {source} is no shared library: it does not begin as one (ELF)");
        }
        let sha256 = hash.finalize().iter().fold(String::with_capacity(64), |mut text, byte| {
            // Writing to a string cannot fail.
            let _ = write!(text, "{byte:02x}");
            text
        });
        Ok(Self { path: path.to_owned(), file, identity: (found.dev(), found.ino()), sha256 })
    }

    /// Loads it, if it may be. It is never unloaded.
    pub(super) fn load(self, allowed: Option<&AllowList>) -> Result<Loaded> {
        let source = self.path.display().to_string();
        if let Some(AllowList(digests)) = allowed
            && !digests.contains(&self.sha256)
        {
            fail!(
                PluginAbi,
                "plugin file {source} may not be loaded: its SHA-256 is {}, which is none of the {} that are allowed",
                self.sha256,
                digests.len()
            );
        }
        let refused = |error: libloading::Error| {
            // What the loader says, such as the symbol that is missing, is the cause of the library's own words.
            let why = std::error::Error::source(&error).map_or(error.to_string(), ToString::to_string);
            Error::new(Code::PluginAbi, format!("plugin file {source} cannot be loaded: {why}"))
        };
        // A bare file name would be sought along the system's folders instead of where it was found.
        let full = std::path::absolute(&self.path).map_err(|error| Error::io("find", &self.path, &error))?;
        let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
        let place = known.iter().position(|known| known.identity == self.identity);
        if place.is_some_and(|place| known[place].sha256 != self.sha256) {
            fail!(
                PluginAbi,
                "plugin file {source} was written to since this process loaded it, and a plugin is never unloaded; start \
                 the program again"
            );
        }
        let descriptor = place.map_or(self.file.as_raw_fd(), |place| known[place].file.as_raw_fd());
        // The loader would give an earlier file of the same path, without a look at what is there now.
        let is_taken = known.iter().any(|other| other.identity != self.identity && other.paths.contains(&full));
        let by_path = allowed.is_none() && !is_taken;
        let name = if by_path { full.clone() } else { PathBuf::from(format!("/proc/self/fd/{descriptor}")) };
        // Every symbol is looked up now: one that is missing is an error here, and later would end the process.
        // SAFETY: loading runs the library's initialisers; a user who names a plugin asks for just that.
        let library = unsafe { Library::open(Some(&name), RTLD_NOW | RTLD_LOCAL) }.map_err(refused)?;
        let paths = if by_path { vec![full] } else { Vec::new() };
        match place {
            Some(place) => known[place].paths.extend(paths),
            None => {
                known.push(LoadedFile { identity: self.identity, sha256: self.sha256.clone(), paths, file: self.file })
            }
        }
        drop(known);
        let init = entry(&library, &self.path);
        // Plugins are never unloaded: their descriptions and models may be used until the process ends.
        std::mem::forget(library);
        Ok(Loaded { init: init?, source, sha256: self.sha256 })
    }
}

/// A plugin's entry in a library that was loaded.
pub(super) struct Loaded {
    pub(super) init: wf_plugin_entry,
    /// What messages call it.
    pub(super) source: String,
    pub(super) sha256: String,
}

fn entry(library: &Library, path: &Path) -> Result<wf_plugin_entry> {
    let stem = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    let stem = stem.strip_prefix("lib").unwrap_or(&stem);
    let stem = stem.strip_prefix("walkforge_").unwrap_or(stem);
    let named = format!("wf_plugin_init_{stem}");
    // SAFETY: a symbol of this name has the type of `wf_plugin_entry`, by the ABI.
    let init =
        unsafe { library.get::<wf_plugin_entry>(&named).or_else(|_| library.get::<wf_plugin_entry>("wf_plugin_init")) };
    match init {
        Ok(symbol) => Ok(*symbol),
        Err(_) => fail!(
            PluginAbi,
            "plugin file {} has no entry: it exports neither {named} nor wf_plugin_init",
            path.display()
        ),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::path::{Path, PathBuf};
    use std::process::Command;

    use walkforge_plugin_abi::wf_plugin_entry;

    use super::{AllowList, Candidate};
    use crate::error::Code;

    /// A library whose entry returns `number`.
    fn built(folder: &Path, name: &str, number: i32) -> PathBuf {
        let (text, out) = (folder.join(format!("{name}.c")), folder.join(format!("lib{name}.so")));
        std::fs::write(&text, format!("int wf_plugin_init(void) {{ return {number}; }}\n")).unwrap();
        let status = Command::new("cc").args(["-shared", "-fPIC", "-o"]).arg(&out).arg(&text).status().unwrap();
        assert!(status.success());
        out
    }

    fn answer(init: wf_plugin_entry) -> i32 {
        // SAFETY: these entries look at none of their arguments.
        unsafe { init(std::ptr::null(), std::ptr::null_mut(), std::ptr::null_mut()) }
    }

    #[test]
    fn a_file_that_is_swapped_between_check_and_load_changes_nothing() {
        let scratch = tempfile::tempdir().unwrap();
        let (good, evil) = (built(scratch.path(), "good", 41), built(scratch.path(), "evil", 66));
        let candidate = Candidate::open(&good).unwrap();
        let allowed = AllowList::parse(&candidate.sha256).unwrap();
        std::fs::rename(&evil, &good).unwrap();
        assert_eq!(answer(candidate.load(Some(&allowed)).unwrap().init), 41);
        let error = Candidate::open(&good).unwrap().load(Some(&allowed)).err().unwrap();
        assert_eq!(error.code(), Code::PluginAbi);
        assert!(error.to_string().contains("none of the 1 that are allowed"), "{error}");
    }

    #[test]
    fn a_file_that_was_replaced_is_loaded_anew_and_one_that_was_written_to_is_refused() {
        let scratch = tempfile::tempdir().unwrap();
        let (file, other) = (built(scratch.path(), "kept", 1), built(scratch.path(), "next", 2));
        let load = || Candidate::open(&file).unwrap().load(None);
        let first = load().unwrap();
        assert_eq!((answer(first.init), answer(load().unwrap().init)), (1, 1));
        std::fs::rename(&other, &file).unwrap();
        let second = load().unwrap();
        assert_eq!((answer(second.init), answer(first.init)), (2, 1));
        assert_ne!(second.sha256, first.sha256);
        // Bytes at the end, which the loader does not look at.
        let mut open = std::fs::File::options().append(true).open(&file).unwrap();
        open.write_all(b"more").unwrap();
        let error = load().err().unwrap();
        assert!(error.to_string().contains("was written to since this process loaded it"), "{error}");
    }

    #[test]
    fn many_plugins_under_an_allow_list_are_each_their_own() {
        let scratch = tempfile::tempdir().unwrap();
        for number in 0..20 {
            let file = built(scratch.path(), &format!("number{number}"), number);
            let candidate = Candidate::open(&file).unwrap();
            let allowed = AllowList::parse(&candidate.sha256).unwrap();
            assert_eq!(answer(candidate.load(Some(&allowed)).unwrap().init), number);
            // The same file again, by itself and by its path.
            assert_eq!(answer(Candidate::open(&file).unwrap().load(Some(&allowed)).unwrap().init), number);
            assert_eq!(answer(Candidate::open(&file).unwrap().load(None).unwrap().init), number);
        }
    }

    #[test]
    fn a_list_that_is_none_is_told() {
        let digest = "0123456789ABCDEF".repeat(4);
        assert_eq!(AllowList::parse(&format!(" {digest} ,{digest}")).unwrap().0.len(), 1);
        for bad in ["", " ", &digest[1..], &format!("{digest},"), &digest.replace('0', "g")] {
            let error = AllowList::parse(bad).unwrap_err();
            assert!(error.to_string().contains("64 hexadecimal digits"), "{error}");
        }
    }
}
