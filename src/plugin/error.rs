//! Errors across the plugin boundary: made by the host's `error_new`, owned by whoever receives them.

use walkforge_plugin_abi::{WF_OK, wf_error, wf_string};

use crate::error::{Code, Error, Result};

/// What a `wf_error` pointer of ours points to.
struct Carried {
    code: i32,
    message: String,
    cause: Option<Box<Carried>>,
}

/// Copies text out of a plugin; damaged UTF-8 is replaced, null is empty.
///
/// # Safety
/// `text.data` is null or points to `text.length` bytes.
pub(super) unsafe fn text(text: wf_string) -> String {
    if text.data.is_null() || text.length == 0 || text.length > isize::MAX as usize {
        return String::new();
    }
    // SAFETY: not null and as long as it says, by the contract of this function.
    let bytes = unsafe { core::slice::from_raw_parts(text.data.cast::<u8>(), text.length) };
    String::from_utf8_lossy(bytes).into_owned()
}

/// The slot `error_new` of the host table.
pub(super) unsafe extern "C" fn error_new(code: i32, message: wf_string, cause: *mut wf_error) -> *mut wf_error {
    // SAFETY: the plugin passes text as the ABI demands, and a cause that it got from this function and owns.
    let (message, cause) =
        unsafe { (text(message), (!cause.is_null()).then(|| Box::from_raw(cause.cast::<Carried>()))) };
    Box::into_raw(Box::new(Carried { code, message, cause })).cast()
}

/// Makes one of our errors of what a plugin's call returned.
///
/// # Safety
/// `error` is null or came from [`error_new`] and is handed over here.
pub(super) unsafe fn check(plugin: &str, call: &str, status: i32, error: *mut wf_error) -> Result<()> {
    // SAFETY: made by `error_new`, handed over to us by the contract of this function.
    let carried = (!error.is_null()).then(|| unsafe { Box::from_raw(error.cast::<Carried>()) });
    if status == WF_OK {
        return Ok(());
    }
    let context = format!("plugin '{plugin}' failed in {call}");
    Err(match carried {
        None => Error::new(Code::Plugin, format!("{context} with code {status} and no message")),
        Some(carried) => rebuild(*carried).context(context),
    })
}

fn rebuild(carried: Carried) -> Error {
    match carried.cause {
        Some(cause) => rebuild(*cause).context(carried.message),
        // A plugin may speak of data and settings; any other code is a failure of the plugin.
        None => match Code::from_i32(carried.code) {
            Some(code @ (Code::InvalidData | Code::InvalidSetting | Code::Cancelled)) => {
                Error::new(code, carried.message)
            }
            _ => Error::new(Code::Plugin, carried.message),
        },
    }
}
