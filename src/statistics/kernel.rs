//! Dot products between rows, summed in a fixed order.
//!
//! Each sum runs in eight lanes (element k goes to lane k mod 8), which are then added in a fixed tree. There are eight
//! lanes at every vector width, and multiplications and additions are separate instructions. So a sum has the same bits
//! on every machine, whichever instructions are dispatched to and however the rows are tiled.

use pulp::{Arch, Simd, WithSimd};

/// Lanes of a sum; the stride of a row is a multiple of it.
const LANES: usize = 8;
/// Largest number of rows on one side of a register tile; the number of stored rows is a multiple of it.
const TILE: usize = 4;
/// Rows on one side of a cache tile: 48 rows of 760 elements fill half of a 1 MB L2 cache.
const CACHE_TILE: usize = 12 * TILE;

/// Elements of each row per pass of a register tile: those of its eight rows fit a 32 KB L1 cache, so that one side
/// stays there while the other changes. The next pass continues the sums.
const BLOCK: usize = 48 * LANES;

/// Rows of equal length. Each row is padded with zeros to its stride, and rows of zeros follow the last one.
#[derive(Clone, Debug)]
pub(super) struct Rows {
    count: usize,
    length: usize,
    stride: usize,
    values: Vec<f64>,
}

impl Rows {
    /// `count` rows of `length` zeros.
    pub(super) fn zeros(count: usize, length: usize) -> Self {
        let stride = length.next_multiple_of(LANES);
        Self { count, length, stride, values: vec![0.0; count.next_multiple_of(TILE) * stride] }
    }

    /// Number of rows.
    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// Length of a row without padding.
    pub(super) fn length(&self) -> usize {
        self.length
    }

    /// Row `index` without padding.
    pub(super) fn row(&self, index: usize) -> &[f64] {
        &self.values[index * self.stride..][..self.length]
    }

    /// Row `index` without padding, mutable.
    pub(super) fn row_mut(&mut self, index: usize) -> &mut [f64] {
        &mut self.values[index * self.stride..][..self.length]
    }

    /// The transpose of `table`, whose rows have `count` elements.
    pub(super) fn transposed(table: &[&[f64]], count: usize) -> Self {
        // Each cache line of `table` is read once, not once per column.
        const LINE: usize = 8;
        let mut out = Self::zeros(count, table.len());
        for first in (0..count).step_by(LINE) {
            let last = (first + LINE).min(count);
            for (index, row) in table.iter().enumerate() {
                for (column, &value) in (first..last).zip(&row[first..last]) {
                    out.values[column * out.stride + index] = value;
                }
            }
        }
        out
    }

    /// Row `index` with padding.
    fn padded(&self, index: usize) -> &[f64] {
        &self.values[index * self.stride..][..self.stride]
    }

    /// Number of stored rows, those of zeros included.
    fn padded_count(&self) -> usize {
        self.values.len() / self.stride.max(1)
    }
}

/// The sum of `values`, in eight lanes that are added in a fixed tree.
pub(super) fn sum(values: &[f64]) -> f64 {
    let (chunks, rest) = values.as_chunks::<8>();
    let mut sums = [0.0; 8];
    for chunk in chunks {
        for lane in 0..8 {
            sums[lane] += chunk[lane];
        }
    }
    let [a, b, c, d, e, f, g, h] = sums;
    ((a + e) + (b + f)) + ((c + g) + (d + h)) + rest.iter().sum::<f64>()
}

/// Squared Euclidean distances between pairs of rows of `table`, `[points, dimensions]`. Each is summed in the order of
/// a dot product; elements after the last full group of eight are added one by one.
pub(super) fn square_distances(table: &[f64], dimensions: usize, pairs: &[(usize, usize)]) -> Vec<f64> {
    Arch::new().dispatch(SquareDistances { table, dimensions, pairs })
}

struct SquareDistances<'a> {
    table: &'a [f64],
    dimensions: usize,
    pairs: &'a [(usize, usize)],
}

impl WithSimd for SquareDistances<'_> {
    type Output = Vec<f64>;

    #[inline(always)]
    #[allow(clippy::inline_always, reason = "inlined so that it is compiled with the dispatched instruction set")]
    fn with_simd<S: Simd>(self, simd: S) -> Vec<f64> {
        match S::F64_LANES {
            8 => self.all::<S, 1>(simd),
            4 => self.all::<S, 2>(simd),
            2 => self.all::<S, 4>(simd),
            _ => self.all::<S, 8>(simd),
        }
    }
}

