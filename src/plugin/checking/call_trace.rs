//! Where a plugin is, written down before each call into it: a process that ends inside is told with the call.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// Length of an entry, so that each overwrites the one before.
const WIDTH: usize = 24;

/// A file that says which function of a plugin is being called.
pub struct CallTrace(File);

impl CallTrace {
    /// The word on the first line of such a file; the call stands on the second, and is empty between calls.
    pub const CALLING: &str = "calling";

    /// Begins a trail in a file that is there; `None` where it cannot be written.
    pub fn begin(path: &Path) -> Option<Self> {
        let trail = Self(File::options().write(true).open(path).ok()?);
        trail.note("");
        Some(trail)
    }

    fn note(&self, call: &str) {
        // An entry that is not written makes a message poorer, and nothing else.
        let _ = self.0.write_all_at(format!("{}\n{call:WIDTH$}\n", Self::CALLING).as_bytes(), 0);
    }

    /// Runs `body`, a call into the plugin.
    pub(in crate::plugin) fn around<R>(trail: Option<&Self>, call: &str, body: impl FnOnce() -> R) -> R {
        let Some(trail) = trail else { return body() };
        trail.note(call);
        let out = body();
        trail.note("");
        out
    }
}
