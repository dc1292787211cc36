//! The backward pass of a layer.

use pulp::{Simd, WithSimd};

use super::super::half::round_to_half;
use super::super::microkernel::{MOST_LANES, MOST_ROWS, Right, Term, VECTORS, parts, prefetch, rows, sum};
use super::super::simd::{load, store, tanh};
use super::forward::{self, Packed, Place};
use super::pack::{Gates, Panel, panels};
use super::{BLOCK, LstmGiven, LstmGradients, LstmShape, WINDOW, padded};

/// What it is called with.
pub(super) struct Pass<'a> {
    pub given: LstmGiven<'a>,
    pub output: &'a [f32],
    pub saved: &'a [f32],
    pub gradient: &'a [f32],
    pub gradients: LstmGradients<'a>,
    pub scratch: &'a mut [f32],
}

/// What a block of sequences reads; all but the weights are its own part.
struct Block<'a> {
    shape: LstmShape,
    layout: Gates,
    half: bool,
    count: usize,
    x: &'a [f32],
    output: &'a [f32],
    gates: &'a [f32],
    cells: &'a [f32],
    gradient: &'a [f32],
    /// By panel of units.
    recurrent: &'a [f32],
    /// By panel of inputs.
    input: &'a [f32],
}

/// What a block writes.
struct Work<'a> {
    /// Gradients of gates, by group, then step of the window, then sequence.
    gates: &'a mut [f32],
    /// Gradients of cell states.
    cells: &'a mut [f32],
    /// Right factors of the weights: input, state before and a one, row by row as the gates.
    factors: &'a mut [f32],
    /// Gradients of the weights by group, factor by factor.
    weights: &'a mut [f32],
    /// Gradients of the inputs; empty where nobody asks.
    x: &'a mut [f32],
}

/// Gates and cell states of a block that are computed again.
struct Again<'a> {
    given: LstmGiven<'a>,
    layout: Gates,
    packed: Packed<'a>,
    gates: &'a mut [f32],
    cells: &'a mut [f32],
    states: &'a mut [f32],
    ahead: &'a mut [f32],
}

impl<'a> Again<'a> {
    fn new(given: LstmGiven<'a>, layout: Gates, scratch: &'a mut [f32]) -> Self {
        let LstmShape { sequences, steps, hidden, .. } = given.shape;
        let rows = BLOCK.min(sequences) * steps;
        let (packed, rest) = Packed::new(layout, &given, scratch);
        let (gates, rest) = rest.split_at_mut(rows * layout.wide());
        let (cells, rest) = rest.split_at_mut(rows * layout.lanes * layout.groups());
        let (states, ahead) = rest.split_at_mut(rows * hidden);
        Self { given, layout, packed, gates, cells, states, ahead }
    }

    #[allow(clippy::inline_always)]
    #[inline(always)]
    fn compute<S: Simd>(&mut self, simd: S, count: usize, x: &[f32]) -> (&[f32], &[f32]) {
        let LstmShape { steps, hidden, .. } = self.given.shape;
        let (wide, deep, rows) = (self.layout.wide(), self.layout.lanes * self.layout.groups(), count * steps);
        let (gates, cells) = (&mut self.gates[..rows * wide], &mut self.cells[..rows * deep]);
        let mut place = Place { gates, cells };
        let ahead = self.given.shape.ahead().min(self.ahead.len() / wide) / count;
        let (shape, layout, half) = (self.given.shape, self.layout, self.given.half);
        let block = forward::Block { shape, layout, half, count, ahead };
        block.run(simd, &self.packed, x, &mut self.states[..rows * hidden], &mut place, self.ahead);
        (place.gates, place.cells)
    }
}

/// Steps whose gradients of gates are in memory together.
#[derive(Clone, Copy)]
struct Window {
    first: usize,
    count: usize,
    /// From one group of gates to the next: room for a step more.
    stride: usize,
}

