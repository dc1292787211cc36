//! Rounding to half precision (IEEE 754 binary16): numbers are kept in single precision, and hold what half precision can.

use half::f16;
use half::slice::HalfFloatSliceExt;

/// Numbers that are converted at a time.
const PART: usize = 256;

/// Rounds each number to the nearest that half precision has, ties to even; what is too large becomes infinite.
pub fn round_to_half(values: &mut [f32]) {
    let mut room = [f16::ZERO; PART];
    for part in values.chunks_mut(PART) {
        let room = &mut room[..part.len()];
        room.convert_from_f32_slice(part);
        room.convert_to_f32_slice(part);
    }
}

#[cfg(test)]
mod tests {
    use super::round_to_half;
    use crate::random::Random;

    #[test]
    fn numbers_become_those_of_half_precision() {
        let mut values =
            [1.0, 1.0 + 2.0_f32.powi(-11), 1.0 + 3.0 * 2.0_f32.powi(-11), 65519.0, 65520.0, -1e9, 1e-9, 6e-8];
        round_to_half(&mut values);
        let unit = 2.0_f32.powi(-10);
        let least = 2.0_f32.powi(-24);
        assert_eq!(values, [1.0, 1.0, 1.0 + 2.0 * unit, 65504.0, f32::INFINITY, f32::NEG_INFINITY, 0.0, least]);
        let mut none = [f32::NAN];
        round_to_half(&mut none);
        assert!(none[0].is_nan());
    }

    #[test]
    fn long_lists_are_rounded_number_by_number_and_rounding_again_changes_nothing() {
        let random = Random::new(1, 0, 0);
        let values: Vec<f32> = (0..1000).map(|place| random.normal(place) as f32 * 100.0).collect();
        let mut whole = values.clone();
        round_to_half(&mut whole);
        for (value, rounded) in values.iter().zip(&whole) {
            let mut alone = [*value];
            round_to_half(&mut alone);
            assert_eq!(alone[0].to_bits(), rounded.to_bits());
            assert!((rounded - value).abs() <= value.abs() * 2.0_f32.powi(-11) + 2.0_f32.powi(-25));
        }
        let mut again = whole.clone();
        round_to_half(&mut again);
        assert_eq!(again, whole);
    }
}
