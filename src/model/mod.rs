//! The interface between a model and the rest of the library: what a model needs, how it is fitted and the weights it
//! gives. Nothing here names a plugin. The one model defined here is the equal-weight benchmark, which needs no data.

mod benchmark;
mod context;
mod eligibility;
mod equal_weight;
mod estimator;
mod network;

pub(crate) use benchmark::{HeldAsset, NoPortfolio};
pub use context::{Context, LogLevel, LogSink};
pub(crate) use eligibility::{eligible, none_eligible, past_at};
pub use equal_weight::{EQUAL_WEIGHT, EqualWeight};
pub use estimator::Estimator;
pub(crate) use estimator::{Answer, Requirements};
pub use network::{AssetSet, Network};
pub(crate) use network::{NetworkSpec, Output};

use std::sync::Arc;

use crate::error::{Result, fail};
use crate::settings::{Setting, SettingValues};

/// An instance of a model, of one of the two kinds.
pub enum Model {
    /// A model that fits itself, or that has nothing to fit.
    Estimator(Box<dyn Estimator>),
    /// A model that the library trains.
    Network(Arc<dyn Network>),
}

impl Model {
    /// The estimator.
    ///
    /// # Errors
    /// `InvalidArgument` if the model is a network.
    pub fn estimator(self) -> Result<Box<dyn Estimator>> {
        match self {
            Self::Estimator(model) => Ok(model),
            Self::Network(_) => fail!(InvalidArgument, "the model is a network, which must be trained first"),
        }
    }
}

/// Creates models of one type and declares their settings.
pub trait Factory: Send + Sync {
    /// The name of the type, as experiment files give it under `plugin`.
    fn name(&self) -> &str;

    /// The version of the type.
    fn version(&self) -> &str;

    /// SHA-256 of the file that the type was loaded from, as 64 hexadecimal digits; `None` if it is linked into the
    /// program.
    fn sha256(&self) -> Option<&str> {
        None
    }

    /// Whether a call of a model came back with other rounding, traps or flushing of subnormal numbers than it was
    /// given; they were restored.
    fn changed_float_modes(&self) -> bool {
        false
    }

    /// The settings that [`Factory::create`] takes.
    fn settings(&self) -> &[Setting];

    /// Whether the models are networks, which are trained according to `[train]`.
    fn is_network(&self) -> bool {
        false
    }

    /// Creates a model from settings that were checked against [`Factory::settings`].
    fn create(&self, settings: &SettingValues, context: &Context) -> Result<Model>;
}
