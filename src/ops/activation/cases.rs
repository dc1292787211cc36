//! Test cases of `activation`.

use super::Activation;
use crate::ops::case::{Case, batched};

pub(in crate::ops) fn all() -> Vec<Case> {
    fn case(name: &'static str, op: Activation, exact: impl Fn(f64) -> f64 + 'static) -> Case {
        Case::new(name, op, vec![batched(&[4, 5])], move |inputs, _| inputs[0].iter().map(|x| exact(*x)).collect())
    }
    fn leaky_relu(name: &'static str, slope: f32) -> Case {
        let exact = move |x| if x > 0.0 { x } else { f64::from(slope) * x };
        case(name, Activation::LeakyRelu { slope }, exact)
    }
    vec![
        case("tanh", Activation::Tanh, f64::tanh),
        case("sigmoid", Activation::Sigmoid, |x| 1.0 / (1.0 + (-x).exp())),
        case("relu", Activation::Relu, |x| x.max(0.0)),
        leaky_relu("leaky_relu, slope 0", 0.0),
        leaky_relu("leaky_relu, slope 0.2", 0.2),
        leaky_relu("leaky_relu, slope above 1", 1.5),
        case("elu", Activation::Elu, |x| if x > 0.0 { x } else { x.exp_m1() }),
    ]
}
