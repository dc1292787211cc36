//! Every op straight from its definition, on scalars of a [`Tape`].

use super::tape::{Tape, Var};
use crate::ops::{Activation, Arithmetic, Conv1d, Elementwise, Op, Reduction};
use crate::random::Random;

/// A value: `[samples, shape]`, or `[shape]` if all samples share it.
#[derive(Clone, Debug)]
pub(super) struct Tensor {
    pub(super) shape: Vec<usize>,
    pub(super) is_batched: bool,
    pub(super) values: Vec<Var>,
}

impl Tensor {
    fn count(&self) -> usize {
        self.shape.iter().product()
    }

    /// The values of one sample.
    pub(super) fn of(&self, sample: usize) -> &[Var] {
        let start = if self.is_batched { sample * self.count() } else { 0 };
        &self.values[start..start + self.count()]
    }
}

/// What an op knows about its call.
pub(super) struct Call<'a> {
    pub(super) shape: &'a [usize],
    pub(super) is_batched: bool,
    pub(super) samples: usize,
    pub(super) is_training: bool,
    pub(super) random: Random,
    pub(super) scalar: f64,
}

/// The output of an op.
pub(super) fn apply(tape: &mut Tape, op: &Op, operands: &[Tensor], call: &Call) -> Tensor {
    let samples = if call.is_batched { call.samples } else { 1 };
    let mut values = Vec::new();
    for sample in 0..samples {
        let of: Vec<&[Var]> = operands.iter().map(|operand| operand.of(sample)).collect();
        values.extend(sample_of(tape, op, operands, &of, call, sample));
    }
    Tensor { shape: call.shape.to_vec(), is_batched: call.is_batched, values }
}

/// Elements of the output of one sample.
fn sample_of(tape: &mut Tape, op: &Op, operands: &[Tensor], of: &[&[Var]], call: &Call, sample: usize) -> Vec<Var> {
    let shape = |operand: usize| operands[operand].shape.as_slice();
    let count: usize = call.shape.iter().product();
    let last = |operand: usize| shape(operand).last().copied().unwrap_or(1);
    match op {
        Op::Activation(activation) => of[0].iter().map(|x| activate(tape, *activation, *x)).collect(),
        Op::Elementwise(function) => of[0].iter().map(|x| elementwise(tape, *function, *x)).collect(),
        Op::Arithmetic(kind) => (0..count)
            .map(|index| arithmetic(tape, *kind, of[0][index % of[0].len()], of[1][index % of[1].len()]))
            .collect(),
        Op::Scale(scale) => {
            of[0].iter().map(|x| tape.scale(*x, f64::from(scale.factor), f64::from(scale.offset))).collect()
        }
        Op::Transpose(transpose) => (0..count)
            .map(|index| {
                let at = unravel(index, call.shape);
                let mut from = vec![0; at.len()];
                transpose.order.iter().zip(&at).for_each(|(axis, index)| from[*axis] = *index);
                of[0][ravel(&from, shape(0))]
            })
            .collect(),
        Op::Slice(slice) => (0..count)
            .map(|index| {
                let mut at = unravel(index, call.shape);
                at[slice.axis] += slice.start;
                of[0][ravel(&at, shape(0))]
            })
            .collect(),
        Op::Concat(concat) => (0..count)
            .map(|index| {
                let mut at = unravel(index, call.shape);
                let mut operand = 0;
                while at[concat.axis] >= shape(operand)[concat.axis] {
                    at[concat.axis] -= shape(operand)[concat.axis];
                    operand += 1;
                }
                of[operand][ravel(&at, shape(operand))]
            })
            .collect(),
        Op::Reduce(reduce) => (0..count)
            .map(|index| {
                let at = unravel(index, call.shape);
                let length = shape(0)[reduce.axis];
                let along = |index: usize| {
                    let mut from = at.clone();
                    from.insert(reduce.axis, index);
                    of[0][ravel(&from, shape(0))]
                };
                let sum = tape.sum((0..length).map(along));
                if reduce.kind == Reduction::Mean { tape.scale(sum, 1.0 / length as f64, 0.0) } else { sum }
            })
            .collect(),
        Op::Dropout(_) if call.is_training && call.scalar > 0.0 => {
            let first = if call.is_batched { sample * count } else { 0 };
            of[0]
                .iter()
                .enumerate()
                .map(|(index, x)| {
                    let is_kept = f64::from(call.random.uniform((first + index) as u64)) >= call.scalar;
                    tape.scale(*x, if is_kept { 1.0 / (1.0 - call.scalar) } else { 0.0 }, 0.0)
                })
                .collect()
        }
        // Dropout outside training.
        Op::Reshape(_) | Op::Dropout(_) => of[0].to_vec(),
        Op::Linear(_) => {
            let (inputs, outputs) = (last(0), shape(1)[0]);
            let rows = of[0].chunks(inputs).flat_map(|row| (0..outputs).map(move |output| (row, output)));
            rows.map(|(row, output)| affine(tape, row, &of[1][output * inputs..][..inputs], of[2][output])).collect()
        }
        Op::MatMul(product) => {
            let (left, axes) = (shape(0), shape(0).len());
            let (rows, inner, columns) = (left[axes - 2], left[axes - 1], call.shape[axes - 1]);
            (0..count)
                .map(|index| {
                    let (stack, row, column) = (index / (rows * columns), index / columns % rows, index % columns);
                    // A right operand of one matrix serves every left one.
                    let right = if of[1].len() == inner * columns { 0 } else { stack * inner * columns };
                    let of_right = |k: usize| {
                        if product.transpose_right { right + column * inner + k } else { right + k * columns + column }
                    };
                    tape.dot((0..inner).map(|k| (of[0][(stack * rows + row) * inner + k], of[1][of_right(k)])))
                })
                .collect()
        }
        Op::Softmax(_) => {
            let width = last(0);
            of[0].chunks(width).enumerate().flat_map(|(row, x)| softmax(tape, x, of.get(1).copied(), row)).collect()
        }
        Op::Attention(attention) => attend(tape, attention.heads, operands, of),
        Op::LayerNorm(norm) => {
            of[0].chunks(last(0)).flat_map(|row| layer_norm(tape, row, of[1], of[2], f64::from(norm.epsilon))).collect()
        }
        Op::Lstm(_) => {
            let axes = shape(0).len();
            let sequence = shape(0)[axes - 2] * shape(0)[axes - 1];
            of[0].chunks(sequence).flat_map(|x| lstm(tape, x, last(0), &of[1..])).collect()
        }
        Op::Conv1d(conv) => {
            let axes = shape(0).len();
            let sequence = shape(0)[axes - 2] * shape(0)[axes - 1];
            let outputs = call.shape[axes - 2];
            of[0]
                .chunks(sequence)
                .flat_map(|x| conv1d(tape, *conv, x, (last(0), outputs), shape(1), &of[1..]))
                .collect()
        }
    }
}

