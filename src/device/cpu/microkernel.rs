//! The inner loop of the fused kernels: a few rows of sums, a few vectors wide, that stay in registers while their factors
//! go by. Each element is summed in the order of its factors, so a row's bits do not depend on how many rows there are.

use half::f16;
use pulp::{Simd, WithSimd};

use super::simd::{load, store, widened};

/// Most rows of a tile.
pub(super) const MOST_ROWS: usize = 6;
/// Vectors of a wide tile. A narrow one has a single vector.
pub(super) const VECTORS: usize = 4;
/// Numbers in the widest vector that any processor has here.
pub(super) const MOST_LANES: usize = 16;

/// Numbers in a cache line.
const LINE: usize = 16;

/// Rows of a tile that fill the registers: sums, a vector of the right side, and a number of the left side a row.
pub(super) const fn rows<S: Simd>() -> usize {
    if S::REGISTER_COUNT >= 32 { MOST_ROWS } else { MOST_ROWS / 2 }
}

/// One term of the sums of a tile: sum (i, j) grows by the products of left (i, k) and right (k, j). The places k of a row
/// stand in stretches.
#[derive(Clone, Copy)]
pub(super) struct Term<'a> {
    /// Left side.
    pub left: &'a [f32],
    /// From one of its rows to the next.
    pub row: usize,
    /// From one place in a row to the next.
    pub step: usize,
    /// Places in a stretch.
    pub count: usize,
    /// From one stretch to the next.
    pub stretch: usize,
    /// Stretches.
    pub stretches: usize,
    /// Right side, row by row without gaps.
    pub right: Right<'a>,
}

/// Numbers of a right side, as they are stored.
#[derive(Clone, Copy)]
pub(super) enum Right<'a> {
    Single(&'a [f32]),
    /// Finite numbers in half precision, which become those of single precision while they are loaded.
    Half(&'a [f16]),
}

impl Right<'_> {
    fn len(&self) -> usize {
        match self {
            Self::Single(numbers) => numbers.len(),
            Self::Half(numbers) => numbers.len(),
        }
    }

    /// What begins at a place.
    #[allow(clippy::inline_always)]
    #[inline(always)]
    pub(super) fn from(&self, place: usize) -> Self {
        match self {
            Self::Single(numbers) => Right::Single(&numbers[place..]),
            Self::Half(numbers) => Right::Half(&numbers[place..]),
        }
    }
}

/// Rows of numbers and the step from one row to the next.
pub(super) type Rows<'a> = (&'a [f32], usize);
/// The same to be written.
pub(super) type RowsMut<'a> = (&'a mut [f32], usize);

/// Writes `count` rows of sums, `V` vectors wide: `begin` and all terms. Without a beginning they are added to what is there.
#[allow(clippy::inline_always)]
#[inline(always)]
pub(super) fn sum<S: Simd, const V: usize>(simd: S, count: usize, begin: Option<Rows>, terms: &[Term], out: RowsMut) {
    #[cfg(target_arch = "x86_64")]
    if let (1, VECTORS, Some((begin, _))) = (count, V, begin)
        && narrow::sum(begin, terms, out.0, V * S::F32_LANES)
    {
        return;
    }
    match count {
        1 => simd.vectorize(Tile::<1, V> { begin, terms, out }),
        2 => simd.vectorize(Tile::<2, V> { begin, terms, out }),
        3 => simd.vectorize(Tile::<3, V> { begin, terms, out }),
        4 => simd.vectorize(Tile::<4, V> { begin, terms, out }),
        5 => simd.vectorize(Tile::<5, V> { begin, terms, out }),
        _ => simd.vectorize(Tile::<MOST_ROWS, V> { begin, terms, out }),
    }
}

struct Tile<'a, const R: usize, const V: usize> {
    begin: Option<Rows<'a>>,
    terms: &'a [Term<'a>],
    out: RowsMut<'a>,
}

