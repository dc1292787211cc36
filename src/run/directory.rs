//! The run directory. It is claimed with a lock before anything is computed, then each file is written atomically,
//! `run.json` last. A directory with all of its files is finished; one that lacks some was interrupted, and the next
//! run writes it anew.

use std::fs::File;
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value as Json};

use crate::error::{Error, Result, fail};
use crate::report::html;
use crate::run::output::csv::{returns_csv, weights_csv};
use crate::run::output::report_values::report_values;
use crate::run::output::run_json::{machine_entry, pretty_json, run_document, run_identity};
use crate::run::runner::Run;
use crate::run::scores::scores;

/// The files of a finished directory, in the order they are written.
const FILES: [&str; 4] = ["weights.csv", "returns.csv", "report.html", "run.json"];
/// The lock file: locked by the process that writes the directory and removed when it is done. A killed process leaves
/// it behind, unlocked.
const LOCK: &str = ".lock";

/// A run directory that only this process may write.
#[derive(Debug)]
pub struct RunDirectory {
    folder: PathBuf,
    // Whether this process created the folder.
    created: bool,
    // Kept open to hold its lock.
    _lock: File,
}

impl RunDirectory {
    /// Claims `folder` for a run, computed or not, and creates it if it does not exist. Returns `None`, and changes
    /// nothing, if the folder already holds the same run (library, data, settings and models), finished.
    ///
    /// # Errors
    /// `Exists` if the folder holds another run or other files, `Busy` if another process is writing it, `Io` if it
    /// cannot be read or created.
    pub fn claim(folder: &Path, run: &Run) -> Result<Option<Self>> {
        Self::claim_for(folder, &run_identity(run))
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Claims `folder` for the run of this identity.
    fn claim_for(folder: &Path, identity: &Map<String, Json>) -> Result<Option<Self>> {
        // Checked before the lock is taken, so that a folder that is not ours stays untouched.
        if is_finished(folder, identity)? {
            return Ok(None);
        }
        let directory = Self::lock(folder)?;
        // And again under the lock: the process that held it before may have finished the run.
        if is_finished(folder, identity)? {
            return Ok(None);
        }
        for name in FILES {
            remove_if_exists(&partial_path(&folder.join(name)))?;
        }
        Ok(Some(directory))
    }

    /// Locks `folder/.lock`. The process that holds the lock removes the file, so a lock is valid only if the locked
    /// file is still the one at that path. If it is not, another process has just finished, and we try again.
    fn lock(folder: &Path) -> Result<Self> {
        let path = folder.join(LOCK);
        let busy = || format!("{} is being written by another process; wait for it to end", folder.display());
        let mut created = false;
        loop {
            if !folder.exists() {
                std::fs::create_dir_all(folder).map_err(|error| Error::io("make", folder, &error))?;
                created = true;
            }
            let file = match File::options().create(true).truncate(false).write(true).open(&path) {
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                other => other.map_err(|error| Error::io("write", &path, &error))?,
            };
            match file.try_lock() {
                Ok(()) => (),
                Err(std::fs::TryLockError::WouldBlock) => fail!(Busy, "{}", busy()),
                Err(std::fs::TryLockError::Error(error)) => return Err(Error::io("lock", &path, &error)),
            }
            let locked = file.metadata().map_err(|error| Error::io("read", &path, &error))?;
            match std::fs::metadata(&path) {
                Ok(current) if (current.dev(), current.ino()) == (locked.dev(), locked.ino()) => {
                    return Ok(Self { folder: folder.to_owned(), created, _lock: file });
                }
                Ok(_) => (),
                Err(error) if error.kind() == ErrorKind::NotFound => (),
                Err(error) => return Err(Error::io("read", &path, &error)),
            }
        }
    }

    /// Writes the results of a finished run and releases the directory. `seconds` is the computing time, recorded under
    /// `machine` in `run.json`.
    ///
    /// # Errors
    /// `NotReady` if windows are still to be computed; `Io`, naming the file, if one cannot be written. The directory
    /// can then be written anew later.
    pub fn write(self, run: &Run, seconds: f64) -> Result<()> {
        let progress = run.progress();
        if progress.done < progress.windows {
            fail!(
                NotReady,
                "{} of {} windows are computed; step the run to its end first",
                progress.done,
                progress.windows
            );
        }
        let scores = scores(run)?;
        self.write_file("weights.csv", &weights_csv(run))?;
        self.write_file("returns.csv", &returns_csv(run))?;
        self.write_file("report.html", &html(&report_values(run, &scores)))?;
        self.sync()?;
        let mut document = run_document(run, &scores);
        document.insert("machine".to_owned(), machine_entry(run, seconds));
        self.write_file("run.json", &pretty_json(&Json::Object(document)))?;
        self.sync()
    }

    /// Writes a file under a temporary name, syncs it to disk and renames it.
    fn write_file(&self, name: &str, text: &str) -> Result<()> {
        let path = self.folder.join(name);
        let partial = partial_path(&path);
        let write = || {
            let mut file = File::create(&partial)?;
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            std::fs::rename(&partial, &path)
        };
        write().map_err(|error| {
            // The first error is the one to report.
            let _ = std::fs::remove_file(&partial);
            Error::io("write", &path, &error)
        })
    }

    /// Syncs the folder, so that the new file names survive a crash.
    fn sync(&self) -> Result<()> {
        // A folder that we created is an entry in its parent, which is synced too unless it is the working directory.
        let parent = self.folder.parent().filter(|parent| self.created && !parent.as_os_str().is_empty());
        for folder in [Some(self.folder.as_path()), parent].into_iter().flatten() {
            File::open(folder)
                .and_then(|folder| folder.sync_all())
                .map_err(|error| Error::io("write", folder, &error))?;
        }
        Ok(())
    }
}

impl Drop for RunDirectory {
    /// Removes the lock file while the lock is still held, and the folder if we created it and it is empty. Failing to
    /// remove them is harmless: the next process takes over the lock.
    fn drop(&mut self) {
        let _ = std::fs::remove_file(self.folder.join(LOCK));
        if self.created {
            let _ = std::fs::remove_dir(&self.folder);
        }
    }
}

/// Claims `folder`, writes the results of a finished run and releases it. A folder that already holds the same run,
/// finished, is left as it is.
///
/// # Errors
/// As [`RunDirectory::claim`] and [`RunDirectory::write`].
pub fn write_directory(run: &Run, folder: &Path, seconds: f64) -> Result<()> {
    match RunDirectory::claim(folder, run)? {
        Some(directory) => directory.write(run, seconds),
        None => Ok(()),
    }
}

/// Whether `folder` holds this run, finished: a `run.json` with the same identity, and every other file.
fn is_finished(folder: &Path, identity: &Map<String, Json>) -> Result<bool> {
    let file = folder.join("run.json");
    let text = match std::fs::read_to_string(&file) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            refuse_other_files(folder)?;
            return Ok(false);
        }
        Err(error) => return Err(Error::io("read", &file, &error)),
    };
    let earlier: Json = serde_json::from_str(&text).unwrap_or_default();
    let differs: Vec<&str> =
        identity.iter().filter(|(key, value)| earlier[key.as_str()] != **value).map(|(key, _)| key.as_str()).collect();
    let version = |of: &Json, key: &str| of.get(key).map_or_else(|| "none".to_owned(), Json::to_string);
    if differs.iter().any(|key| ["schema", "results"].contains(key)) {
        let this = Json::Object(identity.clone());
        fail!(
            Exists,
            "{} holds results of another version of walkforge (schema {}, results {}; this one writes schema {}, \
             results {}), which are computed by other rules; name a new directory",
            folder.display(),
            version(&earlier, "schema"),
            version(&earlier, "results"),
            version(&this, "schema"),
            version(&this, "results")
        );
    }
    if !differs.is_empty() {
        fail!(
            Exists,
            "{} holds another run (run.json differs in {}); name a new directory",
            folder.display(),
            differs.join(", ")
        );
    }
    Ok(FILES.iter().all(|name| folder.join(name).exists()))
}

