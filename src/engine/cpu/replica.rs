//! Runs a program on the CPU: a replica owns its arena and runs both passes over micro-batches.

use std::ops::Range;
use std::sync::Arc;

use super::by_date::lstms_by_date;
use super::packed::{PackedParameters, packs};
use super::target::ELEMENT;
use crate::device::cpu::{Arena, round_to_half};
use crate::engine::{State, Stop};
use crate::ops::{Backward, Call, Dates, Forward, MOST_OPERANDS, Operand, PackedWeights};
use crate::program::{BackwardNode, Buffer, Dtype, Plan, Program, ValueId};
use crate::random::Random;

/// The micro-batch of a pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MicroBatch {
    /// Samples, at most those of the plan.
    pub size: usize,
    /// Index of the first sample in the whole batch.
    pub offset: usize,
    /// Whether the network is in training mode, in which dropout is active.
    pub training: bool,
    /// Index of the optimiser step, which seeds the random sequences.
    pub step: u32,
}

/// One of a stack of networks of equal shape: its memory and its random seed.
pub struct Replica {
    program: Arc<Program>,
    plan: Arc<Plan>,
    arena: Arena,
    /// Per node.
    operands: Vec<Vec<Operand>>,
    half: bool,
    seed: u64,
    /// Per node.
    scalars: Arc<[f32]>,
    /// Per node, whether it can go by date.
    by_date: Vec<bool>,
    /// Per sample of the micro-batch, the assignment of assets to slots and the as-of row; empty where they are unknown.
    dates: Vec<(u32, u32)>,
}

impl Replica {
    /// Allocates the memory of a plan.
    pub fn new(program: Arc<Program>, plan: Arc<Plan>, seed: u64) -> Self {
        let arena = Arena::new(plan.bytes() / ELEMENT);
        let operands = program.nodes.iter().map(|node| program.operands(node)).collect();
        let half = program.is_half();
        let by_date = lstms_by_date(&program);
        let scalars = program.scalars();
        Self { program, plan, arena, operands, half, seed, scalars, by_date, dates: Vec::new() }
    }

    /// The initial parameters for the seed of the replica.
    pub fn initial_parameters(&self) -> Vec<f32> {
        State::initial(&self.program, self.seed).parameters
    }

    /// Takes the dates of the samples of a micro-batch; the plan counts their distinct rows.
    pub(super) fn set_dates(&mut self, dates: impl Iterator<Item = (u32, u32)>) {
        self.dates.clear();
        self.dates.extend(dates);
    }

    /// Becomes the memory of another replica.
    pub(super) fn become_replica(&mut self, seed: u64, scalars: &Arc<[f32]>) {
        self.seed = seed;
        self.scalars = Arc::clone(scalars);
    }

    /// The buffer of an input for `batch` samples, `[batch, shape]`, to be filled before a forward pass.
    pub fn input(&mut self, input: usize, batch: usize) -> &mut [f32] {
        let range = self.value_range(self.program.inputs()[input].value, batch);
        self.arena.write(range)
    }

    /// The range of a value in the arena, for `batch` samples.
    fn value_range(&self, value: ValueId, batch: usize) -> Range<usize> {
        prefix(&self.plan.values[value.0], self.size(value, batch))
    }

    /// The range of the gradient of a value in the arena, for `batch` samples.
    fn gradient_range(&self, value: ValueId, batch: usize) -> Range<usize> {
        prefix(&self.plan.gradients[value.0], self.size(value, batch))
    }

    fn size(&self, value: ValueId, batch: usize) -> usize {
        self.program.values[value.0].operand.size(batch)
    }

    /// Bytes of the arena.
    pub fn bytes(&self) -> usize {
        self.arena.len() * ELEMENT
    }

    /// Computes the output of a micro-batch, `[batch, output shape]`, keeping what the backward pass reads.
    ///
    /// # Panics
    /// If the plan is for predictions.
    pub fn forward(&mut self, parameters: &[f32], micro_batch: MicroBatch) -> &[f32] {
        self.forward_until(parameters, micro_batch, &|| false);
        self.output(micro_batch)
    }

    /// As [`Replica::forward`], but asks `stop` before each op. Returns whether it got to the end.
    pub(super) fn forward_until(&mut self, parameters: &[f32], micro_batch: MicroBatch, stop: &Stop) -> bool {
        assert!(self.plan.purpose().trains(), "the plan is for predictions with packed parameters");
        self.round_inputs(micro_batch);
        for index in 0..self.program.nodes.len() {
            if stop() {
                return false;
            }
            self.forward_node(parameters, None, micro_batch, index);
        }
        true
    }

