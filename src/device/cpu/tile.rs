//! The inner loop of the fused kernels: a few rows of sums, a few vectors wide, that stay in registers while their factors
//! go by. Each element is summed in the order of its factors, so a row's bits do not depend on how many rows there are.

use pulp::{Simd, WithSimd};

use super::wide::{load, store};

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
    pub right: &'a [f32],
}

/// Rows of numbers and the step from one row to the next.
pub(super) type Rows<'a> = (&'a [f32], usize);
/// The same to be written.
pub(super) type RowsMut<'a> = (&'a mut [f32], usize);

/// Writes `count` rows of sums, `V` vectors wide: `begin` and all terms. Without a beginning they are added to what is there.
#[allow(clippy::inline_always)]
#[inline(always)]
pub(super) fn sum<S: Simd, const V: usize>(simd: S, count: usize, begin: Option<Rows>, terms: &[Term], out: RowsMut) {
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
            let mut right = term.right.as_ptr();
            for stretch in 0..term.stretches {
                let mut left = term.left.as_ptr().wrapping_add(stretch * term.stretch);
                for _ in 0..term.count {
                    // SAFETY: the furthest number of the left side is `last`, and the right side is read row by row, as
                    // many rows as there are places; both are inside their slices, which the assertions saw.
                    let (numbers, vectors): ([S::f32s; R], [S::f32s; V]) = unsafe {
                        (
                            std::array::from_fn(|row| simd.splat_f32s(*left.add(row * term.row))),
                            std::array::from_fn(|place| {
                                right.add(place * S::F32_LANES).cast::<S::f32s>().read_unaligned()
                            }),
                        )
                    };
                    for place in 0..V {
                        for row in 0..R {
                            sums[row][place] = simd.mul_add_e_f32s(numbers[row], vectors[place], sums[row][place]);
                        }
                    }
                    left = left.wrapping_add(term.step);
                    right = right.wrapping_add(wide);
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

/// Cuts `0..count` in the fewest parts of at most `most`, as even as they come: first place and size of each.
pub(super) fn parts(count: usize, most: usize) -> impl Iterator<Item = (usize, usize)> {
    let pieces = count.div_ceil(most).max(1);
    let (size, longer) = (count / pieces, count % pieces);
    (0..pieces).map(move |piece| (piece * size + piece.min(longer), size + usize::from(piece < longer)))
}

/// Asks for numbers that will soon be read, so that they are near by then.
#[allow(clippy::inline_always)]
#[inline(always)]
pub(super) fn will_read(numbers: &[f32]) {
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
pub(super) fn will_write(numbers: &mut [f32]) {
    #[cfg(target_arch = "x86_64")]
    for line in numbers.chunks(LINE) {
        use std::arch::x86_64::{_MM_HINT_ET0, _mm_prefetch};
        // SAFETY: a hint, which writes nothing; where a processor does not know it, it does nothing.
        unsafe { _mm_prefetch::<_MM_HINT_ET0>(line.as_ptr().cast()) };
    }
}
