//! The kernels beside the definition in double precision, at every instruction set that the machine has.

use pulp::Arch;

use super::super::simd::levels;
use super::{
    BLOCK, LstmGiven, LstmGradients, LstmPackedWeights, LstmShape, LstmWeights, backward_at, forward_at, predict_at,
};
use crate::random::Random;

/// Blocks of one and of several sequences, sums shorter and longer than a vector, several windows of steps, and inputs taken
/// ahead in one go and in several.
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

struct Numbers {
    shape: LstmShape,
    x: Vec<f32>,
    input: Vec<f32>,
    recurrent: Vec<f32>,
    biases: [Vec<f32>; 2],
    output_grad: Vec<f32>,
    half: bool,
}

fn numbers((sequences, steps, inputs, hidden): (usize, usize, usize, usize)) -> Numbers {
    let draw = |stream: u32, count: usize, size: f32| -> Vec<f32> {
        let random = Random::new(4, stream, 0);
        (0..count as u64).map(|place| (random.uniform(place) * 2.0 - 1.0) * size).collect()
    };
    let bound = 1.0 / (hidden as f32).sqrt();
    Numbers {
        shape: LstmShape { sequences, steps, inputs, hidden },
        x: draw(0, sequences * steps * inputs, 1.0),
        input: draw(1, 4 * hidden * inputs, bound),
        recurrent: draw(2, 4 * hidden * hidden, bound),
        biases: [draw(3, 4 * hidden, bound), draw(4, 4 * hidden, bound)],
        output_grad: draw(5, sequences * steps * hidden, 1.0),
        half: false,
    }
}

impl Numbers {
    /// The same with sequences `first..first + count` alone.
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

