//! Where a plugin is, written down before each call into it: a process that ends inside is told with the call.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

/// Length of an entry, so that each overwrites the one before.
const WIDTH: usize = 24;

/// A file that says which function of a plugin is being called.
pub struct Trail {
    file: File,
    /// Whether an exception has left a call. What is called while it tears frames down is no longer of interest.
    torn: AtomicBool,
}

/// A call that is under way.
struct Inside<'a> {
    trail: &'a Trail,
    ended: bool,
}

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        if !self.ended {
            self.trail.torn.store(true, Ordering::Relaxed);
        }
    }
}

impl Trail {
    /// The word on the first line of such a file; the call stands on the second, and is empty between calls.
    pub const CALLING: &str = "calling";

    /// Begins a trail in a file that is there; `None` where it cannot be written.
    pub fn begin(path: &Path) -> Option<Self> {
        let trail = Self { file: File::options().write(true).open(path).ok()?, torn: AtomicBool::new(false) };
        trail.note("");
        Some(trail)
    }

    fn note(&self, call: &str) {
        if self.torn.load(Ordering::Relaxed) {
            return;
        }
        // An entry that is not written makes a message poorer, and nothing else.
        let _ = self.file.write_all_at(format!("{}\n{call:WIDTH$}\n", Self::CALLING).as_bytes(), 0);
    }

    /// Runs `body`, a call into the plugin.
    pub(super) fn around<R>(trail: Option<&Self>, call: &str, body: impl FnOnce() -> R) -> R {
        let Some(trail) = trail else { return body() };
        trail.note(call);
        let mut inside = Inside { trail, ended: false };
        let out = body();
        inside.ended = true;
        trail.note("");
        out
    }
}
