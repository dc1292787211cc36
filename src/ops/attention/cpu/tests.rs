//! The kernels at every SIMD level: against the definition, and where queries, keys or values are excluded or not finite.

use pulp::Arch;

use super::{AttentionShape, BackwardPass, ForwardPass};
use crate::device::cpu::simd::levels;
use crate::ops::{Attention, Operand};
use crate::random::Random;

fn draw(stream: u32, count: usize) -> Vec<f32> {
    (0..count as u64).map(|position| Random::new(9, stream, 0).uniform(position) * 4.0 - 2.0).collect()
}

/// Query `[queries, width]`, key `[keys, width]` and value `[keys, width]` of one sample, and a mask if there is one.
struct Call {
    heads: usize,
    operands: Vec<Operand>,
    inputs: Vec<Vec<f32>>,
}

impl Call {
    fn new(heads: usize, (queries, keys, width): (usize, usize, usize), mask: Option<(&[usize], Vec<f32>)>) -> Self {
        let mut operands: Vec<Operand> =
            [queries, keys, keys].into_iter().map(|rows| Operand::batched(&[rows, width])).collect();
        let mut inputs: Vec<Vec<f32>> = operands.iter().zip(0..).map(|(x, stream)| draw(stream, x.count())).collect();
        if let Some((shape, values)) = mask {
            operands.push(Operand::batched(shape));
            inputs.push(values);
        }
        Self { heads, operands, inputs }
    }

    fn shape(&self) -> AttentionShape {
        AttentionShape::new(Attention { heads: self.heads }, &self.operands, &self.operands[0], 1)
    }

    fn inputs(&self) -> Vec<&[f32]> {
        self.inputs.iter().map(Vec::as_slice).collect()
    }

    fn forward(&self, arch: Arch, half: bool) -> Vec<f32> {
        let shape = self.shape();
        let mut output = vec![f32::NAN; self.operands[0].count()];
        let mut scratch = vec![f32::NAN; shape.forward()];
        let inputs = self.inputs();
        arch.dispatch(ForwardPass { shape, half, inputs: &inputs, output: &mut output, scratch: &mut scratch });
        output
    }

    /// The gradients of query, key and value, of which only those in `needed` are computed.
    fn backward(&self, arch: Arch, output_grad: &[f32], half: bool, needed: [bool; 3]) -> [Vec<f32>; 3] {
        let shape = self.shape();
        let mut scratch = vec![f32::NAN; shape.backward()];
        let mut out: [Vec<f32>; 3] =
            std::array::from_fn(|operand| vec![0.0; if needed[operand] { self.operands[operand].count() } else { 0 }]);
        let mut gradients: Vec<&mut [f32]> = out.iter_mut().map(Vec::as_mut_slice).collect();
        let inputs = self.inputs();
        let (inputs, gradients, scratch) = (&inputs[..], &mut gradients[..], &mut scratch[..]);
        arch.dispatch(BackwardPass { shape, half, inputs, output_grad, gradients, scratch });
        out
    }

