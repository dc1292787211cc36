//! The plugin ABI: the C types and constants that walkforge and its plugins share.
//!
//! Each table starts with its size and only grows at the end, so a plugin built today loads in every later host of the
//! same major version. Text is a pointer and a length in UTF-8. A fallible function returns [`WF_OK`] or a `WF_E_*`
//! code and leaves its out-parameters untouched on failure. Pointers passed to a call are valid during that call only,
//! unless stated otherwise.
//!
//! Plugins in Rust use the crate `walkforge-plugin`, which wraps this ABI in safe code. `include/walkforge_plugin.h` is
//! generated from this crate.
#![allow(non_camel_case_types, unsafe_code)]

use core::ffi::{c_char, c_void};

/// Major version of this ABI. A host refuses a plugin built for another major version.
pub const WF_ABI_MAJOR: u32 = 1;
/// Minor version of this ABI. It increases when a function or a service is added; 1 added networks.
pub const WF_ABI_MINOR: u32 = 1;
/// Success.
pub const WF_OK: i32 = 0;
/// An argument is invalid: null, of the wrong size or out of range.
pub const WF_E_INVALID_ARGUMENT: i32 = 1;
/// A setting is unknown, of the wrong type or out of range.
pub const WF_E_INVALID_SETTING: i32 = 2;
/// A data file or an array holds values that cannot be used.
pub const WF_E_INVALID_DATA: i32 = 3;
/// The requested file, plugin, asset, model or date does not exist.
pub const WF_E_NOT_FOUND: i32 = 4;
/// The operating system reported an error while reading or writing.
pub const WF_E_IO: i32 = 5;
/// A plugin returned an error or an invalid result.
pub const WF_E_PLUGIN: i32 = 6;
/// A plugin cannot be loaded: wrong ABI version, missing symbol or damaged file.
pub const WF_E_PLUGIN_ABI: i32 = 7;
/// The result is not available before the run has advanced further.
pub const WF_E_NOT_READY: i32 = 8;
/// Another thread is using the handle, or another process is writing the directory.
pub const WF_E_BUSY: i32 = 9;
/// An internal error in an earlier call left the handle unusable; it can only be freed.
pub const WF_E_POISONED: i32 = 10;
/// The caller cancelled the work.
pub const WF_E_CANCELLED: i32 = 11;
/// No portfolio satisfies the constraints.
pub const WF_E_INFEASIBLE: i32 = 12;
/// The handle was created before a fork, in another process.
pub const WF_E_FORKED: i32 = 13;
/// The caller's buffer is too small.
pub const WF_E_BUFFER_TOO_SMALL: i32 = 14;
/// A model received a row after its as-of row.
pub const WF_E_LOOK_AHEAD: i32 = 15;
/// The output directory exists and holds something else.
pub const WF_E_EXISTS: i32 = 16;
/// A bug in walkforge.
pub const WF_E_INTERNAL: i32 = 17;

/// Log level: something failed.
pub const WF_LOG_ERROR: i32 = 1;
/// Log level: something looks wrong.
pub const WF_LOG_WARN: i32 = 2;
/// Log level: progress.
pub const WF_LOG_INFO: i32 = 3;
/// Log level: details for debugging.
pub const WF_LOG_DEBUG: i32 = 4;

/// An error: a code, a message and optionally the error that caused it. The receiver owns it.
pub enum wf_error {}

/// The model of a run on whose behalf the host calls a plugin. Pass it to the services `log` and `cancel`.
pub enum wf_context {}

/// The validated settings of a model. Read them through `wf_settings_service`.
pub enum wf_settings {}

/// A string in UTF-8, not null-terminated.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct wf_string {
    /// First byte; may be null if `length` is 0.
    pub data: *const c_char,
    /// Length in bytes.
    pub length: usize,
}

/// A feature plane: one value per date and asset that the user supplies beside the returns, such as volume.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct wf_feature {
    /// Name of the feature.
    pub name: wf_string,
    /// Values, `[rows, assets]`, row-major; NaN where missing.
    pub values: *const f64,
}

