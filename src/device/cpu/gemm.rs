//! Matrix products, by the crate `matrixmultiply`, which measured fastest at the shapes of small networks. Each element is
//! summed in one order that depends on the inner size alone, so a row's bits do not depend on how many rows there are. Few
//! rows, as predictions have, are multiplied here, in the same order: that crate packs the right side, which takes memory and
//! more time than so few products.

use pulp::{Arch, Simd, WithSimd};

/// Fewest rows that are packed for.
const PACKED_ROWS: usize = 3;
/// Products that are summed from 0 before they are added to the sum of those before, as in `matrixmultiply`.
const INNER: usize = 256;
/// Columns whose sums are made together.
const COLUMNS: usize = 8;

/// A matrix in somebody's memory: element (i, j) is at `i * row_stride + j * column_stride`.
#[derive(Clone, Copy, Debug)]
pub struct Matrix<'a> {
    data: &'a [f32],
    rows: usize,
    columns: usize,
    row_stride: usize,
    column_stride: usize,
}

impl<'a> Matrix<'a> {
    /// Row by row, without gaps.
    pub fn new(data: &'a [f32], rows: usize, columns: usize) -> Self {
        Self::with_strides(data, rows, columns, columns, 1)
    }

    /// Row by row, with `row_stride` numbers from one row to the next.
    pub fn strided(data: &'a [f32], rows: usize, columns: usize, row_stride: usize) -> Self {
        Self::with_strides(data, rows, columns, row_stride, 1)
    }

    fn with_strides(data: &'a [f32], rows: usize, columns: usize, row_stride: usize, column_stride: usize) -> Self {
        assert!(rows == 0 || columns == 0 || reach(rows, columns, row_stride, column_stride) <= data.len());
        Self { data, rows, columns, row_stride, column_stride }
    }

    /// The same matrix, rows as columns.
    #[must_use]
    pub fn transposed(self) -> Self {
        Self {
            rows: self.columns,
            columns: self.rows,
            row_stride: self.column_stride,
            column_stride: self.row_stride,
            ..self
        }
    }
}

fn reach(rows: usize, columns: usize, row_stride: usize, column_stride: usize) -> usize {
    (rows - 1) * row_stride + (columns - 1) * column_stride + 1
}

/// out = left · right + keep · out, where `out` has `stride` numbers from one row to the next; `keep` is 0 or 1.
///
/// # Panics
/// Where sizes do not agree: a fault of the caller.
pub fn product(left: Matrix, right: Matrix, keep: f32, out: &mut [f32], stride: usize) {
    let (rows, inner, columns) = (left.rows, left.columns, right.columns);
    assert_eq!(inner, right.rows, "inner sizes differ");
    if rows == 0 || columns == 0 {
        return;
    }
    assert!(stride >= columns && reach(rows, columns, stride, 1) <= out.len(), "the product has no room");
    if rows < PACKED_ROWS {
        Arch::new().dispatch(Few { left, right, keep, out, stride });
        return;
    }
    // SAFETY: both matrices reach no further than their slices, which their making asserted, and the product no further
    // than its own; strides fit an isize, as slices are no longer than that.
    unsafe {
        matrixmultiply::sgemm(
            rows,
            inner,
            columns,
            1.0,
            left.data.as_ptr(),
            left.row_stride as isize,
            left.column_stride as isize,
            right.data.as_ptr(),
            right.row_stride as isize,
            right.column_stride as isize,
            keep,
            out.as_mut_ptr(),
            stride as isize,
            1,
        );
    }
}

/// A product of few rows.
struct Few<'a> {
    left: Matrix<'a>,
    right: Matrix<'a>,
    keep: f32,
    out: &'a mut [f32],
    stride: usize,
}

