//! The plugin ABI: the types that cross between walkforge and a plugin, as plain C.
//!
//! Tables only grow at the end, and each starts with its size, so a plugin built today loads in every later host of the
//! same major version. Text is a pointer and a length in UTF-8. Every fallible function returns 0 or an error code, and
//! leaves its out-parameters untouched on failure. Pointers that a call hands over are valid during that call only,
//! unless said otherwise.
#![allow(non_camel_case_types)]

use core::ffi::{c_char, c_void};

/// Major version of this ABI: a host refuses a plugin of another one.
pub const WF_ABI_MAJOR: u32 = 1;
/// Minor version: grows when a table or a service is added.
pub const WF_ABI_MINOR: u32 = 1;
/// What a function returns on success.
pub const WF_OK: i32 = 0;

/// An error, made by the host's `error_new` and owned by whoever receives it.
#[repr(C)]
pub struct wf_error {
    _private: [u8; 0],
}

/// The checked settings of a model, read through `wf_settings_service`.
#[repr(C)]
pub struct wf_settings {
    _private: [u8; 0],
}

/// Text: UTF-8, not terminated.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct wf_string {
    /// First byte; may be null when `length` is 0.
    pub data: *const c_char,
    /// Bytes.
    pub length: usize,
}

/// What a model is shown: copies of rows that end at the as-of row.
#[repr(C)]
pub struct wf_past {
    /// Size of this struct in bytes.
    pub struct_size: usize,
    /// Number of rows (dates), at least 1; the last one is the as-of row.
    pub rows: usize,
    /// Number of assets, at least 1, in order of their names.
    pub assets: usize,
    /// Dates as days since 1970-01-01, `[rows]`.
    pub dates: *const i32,
    /// Asset names, `[assets]`.
    pub names: *const wf_string,
    /// Simple returns, `[rows, assets]`, row-major; NaN where missing.
    pub returns: *const f64,
    /// 1 where the asset might be held after a decision at that row, else 0, `[rows, assets]`, row-major.
    pub members: *const u8,
}

/// What a model needs to be shown at a decision.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct wf_requirements {
    /// Size of this struct in bytes.
    pub struct_size: usize,
    /// Rows of returns up to and with the as-of row; fewer are shown where the data begin later.
    pub lookback: usize,
    /// Finite returns that an asset must have in the lookback to be shown.
    pub min_history: usize,
}

/// What the host offers to a plugin.
#[repr(C)]
pub struct wf_host {
    /// Size of this struct in bytes.
    pub struct_size: usize,
    /// Major version of the host's ABI.
    pub abi_major: u32,
    /// Minor version of the host's ABI.
    pub abi_minor: u32,
    /// Makes an error; `cause` may be null and belongs to the new error. This slot never moves.
    pub error_new: unsafe extern "C" fn(code: i32, message: wf_string, cause: *mut wf_error) -> *mut wf_error,
    /// A service by its id (this version has `settings` and `statistics`), or null where the host has none of at least this version.
    /// It stays valid as long as the process.
    pub get_service: unsafe extern "C" fn(id: wf_string, minimum_version: u32) -> *const c_void,
}

/// Service `settings`, version 1: a code of `NotFound` where a setting without a default was left out.
#[repr(C)]
pub struct wf_settings_service {
    /// Size of this struct in bytes.
    pub struct_size: usize,
    /// Reads a whole number.
    pub get_integer: unsafe extern "C" fn(settings: *const wf_settings, name: wf_string, out: *mut i64) -> i32,
    /// Reads a number.
    pub get_real: unsafe extern "C" fn(settings: *const wf_settings, name: wf_string, out: *mut f64) -> i32,
    /// Reads a truth value as 0 or 1.
    pub get_boolean: unsafe extern "C" fn(settings: *const wf_settings, name: wf_string, out: *mut i32) -> i32,
    /// Reads a text; it is valid as long as the settings.
    pub get_text: unsafe extern "C" fn(settings: *const wf_settings, name: wf_string, out: *mut wf_string) -> i32,
}

