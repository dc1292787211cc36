//! What runs share: threads, the plugins to be found, a place for messages.

use std::sync::Arc;

use crate::device::{Parallel, Pool};
use crate::error::Result;
use crate::model::LogSink;
use crate::plugin::PluginSearch;

/// Made once by the embedding program, lent to every run.
#[derive(Clone)]
pub struct Runtime {
    /// Where plugins are sought.
    pub search: PluginSearch,
    /// Where loops run.
    pub parallel: Arc<dyn Parallel>,
    /// Where messages go; nowhere if none.
    pub log: Option<LogSink>,
}

impl Runtime {
    /// A runtime with a thread pool of its own; `threads` 0 for one a core.
    ///
    /// # Errors
    /// `Io` where the threads cannot be started.
    pub fn new(search: PluginSearch, threads: usize) -> Result<Self> {
        Ok(Self { search, parallel: Arc::new(Pool::new(threads)?), log: None })
    }
}
