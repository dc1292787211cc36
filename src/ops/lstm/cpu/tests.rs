//! Compares the kernels with the definition in double precision, at every SIMD level of the machine.

use pulp::Arch;

use super::dates::DateRows;
use super::{
    BLOCK, LstmArguments, LstmGradients, LstmPackedWeights, LstmShape, LstmWeights, backward_at, forward_at, predict_at,
};
use crate::device::cpu::simd::levels;
use crate::random::Random;

/// Blocks of one and of several sequences, sums shorter and longer than a vector, several time blocks, and input
/// projections in one pass and in several.
const SHAPES: [(usize, usize, usize, usize); 8] = [
    (1, 1, 1, 1),
    (1, 3, 2, 1),
    (2, 65, 3, 5),
    (3, 70, 1, 16),
    (7, 4, 5, 18),
    (13, 5, 67, 70),
    (50, 6, 33, 20),
    (97, 3, 20, 64),
];

struct Problem {
    shape: LstmShape,
    x: Vec<f32>,
    input: Vec<f32>,
    recurrent: Vec<f32>,
    biases: [Vec<f32>; 2],
    output_grad: Vec<f32>,
    half: bool,
}

fn problem((sequences, steps, inputs, hidden): (usize, usize, usize, usize)) -> Problem {
    let draw = |stream: u32, count: usize, size: f32| -> Vec<f32> {
        let random = Random::new(4, stream, 0);
        (0..count as u64).map(|position| (random.uniform(position) * 2.0 - 1.0) * size).collect()
    };
    let bound = 1.0 / (hidden as f32).sqrt();
    Problem {
        shape: LstmShape { sequences, steps, inputs, hidden },
        x: draw(0, sequences * steps * inputs, 1.0),
        input: draw(1, 4 * hidden * inputs, bound),
        recurrent: draw(2, 4 * hidden * hidden, bound),
        biases: [draw(3, 4 * hidden, bound), draw(4, 4 * hidden, bound)],
        output_grad: draw(5, sequences * steps * hidden, 1.0),
        half: false,
    }
}

impl Problem {
    /// The problem with the sequences `first..first + count` only.
    fn part(&self, first: usize, count: usize) -> Self {
        let LstmShape { steps, inputs, hidden, .. } = self.shape;
        Self {
            shape: LstmShape { sequences: count, ..self.shape },
            x: self.x[first * steps * inputs..][..count * steps * inputs].to_vec(),
            input: self.input.clone(),
            recurrent: self.recurrent.clone(),
            biases: self.biases.clone(),
            output_grad: self.output_grad[first * steps * hidden..][..count * steps * hidden].to_vec(),
            half: self.half,
        }
    }

