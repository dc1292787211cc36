//! The plugin ABI: the types that cross between walkforge and a plugin, as plain C.
//!
//! Tables only grow at the end, and each starts with its size, so a plugin built today loads in every later host of the
//! same major version. Text is a pointer and a length in UTF-8. Every fallible function returns 0 or an error code, and
//! leaves its out-parameters untouched on failure. Pointers that a call hands over are valid during that call only,
//! unless said otherwise.
#![allow(non_camel_case_types, unsafe_code)]

use core::ffi::{c_char, c_void};

/// Major version of this ABI: a host refuses a plugin of another one.
pub const WF_ABI_MAJOR: u32 = 1;
/// Minor version: grows when a table or a service is added. 1: networks.
pub const WF_ABI_MINOR: u32 = 1;
/// What a function returns on success.
pub const WF_OK: i32 = 0;
/// An argument of a call is unusable: null, wrong size, out of range.
pub const WF_E_INVALID_ARGUMENT: i32 = 1;
/// A setting is unknown, of the wrong type or out of its range.
pub const WF_E_INVALID_SETTING: i32 = 2;
/// A data file or array holds something that cannot be used.
pub const WF_E_INVALID_DATA: i32 = 3;
/// A file, plugin, asset, model or date was asked for that is not there.
pub const WF_E_NOT_FOUND: i32 = 4;
/// The operating system refused a read or a write.
pub const WF_E_IO: i32 = 5;
/// A plugin returned an error or an unusable answer.
pub const WF_E_PLUGIN: i32 = 6;
/// A plugin cannot be loaded: wrong ABI version, missing symbol, damaged file.
pub const WF_E_PLUGIN_ABI: i32 = 7;
/// The answer needs more steps of the run first.
pub const WF_E_NOT_READY: i32 = 8;
/// Another thread is using the handle, or another process is writing the directory.
pub const WF_E_BUSY: i32 = 9;
/// An earlier call on the handle failed inside; the handle can only be freed.
pub const WF_E_POISONED: i32 = 10;
/// The caller cancelled the work.
pub const WF_E_CANCELLED: i32 = 11;
/// No portfolio satisfies the constraints.
pub const WF_E_INFEASIBLE: i32 = 12;
/// The handle was made in another process, before a fork.
pub const WF_E_FORKED: i32 = 13;
/// The caller's buffer is too small.
pub const WF_E_BUFFER_TOO_SMALL: i32 = 14;
/// A model was shown a row above its as-of row.
pub const WF_E_LOOK_AHEAD: i32 = 15;
/// The output directory belongs to something else.
pub const WF_E_EXISTS: i32 = 16;
/// A fault of walkforge itself.
pub const WF_E_INTERNAL: i32 = 17;

/// Level of a log message: something failed.
pub const WF_LOG_ERROR: i32 = 1;
/// Level of a log message: something looks wrong.
pub const WF_LOG_WARN: i32 = 2;
/// Level of a log message: what goes on.
pub const WF_LOG_INFO: i32 = 3;
/// Level of a log message: for whoever looks for a fault.
pub const WF_LOG_DEBUG: i32 = 4;

/// An error: a code, a message and perhaps the error that caused it. Owned by whoever receives it.
pub enum wf_error {}

/// Who a plugin works for: the model of a run. Handed to services such as `log` and `cancel`.
pub enum wf_context {}

/// The checked settings of a model, read through `wf_settings_service`.
pub enum wf_settings {}

/// Text: UTF-8, not terminated.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct wf_string {
    /// First byte; may be null when `length` is 0.
    pub data: *const c_char,
    /// Bytes.
    pub length: usize,
}

/// A further number by date and asset that a user gave beside returns, such as volume.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct wf_feature {
    /// Its name.
    pub name: wf_string,
    /// Its values, `[rows, assets]`, row-major; NaN where missing.
    pub values: *const f64,
}

/// What a model is shown: copies of rows that end at the as-of row. All of it is read-only, and valid during the call.
#[repr(C)]
#[derive(Clone, Copy)]
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
    /// Who asks, for the services of the host.
    pub context: *const wf_context,
    /// Number of feature planes, 0 where the data have none.
    pub feature_count: usize,
    /// Feature planes in order of their names, `[feature_count]`.
    pub features: *const wf_feature,
}

