//! Euclidean distances between points.

use super::kernel::{Rows, gram_into, square_distances};
use crate::error::{Result, fail};

/// If ‖a‖² + ‖b‖² − 2a·b is below this share of ‖a‖² + ‖b‖², cancellation has cost too many digits, and ‖a − b‖² is
/// summed directly.
const CANCELLED: f64 = 0.001;

/// Euclidean distances between all pairs of `count` points, `[count, dimensions]`, row-major, into `out`, `[count,
/// count]`. On failure
/// `out` is unchanged.
///
/// Squared distances are ‖a‖² + ‖b‖² − 2a·b after the points are centred on their mean, which keeps every distance and
/// makes the norms as small as possible. The sums are accurate to a few units of 1e-16 times the norms (at worst
/// dimensions/8 units), so a square of at least `CANCELLED` times the norms has a relative error of about 1e-13, and
/// its root half of that. Closer pairs are summed directly. Equal points are at distance exactly 0, and their distances
/// to every other point are equal.
///
/// # Errors
/// `InvalidArgument` if the length is not count × dimensions, one of them is 0 or `out` has another length;
/// `InvalidData` if a value is non-finite.
pub(crate) fn distances_into(points: &[f64], count: usize, out: &mut [f64]) -> Result<()> {
    if count == 0 || points.is_empty() || !points.len().is_multiple_of(count) {
        fail!(InvalidArgument, "{} values are not the coordinates of {count} points", points.len());
    }
    if count.checked_mul(count) != Some(out.len()) {
        fail!(InvalidArgument, "the output has {} elements; {count} points need the square of their count", out.len());
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
    let norms: Vec<f64> = (0..count).map(|index| out[index * count + index]).collect();
    let mut close = Vec::new();
    for (i, (row, norm)) in out.chunks_exact_mut(count).zip(&norms).enumerate() {
        // Both triangles hold the same products, so each row is updated in place.
        let mut cancelled = 0_u32;
        for (value, other) in row.iter_mut().zip(&norms) {
            let norm_sum = norm + other;
            let square = norm_sum - 2.0 * *value;
            let is_cancelled = square < CANCELLED * norm_sum;
            cancelled += u32::from(is_cancelled);
            *value = if is_cancelled { -1.0 } else { square.sqrt() };
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

/// Checks that every coordinate is finite, as [`distances_into`] requires.
///
/// # Errors
/// `InvalidData` if one is not.
pub(crate) fn all_finite(points: &[f64]) -> Result<()> {
    if points.iter().all(|value| value.is_finite()) {
        return Ok(());
    }
    fail!(InvalidData, "a coordinate is not finite, so its point has no distances")
}

#[cfg(test)]
mod tests {
    use super::distances_into;
    use crate::error::{Code, Result};

    fn distances(points: &[f64], count: usize) -> Result<Vec<f64>> {
        let mut out = vec![0.0; count * count];
        distances_into(points, count, &mut out)?;
        Ok(out)
    }

    fn noise(state: &mut u64) -> f64 {
        *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (*state >> 11) as f64 / (1_u64 << 53) as f64
    }

    #[test]
    fn distances_match_their_definition_however_close_the_points_are() {
        let (count, dimensions, mut state) = (60, 300, 5);
        let mut points: Vec<f64> = Vec::new();
        let base: Vec<f64> = (0..dimensions).map(|_| 0.7 + 0.1 * noise(&mut state)).collect();
        for index in 0..count {
            // Spread over twelve orders of magnitude around one point far from 0, with pairs of equal points.
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
        // Points 5 and 6 are equal, so their distances to every other point have equal bits.
        assert!((0..count).all(|j| out[5 * count + j].to_bits() == out[6 * count + j].to_bits()));
    }

    #[test]
    fn a_right_triangle_has_its_sides_and_invalid_points_are_refused() {
        let out = distances(&[0.0, 0.0, 3.0, 0.0, 0.0, 4.0], 3).unwrap();
        assert!((out[5] - 5.0).abs() < 1e-15 && (out[1] - 3.0).abs() < 1e-15 && (out[2] - 4.0).abs() < 1e-15);
        assert_eq!(distances(&[1.0, 2.0, 3.0], 2).unwrap_err().code(), Code::InvalidArgument);
        assert_eq!(distances(&[1.0, f64::NAN], 2).unwrap_err().code(), Code::InvalidData);
    }
}
