//! The host table and the services that a plugin can request from it.
//!
//! # The plugin's contract
//! A plugin keeps the contract of the ABI for each function of these tables: a string points to as many bytes as it
//! states; a context, settings or a program is null or what the plugin's function received, used during that call; an
//! array has the stated length; an out-parameter is null or writable and overlaps no input.

mod cancel;
mod log;
pub(in crate::plugin) mod program;
mod settings;
mod statistics;

use core::ffi::c_void;

use walkforge_plugin_abi::{WF_ABI_MAJOR, WF_ABI_MINOR, wf_context, wf_host, wf_string};

use crate::model::Context;
use crate::plugin::error::{error_new, text};

pub use log::level_code;
pub(in crate::plugin) use settings::settings_handle;

/// The host table of this library. It holds functions only, no state.
pub(in crate::plugin) static HOST: wf_host = wf_host {
    struct_size: size_of::<wf_host>(),
    abi_major: WF_ABI_MAJOR,
    abi_minor: WF_ABI_MINOR,
    error_new,
    get_service,
};

unsafe extern "C" fn get_service(id: wf_string, minimum_version: u32) -> *const c_void {
    // SAFETY: `id` is a string by the plugin's contract.
    let id = unsafe { text(id) };
    match (id.as_str(), minimum_version) {
        ("settings", 0..=1) => (&raw const settings::SETTINGS).cast(),
        ("log", 0..=1) => (&raw const log::LOG).cast(),
        ("cancel", 0..=1) => (&raw const cancel::CANCEL).cast(),
        ("program", 0..=1) => (&raw const program::PROGRAM).cast(),
        ("statistics", 0..=1) => (&raw const statistics::STATISTICS).cast(),
        _ => core::ptr::null(),
    }
}

/// Passes a context to a plugin's call.
pub(in crate::plugin) fn context_handle(context: &Context) -> *const wf_context {
    core::ptr::from_ref(context).cast()
}

/// Borrows the context that a plugin passes to a service; `None` for null.
///
/// # Safety
/// `context` is null or came from [`context_handle`] for a call that has not returned.
unsafe fn borrow_context<'a>(context: *const wf_context) -> Option<&'a Context> {
    // SAFETY: the caller vouches for origin and lifetime.
    unsafe { context.cast::<Context>().as_ref() }
}
