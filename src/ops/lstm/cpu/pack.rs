//! Packs the weights of a layer in the order in which tiles read them, and unpacks weight gradients from it.

use super::{LstmArguments, LstmShape};
use crate::device::cpu::microkernel::{RightMatrix, VECTORS};
use crate::device::cpu::transpose::{SQUARE, transpose};

/// The order of gates in a row: groups of `lanes` units, and in each group i, f, g, o.
#[derive(Clone, Copy)]
pub(super) struct GateLayout {
    pub hidden: usize,
    pub lanes: usize,
}

impl GateLayout {
    /// Groups of units.
    pub(super) fn groups(self) -> usize {
        self.hidden.div_ceil(self.lanes)
    }

    /// Gates of a group, padding included.
    pub(super) fn group_width(self) -> usize {
        4 * self.lanes
    }

    /// Gates of a row, padding included.
    pub(super) fn gate_width(self) -> usize {
        self.group_width() * self.groups()
    }

    /// Cell states of a row, padding included.
    pub(super) fn cell_width(self) -> usize {
        self.lanes * self.groups()
    }

    /// Units of a group; the last one may have fewer.
    pub(super) fn units(self, group: usize) -> usize {
        self.lanes.min(self.hidden - group * self.lanes)
    }

    /// For each gate of a row, its row in the weights `[4 hidden, …]`; `None` for padding.
    fn weight_rows(self) -> impl Iterator<Item = Option<usize>> {
        (0..self.gate_width()).map(move |gate| {
            let (group, within) = (gate / self.group_width(), gate % self.group_width());
            let unit = group * self.lanes + within % self.lanes;
            (unit < self.hidden).then(|| within / self.lanes * self.hidden + unit)
        })
    }

    /// Packs weights `[4 hidden, inner]` as right matrices of sums over `inner`: per group `[inner, 4 lanes]`.
    pub(super) fn pack(self, weights: &[f32], inner: usize, out: &mut [f32]) {
        let stride = self.group_width();
        for (group, out) in out.chunks_exact_mut(inner * stride).take(self.groups()).enumerate() {
            let units = self.units(group);
            for gate in 0..4 {
                let rows = &weights[(gate * self.hidden + group * self.lanes) * inner..][..units * inner];
                let out = &mut out[gate * self.lanes..];
                let transposed = units / SQUARE * SQUARE;
                for unit in (0..transposed).step_by(SQUARE) {
                    transpose((&rows[unit * inner..], inner), inner, &mut out[unit..], stride);
                }
                for unit in transposed..self.lanes {
                    let column = out[unit..].iter_mut().step_by(stride).take(inner);
                    match rows.get(unit * inner..(unit + 1) * inner) {
                        Some(row) => column.zip(row).for_each(|(into, from)| *into = *from),
                        None => column.for_each(|into| *into = 0.0),
                    }
                }
            }
        }
    }

    /// Adds both biases and packs the sums.
    pub(super) fn pack_biases(self, biases: [&[f32]; 2], out: &mut [f32]) {
        for (row, into) in self.weight_rows().zip(out) {
            *into = row.map_or(0.0, |row| biases[0][row] + biases[1][row]);
        }
    }

    /// Packs weights `[4 hidden, columns]` as right matrices of sums over gates: per column block `[gates, width]`.
    pub(super) fn pack_transposed(self, weights: &[f32], columns: usize, out: &mut [f32]) {
        for block in column_blocks(columns, self.lanes) {
            let out = &mut out[block.first * self.gate_width()..][..block.width * self.gate_width()];
            for (row, into) in self.weight_rows().zip(out.chunks_exact_mut(block.width)) {
                into.fill(0.0);
                if let Some(row) = row {
                    let from = &weights[row * columns + block.first..][..block.columns];
                    into[..block.columns].copy_from_slice(from);
                }
            }
        }
    }

    /// Adds packed gradients, per group `[factors, 4 lanes]`, to the gradients of weights `[4 hidden, inner]` whose
    /// factors begin at `first`.
    pub(super) fn unpack(self, packed: &[f32], factors: usize, first: usize, inner: usize, into: &mut [f32]) {
        let stride = self.group_width();
        for (gate, row) in self.weight_rows().enumerate() {
            let Some(row) = row else { continue };
            let column = &packed[(gate / stride * factors + first) * stride + gate % stride..];
            let into = &mut into[row * inner..][..inner];
            into.iter_mut().zip(column.iter().step_by(stride)).for_each(|(into, from)| *into += *from);
        }
    }
}

/// The packed parameters that a forward pass reads.
#[derive(Clone, Copy)]
pub(super) struct GateWeights<'a> {
    pub(super) input: RightMatrix<'a>,
    pub(super) recurrent: RightMatrix<'a>,
    pub(super) biases: &'a [f32],
}

impl<'a> GateWeights<'a> {
    /// Packs the parameters of a layer into the start of `scratch`, and returns them with the rest of it.
    pub(super) fn pack(layout: GateLayout, arguments: &LstmArguments, scratch: &'a mut [f32]) -> (Self, &'a mut [f32]) {
        let LstmArguments { shape: LstmShape { inputs, hidden, .. }, weights, .. } = *arguments;
        let gate_width = layout.gate_width();
        let (input, rest) = scratch.split_at_mut(gate_width * inputs);
        let (recurrent, rest) = rest.split_at_mut(gate_width * hidden);
        let (biases, rest) = rest.split_at_mut(gate_width);
        layout.pack(weights.input, inputs, input);
        layout.pack(weights.recurrent, hidden, recurrent);
        layout.pack_biases(weights.biases, biases);
        (Self { input: RightMatrix::Single(input), recurrent: RightMatrix::Single(recurrent), biases }, rest)
    }
}

/// Columns that one tile computes.
#[derive(Clone, Copy)]
pub(super) struct ColumnBlock {
    pub first: usize,
    /// Columns without padding.
    pub columns: usize,
    /// Columns with padding: the width of a wide or a narrow tile.
    pub width: usize,
}

/// Splits columns into blocks for wide tiles. A rest that would leave a vector of such a tile empty gets narrow ones.
pub(super) fn column_blocks(columns: usize, lanes: usize) -> impl Iterator<Item = ColumnBlock> {
    let mut first = 0;
    std::iter::from_fn(move || {
        let left = columns - first;
        let vectors = if left > (VECTORS - 1) * lanes { VECTORS } else { 1 };
        let block = ColumnBlock { first, columns: left.min(vectors * lanes), width: vectors * lanes };
        first += block.columns;
        (left > 0).then_some(block)
    })
}
