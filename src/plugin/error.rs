//! Errors across the C boundary, for plugins and callers alike: a `wf_error` is a boxed [`Error`], owned by whoever
//! receives it.

use std::fmt::Write as _;

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

/// Bytes of a plugin's message that are kept; nobody reads more.
const MOST_BYTES: usize = 64 * 1024;

/// Causes of a plugin's error that are kept: the first ones, and the last that was added.
const MOST_CAUSES: usize = 32;

/// The start of a text that is longer than `most` bytes, and how long it was; else all of it.
///
/// # Safety
/// As for [`text`].
unsafe fn start_of(whole: wf_string, most: usize) -> String {
    if whole.length > isize::MAX as usize {
        return String::new();
    }
    let shown = wf_string { length: whole.length.min(most), ..whole };
    // SAFETY: as demanded of our caller; less is read than is there.
    let mut start = unsafe { text(shown) };
    if whole.length > most && !start.is_empty() {
        // Writing to a string cannot fail.
        let _ = write!(start, " ... ({} bytes)", whole.length);
    }
    start
}

/// The slot `error_new` of the host table. A code that is not ours counts as a failure of the plugin.
pub(super) unsafe extern "C" fn error_new(code: i32, message: wf_string, cause: *mut wf_error) -> *mut wf_error {
    // SAFETY: the plugin passes text as the ABI demands, and a cause that it got from this function and owns.
    let (message, cause) = unsafe { (start_of(message, MOST_BYTES), from_c(cause)) };
    let error = Error::new(Code::from_i32(code).unwrap_or(Code::Plugin), message);
    into_c(match cause {
        Some(mut cause) => {
            let causes = core::iter::successors(Some(&cause), |error| error.cause()).count();
            let kept = if causes > MOST_CAUSES { cause.take_cause() } else { None };
            error.caused_by(kept.unwrap_or(cause))
        }
        None => error,
    })
}

/// Makes one of our errors of what a plugin's call returned: it names the plugin and the call. An error that says
/// nothing is told as such, with its code.
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
    let told = |error: &Error| !error.message().trim().is_empty() || error.cause().is_some();
    // A plugin may speak of data, settings and a wish to cancel; anything else is a failure of the plugin.
    let spoken = |code: Option<Code>| match code {
        Some(code @ (Code::InvalidData | Code::InvalidSetting | Code::Cancelled)) => code,
        _ => Code::Plugin,
    };
    let Some(carried) = carried.filter(told) else {
        let code = spoken(Code::from_i32(status));
        return Err(Error::new(code, format!("{context} with code {status} and no message")));
    };
    Err(Error::new(spoken(Some(carried.code())), context).caused_by(carried))
}
