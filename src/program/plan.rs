//! Buffer lifetimes and their offsets in one arena, in bytes; buffers that are not live at once share memory. The peak
//! is known before anything is allocated, for any device and with none at hand.

use std::ops::Range;

use super::reverse::BackwardNode;
use super::{Dtype, GraphNode, Program, ValueId};
use crate::ops::Operand;

/// What a plan must know of the device that it is made for.
pub(crate) trait PlanTarget {
    /// Workspace of an op for `batch` samples, in bytes.
    fn workspace(&self, program: &Program, call: &PlannedCall, purpose: Purpose) -> WorkspaceBytes;

    /// Bytes of an element in memory.
    fn element_bytes(&self, dtype: Dtype) -> usize;

    /// Alignment of buffers, in bytes.
    fn alignment(&self) -> usize;
}

/// An op as it will be called.
pub(crate) struct PlannedCall<'a> {
    pub(crate) node: &'a GraphNode,
    /// Its index in the order of execution.
    pub(crate) index: usize,
    pub(crate) operands: &'a [Operand],
    pub(crate) output: &'a Operand,
    pub(crate) batch: usize,
}

/// Workspace that an op needs beside its operands and output, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct WorkspaceBytes {
    /// Written by the forward pass and read by the backward pass.
    pub(crate) saved: usize,
    /// Used during the forward pass.
    pub(crate) forward: usize,
    /// Used during the backward pass.
    pub(crate) backward: usize,
}

/// What a program is run for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Forward and backward passes.
    Train,
    /// Forward and backward passes in less memory: activations that an op can recompute are not kept.
    TrainRecompute,
    /// Forward passes with packed parameters.
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
pub(crate) struct Buffer {
    /// Its bytes; 0 if it is not needed.
    pub(crate) bytes: usize,
    /// The first and the last step of the schedule that use it.
    pub(crate) live: (usize, usize),
    /// Where it lies in the arena.
    pub(crate) range: Range<usize>,
}

impl Buffer {
    /// A buffer that is used at one step so far and has no range yet.
    fn new(bytes: usize, step: usize) -> Self {
        Self { bytes, live: (step, step), range: 0..0 }
    }
}

/// The memory plan of a program for one micro-batch size.
#[derive(Clone, Debug)]
pub struct Plan {
    purpose: Purpose,
    batch: usize,
    /// Per value; empty for parameters.
    pub(crate) values: Vec<Buffer>,
    /// Per value, its gradient; empty if it is not needed, and for parameters.
    pub(crate) gradients: Vec<Buffer>,
    /// Per node.
    pub(crate) saved: Vec<Buffer>,
    /// Per node, for the forward and the backward pass.
    pub(crate) scratch: Vec<[Buffer; 2]>,
    pub(crate) backward: Vec<BackwardNode>,
    bytes: usize,
    alignment: usize,
}

impl Program {
    /// Plans the memory of one replica for micro-batches of `batch` samples.
    pub(crate) fn plan_for(&self, target: &dyn PlanTarget, purpose: Purpose, batch: usize) -> Plan {
        let backward = if purpose.trains() { self.backward_nodes() } else { Vec::new() };
        // The schedule: a step per node of the forward pass, one for the loss, and one per node of the backward pass.
        let loss = self.nodes.len();
        let mut values = vec![Buffer::default(); self.values.len()];
        for input in &self.inputs {
            values[input.value.0] = self.buffer(target, input.value, batch, 0);
        }
        let mut saved = Vec::with_capacity(self.nodes.len());
        let mut scratch = Vec::with_capacity(self.nodes.len());
        for (step, node) in self.nodes.iter().enumerate() {
            values[node.output.0] = self.buffer(target, node.output, batch, step);
            for input in &node.inputs {
                values[input.0].live.1 = step;
            }
            let output = &self.values[node.output.0].operand;
            let operands = self.operands(node);
            let call = PlannedCall { node, index: step, operands: &operands, output, batch };
            let workspace = target.workspace(self, &call, purpose);
            let if_training = |count| if purpose.trains() { count } else { 0 };
            saved.push(Buffer::new(if_training(workspace.saved), step));
            scratch.push([Buffer::new(workspace.forward, step), Buffer::new(if_training(workspace.backward), step)]);
        }
        values[self.output.0].live.1 = loss;
        if let Some(scores) = self.scores {
            values[scores.0].live.1 = loss;
        }
        let mut gradients = vec![Buffer::default(); self.values.len()];
        if purpose.trains() {
            gradients[self.output.0] = self.buffer(target, self.output, batch, loss);
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
                if backward_node.adds_grad[operand] && gradients[input.0].bytes == 0 {
                    gradients[input.0] = self.buffer(target, *input, batch, step);
                }
            }
        }
        for parameter in &self.parameters {
            values[parameter.value.0] = Buffer::default();
        }
        let alignment = target.alignment();
        let mut plan = Plan { purpose, batch, values, gradients, saved, scratch, backward, bytes: 0, alignment };
        plan.assign_ranges();
        plan
    }

    fn buffer(&self, target: &dyn PlanTarget, value: ValueId, batch: usize, step: usize) -> Buffer {
        let info = &self.values[value.0];
        Buffer::new(info.operand.size(batch) * target.element_bytes(info.dtype), step)
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
            .filter(|buffer| buffer.bytes > 0)
            .collect();
        buffers.sort_by_key(|buffer| std::cmp::Reverse(buffer.bytes));
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
                if start + buffer.bytes <= range.start {
                    break;
                }
                start = start.max(range.end.next_multiple_of(self.alignment));
            }
            buffer.range = start..start + buffer.bytes;
            assigned.push((buffer.range.clone(), buffer.live));
            self.bytes = self.bytes.max(buffer.range.end);
        }
    }

    /// The same plan without sharing: every buffer is live throughout.
    #[cfg(test)]
    pub(crate) fn without_sharing(mut self) -> Self {
        let buffers = self.values.iter_mut().chain(&mut self.gradients).chain(&mut self.saved);
        for buffer in buffers.chain(self.scratch.iter_mut().flatten()) {
            buffer.live = (0, usize::MAX);
        }
        self.bytes = 0;
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

    /// Bytes of the arena of one replica. Replicas of a stack have one each.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}
