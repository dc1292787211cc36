//! Portfolio weights from what a network outputs.

use crate::device::cpu::exp_f64;
use crate::engine::EMPTY_SLOT;
use crate::error::{Code, Error, Result, fail};
use crate::objective::Head;

/// Portfolio weights `[slots]` of one date from the output `[slots]` of a head; they sum to 1 in double precision.
/// Weights are rescaled, which removes single-precision rounding; scores go through a softmax over the filled slots.
///
/// # Errors
/// `InvalidData` if the output of a filled slot is non-finite; `Plugin` if weights do not sum to 1.
pub(crate) fn head_weights(head: Head, network: &str, output: &[f32], slots: &[i32]) -> Result<Vec<f64>> {
    let filled = |slot: usize| slots.get(slot).is_some_and(|column| *column != EMPTY_SLOT);
    let all = 0..output.len();
    if all.clone().any(|slot| filled(slot) && !output[slot].is_finite()) {
        return Err(non_finite(head, network));
    }
    let top = all.clone().filter(|&slot| filled(slot)).map(|slot| f64::from(output[slot])).fold(f64::MIN, f64::max);
    let raw: Vec<f64> = all
        .map(|slot| match head {
            _ if !filled(slot) => 0.0,
            Head::Weights => f64::from(output[slot]),
            Head::Scores => exp_f64(f64::from(output[slot]) - top),
        })
        .collect();
    let sum: f64 = raw.iter().sum();
    // In single precision a sum of many weights is exact to about 1e-6; a larger error is not rounding.
    if head == Head::Weights && (sum - 1.0).abs() > 1e-3 {
        fail!(Plugin, "the weights of the network of plugin '{network}' sum to {sum}; allowed is 1");
    }
    Ok(raw.into_iter().map(|weight| weight / sum).collect())
}

/// The error for a non-finite element of the output.
pub(super) fn non_finite(head: Head, network: &str) -> Error {
    let element = match head {
        Head::Weights => "weight",
        Head::Scores => "score",
    };
    Error::new(Code::InvalidData, format!("the network of plugin '{network}' output a non-finite {element}"))
}