impl WithSimd for Pass<'_> {
    type Output = ();

    #[allow(clippy::inline_always)]
    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { given, output, saved, gradient, gradients, scratch } = self;
        let LstmGiven { shape, weights, x, half } = given;
        let LstmShape { sequences, steps, inputs, hidden } = shape;
        let layout = Gates { hidden, lanes: S::F32_LANES };
        let (wide, deep) = (layout.wide(), layout.lanes * layout.groups());
        let all = inputs + hidden + 1;
        let (recurrent, rest) = scratch.split_at_mut(shape.wide() * padded(hidden));
        let (input, rest) = rest.split_at_mut(shape.wide() * padded(inputs));
        let (of_weights, rest) = rest.split_at_mut(wide * all);
        let (of_cells, rest) = rest.split_at_mut(BLOCK.min(sequences) * deep);
        let (of_gates, rest) = rest.split_at_mut(shape.window() * wide);
        let (factors, rest) = rest.split_at_mut(shape.window() * shape.factors());
        let mut again = (saved.is_empty() && !output.is_empty()).then(|| Again::new(given, layout, rest));
        let of_x = gradients.x;
        layout.pack_transposed(weights.recurrent, hidden, recurrent);
        if !of_x.is_empty() {
            layout.pack_transposed(weights.input, inputs, input);
        }
        of_weights.fill(0.0);
        let (gates, cells) = saved.split_at(if again.is_some() { 0 } else { sequences * steps * shape.wide() });
        for first in (0..sequences).step_by(BLOCK) {
            let count = BLOCK.min(sequences - first);
            let span = first * steps..(first + count) * steps;
            let (gates, cells): (&[f32], &[f32]) = match &mut again {
                Some(again) => again.compute(simd, count, &x[span.start * inputs..span.end * inputs]),
                None => (&gates[span.start * wide..span.end * wide], &cells[span.start * deep..span.end * deep]),
            };
            let block = Block {
                shape,
                layout,
                half,
                count,
                x: &x[span.start * inputs..span.end * inputs],
                output: &output[span.start * hidden..span.end * hidden],
                gates,
                cells,
                gradient: &gradient[span.start * hidden..span.end * hidden],
                recurrent,
                input,
            };
            let of_x = if of_x.is_empty() { &mut [] } else { &mut of_x[span.start * inputs..span.end * inputs] };
            of_cells[..count * deep].fill(0.0);
            let mut work = Work { gates: of_gates, cells: of_cells, factors, weights: of_weights, x: of_x };
            block.run(simd, &mut work);
        }
        let unpack = |first, inner, into: &mut [f32]| {
            if !into.is_empty() {
                layout.unpack(of_weights, all, first, inner, into);
            }
        };
        unpack(0, inputs, gradients.input);
        unpack(inputs, hidden, gradients.recurrent);
        for bias in gradients.biases {
            unpack(inputs + hidden, 1, bias);
        }
    }
}

