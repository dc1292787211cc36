//! Records each call into a plugin in a file, so that a parent process can name the call in which a child process
//! ended.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use crate::device::keep_environment;

/// Length of an entry. All are equally long, so that each overwrites the previous one.
const WIDTH: usize = 24;

/// A file that names the plugin function that is being called.
pub(crate) struct CallTrace(File);

impl CallTrace {
    /// The first line of such a file. The second line is the name of the call, blank between calls.
    pub(crate) const CALLING: &str = "calling";

    /// Starts a trace in an existing file; `None` if the file cannot be written.
    pub(crate) fn begin(path: &Path) -> Option<Self> {
        let trace = Self(File::options().write(true).open(path).ok()?);
        trace.write("");
        Some(trace)
    }

    fn write(&self, call: &str) {
        // If it fails, a message is less precise; nothing else depends on it.
        let _ = self.0.write_all_at(format!("{}\n{call:WIDTH$}\n", Self::CALLING).as_bytes(), 0);
    }

    /// Runs `body`, a call into the plugin, and records it if there is a trace. The floating-point environment is the
    /// same afterwards; second is whether the plugin had changed it. With a trace it stays as the plugin leaves it, for
    /// the check that looks at what a plugin does to its process.
    pub(in crate::plugin) fn around<R>(trace: Option<&Self>, call: &str, body: impl FnOnce() -> R) -> (R, bool) {
        let Some(trace) = trace else { return keep_environment(body) };
        trace.write(call);
        let out = body();
        trace.write("");
        (out, false)
    }
}
