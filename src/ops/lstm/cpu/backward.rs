//! The backward pass of a layer.

use pulp::{Simd, WithSimd};

use super::dates::DateRows;
use super::forward::{ForwardBlock, GateBuffers};
use super::pack::{ColumnBlock, GateLayout, GateWeights, column_blocks};
use super::{BLOCK, LstmArguments, LstmGradients, LstmShape, TIME_BLOCK_ROWS, padded};
use crate::device::cpu::microkernel::{
    RightMatrix, Term, TileSums, VECTORS, prefetch, split_evenly, sum_tile, tile_rows,
};
use crate::device::cpu::simd::{load, round_vectors, store, tanh};

/// The backward pass over all sequences.
pub(super) struct BackwardPass<'a> {
    pub arguments: LstmArguments<'a>,
    /// Rows of x that are equal, where that is known.
    pub dates: Option<&'a DateRows>,
    pub output: &'a [f32],
    pub saved: &'a [f32],
    pub output_grad: &'a [f32],
    pub gradients: LstmGradients<'a>,
    pub scratch: &'a mut [f32],
}

/// A block of sequences and the values that its backward pass reads.
struct BackwardBlock<'a> {
    shape: LstmShape,
    layout: GateLayout,
    half: bool,
    /// Sequences of the block.
    count: usize,
    x: &'a [f32],
    output: &'a [f32],
    gates: &'a [f32],
    cells: &'a [f32],
    output_grad: &'a [f32],
    /// Recurrent weights, packed by block of units.
    recurrent: &'a [f32],
    /// Input weights, packed by block of inputs.
    input: &'a [f32],
    /// Per sequence and step its distinct row, and the number of distinct rows.
    by_date: Option<(&'a [u32], usize)>,
}

/// The buffers that the backward pass of a block writes.
struct GradientBuffers<'a> {
    /// Gate gradients, by group, then step of the time block, then sequence.
    gates: &'a mut [f32],
    /// Cell-state gradients.
    cells: &'a mut [f32],
    /// Right factors of the weight gradients: input, previous state and 1, in the row order of `gates`.
    factors: &'a mut [f32],
    /// Weight gradients, by group, then factor.
    weights: &'a mut [f32],
    /// Gradients of the inputs; empty if they are not needed.
    x: &'a mut [f32],
    /// Sums of gate gradients by distinct row of x, `[groups, distinct rows, gates of a group]`.
    date_gates: &'a mut [f32],
}

/// Workspace to recompute the gates and cell states of a block.
struct RecomputeScratch<'a> {
    arguments: LstmArguments<'a>,
    layout: GateLayout,
    weights: GateWeights<'a>,
    gates: &'a mut [f32],
    cells: &'a mut [f32],
    states: &'a mut [f32],
    projections: &'a mut [f32],
}

impl<'a> RecomputeScratch<'a> {
    fn new(arguments: LstmArguments<'a>, layout: GateLayout, scratch: &'a mut [f32]) -> Self {
        let LstmShape { sequences, steps, hidden, .. } = arguments.shape;
        let rows = BLOCK.min(sequences) * steps;
        let (weights, rest) = GateWeights::pack(layout, &arguments, scratch);
        let (gates, rest) = rest.split_at_mut(rows * layout.gate_width());
        let (cells, rest) = rest.split_at_mut(rows * layout.cell_width());
        let (states, projections) = rest.split_at_mut(rows * hidden);
        Self { arguments, layout, weights, gates, cells, states, projections }
    }

