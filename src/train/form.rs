//! A network with the head that its training asks for: scores become weights by a softmax over the assets that may be weighed.

use std::sync::Arc;

use super::settings::Loss;
use crate::error::{Result, fail};
use crate::model::{InputSource, Network, Output, Plane, Sketch};
use crate::program::{Precision, Program};

/// A network that can be run.
#[derive(Clone, Debug)]
pub struct Form {
    /// The program.
    pub program: Arc<Program>,
    /// Where its inputs come from, in its order.
    pub inputs: Vec<InputSource>,
    /// Places for assets.
    pub assets: usize,
    /// Dates that an output is for, the last of them the as-of row.
    pub dates: usize,
    /// Whether the network gives scores, from which weights are made.
    pub scores: bool,
}

/// What a form gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// What training compares with labels.
    Loss(Loss),
    /// Scores as the network gives them.
    Scores,
}

impl Form {
    /// Describes a network for so many places; `None` where scores are wanted of a network that gives weights.
    ///
    /// # Errors
    /// What the network gives; `InvalidSetting` where it cannot be trained as is wanted.
    pub fn new(
        network: &dyn Network,
        assets: usize,
        features: &[String],
        wanted: Wanted,
        precision: Precision,
    ) -> Result<Option<Self>> {
        let Sketch { mut builder, mut inputs, output, kind } = network.build(assets, features)?;
        let dates = match *builder.shape(output) {
            [_] => 1,
            [dates, _] => dates,
            ref shape => fail!(Plugin, "the output of the network has the shape {shape:?}"),
        };
        let output = match (wanted, kind) {
            (Wanted::Loss(Loss::Sharpe), Output::Weights)
            | (Wanted::Scores | Wanted::Loss(Loss::MeanSquare), Output::Scores) => output,
            (Wanted::Scores, Output::Weights) => return Ok(None),
            (Wanted::Loss(Loss::MeanSquare), Output::Weights) => {
                fail!(
                    InvalidSetting,
                    "setting 'train.loss': found \"mse\", but the network gives weights; allowed is \"sharpe\""
                )
            }
            (Wanted::Loss(Loss::Sharpe), Output::Scores) => {
                let (name, shape, source) = if *builder.shape(output) == [assets] {
                    ("mask", vec![assets], InputSource::Mask)
                } else {
                    ("members", vec![dates, assets], InputSource::Trailing { plane: Plane::Members, rows: dates })
                };
                let mask = if let Some(place) = inputs.iter().position(|known| *known == source) {
                    builder.input_value(place)
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
            scores: kind == Output::Scores,
        }))
    }

    /// Holds a form of the same network to having the same parameters, so that those of one fit the other.
    ///
    /// # Errors
    /// `Plugin` where it has others.
    pub fn agree(&self, other: &Self, network: &dyn Network) -> Result<()> {
        let shapes = |form: &Self| -> Vec<(String, Vec<usize>)> {
            form.program.parameters().iter().map(|one| (one.name.clone(), one.shape.clone())).collect()
        };
        if shapes(self) != shapes(other) {
            fail!(
                Plugin,
                "the network of plugin '{}' has other parameters for {} assets than for {}; allowed is that with WF_UNIVERSE_FIXED \
                 alone",
                network.name(),
                other.assets,
                self.assets
            );
        }
        Ok(())
    }
}
