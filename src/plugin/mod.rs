//! Plugins: found and loaded, or registered by the host program, and adapted from their C table to [`crate::model`].
//!
//! A loaded library is never unloaded. What a plugin returns is checked before anyone uses it.

mod adapter;
pub(crate) mod error;
pub(crate) mod host;
mod load;
mod memory;
mod probe;
pub(crate) mod process;
mod services;

pub use adapter::Plugin;
pub use load::{Search, register};
pub use probe::{Negotiation, Probe};
