//! The forward pass of a layer.

use pulp::{Simd, WithSimd};

use super::dates::DateRows;
use super::pack::{GateLayout, GateWeights};
use super::packed_weights::LstmPackedWeights;
use super::{BLOCK, LstmArguments, LstmShape, padded};
use crate::device::cpu::microkernel::{Term, TileSums, VECTORS, prefetch_write, split_evenly, sum_tile, tile_rows};
use crate::device::cpu::simd::{load, round_vectors, sigmoid, store, tanh};

/// The forward pass over all sequences.
pub(super) struct ForwardPass<'a> {
    pub arguments: LstmArguments<'a>,
    /// Weights that were packed beforehand; those in `arguments` are then ignored.
    pub packed: Option<&'a LstmPackedWeights>,
    /// Rows of x that are equal, where that is known.
    pub dates: Option<&'a DateRows>,
    pub output: &'a mut [f32],
    pub saved: &'a mut [f32],
    pub scratch: &'a mut [f32],
}

/// The buffers that a block writes its gates and cell states to.
pub(super) struct GateBuffers<'a> {
    /// Activated gates, step by step, then sequence by sequence; empty if they are not saved.
    pub gates: &'a mut [f32],
    /// Cell states in the same order; those of one step if they are not saved.
    pub cells: &'a mut [f32],
}

impl WithSimd for ForwardPass<'_> {
    type Output = ();

    #[allow(clippy::inline_always)]
    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { arguments, packed, dates, output, saved, scratch } = self;
        let LstmArguments { shape, x, half, .. } = arguments;
        let LstmShape { sequences, steps, inputs, hidden } = shape;
        let layout = GateLayout { hidden, lanes: S::F32_LANES };
        let (gate_width, cell_width) = (layout.gate_width(), layout.cell_width());
        let (weights, rest) = match packed {
            Some(packed) => packed.gate_weights((layout, inputs), sequences, scratch),
            None => GateWeights::pack(layout, &arguments, scratch),
        };
        let (block_cells, rest) = rest.split_at_mut(BLOCK.min(sequences) * padded(hidden));
        let (of_dates, projections) = match dates {
            Some(dates) => {
                let (projections, rest) = rest.split_at_mut(dates.count() * gate_width);
                let (rows_of_x, rest) = rest.split_at_mut(dates.count() * inputs);
                dates.gather(x, inputs, rows_of_x);
                dates.project(simd, (layout, inputs), &weights, rows_of_x, projections);
                (Some((dates, &*projections)), rest)
            }
            None => (None, rest),
        };
        let saves = !saved.is_empty();
        let (gates, cells) = saved.split_at_mut(if saves { sequences * steps * shape.padded_gate_width() } else { 0 });
        for first in (0..sequences).step_by(BLOCK) {
            let count = BLOCK.min(sequences - first);
            let rows = first * steps..(first + count) * steps;
            let mut buffers = GateBuffers {
                gates: if saves { &mut gates[rows.start * gate_width..rows.end * gate_width] } else { &mut [] },
                cells: if saves {
                    &mut cells[rows.start * cell_width..rows.end * cell_width]
                } else {
                    &mut *block_cells
                },
            };
            let x = &x[rows.start * inputs..rows.end * inputs];
            let output = &mut output[rows.start * hidden..rows.end * hidden];
            // With fewer sequences than were planned for, the workspace may be too small for projections.
            let projected_steps =
                if dates.is_some() { 0 } else { shape.projected_rows().min(projections.len() / gate_width) / count };
            let by_date = of_dates.map(|(dates, projections)| (&dates.index[rows.clone()], projections));
            let block = ForwardBlock { shape, layout, half, count, projected_steps, by_date };
            block.run(simd, &weights, x, output, &mut buffers, projections);
        }
    }
}

/// A block of sequences that go through the steps together.
pub(super) struct ForwardBlock<'a> {
    pub shape: LstmShape,
    pub layout: GateLayout,
    pub half: bool,
    /// Sequences of the block.
    pub count: usize,
    /// Steps whose input projections are computed together; 0 if every step computes its own.
    pub projected_steps: usize,
    /// Per sequence and step its distinct row, and the biases plus input projections of the distinct rows.
    pub by_date: Option<(&'a [u32], &'a [f32])>,
}

