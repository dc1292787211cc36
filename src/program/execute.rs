//! Running a program on the processor: one replica, its arena and the passes over a micro-batch.

use std::sync::Arc;

use super::plan::{Piece, Plan};
use super::{Dtype, Init, PackedParameters, Program, ValueId};
use crate::device::cpu::{Arena, round_to_half};
use crate::ops::{Backward, Call, Forward, MOST_OPERANDS, Operand, PackedWeights};
use crate::random::Random;

/// Streams of random numbers below this one belong to ops, by their node.
const PARAMETER_STREAM: u32 = 1 << 30;

/// What changes from one micro-batch to the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// Samples, at most those of the plan.
    pub batch: usize,
    /// The place of the first one in the whole batch.
    pub first: usize,
    /// Whether the network is being trained: dropout drops.
    pub training: bool,
    /// The number of the optimiser's step, for random numbers.
    pub number: u32,
}

/// One of a stack of networks of equal shape: its memory, and the seed of its random numbers.
pub struct Replica {
    program: Arc<Program>,
    plan: Arc<Plan>,
    arena: Arena,
    /// What every node is called with.
    operands: Vec<Vec<Operand>>,
    half: bool,
    seed: u64,
}

impl Replica {
    /// Takes the memory of a plan.
    pub fn new(program: Arc<Program>, plan: Arc<Plan>, seed: u64) -> Self {
        let arena = Arena::new(plan.numbers());
        let operands = program.nodes.iter().map(|node| program.operands(node)).collect();
        let half = program.is_half();
        Self { program, plan, arena, operands, half, seed }
    }

    /// Parameters as they begin, with the replica's seed.
    pub fn initial_parameters(&self) -> Vec<f32> {
        let mut out = vec![0.0; self.program.parameter_count()];
        for (place, parameter) in self.program.parameters().iter().enumerate() {
            let random = Random::new(self.seed, PARAMETER_STREAM + place as u32, 0);
            for (at, number) in out[parameter.offset..][..parameter.count()].iter_mut().enumerate() {
                *number = match parameter.init {
                    Init::Uniform(bound) => (random.uniform(at as u64) * 2.0 - 1.0) * bound,
                    Init::Constant(value) => value,
                };
            }
        }
        out
    }

    /// Where an input of `batch` samples is written to, `[batch, shape]`, before [`Replica::forward`].
    pub fn input(&mut self, input: usize, batch: usize) -> &mut [f32] {
        let value = self.program.inputs[input].value;
        let size = self.program.values[value.0].operand.size(batch);
        self.arena.write(part(&self.plan.values[value.0], size))
    }

    fn size(&self, value: ValueId, batch: usize) -> usize {
        self.program.values[value.0].operand.size(batch)
    }

    /// Bytes of its arena.
    pub fn bytes(&self) -> usize {
        self.arena.len() * size_of::<f32>()
    }

    /// Computes the output of a micro-batch, `[batch, output shape]`.
    ///
    /// # Panics
    /// Where the plan is one for predictions: a fault of the caller.
    pub fn forward(&mut self, parameters: &[f32], step: Step) -> &[f32] {
        assert!(self.plan.purpose().trains(), "this plan is for parameters that were packed");
        self.round_inputs(step);
        for at in 0..self.program.nodes.len() {
            self.node(parameters, None, step, at);
        }
        self.output(step)
    }

    /// The same bits with parameters that were packed beforehand, of which `packed` was made. Takes no memory, but for what
    /// large products take.
    ///
    /// # Panics
    /// Where the plan is not one for predictions, or `packed` is of another program: a fault of the caller.
    pub fn predict(&mut self, parameters: &[f32], packed: &PackedParameters, step: Step) -> &[f32] {
        assert!(!self.plan.purpose().trains() && packed.fits(&self.program), "nothing was packed for this");
        self.round_inputs(step);
        let mut place = 0;
        for at in 0..self.program.nodes.len() {
            let packs = self.program.packs(&self.program.nodes[at]);
            self.node(parameters, if packs { packed.get(place) } else { None }, step, at);
            place += usize::from(packs);
        }
        self.output(step)
    }