/// The indices of an element.
fn unravel(mut index: usize, shape: &[usize]) -> Vec<usize> {
    let mut out = vec![0; shape.len()];
    for axis in (0..shape.len()).rev() {
        (out[axis], index) = (index % shape[axis], index / shape[axis]);
    }
    out
}

/// The element at some indices.
fn ravel(at: &[usize], shape: &[usize]) -> usize {
    at.iter().zip(shape).fold(0, |index, (at, length)| index * length + at)
}

fn activate(tape: &mut Tape, activation: Activation, x: Var) -> Var {
    let value = tape.value(x);
    match activation {
        Activation::Tanh => tape.tanh(x),
        Activation::Sigmoid => tape.sigmoid(x),
        Activation::Relu => tape.one(x, value.max(0.0), f64::from(u8::from(value > 0.0))),
        Activation::LeakyRelu { slope } => {
            let slope = if value > 0.0 { 1.0 } else { f64::from(slope) };
            tape.scale(x, slope, 0.0)
        }
        Activation::Elu if value > 0.0 => x,
        Activation::Elu => tape.one(x, value.exp_m1(), value.exp()),
    }
}

fn elementwise(tape: &mut Tape, function: Elementwise, x: Var) -> Var {
    let value = tape.value(x);
    match function {
        Elementwise::Exp => tape.exp(x),
        Elementwise::Log => tape.one(x, value.ln(), 1.0 / value),
        Elementwise::Abs => tape.abs(x),
        Elementwise::Clip { min, max } => {
            let (min, max) = (f64::from(min), f64::from(max));
            tape.one(x, value.clamp(min, max), f64::from(u8::from((min..=max).contains(&value))))
        }
    }
}

fn arithmetic(tape: &mut Tape, kind: Arithmetic, x: Var, y: Var) -> Var {
    match kind {
        Arithmetic::Add => tape.add(x, y),
        Arithmetic::Subtract => tape.sub(x, y),
        Arithmetic::Multiply => tape.mul(x, y),
        Arithmetic::Divide => tape.div(x, y),
        Arithmetic::Maximum => tape.max(x, y),
        Arithmetic::Minimum => {
            let (x, y) = (tape.scale(x, -1.0, 0.0), tape.scale(y, -1.0, 0.0));
            let larger = tape.max(x, y);
            tape.scale(larger, -1.0, 0.0)
        }
    }
}

/// Σ xᵢ wᵢ + bias.
fn affine(tape: &mut Tape, x: &[Var], weights: &[Var], bias: Var) -> Var {
    let sum = tape.dot(x.iter().copied().zip(weights.iter().copied()));
    tape.add(sum, bias)
}

/// Softmax of a row over the elements whose mask is not 0.
fn softmax(tape: &mut Tape, x: &[Var], mask: Option<&[Var]>, row: usize) -> Vec<Var> {
    let start = |mask: &[Var]| row * x.len() % mask.len();
    let included: Vec<bool> =
        (0..x.len()).map(|index| mask.is_none_or(|mask| tape.value(mask[start(mask) + index]) != 0.0)).collect();
    let powers: Vec<Var> =
        x.iter().zip(&included).map(|(x, included)| if *included { tape.exp(*x) } else { tape.number(0.0) }).collect();
    if !included.contains(&true) {
        return powers;
    }
    let sum = tape.sum(powers.iter().copied());
    powers.into_iter().map(|power| tape.div(power, sum)).collect()
}