    /// The output and the gradients from the definition, in double precision.
    fn exact(&self, output_grad: &[f32]) -> (Vec<f64>, [Vec<f64>; 3]) {
        let (queries, width) = (self.operands[0].shape[0], self.operands[0].shape[1]);
        let (keys, part) = (self.operands[1].shape[0], width / self.heads);
        let at = |operand: usize, row: usize, column: usize| f64::from(self.inputs[operand][row * width + column]);
        let scale = 1.0 / (part as f64).sqrt();
        let mut output = vec![0.0; queries * width];
        let mut gradients = [vec![0.0; queries * width], vec![0.0; keys * width], vec![0.0; keys * width]];
        for head in 0..self.heads {
            let columns = head * part..(head + 1) * part;
            for i in 0..queries {
                let is_included = |j: usize| {
                    let mask = self.operands.get(3).map(|mask| if mask.shape.len() == 2 { i * keys + j } else { j });
                    mask.is_none_or(|index| self.inputs[3][index] != 0.0)
                };
                let score = |j: usize| scale * columns.clone().map(|c| at(0, i, c) * at(1, j, c)).sum::<f64>();
                let powers: Vec<f64> = (0..keys).map(|j| if is_included(j) { score(j).exp() } else { 0.0 }).collect();
                let sum: f64 = powers.iter().sum();
                let weights: Vec<f64> = powers.iter().map(|p| if sum > 0.0 { p / sum } else { 0.0 }).collect();
                let grad = |c: usize| f64::from(output_grad[i * width + c]);
                let of_weight = |j: usize| columns.clone().map(|c| grad(c) * at(2, j, c)).sum::<f64>();
                let mean: f64 = (0..keys).map(|j| weights[j] * of_weight(j)).sum();
                for j in 0..keys {
                    let of_score = scale * weights[j] * (of_weight(j) - mean);
                    for c in columns.clone() {
                        output[i * width + c] += weights[j] * at(2, j, c);
                        gradients[0][i * width + c] += of_score * at(1, j, c);
                        gradients[1][j * width + c] += of_score * at(0, i, c);
                        gradients[2][j * width + c] += weights[j] * grad(c);
                    }
                }
            }
        }
        (output, gradients)
    }
}

fn worst(ours: &[f32], exact: &[f64]) -> f64 {
    assert_eq!(ours.len(), exact.len());
    ours.iter().zip(exact).map(|(ours, exact)| (f64::from(*ours) - exact).abs()).fold(0.0, f64::max)
}

fn calls() -> Vec<Call> {
    let mask = |count: usize| (0..count).map(|index| f32::from(u8::from(index % 3 != 1))).collect::<Vec<f32>>();
    vec![
        Call::new(1, (1, 1, 1), None),
        Call::new(8, (60, 60, 128), None),
        Call::new(3, (5, 130, 15), None),
        Call::new(2, (129, 17, 50), Some((&[17], mask(17)))),
        Call::new(4, (70, 19, 8), Some((&[70, 19], mask(70 * 19)))),
    ]
}

#[test]
fn values_and_gradients_equal_the_definition_at_every_simd_level() {
    for call in calls() {
        let output_grad = draw(7, call.operands[0].count());
        let (output, gradients) = call.exact(&output_grad);
        for arch in levels() {
            let shape = call.shape();
            let ours = worst(&call.forward(arch, false), &output);
            let of = call.backward(arch, &output_grad, false, [true; 3]);
            let of = [0, 1, 2].map(|operand| worst(&of[operand], &gradients[operand]));
            println!("{arch:?} {} queries, {} keys: {ours:.1e}, {of:?}", shape.queries, shape.keys);
            assert!(ours < 3e-6 && of.into_iter().all(|error| error < 3e-5), "{arch:?} {shape:?}: {ours} {of:?}");
        }
    }
}

#[test]
fn half_precision_rounds_weights_and_score_gradients_only() {
    for call in calls() {
        let output_grad = draw(7, call.operands[0].count());
        let (output, gradients) = call.exact(&output_grad);
        for arch in levels() {
            let ours = call.forward(arch, true);
            let of = call.backward(arch, &output_grad, true, [true; 3]);
            // Weights are at most 1 and sum to 1, and values are at most 2, so the sums of rounding errors are below 2⁻¹¹
            // times 2, with some leeway for single precision.
            assert!(worst(&ours, &output) < 1.1e-3, "{arch:?}");
            let errors = [0, 1, 2].map(|operand| worst(&of[operand], &gradients[operand]));
            assert!(errors.into_iter().all(|error| error < 2e-2), "{arch:?} {errors:?}");
            let rounds = call.shape().keys == 1 || ours != call.forward(arch, false);
            assert!(rounds, "{arch:?}");
        }
    }
}

