//! A test case of an op: operands, an exact reference in double precision, and the tolerance.

use super::{Op, Operand};

/// How the values of an operand are drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CaseValues {
    /// Uniform in [-1, 1).
    Uniform,
    /// Uniform in [0.5, 1.5).
    Positive,
    /// 0 or 1; no gradient is computed.
    Mask,
}

/// The exact output, from the values of the operands and the number of samples.
pub(crate) type Reference = Box<dyn Fn(&[Vec<f64>], usize) -> Vec<f64>>;

/// A test case of an op.
pub(crate) struct Case {
    /// What distinguishes it from the other cases of the op.
    pub name: &'static str,
    /// The op.
    pub op: Op,
    /// Its operands, and how their values are drawn.
    pub operands: Vec<(Operand, CaseValues)>,
    /// The exact output.
    pub reference: Reference,
    /// Largest absolute error of an output value; gradients may differ by ten times as much.
    pub tolerance: f64,
}

impl Case {
    pub(super) fn new(
        name: &'static str,
        op: impl Into<Op>,
        operands: Vec<(Operand, CaseValues)>,
        reference: impl Fn(&[Vec<f64>], usize) -> Vec<f64> + 'static,
    ) -> Self {
        Self { name, op: op.into(), operands, reference: Box::new(reference), tolerance: 2e-6 }
    }
}

/// A uniform operand with values per sample.
pub(super) fn batched(shape: &[usize]) -> (Operand, CaseValues) {
    (Operand::batched(shape), CaseValues::Uniform)
}

/// A positive operand with values per sample.
pub(super) fn positive(shape: &[usize]) -> (Operand, CaseValues) {
    (Operand::batched(shape), CaseValues::Positive)
}

/// A uniform operand that all samples share.
pub(super) fn shared(shape: &[usize]) -> (Operand, CaseValues) {
    (Operand::shared(shape), CaseValues::Uniform)
}
