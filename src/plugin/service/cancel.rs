//! Service `cancel`: whether the caller has cancelled the work.

use walkforge_plugin_abi::{wf_cancel_service, wf_context};

use super::borrow_context;

/// Service `cancel`, version 1.
pub(super) static CANCEL: wf_cancel_service =
    wf_cancel_service { struct_size: size_of::<wf_cancel_service>(), requested };

unsafe extern "C" fn requested(context: *const wf_context) -> i32 {
    // SAFETY: the context is valid by the plugin's contract.
    unsafe { borrow_context(context) }.map_or(0, |context| i32::from(context.cancelled()))
}
