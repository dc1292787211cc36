//! Weights of a layer in the order in which tiles read them, and gradients of weights back from it.

use super::super::microkernel::VECTORS;

/// Gates of a layer, a vector of `lanes` units at a time.
#[derive(Clone, Copy)]
pub(super) struct Gates {
    pub hidden: usize,
    pub lanes: usize,
}

impl Gates {
    /// Groups of units.
    pub(super) fn groups(self) -> usize {
        self.hidden.div_ceil(self.lanes)
    }

    /// Gates of a row.
    pub(super) fn wide(self) -> usize {
        4 * self.lanes * self.groups()
    }

    /// Units of a group; the last one may have fewer.
    pub(super) fn units(self, group: usize) -> usize {
        self.lanes.min(self.hidden - group * self.lanes)
    }

    /// For each place in a row of gates, the row of the weights that it has; none for padding.
    fn rows(self) -> impl Iterator<Item = Option<usize>> {
        (0..self.wide()).map(move |place| {
            let (group, within) = (place / (4 * self.lanes), place % (4 * self.lanes));
            let unit = group * self.lanes + within % self.lanes;
            (unit < self.hidden).then(|| within / self.lanes * self.hidden + unit)
        })
    }

    /// Weights `[4 hidden, inner]` as right side of sums over `inner`: by group, `[inner, 4 lanes]`.
    pub(super) fn pack(self, weights: &[f32], inner: usize, out: &mut [f32]) {
        let step = 4 * self.lanes;
        for (group, out) in out.chunks_exact_mut(inner * step).take(self.groups()).enumerate() {
            let units = self.units(group);
            for gate in 0..4 {
                let rows = &weights[(gate * self.hidden + group * self.lanes) * inner..][..units * inner];
                let out = &mut out[gate * self.lanes..];
                let squares = units / SQUARE * SQUARE;
                for unit in (0..squares).step_by(SQUARE) {
                    transpose(&rows[unit * inner..][..SQUARE * inner], inner, &mut out[unit..], step);
                }
                for unit in squares..self.lanes {
                    let column = out[unit..].iter_mut().step_by(step).take(inner);
                    match rows.get(unit * inner..(unit + 1) * inner) {
                        Some(row) => column.zip(row).for_each(|(into, from)| *into = *from),
                        None => column.for_each(|into| *into = 0.0),
                    }
                }
            }
        }
    }

    /// Sums of both biases.
    pub(super) fn pack_biases(self, biases: [&[f32]; 2], out: &mut [f32]) {
        for (row, into) in self.rows().zip(out) {
            *into = row.map_or(0.0, |row| biases[0][row] + biases[1][row]);
        }
    }

    /// Weights `[4 hidden, columns]` as right side of sums over the gates: by panel of columns, `[gates, panel]`.
    pub(super) fn pack_transposed(self, weights: &[f32], columns: usize, out: &mut [f32]) {
        for panel in panels(columns, self.lanes) {
            let out = &mut out[panel.first * self.wide()..][..panel.wide * self.wide()];
            for (row, into) in self.rows().zip(out.chunks_exact_mut(panel.wide)) {
                into.fill(0.0);
                if let Some(row) = row {
                    let from = &weights[row * columns + panel.first..][..panel.columns];
                    into[..panel.columns].copy_from_slice(from);
                }
            }
        }
    }

    /// Adds gradients that stand by group, `[factors, 4 lanes]`, to those of weights `[4 hidden, inner]` whose factors begin at
    /// `first`.
    pub(super) fn unpack(self, packed: &[f32], factors: usize, first: usize, inner: usize, into: &mut [f32]) {
        let step = 4 * self.lanes;
        for (place, row) in self.rows().enumerate() {
            let Some(row) = row else { continue };
            let column = &packed[(place / step * factors + first) * step + place % step..];
            let into = &mut into[row * inner..][..inner];
            into.iter_mut().zip(column.iter().step_by(step)).for_each(|(into, from)| *into += *from);
        }
    }
}

/// Rows that are turned into columns together.
const SQUARE: usize = 4;

/// Writes four rows of `inner` numbers as columns of `out`, `step` numbers from one to the next, in squares where there is an
/// instruction for it.
fn transpose(rows: &[f32], inner: usize, out: &mut [f32], step: usize) {
    let mut done = 0;
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_TRANSPOSE4_PS, _mm_loadu_ps, _mm_storeu_ps};
        assert!(SQUARE * inner <= rows.len() && (inner == 0 || (inner - 1) * step + SQUARE <= out.len()));
        while done + SQUARE <= inner {
            // SAFETY: four numbers from place `done` of each row, and four from the head of columns `done` to `done + 3`, are
            // inside the slices, which the assertion saw; every x86-64 has the instructions.
            unsafe {
                let from = rows.as_ptr().add(done);
                let [mut a, mut b, mut c, mut d] = [0, 1, 2, 3].map(|row| _mm_loadu_ps(from.add(row * inner)));
                _MM_TRANSPOSE4_PS(&mut a, &mut b, &mut c, &mut d);
                for (column, values) in [a, b, c, d].into_iter().enumerate() {
                    _mm_storeu_ps(out.as_mut_ptr().add((done + column) * step), values);
                }
            }
            done += SQUARE;
        }
    }
    for place in done..inner {
        for row in 0..SQUARE {
            out[place * step + row] = rows[row * inner + place];
        }
    }
}

/// Columns that a tile takes together.
#[derive(Clone, Copy)]
pub(super) struct Panel {
    pub first: usize,
    /// Columns that there are.
    pub columns: usize,
    /// Columns with padding: as wide as a wide tile or a narrow one.
    pub wide: usize,
}

/// Wide panels as far as they are full, then narrow ones.
pub(super) fn panels(columns: usize, lanes: usize) -> impl Iterator<Item = Panel> {
    let mut first = 0;
    std::iter::from_fn(move || {
        let left = columns - first;
        let vectors = if left > (VECTORS - 1) * lanes { VECTORS } else { 1 };
        let panel = Panel { first, columns: left.min(vectors * lanes), wide: vectors * lanes };
        first += panel.columns;
        (left > 0).then_some(panel)
    })
}
