//! Branch-free exponentials, tanh and logistic function, so that the compiler vectorises them and no library of the
//! system moves a bit. The bits are the same at every vector
//! width: only additions, products, divisions and comparisons are used, without fused multiply-add.

use pulp::{Arch, Simd, WithSimd};

/// n and eʳ − 1, where x = n ln 2 + r, n is an integer and |r| ≤ ln 2 / 2; for |x| up to 104. A polynomial in r (Cephes,
/// Moshier 1989).
#[allow(clippy::inline_always)] // only an inlined body is vectorised
#[inline(always)]
fn reduced(x: f32) -> (f32, f32) {
    const LOG2_E: f32 = std::f32::consts::LOG2_E;
    // ln 2 in two parts, so that n times the first is exact.
    const HIGH: f32 = 0.693_359_4;
    const LOW: f32 = -2.121_944_4e-4;
    // Adding and subtracting this value rounds to the nearest integer.
    const ROUND: f32 = 12_582_912.0;
    let n = (x * LOG2_E + ROUND) - ROUND;
    let r = (x - n * HIGH) - n * LOW;
    let mut p = 1.987_569_1e-4;
    p = p * r + 1.398_199_9e-3;
    p = p * r + 8.333_452e-3;
    p = p * r + 4.166_579_6e-2;
    p = p * r + 1.666_666_5e-1;
    p = p * r + 0.5;
    (n, p * (r * r) + r)
}

/// 2ⁿ through the exponent bits, for an integer n from -126 to 127.
#[allow(clippy::inline_always)]
#[inline(always)]
fn power_of_two(n: i32) -> f32 {
    f32::from_bits(((n + 127) << 23) as u32)
}

/// eˣ for x clamped to [-87, 88].
#[allow(clippy::inline_always)]
#[inline(always)]
fn clamped_exp(x: f32) -> f32 {
    let (n, exp_minus_one) = reduced(x.clamp(-87.0, 88.0));
    (exp_minus_one + 1.0) * power_of_two(n as i32)
}

/// eˣ; infinite from 88.73 on, subnormal from -87.3 down, 0 from -104 on.
#[allow(clippy::inline_always)]
#[inline(always)]
pub(super) fn exp(x: f32) -> f32 {
    let (n, exp_minus_one) = reduced(x.clamp(-104.0, 89.0));
    // In two steps, because 2ⁿ alone may lie beyond the normal numbers.
    let n = n as i32;
    let half = n >> 1;
    (exp_minus_one + 1.0) * power_of_two(half) * power_of_two(n - half)
}

/// eˣ − 1, accurate near 0 too.
#[allow(clippy::inline_always)]
#[inline(always)]
pub(super) fn exp_m1(x: f32) -> f32 {
    let (n, exp_minus_one) = reduced(x.clamp(-87.0, 87.0));
    let power = power_of_two(n as i32);
    let near = power * exp_minus_one + (power - 1.0);
    // Far from 0 the 1 is lost in rounding.
    if x > 64.0 { exp(x) } else { near }
}

/// eˣ in double precision, to about 1 ULP: the series of eʳ up to the 14th power for |r| ≤ ln 2 / 2.
pub(crate) fn exp_f64(x: f64) -> f64 {
    const HIGH: f64 = 6.931_471_803_691_238e-1;
    const LOW: f64 = 1.908_214_929_270_587_7e-10;
    let x = x.clamp(-746.0, 710.0);
    let n = (x * std::f64::consts::LOG2_E).round_ties_even();
    let r = (x - n * HIGH) - n * LOW;
    let mut p = 1.0 / 87_178_291_200.0;
    for inverse in [6_227_020_800.0, 479_001_600.0, 39_916_800.0, 3_628_800.0, 362_880.0, 40_320.0] {
        p = p * r + 1.0 / inverse;
    }
    for inverse in [5_040.0, 720.0, 120.0, 24.0, 6.0, 2.0] {
        p = p * r + 1.0 / inverse;
    }
    let value = p * (r * r) + r + 1.0;
    let power = |n: i64| f64::from_bits(((n + 1023) << 52) as u64);
    let n = n as i64;
    value * power(n >> 1) * power(n - (n >> 1))
}

/// The natural logarithm: minus infinity at 0, NaN below. x = 2ᵉ m with m between √½ and √2, and ln m is twice the
/// series of artanh((m − 1)/(m + 1)), in double precision.
pub(crate) fn log(x: f32) -> f32 {
    if x.is_nan() || x < 0.0 {
        return f32::NAN;
    }
    if x == 0.0 || x == f32::INFINITY {
        return if x == 0.0 { f32::NEG_INFINITY } else { x };
    }
    // Every single-precision number above 0 is a normal one in double precision.
    let bits = f64::from(x).to_bits();
    let mut exponent = (bits >> 52) as i64 - 1023;
    let mut m = f64::from_bits(bits & ((1 << 52) - 1) | 1023 << 52);
    if m > std::f64::consts::SQRT_2 {
        m *= 0.5;
        exponent += 1;
    }
    let s = (m - 1.0) / (m + 1.0);
    let square = s * s;
    let series =
        [17.0, 15.0, 13.0, 11.0, 9.0, 7.0, 5.0, 3.0, 1.0].iter().fold(0.0, |sum, odd| sum * square + 1.0 / odd);
    (2.0 * s * series + exponent as f64 * std::f64::consts::LN_2) as f32
}

