//! Errors and strings across the C boundary, for plugins and callers: a `wf_error` is a boxed [`Error`] that its
//! receiver owns.

use std::fmt::Write as _;

use walkforge_plugin_abi::{WF_OK, wf_error, wf_string};

use crate::error::{Code, Error, Result};

/// Converts an error into a pointer that the receiver owns.
pub fn into_c(error: Error) -> *mut wf_error {
    Box::into_raw(Box::new(error)).cast()
}

/// Takes ownership of an error; `None` for null.
///
/// # Safety
/// `error` is null or came from [`into_c`] and is not used afterwards.
pub unsafe fn from_c(error: *mut wf_error) -> Option<Error> {
    // SAFETY: `into_c` made it from a box, and the caller gives it up.
    (!error.is_null()).then(|| *unsafe { Box::from_raw(error.cast::<Error>()) })
}

/// Converts a string for C. The result is valid as long as `text`.
pub fn string(text: &str) -> wf_string {
    wf_string { data: text.as_ptr().cast(), length: text.len() }
}

/// Copies a string of the caller. Invalid UTF-8 is replaced; null becomes an empty string.
///
/// # Safety
/// `text.data` is null or points to `text.length` bytes.
pub(crate) unsafe fn text(text: wf_string) -> String {
    if text.data.is_null() || text.length == 0 || text.length > isize::MAX as usize {
        return String::new();
    }
    // SAFETY: the pointer is not null; the caller vouches for the length.
    let bytes = unsafe { core::slice::from_raw_parts(text.data.cast::<u8>(), text.length) };
    String::from_utf8_lossy(bytes).into_owned()
}

/// Maximum size of a plugin's message in bytes.
const MAX_BYTES: usize = 64 * 1024;

/// Maximum number of causes of a plugin's error: the first ones are kept, and the last one.
const MAX_CAUSES: usize = 32;

/// Copies a string, truncated after `most` bytes with a note of its size.
///
/// # Safety
/// As for [`text`].
unsafe fn truncated(whole: wf_string, most: usize) -> String {
    if whole.length > isize::MAX as usize {
        return String::new();
    }
    let start = wf_string { length: whole.length.min(most), ..whole };
    // SAFETY: the caller vouches for at least this many bytes.
    let mut start = unsafe { text(start) };
    if whole.length > most && !start.is_empty() {
        // Writing to a string cannot fail.
        let _ = write!(start, " ... ({} bytes)", whole.length);
    }
    start
}

/// The function `error_new` of the host table. An unknown code becomes `WF_E_PLUGIN`.
pub(super) unsafe extern "C" fn error_new(code: i32, message: wf_string, cause: *mut wf_error) -> *mut wf_error {
    // SAFETY: by the ABI, `message` is a string, and `cause` is null or an error of this function that the plugin owns.
    let (message, cause) = unsafe { (truncated(message, MAX_BYTES), from_c(cause)) };
    let error = Error::new(Code::from_i32(code).unwrap_or(Code::Plugin), message);
    into_c(match cause {
        Some(mut cause) => {
            let causes = core::iter::successors(Some(&cause), |error| error.cause()).count();
            let rest = if causes > MAX_CAUSES { cause.take_cause() } else { None };
            error.caused_by(rest.unwrap_or(cause))
        }
        None => error,
    })
}

/// Converts the code and the error that a plugin's function returned into an error that names the plugin and the call.
/// Without a message the error names the code.
///
/// # Safety
/// `error` is null or came from [`error_new`] and is not used afterwards.
pub(super) unsafe fn check(plugin: &str, call: &str, code: i32, error: *mut wf_error) -> Result<()> {
    // SAFETY: `error_new` makes errors with `into_c`, and the caller gives this one up.
    let error = unsafe { from_c(error) };
    if code == WF_OK {
        return Ok(());
    }
    let context = format!("plugin '{plugin}' failed in {call}");
    // Three codes may come from a plugin; any other is a failure of the plugin.
    let allowed = |code: Option<Code>| match code {
        Some(code @ (Code::InvalidData | Code::InvalidSetting | Code::Cancelled)) => code,
        _ => Code::Plugin,
    };
    let Some(error) = error.filter(|error| !error.message().trim().is_empty() || error.cause().is_some()) else {
        let message = format!("{context} with code {code} and no message");
        return Err(Error::new(allowed(Code::from_i32(code)), message));
    };
    Err(Error::new(allowed(Some(error.code())), context).caused_by(error))
}
