//! The head of a network: what a bound network outputs.

use std::ops::Range;

use super::AssetSlots;
use crate::error::{Code, Error, Result, fail};

/// What a bound network outputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Head {
    /// Portfolio weights: those of the network, or the softmax of its scores over the eligible assets.
    Weights,
    /// The scores of the network.
    Scores,
}

impl Head {
    /// The noun for one element of the output, for error messages.
    fn element(self) -> &'static str {
        match self {
            Self::Weights => "weight",
            Self::Scores => "score",
        }
    }

    /// Portfolio weights `[slots]` of one date from the output `[slots]` of this head; they sum to 1 in double
    /// precision. Weights are rescaled, which removes single-precision rounding; scores go through a softmax over the
    /// filled slots.
    ///
    /// # Errors
    /// `InvalidData` if the output of a filled slot is non-finite; `Plugin` if weights do not sum to 1.
    pub(crate) fn weights(self, network: &str, output: &[f32], slots: &AssetSlots) -> Result<Vec<f64>> {
        let filled = |slot: usize| slots.get(slot).is_some_and(Option::is_some);
        let all: Range<usize> = 0..output.len();
        if all.clone().any(|slot| filled(slot) && !output[slot].is_finite()) {
            return Err(self.non_finite(network));
        }
        let top = all.clone().filter(|&slot| filled(slot)).map(|slot| f64::from(output[slot])).fold(f64::MIN, f64::max);
        let raw: Vec<f64> = all
            .map(|slot| match self {
                _ if !filled(slot) => 0.0,
                Self::Weights => f64::from(output[slot]),
                Self::Scores => (f64::from(output[slot]) - top).exp(),
            })
            .collect();
        let sum: f64 = raw.iter().sum();
        // In single precision a sum of many weights is exact to about 1e-6; a larger error is not rounding.
        if self == Self::Weights && (sum - 1.0).abs() > 1e-3 {
            fail!(Plugin, "the weights of the network of plugin '{network}' sum to {sum}; allowed is 1");
        }
        Ok(raw.into_iter().map(|weight| weight / sum).collect())
    }

    /// The error for a non-finite element of the output.
    pub(super) fn non_finite(self, network: &str) -> Error {
        let element = self.element();
        Error::new(Code::InvalidData, format!("the network of plugin '{network}' output a non-finite {element}"))
    }
}