/// The data a model sees: a read-only copy of the panel that ends at the as-of row. It is valid during the call only.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct wf_past {
    /// Size of this struct in bytes.
    pub struct_size: usize,
    /// Number of rows (dates), at least 1. The last row is the as-of row.
    pub rows: usize,
    /// Number of assets, at least 1. They are sorted by name.
    pub assets: usize,
    /// Dates as days since 1970-01-01, `[rows]`.
    pub dates: *const i32,
    /// Asset names, `[assets]`.
    pub names: *const wf_string,
    /// Simple returns, `[rows, assets]`, row-major; NaN where missing.
    pub returns: *const f64,
    /// Membership, `[rows, assets]`, row-major: 1 if the asset may be held after a decision at that row, else 0.
    pub members: *const u8,
    /// The caller, for the host services that take a context.
    pub context: *const wf_context,
    /// Number of feature planes; may be 0.
    pub feature_count: usize,
    /// Feature planes, sorted by name, `[feature_count]`.
    pub features: *const wf_feature,
    /// Since 1.1: the largest deviation from their mean up to which the returns of an asset count as constant,
    /// `[assets]`: 1e-12, and 5e-7 where the source holds single precision.
    pub constant_within: *const f64,
}

/// The data a model needs at a decision.
///
/// An asset is eligible at a date if it is a member of the universe at that date and has at least `min_history` finite
/// returns among the last `lookback` rows. The model sees the eligible assets.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct wf_requirements {
    /// Size of this struct in bytes.
    pub struct_size: usize,
    /// Number of rows up to and including the as-of row, at least 1; `SIZE_MAX` requests all rows. The model sees fewer
    /// where the data begin later.
    pub lookback: usize,
    /// Number of finite returns an asset must have in the lookback to be eligible, at most `lookback`.
    pub min_history: usize,
    /// Networks only, since 1.1: which assets the network sees, one of `WF_ASSETS_*`. The name of the field is
    /// historic.
    pub universe: i32,
    /// Since 1.1: number of rows of the lookback in which every asset that the model sees must have a finite return; 0
    /// if the model copes with any. The host checks it for every decision before a run begins.
    pub common_rows: usize,
}

/// The network sees the assets that are eligible at each date. Its parameters must not depend on their number.
pub const WF_ASSETS_BY_DATE: i32 = 0;
/// The network sees one fixed list of assets throughout a window: those eligible at the first decision of its
/// validation span. At a date on which one of them is not eligible, it is masked out and its inputs are 0.
pub const WF_ASSETS_FIXED: i32 = 1;
/// Deprecated alias of `WF_ASSETS_BY_DATE`, until 2.0.
pub const WF_UNIVERSE_BY_DATE: i32 = WF_ASSETS_BY_DATE;
/// Deprecated alias of `WF_ASSETS_FIXED`, until 2.0.
pub const WF_UNIVERSE_FIXED: i32 = WF_ASSETS_FIXED;

/// The functions that the host offers to a plugin.
#[repr(C)]
pub struct wf_host {
    /// Size of this struct in bytes.
    pub struct_size: usize,
    /// Major version of the host's ABI.
    pub abi_major: u32,
    /// Minor version of the host's ABI.
    pub abi_minor: u32,
    /// Creates an error for a plugin to store in `*error`; the host owns it from then on. The message is copied.
    /// `cause` may be null; the new error takes ownership of it. The user sees the codes `WF_E_INVALID_DATA`,
    /// `WF_E_INVALID_SETTING` and `WF_E_CANCELLED` unchanged, and `WF_E_PLUGIN` for any other code. The offset of this
    /// field is the same in every version of the ABI.
    pub error_new: unsafe extern "C" fn(code: i32, message: wf_string, cause: *mut wf_error) -> *mut wf_error,
    /// Returns the table of a service, or null if the host does not have it in at least this version. The ids are
    /// `settings`, `log`, `cancel`, `statistics` and, since 1.1, `program`. The table is valid until the process ends.
    pub get_service: unsafe extern "C" fn(id: wf_string, minimum_version: u32) -> *const c_void,
}