impl ForwardBlock<'_> {
    #[allow(clippy::inline_always)]
    #[inline(always)]
    pub(super) fn run<S: Simd>(
        &self,
        simd: S,
        weights: &GateWeights,
        x: &[f32],
        output: &mut [f32],
        buffers: &mut GateBuffers,
        projections: &mut [f32],
    ) {
        let LstmShape { steps, inputs, hidden, .. } = self.shape;
        let (groups, group_width) = (self.layout.groups(), VECTORS * S::F32_LANES);
        let gate_width = self.layout.gate_width();
        let mut sums = TileSums::new();
        let sums = sums.get_mut();
        for step in 0..steps {
            if self.projected_steps > 0 && step % self.projected_steps == 0 {
                self.project_inputs(simd, weights, x, step, projections);
            }
            for turn in 0..groups {
                // In alternating direction, so that the weights that were read last are read next.
                let group = if step % 2 == 0 { turn } else { groups - 1 - turn };
                let gate = group * group_width;
                for (first, rows) in split_evenly(self.count, tile_rows::<S>()) {
                    for sequence in first..first + rows {
                        let index = (step * self.count + sequence) * gate_width + gate;
                        if let Some(into) = buffers.gates.get_mut(index..index + group_width) {
                            prefetch_write(into);
                        }
                    }
                    let input_term = Term {
                        left: &x[(first * steps + step) * inputs..],
                        row_stride: steps * inputs,
                        stride: 1,
                        count: if self.projected_steps > 0 || self.by_date.is_some() { 0 } else { inputs },
                        segment_stride: 0,
                        segments: 1,
                        right: weights.input.from(group * inputs * group_width),
                    };
                    let state_term = Term {
                        left: &output[(first * steps + step.saturating_sub(1)) * hidden..],
                        row_stride: steps * hidden,
                        count: if step > 0 { hidden } else { 0 },
                        right: weights.recurrent.from(group * hidden * group_width),
                        ..input_term
                    };
                    let terms = [input_term, state_term];
                    if let Some((index, projections)) = self.by_date {
                        for (row, sums) in sums.chunks_exact_mut(group_width).take(rows).enumerate() {
                            let distinct = index[(first + row) * steps + step] as usize;
                            sums.copy_from_slice(&projections[distinct * gate_width + gate..][..group_width]);
                        }
                        sum_tile::<S, VECTORS>(simd, rows, None, &terms, (&mut *sums, group_width));
                        self.activate_gates(simd, step, (first, rows), group, sums, output, buffers);
                        continue;
                    }
                    let initial = if self.projected_steps > 0 {
                        let row = first * self.projected_steps + step % self.projected_steps;
                        (&projections[row * gate_width + gate..], self.projected_steps * gate_width)
                    } else {
                        (&weights.biases[gate..], 0)
                    };
                    sum_tile::<S, VECTORS>(simd, rows, Some(initial), &terms, (&mut *sums, group_width));
                    self.activate_gates(simd, step, (first, rows), group, sums, output, buffers);
                }
            }
        }
    }

    /// Activates the gates of a group and computes cell states and states, for `rows` sequences from `first` on.
    #[allow(clippy::inline_always, clippy::too_many_arguments)]
    #[inline(always)]
    fn activate_gates<S: Simd>(
        &self,
        simd: S,
        step: usize,
        (first, rows): (usize, usize),
        group: usize,
        sums: &[f32],
        output: &mut [f32],
        buffers: &mut GateBuffers,
    ) {
        let LstmShape { steps, hidden, .. } = self.shape;
        let (lanes, group_width, units) = (S::F32_LANES, VECTORS * S::F32_LANES, self.layout.units(group));
        let (gate_width, cell_width) = (self.layout.gate_width(), lanes * self.layout.groups());
        let saves = !buffers.gates.is_empty();
        for (row, sums) in sums.chunks_exact(group_width).take(rows).enumerate() {
            let sequence = first + row;
            let row = if saves { step * self.count + sequence } else { sequence };
            let previous = if saves { row.wrapping_sub(self.count) } else { row };
            let cell = if step > 0 {
                load::<S>(&buffers.cells[previous * cell_width + group * lanes..])
            } else {
                simd.splat_f32s(0.0)
            };
            let gate = |gate: usize| load::<S>(&sums[gate * lanes..]);
            let (i, f) = (sigmoid(simd, gate(0)), sigmoid(simd, gate(1)));
            let (g, o) = (tanh(simd, gate(2)), sigmoid(simd, gate(3)));
            let [i, f, g, o] = if self.half { round_vectors(simd, [i, f, g, o]) } else { [i, f, g, o] };
            let cell = simd.mul_add_e_f32s(f, cell, simd.mul_f32s(i, g));
            let state = simd.mul_f32s(o, tanh(simd, cell));
            let [state] = if self.half { round_vectors(simd, [state]) } else { [state] };
            store::<S>(&mut buffers.cells[row * cell_width + group * lanes..], cell);
            if saves {
                let into = &mut buffers.gates[row * gate_width + group * group_width..][..group_width];
                for (value, into) in [i, f, g, o].into_iter().zip(into.chunks_exact_mut(lanes)) {
                    store::<S>(into, value);
                }
            }
            let into = &mut output[(sequence * steps + step) * hidden + group * lanes..][..units];
            if units == lanes {
                store::<S>(into, state);
            } else {
                simd.partial_store_f32s(into, state);
            }
        }
    }

    /// Computes biases plus input projections for the steps from `step` on.
    #[allow(clippy::inline_always)]
    #[inline(always)]
    fn project_inputs<S: Simd>(&self, simd: S, weights: &GateWeights, x: &[f32], step: usize, projections: &mut [f32]) {
        let LstmShape { steps, inputs, .. } = self.shape;
        let (gate_width, group_width) = (self.layout.gate_width(), VECTORS * S::F32_LANES);
        let count = self.projected_steps.min(steps - step);
        for sequence in 0..self.count {
            let x = &x[(sequence * steps + step) * inputs..];
            let projections = &mut projections[sequence * self.projected_steps * gate_width..];
            for group in 0..self.layout.groups() {
                for (first, rows) in split_evenly(count, tile_rows::<S>()) {
                    let term = Term {
                        left: &x[first * inputs..],
                        row_stride: inputs,
                        stride: 1,
                        count: inputs,
                        segment_stride: 0,
                        segments: 1,
                        right: weights.input.from(group * inputs * group_width),
                    };
                    let initial = (&weights.biases[group * group_width..], 0);
                    let out = (&mut projections[first * gate_width + group * group_width..], gate_width);
                    sum_tile::<S, VECTORS>(simd, rows, Some(initial), &[term], out);
                }
            }
        }
    }
}
