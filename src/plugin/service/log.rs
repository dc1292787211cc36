//! Service `log`: messages from a plugin to the host program.

use walkforge_plugin_abi::{
    WF_LOG_DEBUG, WF_LOG_ERROR, WF_LOG_INFO, WF_LOG_WARN, wf_context, wf_log_service, wf_string,
};

use super::borrow_context;
use crate::model::LogLevel;
use crate::plugin::error::text;

/// Service `log`, version 1.
pub(super) static LOG: wf_log_service = wf_log_service { struct_size: size_of::<wf_log_service>(), write };

unsafe extern "C" fn write(context: *const wf_context, code: i32, message: wf_string) {
    // SAFETY: both are valid by the plugin's contract.
    let (context, message) = unsafe { (borrow_context(context), text(message)) };
    if let Some(context) = context {
        context.log(level(code), &message);
    }
}

/// Converts a code of `WF_LOG_*`. Codes below the range are errors, codes above it are debug messages.
fn level(code: i32) -> LogLevel {
    match code {
        ..=WF_LOG_ERROR => LogLevel::Error,
        WF_LOG_WARN => LogLevel::Warn,
        WF_LOG_INFO => LogLevel::Info,
        _ => LogLevel::Debug,
    }
}

/// Converts a level to its code, one of `WF_LOG_*`.
pub fn level_code(level: LogLevel) -> i32 {
    match level {
        LogLevel::Error => WF_LOG_ERROR,
        LogLevel::Warn => WF_LOG_WARN,
        LogLevel::Info => WF_LOG_INFO,
        LogLevel::Debug => WF_LOG_DEBUG,
    }
}
