//! The error type of the library: a stable code for the C ABI, a message for people, and a chain of causes.

use std::any::Any;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

use walkforge_plugin_abi as abi;

/// A result whose error is [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The kind of an error, as an integer that never changes its meaning. Retired integers are not reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(i32)]
pub enum Code {
    /// An argument of a call is not valid: null, of the wrong size or out of range.
    InvalidArgument = abi::WF_E_INVALID_ARGUMENT,
    /// A setting is unknown, of the wrong type or out of its range.
    InvalidSetting = abi::WF_E_INVALID_SETTING,
    /// A data file or array holds an invalid value.
    InvalidData = abi::WF_E_INVALID_DATA,
    /// A requested file, plugin, asset, model or date does not exist.
    NotFound = abi::WF_E_NOT_FOUND,
    /// A read or a write failed in the operating system.
    Io = abi::WF_E_IO,
    /// A plugin returned an error or an invalid result.
    Plugin = abi::WF_E_PLUGIN,
    /// A plugin cannot be loaded: wrong ABI version, missing symbol, damaged file.
    PluginAbi = abi::WF_E_PLUGIN_ABI,
    /// The result is not available until the run has advanced further.
    NotReady = abi::WF_E_NOT_READY,
    /// Another thread is using the handle, or another process is writing the directory.
    Busy = abi::WF_E_BUSY,
    /// An earlier call on the handle panicked; the handle can only be freed.
    Poisoned = abi::WF_E_POISONED,
    /// The caller cancelled the work.
    Cancelled = abi::WF_E_CANCELLED,
    /// No portfolio satisfies the constraints.
    Infeasible = abi::WF_E_INFEASIBLE,
    /// The handle was created in another process, before a fork.
    Forked = abi::WF_E_FORKED,
    /// The caller's buffer is too small.
    BufferTooSmall = abi::WF_E_BUFFER_TOO_SMALL,
    /// A model saw a row after its as-of row.
    LookAhead = abi::WF_E_LOOK_AHEAD,
    /// The output directory belongs to another run or program.
    Exists = abi::WF_E_EXISTS,
    /// A bug in walkforge.
    Internal = abi::WF_E_INTERNAL,
}

impl Code {
    /// The integer in the C ABI.
    pub const fn as_i32(self) -> i32 {
        self as i32
    }

    /// A short description.
    pub const fn name(self) -> &'static str {
        match self {
            Code::InvalidArgument => "invalid argument",
            Code::InvalidSetting => "invalid setting",
            Code::InvalidData => "invalid data",
            Code::NotFound => "not found",
            Code::Io => "input or output failed",
            Code::Plugin => "plugin failed",
            Code::PluginAbi => "plugin cannot be loaded",
            Code::NotReady => "not ready",
            Code::Busy => "busy",
            Code::Poisoned => "poisoned",
            Code::Cancelled => "cancelled",
            Code::Infeasible => "infeasible",
            Code::Forked => "made before a fork",
            Code::BufferTooSmall => "buffer too small",
            Code::LookAhead => "look ahead",
            Code::Exists => "exists already",
            Code::Internal => "internal fault",
        }
    }

    /// The code of an integer in the C ABI; `None` if there is none.
    pub fn from_i32(code: i32) -> Option<Self> {
        const ALL: [Code; 17] = [
            Code::InvalidArgument,
            Code::InvalidSetting,
            Code::InvalidData,
            Code::NotFound,
            Code::Io,
            Code::Plugin,
            Code::PluginAbi,
            Code::NotReady,
            Code::Busy,
            Code::Poisoned,
            Code::Cancelled,
            Code::Infeasible,
            Code::Forked,
            Code::BufferTooSmall,
            Code::LookAhead,
            Code::Exists,
            Code::Internal,
        ];
        ALL.into_iter().find(|known| known.as_i32() == code)
    }
}

/// An error: a code, a message that tells the reader what failed and how to fix it, and a cause.
pub struct Error {
    code: Code,
    message: String,
    cause: Option<Box<Error>>,
}

/// Bytes kept of the start and the end of a long message: the start names the setting or file, the end what is allowed.
const KEPT: (usize, usize) = (1200, 600);

/// Cuts the middle out of a long message, because one that quotes a value must not repeat a whole file.
fn clipped(message: String) -> String {
    if message.len() <= 2 * KEPT.0 {
        return message;
    }
    let boundary = |from: usize| (from..from + 4).find(|&index| message.is_char_boundary(index)).unwrap_or(from);
    let (front, back) = (boundary(KEPT.0), boundary(message.len() - KEPT.1));
    format!("{} … {} bytes left out … {}", &message[..front], back - front, &message[back..])
}

