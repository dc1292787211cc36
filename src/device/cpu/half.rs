//! Rounding to half precision (IEEE 754 binary16). Rounded values stay in `f32` memory.

use half::f16;
use half::slice::HalfFloatSliceExt;

/// Values that are converted together.
const CHUNK: usize = 256;

/// Rounds each value to the nearest binary16 value, ties to even. Values that are too large become infinite.
pub fn round_to_half(values: &mut [f32]) {
    let mut buffer = [f16::ZERO; CHUNK];
    for chunk in values.chunks_mut(CHUNK) {
        let buffer = &mut buffer[..chunk.len()];
        buffer.convert_from_f32_slice(chunk);
        buffer.convert_to_f32_slice(chunk);
    }
}

/// Whether a matrix that is read for one row alone is read faster in half than in single precision. There are then as many
/// conversions as products. A core by AMD converts beside its multiply-add units; one by Intel converts in them, which
/// takes longer than reading twice the bytes does (1.6 times on a Sapphire Rapids). With AVX2 there are twice as many
/// conversions, and a Zen 4 takes longer too (1.3 times).
pub(crate) fn half_reads_are_fast() -> bool {
    // Only cores by AMD, and those derived from them, have this feature.
    #[cfg(target_arch = "x86_64")]
    let is_fast = is_x86_feature_detected!("sse4a") && matches!(super::arch(), pulp::Arch::V4(_));
    // Without an instruction of ours for it, a conversion is several instructions.
    #[cfg(not(target_arch = "x86_64"))]
    let is_fast = false;
    is_fast
}

#[cfg(test)]
mod tests {
    use super::round_to_half;
    use crate::random::Random;

    #[test]
    fn values_round_to_half_precision() {
        let mut values =
            [1.0, 1.0 + 2.0_f32.powi(-11), 1.0 + 3.0 * 2.0_f32.powi(-11), 65519.0, 65520.0, -1e9, 1e-9, 6e-8];
        round_to_half(&mut values);
        let unit = 2.0_f32.powi(-10);
        let least = 2.0_f32.powi(-24);
        assert_eq!(values, [1.0, 1.0, 1.0 + 2.0 * unit, 65504.0, f32::INFINITY, f32::NEG_INFINITY, 0.0, least]);
        let mut nan = [f32::NAN];
        round_to_half(&mut nan);
        assert!(nan[0].is_nan());
    }

    #[test]
    fn long_slices_are_rounded_elementwise_and_rounding_is_idempotent() {
        let random = Random::new(1, 0, 0);
        let values: Vec<f32> = (0..1000).map(|position| random.normal(position) as f32 * 100.0).collect();
        let mut whole = values.clone();
        round_to_half(&mut whole);
        for (value, rounded) in values.iter().zip(&whole) {
            let mut alone = [*value];
            round_to_half(&mut alone);
            assert_eq!(alone[0].to_bits(), rounded.to_bits());
            assert!((rounded - value).abs() <= value.abs() * 2.0_f32.powi(-11) + 2.0_f32.powi(-25));
        }
        let mut twice = whole.clone();
        round_to_half(&mut twice);
        assert_eq!(twice, whole);
    }
}