    fn given(&self) -> LstmGiven<'_> {
        let biases = [self.biases[0].as_slice(), &self.biases[1]];
        let weights = LstmWeights { input: &self.input, recurrent: &self.recurrent, biases };
        LstmGiven { shape: self.shape, weights, x: &self.x, half: self.half }
    }

    /// The output without a backward pass, in scratch of `room` numbers.
    fn predict(&self, arch: Arch, room: usize) -> Vec<f32> {
        let mut output = vec![f32::NAN; self.output_grad.len()];
        forward_at(arch, self.given(), &mut output, &mut [], &mut vec![f32::NAN; room]);
        output
    }

    /// The same with weights that were packed beforehand.
    fn predict_prepared(&self, arch: Arch, prepared: &LstmPackedWeights) -> Vec<f32> {
        let (mut output, mut scratch) =
            (vec![f32::NAN; self.output_grad.len()], vec![f32::NAN; self.shape.forward_packed()]);
        predict_at(arch, self.given(), prepared, &mut output, &mut scratch);
        output
    }

    /// The same with parameters that half precision has.
    fn halved(mut self) -> Self {
        let [one, two] = &mut self.biases;
        for numbers in [&mut self.x, &mut self.input, &mut self.recurrent, one, two] {
            crate::device::cpu::round_to_half(numbers);
        }
        self.half = true;
        self
    }

    /// Output, and gradients of x, both weights and both biases, each of which begins at 1.
    fn passes(&self, arch: Arch) -> [Vec<f32>; 6] {
        self.passes_that(arch, true)
    }

    /// The same; where gates and cell states are not kept the backward pass computes them again.
    fn passes_that(&self, arch: Arch, keep: bool) -> [Vec<f32>; 6] {
        let (mut saved, mut output) = (vec![f32::NAN; self.shape.saved()], vec![f32::NAN; self.output_grad.len()]);
        forward_at(arch, self.given(), &mut output, &mut saved, &mut vec![f32::NAN; self.shape.forward()]);
        let ones = |like: &[f32]| vec![1.0; like.len()];
        let (mut x, mut input, mut recurrent) = (ones(&self.x), ones(&self.input), ones(&self.recurrent));
        let [mut one, mut two] = [ones(&self.biases[0]), ones(&self.biases[1])];
        let gradients =
            LstmGradients { x: &mut x, input: &mut input, recurrent: &mut recurrent, biases: [&mut one, &mut two] };
        let again = if keep { 0 } else { self.shape.again() };
        let mut scratch = vec![f32::NAN; self.shape.backward() + again];
        let saved = if keep { saved.as_slice() } else { &[] };
        backward_at(arch, (self.given(), &self.output_grad), (&output, saved), gradients, &mut scratch);
        [output, x, input, recurrent, one, two]
    }

    /// The same by the definition, in double precision; gradients begin at 1.
    fn exact(&self) -> [Vec<f64>; 6] {
        let LstmShape { sequences, steps, inputs, hidden } = self.shape;
        let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
        let number = |from: &[f32], place: usize| f64::from(from[place]);
        let mut output = vec![0.0; self.output_grad.len()];
        let (mut of_x, mut of_input) = (vec![1.0; self.x.len()], vec![1.0; self.input.len()]);
        let (mut of_recurrent, mut of_bias) = (vec![1.0; self.recurrent.len()], vec![1.0; 4 * hidden]);
        for sequence in 0..sequences {
            let row = |step: usize| sequence * steps + step;
            let (mut gates, mut cells) = (vec![vec![0.0; 4 * hidden]; steps], vec![vec![0.0; hidden]; steps + 1]);
            for step in 0..steps {
                for (gate, value) in gates[step].iter_mut().enumerate() {
                    let mut sum = number(&self.biases[0], gate) + number(&self.biases[1], gate);
                    for k in 0..inputs {
                        sum += number(&self.input, gate * inputs + k) * number(&self.x, row(step) * inputs + k);
                    }
                    for k in (0..hidden).filter(|_| step > 0) {
                        sum += number(&self.recurrent, gate * hidden + k) * output[row(step - 1) * hidden + k];
                    }
                    *value = if gate / hidden == 2 { sum.tanh() } else { sigmoid(sum) };
                }
                for unit in 0..hidden {
                    let gate = |gate: usize| gates[step][gate * hidden + unit];
                    cells[step + 1][unit] = gate(1) * cells[step][unit] + gate(0) * gate(2);
                    output[row(step) * hidden + unit] = gate(3) * cells[step + 1][unit].tanh();
                }
            }
            let (mut of_state, mut of_cell) = (vec![0.0; hidden], vec![0.0; hidden]);
            for step in (0..steps).rev() {
                let mut of_gates = vec![0.0; 4 * hidden];
                for unit in 0..hidden {
                    let gate = |gate: usize| gates[step][gate * hidden + unit];
                    let bent = cells[step + 1][unit].tanh();
                    let state = of_state[unit] + number(&self.output_grad, row(step) * hidden + unit);
                    let through = of_cell[unit] + state * gate(3) * (1.0 - bent * bent);
                    of_gates[unit] = through * gate(2) * gate(0) * (1.0 - gate(0));
                    of_gates[hidden + unit] = through * cells[step][unit] * gate(1) * (1.0 - gate(1));
                    of_gates[2 * hidden + unit] = through * gate(0) * (1.0 - gate(2) * gate(2));
                    of_gates[3 * hidden + unit] = state * bent * gate(3) * (1.0 - gate(3));
                    of_cell[unit] = through * gate(1);
                }
                of_state.fill(0.0);
                for (gate, slope) in of_gates.iter().enumerate() {
                    of_bias[gate] += slope;
                    for k in 0..inputs {
                        of_x[row(step) * inputs + k] += slope * number(&self.input, gate * inputs + k);
                        of_input[gate * inputs + k] += slope * number(&self.x, row(step) * inputs + k);
                    }
                    for k in (0..hidden).filter(|_| step > 0) {
                        of_state[k] += slope * number(&self.recurrent, gate * hidden + k);
                        of_recurrent[gate * hidden + k] += slope * output[row(step - 1) * hidden + k];
                    }
                }
            }
        }
        [output, of_x, of_input, of_recurrent, of_bias.clone(), of_bias]
    }
}

