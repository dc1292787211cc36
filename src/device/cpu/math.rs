//! Branch-free tanh and logistic function, so that the compiler vectorises them. The bits are the same at every vector
//! width: only additions, products, divisions and comparisons are used, without fused multiply-add.

use pulp::Arch;

/// eˣ for x clamped to [-87, 88], to about 1 ULP: x = n ln 2 + r, and a polynomial in r (Cephes, Moshier 1989).
#[allow(clippy::inline_always)] // only an inlined body is vectorised
#[inline(always)]
fn exp(x: f32) -> f32 {
    const LOG2_E: f32 = std::f32::consts::LOG2_E;
    // ln 2 in two parts, so that n times the first is exact.
    const HIGH: f32 = 0.693_359_4;
    const LOW: f32 = -2.121_944_4e-4;
    // Adding and subtracting this value rounds to the nearest integer.
    const ROUND: f32 = 12_582_912.0;
    let x = x.clamp(-87.0, 88.0);
    let n = (x * LOG2_E + ROUND) - ROUND;
    let r = (x - n * HIGH) - n * LOW;
    let mut p = 1.987_569_1e-4;
    p = p * r + 1.398_199_9e-3;
    p = p * r + 8.333_452e-3;
    p = p * r + 4.166_579_6e-2;
    p = p * r + 1.666_666_5e-1;
    p = p * r + 0.5;
    let value = p * (r * r) + r + 1.0;
    // 2ⁿ through the exponent bits; n is from -126 to 127.
    value * f32::from_bits(((n as i32 + 127) << 23) as u32)
}

/// 1/(1 + e⁻ˣ).
#[allow(clippy::inline_always)]
#[inline(always)]
pub(super) fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + exp(-x))
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
    let far = (1.0 - 2.0 / (exp(2.0 * size) + 1.0)).copysign(x);
    if size < 0.625 { near } else { far }
}

/// Applies tanh to each element, in place.
pub(crate) fn tanh_slice(values: &mut [f32]) {
    Arch::new().dispatch(
        #[inline(always)]
        || values.iter_mut().for_each(|value| *value = tanh(*value)),
    );
}

/// Applies 1/(1 + e⁻ˣ) to each element, in place.
pub(crate) fn sigmoid_slice(values: &mut [f32]) {
    Arch::new().dispatch(
        #[inline(always)]
        || values.iter_mut().for_each(|value| *value = sigmoid(*value)),
    );
}

#[cfg(test)]
mod tests {
    use super::{sigmoid, sigmoid_slice, tanh, tanh_slice};

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
    fn both_functions_saturate_and_propagate_nan() {
        assert_eq!((tanh(0.0), tanh(50.0), tanh(-1e30), tanh(f32::INFINITY)), (0.0, 1.0, -1.0, 1.0));
        assert_eq!((sigmoid(0.0), sigmoid(100.0)), (0.5, 1.0));
        assert!(sigmoid(-87.0) > 0.0 && sigmoid(f32::NEG_INFINITY) < 1e-37);
        assert!(tanh(f32::NAN).is_nan() && sigmoid(f32::NAN).is_nan());
    }

    #[test]
    fn a_slice_has_the_bits_of_its_elements_computed_one_by_one() {
        let values: Vec<f32> = (0..1003).map(|index| (index as f32 - 500.0) * 0.037).collect();
        let (mut tanhs, mut sigmoids) = (values.clone(), values.clone());
        tanh_slice(&mut tanhs);
        sigmoid_slice(&mut sigmoids);
        for (index, &value) in values.iter().enumerate() {
            assert_eq!(tanhs[index].to_bits(), tanh(value).to_bits());
            assert_eq!(sigmoids[index].to_bits(), sigmoid(value).to_bits());
        }
    }
}
