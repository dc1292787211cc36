//! The inner loop of the fused kernels: a tile of sums, a few rows high and a few vectors wide, that stays in registers
//! while products are added. Each element is summed in a fixed order, so its bits do not depend on the row count.

use half::f16;
use pulp::{Simd, WithSimd};

use super::MOST_LANES;
use super::simd::{load, load_half, store};

/// Most rows of a tile.
pub(crate) const MOST_ROWS: usize = 6;
/// Vectors in a row of a wide tile. A narrow tile has one.
pub(crate) const VECTORS: usize = 4;

/// Memory for the sums of a tile, which begins at a cache line.
#[repr(align(64))]
pub(crate) struct TileSums([f32; MOST_ROWS * VECTORS * MOST_LANES]);

impl TileSums {
    /// Sums of zero.
    #[allow(clippy::inline_always)]
    #[inline(always)]
    pub(crate) fn new() -> Self {
        Self([0.0; MOST_ROWS * VECTORS * MOST_LANES])
    }

    #[allow(clippy::inline_always)]
    #[inline(always)]
    pub(crate) fn get_mut(&mut self) -> &mut [f32] {
        &mut self.0
    }
}

/// `f32` elements of a cache line.
const LINE: usize = 16;

/// Rows of a tile that fills the registers: sums, a vector of the right matrix and a broadcast left element per row.
pub(crate) const fn tile_rows<S: Simd>() -> usize {
    if S::REGISTER_COUNT >= 32 { MOST_ROWS } else { MOST_ROWS / 2 }
}

/// A product that is added to a tile: sum (i, j) += Σₖ left (i, k) · right (k, j). In memory, k runs over `segments`
/// segments of `count` elements.
#[derive(Clone, Copy)]
pub(crate) struct Term<'a> {
    /// The left matrix, beginning with the first row of the tile.
    pub left: &'a [f32],
    /// Distance between rows of `left`.
    pub row_stride: usize,
    /// Distance between elements of a segment.
    pub stride: usize,
    /// Elements of a segment.
    pub count: usize,
    /// Distance between segments.
    pub segment_stride: usize,
    /// Segments of a row.
    pub segments: usize,
    /// The right matrix, contiguous rows as wide as the tile.
    pub right: RightMatrix<'a>,
}

/// The elements of a right matrix, in the precision in which they are stored.
#[derive(Clone, Copy)]
pub(crate) enum RightMatrix<'a> {
    Single(&'a [f32]),
    /// Finite values in half precision, converted to single precision when they are loaded.
    Half(&'a [f16]),
}

impl RightMatrix<'_> {
    fn len(&self) -> usize {
        match self {
            Self::Single(elements) => elements.len(),
            Self::Half(elements) => elements.len(),
        }
    }

    /// The elements from `index` on.
    #[allow(clippy::inline_always)]
    #[inline(always)]
    pub(crate) fn from(&self, index: usize) -> Self {
        match self {
            Self::Single(elements) => RightMatrix::Single(&elements[index..]),
            Self::Half(elements) => RightMatrix::Half(&elements[index..]),
        }
    }
}

/// Rows of elements, and the distance between rows.
pub(crate) type Rows<'a> = (&'a [f32], usize);
/// [`Rows`] to write.
pub(crate) type RowsMut<'a> = (&'a mut [f32], usize);

/// Writes a tile of `count` rows and `V` vectors: `initial` plus all terms. Without `initial`, adds the terms to `out`.
#[allow(clippy::inline_always)]
#[inline(always)]
pub(crate) fn sum_tile<S: Simd, const V: usize>(
    simd: S,
    count: usize,
    initial: Option<Rows>,
    terms: &[Term],
    out: RowsMut,
) {
    #[cfg(target_arch = "x86_64")]
    if let (1, VECTORS, Some((initial, _))) = (count, V, initial)
        && half_row::sum(initial, terms, out.0, V * S::F32_LANES)
    {
        return;
    }
    match count {
        1 => simd.vectorize(Tile::<1, V> { initial, terms, out }),
        2 => simd.vectorize(Tile::<2, V> { initial, terms, out }),
        3 => simd.vectorize(Tile::<3, V> { initial, terms, out }),
        4 => simd.vectorize(Tile::<4, V> { initial, terms, out }),
        5 => simd.vectorize(Tile::<5, V> { initial, terms, out }),
        _ => simd.vectorize(Tile::<MOST_ROWS, V> { initial, terms, out }),
    }
}

struct Tile<'a, const R: usize, const V: usize> {
    initial: Option<Rows<'a>>,
    terms: &'a [Term<'a>],
    out: RowsMut<'a>,
}

