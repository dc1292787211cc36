//! The forward pass of a layer.

use pulp::{Simd, WithSimd};

use super::super::microkernel::{MOST_LANES, MOST_ROWS, Right, Term, VECTORS, parts, prefetch_write, rows, sum};
use super::super::simd::{halved, load, sigmoid, store, tanh};
use super::pack::Gates;
use super::packed_weights::LstmPackedWeights;
use super::{BLOCK, LstmGiven, LstmShape, padded};

/// What it is called with.
pub(super) struct Pass<'a> {
    pub given: LstmGiven<'a>,
    /// The weights, where they were packed beforehand; those that are given are not looked at then.
    pub prepared: Option<&'a LstmPackedWeights>,
    pub output: &'a mut [f32],
    pub saved: &'a mut [f32],
    pub scratch: &'a mut [f32],
}

/// Packed parameters.
#[derive(Clone, Copy)]
pub(super) struct Packed<'a> {
    pub(super) input: Right<'a>,
    pub(super) recurrent: Right<'a>,
    pub(super) biases: &'a [f32],
}

impl<'a> Packed<'a> {
    /// Packs the parameters of a layer into the start of `scratch`; gives what is left of it.
    pub(super) fn new(layout: Gates, given: &LstmGiven, scratch: &'a mut [f32]) -> (Self, &'a mut [f32]) {
        let LstmGiven { shape: LstmShape { inputs, hidden, .. }, weights, .. } = *given;
        let wide = layout.wide();
        let (input, rest) = scratch.split_at_mut(wide * inputs);
        let (recurrent, rest) = rest.split_at_mut(wide * hidden);
        let (biases, rest) = rest.split_at_mut(wide);
        layout.pack(weights.input, inputs, input);
        layout.pack(weights.recurrent, hidden, recurrent);
        layout.pack_biases(weights.biases, biases);
        (Self { input: Right::Single(input), recurrent: Right::Single(recurrent), biases }, rest)
    }
}

/// Where a block keeps its numbers.
pub(super) struct Place<'a> {
    /// Gates, row by row in the order of steps, then sequences; none where they are not kept.
    pub gates: &'a mut [f32],
    /// Cell states in the same order; of one step alone where they are not kept.
    pub cells: &'a mut [f32],
}

impl WithSimd for Pass<'_> {
    type Output = ();

    #[allow(clippy::inline_always)]
    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { given, prepared, output, saved, scratch } = self;
        let LstmGiven { shape, x, half, .. } = given;
        let LstmShape { sequences, steps, inputs, hidden } = shape;
        let layout = Gates { hidden, lanes: S::F32_LANES };
        let (wide, deep) = (layout.wide(), layout.lanes * layout.groups());
        let (packed, rest) = match prepared {
            Some(prepared) => (prepared.packed(layout, inputs), scratch),
            None => Packed::new(layout, &given, scratch),
        };
        let (cells, ahead) = rest.split_at_mut(BLOCK.min(sequences) * padded(hidden));
        let keeps = !saved.is_empty();
        let (gates, kept) = saved.split_at_mut(if keeps { sequences * steps * shape.wide() } else { 0 });
        for first in (0..sequences).step_by(BLOCK) {
            let count = BLOCK.min(sequences - first);
            let span = first * steps..(first + count) * steps;
            let mut place = Place {
                gates: if keeps { &mut gates[span.start * wide..span.end * wide] } else { &mut [] },
                cells: if keeps { &mut kept[span.start * deep..span.end * deep] } else { &mut *cells },
            };
            let x = &x[span.start * inputs..span.end * inputs];
            let output = &mut output[span.start * hidden..span.end * hidden];
            // A pass over fewer sequences than were planned for may have no room to take inputs ahead.
            let block = Block { shape, layout, half, count, ahead: shape.ahead().min(ahead.len() / wide) / count };
            block.run(simd, &packed, x, output, &mut place, ahead);
        }
    }
}

/// Sequences that go through the steps together.
pub(super) struct Block {
    pub shape: LstmShape,
    pub layout: Gates,
    pub half: bool,
    pub count: usize,
    /// Steps whose products of inputs are taken at once; 0 where each step takes its own.
    pub ahead: usize,
}

