//! Tools of `walkforge plugin check`: guarded memory, snapshots of the process state, a trace of calls, and a probe
//! that makes calls no ordinary host makes.

pub(in crate::plugin) mod call_trace;
pub(in crate::plugin) mod guarded_memory;
pub(in crate::plugin) mod probe;
pub(crate) mod process;