impl<const R: usize, const V: usize> WithSimd for Tile<'_, R, V> {
    type Output = ();

    #[allow(clippy::inline_always)]
    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { begin, terms, out: (out, stride) } = self;
        let wide = V * S::F32_LANES;
        let mut sums = [[simd.splat_f32s(0.0); V]; R];
        let (from, from_stride) = begin.unwrap_or((out, stride));
        for (row, sums) in sums.iter_mut().enumerate() {
            let from = &from[row * from_stride..][..wide];
            for (place, sum) in sums.iter_mut().enumerate() {
                *sum = load::<S>(&from[place * S::F32_LANES..]);
            }
        }
        for term in terms.iter().filter(|term| term.count > 0 && term.stretches > 0) {
            let last = (R - 1) * term.row + (term.stretches - 1) * term.stretch + (term.count - 1) * term.step;
            assert!(last < term.left.len(), "a tile's left side is too short");
            assert!(term.stretches * term.count * wide <= term.right.len(), "a tile's right side is too short");
            // SAFETY: the furthest number of the left side is `last`, and the right side is read row by row, as many rows as
            // there are places; both are inside their slices, which the assertions saw.
            unsafe {
                match term.right {
                    Right::Single(right) => {
                        add(simd, &mut sums, term, right.as_ptr(), |from| from.cast::<S::f32s>().read_unaligned());
                    }
                    Right::Half(right) => {
                        add(simd, &mut sums, term, right.as_ptr(), |from| widened(simd, from));
                    }
                }
            }
        }
        for (row, sums) in sums.iter().enumerate() {
            let into = &mut out[row * stride..][..wide];
            for (place, sum) in sums.iter().enumerate() {
                store::<S>(&mut into[place * S::F32_LANES..], *sum);
            }
        }
    }
}

/// Adds a term to sums; `vector` gives the numbers of the right side at a place.
///
/// # Safety
/// Every place of the term is inside its left side, and as many rows of the right side can be read.
#[allow(clippy::inline_always)]
#[inline(always)]
unsafe fn add<S: Simd, T, const R: usize, const V: usize>(
    simd: S,
    sums: &mut [[S::f32s; V]; R],
    term: &Term,
    mut right: *const T,
    vector: impl Fn(*const T) -> S::f32s,
) {
    for stretch in 0..term.stretches {
        let mut left = term.left.as_ptr().wrapping_add(stretch * term.stretch);
        for _ in 0..term.count {
            // SAFETY: the caller's promise.
            let numbers: [S::f32s; R] =
                unsafe { std::array::from_fn(|row| simd.splat_f32s(*left.add(row * term.row))) };
            let vectors: [S::f32s; V] = std::array::from_fn(|place| vector(right.wrapping_add(place * S::F32_LANES)));
            for place in 0..V {
                for row in 0..R {
                    sums[row][place] = simd.mul_add_e_f32s(numbers[row], vectors[place], sums[row][place]);
                }
            }
            left = left.wrapping_add(term.step);
            right = right.wrapping_add(V * S::F32_LANES);
        }
    }
}

/// Single rows with right sides in half precision, in vectors of AVX2 at every level that has fused multiply-add. A row has no
/// more products than conversions, and the instruction for wide vectors does fewer of them: on a Zen 4 it takes 1.5 cycles, and
/// no product goes beside. Functions of their own, as a compiler that is allowed wide vectors puts two narrow ones together. The
/// sums have the same bits, as both widths sum in the same order.
#[cfg(target_arch = "x86_64")]
mod narrow {
    use std::arch::x86_64::{
        _mm_loadu_si128, _mm256_cvtph_ps, _mm256_fmadd_ps, _mm256_loadu_ps, _mm256_set1_ps, _mm256_storeu_ps,
    };

    use super::{MOST_LANES, Right, Term, VECTORS};

    /// Numbers in a vector.
    const LANES: usize = 8;

