//! The backward pass: the nodes in reverse order, the values that each reads and the gradients that it adds to.

use super::{Program, ValueId, ValueSource};
use crate::ops::MOST_OPERANDS;

/// A node of the backward pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct BackwardNode {
    /// Index of the node in the program.
    pub(super) node: usize,
    /// Per operand, whether its value is read.
    pub(super) reads: [bool; MOST_OPERANDS],
    /// Whether the value of the output is read.
    pub(super) reads_output: bool,
    /// Per operand, whether its gradient is computed.
    pub(super) adds: [bool; MOST_OPERANDS],
}

impl Program {
    /// The nodes of the backward pass. It computes the gradients of exactly the values that depend on a parameter.
    pub(super) fn backward_nodes(&self) -> Vec<BackwardNode> {
        let mut out = Vec::new();
        for (index, node) in self.nodes.iter().enumerate().rev() {
            if !self.values[node.output.0].requires_grad {
                continue;
            }
            let uses = node.op.uses();
            let mut adds = [false; MOST_OPERANDS];
            let mut reads = [false; MOST_OPERANDS];
            for (operand, input) in node.inputs.iter().enumerate() {
                adds[operand] = self.values[input.0].requires_grad;
                reads[operand] = uses.inputs[operand];
            }
            out.push(BackwardNode { node: index, reads, reads_output: uses.output, adds });
        }
        out
    }

    /// The index of the parameter that a value is, if it is one. Its value and gradient lie outside the arena.
    pub(super) fn parameter_index(&self, value: ValueId) -> Option<usize> {
        match self.values[value.0].source {
            ValueSource::Parameter(index) => Some(index),
            _ => None,
        }
    }
}
