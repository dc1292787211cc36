//! Input projections by date. Where x depends on the date of a step alone, as for one network over all assets, sequences
//! that overlap in time share most of their rows of x: each distinct row is projected once, and the gradient of the input
//! weights is a sum over distinct rows of gate gradients that were added first, in ascending order of the sequences.

use std::collections::BTreeMap;

use pulp::Simd;

use super::LstmShape;
use super::pack::{GateLayout, GateWeights};
use crate::device::cpu::microkernel::{RightMatrix, Term, VECTORS, split_evenly, sum_tile, tile_rows};

/// Which rows of x are equal.
#[derive(Debug)]
pub(super) struct DateRows {
    /// Per sequence and step, its distinct row.
    pub(super) index: Vec<u32>,
    /// Per distinct row, a row of x that has its values: sequence · steps + step.
    first: Vec<u32>,
}

impl DateRows {
    /// Finds the distinct rows of sequences that end at the given dates: the assignment of assets, and the row. Step t of
    /// a sequence is the row t + 1 − steps away from its date.
    pub(super) fn new(dates: &[(u32, u32)], steps: usize) -> Self {
        let mut known: BTreeMap<(u32, i64), u32> = BTreeMap::new();
        let mut first = Vec::new();
        let mut index = Vec::with_capacity(dates.len() * steps);
        for (sequence, &(assignment, date)) in dates.iter().enumerate() {
            for step in 0..steps {
                let row = i64::from(date) + step as i64 + 1 - steps as i64;
                let next = first.len() as u32;
                let distinct = *known.entry((assignment, row)).or_insert(next);
                if distinct == next {
                    first.push((sequence * steps + step) as u32);
                }
                index.push(distinct);
            }
        }
        Self { index, first }
    }

    /// Number of distinct rows.
    pub(super) fn count(&self) -> usize {
        self.first.len()
    }

    /// Copies the distinct rows of x, `[distinct rows, inputs]`.
    pub(super) fn gather(&self, x: &[f32], inputs: usize, out: &mut [f32]) {
        for (first, out) in self.first.iter().zip(out.chunks_exact_mut(inputs)) {
            out.copy_from_slice(&x[*first as usize * inputs..][..inputs]);
        }
    }

    /// Computes biases plus input projections of the distinct rows, `[distinct rows, gates]`.
    #[allow(clippy::inline_always)]
    #[inline(always)]
    pub(super) fn project<S: Simd>(
        &self,
        simd: S,
        (layout, inputs): (GateLayout, usize),
        weights: &GateWeights,
        rows_of_x: &[f32],
        out: &mut [f32],
    ) {
        let (gate_width, group_width) = (layout.gate_width(), VECTORS * S::F32_LANES);
        for group in 0..layout.groups() {
            for (first, rows) in split_evenly(self.count(), tile_rows::<S>()) {
                let term = Term {
                    left: &rows_of_x[first * inputs..],
                    row_stride: inputs,
                    stride: 1,
                    count: inputs,
                    segment_stride: 0,
                    segments: 1,
                    right: weights.input.from(group * inputs * group_width),
                };
                let initial = (&weights.biases[group * group_width..], 0);
                let out = (&mut out[first * gate_width + group * group_width..], gate_width);
                sum_tile::<S, VECTORS>(simd, rows, Some(initial), &[term], out);
            }
        }
    }

    /// Adds the products of distinct rows of x with the sums of their gate gradients, `[groups, distinct rows, gates of a
    /// group]`, to packed weight gradients of `factors` rows a group.
    #[allow(clippy::inline_always)]
    #[inline(always)]
    pub(super) fn add_weight_gradients<S: Simd>(
        &self,
        simd: S,
        (layout, inputs, factors): (GateLayout, usize, usize),
        rows_of_x: &[f32],
        gates: &[f32],
        weights: &mut [f32],
    ) {
        let (count, group_width) = (self.count(), VECTORS * S::F32_LANES);
        for group in 0..layout.groups() {
            for (first, rows) in split_evenly(inputs, tile_rows::<S>()) {
                let term = Term {
                    left: &rows_of_x[first..],
                    row_stride: 1,
                    stride: inputs,
                    count,
                    segment_stride: 0,
                    segments: 1,
                    right: RightMatrix::Single(&gates[group * count * group_width..]),
                };
                let out = &mut weights[(group * factors + first) * group_width..];
                sum_tile::<S, VECTORS>(simd, rows, None, &[term], (out, group_width));
            }
        }
    }
}

impl LstmShape {
    /// Elements that input projections by date take in either pass, for at most `date_rows` distinct rows: those rows of
    /// x, and a row of gates each; when gates are recomputed, another.
    pub(super) fn by_date(&self, date_rows: usize, recomputes: bool) -> usize {
        let rows = date_rows.min(self.sequences * self.steps);
        rows * (self.inputs + self.padded_gate_width() * if recomputes { 2 } else { 1 })
    }
}

#[cfg(test)]
mod tests {
    use super::DateRows;

    #[test]
    fn sequences_that_overlap_share_rows_and_other_assets_are_other_rows() {
        let rows = DateRows::new(&[(0, 5), (0, 6), (1, 6), (0, 9), (0, 6)], 3);
        // Rows 3 4 5 · 6 of the first assignment, 4 5 6 of the second, 7 8 9 of the first.
        assert_eq!(rows.index, [0, 1, 2, 1, 2, 3, 4, 5, 6, 7, 8, 9, 1, 2, 3]);
        assert_eq!((rows.count(), rows.first.as_slice()), (10, &[0, 1, 2, 5, 6, 7, 8, 9, 10, 11][..]));
        let x: Vec<f32> = (0..30).map(|index| index as f32).collect();
        let mut out = vec![0.0; 20];
        rows.gather(&x, 2, &mut out);
        assert_eq!(out[..8], [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 10.0, 11.0]);
        // Before the first row of the data there are rows too.
        assert_eq!(DateRows::new(&[(0, 0), (0, 1)], 3).count(), 4);
    }
}
