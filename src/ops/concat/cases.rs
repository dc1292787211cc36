//! Test cases of `concat`.

use super::Concat;
use crate::ops::case::{Case, batched};

pub(in crate::ops) fn all() -> Vec<Case> {
    vec![Case::new("concat", Concat { axis: 1 }, vec![batched(&[2, 1]), batched(&[2, 3])], |inputs, batch| {
        (0..2 * batch)
            .flat_map(|row| [vec![inputs[0][row]], inputs[1][row * 3..row * 3 + 3].to_vec()].concat())
            .collect()
    })]
}
