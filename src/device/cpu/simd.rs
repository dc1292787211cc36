//! Functions of whole vectors at the CPU's vector width, for fused kernels that keep their values in registers. They
//! use fused multiply-add where the CPU has it, so bits may differ between vector widths.

use half::f16;
use pulp::Simd;

use super::MOST_LANES;

/// Loads a vector from the start of a slice.
#[allow(clippy::inline_always)] // vectors stay in registers only if the body is inlined
#[inline(always)]
pub(crate) fn load<S: Simd>(from: &[f32]) -> S::f32s {
    assert!(S::F32_LANES <= from.len());
    // SAFETY: the slice has at least as many elements as the vector has lanes, asserted above; the read is unaligned.
    unsafe { from.as_ptr().cast::<S::f32s>().read_unaligned() }
}

/// Stores a vector at the start of a slice.
#[allow(clippy::inline_always)]
#[inline(always)]
pub(crate) fn store<S: Simd>(into: &mut [f32], values: S::f32s) {
    assert!(S::F32_LANES <= into.len());
    // SAFETY: the slice has at least as many elements as the vector has lanes, asserted above; the write is unaligned.
    unsafe { into.as_mut_ptr().cast::<S::f32s>().write_unaligned(values) }
}

/// Loads a vector of finite binary16 values and converts it to single precision. AVX-512 has an instruction for it.
/// Elsewhere the bits are shifted into position and the exponent is corrected by an exact product: AVX2's instruction
/// belongs to the separate feature F16C, which the functions of that level are not compiled with, so each use would be
/// a call.
///
/// # Safety
/// `from` is valid for reads of `S::F32_LANES` values.
#[allow(clippy::inline_always)]
#[inline(always)]
pub(crate) unsafe fn load_half<S: Simd>(_simd: S, from: *const f16) -> S::f32s {
    #[cfg(target_arch = "x86_64")]
    if S::F32_LANES == MOST_LANES {
        use std::arch::x86_64::{_mm256_loadu_si256, _mm512_cvtph_ps};
        // SAFETY: 16 values are readable by this function's contract. On x86-64 only pulp's AVX-512 level has 16 lanes,
        // and the token `_simd` of that level exists only where the CPU has AVX-512; its `f32s` has the layout of
        // `__m512`.
        return unsafe { std::mem::transmute_copy(&_mm512_cvtph_ps(_mm256_loadu_si256(from.cast()))) };
    }
    let mut buffer = [0.0; MOST_LANES];
    for (lane, into) in buffer[..S::F32_LANES].iter_mut().enumerate() {
        // SAFETY: `lane` is below `S::F32_LANES`, and that many values are readable by this function's contract.
        let bits = u32::from(unsafe { from.add(lane).read() }.to_bits());
        // 2¹¹² corrects for the different exponent biases.
        let size = f32::from_bits((bits & 0x7fff) << 13) * f32::from_bits((127 + 112) << 23);
        *into = f32::from_bits(size.to_bits() | (bits & 0x8000) << 16);
    }
    load::<S>(&buffer)
}

/// Rounds the lanes of vectors to half precision.
#[allow(clippy::inline_always)]
#[inline(always)]
pub(crate) fn round_vectors<S: Simd, const N: usize>(simd: S, vectors: [S::f32s; N]) -> [S::f32s; N] {
    #[cfg(target_arch = "x86_64")]
    if S::F32_LANES == MOST_LANES {
        use std::arch::x86_64::{__m512, _MM_FROUND_TO_NEAREST_INT, _mm512_cvtph_ps, _mm512_cvtps_ph};
        let mut out = vectors;
        // A loop, because the body of a closure would be compiled without AVX-512.
        for vector in &mut out {
            // SAFETY: on x86-64 only pulp's AVX-512 level has 16 lanes, and the token `_simd` of that level exists only
            // where the CPU has AVX-512; its `f32s` has the layout of `__m512`.
            unsafe {
                let single: __m512 = std::mem::transmute_copy(vector);
                let half = _mm512_cvtph_ps(_mm512_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(single));
                *vector = std::mem::transmute_copy(&half);
            }
        }
        return out;
    }
    let mut out = vectors;
    for vector in &mut out {
        *vector = round_vector(simd, *vector);
    }
    out
}