impl SquareDistances<'_> {
    #[inline(always)]
    #[allow(clippy::inline_always, reason = "as above")]
    fn all<S: Simd, const PARTS: usize>(self, simd: S) -> Vec<f64> {
        let point = |index: usize| self.table[index * self.dimensions..][..self.dimensions].as_chunks::<LANES>();
        let pair = |&(left, right): &(usize, usize)| {
            let ((lefts, left), (rights, right)) = (point(left), point(right));
            let mut sums = [simd.splat_f64s(0.0); PARTS];
            for (left, right) in lefts.iter().zip(rights) {
                let (left, right) = (S::as_simd_f64s(left).0, S::as_simd_f64s(right).0);
                for part in 0..PARTS {
                    let difference = simd.sub_f64s(left[part], right[part]);
                    sums[part] = simd.add_f64s(sums[part], simd.mul_f64s(difference, difference));
                }
            }
            let rest = left.iter().zip(right).map(|(left, right)| (left - right) * (left - right));
            rest.fold(add_lanes::<S, PARTS>(sums), |sum, square| sum + square)
        };
        self.pairs.iter().map(pair).collect()
    }
}

/// Adds the eight lanes of a sum.
#[inline(always)]
#[allow(clippy::inline_always, reason = "as above")]
fn add_lanes<S: Simd, const PARTS: usize>(parts: [S::f64s; PARTS]) -> f64 {
    let mut lanes = [0.0; LANES];
    S::as_mut_simd_f64s(&mut lanes).0.copy_from_slice(&parts);
    let [a, b, c, d, e, f, g, h] = lanes;
    ((a + e) + (b + f)) + ((c + g) + (d + h))
}

/// Dot products of all pairs of rows, `[count, count]`, symmetric to the bit.
pub(super) fn gram(rows: &Rows) -> Vec<f64> {
    let mut out = vec![0.0; rows.count * rows.count];
    gram_into(rows, &mut out);
    out
}

/// Writes [`gram`] into `out`.
pub(super) fn gram_into(rows: &Rows, out: &mut [f64]) {
    let count = rows.count;
    products_into(rows, rows, true, out);
    // Copies the upper triangle to the lower one by tiles, so that both stay in the cache.
    for row in (0..count).step_by(CACHE_TILE) {
        for column in (0..=row).step_by(CACHE_TILE) {
            for i in row..(row + CACHE_TILE).min(count) {
                for j in column..(column + CACHE_TILE).min(i) {
                    out[i * count + j] = out[j * count + i];
                }
            }
        }
    }
}

/// Dot products of every row of `left` with every row of `right`, `[left.count, right.count]`; rows have equal lengths.
pub(super) fn products(left: &Rows, right: &Rows) -> Vec<f64> {
    let mut out = vec![0.0; left.count * right.count];
    products_into(left, right, false, &mut out);
    out
}

fn products_into(left: &Rows, right: &Rows, upper: bool, out: &mut [f64]) {
    Arch::new().dispatch(Products { left, right, upper, out });
}

/// Computes the products; with `upper`, only in tiles that touch the upper triangle.
struct Products<'a> {
    left: &'a Rows,
    right: &'a Rows,
    upper: bool,
    out: &'a mut [f64],
}

impl WithSimd for Products<'_> {
    type Output = ();

    #[inline(always)]
    #[allow(clippy::inline_always, reason = "inlined so that it is compiled with the dispatched instruction set")]
    fn with_simd<S: Simd>(self, simd: S) {
        // As many sums at once as fit the registers.
        match S::F64_LANES {
            8 => self.fill::<S, 4, 1>(simd),
            4 => self.fill::<S, 2, 2>(simd),
            2 => self.fill::<S, 2, 4>(simd),
            _ => self.fill::<S, 1, 8>(simd),
        }
    }
}

