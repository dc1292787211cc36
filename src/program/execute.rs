//! Runs a program on the CPU: a replica owns its arena and runs both passes over micro-batches.

use std::ops::Range;
use std::sync::Arc;

use super::plan::{Buffer, Plan};
use super::reverse::BackwardNode;
use super::{Dtype, Init, PackedParameters, Program, ValueId};
use crate::device::cpu::{Arena, round_to_half};
use crate::ops::{Backward, Call, Forward, MOST_OPERANDS, Operand, PackedWeights};
use crate::random::Random;

/// First random stream of the parameters. The streams below belong to the nodes, by index.
const PARAMETER_STREAM: u32 = 1 << 30;

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
}

impl Replica {
    /// Allocates the memory of a plan.
    pub fn new(program: Arc<Program>, plan: Arc<Plan>, seed: u64) -> Self {
        let arena = Arena::new(plan.elements());
        let operands = program.nodes.iter().map(|node| program.operands(node)).collect();
        let half = program.is_half();
        Self { program, plan, arena, operands, half, seed }
    }

    /// Draws the initial parameters from the seed of the replica.
    pub fn initial_parameters(&self) -> Vec<f32> {
        let mut out = vec![0.0; self.program.parameter_count()];
        for (parameter, stream) in self.program.parameters().iter().zip(PARAMETER_STREAM..) {
            let random = Random::new(self.seed, stream, 0);
            for (value, position) in out[parameter.offset..][..parameter.count()].iter_mut().zip(0..) {
                *value = match parameter.init {
                    Init::Uniform(bound) => (random.uniform(position) * 2.0 - 1.0) * bound,
                    Init::Constant(value) => value,
                };
            }
        }
        out
    }

    /// The buffer of an input for `batch` samples, `[batch, shape]`, to be filled before a forward pass.
    pub fn input(&mut self, input: usize, batch: usize) -> &mut [f32] {
        let range = self.value_range(self.program.inputs[input].value, batch);
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
        self.arena.len() * size_of::<f32>()
    }

    /// Computes the output of a micro-batch, `[batch, output shape]`, keeping what the backward pass reads.
    ///
    /// # Panics
    /// If the plan is for predictions.
    pub fn forward(&mut self, parameters: &[f32], micro_batch: MicroBatch) -> &[f32] {
        assert!(self.plan.purpose().trains(), "the plan is for predictions with packed parameters");
        self.round_inputs(micro_batch);
        for index in 0..self.program.nodes.len() {
            self.forward_node(parameters, None, micro_batch, index);
        }
        self.output(micro_batch)
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
            let packs = self.program.packs(&self.program.nodes[index]);
            let weights = if packs { packed.get(packed_index) } else { None };
            self.forward_node(parameters, weights, micro_batch, index);
            packed_index += usize::from(packs);
        }
        self.output(micro_batch)
    }

    fn output(&self, micro_batch: MicroBatch) -> &[f32] {
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
        for (index, input) in program.inputs.iter().enumerate() {
            if let Some(value) = non_finite(self.input(index, micro_batch.size)) {
                return Some(format!("input '{}' has {value}", input.name));
            }
        }
        for parameter in &program.parameters {
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
            if is_non_finite && first.is_none() {
                first = Some(format!("op '{}' (%{index}) gave a non-finite gradient", node.op.name()));
            }
        });
        first
    }

    fn round_inputs(&mut self, micro_batch: MicroBatch) {
        for index in 0..self.program.inputs.len() {
            if self.program.values[self.program.inputs[index].value.0].dtype == Dtype::F16 {
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
            plan.saved[index].range.clone(),
            plan.scratch[index][0].range.clone(),
        ];
        let call = call(&program, &self.operands[index], (self.seed, self.half), index, micro_batch);
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
        node.op.forward(&mut Forward { call, inputs, output, saved, scratch, packed });
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
        self.backward_with(parameters, output_grad, gradients, micro_batch, &mut |_, _, _| ());
    }

    /// [`Replica::backward`]; calls `after` with the index of each node after its gradients were computed.
    fn backward_with(
        &mut self,
        parameters: &[f32],
        output_grad: &[f32],
        gradients: &mut [f32],
        micro_batch: MicroBatch,
        after: &mut dyn FnMut(&Self, usize, &[f32]),
    ) {
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
            after(self, backward_node.node, gradients);
        }
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
        reads[count + 1] = plan.saved[index].range.clone();
        reads[count + 2] = self.gradient_range(node.output, batch);
        let mut writes: [_; MOST_OPERANDS + 1] = std::array::from_fn(|_| 0..0);
        writes[0] = plan.scratch[index][1].range.clone();
        for (operand, input) in node.inputs.iter().enumerate() {
            if adds_grad[operand] && program.parameter_index(*input).is_none() {
                writes[operand + 1] = self.gradient_range(*input, batch);
            }
        }
        let call = call(&program, &self.operands[index], (self.seed, self.half), index, micro_batch);
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
            let parameter = &program.parameters[parameter];
            let (_, from) = rest.split_at_mut(parameter.offset - start);
            let (gradient, behind) = from.split_at_mut(parameter.count());
            input_grads[operand] = gradient;
            start = parameter.offset + parameter.count();
            rest = behind;
        }
        node.op.backward(&mut Backward {
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
    operands: &'a [Operand],
    (seed, half): (u64, bool),
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
    }
}