/// 1/(1 + e⁻ˣ).
#[allow(clippy::inline_always)]
#[inline(always)]
pub(super) fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + clamped_exp(-x))
}

/// tanh x: a polynomial near 0 (Cephes), elsewhere 1 − 2/(e²ˣ + 1).
#[allow(clippy::inline_always)]
#[inline(always)]
pub(super) fn tanh(x: f32) -> f32 {
    let size = x.abs();
    let square = x * x;
    let mut p = -5.704_988_7e-3;
    p = p * square + 2.063_909e-2;
    p = p * square - 5.373_971_5e-2;
    p = p * square + 1.333_144_2e-1;
    p = p * square - 3.333_328e-1;
    let near = p * square * x + x;
    let far = (1.0 - 2.0 / (clamped_exp(2.0 * size) + 1.0)).copysign(x);
    if size < 0.625 { near } else { far }
}

/// A function of each element.
#[derive(Clone, Copy)]
enum Function {
    Tanh,
    Sigmoid,
    Exp,
    /// eˣ − 1 below 0, else x.
    NegativeExpM1,
}

/// Replaces each element by a function of it. Not a closure: its body would be compiled without vectors.
struct Elementwise<'a>(Function, &'a mut [f32]);

impl WithSimd for Elementwise<'_> {
    type Output = ();

    #[allow(clippy::inline_always)]
    #[inline(always)]
    fn with_simd<S: Simd>(self, _simd: S) {
        let Self(function, values) = self;
        match function {
            Function::Tanh => values.iter_mut().for_each(|value| *value = tanh(*value)),
            Function::Sigmoid => values.iter_mut().for_each(|value| *value = sigmoid(*value)),
            Function::Exp => values.iter_mut().for_each(|value| *value = exp(*value)),
            Function::NegativeExpM1 => {
                for value in values {
                    *value = if *value < 0.0 { exp_m1(*value) } else { *value };
                }
            }
        }
    }
}

/// Replaces each element by its tanh.
pub(crate) fn tanh_slice(values: &mut [f32]) {
    Arch::new().dispatch(Elementwise(Function::Tanh, values));
}

/// Replaces each element by 1/(1 + e⁻ˣ).
pub(crate) fn sigmoid_slice(values: &mut [f32]) {
    Arch::new().dispatch(Elementwise(Function::Sigmoid, values));
}

/// Replaces each element by eˣ.
pub(crate) fn exp_slice(values: &mut [f32]) {
    Arch::new().dispatch(Elementwise(Function::Exp, values));
}

/// Replaces each element below 0 by eˣ − 1.
pub(crate) fn negative_exp_m1_slice(values: &mut [f32]) {
    Arch::new().dispatch(Elementwise(Function::NegativeExpM1, values));
}

#[cfg(test)]
mod tests {
    use super::{
        exp, exp_f64, exp_m1, exp_slice, log, negative_exp_m1_slice, sigmoid, sigmoid_slice, tanh, tanh_slice,
    };

    /// The error in units in the last place (ULP) of the exact value.
    fn ulps(ours: f32, exact: f64) -> f64 {
        let near = exact as f32;
        let unit = f64::from(f32::from_bits(near.abs().to_bits() + 1)) - f64::from(near.abs());
        (f64::from(ours) - exact).abs() / unit.max(f64::from(f32::MIN_POSITIVE))
    }

    #[test]
    fn both_functions_are_within_four_ulps() {
        let (mut worst_tanh, mut worst_sigmoid) = (0.0_f64, 0.0_f64);
        for step in -400_000..=400_000 {
            let x = step as f32 * 5e-5;
            worst_tanh = worst_tanh.max(ulps(tanh(x), f64::from(x).tanh()));
            worst_sigmoid = worst_sigmoid.max(ulps(sigmoid(x), 1.0 / (1.0 + (-f64::from(x)).exp())));
        }
        println!("tanh {worst_tanh:.2}, sigmoid {worst_sigmoid:.2} ULP");
        assert!(worst_tanh <= 4.0 && worst_sigmoid <= 4.0, "{worst_tanh} {worst_sigmoid}");
    }

