//! Errors and the version.

use walkforge::internals::plugin::from_c;
use walkforge::{Code, Error};
use walkforge_plugin_abi::{WF_ABI_MAJOR, WF_ABI_MINOR, WF_OK, wf_error, wf_string};

use super::guard::{catch_panic_or, string};

/// # Safety
/// `error` is null or an error of this library that lives for `'a`.
unsafe fn borrowed<'a>(error: *const wf_error) -> Option<&'a Error> {
    // SAFETY: every `wf_error` points to an `Error`.
    unsafe { error.cast::<Error>().as_ref() }
}

/// Returns the code of an error, one of `WF_E_*`, or `WF_OK` for null.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wf_error_code(error: *const wf_error) -> i32 {
    // SAFETY: the contract of the C ABI.
    catch_panic_or(WF_OK, || unsafe { borrowed(error) }.map_or(WF_OK, |error| error.code().as_i32()))
}

/// Returns the message of an error without its causes, valid until the error is freed. Empty for null.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wf_error_message(error: *const wf_error) -> wf_string {
    // SAFETY: the contract of the C ABI.
    catch_panic_or(string(""), || string(unsafe { borrowed(error) }.map_or("", Error::message)))
}

/// Returns the error that caused this one, or null. It belongs to this error: do not free it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wf_error_cause(error: *const wf_error) -> *const wf_error {
    // SAFETY: the contract of the C ABI.
    catch_panic_or(core::ptr::null(), || match unsafe { borrowed(error) }.and_then(Error::cause) {
        Some(cause) => core::ptr::from_ref(cause).cast(),
        None => core::ptr::null(),
    })
}

/// Frees an error and all its causes; null is accepted. Messages read from it become invalid.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wf_error_free(error: *mut wf_error) {
    // SAFETY: the contract of the C ABI; the caller owns the error.
    catch_panic_or((), || drop(unsafe { from_c(error) }));
}

/// Returns a short name for a code, such as "look ahead". Empty for an unknown code. Valid forever.
#[unsafe(no_mangle)]
pub extern "C" fn wf_code_name(code: i32) -> wf_string {
    catch_panic_or(string(""), || {
        string(if code == WF_OK { "ok" } else { Code::from_i32(code).map_or("", Code::name) })
    })
}

/// Returns the version of the library, such as "0.1.0". Valid forever.
#[unsafe(no_mangle)]
pub extern "C" fn wf_version() -> wf_string {
    string(env!("CARGO_PKG_VERSION"))
}

/// Returns the version of the ABI that the library was built with, as major * 65536 + minor. Compare its major number
/// with `WF_ABI_MAJOR`.
#[unsafe(no_mangle)]
pub extern "C" fn wf_abi_version() -> u32 {
    WF_ABI_MAJOR << 16 | WF_ABI_MINOR
}