fn same(one: &[f32], two: &[f32]) -> bool {
    one.len() == two.len() && one.iter().zip(two).all(|(one, two)| one.to_bits() == two.to_bits())
}

#[test]
fn values_and_gradients_are_those_of_the_definition_at_every_level() {
    for shape in SHAPES {
        let numbers = numbers(shape);
        let exact = numbers.exact();
        for arch in levels() {
            for (which, (ours, exact)) in numbers.passes(arch).iter().zip(&exact).enumerate() {
                // Relative to the largest number of the same kind. Sums go over up to 130 rows and back through 65 steps.
                let most = exact.iter().fold(1.0_f64, |most, value| most.max(value.abs()));
                assert_eq!(ours.len(), exact.len());
                for (place, (ours, exact)) in ours.iter().zip(exact).enumerate() {
                    let apart = (f64::from(*ours) - exact).abs() / most;
                    assert!(apart < 4e-6, "{arch:?}, {shape:?}, {which}, {place}: {ours}, expected {exact}");
                }
            }
        }
    }
}

#[test]
fn a_sequence_has_the_same_bits_beside_any_others() {
    let whole = numbers((BLOCK + 7, 9, 6, 21));
    let LstmShape { sequences, steps, inputs, hidden } = whole.shape;
    for arch in levels() {
        let [output, x, ..] = whole.passes(arch);
        for (first, count) in [(0, 1), (0, 3), (5, 2), (11, 8), (40, 15), (sequences - 1, 1)] {
            let [part, part_x, ..] = whole.part(first, count).passes(arch);
            let place = format!("{arch:?}, {count} from {first}");
            assert!(same(&part, &output[first * steps * hidden..][..part.len()]), "{place}");
            assert!(same(&part_x, &x[first * steps * inputs..][..part_x.len()]), "{place}");
        }
    }
}

#[test]
fn a_pass_that_keeps_nothing_has_the_same_bits_in_the_room_of_any_plan() {
    for shape in SHAPES {
        let numbers = numbers(shape);
        for arch in levels() {
            let [output, ..] = numbers.passes(arch);
            for sequences in [shape.0, shape.0 + 1, 4, 2 * BLOCK] {
                let room = LstmShape { sequences: sequences.max(shape.0), ..numbers.shape }.forward();
                assert!(same(&numbers.predict(arch, room), &output), "{arch:?}, {shape:?}, {sequences}");
            }
        }
    }
}

#[test]
fn weights_that_were_packed_beforehand_give_the_same_bits() {
    for shape in SHAPES {
        for half in [false, true] {
            let numbers = if half { numbers(shape).halved() } else { numbers(shape) };
            let weights = numbers.given().weights;
            for arch in levels() {
                let output = numbers.predict(arch, numbers.shape.forward());
                let prepared = LstmPackedWeights::at(arch, weights, numbers.shape.hidden, half);
                assert!(same(&numbers.predict_prepared(arch, &prepared), &output), "{arch:?}, {shape:?}, {half}");
                // In half precision they take half the bytes.
                let single = LstmPackedWeights::at(arch, weights, numbers.shape.hidden, false).bytes();
                let biases = single / (numbers.shape.inputs + numbers.shape.hidden + 1);
                let expected = if half { (single - biases) / 2 + biases } else { single };
                assert_eq!(prepared.bytes(), expected, "{arch:?}, {shape:?}, {half}");
            }
        }
    }
}

