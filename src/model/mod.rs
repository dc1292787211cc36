//! What the rest of the core sees of a model: what it needs, how it is fitted, the weights it gives. Nothing here names
//! a plugin; the equal-weight benchmark, which needs no data, is the one model that lives in the core.

mod context;
mod eligibility;
mod equal_weight;
mod network;

pub use context::{Context, LogLevel, LogSink};
pub(crate) use eligibility::{eligible, none_eligible, past_at};
pub use equal_weight::{EQUAL_WEIGHT, EqualWeight};
pub use network::{AssetSet, Axis, InputSource, Network, NetworkSpec, Output, Plane};

use std::sync::Arc;

use crate::error::{Result, fail};
use crate::panel::Past;
use crate::settings::{Setting, SettingValues};

/// What a model needs to be shown at a decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Requirements {
    /// Rows of returns up to and with the as-of row, at least 1; fewer are shown where the data begin later.
    pub lookback: usize,
    /// Finite returns that an asset must have in the lookback to be shown.
    pub min_history: usize,
}

/// A model that trains itself.
pub trait Estimator: Send + Sync {
    /// What the model needs to be shown at a decision.
    fn requirements(&self) -> Requirements;

    /// Whether there is anything to fit: where not, `fit` does nothing, and scores on the train span say nothing either.
    fn fits(&self) -> bool;

    /// Fits the model on its train span; the validation span is for choices such as early stopping.
    fn fit(&mut self, train: &Past, validation: Option<&Past>) -> Result<()>;

    /// Whether it can weigh any of these columns of the panel: those that may be weighed at a date.
    fn can_weigh(&self, columns: &[usize]) -> bool {
        !columns.is_empty()
    }

    /// Weights of the assets in `past`, `[assets]`; they sum to 1.
    fn weights(&self, past: &Past) -> Result<Vec<f64>>;

    /// Scores of the assets in `past`, `[assets]`, the higher the better, where the model gives any.
    fn scores(&self, _past: &Past) -> Result<Option<Vec<f64>>> {
        Ok(None)
    }
}

/// A model that was made, of one of the two kinds.
pub enum Model {
    /// It trains itself, or has nothing to train.
    Estimator(Box<dyn Estimator>),
    /// The core trains it.
    Network(Arc<dyn Network>),
}

impl Model {
    /// The model, which trains itself.
    ///
    /// # Errors
    /// `InvalidArgument` where it is a network.
    pub fn estimator(self) -> Result<Box<dyn Estimator>> {
        match self {
            Self::Estimator(model) => Ok(model),
            Self::Network(_) => fail!(InvalidArgument, "the model is a network, which must be trained first"),
        }
    }
}

/// A kind of model: its settings, and how to make one.
pub trait Factory: Send + Sync {
    /// The name of the kind, as experiment files say it under `plugin`.
    fn name(&self) -> &str;

    /// Its version.
    fn version(&self) -> &str;

    /// SHA-256 of the file that it was loaded from, as 64 hexadecimal digits; none where it is linked into the program.
    fn sha256(&self) -> Option<&str> {
        None
    }

    /// The settings it takes.
    fn settings(&self) -> &[Setting];

    /// Whether its models are networks, which are trained as `[train]` says.
    fn is_network(&self) -> bool {
        false
    }

    /// Makes a model from settings checked against [`Factory::settings`]; it works for `context`.
    fn create(&self, settings: &SettingValues, context: &Context) -> Result<Model>;
}