    fn arguments(&self) -> LstmArguments<'_> {
        let biases = [self.biases[0].as_slice(), &self.biases[1]];
        let weights = LstmWeights { input: &self.input, recurrent: &self.recurrent, biases };
        LstmArguments { shape: self.shape, weights, x: &self.x, half: self.half }
    }

    /// The output without a backward pass, with `workspace` elements of scratch.
    fn predict(&self, arch: Arch, workspace: usize) -> Vec<f32> {
        let mut output = vec![f32::NAN; self.output_grad.len()];
        forward_at(arch, self.arguments(), None, &mut output, &mut [], &mut vec![f32::NAN; workspace]);
        output
    }

    /// The output with weights that were packed beforehand.
    fn predict_packed(&self, arch: Arch, packed: &LstmPackedWeights) -> Vec<f32> {
        let (mut output, mut scratch) =
            (vec![f32::NAN; self.output_grad.len()], vec![f32::NAN; self.shape.forward_packed(self.half)]);
        predict_at(arch, self.arguments(), packed, &mut output, &mut scratch);
        output
    }

    /// The problem in half precision: inputs and parameters are rounded to it.
    fn halved(mut self) -> Self {
        let [one, two] = &mut self.biases;
        for values in [&mut self.x, &mut self.input, &mut self.recurrent, one, two] {
            crate::device::cpu::round_to_half(values);
        }
        self.half = true;
        self
    }

    /// Output, and gradients of x, both weights and both biases; each gradient begins at 1.
    fn passes(&self, arch: Arch) -> [Vec<f32>; 6] {
        self.passes_with(arch, true)
    }

    /// [`Problem::passes`]; without `save` the backward pass recomputes gates and cell states.
    fn passes_with(&self, arch: Arch, save: bool) -> [Vec<f32>; 6] {
        let (mut saved, mut output) = (vec![f32::NAN; self.shape.saved()], vec![f32::NAN; self.output_grad.len()]);
        forward_at(arch, self.arguments(), None, &mut output, &mut saved, &mut vec![f32::NAN; self.shape.forward()]);
        let ones = |like: &[f32]| vec![1.0; like.len()];
        let (mut x, mut input, mut recurrent) = (ones(&self.x), ones(&self.input), ones(&self.recurrent));
        let [mut one, mut two] = [ones(&self.biases[0]), ones(&self.biases[1])];
        let gradients =
            LstmGradients { x: &mut x, input: &mut input, recurrent: &mut recurrent, biases: [&mut one, &mut two] };
        let recompute = if save { 0 } else { self.shape.recompute() };
        let mut scratch = vec![f32::NAN; self.shape.backward() + recompute];
        let saved = if save { saved.as_slice() } else { &[] };
        backward_at(arch, (self.arguments(), None, &self.output_grad), (&output, saved), gradients, &mut scratch);
        [output, x, input, recurrent, one, two]
    }

    /// [`Problem::passes`] by the definition, in double precision.
    fn exact(&self) -> [Vec<f64>; 6] {
        let LstmShape { sequences, steps, inputs, hidden } = self.shape;
        let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
        let value = |from: &[f32], index: usize| f64::from(from[index]);
        let mut output = vec![0.0; self.output_grad.len()];
        let (mut x_grad, mut input_grad) = (vec![1.0; self.x.len()], vec![1.0; self.input.len()]);
        let (mut recurrent_grad, mut bias_grad) = (vec![1.0; self.recurrent.len()], vec![1.0; 4 * hidden]);
        for sequence in 0..sequences {
            let row = |step: usize| sequence * steps + step;
            let (mut gates, mut cells) = (vec![vec![0.0; 4 * hidden]; steps], vec![vec![0.0; hidden]; steps + 1]);
            for step in 0..steps {
                for (gate, activated) in gates[step].iter_mut().enumerate() {
                    let mut sum = value(&self.biases[0], gate) + value(&self.biases[1], gate);
                    for k in 0..inputs {
                        sum += value(&self.input, gate * inputs + k) * value(&self.x, row(step) * inputs + k);
                    }
                    for k in (0..hidden).filter(|_| step > 0) {
                        sum += value(&self.recurrent, gate * hidden + k) * output[row(step - 1) * hidden + k];
                    }
                    *activated = if gate / hidden == 2 { sum.tanh() } else { sigmoid(sum) };
                }
                for unit in 0..hidden {
                    let gate = |gate: usize| gates[step][gate * hidden + unit];
                    cells[step + 1][unit] = gate(1) * cells[step][unit] + gate(0) * gate(2);
                    output[row(step) * hidden + unit] = gate(3) * cells[step + 1][unit].tanh();
                }
            }
            let (mut state_grad, mut cell_grads) = (vec![0.0; hidden], vec![0.0; hidden]);
            for step in (0..steps).rev() {
                let mut gate_grads = vec![0.0; 4 * hidden];
                for unit in 0..hidden {
                    let gate = |gate: usize| gates[step][gate * hidden + unit];
                    let tanh_cell = cells[step + 1][unit].tanh();
                    let state = state_grad[unit] + value(&self.output_grad, row(step) * hidden + unit);
                    let cell = cell_grads[unit] + state * gate(3) * (1.0 - tanh_cell * tanh_cell);
                    gate_grads[unit] = cell * gate(2) * gate(0) * (1.0 - gate(0));
                    gate_grads[hidden + unit] = cell * cells[step][unit] * gate(1) * (1.0 - gate(1));
                    gate_grads[2 * hidden + unit] = cell * gate(0) * (1.0 - gate(2) * gate(2));
                    gate_grads[3 * hidden + unit] = state * tanh_cell * gate(3) * (1.0 - gate(3));
                    cell_grads[unit] = cell * gate(1);
                }
                state_grad.fill(0.0);
                for (gate, slope) in gate_grads.iter().enumerate() {
                    bias_grad[gate] += slope;
                    for k in 0..inputs {
                        x_grad[row(step) * inputs + k] += slope * value(&self.input, gate * inputs + k);
                        input_grad[gate * inputs + k] += slope * value(&self.x, row(step) * inputs + k);
                    }
                    for k in (0..hidden).filter(|_| step > 0) {
                        state_grad[k] += slope * value(&self.recurrent, gate * hidden + k);
                        recurrent_grad[gate * hidden + k] += slope * output[row(step - 1) * hidden + k];
                    }
                }
            }
        }
        [output, x_grad, input_grad, recurrent_grad, bias_grad.clone(), bias_grad]
    }
}