/// Service `settings`, version 1: reads one setting by its declared name.
///
/// Each function returns `WF_E_NOT_FOUND` if the setting was omitted and has no default, or if it has another type.
#[repr(C)]
pub struct wf_settings_service {
    /// Size of this struct in bytes.
    pub struct_size: usize,
    /// Reads an integer.
    pub get_integer: unsafe extern "C" fn(settings: *const wf_settings, name: wf_string, out: *mut i64) -> i32,
    /// Reads a real number.
    pub get_real: unsafe extern "C" fn(settings: *const wf_settings, name: wf_string, out: *mut f64) -> i32,
    /// Reads a boolean as 0 or 1.
    pub get_boolean: unsafe extern "C" fn(settings: *const wf_settings, name: wf_string, out: *mut i32) -> i32,
    /// Reads a text, a choice or a date. The text is valid as long as the settings.
    pub get_text: unsafe extern "C" fn(settings: *const wf_settings, name: wf_string, out: *mut wf_string) -> i32,
}

/// Service `log`, version 1: messages to the host program.
#[repr(C)]
pub struct wf_log_service {
    /// Size of this struct in bytes.
    pub struct_size: usize,
    /// Sends a message to the host program; `level` is one of `WF_LOG_*`. A null context discards it.
    pub write: unsafe extern "C" fn(context: *const wf_context, level: i32, message: wf_string),
}

/// Service `cancel`, version 1: lets a long call find out that it should stop.
#[repr(C)]
pub struct wf_cancel_service {
    /// Size of this struct in bytes.
    pub struct_size: usize,
    /// Returns 1 if the caller has cancelled the work, else 0. After a 1 the plugin returns `WF_E_CANCELLED`.
    pub requested: unsafe extern "C" fn(context: *const wf_context) -> i32,
}

/// Service `statistics`, version 1: covariance, correlation and distance matrices.
///
/// Every sum is taken in one fixed order, so equal inputs give the same bits on every machine. Returns are
/// `[rows, assets]`, row-major; a non-finite return counts as missing. Matrices are row-major and exactly symmetric.
/// `out` holds `capacity` elements and must not overlap an input. On failure `out` and `matrix` are untouched. The
/// codes are `WF_E_INVALID_ARGUMENT` for null, a size of 0, a size that overflows or an unknown constant;
/// `WF_E_BUFFER_TOO_SMALL`; and `WF_E_INVALID_DATA` for values from which the result cannot be computed.
#[repr(C)]
pub struct wf_statistics_service {
    /// Size of this struct in bytes.
    pub struct_size: usize,
    /// Computes the covariance matrix, `[assets, assets]`, in squared units of the returns. `estimator` is one of
    /// `WF_COVARIANCE_*`, `missing` one of `WF_MISSING_*`; Ledoit-Wolf shrinkage requires complete rows.
    /// `WF_E_INVALID_DATA` with fewer than two usable rows. An element is NaN for a pair with fewer than two rows in
    /// common; the variance of a constant return is exactly 0.
    pub covariance: unsafe extern "C" fn(
        returns: *const f64,
        rows: usize,
        assets: usize,
        estimator: i32,
        missing: i32,
        out: *mut f64,
        capacity: usize,
    ) -> i32,
    /// Computes the correlation matrix, `[assets, assets]`, with a diagonal of 1. `coefficient` is one of
    /// `WF_CORRELATION_*`, `missing` one of `WF_MISSING_*`. `WF_E_INVALID_DATA` with fewer than two usable rows. An
    /// element is NaN for a pair with fewer than two rows in common, or if one of the two is constant over those rows.
    pub correlation: unsafe extern "C" fn(
        returns: *const f64,
        rows: usize,
        assets: usize,
        coefficient: i32,
        missing: i32,
        out: *mut f64,
        capacity: usize,
    ) -> i32,
    /// Makes a symmetric `matrix`, `[count, count]`, positive semi-definite in place: negative eigenvalues become 0,
    /// then the diagonal is restored. Writes 1 to `changed` if that was necessary, else 0; `changed` may be null.
    /// `WF_E_INVALID_DATA` if an element is non-finite or a diagonal element is not positive.
    pub repair: unsafe extern "C" fn(matrix: *mut f64, count: usize, changed: *mut i32) -> i32,
    /// Computes the Euclidean distances between `count` points, `[count, dimensions]`, row-major, as a matrix
    /// `[count, count]`. The distance between equal points is exactly 0. `WF_E_INVALID_DATA` if a coordinate is
    /// non-finite.
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
/// Ledoit-Wolf shrinkage (2004) toward the identity times the mean variance, divisor rows.
pub const WF_COVARIANCE_LEDOIT_WOLF: i32 = 1;
/// Pearson's correlation.
pub const WF_CORRELATION_PEARSON: i32 = 0;
/// Spearman's rank correlation.
pub const WF_CORRELATION_SPEARMAN: i32 = 1;
/// Kendall's tau-b.
pub const WF_CORRELATION_KENDALL: i32 = 2;
/// Use the rows in which every asset has a return.
pub const WF_MISSING_COMPLETE: i32 = 0;
/// Use, for each pair of assets, the rows in which both have a return.
pub const WF_MISSING_PAIRWISE: i32 = 1;

/// A network that `build` is describing, the first argument of every function of `wf_program_service`.
pub enum wf_program {}

/// A value of a program: an input, a parameter or the output of an op.
pub type wf_value = i32;
/// No value: the result of a function of `wf_program_service` that failed.
pub const WF_NO_VALUE: wf_value = -1;
/// An axis of `computed` whose length is the number of assets.
pub const WF_AXIS_ASSETS: usize = usize::MAX;

/// The sizes for which `build` describes a network.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct wf_network_shape {
    /// Size of this struct in bytes.
    pub struct_size: usize,
    /// Number of assets, at least 1.
    pub assets: usize,
    /// Number of feature planes in the data.
    pub feature_count: usize,
    /// Names of the feature planes, sorted, `[feature_count]`.
    pub features: *const wf_string,
}

