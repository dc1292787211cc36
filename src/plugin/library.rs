//! Opens a plugin's file once, hashes it, compares the digest with an allow-list if there is one, and loads it.
//!
//! With an allow-list the loader receives the file that was hashed, as `/proc/self/fd/N`, instead of its path:
//! replacing the file between the two steps has no effect. Modifying the file itself still has, so plugins belong in a
//! folder that only those who choose them may write to. Without an allow-list the path is loaded, so that a library
//! finds others beside it (`$ORIGIN`) and debuggers show where it is.

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
    /// Parses digests of hexadecimal digits, separated by `,`.
    pub(super) fn parse(text: &str) -> Result<Self> {
        let digest = |entry: &str| {
            let digits = entry.trim().to_ascii_lowercase();
            if digits.len() != 64 || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
                fail!(
                    InvalidSetting,
                    "the list of allowed plugins has \"{}\"; allowed are SHA-256 digests of 64 hexadecimal digits, \
                     separated by ','",
                    entry.trim()
                );
            }
            Ok(digits)
        };
        text.split(',').map(digest).collect::<Result<_>>().map(Self)
    }
}

/// A plugin file that is open and hashed but not loaded.
pub(super) struct Candidate {
    path: PathBuf,
    file: File,
    /// Device and inode, by which the loader identifies a file.
    identity: (u64, u64),
    sha256: String,
}

/// A file that this process has loaded.
struct LoadedFile {
    identity: (u64, u64),
    sha256: String,
    /// Paths by which the loader knows it.
    paths: Vec<PathBuf>,
    /// Stays open: the loader remembers files by name, so no other file may get the descriptor in `/proc/self/fd/N`.
    file: File,
}

// The loader keeps one list of libraries per process; this list mirrors it.
static LOADED: Mutex<Vec<LoadedFile>> = Mutex::new(Vec::new());

impl Candidate {
    /// Opens and hashes a file.
    pub(super) fn open(path: &Path) -> Result<Self> {
        let source = path.display();
        if path.is_dir() {
            fail!(PluginAbi, "plugin file {source} is a folder; name the library inside it");
        }
        if !path.is_file() {
            fail!(NotFound, "plugin file {source} does not exist");
        }
        let refused = |error: std::io::Error| Error::io("read", path, &error);
        let mut file = File::open(path).map_err(refused)?;
        let metadata = file.metadata().map_err(refused)?;
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
            fail!(
                PluginAbi,
                "plugin file {source} is not a shared library: it does not start with the ELF magic number"
            );
        }
        let sha256 = hash.finalize().iter().fold(String::with_capacity(64), |mut text, byte| {
            // Writing to a string cannot fail.
            let _ = write!(text, "{byte:02x}");
            text
        });
        Ok(Self { path: path.to_owned(), file, identity: (metadata.dev(), metadata.ino()), sha256 })
    }

    /// Loads the file if it is allowed. It is never unloaded.
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
            // The message of the system's loader, such as a missing symbol, is the source of this error.
            let reason = std::error::Error::source(&error).map_or(error.to_string(), ToString::to_string);
            Error::new(Code::PluginAbi, format!("plugin file {source} cannot be loaded: {reason}"))
        };
        // The loader would search the system's folders for a bare file name.
        let full = std::path::absolute(&self.path).map_err(|error| Error::io("find", &self.path, &error))?;
        let mut loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
        let index = loaded.iter().position(|other| other.identity == self.identity);
        if index.is_some_and(|index| loaded[index].sha256 != self.sha256) {
            fail!(
                PluginAbi,
                "plugin file {source} was modified after this process loaded it, and a plugin is never unloaded; \
                 restart the program"
            );
        }
        let descriptor = index.map_or(self.file.as_raw_fd(), |index| loaded[index].file.as_raw_fd());
        // For a path that it knows, the loader would return the earlier file without looking at the present one.
        let is_taken = loaded.iter().any(|other| other.identity != self.identity && other.paths.contains(&full));
        let by_path = allowed.is_none() && !is_taken;
        let name = if by_path { full.clone() } else { PathBuf::from(format!("/proc/self/fd/{descriptor}")) };
        // All symbols are resolved now: a missing one is an error here and would end the process later.
        // SAFETY: loading runs the library's initialisers, and the user chose to run this code.
        let library = unsafe { Library::open(Some(&name), RTLD_NOW | RTLD_LOCAL) }.map_err(refused)?;
        let paths = if by_path { vec![full] } else { Vec::new() };
        if let Some(index) = index {
            loaded[index].paths.extend(paths);
        } else {
            let sha256 = self.sha256.clone();
            loaded.push(LoadedFile { identity: self.identity, sha256, paths, file: self.file });
        }
        drop(loaded);
        let init = init_function(&library, &self.path);
        // Its descriptions and models may be used until the process ends.
        std::mem::forget(library);
        Ok(Loaded { init: init?, source, sha256: self.sha256 })
    }
}