    /// Writes a row of `wide` sums, where this can be done so; tells whether it was.
    pub(super) fn sum(begin: &[f32], terms: &[Term], out: &mut [f32], wide: usize) -> bool {
        const WIDE: usize = VECTORS * MOST_LANES;
        const LESS: usize = VECTORS * LANES;
        let halves = terms.iter().all(|term| term.stretches == 1 && matches!(term.right, Right::Half(_)));
        if !halves || !is_x86_feature_detected!("f16c") {
            return false;
        }
        for term in terms.iter().filter(|term| term.count > 0) {
            assert!((term.count - 1) * term.step < term.left.len(), "a tile's left side is too short");
            assert!(term.count * wide <= term.right.len(), "a tile's right side is too short");
        }
        assert!(wide <= begin.len() && wide <= out.len(), "a tile's row is too short");
        // SAFETY: all that is read and written is inside the slices, which the assertions saw. Processors with F16C and as many
        // lanes as these, which only levels with AVX2 and FMA have, have the instructions.
        unsafe {
            match wide {
                WIDE => row::<{ WIDE / LANES }>(begin.as_ptr(), terms, out.as_mut_ptr()),
                LESS => row::<{ LESS / LANES }>(begin.as_ptr(), terms, out.as_mut_ptr()),
                _ => return false,
            }
        }
        true
    }

    /// A row of `N` vectors.
    ///
    /// # Safety
    /// All places of the terms are inside their left sides, their right sides have as many rows, and `begin` and `out` as many
    /// numbers; the processor has the instructions.
    #[target_feature(enable = "avx2,fma,f16c")]
    unsafe fn row<const N: usize>(begin: *const f32, terms: &[Term], out: *mut f32) {
        // SAFETY: the caller's promise.
        unsafe {
            let mut sums: [_; N] = std::array::from_fn(|place| _mm256_loadu_ps(begin.add(place * LANES)));
            for term in terms {
                let Right::Half(right) = term.right else { continue };
                let (mut left, mut right) = (term.left.as_ptr(), right.as_ptr());
                for _ in 0..term.count {
                    let number = _mm256_set1_ps(*left);
                    for (place, sum) in sums.iter_mut().enumerate() {
                        let stored = _mm_loadu_si128(right.add(place * LANES).cast());
                        *sum = _mm256_fmadd_ps(number, _mm256_cvtph_ps(stored), *sum);
                    }
                    left = left.wrapping_add(term.step);
                    right = right.wrapping_add(N * LANES);
                }
            }
            for (place, sum) in sums.iter().enumerate() {
                _mm256_storeu_ps(out.add(place * LANES), *sum);
            }
        }
    }
}

/// Cuts `0..count` in the fewest parts of at most `most`, as even as they come: first place and size of each.
pub(super) fn parts(count: usize, most: usize) -> impl Iterator<Item = (usize, usize)> {
    let pieces = count.div_ceil(most).max(1);
    let (size, longer) = (count / pieces, count % pieces);
    (0..pieces).map(move |piece| (piece * size + piece.min(longer), size + usize::from(piece < longer)))
}

/// Asks for numbers that will soon be read, so that they are near by then.
#[allow(clippy::inline_always)]
#[inline(always)]
pub(super) fn prefetch(numbers: &[f32]) {
    #[cfg(target_arch = "x86_64")]
    for line in numbers.chunks(LINE) {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: a hint, which reads nothing that a program sees; every x86-64 has it.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(line.as_ptr().cast()) };
    }
}

/// Asks for places that will soon be written.
#[allow(clippy::inline_always)]
#[inline(always)]
pub(super) fn prefetch_write(numbers: &mut [f32]) {
    #[cfg(target_arch = "x86_64")]
    for line in numbers.chunks(LINE) {
        use std::arch::x86_64::{_MM_HINT_ET0, _mm_prefetch};
        // SAFETY: a hint, which writes nothing; where a processor does not know it, it does nothing.
        unsafe { _mm_prefetch::<_MM_HINT_ET0>(line.as_ptr().cast()) };
    }
}