#[test]
fn weights_that_half_precision_has_not_stay_in_single_precision() {
    for strange in [0.1, f32::NAN, f32::INFINITY, 1e-8] {
        let mut numbers = numbers((1, 3, 2, 1)).halved();
        numbers.recurrent[0] = strange;
        for arch in levels() {
            let prepared = LstmPackedWeights::at(arch, numbers.given().weights, 1, true);
            assert!(same(&numbers.predict_prepared(arch, &prepared), &numbers.predict(arch, numbers.shape.forward())));
        }
    }
}

#[test]
fn the_same_call_gives_the_same_bits_again() {
    let numbers = numbers((50, 6, 33, 20));
    for arch in levels() {
        let (one, two) = (numbers.passes(arch), numbers.passes(arch));
        assert!(one.iter().zip(&two).all(|(one, two)| same(one, two)), "{arch:?}");
    }
}

#[test]
fn what_is_computed_again_has_the_same_bits() {
    let bits = |arrays: &[Vec<f32>; 6]| arrays.iter().flatten().map(|value| value.to_bits()).collect::<Vec<_>>();
    for shape in SHAPES {
        for half in [false, true] {
            let numbers = Numbers { half, ..numbers(shape) };
            for arch in levels() {
                let (kept, again) = (numbers.passes(arch), numbers.passes_that(arch, false));
                assert!(bits(&kept) == bits(&again), "{shape:?} {arch:?} {half}");
            }
        }
    }
}

#[test]
fn states_and_gates_are_halved_and_cell_states_are_not() {
    let halved = |value: f32| {
        let mut rounded = [value];
        crate::device::cpu::round_to_half(&mut rounded);
        rounded[0].to_bits() == value.to_bits()
    };
    let shape = (50, 6, 33, 20);
    let (single, numbers) = (numbers(shape), Numbers { half: true, ..numbers(shape) });
    for arch in levels() {
        let (mut saved, mut output) = (vec![0.0; numbers.shape.saved()], vec![0.0; numbers.output_grad.len()]);
        forward_at(arch, numbers.given(), &mut output, &mut saved, &mut vec![0.0; numbers.shape.forward()]);
        assert!(output.iter().all(|state| halved(*state)));
        let (gates, cells) = saved.split_at(50 * 6 * numbers.shape.wide());
        assert!(gates.iter().all(|gate| halved(*gate)));
        assert!(cells.iter().filter(|cell| !halved(**cell)).count() > cells.len() / 4);
        // Near single precision, and not it.
        let (half, single) = (numbers.passes(arch), single.passes(arch));
        for (half, single) in half.iter().zip(&single) {
            let most = single.iter().fold(0.0_f32, |most, value| most.max(value.abs()));
            let apart = half.iter().zip(single).fold(0.0_f32, |worst, (one, two)| worst.max((one - two).abs()));
            assert!(apart > 0.0 && apart < 5e-3 * most, "{arch:?}: {apart} of {most}");
        }
    }
}

#[test]
fn rooms_of_fewer_sequences_fit_in_those_of_more() {
    for (inputs, hidden) in [(1, 1), (20, 128)] {
        for steps in [1, 4, 60] {
            let room = |sequences: usize| LstmShape { sequences, steps, inputs, hidden };
            for sequences in 1..2 * BLOCK {
                let (less, more) = (room(sequences), room(sequences + 1));
                assert!(less.saved() <= more.saved() && less.backward() <= more.backward(), "{more:?}");
            }
        }
    }
}

#[test]
fn what_is_no_number_stays_none() {
    for sequences in [1, 5] {
        let mut numbers = numbers((sequences, 4, 3, 18));
        // The first input of the second step of the first sequence.
        numbers.x[3] = f32::NAN;
        for arch in levels() {
            let [output, ..] = numbers.passes(arch);
            assert!(output[..18].iter().all(|value| value.is_finite()), "{arch:?}");
            assert!(output[18..4 * 18].iter().all(|value| value.is_nan()), "{arch:?}");
            assert!(output[4 * 18..].iter().all(|value| value.is_finite()), "{arch:?}");
        }
    }
}