fn same(one: &[f32], two: &[f32]) -> bool {
    one.len() == two.len() && one.iter().zip(two).all(|(one, two)| one.to_bits() == two.to_bits())
}

#[test]
fn values_and_gradients_equal_the_definition_at_every_simd_level() {
    for shape in SHAPES {
        let problem = problem(shape);
        let exact = problem.exact();
        for arch in levels() {
            for (which, (ours, exact)) in problem.passes(arch).iter().zip(&exact).enumerate() {
                // Relative to the largest value of the tensor. Sums run over up to 130 rows and back through 65 steps.
                let most = exact.iter().fold(1.0_f64, |most, value| most.max(value.abs()));
                assert_eq!(ours.len(), exact.len());
                for (index, (ours, exact)) in ours.iter().zip(exact).enumerate() {
                    let error = (f64::from(*ours) - exact).abs() / most;
                    assert!(error < 4e-6, "{arch:?}, {shape:?}, {which}, {index}: {ours}, expected {exact}");
                }
            }
        }
    }
}

#[test]
fn the_bits_of_a_sequence_do_not_depend_on_the_other_sequences() {
    let whole = problem((BLOCK + 7, 9, 6, 21));
    let LstmShape { sequences, steps, inputs, hidden } = whole.shape;
    for arch in levels() {
        let [output, x, ..] = whole.passes(arch);
        for (first, count) in [(0, 1), (0, 3), (5, 2), (11, 8), (40, 15), (sequences - 1, 1)] {
            let [part, part_x, ..] = whole.part(first, count).passes(arch);
            let context = format!("{arch:?}, {count} from {first}");
            assert!(same(&part, &output[first * steps * hidden..][..part.len()]), "{context}");
            assert!(same(&part_x, &x[first * steps * inputs..][..part_x.len()]), "{context}");
        }
    }
}

#[test]
fn a_prediction_has_the_same_bits_in_a_workspace_of_any_planned_size() {
    for shape in SHAPES {
        let problem = problem(shape);
        for arch in levels() {
            let [output, ..] = problem.passes(arch);
            for sequences in [shape.0, shape.0 + 1, 4, 2 * BLOCK] {
                let workspace = LstmShape { sequences: sequences.max(shape.0), ..problem.shape }.forward();
                assert!(same(&problem.predict(arch, workspace), &output), "{arch:?}, {shape:?}, {sequences}");
            }
        }
    }
}

#[test]
fn weights_packed_beforehand_give_the_same_bits() {
    for shape in SHAPES {
        for half in [false, true] {
            let problem = if half { problem(shape).halved() } else { problem(shape) };
            let weights = problem.arguments().weights;
            for arch in levels() {
                let output = problem.predict(arch, problem.shape.forward());
                let packed = LstmPackedWeights::at(arch, weights, problem.shape.hidden, half);
                assert!(same(&problem.predict_packed(arch, &packed), &output), "{arch:?}, {shape:?}, {half}");
                // Half precision takes half the bytes.
                let single = LstmPackedWeights::at(arch, weights, problem.shape.hidden, false).bytes();
                let biases = single / (problem.shape.inputs + problem.shape.hidden + 1);
                let expected = if half { (single - biases) / 2 + biases } else { single };
                assert_eq!(packed.bytes(), expected, "{arch:?}, {shape:?}, {half}");
            }
        }
    }
}

