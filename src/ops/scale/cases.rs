//! Test cases of `scale`.

use super::Scale;
use crate::ops::case::{Case, batched};

pub(in crate::ops) fn all() -> Vec<Case> {
    vec![Case::new("scale", Scale { factor: -1.5, offset: 0.25 }, vec![batched(&[7])], |inputs, _| {
        inputs[0].iter().map(|x| x * -1.5 + 0.25).collect()
    })]
}