#[test]
fn each_gradient_has_the_same_bits_without_the_others() {
    for call in calls() {
        let output_grad = draw(7, call.operands[0].count());
        for arch in levels() {
            let all = call.backward(arch, &output_grad, false, [true; 3]);
            for operand in 0..3 {
                let only = std::array::from_fn(|other| other == operand);
                let one = call.backward(arch, &output_grad, false, only);
                assert!((0..3).all(|other| one[other].len() == if only[other] { all[other].len() } else { 0 }));
                assert!(one[operand].iter().zip(&all[operand]).all(|(one, all)| one.to_bits() == all.to_bits()));
            }
        }
    }
}

#[test]
fn excluded_keys_move_nothing_and_a_query_without_keys_gets_zero() {
    // Query 0 sees keys 0 and 2, query 1 none, query 2 key 1 only.
    let mask = vec![1.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0];
    let mut call = Call::new(1, (3, 3, 2), Some((&[3, 3], mask)));
    let output_grad = draw(7, 6);
    for arch in levels() {
        let before = call.forward(arch, false);
        let [query, key, value] = call.backward(arch, &output_grad, false, [true; 3]);
        assert_eq!((&before[2..4], &query[2..4]), (&[0.0; 2][..], &[0.0; 2][..]), "{arch:?}");
        // Query 2 sees one key, so its weight is 1 whatever the score.
        assert_eq!((&before[4..], &query[4..]), (&call.inputs[2][2..4], &[0.0; 2][..]), "{arch:?}");
        assert_eq!((&key[2..4], &value[2..4]), (&[0.0; 2][..], &output_grad[4..]), "{arch:?}");
        // An infinite or undefined score of an excluded key is not seen.
        for wild in [f32::INFINITY, f32::NEG_INFINITY, f32::NAN, 1e30] {
            let kept = std::mem::replace(&mut call.inputs[1][2], wild);
            let after = call.forward(arch, false);
            assert_eq!(after[..4], before[..4], "{arch:?} {wild}");
            call.inputs[1][2] = kept;
        }
    }
}

#[test]
fn a_nan_makes_the_rows_that_see_it_nan_and_no_others() {
    for arch in levels() {
        let clean = Call::new(2, (4, 21, 6), None);
        let before = clean.forward(arch, false);
        // Per operand: an element of row 1 in the second head, whose columns are 3 to 5.
        for (operand, nan_rows, nan_columns) in [(0, 1..2, 3..6), (1, 0..4, 3..6), (2, 0..4, 4..5)] {
            let mut call = Call::new(2, (4, 21, 6), None);
            call.inputs[operand][6 + 4] = f32::NAN;
            for (index, value) in call.forward(arch, false).into_iter().enumerate() {
                let is_nan = nan_rows.contains(&(index / 6)) && nan_columns.contains(&(index % 6));
                let is_right = if is_nan { value.is_nan() } else { value == before[index] };
                assert!(is_right, "{arch:?}, operand {operand}, {index}: {value}");
            }
        }
        // An infinite score among finite ones has no weights.
        let mut call = Call::new(1, (1, 2, 1), None);
        call.inputs[0][0] = 1.0;
        call.inputs[1][0] = f32::INFINITY;
        assert!(call.forward(arch, false)[0].is_nan(), "{arch:?}");
    }
}

#[test]
fn scores_far_apart_or_large_do_not_overflow() {
    let mut call = Call::new(1, (1, 3, 1), None);
    call.inputs = vec![vec![1.0], vec![1e30, -1e30, 1e30], vec![1.0, 5.0, 2.0]];
    for arch in levels() {
        assert_eq!(call.forward(arch, false), [1.5], "{arch:?}");
    }
}

#[test]
fn workspace_grows_with_the_length_of_a_sequence_not_with_its_square() {
    let shape = |steps: usize| Call::new(4, (steps, steps, 32), None).shape();
    let of = |steps: usize| (shape(steps).forward(), shape(steps).backward());
    let (short, long) = (of(1024), of(8192));
    assert!(long.0 <= 8 * short.0 && long.1 <= 8 * short.1, "{short:?} {long:?}");
    // A kilobyte per step is enough: 8 columns per head, padded to 16, five times, and 64 queries of weights twice.
    assert!(long.1 * 4 < 8192 * 1200, "{}", long.1 * 4 / 8192);
}