/// Service `statistics`, version 1: covariance, correlation and distance matrices, each sum in one fixed order, so equal
/// inputs give equal bits on every machine.
///
/// Returns are `[rows, assets]`, row-major; one that is not finite is missing. Matrices are row-major and symmetric to
/// the bit. `out` has room for `capacity` numbers, must not overlap an input, and is untouched on failure, as is
/// `matrix`. Codes: `InvalidArgument` for null, a size of 0, one that overflows, or an unknown constant;
/// `BufferTooSmall`; `InvalidData` for what cannot be computed.
#[repr(C)]
pub struct wf_statistics_service {
    /// Size of this struct in bytes.
    pub struct_size: usize,
    /// Covariance, `[assets, assets]`. `estimator` is one of `WF_COVARIANCE_*`, `missing` one of `WF_MISSING_*`; shrinkage
    /// needs complete rows. `InvalidData` where fewer than two rows can be used. NaN for a pair with fewer than two
    /// rows in common; exactly 0 for the variance of one repeated return.
    pub covariance: unsafe extern "C" fn(
        returns: *const f64,
        rows: usize,
        assets: usize,
        estimator: i32,
        missing: i32,
        out: *mut f64,
        capacity: usize,
    ) -> i32,
    /// Correlation, `[assets, assets]`, with a diagonal of 1. `coefficient` is one of `WF_CORRELATION_*`, `missing` one
    /// of `WF_MISSING_*`. `InvalidData` where fewer than two rows can be used. NaN for a pair with fewer than two rows
    /// in common, or with a side that does not vary over them.
    pub correlation: unsafe extern "C" fn(
        returns: *const f64,
        rows: usize,
        assets: usize,
        coefficient: i32,
        missing: i32,
        out: *mut f64,
        capacity: usize,
    ) -> i32,
    /// Makes a symmetric `matrix`, `[count, count]`, positive semi-definite in place by cutting negative eigenvalues and
    /// restoring its diagonal, and writes 1 to `changed` where that was needed, else 0; `changed` may be null.
    /// `InvalidData` where a number is not finite or a diagonal element not positive.
    pub repair: unsafe extern "C" fn(matrix: *mut f64, count: usize, changed: *mut i32) -> i32,
    /// Euclidean distance between every two of `count` points, `[count, dimensions]`, row-major: `[count, count]`.
    /// Exactly 0 between equal points. `InvalidData` where a number is not finite.
    pub distances: unsafe extern "C" fn(
        points: *const f64,
        count: usize,
        dimensions: usize,
        out: *mut f64,
        capacity: usize,
    ) -> i32,
}

/// Sample covariance, divisor rows - 1.
pub const WF_COVARIANCE_SAMPLE: i32 = 0;
/// Ledoit-Wolf shrinkage towards the identity times the mean variance, divisor rows.
pub const WF_COVARIANCE_LEDOIT_WOLF: i32 = 1;
/// Pearson's correlation.
pub const WF_CORRELATION_PEARSON: i32 = 0;
/// Spearman's rank correlation.
pub const WF_CORRELATION_SPEARMAN: i32 = 1;
/// Kendall's tau-b.
pub const WF_CORRELATION_KENDALL: i32 = 2;
/// Rows in which every asset has a return.
pub const WF_MISSING_COMPLETE: i32 = 0;
/// For every pair of assets, the rows in which both have a return.
pub const WF_MISSING_PAIRWISE: i32 = 1;

/// What a plugin offers to the host.
#[repr(C)]
pub struct wf_plugin_api {
    /// Size of this struct in bytes.
    pub struct_size: usize,
    /// Major version that the plugin was built against.
    pub abi_major: u32,
    /// Minor version that the plugin was built against.
    pub abi_minor: u32,
    /// JSON: `name`, `version`, `kind` (`estimator`), `doc`, `settings`. Valid as long as the process.
    pub describe: Option<unsafe extern "C" fn(out: *mut wf_string, error: *mut *mut wf_error) -> i32>,
    /// Makes a model from checked settings, valid during the call only.
    pub create: Option<
        unsafe extern "C" fn(settings: *const wf_settings, model: *mut *mut c_void, error: *mut *mut wf_error) -> i32,
    >,
    /// Frees a model; null is accepted.
    pub destroy: Option<unsafe extern "C" fn(model: *mut c_void)>,
    /// What the model needs to be shown.
    pub requirements:
        Option<unsafe extern "C" fn(model: *const c_void, out: *mut wf_requirements, error: *mut *mut wf_error) -> i32>,
    /// Fits the model on its train span; `validation` is null where there is none. May be null: nothing to fit.
    pub fit: Option<
        unsafe extern "C" fn(
            model: *mut c_void,
            train: *const wf_past,
            validation: *const wf_past,
            error: *mut *mut wf_error,
        ) -> i32,
    >,
    /// Weights of the assets in `past`, `[assets]`, that sum to 1; many threads may call it on one model.
    pub weights: Option<
        unsafe extern "C" fn(
            model: *const c_void,
            past: *const wf_past,
            out: *mut f64,
            capacity: usize,
            error: *mut *mut wf_error,
        ) -> i32,
    >,
}

/// The one symbol of a plugin: `wf_plugin_init_<name>`, else `wf_plugin_init`. It fills `out`, whose `struct_size` says
/// how much of it the host knows; `host` stays valid as long as the process.
pub type wf_plugin_init =
    unsafe extern "C" fn(host: *const wf_host, out: *mut wf_plugin_api, error: *mut *mut wf_error) -> i32;
