//! Write a walkforge plugin in safe Rust: implement [`Estimator`], then name it in [`export_estimator!`]; or implement
//! [`Network`], which the host trains, and name it in [`export_network!`].
//!
//! Panics are caught on this side of the boundary and become errors.
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

/// Codes of [`Error`] as the host knows them.
pub mod code {
    /// A setting cannot be used, alone or together with another.
    pub const INVALID_SETTING: i32 = super::abi::WF_E_INVALID_SETTING;
    /// The data cannot be used by the model.
    pub const INVALID_DATA: i32 = super::abi::WF_E_INVALID_DATA;
    /// The plugin failed.
    pub const PLUGIN: i32 = super::abi::WF_E_PLUGIN;
    /// The caller wanted the work to stop.
    pub const CANCELLED: i32 = super::abi::WF_E_CANCELLED;
}

/// Why a call failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    /// A stable code, one of [`code`].
    pub code: i32,
    /// What was found and what is allowed, for a person.
    pub message: String,
}

impl Error {
    /// An error of the plugin itself.
    pub fn new(message: impl Into<String>) -> Self {
        Self { code: code::PLUGIN, message: message.into() }
    }

    /// A setting that the model cannot use: its name, what was found and what is allowed.
    pub fn setting(name: &str, found: impl core::fmt::Display, allowed: impl core::fmt::Display) -> Self {
        Self { code: code::INVALID_SETTING, message: format!("setting '{name}': found {found}, allowed is {allowed}") }
    }

    /// Data that the model cannot use.
    pub fn data(message: impl Into<String>) -> Self {
        Self { code: code::INVALID_DATA, message: message.into() }
    }
}

/// What a model needs to be shown at a decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Requirements {
    /// Rows of returns up to and with the as-of row.
    pub lookback: usize,
    /// Finite returns that an asset must have in the lookback to be shown.
    pub min_history: usize,
}

/// A further number by date and asset that a user gave beside returns, such as volume.
#[derive(Clone, Copy, Debug)]
pub struct Feature<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its values, `[rows, assets]`, row-major; NaN where missing.
    pub values: &'a [f64],
}

/// What a model is shown: rows that end at the as-of row.
#[derive(Clone, Copy, Debug)]
pub struct Past<'a> {
    /// Dates as days since 1970-01-01, `[rows]`.
    pub dates: &'a [i32],
    /// Asset names, `[assets]`, sorted.
    pub names: &'a [&'a str],
    /// Simple returns, `[rows, assets]`, row-major; NaN where missing.
    pub returns: &'a [f64],
    /// 1 where the asset might be held after a decision at that row, `[rows, assets]`.
    pub members: &'a [u8],
    /// Feature planes in order of their names.
    pub features: &'a [Feature<'a>],
    /// Who asks: takes messages, and knows whether the work is still wanted.
    pub context: Context<'a>,
}

/// A model that trains itself.
pub trait Estimator: Sized + Send + Sync {
    /// JSON: `name`, `version`, `kind` (`estimator`), `doc` and `settings`, each with `name`, `type`, `default`, `doc`
    /// and, for numbers, `minimum` and `maximum`.
    const DESCRIPTION: &'static str;

    /// Whether there is anything to fit; where not, [`Estimator::fit`] is never called, and no time is spent on scores of
    /// the train span.
    const FITS: bool = true;

    /// Whether [`Estimator::scores`] gives any.
    const SCORES: bool = false;

    /// Makes a model from settings that the host has checked against the description.
    fn create(settings: &Settings, context: Context) -> Result<Self, Error>;

    /// What the model needs to be shown.
    fn requirements(&self) -> Requirements;

    /// Fits the model; does nothing by default.
    fn fit(&mut self, _train: &Past, _validation: Option<&Past>) -> Result<(), Error> {
        Ok(())
    }

    /// Writes the weights of the assets in `past`, `[assets]`, that sum to 1.
    fn weights(&self, past: &Past, out: &mut [f64]) -> Result<(), Error>;

    /// Writes the scores of the assets in `past`, `[assets]`, the higher the better.
    fn scores(&self, _past: &Past, _out: &mut [f64]) -> Result<(), Error> {
        Err(Error::new("the model gives no scores"))
    }
}

/// Exports an [`Estimator`] under its init symbol: `export_estimator!(wf_plugin_init_momentum, Momentum);`
#[macro_export]
macro_rules! export_estimator {
    ($symbol:ident, $model:ty) => {
        /// The plugin's entry.
        ///
        /// # Safety
        /// The host passes its table and room for ours, as `wf_plugin_entry` demands.
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $symbol(
            host: *const $crate::abi::wf_host,
            out: *mut $crate::abi::wf_plugin_api,
            error: *mut *mut $crate::abi::wf_error,
        ) -> i32 {
            // SAFETY: the host keeps the promises of `wf_plugin_entry`, which are those of `initialise`.
            unsafe { $crate::initialise::<$model>(host, out, error) }
        }
    };
}
