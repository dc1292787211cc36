//! The run directory: claimed with a lock before anything is computed, then written file by file, each whole or not
//! there, `run.json` last. A directory with all of its files is finished; another was cut off and is completed.

use std::fs::File;
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value as Json};

use crate::error::{Error, Result, fail};
use crate::report::html;
use crate::run::output::csv::{returns, weights};
use crate::run::output::report_values::overview;
use crate::run::output::run_json::{document, identity, machine, text};
use crate::run::runner::Run;
use crate::run::scores::scores;

/// The files of a finished directory, in the order in which they are written.
const FILES: [&str; 4] = ["weights.csv", "returns.csv", "report.html", "run.json"];
/// Locked by the process that works on the directory, and removed when it is done. One that was killed leaves it
/// behind, unlocked.
const LOCK: &str = ".lock";

/// A run directory that this process alone may write.
#[derive(Debug)]
pub struct RunDirectory {
    folder: PathBuf,
    made: bool,
    // Held open for its lock.
    _lock: File,
}

impl RunDirectory {
    /// Claims `folder` for a run that is prepared or computed, making it where it is not there. `None` where it holds
    /// the same run (library, data, settings and models) already, finished: then nothing was changed.
    ///
    /// # Errors
    /// `Exists` where it holds another run or other files, `Busy` where another process is writing it, `Io` where it
    /// cannot be read or made.
    pub fn claim(folder: &Path, run: &Run) -> Result<Option<Self>> {
        Self::claim_for(folder, &identity(run))
    }

    fn claim_for(folder: &Path, identity: &Map<String, Json>) -> Result<Option<Self>> {
        // Before the lock, so that a folder that is not ours is left without a trace.
        if finished(folder, identity)? {
            return Ok(None);
        }
        let directory = Self::lock(folder)?;
        // And after it: whoever held the lock a moment ago may have finished.
        if finished(folder, identity)? {
            return Ok(None);
        }
        for name in FILES {
            remove(&partial(&folder.join(name)))?;
        }
        Ok(Some(directory))
    }

    /// Locks `folder/.lock`. The file is removed by the process that holds its lock, so a lock counts only if the file
    /// still stands under its name once it is locked; if not, another process has just finished, and we start over.
    fn lock(folder: &Path) -> Result<Self> {
        let path = folder.join(LOCK);
        let busy = || format!("{} is being written by another process; wait for it to end", folder.display());
        let mut made = false;
        loop {
            if !folder.exists() {
                std::fs::create_dir_all(folder).map_err(|error| Error::io("make", folder, &error))?;
                made = true;
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
            let ours = file.metadata().map_err(|error| Error::io("read", &path, &error))?;
            match std::fs::metadata(&path) {
                Ok(now) if (now.dev(), now.ino()) == (ours.dev(), ours.ino()) => {
                    return Ok(Self { folder: folder.to_owned(), made, _lock: file });
                }
                Ok(_) => (),
                Err(error) if error.kind() == ErrorKind::NotFound => (),
                Err(error) => return Err(Error::io("read", &path, &error)),
            }
        }
    }

    /// Writes the results of a computed run and gives the directory free. `seconds` is what `machine` tells
    /// of the time it took.
    ///
    /// # Errors
    /// `NotReady` where windows are still to be computed; `Io` naming the file that could not be written: the directory
    /// can then be completed later.
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
        self.put("weights.csv", &weights(run))?;
        self.put("returns.csv", &returns(run))?;
        self.put("report.html", &html(&overview(run, &scores)))?;
        self.sync()?;
        let mut document = document(run, &scores);
        document.insert("machine".to_owned(), machine(run, seconds));
        self.put("run.json", &text(&Json::Object(document)))?;
        self.sync()
    }

    /// Writes a file under a temporary name, makes it durable and gives it its name.
    fn put(&self, name: &str, text: &str) -> Result<()> {
        let path = self.folder.join(name);
        let partial = partial(&path);
        let write = || {
            let mut file = File::create(&partial)?;
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            std::fs::rename(&partial, &path)
        };
        write().map_err(|error| {
            // The error to tell is the first one.
            let _ = std::fs::remove_file(&partial);
            Error::io("write", &path, &error)
        })
    }

    /// Makes the names given so far durable.
    fn sync(&self) -> Result<()> {
        // A directory that we made has a name of its own to keep; its parent is `.` where the path has one part.
        let parent = self.folder.parent().filter(|parent| self.made && !parent.as_os_str().is_empty());
        for folder in [Some(self.folder.as_path()), parent].into_iter().flatten() {
            File::open(folder)
                .and_then(|folder| folder.sync_all())
                .map_err(|error| Error::io("write", folder, &error))?;
        }
        Ok(())
    }
}

impl Drop for RunDirectory {
    /// Removes the lock file while its lock is still held, and a directory that we made and left empty. What cannot be
    /// removed is harmless: the next process takes the lock over.
    fn drop(&mut self) {
        let _ = std::fs::remove_file(self.folder.join(LOCK));
        if self.made {
            let _ = std::fs::remove_dir(&self.folder);
        }
    }
}

/// Claims `folder`, writes the results of a computed run and gives it free. Where the directory already holds the same
/// run, finished, it is left as it is.
///
/// # Errors
/// As [`RunDirectory::claim`] and [`RunDirectory::write`].
pub fn write_directory(run: &Run, folder: &Path, seconds: f64) -> Result<()> {
    match RunDirectory::claim(folder, run)? {
        Some(directory) => directory.write(run, seconds),
        None => Ok(()),
    }
}

