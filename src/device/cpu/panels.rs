//! Products with a small right matrix that is packed first, for fused kernels whose operands lie in cache. Each element
//! is summed in the order of the inner index, so the bits of a row do not depend on the other rows.

use pulp::{Simd, WithSimd};

use super::MOST_LANES;
use super::microkernel::{RightMatrix, Rows, RowsMut, Term, VECTORS, split_evenly, sum_tile, tile_rows};
use super::transpose::{SQUARE, transpose};

/// What the rows of a product begin with if it does not add to them.
static ZEROS: [f32; VECTORS * MOST_LANES] = [0.0; VECTORS * MOST_LANES];

/// Columns in memory: whole vectors of any supported width.
pub(crate) fn padded(columns: usize) -> usize {
    columns.next_multiple_of(MOST_LANES)
}

/// A right matrix `[inner, columns]`, packed: panels of up to [`VECTORS`] vectors of columns, each with contiguous rows.
/// Columns are padded with zeros to whole vectors.
#[derive(Clone, Copy)]
pub(crate) struct Panels<'a> {
    elements: &'a [f32],
    inner: usize,
    columns: usize,
}

/// A panel of a right matrix.
struct Panel {
    /// Its first column.
    first: usize,
    /// Columns that are not padding.
    columns: usize,
    /// Vectors of a row.
    vectors: usize,
}

/// The panels of a matrix with so many columns.
fn panels<S: Simd>(columns: usize) -> impl Iterator<Item = Panel> {
    (0..columns).step_by(VECTORS * S::F32_LANES).map(move |first| {
        let columns = (columns - first).min(VECTORS * S::F32_LANES);
        Panel { first, columns, vectors: columns.div_ceil(S::F32_LANES) }
    })
}

impl<'a> Panels<'a> {
    /// Elements of a packed matrix in memory.
    pub(crate) fn size(inner: usize, columns: usize) -> usize {
        inner * padded(columns)
    }

    /// Packs the matrix whose element (k, j) is element j of row k.
    ///
    /// # Panics
    /// If `into` has fewer than [`Panels::size`] elements, or `rows` fewer than the matrix.
    #[allow(clippy::inline_always)]
    #[inline(always)]
    pub(crate) fn pack<S: Simd>((rows, stride): Rows, inner: usize, columns: usize, into: &'a mut [f32]) -> Self {
        for Panel { first, columns, vectors } in panels::<S>(columns) {
            let width = vectors * S::F32_LANES;
            for (k, into) in into[first * inner..][..inner * width].chunks_exact_mut(width).enumerate() {
                let (values, padding) = into.split_at_mut(columns);
                values.copy_from_slice(&rows[k * stride + first..][..columns]);
                padding.fill(0.0);
            }
        }
        Self { elements: into, inner, columns }
    }

    /// Packs the matrix whose element (k, j) is element k of row j.
    ///
    /// # Panics
    /// As [`Panels::pack`].
    #[allow(clippy::inline_always)]
    #[inline(always)]
    pub(crate) fn pack_transposed<S: Simd>(
        (rows, stride): Rows,
        inner: usize,
        columns: usize,
        into: &'a mut [f32],
    ) -> Self {
        for Panel { first, columns, vectors } in panels::<S>(columns) {
            let width = vectors * S::F32_LANES;
            let into = &mut into[first * inner..][..inner * width];
            let squares = columns / SQUARE * SQUARE;
            for column in (0..squares).step_by(SQUARE) {
                transpose((&rows[(first + column) * stride..], stride), inner, &mut into[column..], width);
            }
            for column in squares..columns {
                let row = &rows[(first + column) * stride..][..inner];
                into[column..].iter_mut().step_by(width).zip(row).for_each(|(into, value)| *into = *value);
            }
            if columns < width {
                into.chunks_exact_mut(width).for_each(|into| into[columns..].fill(0.0));
            }
        }
        Self { elements: into, inner, columns }
    }
}

/// A left matrix: element (i, k) is at `i * row_stride + k * stride`.
#[derive(Clone, Copy)]
pub(crate) struct Left<'a> {
    pub(crate) elements: &'a [f32],
    pub(crate) row_stride: usize,
    pub(crate) stride: usize,
    pub(crate) rows: usize,
}

/// Computes out = left · right, or adds it to out. Rows of `out` have the padded columns of the right matrix.
pub(crate) struct Product<'a> {
    pub(crate) left: Left<'a>,
    pub(crate) right: Panels<'a>,
    /// Whether `out` is added to.
    pub(crate) adds: bool,
    pub(crate) out: RowsMut<'a>,
}

