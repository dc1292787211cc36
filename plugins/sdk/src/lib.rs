//! Write walkforge plugins in safe Rust.
//!
//! A plugin is a model of portfolio weights in a shared library that walkforge loads by name. There are two kinds:
//!
//! - An [`Estimator`] fits itself and returns weights. Export it with [`export_estimator!`].
//! - A [`Network`] describes its layers; the host trains and runs it. Export it with [`export_network!`].
//!
//! The crate wraps the C ABI: it turns pointers into slices, and errors and panics into the host's errors, so a plugin
//! needs no `unsafe`. Build it with `crate-type = ["cdylib"]`, name the library `walkforge_NAME`, and check the result
//! with `walkforge plugin check libwalkforge_NAME.so`. The plugin guide (`docs/plugin-guide.md`) explains what a model
//! may rely on and what it may not do.
//!
//! # Example
//! A whole plugin. Each weight is proportional to one over the volatility of the asset.
//!
//! ```
//! use walkforge_plugin::{Context, Error, Estimator, Past, Requirements, Settings, export_estimator};
//!
//! /// Inverse volatility weights.
//! pub struct LowRisk {
//!     lookback: usize,
//! }
//!
//! impl Estimator for LowRisk {
//!     const DESCRIPTION: &'static str = r#"{"name": "low_risk", "version": "1.0.0", "kind": "estimator",
//!         "doc": "weights in proportion to one over volatility",
//!         "settings": [{"name": "lookback", "type": "integer", "minimum": 2, "maximum": 10000, "default": 60,
//!                       "doc": "number of returns used to estimate volatility"}]}"#;
//!     const FITS: bool = false;
//!
//!     fn create(settings: &Settings, _context: Context) -> Result<Self, Error> {
//!         let lookback = settings.count("lookback").ok_or_else(|| Error::new("setting 'lookback' is missing"))?;
//!         Ok(Self { lookback })
//!     }
//!
//!     fn requirements(&self) -> Requirements {
//!         Requirements { lookback: self.lookback, min_history: 2 }
//!     }
//!
//!     fn weights(&self, past: &Past, out: &mut [f64]) -> Result<(), Error> {
//!         let assets = past.names.len();
//!         for (asset, weight) in out.iter_mut().enumerate() {
//!             let returns = || past.returns.iter().skip(asset).step_by(assets).filter(|value| !value.is_nan());
//!             let count = returns().count() as f64;
//!             let mean = returns().sum::<f64>() / count;
//!             let variance = returns().map(|value| (value - mean).powi(2)).sum::<f64>() / (count - 1.0);
//!             if !(variance > 0.0 && variance.is_finite()) {
//!                 let name = past.names[asset];
//!                 return Err(Error::data(format!("the variance of {name} is {variance}; it must be above 0")));
//!             }
//!             *weight = variance.sqrt().recip();
//!         }
//!         let total: f64 = out.iter().sum();
//!         out.iter_mut().for_each(|weight| *weight /= total);
//!         Ok(())
//!     }
//! }
//!
//! export_estimator!(wf_plugin_init_low_risk, LowRisk);
//!
//! // A unit test needs no host: a `Past` consists of slices.
//! let past = Past {
//!     dates: &[19_358, 19_359, 19_360],
//!     names: &["A", "B"],
//!     returns: &[0.01, 0.03, -0.01, -0.03, 0.0, 0.0],
//!     members: &[1; 6],
//!     features: &[],
//!     constant_within: &[1e-12; 2],
//!     context: Context::DETACHED,
//! };
//! let mut weights = [0.0; 2];
//! LowRisk { lookback: 3 }.weights(&past, &mut weights)?;
//! assert!((weights[0] - 0.75).abs() < 1e-12 && (weights[1] - 0.25).abs() < 1e-12);
//! # Ok::<(), Error>(())
//! ```
#![allow(unsafe_code)]

mod boundary;
mod network;
mod statistics;

#[doc(hidden)]
pub use boundary::initialise;
pub use boundary::{Context, Settings};
#[doc(hidden)]
pub use network::initialise_network;
pub use network::{AssetSet, Axis, Network, Program, Shape, Value};
pub use statistics::{Coefficient, Covariance, Missing, Statistics};
#[doc(hidden)]
pub use walkforge_plugin_abi as abi;

/// The error codes that the host passes on to the user.
pub mod code {
    /// A setting is invalid, alone or in combination with another.
    pub const INVALID_SETTING: i32 = super::abi::WF_E_INVALID_SETTING;
    /// The model cannot use the data.
    pub const INVALID_DATA: i32 = super::abi::WF_E_INVALID_DATA;
    /// The plugin failed for another reason.
    pub const PLUGIN: i32 = super::abi::WF_E_PLUGIN;
    /// The caller cancelled the work.
    pub const CANCELLED: i32 = super::abi::WF_E_CANCELLED;
}

/// An error of a plugin: a code and a message for the user.
///
/// ```
/// use walkforge_plugin::{Error, code};
///
/// let error = Error::setting("skip", 300, "less than lookback = 252");
/// assert_eq!(error.code, code::INVALID_SETTING);
/// assert_eq!(error.message, "setting 'skip': found 300, allowed is less than lookback = 252");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    /// One of the constants in [`code`].
    pub code: i32,
    /// What was found and what is allowed. The host prepends plugin, model, window and date.
    pub message: String,
}

impl Error {
    /// Creates an error with [`code::PLUGIN`].
    pub fn new(message: impl Into<String>) -> Self {
        Self { code: code::PLUGIN, message: message.into() }
    }