    fn output(&self, step: Step) -> &[f32] {
        self.arena.read(part(&self.plan.values[self.program.output.0], self.size(self.program.output, step.batch)))
    }

    /// Goes through both passes of the micro-batch that was filled in, and says in words which input, parameter or op first
    /// gave a number that is none; `gradients` are overwritten.
    pub fn first_fault(
        &mut self,
        parameters: &[f32],
        output_grad: &[f32],
        gradients: &mut [f32],
        step: Step,
    ) -> Option<String> {
        let program = Arc::clone(&self.program);
        self.round_inputs(step);
        for (place, input) in program.inputs.iter().enumerate() {
            if let Some(found) = fault(self.input(place, step.batch)) {
                return Some(format!("input '{}' has {found}", input.name));
            }
        }
        for parameter in &program.parameters {
            if let Some(found) = fault(&parameters[parameter.offset..][..parameter.count()]) {
                return Some(format!("parameter '{}' has {found}", parameter.name));
            }
        }
        for (at, node) in program.nodes.iter().enumerate() {
            self.node(parameters, None, step, at);
            let place = part(&self.plan.values[node.output.0], self.size(node.output, step.batch));
            if let Some(found) = fault(self.arena.read(place)) {
                return Some(format!("op '{}' (%{at}) gave {found}", node.op.name()));
            }
        }
        if let Some(found) = fault(output_grad) {
            return Some(format!("the slope of the loss is {found}"));
        }
        gradients.fill(0.0);
        let mut first = None;
        self.backward_watched(parameters, output_grad, gradients, step, &mut |replica, node, gradients| {
            let forward = &program.nodes[node];
            let bad = forward.inputs.iter().any(|input| {
                let of_parameter = program.is_parameter(*input).map(|place| {
                    let parameter = &program.parameters[place];
                    &gradients[parameter.offset..][..parameter.count()]
                });
                let piece = part(&replica.plan.gradients[input.0], replica.size(*input, step.batch));
                fault(of_parameter.unwrap_or_else(|| replica.arena.read(piece))).is_some()
            });
            if bad && first.is_none() {
                first = Some(format!("op '{}' (%{node}) gave a gradient that is no number", forward.op.name()));
            }
        });
        first
    }

    fn round_inputs(&mut self, step: Step) {
        for place in 0..self.program.inputs.len() {
            if self.program.values[self.program.inputs[place].value.0].dtype == Dtype::F16 {
                round_to_half(self.input(place, step.batch));
            }
        }
    }

    /// One op forward.
    fn node(&mut self, parameters: &[f32], packed: Option<&PackedWeights>, step: Step, at: usize) {
        let (program, plan) = (Arc::clone(&self.program), Arc::clone(&self.plan));
        let node = &program.nodes[at];
        {
            let mut reads: [_; MOST_OPERANDS] = std::array::from_fn(|_| 0..0);
            for (read, input) in reads.iter_mut().zip(&node.inputs) {
                *read = part(&plan.values[input.0], self.size(*input, step.batch));
            }
            let writes = [
                part(&plan.values[node.output.0], self.size(node.output, step.batch)),
                plan.saved[at].place.clone(),
                plan.scratch[at][0].place.clone(),
            ];
            let call = call(&program, &self.operands[at], (self.seed, self.half), at, step);
            let views = self.arena.views(&reads[..node.inputs.len()], &writes);
            let mut inputs: [&[f32]; MOST_OPERANDS] = [&[]; MOST_OPERANDS];
            for (place, input) in node.inputs.iter().enumerate() {
                inputs[place] = match program.is_parameter(*input) {
                    Some(parameter) => numbers(&program, parameters, parameter),
                    None => views.reads[place],
                };
            }
            let [output, saved, scratch, ..] = views.writes;
            let inputs = &inputs[..node.inputs.len()];
            node.op.forward(&mut Forward { call, inputs, output, saved, scratch, packed });
            if program.values[node.output.0].dtype == Dtype::F16 {
                round_to_half(output);
            }
        }
    }

