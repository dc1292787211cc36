//! Test cases of `slice`.

use super::Slice;
use crate::ops::case::{Case, batched};

pub(in crate::ops) fn all() -> Vec<Case> {
    vec![Case::new("slice", Slice { axis: 1, start: 1, length: 2 }, vec![batched(&[2, 4, 3])], |inputs, batch| {
        (0..2 * batch).flat_map(|block| inputs[0][block * 12 + 3..block * 12 + 9].to_vec()).collect()
    })]
}