    /// Computes the same bits as [`Replica::forward`] with parameters from which `packed` was made. Allocates nothing,
    /// except in large matrix products.
    ///
    /// # Panics
    /// If the plan is for training or `packed` is for another program.
    pub fn predict(&mut self, parameters: &[f32], packed: &PackedParameters, micro_batch: MicroBatch) -> &[f32] {
        assert!(!self.plan.purpose().trains(), "the plan is for training");
        assert!(packed.matches(&self.program), "the parameters were packed for another program");
        self.round_inputs(micro_batch);
        let mut packed_index = 0;
        for index in 0..self.program.nodes.len() {
            let is_packed = packs(&self.program, &self.program.nodes[index]);
            let weights = if is_packed { packed.get(packed_index) } else { None };
            self.forward_node(parameters, weights, micro_batch, index);
            packed_index += usize::from(is_packed);
        }
        self.output(micro_batch)
    }

    /// The scores of the micro-batch that was computed last, `[batch, output shape]`; `None` if the program has none.
    pub(crate) fn scores(&self, micro_batch: MicroBatch) -> Option<&[f32]> {
        self.program.scores.map(|scores| self.arena.read(self.value_range(scores, micro_batch.size)))
    }

    /// The output of the micro-batch that was computed last.
    pub(super) fn output(&self, micro_batch: MicroBatch) -> &[f32] {
        self.arena.read(self.value_range(self.program.output, micro_batch.size))
    }

    /// Runs both passes over the micro-batch whose inputs are filled in, and describes the input, parameter or op that
    /// first produced a non-finite value, if any. Overwrites `gradients`.
    pub fn first_non_finite(
        &mut self,
        parameters: &[f32],
        output_grad: &[f32],
        gradients: &mut [f32],
        micro_batch: MicroBatch,
    ) -> Option<String> {
        let program = Arc::clone(&self.program);
        self.round_inputs(micro_batch);
        for (index, input) in program.inputs().iter().enumerate() {
            if let Some(value) = non_finite(self.input(index, micro_batch.size)) {
                return Some(format!("input '{}' has {value}", input.name));
            }
        }
        for parameter in program.parameters() {
            if let Some(value) = non_finite(&parameters[parameter.offset..][..parameter.count()]) {
                return Some(format!("parameter '{}' has {value}", parameter.name));
            }
        }
        for (index, node) in program.nodes.iter().enumerate() {
            self.forward_node(parameters, None, micro_batch, index);
            if let Some(value) = non_finite(self.arena.read(self.value_range(node.output, micro_batch.size))) {
                return Some(format!("op '{}' (%{index}) gave {value}", node.op.name()));
            }
        }
        if let Some(value) = non_finite(output_grad) {
            return Some(format!("the gradient of the loss is {value}"));
        }
        gradients.fill(0.0);
        let mut first = None;
        self.backward_with(parameters, output_grad, gradients, micro_batch, &mut |replica, index, gradients| {
            let node = &program.nodes[index];
            let is_non_finite = node.inputs.iter().any(|input| {
                let gradient = match program.parameter_index(*input) {
                    Some(parameter) => parameter_slice(&program, gradients, parameter),
                    None => replica.arena.read(replica.gradient_range(*input, micro_batch.size)),
                };
                non_finite(gradient).is_some()
            });
            if is_non_finite {
                first = Some(format!("op '{}' (%{index}) gave a non-finite gradient", node.op.name()));
            }
            !is_non_finite
        });
        first
    }

    fn round_inputs(&mut self, micro_batch: MicroBatch) {
        for index in 0..self.program.inputs().len() {
            if self.program.values[self.program.inputs()[index].value.0].dtype == Dtype::F16 {
                round_to_half(self.input(index, micro_batch.size));
            }
        }
    }