    /// The backward pass of the micro-batch that [`Replica::forward`] has just computed: adds to `gradients`, laid out as the
    /// parameters, from the loss's gradient with respect to the output, `[batch, output shape]`.
    ///
    /// # Panics
    /// Where the plan is not one for training: a fault of the caller.
    pub fn backward(&mut self, parameters: &[f32], output_grad: &[f32], gradients: &mut [f32], step: Step) {
        self.backward_watched(parameters, output_grad, gradients, step, &mut |_, _, _| ());
    }

    /// The same; `after` is told each node when its gradients are there.
    fn backward_watched(
        &mut self,
        parameters: &[f32],
        output_grad: &[f32],
        gradients: &mut [f32],
        step: Step,
        after: &mut dyn FnMut(&Self, usize, &[f32]),
    ) {
        let (program, plan) = (Arc::clone(&self.program), Arc::clone(&self.plan));
        assert!(plan.purpose().trains(), "this plan has no backward pass");
        let last = part(&plan.gradients[program.output.0], self.size(program.output, step.batch));
        self.arena.write(last).copy_from_slice(output_grad);
        let mut begun = vec![false; program.values.len()];
        begun[program.output.0] = true;
        for back in &plan.reverse {
            let node = &program.nodes[back.node];
            if !begun[node.output.0] {
                continue;
            }
            // A gradient that is added to for the first time begins at 0.
            for (place, input) in node.inputs.iter().enumerate() {
                if back.adds[place] && program.is_parameter(*input).is_none() && !begun[input.0] {
                    begun[input.0] = true;
                    let place = part(&plan.gradients[input.0], self.size(*input, step.batch));
                    self.arena.write(place).fill(0.0);
                }
            }
            self.back(&program, &plan, back, parameters, gradients, step);
            after(self, back.node, gradients);
        }
    }

    fn back(
        &mut self,
        program: &Program,
        plan: &Plan,
        back: &super::reverse::Back,
        parameters: &[f32],
        gradients: &mut [f32],
        step: Step,
    ) {
        let node = &program.nodes[back.node];
        let count = node.inputs.len();
        let mut reads: [_; MOST_OPERANDS + 3] = std::array::from_fn(|_| 0..0);
        for (place, input) in node.inputs.iter().enumerate() {
            if back.reads[place] {
                reads[place] = part(&plan.values[input.0], self.size(*input, step.batch));
            }
        }
        if back.reads_output {
            reads[count] = part(&plan.values[node.output.0], self.size(node.output, step.batch));
        }
        reads[count + 1] = plan.saved[back.node].place.clone();
        reads[count + 2] = part(&plan.gradients[node.output.0], self.size(node.output, step.batch));
        let mut writes: [_; MOST_OPERANDS + 1] = std::array::from_fn(|_| 0..0);
        writes[0] = plan.scratch[back.node][1].place.clone();
        for (place, input) in node.inputs.iter().enumerate() {
            if back.adds[place] && program.is_parameter(*input).is_none() {
                writes[place + 1] = part(&plan.gradients[input.0], self.size(*input, step.batch));
            }
        }
        let call = call(program, &self.operands[back.node], (self.seed, self.half), back.node, step);
        let views = self.arena.views(&reads[..count + 3], &writes[..=count]);
        let mut inputs: [&[f32]; MOST_OPERANDS] = [&[]; MOST_OPERANDS];
        for (place, input) in node.inputs.iter().enumerate() {
            if back.reads[place] {
                inputs[place] = match program.is_parameter(*input) {
                    Some(parameter) => numbers(program, parameters, parameter),
                    None => views.reads[place],
                };
            }
        }
        let mut adds: [&mut [f32]; MOST_OPERANDS] = std::array::from_fn(|_| Default::default());
        let [scratch, into @ ..] = views.writes;
        for (add, into) in adds.iter_mut().zip(into) {
            *add = into;
        }
        // Parameters' gradients lie in one block in the order of their offsets, so taking them in that order splits it.
        let mut wanted: Vec<(usize, usize)> = node
            .inputs
            .iter()
            .enumerate()
            .filter(|(place, _)| back.adds[*place])
            .filter_map(|(place, input)| program.is_parameter(*input).map(|parameter| (parameter, place)))
            .collect();
        wanted.sort_unstable();
        let (mut rest, mut at) = (gradients, 0);
        for (parameter, place) in wanted {
            let parameter = &program.parameters[parameter];
            let (_, from) = rest.split_at_mut(parameter.offset - at);
            let (mine, behind) = from.split_at_mut(parameter.count());
            adds[place] = mine;
            at = parameter.offset + parameter.count();
            rest = behind;
        }
        node.op.backward(&mut Backward {
            call,
            inputs: &inputs[..count],
            output: views.reads[count],
            saved: views.reads[count + 1],
            scratch,
            gradient: views.reads[count + 2],
            gradients: &mut adds[..count],
        });
        for (place, input) in node.inputs.iter().enumerate() {
            // Gradients flow in the precision of their values; those of parameters are summed in single precision.
            if program.values[input.0].dtype == Dtype::F16 {
                round_to_half(self.arena.write(writes[place + 1].clone()));
            }
        }
    }
}

