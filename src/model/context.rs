//! The caller's side of a model: where its log messages go, and whether its work is cancelled.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Severity of a log message, most severe first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    /// Something failed.
    Error,
    /// Something looks wrong.
    Warn,
    /// Normal progress.
    Info,
    /// Details for debugging.
    Debug,
}

/// Receives log messages, from any thread.
pub type LogSink = Arc<dyn Fn(LogLevel, &str) + Send + Sync>;

/// Passed to a model when it is created. Models that share a context are cancelled together.
#[derive(Clone, Default)]
pub struct Context {
    prefix: String,
    log: Option<LogSink>,
    cancel: Arc<AtomicBool>,
    checking: bool,
}

impl Context {
    /// A context that sends messages to `log` and stops the work once `cancel` is set.
    pub fn new(log: Option<LogSink>, cancel: Arc<AtomicBool>) -> Self {
        Self { prefix: String::new(), log, cancel, checking: false }
    }

    /// The same context for one model, whose name is put before its messages.
    #[must_use]
    pub fn for_model(&self, name: &str) -> Self {
        Self { prefix: format!("{name}: "), ..self.clone() }
    }

    /// The same context in checking mode: a plugin gets its data in guarded memory, so misusing it ends the process.
    /// For `walkforge plugin check`, which runs plugins in a process of their own.
    #[must_use]
    pub fn checking(self) -> Self {
        Self { checking: true, ..self }
    }

    /// Whether this is checking mode.
    pub fn is_checking(&self) -> bool {
        self.checking
    }

    /// Sends a message to the log, if there is one.
    pub fn log(&self, level: LogLevel, message: &str) {
        if let Some(log) = &self.log {
            log(level, &format!("{}{message}", self.prefix));
        }
    }

    /// Whether the caller has cancelled the work.
    pub fn cancelled(&self) -> bool {
        self.cancel.load(Ordering::Relaxed)
    }
}
