//! Dropout (Srivastava et al. 2014): while training, a share of the numbers becomes 0 and the others grow, so that the mean
//! stays. Which ones is a function of seed, op, step and the number's place in the whole batch.

use super::cases::{Case, batched};
use super::{Backward, Call, Forward, Op, Operand, Uses, arity, wanted};
use crate::random::Random;

/// Drops with probability `share`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Dropout {
    /// From 0 up to, and without, 1.
    pub share: f32,
}

impl Dropout {
    /// What a number is multiplied with.
    fn factor(self, call: &Call, place: usize) -> f32 {
        let position = (call.first * call.output.count() + place) as u64;
        if call.random.uniform(position) < self.share { 0.0 } else { 1.0 / (1.0 - self.share) }
    }
}

impl Op for Dropout {
    fn name(&self) -> &'static str {
        "dropout"
    }

    fn attributes(&self) -> String {
        format!("share={}", self.share)
    }

    fn shape(&self, operands: &[Operand]) -> Result<Vec<usize>, String> {
        arity(operands, 1)?;
        if !(0.0..1.0).contains(&self.share) {
            return Err(format!("takes a share from 0 up to, and without, 1, found {}", self.share));
        }
        Ok(operands[0].shape.clone())
    }

    fn uses(&self) -> Uses {
        Uses::NOTHING
    }

    fn forward(&self, pass: &mut Forward) {
        pass.output.copy_from_slice(pass.inputs[0]);
        if pass.call.training && self.share > 0.0 {
            for (place, out) in pass.output.iter_mut().enumerate() {
                *out *= self.factor(&pass.call, place);
            }
        }
    }

    fn backward(&self, pass: &mut Backward) {
        if !wanted(pass.gradients[0]) {
            return;
        }
        let dropping = pass.call.training && self.share > 0.0;
        for (place, (into, from)) in pass.gradients[0].iter_mut().zip(pass.gradient).enumerate() {
            *into += if dropping { from * self.factor(&pass.call, place) } else { *from };
        }
    }
}

pub(super) fn cases() -> Vec<Case> {
    // The reference draws as the tests call it: seed 5, stream 1, step 2.
    vec![Case::new("half", Dropout { share: 0.5 }, vec![batched(&[9, 3])], |inputs, _| {
        let random = Random::new(5, 1, 2);
        let kept = |place: usize| random.uniform(place as u64) >= 0.5;
        inputs[0].iter().enumerate().map(|(place, x)| if kept(place) { 2.0 * x } else { 0.0 }).collect()
    })]
}