impl<const R: usize, const V: usize> WithSimd for Tile<'_, R, V> {
    type Output = ();

    #[allow(clippy::inline_always)]
    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { initial, terms, out: (out, stride) } = self;
        let width = V * S::F32_LANES;
        let mut sums = [[simd.splat_f32s(0.0); V]; R];
        let (from, from_stride) = initial.unwrap_or((out, stride));
        for (row, sums) in sums.iter_mut().enumerate() {
            let from = &from[row * from_stride..][..width];
            for (vector, sum) in sums.iter_mut().enumerate() {
                *sum = load::<S>(&from[vector * S::F32_LANES..]);
            }
        }
        for term in terms.iter().filter(|term| term.count > 0 && term.segments > 0) {
            let last =
                (R - 1) * term.row_stride + (term.segments - 1) * term.segment_stride + (term.count - 1) * term.stride;
            assert!(last < term.left.len(), "the left matrix of a tile is too short");
            assert!(term.segments * term.count * width <= term.right.len(), "the right matrix of a tile is too short");
            // SAFETY: the contract of `add_term` holds: `last`, the largest index into `left`, is inside it, and
            // `right` has a row per element of a left row, both asserted above. The closures read a vector of such a
            // row.
            unsafe {
                match term.right {
                    RightMatrix::Single(right) => {
                        add_term(simd, &mut sums, term, right.as_ptr(), |from| from.cast::<S::f32s>().read_unaligned());
                    }
                    RightMatrix::Half(right) => {
                        add_term(simd, &mut sums, term, right.as_ptr(), |from| load_half(simd, from));
                    }
                }
            }
        }
        for (row, sums) in sums.iter().enumerate() {
            let into = &mut out[row * stride..][..width];
            for (vector, sum) in sums.iter().enumerate() {
                store::<S>(&mut into[vector * S::F32_LANES..], *sum);
            }
        }
    }
}

/// Adds a term to the sums of a tile. `load_right` loads the vector that begins at a pointer into `right`.
///
/// # Safety
/// All indices of the term, for `R` rows, lie inside its left matrix, and `right` points to `segments * count` rows of
/// `V * S::F32_LANES` elements.
#[allow(clippy::inline_always)]
#[inline(always)]
unsafe fn add_term<S: Simd, T, const R: usize, const V: usize>(
    simd: S,
    sums: &mut [[S::f32s; V]; R],
    term: &Term,
    mut right: *const T,
    load_right: impl Fn(*const T) -> S::f32s,
) {
    for segment in 0..term.segments {
        let mut left = term.left.as_ptr().wrapping_add(segment * term.segment_stride);
        for _ in 0..term.count {
            // SAFETY: `left` is at an index of the term in row 0, and by this function's contract the same index in
            // each of the `R` rows lies inside the left matrix.
            let elements: [S::f32s; R] =
                unsafe { std::array::from_fn(|row| simd.splat_f32s(*left.add(row * term.row_stride))) };
            // One vector at a time: with 16 registers, 12 sums and 3 elements leave one for it. Loading all vectors first
            // would push sums out to memory.
            for vector in 0..V {
                let of_right = load_right(right.wrapping_add(vector * S::F32_LANES));
                for (sums, element) in sums.iter_mut().zip(elements) {
                    sums[vector] = simd.mul_add_e_f32s(element, of_right, sums[vector]);
                }
            }
            left = left.wrapping_add(term.stride);
            right = right.wrapping_add(V * S::F32_LANES);
        }
    }
}

/// A single row times right matrices in half precision, with AVX2 vectors on every CPU that has F16C. With one row
/// there are as many conversions as products, and the conversion to AVX2 vectors is faster: the one to AVX-512 vectors
/// takes 1.5 cycles on a Zen 4 and blocks the multiply-add units. These are functions of their own because a compiler
/// that may use AVX-512 would merge two AVX2 vectors into one. Both widths sum in the same order, so the bits are the
/// same.
#[cfg(target_arch = "x86_64")]
mod half_row {
    use std::arch::x86_64::{
        _mm_loadu_si128, _mm256_cvtph_ps, _mm256_fmadd_ps, _mm256_loadu_ps, _mm256_set1_ps, _mm256_storeu_ps,
    };

    use super::{MOST_LANES, RightMatrix, Term, VECTORS};

    /// Lanes of an AVX2 vector.
    const LANES: usize = 8;