impl WithSimd for Few<'_> {
    type Output = ();

    #[allow(clippy::inline_always)]
    #[inline(always)]
    fn with_simd<S: Simd>(self, _simd: S) {
        let Self { left, right, keep, out, stride } = self;
        for (row, out) in out.chunks_mut(stride).take(left.rows).enumerate() {
            let out = &mut out[..right.columns];
            if keep == 0.0 {
                out.fill(0.0);
            }
            let left_row = &left.data[row * left.row_stride..];
            for first in (0..left.columns).step_by(INNER) {
                let last = left.columns.min(first + INNER);
                for (part, out) in out.chunks_mut(COLUMNS).enumerate() {
                    let mut sums = [0.0; COLUMNS];
                    for place in first..last {
                        let number = left_row[place * left.column_stride];
                        let from = &right.data[place * right.row_stride + part * COLUMNS * right.column_stride..];
                        let from = from.iter().step_by(right.column_stride);
                        for (sum, from) in sums[..out.len()].iter_mut().zip(from) {
                            // Levels with vectors have fused multiply-add, as that crate's kernels for them.
                            *sum = if S::F32_LANES > 1 { number.mul_add(*from, *sum) } else { number * from + *sum };
                        }
                    }
                    let fresh = keep == 0.0 && first == 0;
                    for (out, sum) in out.iter_mut().zip(sums) {
                        *out = if fresh { sum } else { *out + sum };
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Matrix, product};
    use crate::random::Random;

    fn numbers(stream: u32, count: usize) -> Vec<f32> {
        (0..count as u64).map(|place| Random::new(1, stream, 0).uniform(place) - 0.5).collect()
    }

    #[test]
    fn products_of_all_kinds_equal_the_definition() {
        for (rows, inner, columns) in [(1, 1, 1), (3, 5, 2), (17, 33, 9), (64, 300, 40)] {
            let (left, right) = (numbers(0, rows * inner), numbers(1, inner * columns));
            let stride = columns + 3;
            let mut out = vec![0.25; rows * stride];
            product(Matrix::new(&left, rows, inner), Matrix::new(&right, inner, columns), 1.0, &mut out, stride);
            // The transposed product of the transposed matrices, in other strides, is the same.
            let mut turned = vec![7.0; columns * rows];
            let (one, two) =
                (Matrix::new(&right, inner, columns).transposed(), Matrix::new(&left, rows, inner).transposed());
            product(one, two, 0.0, &mut turned, rows);
            for i in 0..rows {
                for j in 0..columns {
                    let exact: f64 =
                        (0..inner).map(|k| f64::from(left[i * inner + k]) * f64::from(right[k * columns + j])).sum();
                    assert!((f64::from(out[i * stride + j]) - 0.25 - exact).abs() < 1e-5);
                    assert!((f64::from(turned[j * rows + i]) - exact).abs() < 1e-5);
                }
                assert!(out[i * stride + columns..].iter().take(3).all(|value| *value == 0.25));
            }
        }
    }

    #[test]
    fn a_row_has_the_same_bits_however_many_rows_there_are() {
        let (rows, columns) = (40, 65);
        for inner in [1, 148, 600] {
            let (left, right) = (numbers(2, rows * inner), numbers(3, inner * columns));
            let mut whole = vec![0.0; rows * columns];
            product(Matrix::new(&left, rows, inner), Matrix::new(&right, inner, columns), 0.0, &mut whole, columns);
            let turned: Vec<f32> = (0..columns * inner).map(|at| right[at % inner * columns + at / inner]).collect();
            let mut whole_added = vec![0.25; rows * columns];
            let all = Matrix::new(&left, rows, inner);
            product(all, Matrix::new(&turned, columns, inner).transposed(), 1.0, &mut whole_added, columns);
            for from in [0, 1, 7, 33] {
                for count in [1, 2, 5, 7] {
                    let mut part = vec![0.0; count * columns];
                    let some = Matrix::new(&left[from * inner..], count, inner);
                    product(some, Matrix::new(&right, inner, columns), 0.0, &mut part, columns);
                    assert_eq!(part, whole[from * columns..][..count * columns], "{count} rows from {from}");
                    // The same right side with its rows as columns in memory, added to what is there.
                    let mut added = vec![0.25; count * columns];
                    product(some, Matrix::new(&turned, columns, inner).transposed(), 1.0, &mut added, columns);
                    assert_eq!(added, whole_added[from * columns..][..count * columns], "{count} rows from {from}");
                }
            }
        }
    }
}