impl WithSimd for Product<'_> {
    type Output = ();

    #[allow(clippy::inline_always)]
    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { left, right, adds, out: (out, stride) } = self;
        for panel in panels::<S>(right.columns) {
            let elements = &right.elements[panel.first * right.inner..];
            // Sums, a vector of the right matrix and an element per row stay in registers.
            let rows = match panel.vectors {
                _ if S::REGISTER_COUNT >= 32 => tile_rows::<S>(),
                1 => 6,
                2 => 4,
                _ => 3,
            };
            for (first, count) in split_evenly(left.rows, rows).filter(|(_, count)| *count > 0) {
                let term = Term {
                    left: &left.elements[first * left.row_stride..],
                    row_stride: left.row_stride,
                    stride: left.stride,
                    count: right.inner,
                    segment_stride: 0,
                    segments: 1,
                    right: RightMatrix::Single(elements),
                };
                let initial = (!adds).then_some((&ZEROS[..], 0));
                let out = (&mut out[first * stride + panel.first..], stride);
                match panel.vectors {
                    1 => sum_tile::<S, 1>(simd, count, initial, &[term], out),
                    2 => sum_tile::<S, 2>(simd, count, initial, &[term], out),
                    3 => sum_tile::<S, 3>(simd, count, initial, &[term], out),
                    _ => sum_tile::<S, VECTORS>(simd, count, initial, &[term], out),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use pulp::{Simd, WithSimd};

    use super::super::simd::levels;
    use super::{Left, Panels, Product, padded};
    use crate::random::Random;

    fn draw(stream: u32, count: usize) -> Vec<f32> {
        (0..count as u64).map(|position| Random::new(7, stream, 0).uniform(position) - 0.5).collect()
    }

    /// A product of a left matrix and a right one, whose rows, or columns if it is transposed, are 3 elements apart.
    struct Case<'a> {
        left: Left<'a>,
        right: &'a [f32],
        transposed: bool,
        sizes: (usize, usize),
        adds: bool,
        out: &'a mut [f32],
    }

    impl WithSimd for Case<'_> {
        type Output = ();

        #[allow(clippy::inline_always)]
        #[inline(always)]
        fn with_simd<S: Simd>(self, simd: S) {
            let (inner, columns) = self.sizes;
            let mut packed = vec![f32::NAN; Panels::size(inner, columns)];
            let right = if self.transposed {
                Panels::pack_transposed::<S>((self.right, inner + 3), inner, columns, &mut packed)
            } else {
                Panels::pack::<S>((self.right, columns + 3), inner, columns, &mut packed)
            };
            let out = (self.out, padded(columns) + 1);
            simd.vectorize(Product { left: self.left, right, adds: self.adds, out });
        }
    }

    #[test]
    fn products_equal_the_definition_at_every_size_and_simd_level() {
        for arch in levels() {
            for (rows, inner, columns) in [(1, 1, 1), (2, 3, 4), (5, 7, 16), (7, 16, 33), (13, 9, 64), (20, 31, 150)] {
                for (transposed, left_transposed, adds) in
                    [(false, false, false), (true, false, true), (false, true, true), (true, true, false)]
                {
                    let left_values = draw(0, (rows + 2) * (inner + 2));
                    let (row_stride, stride) = if left_transposed { (1, rows + 2) } else { (inner + 2, 1) };
                    let left = Left { elements: &left_values, row_stride, stride, rows };
                    let right = draw(1, (inner + 3) * (columns + 3));
                    let width = padded(columns) + 1;
                    let mut out = vec![0.25; rows * width];
                    let sizes = (inner, columns);
                    arch.dispatch(Case { left, right: &right, transposed, sizes, adds, out: &mut out });
                    for i in 0..rows {
                        for j in 0..columns {
                            let of_right =
                                |k: usize| if transposed { j * (inner + 3) + k } else { k * (columns + 3) + j };
                            let sum: f64 = (0..inner)
                                .map(|k| {
                                    f64::from(left_values[i * row_stride + k * stride]) * f64::from(right[of_right(k)])
                                })
                                .sum();
                            let exact = sum + if adds { 0.25 } else { 0.0 };
                            let found = f64::from(out[i * width + j]);
                            assert!((found - exact).abs() < 2e-6, "{arch:?} {sizes:?} {i} {j}: {found}, {exact}");
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn the_bits_of_a_row_do_not_depend_on_the_row_count() {
        let (rows, inner, columns) = (23, 40, 50);
        let (left, right) = (draw(2, rows * inner), draw(3, inner * (columns + 3)));
        let width = padded(columns) + 1;
        for arch in levels() {
            let run = |from: usize, count: usize| -> Vec<f32> {
                let mut out = vec![0.0; count * width];
                let left = Left { elements: &left[from * inner..], row_stride: inner, stride: 1, rows: count };
                let (transposed, sizes, adds) = (false, (inner, columns), false);
                arch.dispatch(Case { left, right: &right, transposed, sizes, adds, out: &mut out });
                out
            };
            let whole = run(0, rows);
            for (from, count) in [(0, 1), (5, 2), (7, 11), (22, 1)] {
                assert_eq!(run(from, count), whole[from * width..][..count * width], "{arch:?} {from} {count}");
            }
        }
    }
}
