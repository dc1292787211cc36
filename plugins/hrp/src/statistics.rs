//! Covariance, and the two distances of HRP. Sums run in one fixed order, so equal inputs give equal bits.

/// The rows of `returns` (`[rows, assets]`, row-major) in which every asset is finite, as columns `[assets, rows]`.
pub fn complete_columns(returns: &[f64], assets: usize) -> Vec<f64> {
    let complete: Vec<&[f64]> =
        returns.chunks_exact(assets).filter(|row| row.iter().all(|value| value.is_finite())).collect();
    (0..assets).flat_map(|asset| complete.iter().map(move |row| row[asset])).collect()
}

/// A dot product in eight running sums, added up in a fixed tree.
fn dot(left: &[f64], right: &[f64]) -> f64 {
    let mut sums = [0.0; 8];
    let (mut lefts, mut rights) = (left.chunks_exact(8), right.chunks_exact(8));
    for (left, right) in lefts.by_ref().zip(rights.by_ref()) {
        for lane in 0..8 {
            sums[lane] += left[lane] * right[lane];
        }
    }
    let tail: f64 = lefts.remainder().iter().zip(rights.remainder()).map(|(left, right)| left * right).sum();
    ((sums[0] + sums[4]) + (sums[1] + sums[5])) + ((sums[2] + sums[6]) + (sums[3] + sums[7])) + tail
}

/// Sample covariance (divisor rows - 1), `[assets, assets]`, of columns `[assets, rows]`.
pub fn covariance(columns: &[f64], assets: usize) -> Vec<f64> {
    let rows = columns.len() / assets;
    let mut centred = columns.to_vec();
    for column in centred.chunks_exact_mut(rows) {
        // A column of one repeated value has no variance, to the last bit.
        let mean = if column.iter().all(|value| *value == column[0]) {
            column[0]
        } else {
            column.iter().sum::<f64>() / rows as f64
        };
        for value in column {
            *value -= mean;
        }
    }
    let mut out = vec![0.0; assets * assets];
    for (i, left) in centred.chunks_exact(rows).enumerate() {
        for (j, right) in centred.chunks_exact(rows).enumerate().skip(i) {
            let value = dot(left, right) / (rows - 1) as f64;
            out[i * assets + j] = value;
            out[j * assets + i] = value;
        }
    }
    out
}

/// d = √((1 − ρ)/2) for every pair, `[assets, assets]`.
pub fn correlation_distance(covariance: &[f64], assets: usize) -> Vec<f64> {
    let deviation: Vec<f64> = (0..assets).map(|asset| covariance[asset * assets + asset].sqrt()).collect();
    let mut out = vec![0.0; assets * assets];
    for i in 0..assets {
        for j in 0..i {
            let correlation = covariance[i * assets + j] / (deviation[i] * deviation[j]);
            // Rounding can carry a correlation a little beyond 1.
            let value = ((1.0 - correlation) / 2.0).clamp(0.0, 1.0).sqrt();
            out[i * assets + j] = value;
            out[j * assets + i] = value;
        }
    }
    out
}

/// Euclidean distance between every two columns of a symmetric matrix, `[assets, assets]`.
pub fn column_distance(matrix: &[f64], assets: usize) -> Vec<f64> {
    let mut out = vec![0.0; assets * assets];
    for (i, left) in matrix.chunks_exact(assets).enumerate() {
        for (j, right) in matrix.chunks_exact(assets).enumerate().take(i) {
            let difference: Vec<f64> = left.iter().zip(right).map(|(left, right)| left - right).collect();
            let value = dot(&difference, &difference).sqrt();
            out[i * assets + j] = value;
            out[j * assets + i] = value;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::{complete_columns, covariance};

    #[test]
    fn covariance_of_complete_rows_by_hand() {
        let columns = complete_columns(&[1.0, 2.0, f64::NAN, 9.0, 3.0, 6.0, 2.0, 1.0], 2);
        assert_eq!(columns, [1.0, 3.0, 2.0, 2.0, 6.0, 1.0]);
        assert_eq!(covariance(&columns, 2), [1.0, 2.0, 2.0, 7.0]);
    }
}