/// Attention, head by head and query by query.
fn attend(tape: &mut Tape, heads: usize, operands: &[Tensor], of: &[&[Var]]) -> Vec<Var> {
    let axis = |operand: usize, from_last: usize| operands[operand].shape[operands[operand].shape.len() - from_last];
    let (queries, keys, width, values) = (axis(0, 2), axis(1, 2), axis(0, 1), axis(2, 1));
    let (head_width, head_values) = (width / heads, values / heads);
    let mut out = Vec::new();
    for row in 0..of[0].len() / width {
        let sequence = row / queries;
        for head in 0..heads {
            let query = &of[0][row * width + head * head_width..][..head_width];
            let scores: Vec<Var> = (0..keys)
                .map(|key| {
                    let key = &of[1][(sequence * keys + key) * width + head * head_width..];
                    let score = tape.dot(query.iter().copied().zip(key.iter().copied()));
                    tape.scale(score, 1.0 / (head_width as f64).sqrt(), 0.0)
                })
                .collect();
            let weights = softmax(tape, &scores, of.get(3).copied(), row % queries);
            for column in 0..head_values {
                let value = |key: usize| of[2][(sequence * keys + key) * values + head * head_values + column];
                out.push(tape.dot(weights.iter().copied().zip((0..keys).map(value))));
            }
        }
    }
    out
}

fn layer_norm(tape: &mut Tape, x: &[Var], scale: &[Var], shift: &[Var], epsilon: f64) -> Vec<Var> {
    let share = 1.0 / x.len() as f64;
    let sum = tape.sum(x.iter().copied());
    let mean = tape.scale(sum, share, 0.0);
    let centred: Vec<Var> = x.iter().map(|x| tape.sub(*x, mean)).collect();
    let squares = tape.dot(centred.iter().map(|x| (*x, *x)));
    let variance = tape.scale(squares, share, epsilon);
    let deviation = tape.sqrt(variance);
    let columns = centred.into_iter().zip(scale.iter().zip(shift));
    columns
        .map(|(x, (scale, shift))| {
            let z = tape.div(x, deviation);
            let scaled = tape.mul(z, *scale);
            tape.add(scaled, *shift)
        })
        .collect()
}

/// An LSTM layer over one sequence; gates are i, f, g, o, and biases two.
fn lstm(tape: &mut Tape, x: &[Var], inputs: usize, parameters: &[&[Var]]) -> Vec<Var> {
    let [input, recurrent, input_bias, recurrent_bias] = *parameters else {
        unreachable!("an LSTM has four parameters")
    };
    let hidden = input_bias.len() / 4;
    let zero = tape.number(0.0);
    let (mut state, mut cell, mut out) = (vec![zero; hidden], vec![zero; hidden], Vec::new());
    for x in x.chunks(inputs) {
        let gates: Vec<Var> = (0..4 * hidden)
            .map(|gate| {
                let of_input = affine(tape, x, &input[gate * inputs..][..inputs], input_bias[gate]);
                let of_state = affine(tape, &state, &recurrent[gate * hidden..][..hidden], recurrent_bias[gate]);
                tape.add(of_input, of_state)
            })
            .collect();
        for unit in 0..hidden {
            let [i, f, o] = [0, 1, 3].map(|gate| tape.sigmoid(gates[gate * hidden + unit]));
            let g = tape.tanh(gates[2 * hidden + unit]);
            let (kept, new) = (tape.mul(f, cell[unit]), tape.mul(i, g));
            cell[unit] = tape.add(kept, new);
            let bent = tape.tanh(cell[unit]);
            state[unit] = tape.mul(o, bent);
        }
        out.extend(&state);
    }
    out
}

fn conv1d(
    tape: &mut Tape,
    conv: Conv1d,
    x: &[Var],
    (channels, outputs): (usize, usize),
    weights: &[usize],
    parameters: &[&[Var]],
) -> Vec<Var> {
    let (filters, kernel) = (weights[0], weights[2]);
    let zeros = if conv.causal { (kernel - 1) * conv.dilation } else { 0 };
    let mut out = Vec::new();
    for t in 0..outputs {
        for filter in 0..filters {
            let mut terms = Vec::new();
            for channel in 0..channels {
                for k in 0..kernel {
                    if let Some(row) = (t * conv.stride + k * conv.dilation).checked_sub(zeros) {
                        let weight = parameters[0][(filter * channels + channel) * kernel + k];
                        terms.push((x[row * channels + channel], weight));
                    }
                }
            }
            let sum = tape.dot(terms);
            out.push(tape.add(sum, parameters[1][filter]));
        }
    }
    out
}