/// What a model needs to be shown at a decision.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct wf_requirements {
    /// Size of this struct in bytes.
    pub struct_size: usize,
    /// Rows of returns up to and with the as-of row, at least 1; fewer are shown where the data begin later. `SIZE_MAX` for
    /// all there are.
    pub lookback: usize,
    /// Finite returns that an asset must have in the lookback to be shown, at most `lookback`.
    pub min_history: usize,
    /// Of a network, since 1.1: one of `WF_UNIVERSE_*`.
    pub universe: i32,
}

/// A network sees the assets that may be weighed at each date; its parameters do not depend on how many there are.
pub const WF_UNIVERSE_BY_DATE: i32 = 0;
/// A network sees the same assets in the same places throughout a window: those that may be weighed at the first decision of its
/// validation span. An asset that may not be weighed at a date is masked out there and its inputs are 0.
pub const WF_UNIVERSE_FIXED: i32 = 1;

/// What the host offers to a plugin.
#[repr(C)]
pub struct wf_host {
    /// Size of this struct in bytes.
    pub struct_size: usize,
    /// Major version of the host's ABI.
    pub abi_major: u32,
    /// Minor version of the host's ABI.
    pub abi_minor: u32,
    /// Makes an error to be stored in `*error`, whose owner the host then is; the message is copied, `cause` may be null
    /// and belongs to the new error. The codes `WF_E_INVALID_DATA`, `WF_E_INVALID_SETTING` and `WF_E_CANCELLED` reach the
    /// user as they are, any other as `WF_E_PLUGIN`. This slot never moves.
    pub error_new: unsafe extern "C" fn(code: i32, message: wf_string, cause: *mut wf_error) -> *mut wf_error,
    /// A service by its id (`settings`, `log`, `cancel`, `statistics`, since 1.1 `program`), or null where the host has none of at least this version.
    /// It stays valid as long as the process.
    pub get_service: unsafe extern "C" fn(id: wf_string, minimum_version: u32) -> *const c_void,
}

/// Service `settings`, version 1: `WF_E_NOT_FOUND` where a setting without a default was left out, or is of another type.
/// The name is that of the declaration.
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

/// Service `log`, version 1.
#[repr(C)]
pub struct wf_log_service {
    /// Size of this struct in bytes.
    pub struct_size: usize,
    /// Hands a message to the host program; `level` is one of `WF_LOG_*`.
    pub write: unsafe extern "C" fn(context: *const wf_context, level: i32, message: wf_string),
}

/// Service `cancel`, version 1: a plugin whose calls take long asks now and then.
#[repr(C)]
pub struct wf_cancel_service {
    /// Size of this struct in bytes.
    pub struct_size: usize,
    /// 1 where the caller wants the work to stop, else 0. The plugin then returns `WF_E_CANCELLED`.
    pub requested: unsafe extern "C" fn(context: *const wf_context) -> i32,
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

/// A network under description: what `build` gets, for the functions of `wf_program_service`.
pub enum wf_program {}

/// A value of a program: an input, a parameter or what an op gives.
pub type wf_value = i32;
/// No value: what a function of `wf_program_service` gives where it fails.
pub const WF_NO_VALUE: wf_value = -1;
/// As an axis of `computed`: as many as there are assets.
pub const WF_AXIS_ASSETS: usize = usize::MAX;

/// What a network is described for.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct wf_network_shape {
    /// Size of this struct in bytes.
    pub struct_size: usize,
    /// Assets that the network has places for, at least 1.
    pub assets: usize,
    /// Number of feature planes that the data have.
    pub feature_count: usize,
    /// Their names, sorted, `[feature_count]`.
    pub features: *const wf_string,
}

