//! Errors and the version, as callers of the C ABI read them.

use walkforge_plugin_abi::{WF_ABI_MAJOR, WF_ABI_MINOR, WF_OK, wf_error, wf_string};

use super::guard::{catch_panic_or, string};
use walkforge::error::{Code, Error};
use walkforge::plugin::from_c;

/// # Safety
/// `error` is null or one of ours that was not freed.
unsafe fn seen<'a>(error: *const wf_error) -> Option<&'a Error> {
    // SAFETY: every `wf_error` points to an `Error`.
    unsafe { error.cast::<Error>().as_ref() }
}

/// The code of an error, one of `WF_E_*`; `WF_OK` for null.
///
/// # Safety
/// `error` is null or an error of this library that was not freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wf_error_code(error: *const wf_error) -> i32 {
    // SAFETY: as demanded of the caller.
    catch_panic_or(WF_OK, || unsafe { seen(error) }.map_or(WF_OK, |error| error.code().as_i32()))
}

/// What went wrong, without its causes; valid until the error is freed. Empty for null.
///
/// # Safety
/// As for `wf_error_code`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wf_error_message(error: *const wf_error) -> wf_string {
    // SAFETY: as demanded of the caller.
    catch_panic_or(string(""), || string(unsafe { seen(error) }.map_or("", Error::message)))
}

/// The error that caused this one, which stays its owner: do not free it. Null where there is none.
///
/// # Safety
/// As for `wf_error_code`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wf_error_cause(error: *const wf_error) -> *const wf_error {
    // SAFETY: as demanded of the caller.
    catch_panic_or(core::ptr::null(), || match unsafe { seen(error) }.and_then(Error::cause) {
        Some(cause) => core::ptr::from_ref(cause).cast(),
        None => core::ptr::null(),
    })
}

/// Frees an error and its causes, however many; null is accepted. Texts that were read from it end with it.
///
/// # Safety
/// `error` is null or an error that the caller owns, not used again.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wf_error_free(error: *mut wf_error) {
    // SAFETY: as demanded of the caller.
    catch_panic_or((), || drop(unsafe { from_c(error) }));
}

/// A few words for a code, such as "look ahead"; empty for a number that is no code. Valid for ever.
#[unsafe(no_mangle)]
pub extern "C" fn wf_code_name(code: i32) -> wf_string {
    catch_panic_or(string(""), || {
        string(if code == WF_OK { "ok" } else { Code::from_i32(code).map_or("", Code::name) })
    })
}

/// The version of the library, such as "0.1.0"; valid for ever.
#[unsafe(no_mangle)]
pub extern "C" fn wf_version() -> wf_string {
    string(env!("CARGO_PKG_VERSION"))
}

/// The version of the ABI that the library was built with: major × 65536 + minor. Compare with `WF_ABI_MAJOR`.
#[unsafe(no_mangle)]
pub extern "C" fn wf_abi_version() -> u32 {
    WF_ABI_MAJOR << 16 | WF_ABI_MINOR
}