/// Whether `folder` holds this run, finished: a `run.json` of the same identity, and every other file beside it.
fn finished(folder: &Path, identity: &Map<String, Json>) -> Result<bool> {
    let file = folder.join("run.json");
    let text = match std::fs::read_to_string(&file) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            only_ours(folder)?;
            return Ok(false);
        }
        Err(error) => return Err(Error::io("read", &file, &error)),
    };
    let earlier: Json = serde_json::from_str(&text).unwrap_or_default();
    let differs: Vec<&str> =
        identity.iter().filter(|(key, value)| earlier[key.as_str()] != **value).map(|(key, _)| key.as_str()).collect();
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

/// Refuses a folder that holds anything but what a run that was cut off leaves.
fn only_ours(folder: &Path) -> Result<()> {
    let entries = match std::fs::read_dir(folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        other => other.map_err(|error| Error::io("read", folder, &error))?,
    };
    for entry in entries {
        let name = entry.map_err(|error| Error::io("read", folder, &error))?.file_name();
        let known = |ours: &str| name == ours || partial(Path::new(ours)).as_os_str() == name;
        if name != LOCK && !FILES.iter().any(|ours| known(ours)) {
            let (folder, name) = (folder.display(), name.display());
            fail!(Exists, "{folder} holds {name}, so it is no run directory; name a new one");
        }
    }
    Ok(())
}

fn partial(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".partial");
    PathBuf::from(name)
}

fn remove(path: &Path) -> Result<()> {
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
        json!({"schema": 1, "settings": {"seed": seed}}).as_object().unwrap().clone()
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
    fn a_claimed_directory_is_busy_until_it_is_given_free_and_leaves_no_trace() {
        let scratch = tempfile::tempdir().unwrap();
        let folder = scratch.path().join("new/run");
        let first = RunDirectory::claim_for(&folder, &identity(0)).unwrap().unwrap();
        let error = RunDirectory::claim_for(&folder, &identity(0)).unwrap_err();
        assert_eq!(error.code(), Code::Busy);
        assert!(error.to_string().contains("is being written by another process"), "{error}");
        assert_eq!(names(&folder), [LOCK]);
        drop(first);
        assert!(!folder.exists());
        // One that was there stays, and a lock that a killed process left is taken over.
        std::fs::create_dir(&folder).unwrap();
        std::fs::write(folder.join(LOCK), "").unwrap();
        drop(RunDirectory::claim_for(&folder, &identity(0)).unwrap().unwrap());
        assert!(names(&folder).is_empty() && folder.exists());
    }

    #[test]
    fn many_threads_claim_one_directory_and_never_two_at_once() {
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
    fn a_cut_off_directory_is_cleaned_a_foreign_one_refused_and_a_finished_one_told() {
        let scratch = tempfile::tempdir().unwrap();
        let folder = scratch.path();
        for name in ["weights.csv", "returns.csv.partial", "run.json.partial"] {
            std::fs::write(folder.join(name), "half").unwrap();
        }
        let claimed = RunDirectory::claim_for(folder, &identity(0)).unwrap().unwrap();
        assert_eq!(names(folder), [LOCK, "weights.csv"]);
        // Writing gives whole files only: where a name is taken by a folder, the half file goes and the error says so.
        std::fs::remove_file(folder.join("weights.csv")).unwrap();
        std::fs::create_dir(folder.join("weights.csv")).unwrap();
        let error = claimed.put("weights.csv", "text").unwrap_err();
        assert!(error.code() == Code::Io && error.to_string().contains("weights.csv"), "{error}");
        assert_eq!(names(folder), [LOCK, "weights.csv"]);
        std::fs::remove_dir(folder.join("weights.csv")).unwrap();
        claimed.put("run.json", &Json::Object(identity(0)).to_string()).unwrap();
        drop(claimed);
        // Files are missing beside run.json: somebody removed them, and the run is completed again.
        let claimed = RunDirectory::claim_for(folder, &identity(0)).unwrap().unwrap();
        for name in ["weights.csv", "returns.csv", "report.html"] {
            claimed.put(name, "text").unwrap();
        }
        drop(claimed);
        let touched = || std::fs::metadata(folder).unwrap().modified().unwrap();
        let before = touched();
        assert!(RunDirectory::claim_for(folder, &identity(0)).unwrap().is_none());
        let error = RunDirectory::claim_for(folder, &identity(1)).unwrap_err();
        assert_eq!(error.code(), Code::Exists);
        assert!(error.to_string().contains("run.json differs in settings"), "{error}");
        assert_eq!(touched(), before);
        for name in FILES {
            std::fs::remove_file(folder.join(name)).unwrap();
        }
        std::fs::write(folder.join("thesis.doc"), "").unwrap();
        let error = RunDirectory::claim_for(folder, &identity(0)).unwrap_err();
        assert!(error.code() == Code::Exists && error.to_string().contains("holds thesis.doc"), "{error}");
        assert_eq!(names(folder), ["thesis.doc"]);
        let before = touched();
        assert!(RunDirectory::claim_for(folder, &identity(0)).is_err());
        assert_eq!(touched(), before);
    }
}