impl Block {
    #[allow(clippy::inline_always)]
    #[inline(always)]
    pub(super) fn run<S: Simd>(
        &self,
        simd: S,
        packed: &Packed,
        x: &[f32],
        output: &mut [f32],
        place: &mut Place,
        ahead: &mut [f32],
    ) {
        let LstmShape { steps, inputs, hidden, .. } = self.shape;
        let (groups, step_width) = (self.layout.groups(), VECTORS * S::F32_LANES);
        let wide = self.layout.wide();
        let mut sums = [0.0; MOST_ROWS * VECTORS * MOST_LANES];
        for step in 0..steps {
            if self.ahead > 0 && step % self.ahead == 0 {
                self.take_ahead(simd, packed, x, step, ahead);
            }
            for (first, rows) in parts(self.count, rows::<S>()) {
                for turn in 0..groups {
                    // There and back, so that the weights that were read last are read next.
                    let group = if step % 2 == 0 { turn } else { groups - 1 - turn };
                    let at = group * step_width;
                    for row in first..first + rows {
                        let row = (step * self.count + row) * wide + at;
                        if let Some(into) = place.gates.get_mut(row..row + step_width) {
                            prefetch_write(into);
                        }
                    }
                    let of_input = Term {
                        left: &x[(first * steps + step) * inputs..],
                        row: steps * inputs,
                        step: 1,
                        count: if self.ahead > 0 { 0 } else { inputs },
                        stretch: 0,
                        stretches: 1,
                        right: packed.input.from(group * inputs * step_width),
                    };
                    let of_state = Term {
                        left: &output[(first * steps + step.saturating_sub(1)) * hidden..],
                        row: steps * hidden,
                        count: if step > 0 { hidden } else { 0 },
                        right: packed.recurrent.from(group * hidden * step_width),
                        ..of_input
                    };
                    let begin = if self.ahead > 0 {
                        let row = first * self.ahead + step % self.ahead;
                        (&ahead[row * wide + at..], self.ahead * wide)
                    } else {
                        (&packed.biases[at..], 0)
                    };
                    sum::<S, VECTORS>(simd, rows, Some(begin), &[of_input, of_state], (&mut sums, step_width));
                    self.activate_gates(simd, step, (first, rows), group, &sums, output, place);
                }
            }
        }
    }

    /// The functions of a group's gates, and the states that come of them, for `rows` sequences from `first` on.
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
        place: &mut Place,
    ) {
        let LstmShape { steps, hidden, .. } = self.shape;
        let (lanes, step_width, units) = (S::F32_LANES, VECTORS * S::F32_LANES, self.layout.units(group));
        let (wide, deep) = (self.layout.wide(), lanes * self.layout.groups());
        let kept = !place.gates.is_empty();
        for (row, sums) in sums.chunks_exact(step_width).take(rows).enumerate() {
            let sequence = first + row;
            let at = if kept { step * self.count + sequence } else { sequence };
            let before = if kept { at.wrapping_sub(self.count) } else { at };
            let cell =
                if step > 0 { load::<S>(&place.cells[before * deep + group * lanes..]) } else { simd.splat_f32s(0.0) };
            let gate = |gate: usize| load::<S>(&sums[gate * lanes..]);
            let (i, f) = (sigmoid(simd, gate(0)), sigmoid(simd, gate(1)));
            let (g, o) = (tanh(simd, gate(2)), sigmoid(simd, gate(3)));
            let [i, f, g, o] = if self.half { halved::<S, 4>([i, f, g, o]) } else { [i, f, g, o] };
            let cell = simd.mul_add_e_f32s(f, cell, simd.mul_f32s(i, g));
            let state = simd.mul_f32s(o, tanh(simd, cell));
            let [state] = if self.half { halved::<S, 1>([state]) } else { [state] };
            store::<S>(&mut place.cells[at * deep + group * lanes..], cell);
            if kept {
                let into = &mut place.gates[at * wide + group * step_width..][..step_width];
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

    /// Biases and products of inputs of the steps from `step` on.
    #[allow(clippy::inline_always)]
    #[inline(always)]
    fn take_ahead<S: Simd>(&self, simd: S, packed: &Packed, x: &[f32], step: usize, ahead: &mut [f32]) {
        let LstmShape { steps, inputs, .. } = self.shape;
        let (wide, step_width) = (self.layout.wide(), VECTORS * S::F32_LANES);
        let count = self.ahead.min(steps - step);
        for sequence in 0..self.count {
            let x = &x[(sequence * steps + step) * inputs..];
            let ahead = &mut ahead[sequence * self.ahead * wide..];
            for group in 0..self.layout.groups() {
                for (first, rows) in parts(count, rows::<S>()) {
                    let term = Term {
                        left: &x[first * inputs..],
                        row: inputs,
                        step: 1,
                        count: inputs,
                        stretch: 0,
                        stretches: 1,
                        right: packed.input.from(group * inputs * step_width),
                    };
                    let begin = (&packed.biases[group * step_width..], 0);
                    let out = (&mut ahead[first * wide + group * step_width..], wide);
                    sum::<S, VECTORS>(simd, rows, Some(begin), &[term], out);
                }
            }
        }
    }
}
