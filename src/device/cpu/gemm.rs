//! Matrix products (GEMM), by the crate `matrixmultiply`, which was the fastest one at the shapes of small networks.
//! The order of each sum depends on the inner size only, so the bits of a row do not depend on the row count. Products
//! with few rows, as in predictions, are computed here in the same order: `matrixmultiply` would first pack the right
//! matrix, which allocates and costs more than the product.

use pulp::{Arch, Simd, WithSimd};

use super::level::arch;

/// Fewest rows that `matrixmultiply` is called for.
const PACKED_ROWS: usize = 3;
/// Inner elements of a partial sum, which starts from 0 and is then added to the output, as in `matrixmultiply`.
const INNER: usize = 256;
/// Columns that are summed together.
const COLUMNS: usize = 8;

/// A borrowed matrix with strides: element (i, j) is at `i * row_stride + j * column_stride`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Matrix<'a> {
    data: &'a [f32],
    rows: usize,
    columns: usize,
    row_stride: usize,
    column_stride: usize,
}

impl<'a> Matrix<'a> {
    /// A contiguous row-major matrix.
    pub(crate) fn new(data: &'a [f32], rows: usize, columns: usize) -> Self {
        Self::with_strides(data, rows, columns, columns, 1)
    }

    fn with_strides(data: &'a [f32], rows: usize, columns: usize, row_stride: usize, column_stride: usize) -> Self {
        assert!(rows == 0 || columns == 0 || extent(rows, columns, row_stride, column_stride) <= data.len());
        Self { data, rows, columns, row_stride, column_stride }
    }

    /// The transpose, without a copy.
    #[must_use]
    pub(crate) fn transposed(self) -> Self {
        Self {
            rows: self.columns,
            columns: self.rows,
            row_stride: self.column_stride,
            column_stride: self.row_stride,
            ..self
        }
    }
}

/// Elements from the first to the last one of a matrix that is not empty.
fn extent(rows: usize, columns: usize, row_stride: usize, column_stride: usize) -> usize {
    (rows - 1) * row_stride + (columns - 1) * column_stride + 1
}

/// Computes out = left · right + beta · out, with `beta` 0 or 1. The rows of `out` begin `stride` elements apart.
///
/// # Panics
/// If the sizes do not agree.
pub(crate) fn product(left: Matrix, right: Matrix, beta: f32, out: &mut [f32], stride: usize) {
    let (rows, inner, columns) = (left.rows, left.columns, right.columns);
    assert_eq!(inner, right.rows, "inner sizes differ");
    if rows == 0 || columns == 0 {
        return;
    }
    assert!(stride >= columns && extent(rows, columns, stride, 1) <= out.len(), "the output is too small");
    // `matrixmultiply` chooses its instructions itself: fused multiply-add in one order of sums wherever the CPU has it.
    let arch = arch();
    if rows < PACKED_ROWS || matches!(arch, Arch::Scalar) {
        arch.dispatch(FewRows { left, right, beta, out, stride });
        return;
    }
    // SAFETY: `Matrix::with_strides` asserted that every element of `left` and `right` lies inside its slice,
    // transposing keeps that, and the assertion above checks the same for `out`, which is borrowed mutably and so
    // aliases neither. Strides fit an isize, because a slice has at most isize::MAX bytes; nothing is read through a
    // matrix that is empty.
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
            beta,
            out.as_mut_ptr(),
            stride as isize,
            1,
        );
    }
}

/// A product with few rows.
struct FewRows<'a> {
    left: Matrix<'a>,
    right: Matrix<'a>,
    beta: f32,
    out: &'a mut [f32],
    stride: usize,
}