impl Products<'_> {
    #[inline(always)]
    #[allow(clippy::inline_always, reason = "as above")]
    fn fill<S: Simd, const SIDE: usize, const PARTS: usize>(self, simd: S) {
        let Self { left, right, upper, out } = self;
        let zeros = [[[simd.splat_f64s(0.0); PARTS]; SIDE]; SIDE];
        let mut sums = vec![zeros; CACHE_TILE / SIDE];
        for first in (0..right.padded_count()).step_by(CACHE_TILE) {
            let last = (first + CACHE_TILE).min(right.padded_count());
            for i in (0..left.padded_count()).step_by(SIDE) {
                if upper && i >= last {
                    break;
                }
                let start = if upper { first.max(i) } else { first };
                sums.fill(zeros);
                for begin in (0..left.stride).step_by(BLOCK) {
                    let block = begin..(begin + BLOCK).min(left.stride);
                    let lefts = core::array::from_fn(|side| &left.padded(i + side)[block.clone()]);
                    for (j, sums) in (start..last).step_by(SIDE).zip(&mut sums) {
                        let rights = core::array::from_fn(|side| &right.padded(j + side)[block.clone()]);
                        tile::<S, SIDE, PARTS>(simd, lefts, rights, sums);
                    }
                }
                for (j, sums) in (start..last).step_by(SIDE).zip(&sums) {
                    for (i, sums) in (i..left.count).zip(sums) {
                        for (j, sum) in (j..right.count).zip(sums) {
                            out[i * right.count + j] = add_lanes::<S, PARTS>(*sum);
                        }
                    }
                }
            }
        }
    }
}

/// Continues SIDE x SIDE sums of products at once, so that each loaded element is used SIDE times. The eight lanes of a
/// sum are in PARTS vectors.
#[inline(always)]
#[allow(clippy::inline_always, reason = "as above")]
fn tile<S: Simd, const SIDE: usize, const PARTS: usize>(
    simd: S,
    left: [&[f64]; SIDE],
    right: [&[f64]; SIDE],
    sums: &mut [[[S::f64s; PARTS]; SIDE]; SIDE],
) {
    let left = left.map(|row| S::as_simd_f64s(row).0.as_chunks::<PARTS>().0);
    let right = right.map(|row| S::as_simd_f64s(row).0.as_chunks::<PARTS>().0);
    let steps = left[0].len();
    let (left, right) = (left.map(|row| &row[..steps]), right.map(|row| &row[..steps]));
    let mut registers = *sums;
    for step in 0..steps {
        for part in 0..PARTS {
            let left = left.map(|row| row[step][part]);
            for j in 0..SIDE {
                let right = right[j][step][part];
                for i in 0..SIDE {
                    registers[i][j][part] = simd.add_f64s(registers[i][j][part], simd.mul_f64s(left[i], right));
                }
            }
        }
    }
    *sums = registers;
}

#[cfg(test)]
mod tests {
    use super::{Rows, gram, products, square_distances, sum};

    fn rows(count: usize, length: usize, seed: u64) -> Rows {
        let mut state = seed;
        let mut out = Rows::zeros(count, length);
        for row in 0..count {
            for value in out.row_mut(row) {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                *value = (state >> 11) as f64 / (1_u64 << 53) as f64 - 0.5;
            }
        }
        out
    }

    /// A dot product in the order that this file documents.
    fn product(left: &[f64], right: &[f64]) -> f64 {
        let mut lanes = [0.0; 8];
        for (k, (left, right)) in left.iter().zip(right).enumerate() {
            lanes[k % 8] += left * right;
        }
        let [a, b, c, d, e, f, g, h] = lanes;
        ((a + e) + (b + f)) + ((c + g) + (d + h))
    }

    #[test]
    fn every_tile_size_gives_the_bits_of_the_documented_order() {
        for (count, other, length) in [(1, 1, 1), (3, 2, 7), (5, 9, 8), (50, 13, 33), (101, 97, 61)] {
            let (left, right) = (rows(count, length, 1), rows(other, length, 2));
            let (square, across) = (gram(&left), products(&left, &right));
            for i in 0..count {
                for j in 0..count {
                    assert_eq!(square[i * count + j].to_bits(), product(left.row(i), left.row(j)).to_bits());
                }
                for j in 0..other {
                    assert_eq!(across[i * other + j].to_bits(), product(left.row(i), right.row(j)).to_bits());
                }
            }
        }
    }

    #[test]
    fn a_transpose_a_sum_and_squared_distances_match_hand_calculations() {
        let table: Vec<f64> = (0..33).map(f64::from).collect();
        let out = Rows::transposed(&table.chunks_exact(11).collect::<Vec<_>>(), 11);
        assert_eq!((out.count(), out.length()), (11, 3));
        assert_eq!((out.row(0), out.row(10)), ([0.0, 11.0, 22.0].as_slice(), [10.0, 21.0, 32.0].as_slice()));
        assert_eq!(sum(&table), 528.0);
        assert_eq!(square_distances(&table, 11, &[(0, 1), (2, 0), (1, 1)]), [11.0 * 121.0, 44.0 * 121.0, 0.0]);
    }
}
