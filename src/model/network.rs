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
