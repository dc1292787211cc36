//! Functions of many numbers at once, at the width of the processor: what fused kernels compute while their numbers are in
//! registers. With fused multiply-add where there is one, so that bits may differ between widths.

use half::f16;
use pulp::Simd;

use super::half::round_to_half;
use super::microkernel::MOST_LANES;

/// A vector from the head of a slice.
#[allow(clippy::inline_always)] // vectors stay in registers only where the body is inlined
#[inline(always)]
pub(super) fn load<S: Simd>(from: &[f32]) -> S::f32s {
    assert!(S::F32_LANES <= from.len());
    // SAFETY: the slice holds as many numbers as a vector does, which the assertion saw.
    unsafe { from.as_ptr().cast::<S::f32s>().read_unaligned() }
}

/// A vector to the head of a slice.
#[allow(clippy::inline_always)]
#[inline(always)]
pub(super) fn store<S: Simd>(into: &mut [f32], values: S::f32s) {
    assert!(S::F32_LANES <= into.len());
    // SAFETY: the slice holds as many numbers as a vector does, which the assertion saw.
    unsafe { into.as_mut_ptr().cast::<S::f32s>().write_unaligned(values) }
}

/// A vector of numbers that are stored in half precision and finite. The widest vectors have an instruction for it; elsewhere the
/// bits are moved to their places, and the exponent is set right by a product, which is exact. (AVX2's own instruction is a
/// feature apart, F16C, which the functions of that level are not compiled with, so that each use of it would be a call.)
///
/// # Safety
/// `from` is followed by as many numbers as a vector has.
#[allow(clippy::inline_always)]
#[inline(always)]
pub(super) unsafe fn widened<S: Simd>(_simd: S, from: *const f16) -> S::f32s {
    #[cfg(target_arch = "x86_64")]
    if S::F32_LANES == MOST_LANES {
        use std::arch::x86_64::{_mm256_loadu_si256, _mm512_cvtph_ps};
        // SAFETY: the caller's promise; on this architecture vectors of sixteen numbers are those of AVX-512, so that the
        // instruction is there, and S::f32s is such a vector.
        return unsafe { std::mem::transmute_copy(&_mm512_cvtph_ps(_mm256_loadu_si256(from.cast()))) };
    }
    let mut room = [0.0; MOST_LANES];
    for (place, into) in room[..S::F32_LANES].iter_mut().enumerate() {
        // SAFETY: the caller's promise.
        let bits = u32::from(unsafe { from.add(place).read() }.to_bits());
        // 2¹¹² is the distance of the two exponents' biases.
        let size = f32::from_bits((bits & 0x7fff) << 13) * f32::from_bits((127 + 112) << 23);
        *into = f32::from_bits(size.to_bits() | (bits & 0x8000) << 16);
    }
    load::<S>(&room)
}

/// Vectors whose numbers are rounded to half precision.
#[allow(clippy::inline_always)]
#[inline(always)]
pub(super) fn halved<S: Simd, const N: usize>(vectors: [S::f32s; N]) -> [S::f32s; N] {
    #[cfg(target_arch = "x86_64")]
    if S::F32_LANES == MOST_LANES {
        use std::arch::x86_64::{__m512, _MM_FROUND_TO_NEAREST_INT, _mm512_cvtph_ps, _mm512_cvtps_ph};
        let mut out = vectors;
        // A loop, as a closure's body would be compiled for a processor without the instructions.
        for vector in &mut out {
            // SAFETY: on this architecture vectors of sixteen numbers are those of AVX-512, so that the instructions are there,
            // and S::f32s is such a vector.
            unsafe {
                let single: __m512 = std::mem::transmute_copy(vector);
                let half = _mm512_cvtph_ps(_mm512_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(single));
                *vector = std::mem::transmute_copy(&half);
            }
        }
        return out;
    }
    halved_apart::<S, N>(vectors)
}

/// The same by memory.
#[inline(never)]
fn halved_apart<S: Simd, const N: usize>(vectors: [S::f32s; N]) -> [S::f32s; N] {
    let mut room = [0.0; 4 * MOST_LANES];
    let room = &mut room[..N * S::F32_LANES];
    for (vector, into) in vectors.iter().zip(room.chunks_exact_mut(S::F32_LANES)) {
        store::<S>(into, *vector);
    }
    round_to_half(room);
    let mut out = vectors;
    for (out, from) in out.iter_mut().zip(room.chunks_exact(S::F32_LANES)) {
        *out = load::<S>(from);
    }
    out
}

