//! The reverse pass: the nodes backwards, and what each of them reads of the forward pass and writes.

use super::{Program, Source, ValueId};
use crate::ops::MOST_OPERANDS;

/// One node of the reverse pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Back {
    /// The node of the forward pass.
    pub(super) node: usize,
    /// By operand, whether its value is read.
    pub(super) reads: [bool; MOST_OPERANDS],
    /// Whether the output's value is read.
    pub(super) reads_output: bool,
    /// By operand, whether its gradient is added to.
    pub(super) adds: [bool; MOST_OPERANDS],
}

impl Program {
    /// The reverse pass. Gradients go to every value that depends on a parameter, and to nothing else.
    pub(super) fn reverse(&self) -> Vec<Back> {
        let mut out = Vec::new();
        for (node, forward) in self.nodes.iter().enumerate().rev() {
            if !self.values[forward.output.0].trained {
                continue;
            }
            let uses = forward.op.uses();
            let mut adds = [false; MOST_OPERANDS];
            let mut reads = [false; MOST_OPERANDS];
            for (place, input) in forward.inputs.iter().enumerate() {
                adds[place] = self.values[input.0].trained;
                reads[place] = uses.inputs[place];
            }
            out.push(Back { node, reads, reads_output: uses.output, adds });
        }
        out
    }

    /// Whether a value's gradient goes to the parameters' gradients instead of the arena.
    pub(super) fn is_parameter(&self, value: ValueId) -> Option<usize> {
        match self.values[value.0].source {
            Source::Parameter(place) => Some(place),
            _ => None,
        }
    }
}