    /// Recomputes gates and cell states of a block of `count` sequences.
    #[allow(clippy::inline_always)]
    #[inline(always)]
    fn compute<S: Simd>(
        &mut self,
        simd: S,
        count: usize,
        x: &[f32],
        by_date: Option<(&[u32], &[f32])>,
    ) -> (&[f32], &[f32]) {
        let LstmArguments { shape, half, .. } = self.arguments;
        let (layout, rows) = (self.layout, count * shape.steps);
        let gates = &mut self.gates[..rows * layout.gate_width()];
        let cells = &mut self.cells[..rows * layout.cell_width()];
        let mut buffers = GateBuffers { gates, cells };
        let projected_steps = if by_date.is_some() {
            0
        } else {
            shape.projected_rows().min(self.projections.len() / layout.gate_width()) / count
        };
        let block = ForwardBlock { shape, layout, half, count, projected_steps, by_date };
        let states = &mut self.states[..rows * shape.hidden];
        block.run(simd, &self.weights, x, states, &mut buffers, self.projections);
        (buffers.gates, buffers.cells)
    }
}

/// Consecutive steps whose gate gradients are held together.
#[derive(Clone, Copy)]
struct TimeBlock {
    first: usize,
    count: usize,
    /// Distance between groups of gates: the rows of the block and of the step after it.
    group_stride: usize,
}

impl WithSimd for BackwardPass<'_> {
    type Output = ();

    #[allow(clippy::inline_always)]
    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { arguments, dates, output, saved, output_grad, gradients, scratch } = self;
        let LstmArguments { shape, weights, x, half } = arguments;
        let LstmShape { sequences, steps, inputs, hidden } = shape;
        let layout = GateLayout { hidden, lanes: S::F32_LANES };
        let (gate_width, cell_width) = (layout.gate_width(), layout.cell_width());
        let factors = inputs + hidden + 1;
        let (recurrent, rest) = scratch.split_at_mut(shape.padded_gate_width() * padded(hidden));
        let (input, rest) = rest.split_at_mut(shape.padded_gate_width() * padded(inputs));
        let (weight_grads, rest) = rest.split_at_mut(gate_width * factors);
        let (cell_grads, rest) = rest.split_at_mut(BLOCK.min(sequences) * cell_width);
        let (gate_grads, rest) = rest.split_at_mut(shape.time_block_rows() * gate_width);
        let (factor_rows, rest) = rest.split_at_mut(shape.time_block_rows() * shape.factor_stride());
        let recompute = saved.is_empty() && !output.is_empty();
        let distinct = dates.map_or(0, DateRows::count);
        let (date_gates, rest) = rest.split_at_mut(distinct * gate_width);
        let (date_projections, rest) = rest.split_at_mut(if recompute { distinct * gate_width } else { 0 });
        // What comes last may have any size; everything before it begins at a cache line.
        let (rest, rows_of_x) = rest.split_at_mut(rest.len() - distinct * inputs);
        let mut recomputed = recompute.then(|| RecomputeScratch::new(arguments, layout, rest));
        if let Some(dates) = dates {
            dates.gather(x, inputs, rows_of_x);
            date_gates.fill(0.0);
            if let Some(recomputed) = &recomputed {
                dates.project(simd, (layout, inputs), &recomputed.weights, rows_of_x, date_projections);
            }
        }
        let x_grad = gradients.x;
        layout.pack_transposed(weights.recurrent, hidden, recurrent);
        if !x_grad.is_empty() {
            layout.pack_transposed(weights.input, inputs, input);
        }
        weight_grads.fill(0.0);
        let (gates, cells) = saved.split_at(if recompute { 0 } else { sequences * steps * shape.padded_gate_width() });
        for first in (0..sequences).step_by(BLOCK) {
            let count = BLOCK.min(sequences - first);
            let rows = first * steps..(first + count) * steps;
            let x = &x[rows.start * inputs..rows.end * inputs];
            let (gates, cells): (&[f32], &[f32]) = match &mut recomputed {
                Some(recomputed) => {
                    let by_date = dates.map(|dates| (&dates.index[rows.clone()], &*date_projections));
                    recomputed.compute(simd, count, x, by_date)
                }
                None => (
                    &gates[rows.start * gate_width..rows.end * gate_width],
                    &cells[rows.start * cell_width..rows.end * cell_width],
                ),
            };
            let block = BackwardBlock {
                shape,
                layout,
                half,
                count,
                x,
                output: &output[rows.start * hidden..rows.end * hidden],
                gates,
                cells,
                output_grad: &output_grad[rows.start * hidden..rows.end * hidden],
                recurrent,
                input,
                by_date: dates.map(|dates| (&dates.index[rows.clone()], distinct)),
            };
            let x_grad = if x_grad.is_empty() { &mut [] } else { &mut x_grad[rows.start * inputs..rows.end * inputs] };
            cell_grads[..count * cell_width].fill(0.0);
            let mut buffers = GradientBuffers {
                gates: gate_grads,
                cells: cell_grads,
                factors: factor_rows,
                weights: weight_grads,
                x: x_grad,
                date_gates,
            };
            block.run(simd, &mut buffers);
        }
        if let Some(dates) = dates {
            dates.add_weight_gradients(simd, (layout, inputs, factors), rows_of_x, date_gates, weight_grads);
        }
        let unpack = |first, inner, into: &mut [f32]| {
            if !into.is_empty() {
                layout.unpack(weight_grads, factors, first, inner, into);
            }
        };
        unpack(0, inputs, gradients.input);
        unpack(inputs, hidden, gradients.recurrent);
        for bias in gradients.biases {
            unpack(inputs + hidden, 1, bias);
        }
    }
}

