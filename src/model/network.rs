//! A network as the core sees it: what it wants to be shown, and its computation as data. The core differentiates it, trains
//! it and runs it; the model itself fills computed inputs, date by date, from a [`Past`] only.

use super::Requirements;
use crate::error::Result;
use crate::panel::Past;
use crate::program::{Builder, ValueId};

/// Which assets a network has places for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AssetSet {
    /// At each date those that may be weighed there; the parameters do not depend on how many they are.
    ByDate,
    /// Throughout a window those that may be weighed at the first decision of its validation span, each in a place of its own.
    Fixed,
}

/// A table by date and asset that a trailing input looks into.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Plane {
    /// Returns, scored with mean and deviation of the train span; 0 where missing.
    Returns,
    /// 1 where the return is there, else 0.
    Known,
    /// 1 where the asset might be held after a decision at that row, else 0.
    Members,
    /// A feature plane by its place among those of the data, scored as returns are.
    Feature(usize),
}

/// An axis of a computed input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Axis {
    /// As many as there are assets.
    Assets,
    /// A number.
    Of(usize),
}

/// Where the numbers of an input come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InputSource {
    /// The last rows of a plane up to and with the as-of row, `[rows, assets]`.
    Trailing {
        /// The plane.
        plane: Plane,
        /// How many rows.
        rows: usize,
    },
    /// 1 where the asset may be weighed at the as-of row, `[assets]`.
    Mask,
    /// [`Network::compute`].
    Computed {
        /// Its number among the computed inputs.
        number: usize,
        /// Its shape.
        shape: Vec<Axis>,
        /// Whether each place of the last axis is scored with mean and deviation of the train span.
        normalise: bool,
    },
}

/// What the output of a network is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// Scores, the higher the better.
    Scores,
    /// Weights that sum to 1.
    Weights,
}

/// A network that was described, before the core has put a head on it.
#[derive(Debug)]
pub struct NetworkSpec {
    /// Inputs, parameters and ops.
    pub builder: Builder,
    /// Where each input comes from, in the builder's order.
    pub inputs: Vec<InputSource>,
    /// The output, `[assets]` or `[rows, assets]`.
    pub output: ValueId,
    /// What it is.
    pub kind: Output,
}

/// A model that the core trains.
pub trait Network: Send + Sync {
    /// The name of the kind, for messages.
    fn name(&self) -> &str;

    /// What the model needs to be shown at a decision.
    fn requirements(&self) -> Requirements;

    /// Which assets it has places for.
    fn universe(&self) -> AssetSet;

    /// Describes the network for so many assets, and data with these feature planes.
    fn build(&self, assets: usize, features: &[String]) -> Result<NetworkSpec>;

    /// Fills a computed input for the as-of row of `past`, row-major, with the assets of `past` in place of
    /// [`Axis::Assets`].
    fn compute(&self, input: usize, past: &Past, out: &mut [f32]) -> Result<()>;
}
