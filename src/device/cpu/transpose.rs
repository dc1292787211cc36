//! Transposition in registers.

use super::microkernel::Rows;

/// Rows and columns of the squares that [`transpose`] works in.
pub(crate) const SQUARE: usize = 4;

/// Writes four rows of `inner` elements, which begin `row_stride` elements apart, as columns of `out`, whose rows begin
/// `stride` elements apart; in 4 x 4 squares on CPUs that have instructions for it.
pub(crate) fn transpose((rows, row_stride): Rows, inner: usize, out: &mut [f32], stride: usize) {
    let mut done = 0;
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_TRANSPOSE4_PS, _mm_loadu_ps, _mm_storeu_ps};
        assert!(inner == 0 || (SQUARE - 1) * row_stride + inner <= rows.len(), "a row ends behind its slice");
        assert!(inner == 0 || (inner - 1) * stride + SQUARE <= out.len(), "a column ends behind its slice");
        while done + SQUARE <= inner {
            // SAFETY: elements `done..done + 4` of each of the four rows lie inside `rows`, and the first four elements
            // of the rows `done..done + 4` of `out` lie inside `out`, because `done + 4 <= inner` and by the assertions
            // above. SSE is part of x86-64.
            unsafe {
                let from = rows.as_ptr().add(done);
                let [mut a, mut b, mut c, mut d] = [0, 1, 2, 3].map(|row| _mm_loadu_ps(from.add(row * row_stride)));
                _MM_TRANSPOSE4_PS(&mut a, &mut b, &mut c, &mut d);
                for (column, values) in [a, b, c, d].into_iter().enumerate() {
                    _mm_storeu_ps(out.as_mut_ptr().add((done + column) * stride), values);
                }
            }
            done += SQUARE;
        }
    }
    for column in done..inner {
        for row in 0..SQUARE {
            out[column * stride + row] = rows[row * row_stride + column];
        }
    }
}