    /// Runs the forward pass of one node.
    fn forward_node(
        &mut self,
        parameters: &[f32],
        packed: Option<&PackedWeights>,
        micro_batch: MicroBatch,
        index: usize,
    ) {
        let (program, plan) = (Arc::clone(&self.program), Arc::clone(&self.plan));
        let node = &program.nodes[index];
        let mut reads: [_; MOST_OPERANDS] = std::array::from_fn(|_| 0..0);
        for (read, input) in reads.iter_mut().zip(&node.inputs) {
            *read = self.value_range(*input, micro_batch.size);
        }
        let writes = [
            self.value_range(node.output, micro_batch.size),
            elements(&plan.saved[index]),
            elements(&plan.scratch[index][0]),
        ];
        let dates = (self.by_date[index] && self.dates.len() == micro_batch.size).then_some(self.dates.as_slice());
        let call = call(
            &program,
            (&self.operands[index], dates),
            (self.seed, self.half, self.scalars[index]),
            index,
            micro_batch,
        );
        let views = self.arena.views(&reads[..node.inputs.len()], &writes);
        let mut inputs: [&[f32]; MOST_OPERANDS] = [&[]; MOST_OPERANDS];
        for (operand, input) in node.inputs.iter().enumerate() {
            inputs[operand] = match program.parameter_index(*input) {
                Some(parameter) => parameter_slice(&program, parameters, parameter),
                None => views.reads[operand],
            };
        }
        let [output, saved, scratch, ..] = views.writes;
        let inputs = &inputs[..node.inputs.len()];
        node.op.cpu().forward(&mut Forward { call, inputs, output, saved, scratch, packed });
        if program.values[node.output.0].dtype == Dtype::F16 {
            round_to_half(output);
        }
    }

    /// Runs the backward pass of the micro-batch that [`Replica::forward`] has just computed. `output_grad` is the
    /// gradient of the loss with respect to the output, `[batch, output shape]`; the parameter gradients are added to
    /// `gradients`, laid out as the parameters.
    ///
    /// # Panics
    /// If the plan is for predictions.
    pub fn backward(
        &mut self,
        parameters: &[f32],
        output_grad: &[f32],
        gradients: &mut [f32],
        micro_batch: MicroBatch,
    ) {
        self.backward_until(parameters, output_grad, gradients, micro_batch, &|| false);
    }

    /// As [`Replica::backward`], but asks `stop` before each op. Returns whether it got to the end.
    pub(super) fn backward_until(
        &mut self,
        parameters: &[f32],
        output_grad: &[f32],
        gradients: &mut [f32],
        micro_batch: MicroBatch,
        stop: &Stop,
    ) -> bool {
        self.backward_with(parameters, output_grad, gradients, micro_batch, &mut |_, _, _| !stop())
    }

    /// [`Replica::backward`]; calls `after` with the index of each node after its gradients were computed, and ends
    /// where it returns false. Returns whether it got to the end.
    fn backward_with(
        &mut self,
        parameters: &[f32],
        output_grad: &[f32],
        gradients: &mut [f32],
        micro_batch: MicroBatch,
        after: &mut dyn FnMut(&Self, usize, &[f32]) -> bool,
    ) -> bool {
        let (program, plan) = (Arc::clone(&self.program), Arc::clone(&self.plan));
        assert!(plan.purpose().trains(), "the plan has no backward pass");
        let range = self.gradient_range(program.output, micro_batch.size);
        self.arena.write(range).copy_from_slice(output_grad);
        let mut has_gradient = vec![false; program.values.len()];
        has_gradient[program.output.0] = true;
        for backward_node in &plan.backward {
            let node = &program.nodes[backward_node.node];
            if !has_gradient[node.output.0] {
                continue;
            }
            // The first op that adds to a gradient finds it at 0.
            for (operand, input) in node.inputs.iter().enumerate() {
                let is_added = backward_node.adds_grad[operand] && program.parameter_index(*input).is_none();
                if is_added && !has_gradient[input.0] {
                    has_gradient[input.0] = true;
                    let range = self.gradient_range(*input, micro_batch.size);
                    self.arena.write(range).fill(0.0);
                }
            }
            self.backward_node(backward_node, parameters, gradients, micro_batch);
            if !after(self, backward_node.node, gradients) {
                return false;
            }
        }
        true
    }

