//! The C ABI of the library: thin functions over the Rust one, one file a handle. Conventions:
//!
//! - A fallible function returns `WF_OK` (0) or a code `WF_E_*`, and takes a last `wf_error **error` that may be null.
//!   On failure it leaves every out-parameter untouched and, where `error` is not null, stores an error there that the
//!   caller frees with `wf_error_free`. There is no last error and no state of a thread. The one list that the process
//!   keeps is that of loaded plugin files, which are never unloaded.
//! - A function that takes a `const` handle may be called by many threads at once; one that takes a mutable handle is
//!   alone, and a second user gets `WF_E_BUSY`. A handle in which a call failed inside is poisoned: it can only be freed.
//! - Numbers go into the caller's buffer, with its capacity. Text (`wf_string`) is a pointer and a length in UTF-8, not
//!   terminated, and valid as long as the handle it came from. Destructors return void and accept null.
//! - Every public struct starts with its size, which the caller sets to `sizeof`; fields may be added at its end.
//! - Assets are always in the order of the caller's data. Rows count from 0; dates are days since 1970-01-01.

#![allow(non_camel_case_types, unsafe_code)]

mod error;
mod guard;
#[cfg(test)]
mod layout;
mod metrics;
mod panel;
mod plugin;
mod run;
mod runtime;
mod windows;

pub use error::*;
pub use metrics::*;
pub use panel::*;
pub use plugin::*;
pub use run::*;
pub use runtime::*;
pub use windows::*;