/// 2ⁿ and eʳ − 1, with eˣ = 2ⁿ eʳ, n whole and |r| at most ln 2 / 2; x beyond ±87 stays there. A polynomial in r (Cephes,
/// Moshier 1989).
#[allow(clippy::inline_always)]
#[inline(always)]
fn exp_parts<S: Simd>(simd: S, x: S::f32s) -> (S::f32s, S::f32s) {
    let number = |value: f32| simd.splat_f32s(value);
    let (low, high) = (number(-87.0), number(87.0));
    // Bounded so that what is no number stays none: the instructions give their second operand then, but the portable
    // functions the first.
    let x = if S::F32_LANES == 1 {
        let x = simd.select_f32s(simd.less_than_f32s(x, low), low, x);
        simd.select_f32s(simd.less_than_f32s(high, x), high, x)
    } else {
        simd.min_f32s(high, simd.max_f32s(low, x))
    };
    // Adding this number rounds to the nearest whole one and leaves n + 127 in the lowest bits.
    let round = number(12_582_912.0 + 127.0);
    let rounded = simd.mul_add_e_f32s(x, number(std::f32::consts::LOG2_E), round);
    let n = simd.sub_f32s(rounded, round);
    // ln 2 in two parts, so that n of them are exact.
    let r = simd.negate_mul_add_e_f32s(n, number(0.693_359_4), x);
    let r = simd.negate_mul_add_e_f32s(n, number(-2.121_944_4e-4), r);
    let mut p = number(1.987_569_1e-4);
    for next in [1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5] {
        p = simd.mul_add_e_f32s(p, r, number(next));
    }
    let less_one = simd.mul_add_e_f32s(p, simd.mul_f32s(r, r), r);
    let bits = simd.wrapping_dyn_shl_u32s(simd.transmute_u32s_f32s(rounded), simd.splat_u32s(23));
    (simd.transmute_f32s_u32s(bits), less_one)
}

/// 1/(1 + e⁻ˣ).
#[allow(clippy::inline_always)]
#[inline(always)]
pub(super) fn sigmoid<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    let one = simd.splat_f32s(1.0);
    let (power, less_one) = exp_parts(simd, simd.neg_f32s(x));
    // 1 + 2ⁿ eʳ
    let below = simd.add_f32s(one, simd.mul_add_e_f32s(power, less_one, power));
    simd.div_f32s(one, below)
}

/// tanh x = (e²ˣ − 1)/(e²ˣ + 1) of |x|, with the sign of x.
#[allow(clippy::inline_always)]
#[inline(always)]
pub(super) fn tanh<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    let size = simd.abs_f32s(x);
    let (power, less_one) = exp_parts(simd, simd.add_f32s(size, size));
    // e²ˣ − 1 = 2ⁿ(eʳ − 1) + (2ⁿ − 1), which is exact to the last place near 0 too.
    let above = simd.mul_add_e_f32s(power, less_one, simd.sub_f32s(power, simd.splat_f32s(1.0)));
    let value = simd.div_f32s(above, simd.add_f32s(above, simd.splat_f32s(2.0)));
    let sign = simd.and_u32s(simd.transmute_u32s_f32s(x), simd.splat_u32s(1 << 31));
    simd.transmute_f32s_u32s(simd.or_u32s(simd.transmute_u32s_f32s(value), sign))
}

/// The instruction sets that this machine has, the portable one first.
#[cfg(test)]
pub(super) fn levels() -> Vec<pulp::Arch> {
    #[allow(unused_mut)]
    let mut out = vec![pulp::Arch::Scalar];
    #[cfg(target_arch = "x86_64")]
    out.extend(pulp::x86::V3::try_new().map(pulp::Arch::V3));
    #[cfg(target_arch = "x86_64")]
    out.extend(pulp::x86::V4::try_new().map(pulp::Arch::V4));
    out
}

#[cfg(test)]
mod tests {
    use pulp::{Simd, WithSimd};

    use half::f16;

    use super::{halved, levels, load, sigmoid, store, tanh, widened};