#[test]
fn weights_that_half_precision_cannot_represent_stay_in_single_precision() {
    for value in [0.1, f32::NAN, f32::INFINITY, 1e-8] {
        let mut problem = problem((1, 3, 2, 1)).halved();
        problem.recurrent[0] = value;
        for arch in levels() {
            let packed = LstmPackedWeights::at(arch, problem.arguments().weights, 1, true);
            assert!(same(&problem.predict_packed(arch, &packed), &problem.predict(arch, problem.shape.forward())));
        }
    }
}

#[test]
fn repeated_calls_give_the_same_bits() {
    let problem = problem((50, 6, 33, 20));
    for arch in levels() {
        let (one, two) = (problem.passes(arch), problem.passes(arch));
        assert!(one.iter().zip(&two).all(|(one, two)| same(one, two)), "{arch:?}");
    }
}

#[test]
fn recomputation_gives_the_same_bits() {
    let bits = |arrays: &[Vec<f32>; 6]| arrays.iter().flatten().map(|value| value.to_bits()).collect::<Vec<_>>();
    for shape in SHAPES {
        for half in [false, true] {
            let problem = Problem { half, ..problem(shape) };
            for arch in levels() {
                let (saved, recomputed) = (problem.passes(arch), problem.passes_with(arch, false));
                assert!(bits(&saved) == bits(&recomputed), "{shape:?} {arch:?} {half}");
            }
        }
    }
}

#[test]
fn half_precision_rounds_states_and_gates_but_not_cell_states() {
    let is_half = |value: f32| {
        let mut rounded = [value];
        crate::device::cpu::round_to_half(&mut rounded);
        rounded[0].to_bits() == value.to_bits()
    };
    let shape = (50, 6, 33, 20);
    let (single, problem) = (problem(shape), Problem { half: true, ..problem(shape) });
    for arch in levels() {
        let (mut saved, mut output) = (vec![0.0; problem.shape.saved()], vec![0.0; problem.output_grad.len()]);
        forward_at(arch, problem.arguments(), None, &mut output, &mut saved, &mut vec![0.0; problem.shape.forward()]);
        assert!(output.iter().all(|state| is_half(*state)));
        let (gates, cells) = saved.split_at(50 * 6 * problem.shape.padded_gate_width());
        assert!(gates.iter().all(|gate| is_half(*gate)));
        assert!(cells.iter().filter(|cell| !is_half(**cell)).count() > cells.len() / 4);
        // Close to single precision, but not equal to it.
        let (half, single) = (problem.passes(arch), single.passes(arch));
        for (half, single) in half.iter().zip(&single) {
            let most = single.iter().fold(0.0_f32, |most, value| most.max(value.abs()));
            let error = half.iter().zip(single).fold(0.0_f32, |worst, (one, two)| worst.max((one - two).abs()));
            assert!(error > 0.0 && error < 5e-3 * most, "{arch:?}: {error} of {most}");
        }
    }
}

#[test]
fn workspace_grows_with_the_sequences() {
    for (inputs, hidden) in [(1, 1), (20, 128)] {
        for steps in [1, 4, 60] {
            let shape = |sequences: usize| LstmShape { sequences, steps, inputs, hidden };
            for sequences in 1..2 * BLOCK {
                let (less, more) = (shape(sequences), shape(sequences + 1));
                assert!(less.saved() <= more.saved() && less.backward() <= more.backward(), "{more:?}");
            }
        }
    }
}

