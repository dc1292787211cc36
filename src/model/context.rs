//! Who a model works for: where its messages go, and whether its work is still wanted.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// How much a message matters, most first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    /// Something failed.
    Error,
    /// Something looks wrong.
    Warn,
    /// What goes on.
    Info,
    /// For whoever looks for a fault.
    Debug,
}

/// Takes messages; called from any thread.
pub type LogSink = Arc<dyn Fn(LogLevel, &str) + Send + Sync>;

/// Handed to a model when it is made; models that share one are cancelled together.
#[derive(Clone, Default)]
pub struct Context {
    model: String,
    log: Option<LogSink>,
    cancel: Arc<AtomicBool>,
    checking: bool,
}

impl Context {
    /// A context whose messages go to `log`, and whose work stops once `cancel` is set.
    pub fn new(log: Option<LogSink>, cancel: Arc<AtomicBool>) -> Self {
        Self { model: String::new(), log, cancel, checking: false }
    }

    /// The same for one model, whose name stands before its messages.
    #[must_use]
    pub fn of_model(&self, name: &str) -> Self {
        Self { model: format!("{name}: "), ..self.clone() }
    }

    /// The same in checking mode: what a plugin is lent lies in guarded memory, and one that misuses it ends the
    /// process. For `walkforge plugin check`, which runs plugins in a process of their own.
    #[must_use]
    pub fn checking(self) -> Self {
        Self { checking: true, ..self }
    }

    /// Whether this is checking mode.
    pub fn is_checking(&self) -> bool {
        self.checking
    }

    /// Hands a message to whoever listens.
    pub fn log(&self, level: LogLevel, message: &str) {
        if let Some(log) = &self.log {
            log(level, &format!("{}{message}", self.model));
        }
    }

    /// Whether the caller wants the work to stop.
    pub fn cancelled(&self) -> bool {
        self.cancel.load(Ordering::Relaxed)
    }
}
