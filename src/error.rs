//! The one error type: a stable code that crosses the C boundary, a message for people, and the chain of causes.

use std::fmt;

/// A result whose error is [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong, as a number that never changes meaning. Retired numbers are not reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(i32)]
pub enum Code {
    /// An argument of a call is unusable: null, wrong size, out of range.
    InvalidArgument = 1,
    /// A setting is unknown, of the wrong type or out of its range.
    InvalidSetting = 2,
    /// A data file or array holds something that cannot be used.
    InvalidData = 3,
    /// A file, plugin, asset, model or date was asked for that is not there.
    NotFound = 4,
    /// The operating system refused a read or a write.
    Io = 5,
    /// A plugin returned an error or an unusable answer.
    Plugin = 6,
    /// A plugin cannot be loaded: wrong ABI version, missing symbol, damaged file.
    PluginAbi = 7,
    /// The answer needs more steps of the run first.
    NotReady = 8,
    /// Another thread is using the handle.
    Busy = 9,
    /// An earlier call on the handle failed inside; the handle can only be freed.
    Poisoned = 10,
    /// The caller cancelled the work.
    Cancelled = 11,
    /// No portfolio satisfies the constraints.
    Infeasible = 12,
    /// The handle was made in another process, before a fork.
    Forked = 13,
    /// The caller's buffer is too small.
    BufferTooSmall = 14,
    /// A model was shown a row above its as-of row.
    LookAhead = 15,
    /// The output directory belongs to something else.
    Exists = 16,
    /// A fault of walkforge itself.
    Internal = 17,
}

impl Code {
    /// The number that crosses the C boundary.
    pub const fn as_i32(self) -> i32 {
        self as i32
    }

    /// The code of a number, if it is one of ours.
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

/// An error: what failed, said for the person who has to mend it, and what caused it.
#[derive(Debug)]
pub struct Error {
    code: Code,
    message: String,
    cause: Option<Box<Error>>,
}

impl Error {
    /// An error without a cause.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), cause: None }
    }

    /// The same error seen from one level up; the code stays that of the root cause.
    #[must_use]
    pub fn context(self, message: impl Into<String>) -> Self {
        Self { code: self.code, message: message.into(), cause: Some(Box::new(self)) }
    }

    /// An input or output error on `path`.
    pub fn io(action: &str, path: &std::path::Path, error: &std::io::Error) -> Self {
        let code = if error.kind() == std::io::ErrorKind::NotFound { Code::NotFound } else { Code::Io };
        Self::new(code, format!("cannot {action} {}: {error}", path.display()))
    }

    /// The stable code.
    pub fn code(&self) -> Code {
        self.code
    }

    /// The message of this level alone.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The error that caused this one.
    pub fn cause(&self) -> Option<&Error> {
        self.cause.as_deref()
    }
}

/// The message followed by those of its causes, `: ` between them.
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
    fn every_code_survives_the_c_boundary() {
        for number in 1..=17 {
            assert_eq!(Code::from_i32(number).map(Code::as_i32), Some(number));
        }
        assert!(Code::from_i32(0).is_none() && Code::from_i32(18).is_none());
    }
}