    #[test]
    fn exponentials_are_within_two_ulps_of_the_exact_value() {
        let (mut worst_exp, mut worst_m1, mut worst_f64) = (0.0_f64, 0.0_f64, 0.0_f64);
        for step in -1_040_000..=887_200 {
            let x = step as f32 * 1e-4;
            worst_exp = worst_exp.max(ulps(exp(x), f64::from(x).exp()));
            worst_m1 = worst_m1.max(ulps(exp_m1(x), f64::from(x).exp_m1()));
            let (ours, exact) = (exp_f64(f64::from(x)), f64::from(x).exp());
            worst_f64 = worst_f64.max((ours - exact).abs() / (exact * f64::EPSILON));
        }
        // Near 0 eˣ − 1 is x, down to the smallest numbers.
        for power in -149..-3 {
            let x = 2.0_f32.powi(power) * 1.3;
            worst_m1 =
                worst_m1.max(ulps(exp_m1(x), f64::from(x).exp_m1())).max(ulps(exp_m1(-x), f64::from(-x).exp_m1()));
        }
        println!("exp {worst_exp:.2}, exp_m1 {worst_m1:.2}, exp_f64 {worst_f64:.2} ULP");
        assert!(worst_exp <= 2.0 && worst_m1 <= 2.0 && worst_f64 <= 2.0, "{worst_exp} {worst_m1} {worst_f64}");
    }

    #[test]
    fn logarithms_are_within_one_ulp_of_the_exact_value() {
        let mut worst = 0.0_f64;
        for step in 1..2_000_000_u32 {
            let x = f32::from_bits(step * 1_061);
            worst = worst.max(ulps(log(x), f64::from(x).ln()));
        }
        println!("log {worst:.2} ULP");
        assert!(worst <= 1.0, "{worst}");
        assert_eq!(
            [log(1.0), log(0.0), log(-0.0), log(f32::INFINITY)],
            [0.0, f32::NEG_INFINITY, f32::NEG_INFINITY, f32::INFINITY]
        );
        assert!(log(-1.0).is_nan() && log(f32::NAN).is_nan());
    }

    #[test]
    fn exponentials_at_their_ends() {
        const INFINITY: f32 = f32::INFINITY;
        assert_eq!(
            [exp(0.0), exp(-0.0), exp(INFINITY), exp(-INFINITY), exp(88.8), exp(-104.1)],
            [1.0, 1.0, INFINITY, 0.0, INFINITY, 0.0]
        );
        assert!(exp(88.72) < INFINITY && exp(-103.0) > 0.0 && exp(-90.0) < f32::MIN_POSITIVE);
        assert_eq!([exp_m1(0.0), exp_m1(INFINITY), exp_m1(-INFINITY), exp_m1(-30.0)], [0.0, INFINITY, -1.0, -1.0]);
        assert!(exp_m1(88.8) == INFINITY && exp_m1(88.7) < INFINITY);
        assert!(exp(f32::NAN).is_nan() && exp_m1(f32::NAN).is_nan() && exp_f64(f64::NAN).is_nan());
        let ends = [f64::INFINITY, f64::NEG_INFINITY, 709.9, -745.2, 0.0].map(exp_f64);
        assert_eq!(ends, [f64::INFINITY, 0.0, f64::INFINITY, 0.0, 1.0]);
        assert!(exp_f64(709.7) < f64::INFINITY && exp_f64(-744.0) > 0.0);
        let mut values = [1.0, -1.0, 0.0, f32::NAN];
        negative_exp_m1_slice(&mut values);
        assert!(values[0] == 1.0 && values[1] == exp_m1(-1.0) && values[2] == 0.0 && values[3].is_nan());
    }

    #[test]
    fn both_functions_saturate_and_propagate_nan() {
        assert_eq!((tanh(0.0), tanh(50.0), tanh(-1e30), tanh(f32::INFINITY)), (0.0, 1.0, -1.0, 1.0));
        assert_eq!((sigmoid(0.0), sigmoid(100.0)), (0.5, 1.0));
        assert!(sigmoid(-87.0) > 0.0 && sigmoid(f32::NEG_INFINITY) < 1e-37);
        assert!(tanh(f32::NAN).is_nan() && sigmoid(f32::NAN).is_nan());
    }

    #[test]
    fn a_slice_has_the_bits_of_its_elements_computed_one_by_one() {
        let values: Vec<f32> = (0..1003).map(|index| (index as f32 - 500.0) * 0.037).collect();
        let (mut tanhs, mut sigmoids, mut exps) = (values.clone(), values.clone(), values.clone());
        tanh_slice(&mut tanhs);
        sigmoid_slice(&mut sigmoids);
        exp_slice(&mut exps);
        for (index, &value) in values.iter().enumerate() {
            assert_eq!(tanhs[index].to_bits(), tanh(value).to_bits());
            assert_eq!(sigmoids[index].to_bits(), sigmoid(value).to_bits());
            assert_eq!(exps[index].to_bits(), exp(value).to_bits());
        }
    }
}