/// Service `program`, version 1: describes a network, for use inside `build` alone. The program is gone when `build` returns: a call
/// with it after that is undefined.
///
/// Shapes are those of one sample, a date; the host adds the axis of the batch. A function that fails, because shapes do not fit
/// or a name is unknown, gives `WF_NO_VALUE`, and so does each that is handed `WF_NO_VALUE`. The first failure is kept, with op
/// and shapes, and the host tells the user when `build` returns: `build` itself need not check.
///
/// Parameters are named after the layer, as in `lstm.0.weight_ih`; a name has letters, digits, `_` and `.`, and is used once.
#[repr(C)]
pub struct wf_program_service {
    /// Size of this struct in bytes.
    pub struct_size: usize,
    /// An input: the last `rows` rows of a plane up to and with the as-of row, `[rows, assets]`, the oldest first. `plane` is
    /// `returns` or the name of a feature plane: less the mean and over the deviation of the train span (over dates
    /// and members), 0 where missing; or `known`: 1 where the return is there, else 0; or `members`: 1 where the asset might
    /// be held after a decision at that row, else 0. `rows` is at most the `lookback` of the requirements.
    pub trailing: unsafe extern "C" fn(program: *mut wf_program, plane: wf_string, rows: usize) -> wf_value,
    /// An input: 1 where the asset may be weighed at the as-of row, else 0, `[assets]`.
    pub mask: unsafe extern "C" fn(program: *mut wf_program) -> wf_value,
    /// An input that `compute` fills, of this shape, in which `WF_AXIS_ASSETS` stands for the assets. With `normalise` 1 each
    /// feature, a place of the last axis, is less its mean and over its deviation in the train span; with 0 it is taken as it
    /// is. NaN becomes 0 either way.
    pub computed: unsafe extern "C" fn(
        program: *mut wf_program,
        name: wf_string,
        shape: *const usize,
        axes: usize,
        normalise: i32,
    ) -> wf_value,
    /// A parameter that begins uniform in [-bound, bound); with a bound of 0 it begins at `middle`, which else is 0.
    pub parameter: unsafe extern "C" fn(
        program: *mut wf_program,
        name: wf_string,
        shape: *const usize,
        axes: usize,
        bound: f32,
        middle: f32,
    ) -> wf_value,
    /// x W' + b, `[..., outputs]` of `[..., inputs]`: parameters `name.weight` `[outputs, inputs]` and `name.bias` `[outputs]`.
    pub linear:
        unsafe extern "C" fn(program: *mut wf_program, name: wf_string, x: wf_value, outputs: usize) -> wf_value,
    /// An LSTM layer over sequences, `[..., steps, hidden]` of `[..., steps, inputs]`, with the parameters, the order of gates
    /// and the beginning of PyTorch: `name.weight_ih`, `name.weight_hh`, `name.bias_ih`, `name.bias_hh`.
    pub lstm: unsafe extern "C" fn(program: *mut wf_program, name: wf_string, x: wf_value, hidden: usize) -> wf_value,
    /// Layer normalisation over the last axis, with parameters `name.scale` and `name.shift`.
    pub layer_norm: unsafe extern "C" fn(program: *mut wf_program, name: wf_string, x: wf_value) -> wf_value,
    /// Multi-head attention of a sequence `[steps, width]` to itself; `heads` divides the width. Parameters of four linear
    /// layers: `name.query`, `name.key`, `name.value`, `name.output`.
    pub attention:
        unsafe extern "C" fn(program: *mut wf_program, name: wf_string, x: wf_value, heads: usize) -> wf_value,
    /// In training, each number is 0 with probability `share`, else over 1 - `share`; in prediction as it is.
    pub dropout: unsafe extern "C" fn(program: *mut wf_program, x: wf_value, share: f32) -> wf_value,
    /// Any op of the table in the host's documentation, by its name, as `walkforge plugin show` writes it: `relu`, `add`,
    /// `reshape`, `slice`, `concat`, `transpose`, `matmul`, `softmax`, ... `attributes` is what stands behind its operands there,
    /// such as `axis=0 start=59 length=1` or `shape=[1200]`; empty where an op has none.
    pub op: unsafe extern "C" fn(
        program: *mut wf_program,
        name: wf_string,
        operands: *const wf_value,
        count: usize,
        attributes: wf_string,
    ) -> wf_value,
    /// Writes up to `capacity` axes of a value's shape and gives their number; 0 for `WF_NO_VALUE` and for one number.
    pub shape:
        unsafe extern "C" fn(program: *const wf_program, value: wf_value, axes: *mut usize, capacity: usize) -> usize,
    /// What the network gives: scores of the assets, the higher the better, `[assets]`, or `[rows, assets]` for the last `rows`
    /// dates. Trained for the Sharpe ratio, the host turns them into weights with a softmax over the assets that may be
    /// weighed; trained for the mean square, scores are forecasts of returns.
    pub output_scores: unsafe extern "C" fn(program: *mut wf_program, value: wf_value),
    /// What the network gives: weights, of the same shapes, that sum to 1 over the assets of each date and are 0 where the mask is.
    pub output_weights: unsafe extern "C" fn(program: *mut wf_program, value: wf_value),
}

