//! Errors across the C boundary, for plugins and callers alike: a `wf_error` is a boxed [`Error`], owned by whoever
//! receives it.

use walkforge_plugin_abi::{WF_OK, wf_error, wf_string};

use crate::error::{Code, Error, Result};

/// Hands an error over as a pointer.
pub(crate) fn into_c(error: Error) -> *mut wf_error {
    Box::into_raw(Box::new(error)).cast()
}

/// Takes an error back; `None` for null.
///
/// # Safety
/// `error` is null or came from [`into_c`], and is not used again.
pub(crate) unsafe fn from_c(error: *mut wf_error) -> Option<Error> {
    // SAFETY: made by `into_c`, handed over by the contract of this function.
    (!error.is_null()).then(|| *unsafe { Box::from_raw(error.cast::<Error>()) })
}

/// Text of ours as it crosses the boundary; valid as long as its owner.
pub(crate) fn string(text: &str) -> wf_string {
    wf_string { data: text.as_ptr().cast(), length: text.len() }
}

/// Copies text that crossed the boundary; damaged UTF-8 is replaced, null is empty.
///
/// # Safety
/// `text.data` is null or points to `text.length` bytes.
pub(crate) unsafe fn text(text: wf_string) -> String {
    if text.data.is_null() || text.length == 0 || text.length > isize::MAX as usize {
        return String::new();
    }
    // SAFETY: not null and as long as it says, by the contract of this function.
    let bytes = unsafe { core::slice::from_raw_parts(text.data.cast::<u8>(), text.length) };
    String::from_utf8_lossy(bytes).into_owned()
}

/// The slot `error_new` of the host table. A code that is not ours counts as a failure of the plugin.
pub(super) unsafe extern "C" fn error_new(code: i32, message: wf_string, cause: *mut wf_error) -> *mut wf_error {
    // SAFETY: the plugin passes text as the ABI demands, and a cause that it got from this function and owns.
    let (message, cause) = unsafe { (text(message), from_c(cause)) };
    let error = Error::new(Code::from_i32(code).unwrap_or(Code::Plugin), message);
    into_c(match cause {
        Some(cause) => error.caused_by(cause),
        None => error,
    })
}

/// Makes one of our errors of what a plugin's call returned.
///
/// # Safety
/// `error` is null or came from [`error_new`] and is handed over here.
pub(super) unsafe fn check(plugin: &str, call: &str, status: i32, error: *mut wf_error) -> Result<()> {
    // SAFETY: as demanded of our caller.
    let carried = unsafe { from_c(error) };
    if status == WF_OK {
        return Ok(());
    }
    let context = format!("plugin '{plugin}' failed in {call}");
    let Some(carried) = carried else {
        return Err(Error::new(Code::Plugin, format!("{context} with code {status} and no message")));
    };
    // A plugin may speak of data, settings and a wish to cancel; anything else is a failure of the plugin.
    let code = match carried.code() {
        code @ (Code::InvalidData | Code::InvalidSetting | Code::Cancelled) => code,
        _ => Code::Plugin,
    };
    Err(Error::new(code, context).caused_by(carried))
}
