//! Plugins: loads them, or registers those linked into the program, and adapts their C table to [`crate::model`].
//!
//! A loaded library is never unloaded. Everything that a plugin returns is checked before it is used.

mod adapter;
pub(crate) mod checking;
mod description;
pub(crate) mod error;
mod library;
mod load;
mod network;
pub(crate) mod service;

pub use adapter::Plugin;
pub(crate) use checking::call_trace::CallTrace;
pub(crate) use checking::probe::Probe;
#[doc(hidden)]
pub use error::{from_c, into_c, string};
pub use load::{PluginSearch, register};
#[doc(hidden)]
pub use service::level_code;
