//! What all runs of a program share: plugin search, threads and log.

use std::sync::Arc;

use crate::device::{Parallel, Pool};
use crate::error::Result;
use crate::model::{LogLevel, LogSink};
use crate::plugin::PluginSearch;

/// Plugin search, threads and log, created once by the embedding program and passed to every run.
///
/// # Examples
/// ```
/// use walkforge::{PluginSearch, Runtime};
///
/// let runtime = Runtime::new(PluginSearch::standard(), 2)?;
/// assert_eq!(runtime.parallel.threads(), 2);
/// # Ok::<(), walkforge::Error>(())
/// ```
#[derive(Clone)]
pub struct Runtime {
    /// Where plugins are searched for.
    pub search: PluginSearch,
    /// Runs parallel loops.
    pub parallel: Arc<dyn Parallel>,
    /// Receives log messages; `None` discards them. [`Runtime::new`] passes them to the [`log`] crate.
    pub log: Option<LogSink>,
}

impl Runtime {
    /// A runtime with its own thread pool of `threads` threads, 0 for one per core. Messages of the library and of
    /// plugins go to the [`log`] crate under the target `walkforge`.
    ///
    /// # Errors
    /// `Io` if the threads cannot be started.
    pub fn new(search: PluginSearch, threads: usize) -> Result<Self> {
        Ok(Self { search, parallel: Arc::new(Pool::new(threads)?), log: Some(Arc::new(log_crate)) })
    }
}

/// Passes a message to the `log` crate.
fn log_crate(level: LogLevel, message: &str) {
    let level = match level {
        LogLevel::Error => log::Level::Error,
        LogLevel::Warn => log::Level::Warn,
        LogLevel::Info => log::Level::Info,
        LogLevel::Debug => log::Level::Debug,
    };
    log::log!(target: "walkforge", level, "{message}");
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::Runtime;
    use crate::model::LogLevel;
    use crate::plugin::PluginSearch;

    static LOGGED: Mutex<Vec<String>> = Mutex::new(Vec::new());

    struct Recorder;

    impl log::Log for Recorder {
        fn enabled(&self, _: &log::Metadata) -> bool {
            true
        }

        fn log(&self, record: &log::Record) {
            if record.target() == "walkforge" {
                LOGGED.lock().unwrap().push(format!("{} {}", record.level(), record.args()));
            }
        }

        fn flush(&self) {}
    }

    #[test]
    fn messages_go_to_the_log_crate_by_default() {
        log::set_logger(&Recorder).unwrap();
        log::set_max_level(log::LevelFilter::Trace);
        let runtime = Runtime::new(PluginSearch::default(), 1).unwrap();
        let sink = runtime.log.unwrap();
        sink(LogLevel::Warn, "a column is missing");
        sink(LogLevel::Debug, "details");
        let logged = LOGGED.lock().unwrap();
        assert!(logged.contains(&"WARN a column is missing".to_owned()), "{logged:?}");
        assert!(logged.contains(&"DEBUG details".to_owned()), "{logged:?}");
    }
}
