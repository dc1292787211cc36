//! Test cases of `reshape`.

use super::Reshape;
use crate::ops::case::{Case, batched};

pub(in crate::ops) fn all() -> Vec<Case> {
    vec![Case::new("reshape", Reshape { shape: vec![3, 2] }, vec![batched(&[6])], |inputs, _| inputs[0].clone())]
}
