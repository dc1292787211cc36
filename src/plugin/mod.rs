//! Plugins: found and loaded, or registered by the host program, and adapted from their C table to [`crate::model`].
//!
//! A loaded library is never unloaded. What a plugin returns is checked before anyone uses it.

mod adapter;
pub(crate) mod checking;
mod description;
pub(crate) mod error;
mod library;
mod load;
mod network;
pub(crate) mod service;

pub use adapter::Plugin;
pub use checking::call_trace::CallTrace;
pub use checking::probe::{Negotiation, Probe};
pub use load::{PluginSearch, register};