/// Service `program`, version 1: describes a network. It may be used only inside `build`: the program is freed when
/// `build` returns, and using it later is undefined behaviour.
///
/// Shapes are those of one sample, a date; the host adds the batch axis. A function that fails, because shapes do not
/// match or a name is unknown, returns `WF_NO_VALUE`, and so does every function that receives `WF_NO_VALUE`. The host
/// keeps the first failure, with the op and its shapes, and reports it when `build` returns, so `build` need not check.
///
/// Parameters are named after their layer, as in `lstm.0.weight_ih`. A name consists of letters, digits, `_` and `.`,
/// and is used once.
#[repr(C)]
pub struct wf_program_service {
    /// Size of this struct in bytes.
    pub struct_size: usize,
    /// Adds an input: the last `rows` rows of a plane up to and including the as-of row, `[rows, assets]`, oldest
    /// first. `plane` is `returns` or the name of a feature plane, standardised with the mean and the standard
    /// deviation of the train span over dates and members, 0 where missing; or `known`: 1 where the return is present,
    /// else 0; or `members`: 1 where the asset may be held after a decision at that row, else 0. `rows` is at most the
    /// `lookback` of the requirements.
    pub trailing: unsafe extern "C" fn(program: *mut wf_program, plane: wf_string, rows: usize) -> wf_value,
    /// Adds an input `[assets]`: 1 if the asset is eligible at the as-of row, else 0.
    pub mask: unsafe extern "C" fn(program: *mut wf_program) -> wf_value,
    /// Adds an input that `compute` fills. `shape` has `axes` elements, at most 8; `WF_AXIS_ASSETS` stands for the
    /// number of assets. If `normalise` is 1, each index of the last axis is standardised with its mean and standard
    /// deviation over the train span; if 0, values are used unchanged. NaN becomes 0 either way.
    pub computed: unsafe extern "C" fn(
        program: *mut wf_program,
        name: wf_string,
        shape: *const usize,
        axes: usize,
        normalise: i32,
    ) -> wf_value,
    /// Adds a parameter, initialised uniformly in [-bound, bound). If `bound` is 0, every element starts at `constant`;
    /// otherwise `constant` must be 0.
    pub parameter: unsafe extern "C" fn(
        program: *mut wf_program,
        name: wf_string,
        shape: *const usize,
        axes: usize,
        bound: f32,
        constant: f32,
    ) -> wf_value,
    /// Adds a linear layer, x W' + b, that maps `[..., inputs]` to `[..., outputs]`. Its parameters are `name.weight`,
    /// `[outputs, inputs]`, and `name.bias`, `[outputs]`.
    pub linear:
        unsafe extern "C" fn(program: *mut wf_program, name: wf_string, x: wf_value, outputs: usize) -> wf_value,
    /// Adds an LSTM layer that maps sequences `[..., steps, inputs]` to their hidden states, `[..., steps, hidden]`.
    /// Parameters, gate order and initialisation are PyTorch's: `name.weight_ih`, `name.weight_hh`, `name.bias_ih`,
    /// `name.bias_hh`.
    pub lstm: unsafe extern "C" fn(program: *mut wf_program, name: wf_string, x: wf_value, hidden: usize) -> wf_value,
    /// Adds layer normalisation over the last axis, with the parameters `name.scale` and `name.shift`.
    pub layer_norm: unsafe extern "C" fn(program: *mut wf_program, name: wf_string, x: wf_value) -> wf_value,
    /// Adds multi-head self-attention over a sequence `[steps, width]`; `heads` must divide `width`. The parameters are
    /// those of four linear layers: `name.query`, `name.key`, `name.value`, `name.output`.
    pub attention:
        unsafe extern "C" fn(program: *mut wf_program, name: wf_string, x: wf_value, heads: usize) -> wf_value,
    /// Adds dropout: in training each element is zeroed with probability `share` and otherwise divided by 1 - `share`.
    /// In prediction the value passes through unchanged.
    pub dropout: unsafe extern "C" fn(program: *mut wf_program, x: wf_value, share: f32) -> wf_value,
    /// Adds any op by name: `relu`, `add`, `reshape`, `slice`, `concat`, `transpose`, `matmul`, `softmax`, ... The
    /// plugin guide lists all ops with their attributes. `attributes` is written as `walkforge plugin show` prints it,
    /// such as `axis=0 start=59 length=1` or `shape=[1200]`; it is empty for an op that has none.
    pub op: unsafe extern "C" fn(
        program: *mut wf_program,
        name: wf_string,
        operands: *const wf_value,
        count: usize,
        attributes: wf_string,
    ) -> wf_value,
    /// Writes the shape of a value, up to `capacity` axes, and returns its number of axes: 0 for a scalar and for
    /// `WF_NO_VALUE`.
    pub shape:
        unsafe extern "C" fn(program: *const wf_program, value: wf_value, axes: *mut usize, capacity: usize) -> usize,
    /// Sets the output of the network to scores, higher is better: `[assets]`, or `[rows, assets]` for the last `rows`
    /// dates. Trained on the Sharpe ratio, the host turns scores into weights with a softmax over the eligible assets;
    /// trained on the mean squared error, scores are forecasts of returns.
    pub output_scores: unsafe extern "C" fn(program: *mut wf_program, value: wf_value),
    /// Sets the output of the network to weights, `[assets]` or `[rows, assets]`, that sum to 1 over the assets of each
    /// date and are 0 where `mask` is 0.
    pub output_weights: unsafe extern "C" fn(program: *mut wf_program, value: wf_value),
}