impl BackwardBlock<'_> {
    #[allow(clippy::inline_always)]
    #[inline(always)]
    fn run<S: Simd>(&self, simd: S, buffers: &mut GradientBuffers) {
        let steps = self.shape.steps;
        let length = (TIME_BLOCK_ROWS / self.count - 1).clamp(1, steps);
        let group_width = VECTORS * S::F32_LANES;
        let group_stride = (length + 1) * self.count * group_width;
        let mut end = steps;
        while end > 0 {
            let count = length.min(end);
            let time = TimeBlock { first: end - count, count, group_stride };
            if end < steps {
                // The step after this time block is the first one of the block before: move it behind the last step.
                for group in 0..self.layout.groups() {
                    let (start, step) = (group * group_stride, self.count * group_width);
                    buffers.gates.copy_within(start..start + step, start + count * step);
                }
            }
            for step in (time.first..end).rev() {
                for units in column_blocks(self.shape.hidden, S::F32_LANES) {
                    for (first, rows) in split_evenly(self.count, tile_rows::<S>()) {
                        if units.width == group_width {
                            self.gate_gradients::<S, VECTORS>(simd, time, step, (first, rows), units, buffers);
                        } else {
                            self.gate_gradients::<S, 1>(simd, time, step, (first, rows), units, buffers);
                        }
                    }
                }
            }
            if !buffers.x.is_empty() {
                self.input_gradients(simd, time, buffers);
            }
            self.add_by_date(time, buffers);
            self.weight_gradients(simd, time, buffers);
            end = time.first;
        }
    }

    /// The product of the gate gradients of a step with a right matrix, for the sequences from `first` on.
    fn gate_term<'a>(
        &self,
        time: TimeBlock,
        step: usize,
        first: usize,
        gates: &'a [f32],
        right: &'a [f32],
    ) -> Term<'a> {
        let group_width = VECTORS * self.layout.lanes;
        Term {
            left: &gates[((step - time.first) * self.count + first) * group_width..],
            row_stride: group_width,
            stride: 1,
            count: group_width,
            segment_stride: time.group_stride,
            segments: self.layout.groups(),
            right: RightMatrix::Single(right),
        }
    }

    /// Computes the gate and cell-state gradients of a block of units at a step from those of the next step.
    #[allow(clippy::inline_always)]
    #[inline(always)]
    fn gate_gradients<S: Simd, const V: usize>(
        &self,
        simd: S,
        time: TimeBlock,
        step: usize,
        (first, rows): (usize, usize),
        units: ColumnBlock,
        buffers: &mut GradientBuffers,
    ) {
        let LstmShape { steps, hidden, .. } = self.shape;
        let (lanes, group_width) = (S::F32_LANES, VECTORS * S::F32_LANES);
        let (gate_width, cell_width) = (self.layout.gate_width(), lanes * self.layout.groups());
        let mut sums = TileSums::new();
        let sums = sums.get_mut();
        for sequence in first..first + rows {
            let row = step * self.count + sequence;
            prefetch(&self.gates[row * gate_width + 4 * units.first..][..4 * units.width]);
            prefetch(&self.cells[row * cell_width + units.first..][..units.width]);
            if step > 0 {
                prefetch(&self.cells[(row - self.count) * cell_width + units.first..][..units.width]);
                let previous = (sequence * steps + step - 1) * hidden + units.first;
                prefetch(&self.output_grad[previous..][..units.columns]);
            }
        }
        let output_grad = &self.output_grad[(first * steps + step) * hidden + units.first..];
        let initial = if units.columns == units.width {
            Some((output_grad, steps * hidden))
        } else {
            for (row, sums) in sums.chunks_exact_mut(units.width).take(rows).enumerate() {
                sums[..units.columns].copy_from_slice(&output_grad[row * steps * hidden..][..units.columns]);
            }
            None
        };
        let recurrent = &self.recurrent[units.first * gate_width..];
        let next = self.gate_term(time, step + 1, first, buffers.gates, recurrent);
        let terms = if step + 1 < steps { &[next][..] } else { &[] };
        sum_tile::<S, V>(simd, rows, initial, terms, (&mut *sums, units.width));
        let one = simd.splat_f32s(1.0);
        for (row, sums) in sums.chunks_exact(units.width).take(rows).enumerate() {
            let sequence = first + row;
            let row = step * self.count + sequence;
            for (vector, state_grad) in sums.chunks_exact(lanes).enumerate() {
                let unit = units.first + vector * lanes;
                let saved = &self.gates[row * gate_width + 4 * unit..][..group_width];
                let gate = |gate: usize| load::<S>(&saved[gate * lanes..]);
                let (i, f, g, o) = (gate(0), gate(1), gate(2), gate(3));
                let tanh_cell = tanh(simd, load::<S>(&self.cells[row * cell_width + unit..]));
                let previous_cell = if step > 0 {
                    load::<S>(&self.cells[(row - self.count) * cell_width + unit..])
                } else {
                    simd.splat_f32s(0.0)
                };
                let cell_buffer = &mut buffers.cells[sequence * cell_width + unit..][..lanes];
                let state_grad = load::<S>(state_grad);
                // y − y²: the derivative of the logistic function at output y; 1 − y² is that of tanh.
                let sigmoid_slope = |y| simd.negate_mul_add_e_f32s(y, y, y);
                let tanh_slope = |y| simd.negate_mul_add_e_f32s(y, y, one);
                let cell_grad =
                    simd.mul_add_e_f32s(simd.mul_f32s(state_grad, o), tanh_slope(tanh_cell), load::<S>(cell_buffer));
                let gate_grads = [
                    simd.mul_f32s(simd.mul_f32s(cell_grad, g), sigmoid_slope(i)),
                    simd.mul_f32s(simd.mul_f32s(cell_grad, previous_cell), sigmoid_slope(f)),
                    simd.mul_f32s(simd.mul_f32s(cell_grad, i), tanh_slope(g)),
                    simd.mul_f32s(simd.mul_f32s(state_grad, tanh_cell), sigmoid_slope(o)),
                ];
                let time_row = (step - time.first) * self.count + sequence;
                let start = unit / lanes * time.group_stride + time_row * group_width;
                let gate_grads = if self.half { round_vectors(simd, gate_grads) } else { gate_grads };
                let into = &mut buffers.gates[start..][..group_width];
                for (value, into) in gate_grads.into_iter().zip(into.chunks_exact_mut(lanes)) {
                    store::<S>(into, value);
                }
                store::<S>(cell_buffer, simd.mul_f32s(cell_grad, f));
            }
        }
    }

    /// Adds to the gradients of the inputs of a time block.
    #[allow(clippy::inline_always)]
    #[inline(always)]
    fn input_gradients<S: Simd>(&self, simd: S, time: TimeBlock, buffers: &mut GradientBuffers) {
        let LstmShape { steps, inputs, .. } = self.shape;
        for step in time.first..time.first + time.count {
            for (first, rows) in split_evenly(self.count, tile_rows::<S>()) {
                for columns in column_blocks(inputs, S::F32_LANES) {
                    let right = &self.input[columns.first * self.layout.gate_width()..];
                    let term = self.gate_term(time, step, first, buffers.gates, right);
                    let stride = steps * inputs;
                    let into = &mut buffers.x[(first * steps + step) * inputs + columns.first..];
                    let mut sums = TileSums::new();
                    let sums = sums.get_mut();
                    if columns.width == VECTORS * S::F32_LANES {
                        sum_tile::<S, VECTORS>(simd, rows, None, &[term], (&mut *sums, columns.width));
                    } else {
                        sum_tile::<S, 1>(simd, rows, None, &[term], (&mut *sums, columns.width));
                    }
                    for (row, sums) in sums.chunks_exact(columns.width).take(rows).enumerate() {
                        let into = &mut into[row * stride..][..columns.columns];
                        into.iter_mut().zip(sums).for_each(|(into, from)| *into += *from);
                    }
                }
            }
        }
    }

    /// Adds the gate gradients of a time block to those of their distinct rows of x. Later steps come first, so that the
    /// parts of a row are added in ascending order of the sequences.
    #[allow(clippy::inline_always)]
    #[inline(always)]
    fn add_by_date(&self, time: TimeBlock, buffers: &mut GradientBuffers) {
        let Some((index, distinct)) = self.by_date else { return };
        let group_width = VECTORS * self.layout.lanes;
        for group in 0..self.layout.groups() {
            let of_group = &mut buffers.date_gates[group * distinct * group_width..][..distinct * group_width];
            for step in (time.first..time.first + time.count).rev() {
                for sequence in 0..self.count {
                    let row = (step - time.first) * self.count + sequence;
                    let from = &buffers.gates[group * time.group_stride + row * group_width..][..group_width];
                    let into = index[sequence * self.shape.steps + step] as usize * group_width;
                    let into = &mut of_group[into..into + group_width];
                    into.iter_mut().zip(from).for_each(|(into, from)| *into += *from);
                }
            }
        }
    }

    /// Adds the products of a time block to the weight gradients; those of the inputs only if they do not go by date.
    #[allow(clippy::inline_always)]
    #[inline(always)]
    fn weight_gradients<S: Simd>(&self, simd: S, time: TimeBlock, buffers: &mut GradientBuffers) {
        let LstmShape { steps, inputs, hidden, .. } = self.shape;
        let (factors, stride) = (inputs + hidden + 1, self.shape.factor_stride());
        let skipped = if self.by_date.is_some() { inputs } else { 0 };
        for (row, into) in buffers.factors.chunks_exact_mut(stride).take(time.count * self.count).enumerate() {
            let (step, sequence) = (time.first + row / self.count, row % self.count);
            let row = sequence * steps + step;
            if skipped == 0 {
                into[..inputs].copy_from_slice(&self.x[row * inputs..][..inputs]);
            }
            let state = &mut into[inputs..inputs + hidden];
            if step > 0 {
                state.copy_from_slice(&self.output[(row - 1) * hidden..][..hidden]);
            } else {
                state.fill(0.0);
            }
            into[factors - 1] = 1.0;
        }
        let group_width = VECTORS * S::F32_LANES;
        for group in 0..self.layout.groups() {
            for (first, rows) in split_evenly(factors - skipped, tile_rows::<S>()) {
                let first = skipped + first;
                let term = Term {
                    left: &buffers.factors[first..],
                    row_stride: 1,
                    stride,
                    count: time.count * self.count,
                    segment_stride: 0,
                    segments: 1,
                    right: RightMatrix::Single(&buffers.gates[group * time.group_stride..]),
                };
                let out = &mut buffers.weights[(group * factors + first) * group_width..];
                sum_tile::<S, VECTORS>(simd, rows, None, &[term], (out, group_width));
            }
        }
    }
}