impl Block<'_> {
    #[allow(clippy::inline_always)]
    #[inline(always)]
    fn run<S: Simd>(&self, simd: S, work: &mut Work) {
        let steps = self.shape.steps;
        let length = (WINDOW / self.count - 1).clamp(1, steps);
        let step_width = VECTORS * S::F32_LANES;
        let stride = (length + 1) * self.count * step_width;
        let mut end = steps;
        while end > 0 {
            let count = length.min(end);
            let window = Window { first: end - count, count, stride };
            if end < steps {
                // The first step of the window before stands behind the last one of this.
                for group in 0..self.layout.groups() {
                    let one = self.count * step_width;
                    work.gates.copy_within(group * stride..group * stride + one, group * stride + count * one);
                }
            }
            for step in (window.first..end).rev() {
                for (first, rows) in parts(self.count, rows::<S>()) {
                    for panel in panels(self.shape.hidden, S::F32_LANES) {
                        if panel.wide == step_width {
                            self.gates::<S, VECTORS>(simd, window, step, (first, rows), panel, work);
                        } else {
                            self.gates::<S, 1>(simd, window, step, (first, rows), panel, work);
                        }
                    }
                }
            }
            if !work.x.is_empty() {
                self.inputs(simd, window, work);
            }
            self.weights(simd, window, work);
            end = window.first;
        }
    }

    /// Sums over all gates of a step of the window, `rows` sequences from `first` on.
    fn gate_term<'a>(&self, window: Window, step: usize, first: usize, gates: &'a [f32], right: &'a [f32]) -> Term<'a> {
        let row = VECTORS * self.layout.lanes;
        Term {
            left: &gates[((step - window.first) * self.count + first) * row..],
            row,
            step: 1,
            count: row,
            stretch: window.stride,
            stretches: self.layout.groups(),
            right: Right::Single(right),
        }
    }

    /// Gradients of the gates of a panel of units at a step, from those of the step after.
    #[allow(clippy::inline_always)]
    #[inline(always)]
    fn gates<S: Simd, const V: usize>(
        &self,
        simd: S,
        window: Window,
        step: usize,
        (first, rows): (usize, usize),
        panel: Panel,
        work: &mut Work,
    ) {
        let LstmShape { steps, hidden, .. } = self.shape;
        let (lanes, step_width) = (S::F32_LANES, VECTORS * S::F32_LANES);
        let (wide, deep) = (self.layout.wide(), lanes * self.layout.groups());
        let mut sums = [0.0; MOST_ROWS * VECTORS * MOST_LANES];
        for row in first..first + rows {
            let at = step * self.count + row;
            prefetch(&self.gates[at * wide + 4 * panel.first..][..4 * panel.wide]);
            prefetch(&self.cells[at * deep + panel.first..][..panel.wide]);
            if step > 0 {
                prefetch(&self.cells[(at - self.count) * deep + panel.first..][..panel.wide]);
                prefetch(&self.gradient[(row * steps + step - 1) * hidden + panel.first..][..panel.columns]);
            }
        }
        let gradient = &self.gradient[(first * steps + step) * hidden + panel.first..];
        let begin = if panel.columns == panel.wide {
            Some((gradient, steps * hidden))
        } else {
            for (row, sums) in sums.chunks_exact_mut(panel.wide).take(rows).enumerate() {
                sums[..panel.columns].copy_from_slice(&gradient[row * steps * hidden..][..panel.columns]);
            }
            None
        };
        let after = self.gate_term(window, step + 1, first, work.gates, &self.recurrent[panel.first * wide..]);
        let terms = if step + 1 < steps { &[after][..] } else { &[] };
        sum::<S, V>(simd, rows, begin, terms, (&mut sums, panel.wide));
        let one = simd.splat_f32s(1.0);
        for (row, sums) in sums.chunks_exact(panel.wide).take(rows).enumerate() {
            let at = step * self.count + first + row;
            for (place, state) in sums.chunks_exact(lanes).enumerate() {
                let unit = panel.first + place * lanes;
                let saved = &self.gates[at * wide + 4 * unit..][..step_width];
                let gate = |gate: usize| load::<S>(&saved[gate * lanes..]);
                let (i, f, g, o) = (gate(0), gate(1), gate(2), gate(3));
                let bent = tanh(simd, load::<S>(&self.cells[at * deep + unit..]));
                let held = if step > 0 {
                    load::<S>(&self.cells[(at - self.count) * deep + unit..])
                } else {
                    simd.splat_f32s(0.0)
                };
                let of_cell = &mut work.cells[(first + row) * deep + unit..][..lanes];
                let state = load::<S>(state);
                // x − x²: the slope of the logistic function by its value.
                let slope = |value| simd.negate_mul_add_e_f32s(value, value, value);
                let activate_gates = simd.negate_mul_add_e_f32s(bent, bent, one);
                let through = simd.mul_add_e_f32s(simd.mul_f32s(state, o), activate_gates, load::<S>(of_cell));
                let of_gates = [
                    simd.mul_f32s(simd.mul_f32s(through, g), slope(i)),
                    simd.mul_f32s(simd.mul_f32s(through, held), slope(f)),
                    simd.mul_f32s(simd.mul_f32s(through, i), simd.negate_mul_add_e_f32s(g, g, one)),
                    simd.mul_f32s(simd.mul_f32s(state, bent), slope(o)),
                ];
                let row = (step - window.first) * self.count + first + row;
                let into = &mut work.gates[unit / lanes * window.stride + row * step_width..][..step_width];
                for (value, into) in of_gates.into_iter().zip(into.chunks_exact_mut(lanes)) {
                    store::<S>(into, value);
                }
                if self.half {
                    round_to_half(into);
                }
                store::<S>(of_cell, simd.mul_f32s(through, f));
            }
        }
    }

    /// Adds to the gradients of the inputs of a window.
    #[allow(clippy::inline_always)]
    #[inline(always)]
    fn inputs<S: Simd>(&self, simd: S, window: Window, work: &mut Work) {
        let LstmShape { steps, inputs, .. } = self.shape;
        for step in window.first..window.first + window.count {
            for (first, rows) in parts(self.count, rows::<S>()) {
                for panel in panels(inputs, S::F32_LANES) {
                    let right = &self.input[panel.first * self.layout.wide()..];
                    let term = self.gate_term(window, step, first, work.gates, right);
                    let stride = steps * inputs;
                    let into = &mut work.x[(first * steps + step) * inputs + panel.first..];
                    let mut sums = [0.0; MOST_ROWS * VECTORS * MOST_LANES];
                    if panel.wide == VECTORS * S::F32_LANES {
                        sum::<S, VECTORS>(simd, rows, None, &[term], (&mut sums, panel.wide));
                    } else {
                        sum::<S, 1>(simd, rows, None, &[term], (&mut sums, panel.wide));
                    }
                    for (row, sums) in sums.chunks_exact(panel.wide).take(rows).enumerate() {
                        let into = &mut into[row * stride..][..panel.columns];
                        into.iter_mut().zip(sums).for_each(|(into, from)| *into += *from);
                    }
                }
            }
        }
    }

    /// Adds the products of a window to the gradients of the weights.
    #[allow(clippy::inline_always)]
    #[inline(always)]
    fn weights<S: Simd>(&self, simd: S, window: Window, work: &mut Work) {
        let LstmShape { steps, inputs, hidden, .. } = self.shape;
        let (all, stride) = (inputs + hidden + 1, self.shape.factors());
        for (row, into) in work.factors.chunks_exact_mut(stride).take(window.count * self.count).enumerate() {
            let (step, sequence) = (window.first + row / self.count, row % self.count);
            let at = sequence * steps + step;
            into[..inputs].copy_from_slice(&self.x[at * inputs..][..inputs]);
            let state = &mut into[inputs..inputs + hidden];
            if step > 0 {
                state.copy_from_slice(&self.output[(at - 1) * hidden..][..hidden]);
            } else {
                state.fill(0.0);
            }
            into[all - 1] = 1.0;
        }
        let step_width = VECTORS * S::F32_LANES;
        for group in 0..self.layout.groups() {
            for (first, rows) in parts(all, rows::<S>()) {
                let term = Term {
                    left: &work.factors[first..],
                    row: 1,
                    step: stride,
                    count: window.count * self.count,
                    stretch: 0,
                    stretches: 1,
                    right: Right::Single(&work.gates[group * window.stride..]),
                };
                let out = &mut work.weights[(group * all + first) * step_width..];
                sum::<S, VECTORS>(simd, rows, None, &[term], (out, step_width));
            }
        }
    }
}