    /// Writes out[j] = initial[j] + Σ left[k·stride]·right[k·width + j] over all terms and their k < count, to the same bits
    /// as the general path. Returns false, with `out` unchanged, unless every right matrix is in half precision and in one
    /// segment, the CPU has AVX2, FMA and F16C, and `width` is that of `VECTORS` AVX2 or AVX-512 vectors.
    pub(crate) fn sum(initial: &[f32], terms: &[Term], out: &mut [f32], width: usize) -> bool {
        const AVX512: usize = VECTORS * MOST_LANES;
        const AVX2: usize = VECTORS * LANES;
        let halves = terms.iter().all(|term| term.segments == 1 && matches!(term.right, RightMatrix::Half(_)));
        let detected =
            is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") && is_x86_feature_detected!("f16c");
        if !halves || !detected {
            return false;
        }
        for term in terms.iter().filter(|term| term.count > 0) {
            assert!((term.count - 1) * term.stride < term.left.len(), "the left matrix of a tile is too short");
            assert!(term.count * width <= term.right.len(), "the right matrix of a tile is too short");
        }
        assert!(width <= initial.len() && width <= out.len(), "the row of a tile is too short");
        // SAFETY: the contract of `sum_row` holds: the sizes are asserted above, and AVX2, FMA and F16C were detected.
        unsafe {
            match width {
                AVX512 => sum_row::<{ AVX512 / LANES }>(initial.as_ptr(), terms, out.as_mut_ptr()),
                AVX2 => sum_row::<{ AVX2 / LANES }>(initial.as_ptr(), terms, out.as_mut_ptr()),
                _ => return false,
            }
        }
        true
    }

    /// Writes a row of `N` vectors.
    ///
    /// # Safety
    /// All indices of the terms lie inside their left matrices, which have one segment; each right matrix is `Half` and
    /// has `count` rows of `N` vectors; `initial` and `out` are valid for `N` vectors; the CPU has AVX2, FMA and F16C.
    #[target_feature(enable = "avx2,fma,f16c")]
    unsafe fn sum_row<const N: usize>(initial: *const f32, terms: &[Term], out: *mut f32) {
        // SAFETY: every load and store is inside the ranges of this function's contract: `left` takes `count` steps of
        // `stride`, `right` takes `count` rows of `N` vectors, and `initial` and `out` are accessed at their first `N`
        // vectors.
        unsafe {
            let mut sums: [_; N] = std::array::from_fn(|vector| _mm256_loadu_ps(initial.add(vector * LANES)));
            for term in terms {
                let RightMatrix::Half(right) = term.right else { continue };
                let (mut left, mut right) = (term.left.as_ptr(), right.as_ptr());
                for _ in 0..term.count {
                    let element = _mm256_set1_ps(*left);
                    for (vector, sum) in sums.iter_mut().enumerate() {
                        let stored = _mm_loadu_si128(right.add(vector * LANES).cast());
                        *sum = _mm256_fmadd_ps(element, _mm256_cvtph_ps(stored), *sum);
                    }
                    left = left.wrapping_add(term.stride);
                    right = right.wrapping_add(N * LANES);
                }
            }
            for (vector, sum) in sums.iter().enumerate() {
                _mm256_storeu_ps(out.add(vector * LANES), *sum);
            }
        }
    }
}

/// Splits `0..count` into the fewest parts of at most `most`, as equal as possible; gives the start and size of each.
pub(crate) fn split_evenly(count: usize, most: usize) -> impl Iterator<Item = (usize, usize)> {
    let parts = count.div_ceil(most).max(1);
    let (size, longer) = (count / parts, count % parts);
    (0..parts).map(move |part| (part * size + part.min(longer), size + usize::from(part < longer)))
}

/// Prefetches the cache lines of elements that will soon be read.
#[allow(clippy::inline_always)]
#[inline(always)]
pub(crate) fn prefetch(elements: &[f32]) {
    #[cfg(target_arch = "x86_64")]
    for line in elements.chunks(LINE) {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: a prefetch is a hint without visible effect at any address, and every x86-64 CPU has the instruction.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(line.as_ptr().cast()) };
    }
}

/// Prefetches the cache lines of elements that will soon be written.
#[allow(clippy::inline_always)]
#[inline(always)]
pub(crate) fn prefetch_write(elements: &mut [f32]) {
    #[cfg(target_arch = "x86_64")]
    for line in elements.chunks(LINE) {
        use std::arch::x86_64::{_MM_HINT_ET0, _mm_prefetch};
        // SAFETY: a prefetch is a hint without visible effect at any address; CPUs that lack this one do nothing.
        unsafe { _mm_prefetch::<_MM_HINT_ET0>(line.as_ptr().cast()) };
    }
}