/// What a plugin offers to the host.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct wf_plugin_api {
    /// Size of this struct in bytes.
    pub struct_size: usize,
    /// Major version that the plugin was built against.
    pub abi_major: u32,
    /// Minor version that the plugin was built against.
    pub abi_minor: u32,
    /// JSON: `name`, `version`, `kind` (`estimator` or `network`), `doc` and `settings`, a list of objects with `name`, `type`
    /// (`integer`, `real`, `boolean`, `text`, `choice`, `date`), `default` (null: may be left out) and `doc`; numbers
    /// have `minimum` and `maximum` as well, a choice has `choices`. The host checks what a user sets against it, so
    /// `create` sees allowed values only. The text is valid as long as the process.
    pub describe: Option<unsafe extern "C" fn(out: *mut wf_string, error: *mut *mut wf_error) -> i32>,
    /// Makes a model from checked settings; settings and context are valid during the call only. A host makes many
    /// models, one a window, perhaps on several threads at once. On failure nothing is left to destroy.
    pub create: Option<
        unsafe extern "C" fn(
            context: *const wf_context,
            settings: *const wf_settings,
            model: *mut *mut c_void,
            error: *mut *mut wf_error,
        ) -> i32,
    >,
    /// Frees a model; null is accepted.
    pub destroy: Option<unsafe extern "C" fn(model: *mut c_void)>,
    /// What the model needs to be shown.
    pub requirements:
        Option<unsafe extern "C" fn(model: *const c_void, out: *mut wf_requirements, error: *mut *mut wf_error) -> i32>,
    /// Fits the model on its train span; `validation` is null where there is none. Called once, before any weights are
    /// asked for, by one thread. May be null: nothing to fit.
    pub fit: Option<
        unsafe extern "C" fn(
            model: *mut c_void,
            train: *const wf_past,
            validation: *const wf_past,
            error: *mut *mut wf_error,
        ) -> i32,
    >,
    /// Weights of the assets in `past`, in their order, that are finite and sum to 1 within 1e-6; `capacity` is at least
    /// `past->assets`, and every weight is written. Where returns are missing at the as-of row the asset is shown all the
    /// same: decide what that means. Many threads may call it on one model.
    pub weights: Option<
        unsafe extern "C" fn(
            model: *const c_void,
            past: *const wf_past,
            out: *mut f64,
            capacity: usize,
            error: *mut *mut wf_error,
        ) -> i32,
    >,
    /// Scores of the assets in `past`, `[assets]`, finite, the higher the better; asked for after the weights of the same
    /// past. Many threads may call it on one model. May be null: the model gives none.
    pub scores: Option<
        unsafe extern "C" fn(
            model: *const c_void,
            past: *const wf_past,
            out: *mut f64,
            capacity: usize,
            error: *mut *mut wf_error,
        ) -> i32,
    >,
    /// Of a network, since 1.1, and in place of `fit`, `weights` and `scores`: describes the network to `program` through the
    /// service `program`, inputs, layers and output. The host differentiates it, trains it and runs it. Called perhaps
    /// several times for one model, with other numbers of assets; the parameters must come to the same each time, unless the
    /// universe is fixed.
    pub build: Option<
        unsafe extern "C" fn(
            model: *const c_void,
            shape: *const wf_network_shape,
            program: *mut wf_program,
            error: *mut *mut wf_error,
        ) -> i32,
    >,
    /// Of a network, since 1.1: fills the computed input of this number (in the order in which `build` declared the computed
    /// inputs, from 0) for the as-of row of `past`. `out` is row-major, with `past->assets` in place of each
    /// `WF_AXIS_ASSETS`, and `capacity` numbers long; every number is written, NaN where there is none. Many threads may
    /// call it on one model. May be null where no input is computed.
    pub compute: Option<
        unsafe extern "C" fn(
            model: *const c_void,
            input: usize,
            past: *const wf_past,
            out: *mut f32,
            capacity: usize,
            error: *mut *mut wf_error,
        ) -> i32,
    >,
}

/// The one symbol of a plugin: `wf_plugin_init_<name>`, else `wf_plugin_init`. It sets the fields of `out` one by one, the
/// two versions among them; what it does not set stays null. `out->struct_size` says how much of the table the host knows:
/// leave it as it is, and ask it before you set a field that the first version of this header did not have. `host` stays
/// valid as long as the process. Called again when the plugin is loaded again.
pub type wf_plugin_entry =
    unsafe extern "C" fn(host: *const wf_host, out: *mut wf_plugin_api, error: *mut *mut wf_error) -> i32;