/// The functions that a plugin offers to the host.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct wf_plugin_api {
    /// Size of this struct in bytes.
    pub struct_size: usize,
    /// Major version of the ABI that the plugin was built for.
    pub abi_major: u32,
    /// Minor version of the ABI that the plugin was built for.
    pub abi_minor: u32,
    /// Returns a JSON object with `name`, `version`, `kind` (`estimator` or `network`), `doc` and `settings`, a list of
    /// declarations. A declaration has `name`, `type` (`integer`, `real`, `boolean`, `text`, `choice` or `date`),
    /// `default` (null if the setting may be omitted) and `doc`; numbers also have `minimum` and `maximum`, a choice
    /// has `choices`. The host validates a user's settings against it, so `create` sees allowed values only. The text
    /// is valid until the process ends.
    pub describe: Option<unsafe extern "C" fn(out: *mut wf_string, error: *mut *mut wf_error) -> i32>,
    /// Creates a model from validated settings. `context` and `settings` are valid during the call only. A host creates
    /// one model per window, possibly on several threads at once. After a failure there is no model to destroy.
    pub create: Option<
        unsafe extern "C" fn(
            context: *const wf_context,
            settings: *const wf_settings,
            model: *mut *mut c_void,
            error: *mut *mut wf_error,
        ) -> i32,
    >,
    /// Frees a model; accepts null.
    pub destroy: Option<unsafe extern "C" fn(model: *mut c_void)>,
    /// Returns the data that the model needs at a decision.
    pub requirements:
        Option<unsafe extern "C" fn(model: *const c_void, out: *mut wf_requirements, error: *mut *mut wf_error) -> i32>,
    /// Fits the model on its train span; `validation` is null if there is no validation span. Called at most once, by
    /// one thread, before `weights`. May be null: there is nothing to fit.
    pub fit: Option<
        unsafe extern "C" fn(
            model: *mut c_void,
            train: *const wf_past,
            validation: *const wf_past,
            error: *mut *mut wf_error,
        ) -> i32,
    >,
    /// Writes one weight per asset of `past`, in the order of the assets; all must be finite and sum to 1 within 1e-6.
    /// `capacity` is at least `past->assets`. An asset whose return is missing at the as-of row is still part of
    /// `past`; the model decides what that means. Many threads may call this on one model at once.
    pub weights: Option<
        unsafe extern "C" fn(
            model: *const c_void,
            past: *const wf_past,
            out: *mut f64,
            capacity: usize,
            error: *mut *mut wf_error,
        ) -> i32,
    >,
    /// Writes one finite score per asset of `past`, higher is better. Called after `weights`, with the same past. Many
    /// threads may call this on one model at once. May be null: the model has no scores.
    pub scores: Option<
        unsafe extern "C" fn(
            model: *const c_void,
            past: *const wf_past,
            out: *mut f64,
            capacity: usize,
            error: *mut *mut wf_error,
        ) -> i32,
    >,
    /// Networks only, since 1.1, instead of `fit`, `weights` and `scores`: describes inputs, layers and output of the
    /// network to `program` through the service `program`. The host differentiates, trains and runs it. It may be
    /// called several times for one model, with different numbers of assets; the parameters must be the same each time,
    /// unless the requirements say `WF_ASSETS_FIXED`.
    pub build: Option<
        unsafe extern "C" fn(
            model: *const c_void,
            shape: *const wf_network_shape,
            program: *mut wf_program,
            error: *mut *mut wf_error,
        ) -> i32,
    >,
    /// Networks only, since 1.1: fills computed input `input` for the as-of row of `past`. Inputs are counted from 0 in
    /// the order in which `build` declared them. `out` is row-major with `capacity` elements, `past->assets` for each
    /// `WF_AXIS_ASSETS`. Every element must be written, NaN where the value is missing. Many threads may call this on
    /// one model at once. May be null if the network has no computed input.
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

/// The only symbol that a plugin exports: `wf_plugin_init_<name>`, or `wf_plugin_init`.
///
/// It sets the fields of `out` one by one, including the two versions; a field that it does not set stays null.
/// `out->struct_size` is the size of the host's table: do not change it, and check it before setting a field that the
/// first version of this header did not have. `host` is valid until the process ends. The function is called once for
/// each time that the plugin is loaded.
pub type wf_plugin_entry =
    unsafe extern "C" fn(host: *const wf_host, out: *mut wf_plugin_api, error: *mut *mut wf_error) -> i32;