    /// Creates an error with [`code::INVALID_SETTING`] from the name of a setting, the value found and what is allowed.
    pub fn setting(name: &str, found: impl core::fmt::Display, allowed: impl core::fmt::Display) -> Self {
        Self { code: code::INVALID_SETTING, message: format!("setting '{name}': found {found}, allowed is {allowed}") }
    }

    /// Creates an error with [`code::INVALID_DATA`].
    pub fn data(message: impl Into<String>) -> Self {
        Self { code: code::INVALID_DATA, message: message.into() }
    }
}

/// The data a model needs at a decision.
///
/// An asset is eligible at a date if it is a member of the universe at that date and has at least `min_history` finite
/// returns among the last `lookback` rows. The model sees the eligible assets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Requirements {
    /// Number of rows up to and including the as-of row, at least 1; `usize::MAX` requests all rows.
    pub lookback: usize,
    /// Number of finite returns an asset must have in the lookback to be eligible, at most `lookback`.
    pub min_history: usize,
}

/// A feature plane: one value per date and asset that the user supplies beside the returns, such as volume.
#[derive(Clone, Copy, Debug)]
pub struct Feature<'a> {
    /// Name of the feature.
    pub name: &'a str,
    /// Values, `[rows, assets]`, row-major; NaN where missing.
    pub values: &'a [f64],
}

/// The data a model sees: rows of the panel that end at the as-of row. There is no later row to read.
///
/// Arrays `[rows, assets]` are row-major: the element of a row and an asset is at `row * names.len() + asset`.
#[derive(Clone, Copy, Debug)]
pub struct Past<'a> {
    /// Dates as days since 1970-01-01, `[rows]`, increasing. The last one is the as-of date.
    pub dates: &'a [i32],
    /// Asset names, `[assets]`, sorted.
    pub names: &'a [&'a str],
    /// Simple returns, `[rows, assets]`; NaN where missing.
    pub returns: &'a [f64],
    /// Membership, `[rows, assets]`: 1 if the asset may be held after a decision at that row, else 0.
    pub members: &'a [u8],
    /// Feature planes, sorted by name.
    pub features: &'a [Feature<'a>],
    /// The largest deviation from their mean up to which the returns of an asset count as constant, `[assets]`: 1e-12,
    /// and 5e-7 where the source holds single precision. Empty with a host before 1.1: then it is 1e-12.
    pub constant_within: &'a [f64],
    /// The caller: takes log messages and knows whether the work was cancelled.
    pub context: Context<'a>,
}

/// A model that fits itself, or that has nothing to fit.
///
/// The host creates one model per window. [`Estimator::weights`] and [`Estimator::scores`] run on many threads at once.
/// See the [crate example](crate#example) for a whole implementation.
pub trait Estimator: Sized + Send + Sync {
    /// A JSON object with `name`, `version`, `kind` (`estimator`), `doc` and `settings`. Each setting has `name`,
    /// `type`, `default` and `doc`; numbers also have `minimum` and `maximum`, a choice has `choices`.
    const DESCRIPTION: &'static str;

    /// Whether the model has something to fit. If false, the host never calls [`Estimator::fit`] and does not evaluate
    /// the model on its train span.
    const FITS: bool = true;

    /// Whether the model implements [`Estimator::scores`].
    const SCORES: bool = false;

    /// Creates a model from settings that the host has validated against the description.
    ///
    /// # Errors
    /// [`Error::setting`] for a combination of settings that the description cannot exclude.
    fn create(settings: &Settings, context: Context) -> Result<Self, Error>;

    /// Returns the data that the model needs at a decision.
    fn requirements(&self) -> Requirements;

    /// Returns the number of rows of the lookback in which every asset that the model sees must have a finite return. The
    /// host checks it for every decision before a run begins. 0, the default, if the model copes with any.
    fn common_rows(&self) -> usize {
        0
    }

    /// Fits the model on the train span. `validation` is `None` if there is no validation span. Does nothing by
    /// default.
    ///
    /// # Errors
    /// [`Error::data`] if the model cannot be fitted on these data.
    fn fit(&mut self, _train: &Past, _validation: Option<&Past>) -> Result<(), Error> {
        Ok(())
    }

    /// Writes one weight per asset of `past` to `out`, `[assets]`. Weights are finite and sum to 1 within 1e-6; they
    /// may be negative.
    ///
    /// # Errors
    /// [`Error::data`] if no weights can be computed from `past`.
    fn weights(&self, past: &Past, out: &mut [f64]) -> Result<(), Error>;

    /// Writes one finite score per asset of `past` to `out`, `[assets]`, higher is better. Called only if
    /// [`Estimator::SCORES`] is true.
    ///
    /// # Errors
    /// The default implementation always fails.
    fn scores(&self, _past: &Past, _out: &mut [f64]) -> Result<(), Error> {
        Err(Error::new("the model has no scores"))
    }
}

/// Exports an [`Estimator`] as the init function of a plugin: `export_estimator!(wf_plugin_init_momentum, Momentum);`
#[macro_export]
macro_rules! export_estimator {
    ($symbol:ident, $model:ty) => {
        /// The init function of the plugin.
        ///
        /// # Safety
        /// The contract of `wf_plugin_entry`.
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $symbol(
            host: *const $crate::abi::wf_host,
            out: *mut $crate::abi::wf_plugin_api,
            error: *mut *mut $crate::abi::wf_error,
        ) -> i32 {
            // SAFETY: both functions have the contract of `wf_plugin_entry`.
            unsafe { $crate::initialise::<$model>(host, out, error) }
        }
    };
}
