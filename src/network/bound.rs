//! A network bound to a number of asset slots, with a head.

use std::sync::Arc;

use crate::error::{Result, fail};
use crate::model::{Network, NetworkSpec, Output};
use crate::objective::Head;
use crate::program::{InputSource, Plane, Precision, Program};

/// A network that can run: its program for a number of asset slots.
#[derive(Clone, Debug)]
pub struct BoundNetwork {
    /// The program. Its output is that of `head`, `[assets]` or `[dates, assets]`.
    pub program: Arc<Program>,
    /// Number of asset slots.
    pub assets: usize,
    /// Number of dates in the output of one sample; the last of them is the as-of row.
    pub dates: usize,
    /// The head.
    pub head: Head,
    /// Whether the network itself outputs scores.
    pub has_scores: bool,
}

impl BoundNetwork {
    /// Builds the network for `assets` slots and adds `head`: a masked softmax, if the network outputs scores and the
    /// head is weights. Returns `None` if the network outputs weights and the head is scores.
    ///
    /// # Errors
    /// Errors of [`Network::build`]; `Plugin` if the output has neither the shape `[assets]` nor `[dates, assets]`.
    pub fn new(
        network: &dyn Network,
        assets: usize,
        features: &[String],
        head: Head,
        precision: Precision,
    ) -> Result<Option<Self>> {
        let NetworkSpec { mut builder, output, kind } = network.build(assets, features)?;
        let dates = match *builder.shape(output) {
            [_] => 1,
            [dates, _] => dates,
            ref shape => fail!(
                Plugin,
                "the output of the network has the shape {shape:?}; allowed are [assets] and [dates, assets]"
            ),
        };
        let scores = (kind == Output::Scores).then_some(output);
        let output = match (head, kind) {
            (Head::Weights, Output::Weights) | (Head::Scores, Output::Scores) => output,
            (Head::Scores, Output::Weights) => return Ok(None),
            (Head::Weights, Output::Scores) => {
                let (name, shape, source) = if *builder.shape(output) == [assets] {
                    ("mask", vec![assets], InputSource::Mask)
                } else {
                    ("members", vec![dates, assets], InputSource::Trailing { plane: Plane::Members, rows: dates })
                };
                let mask = if let Some(value) = builder.value_of(&source) {
                    value
                } else {
                    let name = if builder.is_taken(name) { format!("{name}.head") } else { name.to_owned() };
                    builder.input_from(&name, &shape, source)?
                };
                builder.masked_softmax(output, mask)?
            }
        };
        Ok(Some(Self {
            program: Arc::new(builder.finish(output)?.with_scores(scores).with_precision(precision)),
            assets,
            dates,
            head,
            has_scores: kind == Output::Scores,
        }))
    }

    /// Checks that another binding of the same network has the same parameters, so that both can use the same values.
    ///
    /// # Errors
    /// `Plugin` if names or shapes differ.
    pub fn check_same_parameters(&self, other: &Self, network: &dyn Network) -> Result<()> {
        let shapes = |bound: &Self| -> Vec<(String, Vec<usize>)> {
            let parameters = bound.program.parameters().iter();
            parameters.map(|parameter| (parameter.name.clone(), parameter.shape.clone())).collect()
        };
        if shapes(self) != shapes(other) {
            fail!(
                Plugin,
                "the network of plugin '{}' has other parameters for {} assets than for {}; allowed only with \
                 WF_ASSETS_FIXED",
                network.name(),
                other.assets,
                self.assets
            );
        }
        Ok(())
    }
}