/// [`round_vectors`] for CPUs without an instruction for it. AVX2's belongs to the separate feature F16C, which the
/// functions of that level are not compiled with.
#[allow(clippy::inline_always)]
#[inline(always)]
fn round_vector<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    // The least normal number, 2¹³ · 1.5, and the first magnitude that rounds to infinity.
    let (normal, shift, beyond) =
        (simd.splat_f32s(6.103_515_6e-5), simd.splat_f32s(12_288.0), simd.splat_f32s(65520.0));
    let size = simd.abs_f32s(x);
    // 2ᵉ of the magnitude; of the least normal number for subnormal ones, which are as far apart.
    let power = simd.and_f32s(simd.max_f32s(size, normal), simd.splat_f32s(f32::INFINITY));
    // In single precision, numbers next to 1.5 · 2ᵉ⁺¹³ are 2ᵉ⁻¹⁰ apart, as those of half precision are next to x.
    let far = simd.mul_f32s(power, shift);
    let rounded = simd.sub_f32s(simd.add_f32s(size, far), far);
    let rounded = simd.select_f32s(
        simd.less_than_f32s(size, beyond),
        rounded,
        simd.add_f32s(size, simd.splat_f32s(f32::INFINITY)),
    );
    // The sign separately, so that -0 keeps it.
    simd.or_f32s(rounded, simd.and_f32s(x, simd.splat_f32s(-0.0)))
}

/// 2ⁿ and eʳ − 1, where eˣ = 2ⁿ eʳ, n is an integer and |r| ≤ ln 2 / 2; x is clamped to ±87. A polynomial in r (Cephes,
/// Moshier 1989).
#[allow(clippy::inline_always)]
#[inline(always)]
fn exp_parts<S: Simd>(simd: S, x: S::f32s) -> (S::f32s, S::f32s) {
    let splat = |value: f32| simd.splat_f32s(value);
    let (low, high) = (splat(-87.0), splat(87.0));
    // Clamped so that NaN stays NaN: the instructions return their second operand if either is NaN, but the portable
    // functions would return the bound.
    let x = if S::F32_LANES == 1 {
        let x = simd.select_f32s(simd.less_than_f32s(x, low), low, x);
        simd.select_f32s(simd.less_than_f32s(high, x), high, x)
    } else {
        simd.min_f32s(high, simd.max_f32s(low, x))
    };
    // Adding this value rounds to the nearest integer and leaves n + 127 in the lowest bits.
    let round = splat(12_582_912.0 + 127.0);
    let rounded = simd.mul_add_e_f32s(x, splat(std::f32::consts::LOG2_E), round);
    let n = simd.sub_f32s(rounded, round);
    // ln 2 in two parts, so that n times the first is exact.
    let r = simd.negate_mul_add_e_f32s(n, splat(0.693_359_4), x);
    let r = simd.negate_mul_add_e_f32s(n, splat(-2.121_944_4e-4), r);
    let mut p = splat(1.987_569_1e-4);
    for coefficient in [1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5] {
        p = simd.mul_add_e_f32s(p, r, splat(coefficient));
    }
    let exp_minus_one = simd.mul_add_e_f32s(p, simd.mul_f32s(r, r), r);
    let bits = simd.wrapping_dyn_shl_u32s(simd.transmute_u32s_f32s(rounded), simd.splat_u32s(23));
    (simd.transmute_f32s_u32s(bits), exp_minus_one)
}

/// eˣ for x of at most 0, and NaN of NaN; 0 below −87, where it leaves the normal numbers.
#[allow(clippy::inline_always)]
#[inline(always)]
pub(crate) fn exp_of_negative<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    let (power, exp_minus_one) = exp_parts(simd, x);
    let value = simd.mul_add_e_f32s(power, exp_minus_one, power);
    simd.select_f32s(simd.less_than_f32s(x, simd.splat_f32s(-87.0)), simd.splat_f32s(0.0), value)
}

/// 1/(1 + e⁻ˣ).
#[allow(clippy::inline_always)]
#[inline(always)]
pub(crate) fn sigmoid<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    let one = simd.splat_f32s(1.0);
    let (power, exp_minus_one) = exp_parts(simd, simd.neg_f32s(x));
    // 1 + 2ⁿ eʳ
    let denominator = simd.add_f32s(one, simd.mul_add_e_f32s(power, exp_minus_one, power));
    simd.div_f32s(one, denominator)
}