/// The init function of a library that was loaded.
pub(super) struct Loaded {
    pub(super) init: wf_plugin_entry,
    /// The plugin's name in messages.
    pub(super) source: String,
    pub(super) sha256: String,
}

fn init_function(library: &Library, path: &Path) -> Result<wf_plugin_entry> {
    let stem = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    let stem = stem.strip_prefix("lib").unwrap_or(&stem);
    let stem = stem.strip_prefix("walkforge_").unwrap_or(stem);
    let symbol = format!("wf_plugin_init_{stem}");
    // SAFETY: by the ABI, a symbol of either name is a `wf_plugin_entry`.
    let init = unsafe {
        library.get::<wf_plugin_entry>(&symbol).or_else(|_| library.get::<wf_plugin_entry>("wf_plugin_init"))
    };
    match init {
        Ok(init) => Ok(*init),
        Err(_) => fail!(
            PluginAbi,
            "plugin file {} has no entry: it exports neither {symbol} nor wf_plugin_init",
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

    /// Builds a library whose init function returns `code`.
    fn built(folder: &Path, name: &str, code: i32) -> PathBuf {
        let (text, out) = (folder.join(format!("{name}.c")), folder.join(format!("lib{name}.so")));
        std::fs::write(&text, format!("int wf_plugin_init(void) {{ return {code}; }}\n")).unwrap();
        let status = Command::new("cc").args(["-shared", "-fPIC", "-o"]).arg(&out).arg(&text).status().unwrap();
        assert!(status.success());
        out
    }

    fn call(init: wf_plugin_entry) -> i32 {
        // SAFETY: these init functions use none of their arguments.
        unsafe { init(std::ptr::null(), std::ptr::null_mut(), std::ptr::null_mut()) }
    }

    #[test]
    fn replacing_the_file_between_check_and_load_has_no_effect() {
        let scratch = tempfile::tempdir().unwrap();
        let (good, evil) = (built(scratch.path(), "good", 41), built(scratch.path(), "evil", 66));
        let candidate = Candidate::open(&good).unwrap();
        let allowed = AllowList::parse(&candidate.sha256).unwrap();
        std::fs::rename(&evil, &good).unwrap();
        assert_eq!(call(candidate.load(Some(&allowed)).unwrap().init), 41);
        let error = Candidate::open(&good).unwrap().load(Some(&allowed)).err().unwrap();
        assert_eq!(error.code(), Code::PluginAbi);
        assert!(error.to_string().contains("none of the 1 that are allowed"), "{error}");
    }

    #[test]
    fn a_replaced_file_is_loaded_as_another_and_a_modified_one_is_refused() {
        let scratch = tempfile::tempdir().unwrap();
        let (file, other) = (built(scratch.path(), "kept", 1), built(scratch.path(), "next", 2));
        let load = || Candidate::open(&file).unwrap().load(None);
        let first = load().unwrap();
        assert_eq!((call(first.init), call(load().unwrap().init)), (1, 1));
        std::fs::rename(&other, &file).unwrap();
        let second = load().unwrap();
        assert_eq!((call(second.init), call(first.init)), (2, 1));
        assert_ne!(second.sha256, first.sha256);
        // The loader ignores bytes after the end of the library.
        let mut open = std::fs::File::options().append(true).open(&file).unwrap();
        open.write_all(b"more").unwrap();
        let error = load().err().unwrap();
        assert!(error.to_string().contains("was modified after this process loaded it"), "{error}");
    }

    #[test]
    fn many_plugins_under_an_allow_list_are_not_mixed_up() {
        let scratch = tempfile::tempdir().unwrap();
        for code in 0..20 {
            let file = built(scratch.path(), &format!("plugin{code}"), code);
            let candidate = Candidate::open(&file).unwrap();
            let allowed = AllowList::parse(&candidate.sha256).unwrap();
            assert_eq!(call(candidate.load(Some(&allowed)).unwrap().init), code);
            // A second time, by descriptor and by path.
            assert_eq!(call(Candidate::open(&file).unwrap().load(Some(&allowed)).unwrap().init), code);
            assert_eq!(call(Candidate::open(&file).unwrap().load(None).unwrap().init), code);
        }
    }

    #[test]
    fn an_invalid_allow_list_is_an_error() {
        let digest = "0123456789ABCDEF".repeat(4);
        assert_eq!(AllowList::parse(&format!(" {digest} ,{digest}")).unwrap().0.len(), 1);
        for bad in ["", " ", &digest[1..], &format!("{digest},"), &digest.replace('0', "g")] {
            let error = AllowList::parse(bad).unwrap_err();
            assert!(error.to_string().contains("64 hexadecimal digits"), "{error}");
        }
    }
}
