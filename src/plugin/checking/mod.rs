//! What `walkforge plugin check` uses to watch a plugin: guarded memory, the state of the process, a trace of calls, and a
//! probe that asks for what an ordinary host never would.

pub(in crate::plugin) mod call_trace;
pub(in crate::plugin) mod guarded_memory;
pub(in crate::plugin) mod probe;
pub(crate) mod process;