    struct Both<'a>(&'a [f32]);

    impl WithSimd for Both<'_> {
        type Output = (Vec<f32>, Vec<f32>);

        #[allow(clippy::inline_always)]
        #[inline(always)]
        fn with_simd<S: Simd>(self, simd: S) -> Self::Output {
            let (mut bent, mut logistic) = (vec![0.0; self.0.len()], vec![0.0; self.0.len()]);
            let parts = bent.chunks_exact_mut(S::F32_LANES).zip(logistic.chunks_exact_mut(S::F32_LANES));
            for (x, (bent, logistic)) in self.0.chunks_exact(S::F32_LANES).zip(parts) {
                store::<S>(bent, tanh(simd, load::<S>(x)));
                store::<S>(logistic, sigmoid(simd, load::<S>(x)));
            }
            (bent, logistic)
        }
    }

    /// The distance in units of the last place of the exact value.
    fn units(ours: f32, exact: f64) -> f64 {
        let near = exact as f32;
        let unit = f64::from(f32::from_bits(near.abs().to_bits() + 1)) - f64::from(near.abs());
        (f64::from(ours) - exact).abs() / unit.max(f64::from(f32::MIN_POSITIVE))
    }

    #[test]
    fn both_are_within_four_units_of_the_last_place_at_every_level() {
        let mut values: Vec<f32> = (-400_000..400_000).map(|step| step as f32 * 5e-5).collect();
        // Small numbers of all sizes, and large ones up to where a logistic value is no longer normal.
        values.extend((0..80_000).map(|step| 2.0_f32.powf(step as f32 / -1000.0)));
        values.extend((-86_400..86_400).map(|step| step as f32 * 1e-3));
        for arch in levels() {
            let (bent, logistic) = arch.dispatch(Both(&values));
            let (mut worst_tanh, mut worst_sigmoid) = (0.0_f64, 0.0_f64);
            for (place, &x) in values.iter().enumerate() {
                worst_tanh = worst_tanh.max(units(bent[place], f64::from(x).tanh()));
                worst_sigmoid = worst_sigmoid.max(units(logistic[place], 1.0 / (1.0 + (-f64::from(x)).exp())));
            }
            println!("{arch:?}: tanh {worst_tanh:.2}, sigmoid {worst_sigmoid:.2} units in the last place");
            assert!(worst_tanh <= 4.0 && worst_sigmoid <= 4.0, "{arch:?} {worst_tanh} {worst_sigmoid}");
        }
    }

    #[test]
    fn the_ends_are_where_they_should_be_at_every_level() {
        const INFINITY: f32 = f32::INFINITY;
        // Two kinds of what is no number, as bits of one can look like an exponent.
        let strange = f32::from_bits(0x7fc0_0001);
        let given = [0.0, -0.0, 50.0, -1e30, INFINITY, -INFINITY, f32::NAN, strange];
        let values = [given, given].concat();
        for arch in levels() {
            let (bent, logistic) = arch.dispatch(Both(&values));
            assert_eq!(bent[..6], [0.0, 0.0, 1.0, -1.0, 1.0, -1.0], "{arch:?}");
            assert!(bent[1].is_sign_negative());
            assert_eq!((logistic[0], logistic[2], logistic[4]), (0.5, 1.0, 1.0), "{arch:?}");
            assert!(logistic[5] > 0.0 && logistic[5] < 1e-37);
            assert!(bent[6].is_nan() && bent[7].is_nan() && logistic[6].is_nan() && logistic[7].is_nan(), "{arch:?}");
        }
    }

    struct Conversions<'a>(&'a [f16], &'a [f32]);

    impl WithSimd for Conversions<'_> {
        type Output = (Vec<f32>, Vec<f32>);

        #[allow(clippy::inline_always)]
        #[inline(always)]
        fn with_simd<S: Simd>(self, simd: S) -> Self::Output {
            let (mut single, mut half) = (vec![0.0; self.0.len()], vec![0.0; self.1.len()]);
            for (into, from) in single.chunks_exact_mut(S::F32_LANES).zip(self.0.chunks_exact(S::F32_LANES)) {
                // SAFETY: the part is as long as a vector.
                store::<S>(into, unsafe { widened(simd, from.as_ptr()) });
            }
            for (into, from) in half.chunks_exact_mut(S::F32_LANES).zip(self.1.chunks_exact(S::F32_LANES)) {
                let [vector] = halved::<S, 1>([load::<S>(from)]);
                store::<S>(into, vector);
            }
            (single, half)
        }
    }

    #[test]
    fn every_finite_half_becomes_itself_and_numbers_are_rounded_as_elsewhere_at_every_level() {
        let finite: Vec<f16> = (0..=u16::MAX).map(f16::from_bits).filter(|value| value.is_finite()).collect();
        assert_eq!(finite.len() % 16, 0);
        // Numbers beside those, ties between them, too large ones, and what is no number.
        let mut values: Vec<f32> =
            (0..1 << 18).map(|step: u32| f32::from_bits(step.wrapping_mul(16_381).wrapping_add(7))).collect();
        values.extend(finite.iter().map(|value| f32::from_bits(value.to_f32().to_bits().wrapping_add(1 << 12))));
        let mut expected = values.clone();
        crate::device::cpu::round_to_half(&mut expected);
        let bits = |values: &[f32]| values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
        let exact: Vec<f32> = finite.iter().map(|value| value.to_f32()).collect();
        for arch in levels() {
            let (single, half) = arch.dispatch(Conversions(&finite, &values));
            assert!(bits(&single) == bits(&exact), "{arch:?}");
            assert!(bits(&half) == bits(&expected), "{arch:?}");
        }
    }
}