/// tanh x = (e²ˣ − 1)/(e²ˣ + 1) of |x|, with the sign of x.
#[allow(clippy::inline_always)]
#[inline(always)]
pub(crate) fn tanh<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    let size = simd.abs_f32s(x);
    let (power, exp_minus_one) = exp_parts(simd, simd.add_f32s(size, size));
    // e²ˣ − 1 = 2ⁿ(eʳ − 1) + (2ⁿ − 1), which is accurate near 0 too.
    let numerator = simd.mul_add_e_f32s(power, exp_minus_one, simd.sub_f32s(power, simd.splat_f32s(1.0)));
    let value = simd.div_f32s(numerator, simd.add_f32s(numerator, simd.splat_f32s(2.0)));
    let sign = simd.and_u32s(simd.transmute_u32s_f32s(x), simd.splat_u32s(1 << 31));
    simd.transmute_f32s_u32s(simd.or_u32s(simd.transmute_u32s_f32s(value), sign))
}

/// The SIMD levels of this machine, the portable one first.
#[cfg(test)]
pub(crate) fn levels() -> Vec<pulp::Arch> {
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

    use super::{exp_of_negative, levels, load, load_half, round_vectors, sigmoid, store, tanh};

    struct TanhAndSigmoid<'a>(&'a [f32]);

    impl WithSimd for TanhAndSigmoid<'_> {
        type Output = (Vec<f32>, Vec<f32>);

        #[allow(clippy::inline_always)]
        #[inline(always)]
        fn with_simd<S: Simd>(self, simd: S) -> Self::Output {
            let (mut tanhs, mut sigmoids) = (vec![0.0; self.0.len()], vec![0.0; self.0.len()]);
            let chunks = tanhs.chunks_exact_mut(S::F32_LANES).zip(sigmoids.chunks_exact_mut(S::F32_LANES));
            for (x, (tanhs, sigmoids)) in self.0.chunks_exact(S::F32_LANES).zip(chunks) {
                store::<S>(tanhs, tanh(simd, load::<S>(x)));
                store::<S>(sigmoids, sigmoid(simd, load::<S>(x)));
            }
            (tanhs, sigmoids)
        }
    }

    /// The error in units in the last place (ULP) of the exact value.
    fn ulps(ours: f32, exact: f64) -> f64 {
        let near = exact as f32;
        let unit = f64::from(f32::from_bits(near.abs().to_bits() + 1)) - f64::from(near.abs());
        (f64::from(ours) - exact).abs() / unit.max(f64::from(f32::MIN_POSITIVE))
    }

    #[test]
    fn both_functions_are_within_four_ulps_at_every_simd_level() {
        let mut values: Vec<f32> = (-400_000..400_000).map(|step| step as f32 * 5e-5).collect();
        // Small values of all magnitudes, and large ones up to where the logistic function is subnormal.
        values.extend((0..80_000).map(|step| 2.0_f32.powf(step as f32 / -1000.0)));
        values.extend((-86_400..86_400).map(|step| step as f32 * 1e-3));
        for arch in levels() {
            let (tanhs, sigmoids) = arch.dispatch(TanhAndSigmoid(&values));
            let (mut worst_tanh, mut worst_sigmoid) = (0.0_f64, 0.0_f64);
            for (index, &x) in values.iter().enumerate() {
                worst_tanh = worst_tanh.max(ulps(tanhs[index], f64::from(x).tanh()));
                worst_sigmoid = worst_sigmoid.max(ulps(sigmoids[index], 1.0 / (1.0 + (-f64::from(x)).exp())));
            }
            println!("{arch:?}: tanh {worst_tanh:.2}, sigmoid {worst_sigmoid:.2} ULP");
            assert!(worst_tanh <= 4.0 && worst_sigmoid <= 4.0, "{arch:?} {worst_tanh} {worst_sigmoid}");
        }
    }

    #[test]
    fn both_functions_saturate_and_propagate_nan_at_every_simd_level() {
        const INFINITY: f32 = f32::INFINITY;
        // Two NaN payloads, as the bits of one could be taken for an exponent.
        let other_nan = f32::from_bits(0x7fc0_0001);
        let inputs = [0.0, -0.0, 50.0, -1e30, INFINITY, -INFINITY, f32::NAN, other_nan];
        let values = [inputs, inputs].concat();
        for arch in levels() {
            let (tanhs, sigmoids) = arch.dispatch(TanhAndSigmoid(&values));
            assert_eq!(tanhs[..6], [0.0, 0.0, 1.0, -1.0, 1.0, -1.0], "{arch:?}");
            assert!(tanhs[1].is_sign_negative());
            assert_eq!((sigmoids[0], sigmoids[2], sigmoids[4]), (0.5, 1.0, 1.0), "{arch:?}");
            assert!(sigmoids[5] > 0.0 && sigmoids[5] < 1e-37);
            assert!(tanhs[6..8].iter().chain(&sigmoids[6..8]).all(|value| value.is_nan()), "{arch:?}");
        }
    }

    struct Exponentials<'a>(&'a [f32]);

    impl WithSimd for Exponentials<'_> {
        type Output = Vec<f32>;

        #[allow(clippy::inline_always)]
        #[inline(always)]
        fn with_simd<S: Simd>(self, simd: S) -> Self::Output {
            let mut out = vec![0.0; self.0.len()];
            for (x, out) in self.0.chunks_exact(S::F32_LANES).zip(out.chunks_exact_mut(S::F32_LANES)) {
                store::<S>(out, exp_of_negative(simd, load::<S>(x)));
            }
            out
        }
    }

    #[test]
    fn exponentials_of_negative_numbers_are_within_two_ulps_and_end_in_zero() {
        let mut values: Vec<f32> = (0..870_000).map(|step| step as f32 * -1e-4).collect();
        values.extend((0..144_000).map(|step| -2.0_f32.powf(step as f32 / -1000.0)));
        for arch in levels() {
            let found = arch.dispatch(Exponentials(&values));
            let worst =
                values.iter().zip(&found).map(|(x, found)| ulps(*found, f64::from(*x).exp())).fold(0.0, f64::max);
            println!("{arch:?}: {worst:.2} ULP");
            assert!(worst <= 2.0, "{arch:?} {worst}");
            let ends = [0.0, -0.0, -87.01, -1e30, f32::NEG_INFINITY, f32::NAN, f32::from_bits(0x7fc0_0001), -1e-40];
            let found = arch.dispatch(Exponentials(&[ends, ends].concat()));
            assert_eq!(found[..5], [1.0, 1.0, 0.0, 0.0, 0.0], "{arch:?}");
            assert!(found[5].is_nan() && found[6].is_nan() && found[7] == 1.0, "{arch:?}");
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
                // SAFETY: `chunks_exact` gives chunks of `S::F32_LANES` values.
                store::<S>(into, unsafe { load_half(simd, from.as_ptr()) });
            }
            for (into, from) in half.chunks_exact_mut(S::F32_LANES).zip(self.1.chunks_exact(S::F32_LANES)) {
                let [vector] = round_vectors(simd, [load::<S>(from)]);
                store::<S>(into, vector);
            }
            (single, half)
        }
    }

    #[test]
    fn conversions_to_and_from_half_precision_are_exact_at_every_simd_level() {
        let finite: Vec<f16> = (0..=u16::MAX).map(f16::from_bits).filter(|value| value.is_finite()).collect();
        assert_eq!(finite.len() % 16, 0);
        // Neighbours of those values, ties between them, values that overflow, infinities and NaN.
        let mut values: Vec<f32> =
            (0..1 << 18).map(|step: u32| f32::from_bits(step.wrapping_mul(16_381).wrapping_add(7))).collect();
        values.extend(finite.iter().map(|value| f32::from_bits(value.to_f32().to_bits().wrapping_add(1 << 12))));
        let mut expected = values.clone();
        crate::device::cpu::round_to_half(&mut expected);
        // A NaN stays one; which of its bits stay depends on the level.
        let bits = |values: &[f32]| {
            values.iter().map(|value| if value.is_nan() { 0x7fc0_0000 } else { value.to_bits() }).collect::<Vec<_>>()
        };
        let exact: Vec<f32> = finite.iter().map(|value| value.to_f32()).collect();
        for arch in levels() {
            let (single, half) = arch.dispatch(Conversions(&finite, &values));
            assert!(bits(&single) == bits(&exact), "{arch:?}");
            assert!(bits(&half) == bits(&expected), "{arch:?}");
        }
    }
}