impl WithSimd for FewRows<'_> {
    type Output = ();

    #[allow(clippy::inline_always)]
    #[inline(always)]
    fn with_simd<S: Simd>(self, _simd: S) {
        let Self { left, right, beta, out, stride } = self;
        for (row, out) in out.chunks_mut(stride).take(left.rows).enumerate() {
            let out = &mut out[..right.columns];
            if beta == 0.0 {
                out.fill(0.0);
            }
            let left_row = &left.data[row * left.row_stride..];
            for first in (0..left.columns).step_by(INNER) {
                let last = left.columns.min(first + INNER);
                for (block, out) in out.chunks_mut(COLUMNS).enumerate() {
                    let mut sums = [0.0; COLUMNS];
                    for k in first..last {
                        let left = left_row[k * left.column_stride];
                        let right_row = &right.data[k * right.row_stride + block * COLUMNS * right.column_stride..];
                        let right_row = right_row.iter().step_by(right.column_stride);
                        for (sum, right) in sums[..out.len()].iter_mut().zip(right_row) {
                            // Fused wherever there are vectors, as in the kernels of `matrixmultiply`.
                            *sum = if S::F32_LANES > 1 { left.mul_add(*right, *sum) } else { left * right + *sum };
                        }
                    }
                    let fresh = beta == 0.0 && first == 0;
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

    fn draw(stream: u32, count: usize) -> Vec<f32> {
        (0..count as u64).map(|position| Random::new(1, stream, 0).uniform(position) - 0.5).collect()
    }

    #[test]
    fn products_equal_the_definition_with_strides_and_transposed() {
        for (rows, inner, columns) in [(1, 1, 1), (3, 5, 2), (17, 33, 9), (64, 300, 40)] {
            let (left, right) = (draw(0, rows * inner), draw(1, inner * columns));
            let stride = columns + 3;
            let mut out = vec![0.25; rows * stride];
            product(Matrix::new(&left, rows, inner), Matrix::new(&right, inner, columns), 1.0, &mut out, stride);
            // The product of the transposed matrices in reverse order is the transposed product.
            let mut transposed = vec![7.0; columns * rows];
            let (one, two) =
                (Matrix::new(&right, inner, columns).transposed(), Matrix::new(&left, rows, inner).transposed());
            product(one, two, 0.0, &mut transposed, rows);
            for i in 0..rows {
                for j in 0..columns {
                    let exact: f64 =
                        (0..inner).map(|k| f64::from(left[i * inner + k]) * f64::from(right[k * columns + j])).sum();
                    assert!((f64::from(out[i * stride + j]) - 0.25 - exact).abs() < 1e-5);
                    assert!((f64::from(transposed[j * rows + i]) - exact).abs() < 1e-5);
                }
                assert!(out[i * stride + columns..].iter().take(3).all(|value| *value == 0.25));
            }
        }
    }

    #[test]
    fn the_bits_of_a_row_do_not_depend_on_the_row_count() {
        let (rows, columns) = (40, 65);
        for inner in [1, 148, 600] {
            let (left, right) = (draw(2, rows * inner), draw(3, inner * columns));
            let mut whole = vec![0.0; rows * columns];
            product(Matrix::new(&left, rows, inner), Matrix::new(&right, inner, columns), 0.0, &mut whole, columns);
            let transposed: Vec<f32> =
                (0..columns * inner).map(|index| right[index % inner * columns + index / inner]).collect();
            let mut whole_added = vec![0.25; rows * columns];
            let all = Matrix::new(&left, rows, inner);
            product(all, Matrix::new(&transposed, columns, inner).transposed(), 1.0, &mut whole_added, columns);
            for from in [0, 1, 7, 33] {
                for count in [1, 2, 5, 7] {
                    let mut part = vec![0.0; count * columns];
                    let some = Matrix::new(&left[from * inner..], count, inner);
                    product(some, Matrix::new(&right, inner, columns), 0.0, &mut part, columns);
                    assert_eq!(part, whole[from * columns..][..count * columns], "{count} rows from {from}");
                    // The same right matrix, column-major, added to the output.
                    let mut added = vec![0.25; count * columns];
                    product(some, Matrix::new(&transposed, columns, inner).transposed(), 1.0, &mut added, columns);
                    assert_eq!(added, whole_added[from * columns..][..count * columns], "{count} rows from {from}");
                }
            }
        }
    }
}