impl Error {
    /// Creates an error without a cause. The middle of a message of more than 2400 bytes is left out.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: clipped(message.into()), cause: None }
    }

    /// Sets the cause. Unlike [`Error::context`], this keeps the error's own code.
    #[must_use]
    pub fn caused_by(mut self, cause: Error) -> Self {
        self.cause = Some(Box::new(cause));
        self
    }

    /// Wraps the error in a message of the caller's level; the code stays that of the root cause.
    #[must_use]
    pub fn context(self, message: impl Into<String>) -> Self {
        Self { code: self.code, message: clipped(message.into()), cause: Some(Box::new(self)) }
    }

    /// Creates the error of a failed read or write of `path`.
    pub fn io(action: &str, path: &std::path::Path, error: &std::io::Error) -> Self {
        let code = if error.kind() == std::io::ErrorKind::NotFound { Code::NotFound } else { Code::Io };
        Self::new(code, format!("cannot {action} {}: {error}", path.display()))
    }

    /// The code.
    pub fn code(&self) -> Code {
        self.code
    }

    /// The message of this level, without those of its causes.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The error that caused this one.
    pub fn cause(&self) -> Option<&Error> {
        self.cause.as_deref()
    }

    /// Removes and returns the cause.
    pub(crate) fn take_cause(&mut self) -> Option<Error> {
        self.cause.take().map(|cause| *cause)
    }
}

/// Frees the causes in a loop, because recursion would overflow the stack on a long chain.
impl Drop for Error {
    fn drop(&mut self) {
        let mut next = self.cause.take();
        while let Some(mut cause) = next {
            next = cause.cause.take();
        }
    }
}

/// Code and messages, in a loop for the same reason.
impl fmt::Debug for Error {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:?}: {self}", self.code)
    }
}

/// The message and those of its causes, separated by `: `.
impl fmt::Display for Error {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.message)?;
        let mut cause = self.cause();
        while let Some(error) = cause {
            write!(out, ": {}", error.message)?;
            cause = error.cause();
        }
        Ok(())
    }
}

impl std::error::Error for Error {}

/// The message of a caught panic, or `no message` if its payload is not a string. Dropping the payload may panic; the
/// payload of that second panic is leaked, because no panic may unwind into a caller in C.
#[doc(hidden)]
pub fn panic_message(panic: Box<dyn Any + Send>) -> String {
    let text = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("no message")
        .to_owned();
    if let Err(second) = catch_unwind(AssertUnwindSafe(|| drop(panic))) {
        std::mem::forget(second);
    }
    text
}

/// Shorthand for `Err(Error::new(code, format!(…)))`.
macro_rules! fail {
    ($code:ident, $($text:tt)*) => {
        return Err($crate::error::Error::new($crate::error::Code::$code, format!($($text)*)))
    };
}
pub(crate) use fail;

#[cfg(test)]
mod tests {
    use super::{Code, Error};

    #[test]
    fn an_error_shows_its_whole_chain_and_keeps_the_root_code() {
        let error = Error::new(Code::InvalidData, "row 3 is short").context("cannot read prices.csv");
        assert_eq!(error.to_string(), "cannot read prices.csv: row 3 is short");
        assert_eq!(error.code(), Code::InvalidData);
        assert_eq!(error.cause().map(Error::message), Some("row 3 is short"));
    }

    #[test]
    fn a_chain_of_any_length_is_displayed_and_freed() {
        let mut error = Error::new(Code::Plugin, "root");
        for _ in 0..200_000 {
            error = error.context("x");
        }
        assert_eq!(error.to_string().len(), 200_000 * 3 + 4);
        assert!(format!("{error:?}").ends_with(": x: root"));
        drop(error);
    }

    #[test]
    fn a_panic_payload_that_panics_when_dropped_has_a_message() {
        struct PanicOnDrop;
        impl Drop for PanicOnDrop {
            fn drop(&mut self) {
                panic!("dropped");
            }
        }
        let panic = std::panic::catch_unwind(|| std::panic::panic_any(PanicOnDrop)).unwrap_err();
        assert_eq!(super::panic_message(panic), "no message");
    }

    #[test]
    fn a_long_message_keeps_its_start_and_its_end() {
        let message = format!("row 3: found '{}', allowed is a number", "é".repeat(1_000_000));
        let error = Error::new(Code::InvalidData, message).context("x".repeat(10_000)).to_string();
        assert!(
            error.len() < 4000 && error.ends_with("', allowed is a number") && error.contains("row 3: found"),
            "{error}"
        );
        assert!(error.contains(" bytes left out "));
        let whole = "y".repeat(2000);
        assert_eq!(Error::new(Code::InvalidData, whole.clone()).message(), whole);
    }

    #[test]
    fn every_code_round_trips_through_the_c_abi() {
        for code in 1..=17 {
            assert_eq!(Code::from_i32(code).map(Code::as_i32), Some(code));
        }
        assert!(Code::from_i32(0).is_none() && Code::from_i32(18).is_none());
    }
}