/// Refuses a folder that holds anything but the files that an interrupted run leaves behind.
fn refuse_other_files(folder: &Path) -> Result<()> {
    let entries = match std::fs::read_dir(folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        other => other.map_err(|error| Error::io("read", folder, &error))?,
    };
    for entry in entries {
        let name = entry.map_err(|error| Error::io("read", folder, &error))?.file_name();
        let is_ours = |file: &str| name == file || partial_path(Path::new(file)).as_os_str() == name;
        if name != LOCK && !FILES.iter().any(|file| is_ours(file)) {
            let (folder, name) = (folder.display(), name.display());
            fail!(Exists, "{folder} holds {name}, so it is not a run directory; name a new one");
        }
    }
    Ok(())
}

/// The temporary name of a file while it is written.
fn partial_path(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".partial");
    PathBuf::from(name)
}

fn remove_if_exists(path: &Path) -> Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(Error::io("remove", path, &error)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::{FILES, LOCK, RunDirectory};
    use crate::error::Code;
    use serde_json::{Map, Value as Json, json};
    use std::path::Path;

    fn identity(seed: u32) -> Map<String, Json> {
        json!({"schema": 2, "results": 2, "settings": {"seed": seed}}).as_object().unwrap().clone()
    }

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<String> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn a_claimed_directory_is_busy_until_it_is_released_and_leaves_no_trace() {
        let scratch = tempfile::tempdir().unwrap();
        let folder = scratch.path().join("new/run");
        let first = RunDirectory::claim_for(&folder, &identity(0)).unwrap().unwrap();
        let error = RunDirectory::claim_for(&folder, &identity(0)).unwrap_err();
        assert_eq!(error.code(), Code::Busy);
        assert!(error.to_string().contains("is being written by another process"), "{error}");
        assert_eq!(names(&folder), [LOCK]);
        drop(first);
        assert!(!folder.exists());
        // A folder that existed before stays, and the lock file of a killed process is taken over.
        std::fs::create_dir(&folder).unwrap();
        std::fs::write(folder.join(LOCK), "").unwrap();
        drop(RunDirectory::claim_for(&folder, &identity(0)).unwrap().unwrap());
        assert!(names(&folder).is_empty() && folder.exists());
    }

    #[test]
    fn two_threads_never_hold_one_directory_at_the_same_time() {
        use std::sync::atomic::{AtomicUsize, Ordering};
        let scratch = tempfile::tempdir().unwrap();
        let folder = scratch.path().join("run");
        let inside = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let mut wins = 0;
                    while wins < 30 {
                        match RunDirectory::claim_for(&folder, &identity(0)) {
                            Ok(claimed) => {
                                assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0, "two hold the directory");
                                wins += 1;
                                std::thread::yield_now();
                                inside.fetch_sub(1, Ordering::SeqCst);
                                drop(claimed);
                            }
                            Err(error) => assert_eq!(error.code(), Code::Busy, "{error}"),
                        }
                    }
                });
            }
        });
    }

    #[test]
    fn interrupted_directories_are_cleaned_foreign_ones_refused_and_finished_ones_recognised() {
        let scratch = tempfile::tempdir().unwrap();
        let folder = scratch.path();
        for name in ["weights.csv", "returns.csv.partial", "run.json.partial"] {
            std::fs::write(folder.join(name), "half").unwrap();
        }
        let claimed = RunDirectory::claim_for(folder, &identity(0)).unwrap().unwrap();
        assert_eq!(names(folder), [LOCK, "weights.csv"]);
        // A file is written whole or not at all: if a folder has its name, the temporary file is removed.
        std::fs::remove_file(folder.join("weights.csv")).unwrap();
        std::fs::create_dir(folder.join("weights.csv")).unwrap();
        let error = claimed.write_file("weights.csv", "text").unwrap_err();
        assert!(error.code() == Code::Io && error.to_string().contains("weights.csv"), "{error}");
        assert_eq!(names(folder), [LOCK, "weights.csv"]);
        std::fs::remove_dir(folder.join("weights.csv")).unwrap();
        claimed.write_file("run.json", &Json::Object(identity(0)).to_string()).unwrap();
        drop(claimed);
        // Somebody removed files beside run.json: the run is written anew.
        let claimed = RunDirectory::claim_for(folder, &identity(0)).unwrap().unwrap();
        for name in ["weights.csv", "returns.csv", "report.html"] {
            claimed.write_file(name, "text").unwrap();
        }
        drop(claimed);
        let modified = || std::fs::metadata(folder).unwrap().modified().unwrap();
        let before = modified();
        assert!(RunDirectory::claim_for(folder, &identity(0)).unwrap().is_none());
        let error = RunDirectory::claim_for(folder, &identity(1)).unwrap_err();
        assert_eq!(error.code(), Code::Exists);
        assert!(error.to_string().contains("run.json differs in settings"), "{error}");
        assert_eq!(modified(), before);
        // A directory of an earlier version is neither this run nor finished.
        let mut earlier = identity(0);
        earlier.remove("results");
        earlier.insert("schema".to_owned(), json!(1));
        std::fs::write(folder.join("run.json"), Json::Object(earlier).to_string()).unwrap();
        let error = RunDirectory::claim_for(folder, &identity(0)).unwrap_err();
        assert!(error.to_string().contains("schema 1, results none; this one writes schema 2, results 2"), "{error}");
        for name in FILES {
            std::fs::remove_file(folder.join(name)).unwrap();
        }
        std::fs::write(folder.join("thesis.doc"), "").unwrap();
        let error = RunDirectory::claim_for(folder, &identity(0)).unwrap_err();
        assert!(error.code() == Code::Exists && error.to_string().contains("holds thesis.doc"), "{error}");
        assert_eq!(names(folder), ["thesis.doc"]);
        let before = modified();
        assert!(RunDirectory::claim_for(folder, &identity(0)).is_err());
        assert_eq!(modified(), before);
    }
}
