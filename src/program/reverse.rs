//! The backward pass: the nodes in reverse order, the values that each reads and the gradients that it adds to.

use super::{Program, ValueId, ValueSource};
use crate::ops::MOST_OPERANDS;

/// A node of the backward pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BackwardNode {
    /// Index of the node in the program.
    pub(crate) node: usize,
    /// Per operand, whether the backward pass of the op reads its value.
    pub(crate) reads_operand: [bool; MOST_OPERANDS],
    /// Whether it reads the value of the output.
    pub(crate) reads_output: bool,
    /// Per operand, whether it adds to the gradient of the operand.
    pub(crate) adds_grad: [bool; MOST_OPERANDS],
}

impl Program {
    /// The nodes of the backward pass, last node first. Parameters and values computed from them get a gradient, and
    /// nothing else. An op reads what its rule says, whichever gradients are needed.
    pub(super) fn backward_nodes(&self) -> Vec<BackwardNode> {
        let mut out = Vec::new();
        for (index, node) in self.nodes.iter().enumerate().rev() {
            if !self.values[node.output.0].requires_grad {
                continue;
            }
            let uses = node.op.rule().uses();
            let mut adds_grad = [false; MOST_OPERANDS];
            let mut reads_operand = [false; MOST_OPERANDS];
            for (operand, input) in node.inputs.iter().enumerate() {
                adds_grad[operand] = self.values[input.0].requires_grad;
                reads_operand[operand] = uses.inputs[operand];
            }
            out.push(BackwardNode { node: index, reads_operand, reads_output: uses.output, adds_grad });
        }
        out
    }

    /// The index of the parameter that a value is, if it is one. Its value and gradient lie outside the arena.
    pub(crate) fn parameter_index(&self, value: ValueId) -> Option<usize> {
        match self.values[value.0].source {
            ValueSource::Parameter(index) => Some(index),
            _ => None,
        }
    }
}