    /// Runs the backward pass of one node.
    fn backward_node(
        &mut self,
        backward_node: &BackwardNode,
        parameters: &[f32],
        gradients: &mut [f32],
        micro_batch: MicroBatch,
    ) {
        let (program, plan) = (Arc::clone(&self.program), Arc::clone(&self.plan));
        let BackwardNode { node: index, reads_operand, reads_output, adds_grad } = *backward_node;
        let (node, batch) = (&program.nodes[index], micro_batch.size);
        let count = node.inputs.len();
        let mut reads: [_; MOST_OPERANDS + 3] = std::array::from_fn(|_| 0..0);
        for (operand, input) in node.inputs.iter().enumerate() {
            if reads_operand[operand] {
                reads[operand] = self.value_range(*input, batch);
            }
        }
        if reads_output {
            reads[count] = self.value_range(node.output, batch);
        }
        reads[count + 1] = elements(&plan.saved[index]);
        reads[count + 2] = self.gradient_range(node.output, batch);
        let mut writes: [_; MOST_OPERANDS + 1] = std::array::from_fn(|_| 0..0);
        writes[0] = elements(&plan.scratch[index][1]);
        for (operand, input) in node.inputs.iter().enumerate() {
            if adds_grad[operand] && program.parameter_index(*input).is_none() {
                writes[operand + 1] = self.gradient_range(*input, batch);
            }
        }
        let dates = (self.by_date[index] && self.dates.len() == micro_batch.size).then_some(self.dates.as_slice());
        let call = call(
            &program,
            (&self.operands[index], dates),
            (self.seed, self.half, self.scalars[index]),
            index,
            micro_batch,
        );
        let views = self.arena.views(&reads[..count + 3], &writes[..=count]);
        let mut inputs: [&[f32]; MOST_OPERANDS] = [&[]; MOST_OPERANDS];
        for (operand, input) in node.inputs.iter().enumerate() {
            if reads_operand[operand] {
                inputs[operand] = match program.parameter_index(*input) {
                    Some(parameter) => parameter_slice(&program, parameters, parameter),
                    None => views.reads[operand],
                };
            }
        }
        let mut input_grads: [&mut [f32]; MOST_OPERANDS] = std::array::from_fn(|_| Default::default());
        let [scratch, into @ ..] = views.writes;
        for (gradient, into) in input_grads.iter_mut().zip(into) {
            *gradient = into;
        }
        // Parameter gradients lie in one slice, which is split in the order of the parameters, that of their offsets.
        let mut added: Vec<(usize, usize)> = node
            .inputs
            .iter()
            .enumerate()
            .filter(|(operand, _)| adds_grad[*operand])
            .filter_map(|(operand, input)| program.parameter_index(*input).map(|parameter| (parameter, operand)))
            .collect();
        added.sort_unstable();
        let (mut rest, mut start) = (gradients, 0);
        for (parameter, operand) in added {
            let parameter = &program.parameters()[parameter];
            let (_, from) = rest.split_at_mut(parameter.offset - start);
            let (gradient, behind) = from.split_at_mut(parameter.count());
            input_grads[operand] = gradient;
            start = parameter.offset + parameter.count();
            rest = behind;
        }
        node.op.cpu().backward(&mut Backward {
            call,
            inputs: &inputs[..count],
            output: views.reads[count],
            saved: views.reads[count + 1],
            scratch,
            output_grad: views.reads[count + 2],
            input_grads: &mut input_grads[..count],
        });
        for (operand, input) in node.inputs.iter().enumerate() {
            // Gradients are in the precision of their values, but parameter gradients stay in single precision.
            if program.values[input.0].dtype == Dtype::F16 {
                round_to_half(self.arena.write(writes[operand + 1].clone()));
            }
        }
    }
}

/// Describes the first non-finite value, if any.
fn non_finite(values: &[f32]) -> Option<String> {
    values.iter().find(|value| !value.is_finite()).map(ToString::to_string)
}

fn call<'a>(
    program: &'a Program,
    (operands, dates): (&'a [Operand], Option<Dates<'a>>),
    (seed, half, scalar): (u64, bool, f32),
    node: usize,
    micro_batch: MicroBatch,
) -> Call<'a> {
    Call {
        operands,
        output: &program.values[program.nodes[node].output.0].operand,
        batch: micro_batch.size,
        training: micro_batch.training,
        half,
        random: Random::new(seed, node as u32, micro_batch.step),
        offset: micro_batch.offset,
        scalar,
        dates,
    }
}

/// The range of a buffer in the arena, in elements.
fn elements(buffer: &Buffer) -> Range<usize> {
    buffer.range.start / ELEMENT..buffer.range.end / ELEMENT
}

/// The first `size` elements of a buffer: a micro-batch may be smaller than that of the plan.
fn prefix(buffer: &Buffer, size: usize) -> Range<usize> {
    let Range { start, end } = elements(buffer);
    start..end.min(start + size)
}

/// The elements of a parameter, in the flat vector of parameters or of their gradients.
fn parameter_slice<'a>(program: &Program, values: &'a [f32], parameter: usize) -> &'a [f32] {
    let parameter = &program.parameters()[parameter];
    &values[parameter.offset..][..parameter.count()]
}

#[cfg(test)]
mod tests;
