//! The C ABI of walkforge: thin functions over the Rust library, one file per handle. `include/walkforge.h` is
//! generated from them.
//!
//! # Conventions
//! - A function that can fail returns `WF_OK` (0) or a `WF_E_*` code, and its last parameter is a `wf_error **error`,
//!   which may be null. On failure it leaves every out-parameter unchanged and stores an error in `*error`, which the
//!   caller frees with `wf_error_free`. There is no global or thread-local last error. The only global state is the
//!   list of loaded plugin files; plugins are never unloaded.
//! - Functions that take a `const` handle may run concurrently. Functions that take a mutable handle need exclusive
//!   access; a concurrent call returns `WF_E_BUSY`. If a call panics inside, its handle is poisoned: later calls return
//!   `WF_E_POISONED`, and it can only be freed.
//! - Arrays are copied into the caller's buffer. Text (`wf_string`) is UTF-8 with a length and without a terminator,
//!   and stays valid as long as the handle it came from. Functions that free a handle return nothing and accept null.
//! - Every public struct starts with `struct_size`, which the caller sets to its `sizeof`. New fields are added at the
//!   end only.
//! - Assets are in the order of the caller's data. Rows count from 0. Dates are days since 1970-01-01.
//!
//! # Contract
//! Every function requires of its arguments, and SAFETY comments refer to this as the contract of the C ABI:
//! - A handle is null, or this library returned it as a handle of that type and it has not been freed.
//! - A `wf_string` points to `length` readable bytes, or its `data` is null.
//! - A pointer to a struct is null or points to `struct_size` readable (for results: writable) bytes. An out-parameter
//!   is null or writable, a buffer has `capacity` elements, and an input array has as many elements as its count says.
//! - No other thread writes to this memory during the call.
//!
//! Null, misaligned pointers, handles of another type, text that is not UTF-8 and sizes that are too small are errors
//! where the argument is required, not undefined behaviour.

#![allow(non_camel_case_types, unsafe_code)]
// cbindgen reads `pub`; the exported names are those of include/symbols.txt.
#![allow(unreachable_pub)]
// The contract of all functions is stated once, above and at the top of the header.
#![allow(clippy::missing_safety_doc)]

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

/// Counts bytes, for `machine.peak_bytes` of `run.json`.
#[global_allocator]
static ALLOCATOR: walkforge::internals::device::CountingAllocator = walkforge::internals::device::CountingAllocator;

pub use error::*;
pub use metrics::*;
pub use panel::*;
pub use plugin::*;
pub use run::*;
pub use runtime::*;
pub use windows::*;
