//! Euclidean distances between points.

use super::kernel::{Rows, gram_into, square_distances};
use crate::error::{Result, fail};

/// Below this share of ‖a‖² + ‖b‖², ‖a‖² + ‖b‖² − 2a·b has lost too many digits, and ‖a − b‖² is summed directly.
const CANCELLED: f64 = 0.001;

/// Euclidean distance between every two of `count` points, `[count, dimensions]`, row-major. Gives `[count, count]`.
///
/// Squares come from ‖a‖² + ‖b‖² − 2a·b of the points less their mean, which leaves every distance and makes the norms
/// as small as they can be. The sums are right to some units of 1e-16 of the norms (at worst to an eighth as many as there
/// are dimensions), so a square that is at least `CANCELLED` of the norms is right to about 1e-13 of itself, and its root
/// to half of that. Closer points are measured directly, and equal points are exactly 0 apart and equally far from every
/// other.
///
/// # Errors
/// `InvalidArgument` where the length is not count × dimensions or one of them is 0; `InvalidData` where a number is not
/// finite.
pub fn distances(points: &[f64], count: usize) -> Result<Vec<f64>> {
    let Some(cells) = count.checked_mul(count) else { fail!(InvalidArgument, "{count} points are too many") };
    let mut out = vec![0.0; cells];
    distances_into(points, count, &mut out)?;
    Ok(out)
}

/// [`distances`] into memory that is there already, `[count, count]`, and untouched on failure.
///
/// # Errors
/// As there, and `InvalidArgument` where `out` is of another length.
pub fn distances_into(points: &[f64], count: usize, out: &mut [f64]) -> Result<()> {
    if count == 0 || points.is_empty() || !points.len().is_multiple_of(count) {
        fail!(InvalidArgument, "{} numbers are not {count} points", points.len());
    }
    if count.checked_mul(count) != Some(out.len()) {
        fail!(InvalidArgument, "the output has room for {} numbers; {count} points need their square", out.len());
    }
    all_finite(points)?;
    let dimensions = points.len() / count;
    let mut mean = vec![0.0; dimensions];
    for point in points.chunks_exact(dimensions) {
        for (mean, value) in mean.iter_mut().zip(point) {
            *mean += value;
        }
    }
    for value in &mut mean {
        *value /= count as f64;
    }
    let mut centred = Rows::zeros(count, dimensions);
    for (index, point) in points.chunks_exact(dimensions).enumerate() {
        for ((value, point), mean) in centred.row_mut(index).iter_mut().zip(point).zip(&mean) {
            *value = point - mean;
        }
    }
    gram_into(&centred, out);
    let norms: Vec<f64> = (0..count).map(|place| out[place * count + place]).collect();
    let mut close = Vec::new();
    for (i, (row, norm)) in out.chunks_exact_mut(count).zip(&norms).enumerate() {
        // Both triangles hold the same products, so each row is worked on where it lies.
        let mut cancelled = 0_u32;
        for (value, other) in row.iter_mut().zip(&norms) {
            let both = norm + other;
            let square = both - 2.0 * *value;
            let is_lost = square < CANCELLED * both;
            cancelled += u32::from(is_lost);
            *value = if is_lost { -1.0 } else { square.sqrt() };
        }
        row[i] = 0.0;
        if cancelled > 0 {
            close.extend((0..i).filter(|&j| row[j] < 0.0).map(|j| (i, j)));
        }
    }
    for (&(i, j), square) in close.iter().zip(square_distances(points, dimensions, &close)) {
        out[i * count + j] = square.sqrt();
        out[j * count + i] = square.sqrt();
    }
    Ok(())
}

/// Refuses points that [`distances_into`] would refuse for a number that is not finite.
///
/// # Errors
/// `InvalidData`.
pub fn all_finite(points: &[f64]) -> Result<()> {
    if points.iter().all(|value| value.is_finite()) {
        return Ok(());
    }
    fail!(InvalidData, "points with numbers that are not finite have no distances")
}

#[cfg(test)]
mod tests {
    use super::distances;
    use crate::error::Code;

    fn noise(state: &mut u64) -> f64 {
        *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (*state >> 11) as f64 / (1_u64 << 53) as f64
    }

    #[test]
    fn distances_agree_with_their_definition_however_close_the_points() {
        let (count, dimensions, mut state) = (60, 300, 5);
        let mut points: Vec<f64> = Vec::new();
        let base: Vec<f64> = (0..dimensions).map(|_| 0.7 + 0.1 * noise(&mut state)).collect();
        for index in 0..count {
            // Spread over twelve orders of magnitude about one place, far from 0, with pairs of equal points.
            let spread = 10.0_f64.powi(-(index / 5));
            let point: Vec<f64> = base.iter().map(|value| value + spread * (noise(&mut state) - 0.5)).collect();
            points.extend(if index % 7 == 6 { points[(index as usize - 1) * dimensions..].to_vec() } else { point });
        }
        let (count, mut worst) = (count as usize, 0.0_f64);
        let out = distances(&points, count).unwrap();
        for i in 0..count {
            assert_eq!(out[i * count + i], 0.0);
            for j in 0..count {
                let point = |index: usize| &points[index * dimensions..][..dimensions];
                let squares = point(i).iter().zip(point(j)).map(|(left, right)| (left - right) * (left - right));
                let direct = squares.sum::<f64>().sqrt();
                assert_eq!(out[i * count + j].to_bits(), out[j * count + i].to_bits());
                assert_eq!(direct == 0.0, out[i * count + j] == 0.0);
                if direct > 0.0 {
                    worst = worst.max((out[i * count + j] / direct - 1.0).abs());
                }
            }
        }
        println!("largest relative difference: {worst:e}");
        assert!(worst < 2e-13, "{worst:e}");
        // Points 5 and 6 are equal, so they are equally far from every other, to the bit.
        assert!((0..count).all(|j| out[5 * count + j].to_bits() == out[6 * count + j].to_bits()));
    }

    #[test]
    fn a_right_triangle_by_hand_and_what_is_refused() {
        let out = distances(&[0.0, 0.0, 3.0, 0.0, 0.0, 4.0], 3).unwrap();
        assert!((out[5] - 5.0).abs() < 1e-15 && (out[1] - 3.0).abs() < 1e-15 && (out[2] - 4.0).abs() < 1e-15);
        assert_eq!(distances(&[1.0, 2.0, 3.0], 2).unwrap_err().code(), Code::InvalidArgument);
        assert_eq!(distances(&[1.0, f64::NAN], 2).unwrap_err().code(), Code::InvalidData);
    }
}
