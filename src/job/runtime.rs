//! What runs share: threads, plugins and a sink for messages.

use std::sync::Arc;

use crate::device::{Parallel, Pool};
use crate::error::Result;
use crate::model::{LogLevel, LogSink};
use crate::plugin::PluginSearch;

/// Threads, plugins and a sink for messages; made once by the embedding program and lent to every run.
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
    /// Where plugins are sought.
    pub search: PluginSearch,
    /// Where parallel loops run.
    pub parallel: Arc<dyn Parallel>,
    /// Where messages go; `None` drops them. [`Runtime::new`] hands them to the [`log`] crate.
    pub log: Option<LogSink>,
}

impl Runtime {
    /// A runtime with a thread pool of its own, of `threads` threads or, where that is 0, one per core. Messages of the
    /// library and of plugins go to the [`log`] crate under the target `walkforge`.
    ///
    /// # Errors
    /// `Io` where the threads cannot be started.
    pub fn new(search: PluginSearch, threads: usize) -> Result<Self> {
        Ok(Self { search, parallel: Arc::new(Pool::new(threads)?), log: Some(Arc::new(log_crate)) })
    }
}

/// Hands a message to the `log` crate.
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

    static HEARD: Mutex<Vec<String>> = Mutex::new(Vec::new());

    struct Listener;

    impl log::Log for Listener {
        fn enabled(&self, _: &log::Metadata) -> bool {
            true
        }

        fn log(&self, record: &log::Record) {
            if record.target() == "walkforge" {
                HEARD.lock().unwrap().push(format!("{} {}", record.level(), record.args()));
            }
        }

        fn flush(&self) {}
    }

    #[test]
    fn messages_go_to_the_log_crate_unless_the_program_says_otherwise() {
        log::set_logger(&Listener).unwrap();
        log::set_max_level(log::LevelFilter::Trace);
        let runtime = Runtime::new(PluginSearch::default(), 1).unwrap();
        let sink = runtime.log.unwrap();
        sink(LogLevel::Warn, "a column is missing");
        sink(LogLevel::Debug, "details");
        let heard = HEARD.lock().unwrap();
        assert!(heard.contains(&"WARN a column is missing".to_owned()), "{heard:?}");
        assert!(heard.contains(&"DEBUG details".to_owned()), "{heard:?}");
    }
}
