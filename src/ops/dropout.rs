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

/// Numbers that are drawn at a time.
const PART: usize = 512;

impl Dropout {
    /// Calls `body` with parts of the output's places, and what each number of a part is multiplied with.
    fn factors(self, call: &Call, count: usize, mut body: impl FnMut(std::ops::Range<usize>, &[f32])) {
        let first = call.first * call.output.count();
        let kept = 1.0 / (1.0 - self.share);
        let mut room = [0.0; PART];
        for start in (0..count).step_by(PART) {
            let part = start..count.min(start + PART);
            let room = &mut room[..part.len()];
            call.random.fill_uniform((first + start) as u64, room);
            for value in room.iter_mut() {
                *value = if *value < self.share { 0.0 } else { kept };
            }
            body(part, room);
        }
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
            let output = &mut *pass.output;
            self.factors(&pass.call, output.len(), |part, factors| {
                output[part].iter_mut().zip(factors).for_each(|(out, factor)| *out *= factor);
            });
        }
    }

    fn backward(&self, pass: &mut Backward) {
        if !wanted(pass.gradients[0]) {
            return;
        }
        let (into, from) = (&mut *pass.gradients[0], pass.gradient);
        if pass.call.training && self.share > 0.0 {
            self.factors(&pass.call, from.len(), |part, factors| {
                let pairs = into[part.clone()].iter_mut().zip(&from[part]);
                pairs.zip(factors).for_each(|((into, from), factor)| *into += from * factor);
            });
        } else {
            into.iter_mut().zip(from).for_each(|(into, from)| *into += from);
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
