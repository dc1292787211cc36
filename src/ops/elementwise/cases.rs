//! Test cases of `elementwise`.

use super::Elementwise;
use crate::ops::case::{Case, batched, positive};

pub(in crate::ops) fn all() -> Vec<Case> {
    fn case(name: &'static str, op: Elementwise, exact: fn(f64) -> f64) -> Case {
        Case::new(name, op, vec![batched(&[4, 5])], move |inputs, _| inputs[0].iter().map(|x| exact(*x)).collect())
    }
    const INFINITY: f32 = f32::INFINITY;
    vec![
        case("exp", Elementwise::Exp, f64::exp),
        Case::new("log", Elementwise::Log, vec![positive(&[4, 5])], |inputs, _| {
            inputs[0].iter().map(|x| x.ln()).collect()
        }),
        case("abs", Elementwise::Abs, f64::abs),
        case("clip", Elementwise::Clip { min: -0.25, max: 0.5 }, |x| x.clamp(-0.25, 0.5)),
        case("clip from below", Elementwise::Clip { min: 0.1, max: INFINITY }, |x| x.max(f64::from(0.1_f32))),
        case("clip from above", Elementwise::Clip { min: -INFINITY, max: 0.0 }, |x| x.min(0.0)),
    ]
}