/// The first `size` elements of a buffer: a micro-batch may be smaller than that of the plan.
fn prefix(buffer: &Buffer, size: usize) -> Range<usize> {
    let start = buffer.range.start;
    start..start + size.min(buffer.count)
}

/// The elements of a parameter, in the flat vector of parameters or of their gradients.
fn parameter_slice<'a>(program: &Program, values: &'a [f32], parameter: usize) -> &'a [f32] {
    let parameter = &program.parameters[parameter];
    &values[parameter.offset..][..parameter.count()]
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::{Builder, Plan, Precision, Program, Purpose};
    use super::{MicroBatch, Replica};
    use crate::ops::{Activation, Arithmetic, Reduction};
    use crate::random::Random;

    const BATCH: usize = 6;

    /// A two-layer LSTM with dropout, attention, a residual connection, layer normalisation and a masked softmax.
    fn network() -> Program {
        let mut builder = Builder::new();
        let (x, mask) = (builder.input("x", &[5, 3]).unwrap(), builder.input("mask", &[4]).unwrap());
        let first = builder.lstm("lstm.0", x, 8).unwrap();
        let dropped = builder.dropout(first, 0.3).unwrap();
        let second = builder.lstm("lstm.1", dropped, 8).unwrap();
        let attended = builder.attention("attention", second, 2).unwrap();
        let sum = builder.arithmetic(Arithmetic::Add, attended, second).unwrap();
        let normal = builder.layer_norm("norm", sum).unwrap();
        let square = builder.arithmetic(Arithmetic::Multiply, normal, normal).unwrap();
        let mean = builder.reduce(Reduction::Mean, 0, square).unwrap();
        let activated = builder.activation(mean, Activation::Tanh).unwrap();
        let logits = builder.linear("head", activated, 4).unwrap();
        let weights = builder.masked_softmax(logits, mask).unwrap();
        builder.finish(weights).unwrap()
    }

    fn draw(stream: u32, count: usize) -> Vec<f32> {
        (0..count as u64).map(|position| Random::new(11, stream, 0).uniform(position) * 2.0 - 1.0).collect()
    }

    struct BatchResult {
        output: Vec<f32>,
        gradients: Vec<f32>,
    }

    /// Runs both passes over the whole batch in micro-batches of `size` samples.
    fn run_passes(program: &Arc<Program>, plan: &Arc<Plan>, parameters: &[f32], size: usize) -> BatchResult {
        let mut replica = Replica::new(Arc::clone(program), Arc::clone(plan), 3);
        let (x, output_grad) = (draw(1, BATCH * 15), draw(2, BATCH * 4));
        let mask: Vec<f32> = (0..BATCH * 4).map(|index| f32::from(u8::from(index % 5 != 2))).collect();
        let mut out = BatchResult { output: Vec::new(), gradients: vec![0.0; program.parameter_count()] };
        for offset in (0..BATCH).step_by(size) {
            let size = size.min(BATCH - offset);
            let micro_batch = MicroBatch { size, offset, training: true, step: 4 };
            replica.input(0, size).copy_from_slice(&x[offset * 15..][..size * 15]);
            replica.input(1, size).copy_from_slice(&mask[offset * 4..][..size * 4]);
            if plan.purpose().trains() {
                out.output.extend_from_slice(replica.forward(parameters, micro_batch));
                let output_grad = &output_grad[offset * 4..][..size * 4];
                replica.backward(parameters, output_grad, &mut out.gradients, micro_batch);
            } else {
                out.output.extend_from_slice(replica.predict(parameters, &program.pack(parameters), micro_batch));
            }
        }
        out
    }

    fn network_and_parameters() -> (Arc<Program>, Vec<f32>) {
        let program = Arc::new(network());
        let plan = Arc::new(program.plan(Purpose::Train, BATCH));
        let parameters = Replica::new(Arc::clone(&program), plan, 3).initial_parameters();
        (program, parameters)
    }

    fn bits(values: &[f32]) -> Vec<u32> {
        values.iter().map(|value| value.to_bits()).collect()
    }

    #[test]
    fn gradients_equal_central_differences_of_the_loss() {
        let (program, mut parameters) = network_and_parameters();
        let plan = Arc::new(program.plan(Purpose::Train, BATCH));
        let output_grad = draw(2, BATCH * 4);
        let ours = run_passes(&program, &plan, &parameters, BATCH).gradients;
        let mut checked = 0;
        for parameter in program.parameters() {
            for element in (0..parameter.count()).step_by(parameter.count().div_ceil(7)) {
                const STEP: f32 = 1e-2;
                let index = parameter.offset + element;
                let value = parameters[index];
                let mut loss = |value: f32| -> f64 {
                    parameters[index] = value;
                    let output = run_passes(&program, &plan, &parameters, BATCH).output;
                    output.iter().zip(&output_grad).map(|(value, grad)| f64::from(value * grad)).sum()
                };
                let slope = (loss(value + STEP) - loss(value - STEP)) / f64::from(2.0 * STEP);
                parameters[index] = value;
                let error = (f64::from(ours[index]) - slope).abs();
                assert!(
                    error < 2e-4 + 0.01 * slope.abs(),
                    "{} {element}: {}, expected {slope}",
                    parameter.name,
                    ours[index]
                );
                checked += 1;
            }
        }
        assert!(checked > 80, "{checked}");
    }

    #[test]
    fn sharing_memory_does_not_change_the_bits() {
        let (program, parameters) = network_and_parameters();
        let shared = Arc::new(program.plan(Purpose::Train, BATCH));
        let separate = Arc::new(program.plan(Purpose::Train, BATCH).without_sharing());
        assert!(shared.elements() * 10 < separate.elements() * 9, "{} {}", shared.elements(), separate.elements());
        let (one, two) =
            (run_passes(&program, &shared, &parameters, BATCH), run_passes(&program, &separate, &parameters, BATCH));
        assert_eq!((bits(&one.output), bits(&one.gradients)), (bits(&two.output), bits(&two.gradients)));
    }

    #[test]
    fn a_prediction_gives_the_same_bits_in_less_memory() {
        let (program, parameters) = network_and_parameters();
        let train = Arc::new(program.plan(Purpose::Train, BATCH));
        let predict = Arc::new(program.plan(Purpose::Predict, BATCH));
        assert!(predict.elements() * 2 < train.elements(), "{} {}", predict.elements(), train.elements());
        let (one, two) =
            (run_passes(&program, &train, &parameters, BATCH), run_passes(&program, &predict, &parameters, BATCH));
        assert_eq!(bits(&one.output), bits(&two.output));
    }

    #[test]
    fn packing_in_half_precision_keeps_the_bits_and_halves_the_bytes() {
        let single = Arc::new(network());
        let half = Arc::new(network().with_precision(Precision::Fp16));
        let master = Replica::new(Arc::clone(&half), Arc::new(half.plan(Purpose::Predict, 1)), 3).initial_parameters();
        let mut parameters = master.clone();
        half.cast_parameters(&master, &mut parameters);
        let plan = |purpose| Arc::new(half.plan(purpose, BATCH));
        let (train, predict) = (plan(Purpose::Train), plan(Purpose::Predict));
        for size in [1, BATCH] {
            let (one, two) =
                (run_passes(&half, &train, &parameters, size), run_passes(&half, &predict, &parameters, size));
            assert_eq!(bits(&one.output), bits(&two.output));
        }
        let (whole, less) = (single.pack(&master).bytes(), half.pack(&parameters).bytes());
        assert!(less * 10 < whole * 6, "{less} {whole}");
    }

    #[test]
    fn packed_parameters_match_programs_that_pack_the_same() {
        let (program, parameters) = network_and_parameters();
        let packed = program.pack(&parameters);
        assert!(packed.matches(&program) && packed.matches(&network()));
        let other = |layers: usize, hidden: usize| {
            let mut builder = Builder::new();
            let mut x = builder.input("x", &[5, 3]).unwrap();
            for layer in 0..layers {
                x = builder.lstm(&format!("lstm.{layer}"), x, hidden).unwrap();
            }
            builder.finish(x).unwrap()
        };
        assert!(packed.matches(&other(2, 8)));
        for (layers, hidden) in [(1, 8), (3, 8), (2, 9)] {
            assert!(!packed.matches(&other(layers, hidden)), "{layers} {hidden}");
        }
    }

    #[test]
    fn recomputation_gives_the_same_bits_in_less_memory() {
        let (program, parameters) = network_and_parameters();
        let save = Arc::new(program.plan(Purpose::Train, BATCH));
        let recompute = Arc::new(program.plan(Purpose::TrainRecompute, BATCH));
        let one = run_passes(&program, &save, &parameters, BATCH);
        let two = run_passes(&program, &recompute, &parameters, BATCH);
        assert_eq!((bits(&one.output), bits(&one.gradients)), (bits(&two.output), bits(&two.gradients)));
        // A block of sequences is recomputed at a time, so it only saves memory with many sequences.
        let elements = |purpose| program.plan(purpose, 400).elements();
        let (save, recompute) = (elements(Purpose::Train), elements(Purpose::TrainRecompute));
        assert!(recompute * 10 < save * 9, "{recompute} {save}");
    }

    #[test]
    fn micro_batches_give_the_same_outputs_and_the_same_gradients_to_rounding() {
        let (program, parameters) = network_and_parameters();
        let plan = |batch| Arc::new(program.plan(Purpose::Train, batch));
        let whole = run_passes(&program, &plan(BATCH), &parameters, BATCH);
        for size in [1, 2, 4] {
            let parts = run_passes(&program, &plan(size), &parameters, size);
            assert_eq!(bits(&parts.output), bits(&whole.output), "{size}");
            let error = |one: &f32, two: &f32| (one - two).abs() / (1e-3 + two.abs());
            let worst = parts.gradients.iter().zip(&whole.gradients).map(|(a, b)| error(a, b)).fold(0.0, f32::max);
            assert!(worst < 1e-4, "{size}: {worst}");
        }
    }

    #[test]
    fn the_plan_counts_the_bytes_that_are_allocated() {
        let program = Arc::new(network());
        for (batch, stack) in [(1, 1), (6, 1), (32, 4)] {
            let plan = Arc::new(program.plan(Purpose::Train, batch));
            let replicas: Vec<Replica> =
                (0..stack).map(|seed| Replica::new(Arc::clone(&program), Arc::clone(&plan), seed)).collect();
            let arenas: usize = replicas.iter().map(|replica| replica.arena.len() * 4).sum();
            let parameters: usize = replicas.iter().map(|replica| replica.initial_parameters().len() * 4).sum();
            // Each replica has parameters and their gradients.
            assert_eq!(plan.bytes(stack as usize), arenas + 2 * parameters);
        }
    }
}
