//! A network bound to a number of assets, with a head on it.

use std::sync::Arc;

use super::Head;
use crate::error::{Result, fail};
use crate::model::{InputSource, Network, NetworkSpec, Output, Plane};
use crate::program::{Precision, Program};

/// A network that can be run: its program for a number of asset slots, and where the inputs come from.
#[derive(Clone, Debug)]
pub struct BoundNetwork {
    /// The program; its output is that of `head`, `[assets]` or `[dates, assets]`.
    pub program: Arc<Program>,
    /// Source of each input, in the program's order.
    pub inputs: Vec<InputSource>,
    /// Number of asset slots.
    pub assets: usize,
    /// Number of dates in one output; the last of them is the as-of row.
    pub dates: usize,
    /// What the program outputs.
    pub head: Head,
    /// Whether the network itself outputs scores.
    pub has_scores: bool,
}

impl BoundNetwork {
    /// Builds the network for `assets` slots and puts `head` on it: a softmax where weights are asked of a network that
    /// outputs scores. `None` where scores are asked of a network that outputs weights.
    ///
    /// # Errors
    /// Errors of the plugin's `build`; `Plugin` where its output has another shape than `[assets]` or `[dates, assets]`.
    pub fn new(
        network: &dyn Network,
        assets: usize,
        features: &[String],
        head: Head,
        precision: Precision,
    ) -> Result<Option<Self>> {
        let NetworkSpec { mut builder, mut inputs, output, kind } = network.build(assets, features)?;
        let dates = match *builder.shape(output) {
            [_] => 1,
            [dates, _] => dates,
            ref shape => fail!(Plugin, "the output of the network has the shape {shape:?}"),
        };
        let output = match (head, kind) {
            (Head::Weights, Output::Weights) | (Head::Scores, Output::Scores) => output,
            (Head::Scores, Output::Weights) => return Ok(None),
            (Head::Weights, Output::Scores) => {
                let (name, shape, source) = if *builder.shape(output) == [assets] {
                    ("mask", vec![assets], InputSource::Mask)
                } else {
                    ("members", vec![dates, assets], InputSource::Trailing { plane: Plane::Members, rows: dates })
                };
                let mask = if let Some(input) = inputs.iter().position(|known| *known == source) {
                    builder.input_value(input)
                } else {
                    inputs.push(source);
                    let name = if builder.is_taken(name) { format!("{name}.head") } else { name.to_owned() };
                    builder.input(&name, &shape)?
                };
                builder.masked_softmax(output, mask)?
            }
        };
        Ok(Some(Self {
            program: Arc::new(builder.finish(output)?.with_precision(precision)),
            inputs,
            assets,
            dates,
            head,
            has_scores: kind == Output::Scores,
        }))
    }

    /// Checks that another binding of the same network has the same parameters, so that trained values fit both.
    ///
    /// # Errors
    /// `Plugin` where names or shapes differ.
    pub fn check_same_parameters(&self, other: &Self, network: &dyn Network) -> Result<()> {
        let shapes = |bound: &Self| -> Vec<(String, Vec<usize>)> {
            bound.program.parameters().iter().map(|one| (one.name.clone(), one.shape.clone())).collect()
        };
        if shapes(self) != shapes(other) {
            fail!(
                Plugin,
                "the network of plugin '{}' has other parameters for {} assets than for {}; only a network with \
                 WF_ASSETS_FIXED may",
                network.name(),
                other.assets,
                self.assets
            );
        }
        Ok(())
    }
}
