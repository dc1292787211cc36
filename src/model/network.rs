//! A network: its inputs, and its computation as a program. The library differentiates, trains and runs the program.
//! The model itself only fills computed inputs, one date at a time, from a [`Past`].

use super::Requirements;
use crate::error::Result;
use crate::panel::Past;
use crate::program::{Builder, ValueId};

/// The assets that the asset axis of a network stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AssetSet {
    /// At each date the assets that are eligible there; parameter shapes do not depend on their number.
    ByDate,
    /// Throughout a window the assets that are eligible at the first decision of its validation span, each in a fixed
    /// slot.
    Fixed,
}

/// A `[dates, assets]` plane of which a trailing input takes the last rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Plane {
    /// Returns, standardised with mean and standard deviation of the train span; 0 where missing.
    Returns,
    /// 1 where the return is finite, else 0.
    Known,
    /// 1 where the asset may be held after a decision at that row, else 0.
    Members,
    /// A feature plane, by its index among those of the panel; standardised as returns are.
    Feature(usize),
}

/// An axis of a computed input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Axis {
    /// As long as there are assets.
    Assets,
    /// Of this length.
    Fixed(usize),
}

impl Axis {
    /// The length of the axis for this number of assets.
    pub fn length(self, assets: usize) -> usize {
        match self {
            Self::Assets => assets,
            Self::Fixed(length) => length,
        }
    }
}

/// Where the values of an input come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InputSource {
    /// The last rows of a plane up to and including the as-of row, `[rows, assets]`.
    Trailing {
        /// The plane.
        plane: Plane,
        /// The number of rows.
        rows: usize,
    },
    /// 1 where the asset is eligible at the as-of row, else 0, `[assets]`.
    Mask,
    /// Filled by [`Network::compute`].
    Computed {
        /// The index among the computed inputs.
        index: usize,
        /// The shape.
        shape: Vec<Axis>,
        /// Whether each component of the last axis is standardised with its mean and standard deviation over the train
        /// span.
        normalise: bool,
    },
}

/// The meaning of a network's output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// Scores, higher is better.
    Scores,
    /// Weights that sum to 1.
    Weights,
}

/// A network as its plugin describes it, without a head.
#[derive(Debug)]
pub struct NetworkSpec {
    /// Inputs, parameters and ops.
    pub builder: Builder,
    /// The source of each input, in the builder's order.
    pub inputs: Vec<InputSource>,
    /// The output, `[assets]` or `[rows, assets]`.
    pub output: ValueId,
    /// The meaning of the output.
    pub kind: Output,
}

/// A model that the library trains.
pub trait Network: Send + Sync {
    /// The name of the model's type, for messages.
    fn name(&self) -> &str;

    /// How much history the model needs at a decision.
    fn requirements(&self) -> Requirements;

    /// The assets that its asset axis stands for.
    fn asset_set(&self) -> AssetSet;

    /// Describes the network for this number of assets and data with these feature planes.
    fn build(&self, assets: usize, features: &[String]) -> Result<NetworkSpec>;

    /// Fills the computed input of this index for the as-of row of `past`. `out` is row-major; `Axis::Assets` stands
    /// for the assets of `past`.
    fn compute(&self, input: usize, past: &Past, out: &mut [f32]) -> Result<()>;
}
