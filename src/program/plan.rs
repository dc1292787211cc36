//! The memory plan: who needs how many numbers from which step of the work to which, and where in one arena they lie, so that
//! what is not in use at the same time shares a place. The peak is known before the first step.

use std::ops::Range;

use super::reverse::Back;
use super::{ALIGNMENT, Program, ValueId};
use crate::ops::Workspace;

/// What a program is run for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Forward and backward.
    Train,
    /// The same; what ops can compute again for the backward pass is not kept.
    TrainRecompute,
    /// Forward alone, with parameters that were packed beforehand ([`Program::pack`]).
    Predict,
}

impl Purpose {
    /// Whether there is a backward pass.
    pub fn trains(self) -> bool {
        self != Self::Predict
    }
}

/// A piece of the arena, and the steps of the work from the first to the last that use it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Piece {
    pub(super) count: usize,
    pub(super) steps: (usize, usize),
    pub(super) place: Range<usize>,
}

/// Where everything lies, for one micro-batch size.
#[derive(Clone, Debug)]
pub struct Plan {
    purpose: Purpose,
    batch: usize,
    /// By value; empty for parameters.
    pub(super) values: Vec<Piece>,
    /// By value, its gradient; empty where none is asked for, and for parameters.
    pub(super) gradients: Vec<Piece>,
    /// By node.
    pub(super) saved: Vec<Piece>,
    /// By node, for the forward and the backward pass.
    pub(super) scratch: Vec<[Piece; 2]>,
    pub(super) reverse: Vec<Back>,
    numbers: usize,
    parameters: usize,
}

impl Program {
    /// Plans the memory for micro-batches of `batch` samples.
    pub fn plan(&self, purpose: Purpose, batch: usize) -> Plan {
        let reverse = if purpose.trains() { self.reverse() } else { Vec::new() };
        let nothing = || Piece { count: 0, steps: (0, 0), place: 0..0 };
        let forward = self.nodes.len();
        // Steps: each node forward, then the loss, then each node of the reverse pass.
        let loss = forward;
        let mut values: Vec<Piece> = self.values.iter().map(|_| nothing()).collect();
        for input in &self.inputs {
            values[input.value.0] = self.piece(input.value, batch, 0);
        }
        let mut saved = Vec::with_capacity(forward);
        let mut scratch = Vec::with_capacity(forward);
        for (step, node) in self.nodes.iter().enumerate() {
            values[node.output.0] = self.piece(node.output, batch, step);
            for input in &node.inputs {
                values[input.0].steps.1 = step;
            }
            let output = &self.values[node.output.0].operand;
            let operands = self.operands(node);
            let room = match purpose {
                Purpose::TrainRecompute => node.op.recompute_workspace(&operands, output, batch),
                Purpose::Predict if self.packs(node) => node.op.packed_workspace(&operands, output, batch),
                _ => node.op.workspace(&operands, output, batch),
            };
            let Workspace { saved: kept, forward, backward } = room;
            let kept = if purpose.trains() { kept } else { 0 };
            saved.push(Piece { count: kept, steps: (step, step), place: 0..0 });
            let piece = |count| Piece { count, steps: (step, step), place: 0..0 };
            scratch.push([piece(forward), piece(if purpose.trains() { backward } else { 0 })]);
        }
        values[self.output.0].steps.1 = if purpose.trains() { loss } else { forward };
        let mut gradients: Vec<Piece> = self.values.iter().map(|_| nothing()).collect();
        if purpose.trains() {
            gradients[self.output.0] = self.piece(self.output, batch, loss);
        }
        for (at, back) in reverse.iter().enumerate() {
            let (step, node) = (loss + 1 + at, &self.nodes[back.node]);
            gradients[node.output.0].steps.1 = step;
            saved[back.node].steps.1 = step;
            scratch[back.node][1].steps = (step, step);
            if back.reads_output {
                values[node.output.0].steps.1 = step;
            }
            for (place, input) in node.inputs.iter().enumerate() {
                if back.reads[place] && self.is_parameter(*input).is_none() {
                    values[input.0].steps.1 = step;
                }
                if back.adds[place] && self.is_parameter(*input).is_none() && gradients[input.0].count == 0 {
                    gradients[input.0] = self.piece(*input, batch, step);
                }
            }
        }
        for parameter in &self.parameters {
            values[parameter.value.0] = nothing();
        }
        let mut plan = Plan {
            purpose,
            batch,
            values,
            gradients,
            saved,
            scratch,
            reverse,
            numbers: 0,
            parameters: self.parameter_count(),
        };
        plan.place();
        plan
    }

    fn piece(&self, value: ValueId, batch: usize, step: usize) -> Piece {
        Piece { count: self.values[value.0].operand.size(batch), steps: (step, step), place: 0..0 }
    }
}

impl Plan {
    /// Gives every piece its place: the largest first, each at the lowest place where nothing lies that is in use at the same
    /// time.
    fn place(&mut self) {
        let mut pieces: Vec<&mut Piece> = self
            .values
            .iter_mut()
            .chain(&mut self.gradients)
            .chain(&mut self.saved)
            .chain(self.scratch.iter_mut().flatten())
            .filter(|piece| piece.count > 0)
            .collect();
        pieces.sort_by_key(|piece| std::cmp::Reverse(piece.count));
        let mut placed: Vec<(Range<usize>, (usize, usize))> = Vec::new();
        for piece in pieces {
            let mut others: Vec<&Range<usize>> = placed
                .iter()
                .filter(|(_, steps)| steps.0 <= piece.steps.1 && piece.steps.0 <= steps.1)
                .map(|(place, _)| place)
                .collect();
            others.sort_by_key(|place| place.start);
            let mut start = 0;
            for other in others {
                if start + piece.count <= other.start {
                    break;
                }
                start = start.max(other.end.next_multiple_of(ALIGNMENT));
            }
            piece.place = start..start + piece.count;
            placed.push((piece.place.clone(), piece.steps));
            self.numbers = self.numbers.max(piece.place.end);
        }
    }

    /// The same without sharing: every piece is in use throughout.
    #[cfg(test)]
    pub(super) fn with_a_place_each(mut self) -> Self {
        let pieces = self.values.iter_mut().chain(&mut self.gradients).chain(&mut self.saved);
        for piece in pieces.chain(self.scratch.iter_mut().flatten()) {
            piece.steps = (0, usize::MAX);
        }
        self.numbers = 0;
        self.place();
        self
    }

    /// What it is for.
    pub fn purpose(&self) -> Purpose {
        self.purpose
    }

    /// Samples of a micro-batch.
    pub fn batch(&self) -> usize {
        self.batch
    }

    /// Numbers in the arena of one replica.
    pub fn numbers(&self) -> usize {
        self.numbers
    }

    /// Bytes that `stack` replicas need: arenas, parameters and, for training, their gradients. What predictions pack is told
    /// by [`super::PackedParameters::bytes`].
    pub fn bytes(&self, stack: usize) -> usize {
        let parameters = self.parameters * if self.purpose.trains() { 2 } else { 1 };
        stack * (self.numbers + parameters) * size_of::<f32>()
    }
}
