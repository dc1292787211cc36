//! Plugins: found and loaded, or registered by the host program, and adapted from their C table to [`crate::model`].
//!
//! A loaded library is never unloaded. What a plugin returns is checked before anyone uses it.

mod adapter;
mod builder;
mod description;
pub(crate) mod error;
pub(crate) mod host;
mod library;
mod load;
mod memory;
mod network;
mod probe;
pub(crate) mod process;
mod services;
mod trail;

pub use adapter::Plugin;
pub use load::{Search, register};
pub use probe::{Negotiation, Probe};
pub use trail::Trail;