/// The first number of a list that is none, in words.
fn fault(numbers: &[f32]) -> Option<String> {
    numbers.iter().find(|value| !value.is_finite()).map(ToString::to_string)
}

fn call<'a>(
    program: &'a Program,
    operands: &'a [Operand],
    (seed, half): (u64, bool),
    node: usize,
    step: Step,
) -> Call<'a> {
    Call {
        operands,
        output: &program.values[program.nodes[node].output.0].operand,
        batch: step.batch,
        training: step.training,
        half,
        random: Random::new(seed, node as u32, step.number),
        first: step.first,
    }
}

/// The first `size` numbers of a piece: a micro-batch may be smaller than the plan's.
fn part(piece: &Piece, size: usize) -> std::ops::Range<usize> {
    let start = piece.place.start;
    start..start + size.min(piece.count)
}

fn numbers<'a>(program: &Program, parameters: &'a [f32], parameter: usize) -> &'a [f32] {
    let parameter = &program.parameters[parameter];
    &parameters[parameter.offset..][..parameter.count()]
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::{Builder, Plan, Precision, Program, Purpose};
    use super::{Replica, Step};
    use crate::ops::{Activation, Arithmetic, Reduction};
    use crate::random::Random;

    const BATCH: usize = 6;

    /// An LSTM of two layers with dropout and attention, a residual, a norm, and weights over members.
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
        let bent = builder.activation(mean, Activation::Tanh).unwrap();
        let logits = builder.linear("head", bent, 4).unwrap();
        let weights = builder.masked_softmax(logits, mask).unwrap();
        builder.finish(weights).unwrap()
    }

    fn draw(stream: u32, count: usize) -> Vec<f32> {
        (0..count as u64).map(|place| Random::new(11, stream, 0).uniform(place) * 2.0 - 1.0).collect()
    }

    struct Outcome {
        output: Vec<f32>,
        gradients: Vec<f32>,
    }

    /// Both passes over the whole batch, cut in micro-batches of `cut`, with a plan for `planned` samples.
    fn passes(program: &Arc<Program>, plan: &Arc<Plan>, parameters: &[f32], cut: usize) -> Outcome {
        let mut replica = Replica::new(Arc::clone(program), Arc::clone(plan), 3);
        let (x, output_grad) = (draw(1, BATCH * 15), draw(2, BATCH * 4));
        let mask: Vec<f32> = (0..BATCH * 4).map(|place| f32::from(u8::from(place % 5 != 2))).collect();
        let mut out = Outcome { output: Vec::new(), gradients: vec![0.0; program.parameter_count()] };
        for first in (0..BATCH).step_by(cut) {
            let batch = cut.min(BATCH - first);
            let step = Step { batch, first, training: true, number: 4 };
            replica.input(0, batch).copy_from_slice(&x[first * 15..][..batch * 15]);
            replica.input(1, batch).copy_from_slice(&mask[first * 4..][..batch * 4]);
            if plan.purpose().trains() {
                out.output.extend_from_slice(replica.forward(parameters, step));
                replica.backward(parameters, &output_grad[first * 4..][..batch * 4], &mut out.gradients, step);
            } else {
                out.output.extend_from_slice(replica.predict(parameters, &program.pack(parameters), step));
            }
        }
        out
    }

    fn prepared() -> (Arc<Program>, Vec<f32>) {
        let program = Arc::new(network());
        let plan = Arc::new(program.plan(Purpose::Train, BATCH));
        let parameters = Replica::new(Arc::clone(&program), plan, 3).initial_parameters();
        (program, parameters)
    }

    fn bits(values: &[f32]) -> Vec<u32> {
        values.iter().map(|value| value.to_bits()).collect()
    }

    #[test]
    fn gradients_are_the_slopes_of_the_loss() {
        let (program, mut parameters) = prepared();
        let plan = Arc::new(program.plan(Purpose::Train, BATCH));
        let output_grad = draw(2, BATCH * 4);
        let ours = passes(&program, &plan, &parameters, BATCH).gradients;
        let mut checked = 0;
        for parameter in program.parameters() {
            for place in (0..parameter.count()).step_by(parameter.count().div_ceil(7)) {
                const STEP: f32 = 1e-2;
                let at = parameter.offset + place;
                let middle = parameters[at];
                let mut loss = |value: f32| -> f64 {
                    parameters[at] = value;
                    let output = passes(&program, &plan, &parameters, BATCH).output;
                    output.iter().zip(&output_grad).map(|(value, weight)| f64::from(value * weight)).sum()
                };
                let slope = (loss(middle + STEP) - loss(middle - STEP)) / f64::from(2.0 * STEP);
                parameters[at] = middle;
                let apart = (f64::from(ours[at]) - slope).abs();
                assert!(
                    apart < 2e-4 + 0.01 * slope.abs(),
                    "{} {place}: {}, expected {slope}",
                    parameter.name,
                    ours[at]
                );
                checked += 1;
            }
        }
        assert!(checked > 80, "{checked}");
    }

    #[test]
    fn shared_memory_changes_no_bit() {
        let (program, parameters) = prepared();
        let shared = Arc::new(program.plan(Purpose::Train, BATCH));
        let apart = Arc::new(program.plan(Purpose::Train, BATCH).with_a_place_each());
        assert!(shared.numbers() * 10 < apart.numbers() * 9, "{} {}", shared.numbers(), apart.numbers());
        let (one, two) = (passes(&program, &shared, &parameters, BATCH), passes(&program, &apart, &parameters, BATCH));
        assert_eq!((bits(&one.output), bits(&one.gradients)), (bits(&two.output), bits(&two.gradients)));
    }

    #[test]
    fn a_forward_pass_alone_gives_the_same_bits_in_less_memory() {
        let (program, parameters) = prepared();
        let train = Arc::new(program.plan(Purpose::Train, BATCH));
        let predict = Arc::new(program.plan(Purpose::Predict, BATCH));
        assert!(predict.numbers() * 2 < train.numbers(), "{} {}", predict.numbers(), train.numbers());
        let (one, two) = (passes(&program, &train, &parameters, BATCH), passes(&program, &predict, &parameters, BATCH));
        assert_eq!(bits(&one.output), bits(&two.output));
    }

    #[test]
    fn packed_halves_give_the_bits_of_rounded_parameters_in_half_the_bytes() {
        let single = Arc::new(network());
        let half = Arc::new(network().with_precision(Precision::Fp16));
        let master = Replica::new(Arc::clone(&half), Arc::new(half.plan(Purpose::Predict, 1)), 3).initial_parameters();
        let mut parameters = master.clone();
        half.cast_parameters(&master, &mut parameters);
        let plan = |purpose| Arc::new(half.plan(purpose, BATCH));
        let (train, predict) = (plan(Purpose::Train), plan(Purpose::Predict));
        for cut in [1, BATCH] {
            let (one, two) = (passes(&half, &train, &parameters, cut), passes(&half, &predict, &parameters, cut));
            assert_eq!(bits(&one.output), bits(&two.output));
        }
        let (whole, less) = (single.pack(&master).bytes(), half.pack(&parameters).bytes());
        assert!(less * 10 < whole * 6, "{less} {whole}");
    }

    #[test]
    fn packed_parameters_fit_programs_that_pack_the_same() {
        let (program, parameters) = prepared();
        let packed = program.pack(&parameters);
        assert!(packed.fits(&program) && packed.fits(&network()));
        let other = |layers: usize, hidden: usize| {
            let mut builder = Builder::new();
            let mut x = builder.input("x", &[5, 3]).unwrap();
            for layer in 0..layers {
                x = builder.lstm(&format!("lstm.{layer}"), x, hidden).unwrap();
            }
            builder.finish(x).unwrap()
        };
        assert!(packed.fits(&other(2, 8)));
        for (layers, hidden) in [(1, 8), (3, 8), (2, 9)] {
            assert!(!packed.fits(&other(layers, hidden)), "{layers} {hidden}");
        }
    }

    #[test]
    fn what_is_computed_again_has_the_same_bits_in_less_memory() {
        let (program, parameters) = prepared();
        let kept = Arc::new(program.plan(Purpose::Train, BATCH));
        let again = Arc::new(program.plan(Purpose::TrainRecompute, BATCH));
        let (one, two) = (passes(&program, &kept, &parameters, BATCH), passes(&program, &again, &parameters, BATCH));
        assert_eq!((bits(&one.output), bits(&one.gradients)), (bits(&two.output), bits(&two.gradients)));
        // A block of sequences is computed again at a time, so that it pays with many of them.
        let numbers = |purpose| program.plan(purpose, 400).numbers();
        let (kept, again) = (numbers(Purpose::Train), numbers(Purpose::TrainRecompute));
        assert!(again * 10 < kept * 9, "{again} {kept}");
    }

    #[test]
    fn micro_batches_give_the_same_outputs_and_the_same_gradients_to_rounding() {
        let (program, parameters) = prepared();
        let plan = |batch| Arc::new(program.plan(Purpose::Train, batch));
        let whole = passes(&program, &plan(BATCH), &parameters, BATCH);
        for cut in [1, 2, 4] {
            let parts = passes(&program, &plan(cut), &parameters, cut);
            assert_eq!(bits(&parts.output), bits(&whole.output), "{cut}");
            let apart = |one: &f32, two: &f32| (one - two).abs() / (1e-3 + two.abs());
            let worst = parts.gradients.iter().zip(&whole.gradients).map(|(a, b)| apart(a, b)).fold(0.0, f32::max);
            assert!(worst < 1e-4, "{cut}: {worst}");
        }
    }

    #[test]
    fn the_plan_counts_what_is_taken() {
        let program = Arc::new(network());
        for (batch, stack) in [(1, 1), (6, 1), (32, 4)] {
            let plan = Arc::new(program.plan(Purpose::Train, batch));
            let replicas: Vec<Replica> =
                (0..stack).map(|seed| Replica::new(Arc::clone(&program), Arc::clone(&plan), seed)).collect();
            let arenas: usize = replicas.iter().map(|replica| replica.arena.len() * 4).sum();
            let parameters: usize = replicas.iter().map(|replica| replica.initial_parameters().len() * 4).sum();
            // Each replica's parameters stand beside their gradients.
            assert_eq!(plan.bytes(stack as usize), arenas + 2 * parameters);
        }
    }
}
