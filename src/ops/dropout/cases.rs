//! Test cases of `dropout`.

use super::Dropout;
use crate::ops::case::{Case, batched, shared};
use crate::random::Random;

pub(in crate::ops) fn all() -> Vec<Case> {
    // The reference draws as the tests call the op: seed 5, stream 1, step 2.
    fn exact(inputs: &[Vec<f64>], _: usize) -> Vec<f64> {
        let random = Random::new(5, 1, 2);
        let is_kept = |index: usize| random.uniform(index as u64) >= 0.5;
        inputs[0].iter().enumerate().map(|(index, x)| if is_kept(index) { 2.0 * x } else { 0.0 }).collect()
    }
    vec![
        Case::new("half", Dropout { share: 0.5 }, vec![batched(&[9, 3])], exact),
        Case::new("a value that samples share", Dropout { share: 0.5 }, vec![shared(&[9, 3])], exact),
    ]
}
