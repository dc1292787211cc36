//! Buffer lifetimes and their offsets in one arena; buffers that are not live at once share memory. The peak is known
//! before anything is allocated.

use std::ops::Range;

use super::reverse::BackwardNode;
use super::{ALIGNMENT, Program, ValueId};

/// What a program is run for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Forward and backward passes.
    Train,
    /// Forward and backward passes in less memory: activations that an op can recompute are not kept.
    TrainRecompute,
    /// Forward passes with packed parameters ([`Program::pack`]).
    Predict,
}

impl Purpose {
    /// Whether there is a backward pass.
    pub fn trains(self) -> bool {
        self != Self::Predict
    }
}

/// A buffer of the arena.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Buffer {
    /// Its elements; 0 if it is not needed.
    pub(super) count: usize,
    /// The first and the last step of the schedule that use it.
    pub(super) live: (usize, usize),
    /// Where it lies in the arena.
    pub(super) range: Range<usize>,
}

impl Buffer {
    /// A buffer that is used at one step so far and has no range yet.
    fn new(count: usize, step: usize) -> Self {
        Self { count, live: (step, step), range: 0..0 }
    }
}

/// The memory plan of a program for one micro-batch size.
#[derive(Clone, Debug)]
pub struct Plan {
    purpose: Purpose,
    batch: usize,
    /// Per value; empty for parameters.
    pub(super) values: Vec<Buffer>,
    /// Per value, its gradient; empty if it is not needed, and for parameters.
    pub(super) gradients: Vec<Buffer>,
    /// Per node.
    pub(super) saved: Vec<Buffer>,
    /// Per node, for the forward and the backward pass.
    pub(super) scratch: Vec<[Buffer; 2]>,
    pub(super) backward: Vec<BackwardNode>,
    elements: usize,
    parameters: usize,
}

impl Program {
    /// Plans the memory for micro-batches of `batch` samples.
    pub fn plan(&self, purpose: Purpose, batch: usize) -> Plan {
        let backward = if purpose.trains() { self.backward_nodes() } else { Vec::new() };
        // The schedule: a step per node of the forward pass, one for the loss, and one per node of the backward pass.
        let loss = self.nodes.len();
        let mut values = vec![Buffer::default(); self.values.len()];
        for input in &self.inputs {
            values[input.value.0] = self.buffer(input.value, batch, 0);
        }
        let mut saved = Vec::with_capacity(self.nodes.len());
        let mut scratch = Vec::with_capacity(self.nodes.len());
        for (step, node) in self.nodes.iter().enumerate() {
            values[node.output.0] = self.buffer(node.output, batch, step);
            for input in &node.inputs {
                values[input.0].live.1 = step;
            }
            let output = &self.values[node.output.0].operand;
            let operands = self.operands(node);
            let workspace = match purpose {
                Purpose::TrainRecompute => node.op.recompute_workspace(&operands, output, batch),
                Purpose::Predict if self.packs(node) => node.op.packed_workspace(&operands, output, batch),
                _ => node.op.workspace(&operands, output, batch),
            };
            let if_training = |count| if purpose.trains() { count } else { 0 };
            saved.push(Buffer::new(if_training(workspace.saved), step));
            scratch.push([Buffer::new(workspace.forward, step), Buffer::new(if_training(workspace.backward), step)]);
        }
        values[self.output.0].live.1 = loss;
        let mut gradients = vec![Buffer::default(); self.values.len()];
        if purpose.trains() {
            gradients[self.output.0] = self.buffer(self.output, batch, loss);
        }
        for (index, backward_node) in backward.iter().enumerate() {
            let (step, node) = (loss + 1 + index, &self.nodes[backward_node.node]);
            gradients[node.output.0].live.1 = step;
            saved[backward_node.node].live.1 = step;
            scratch[backward_node.node][1].live = (step, step);
            if backward_node.reads_output {
                values[node.output.0].live.1 = step;
            }
            for (operand, input) in node.inputs.iter().enumerate() {
                if self.parameter_index(*input).is_some() {
                    continue;
                }
                if backward_node.reads_operand[operand] {
                    values[input.0].live.1 = step;
                }
                if backward_node.adds_grad[operand] && gradients[input.0].count == 0 {
                    gradients[input.0] = self.buffer(*input, batch, step);
                }
            }
        }
        for parameter in &self.parameters {
            values[parameter.value.0] = Buffer::default();
        }
        let parameters = self.parameter_count();
        let mut plan = Plan { purpose, batch, values, gradients, saved, scratch, backward, elements: 0, parameters };
        plan.assign_ranges();
        plan
    }

    fn buffer(&self, value: ValueId, batch: usize, step: usize) -> Buffer {
        Buffer::new(self.values[value.0].operand.size(batch), step)
    }
}

impl Plan {
    /// Assigns a range to every buffer, largest first: the lowest one that no buffer live at the same time overlaps.
    fn assign_ranges(&mut self) {
        let mut buffers: Vec<&mut Buffer> = self
            .values
            .iter_mut()
            .chain(&mut self.gradients)
            .chain(&mut self.saved)
            .chain(self.scratch.iter_mut().flatten())
            .filter(|buffer| buffer.count > 0)
            .collect();
        buffers.sort_by_key(|buffer| std::cmp::Reverse(buffer.count));
        let mut assigned: Vec<(Range<usize>, (usize, usize))> = Vec::new();
        for buffer in buffers {
            let mut taken: Vec<&Range<usize>> = assigned
                .iter()
                .filter(|(_, live)| live.0 <= buffer.live.1 && buffer.live.0 <= live.1)
                .map(|(range, _)| range)
                .collect();
            taken.sort_by_key(|range| range.start);
            let mut start = 0;
            for range in taken {
                if start + buffer.count <= range.start {
                    break;
                }
                start = start.max(range.end.next_multiple_of(ALIGNMENT));
            }
            buffer.range = start..start + buffer.count;
            assigned.push((buffer.range.clone(), buffer.live));
            self.elements = self.elements.max(buffer.range.end);
        }
    }

    /// The same plan without sharing: every buffer is live throughout.
    #[cfg(test)]
    pub(super) fn without_sharing(mut self) -> Self {
        let buffers = self.values.iter_mut().chain(&mut self.gradients).chain(&mut self.saved);
        for buffer in buffers.chain(self.scratch.iter_mut().flatten()) {
            buffer.live = (0, usize::MAX);
        }
        self.elements = 0;
        self.assign_ranges();
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

    /// Elements of the arena of one replica.
    pub fn elements(&self) -> usize {
        self.elements
    }

    /// Bytes that `stack` replicas need: arenas, parameters and, for training, parameter gradients. Packed parameters
    /// are not included; see [`super::PackedParameters::bytes`].
    pub fn bytes(&self, stack: usize) -> usize {
        let parameters = self.parameters * if self.purpose.trains() { 2 } else { 1 };
        stack * (self.elements + parameters) * size_of::<f32>()
    }
}