#[test]
fn nan_propagates_to_the_later_steps_of_its_sequence_only() {
    for sequences in [1, 5] {
        let mut problem = problem((sequences, 4, 3, 18));
        // The first input of the second step of the first sequence.
        problem.x[3] = f32::NAN;
        for arch in levels() {
            let [output, ..] = problem.passes(arch);
            assert!(output[..18].iter().all(|value| value.is_finite()), "{arch:?}");
            assert!(output[18..4 * 18].iter().all(|value| value.is_nan()), "{arch:?}");
            assert!(output[4 * 18..].iter().all(|value| value.is_finite()), "{arch:?}");
        }
    }
}

/// Sequences whose rows of x are those of their dates, for two assignments of assets.
fn dated((sequences, steps, inputs, hidden): (usize, usize, usize, usize)) -> (Problem, Vec<(u32, u32)>) {
    let mut out = problem((sequences, steps, inputs, hidden));
    let date = |sequence: usize| (u32::from(sequence % 5 == 2), (3 * sequence / 2) as u32);
    let dates: Vec<(u32, u32)> = (0..sequences).map(date).collect();
    for (sequence, (assignment, row)) in dates.iter().enumerate() {
        for step in 0..steps {
            let random = Random::new(8, *assignment, row + step as u32);
            let start = (sequence * steps + step) * inputs;
            for (position, value) in out.x[start..start + inputs].iter_mut().enumerate() {
                *value = random.uniform(position as u64) * 2.0 - 1.0;
            }
        }
    }
    (out, dates)
}

#[test]
fn input_projections_by_date_move_no_bit_but_those_of_the_input_weights() {
    for shape in [(7, 4, 5, 18), (13, 5, 67, 20), (50, 6, 33, 20), (32, 70, 3, 9)] {
        for half in [false, true] {
            let (problem, dates) = dated(shape);
            let problem = if half { problem.halved() } else { problem };
            let dates = DateRows::new(&dates, problem.shape.steps);
            assert!(2 * dates.count() < problem.shape.sequences * problem.shape.steps || shape.1 < 7);
            for arch in levels() {
                let plain = problem.passes(arch);
                let bits = |values: &[f32]| values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
                let mut by_date = Vec::new();
                for save in [true, false] {
                    let more = |recomputes| problem.shape.by_date(dates.count(), recomputes);
                    let saved = if save { problem.shape.saved() } else { 0 };
                    let (mut saved, mut output) = (vec![f32::NAN; saved], vec![f32::NAN; plain[0].len()]);
                    let mut scratch = vec![f32::NAN; problem.shape.forward() + more(false)];
                    let arguments = problem.arguments();
                    forward_at(arch, arguments, Some(&dates), &mut output, &mut saved, &mut scratch);
                    let mut gradients: Vec<Vec<f32>> = plain[1..].iter().map(|like| vec![1.0; like.len()]).collect();
                    let [x, input, recurrent, one, two] = &mut gradients[..] else { panic!() };
                    let of = LstmGradients { x, input, recurrent, biases: [one, two] };
                    let recompute = if save { 0 } else { problem.shape.recompute() };
                    let mut scratch = vec![f32::NAN; problem.shape.backward() + recompute + more(!save)];
                    let given = (problem.arguments(), Some(&dates), problem.output_grad.as_slice());
                    backward_at(arch, given, (&output, &saved), of, &mut scratch);
                    assert_eq!(bits(&output), bits(&plain[0]), "{shape:?} {arch:?}");
                    for (index, gradient) in gradients.iter().enumerate() {
                        // The second is that of the input weights.
                        if index != 1 {
                            assert_eq!(bits(gradient), bits(&plain[index + 1]), "{shape:?} {arch:?} {index}");
                        }
                    }
                    let pairs = gradients[1].iter().zip(&plain[2]);
                    let worst = pairs.map(|(one, two)| (one - two).abs() / (1.0 + two.abs())).fold(0.0, f32::max);
                    assert!(worst < 1e-5, "{shape:?} {arch:?}: {worst}");
                    by_date.push(bits(&gradients[1]));
                }
                assert!(by_date[0] == by_date[1], "recomputed: {shape:?} {arch:?}");
            }
        }
    }
}
