//! Covariance, Ledoit–Wolf shrinkage and Pearson's correlation.

use super::kernel::{Rows, gram, gram_into, products, sum};
use super::sample::{Sample, by_pairs};

/// The variation of a pair is a difference of two sums; below this share of them it is rounding error.
const NO_VARIATION: f64 = 1e-13;

/// Subtracts the mean of each row. A row of one repeated value becomes exactly 0.
fn centre(rows: &mut Rows) {
    for index in 0..rows.count() {
        let row = rows.row_mut(index);
        let first = row[0];
        let mean = if row.iter().all(|value| *value == first) { first } else { sum(row) / row.len() as f64 };
        for value in row {
            *value -= mean;
        }
    }
}

/// Subtracts from each row the mean of its observed values, and sets the others to 0.
fn centre_observed(rows: &mut Rows, observed: &Rows) {
    for index in 0..rows.count() {
        let mask = observed.row(index);
        let count = sum(mask);
        let row = rows.row_mut(index);
        let mut values = row.iter().zip(mask).filter(|(_, mask)| **mask != 0.0).map(|(value, _)| *value);
        let first = values.next().unwrap_or_default();
        let mean = if values.all(|value| value == first) { first } else { sum(row) / count };
        for (value, mask) in row.iter_mut().zip(mask) {
            *value = if *mask == 0.0 { 0.0 } else { *value - mean };
        }
    }
}

/// The number of rows that each pair of assets has in common, `[assets, assets]`.
fn common_rows(observed: &Rows) -> Vec<f64> {
    let assets = observed.count();
    let bits = |chunk: &[f64]| (0..).zip(chunk).fold(0_u64, |bits, (bit, mask)| bits | u64::from(*mask != 0.0) << bit);
    let rows: Vec<Vec<u64>> = (0..assets).map(|asset| observed.row(asset).chunks(64).map(bits).collect()).collect();
    let mut out = vec![0.0; assets * assets];
    for i in 0..assets {
        for j in i..assets {
            let both = rows[i].iter().zip(&rows[j]).map(|(one, two)| (one & two).count_ones());
            let count = f64::from(both.sum::<u32>());
            out[i * assets + j] = count;
            out[j * assets + i] = count;
        }
    }
    out
}

/// Writes the covariance, `[assets, assets]`; see [`Sample::covariance`].
pub(super) fn covariance(sample: Sample, out: &mut [f64]) {
    let Sample { mut values, observed } = sample;
    let Some(observed) = observed else {
        centre(&mut values);
        let divisor = (values.length() - 1) as f64;
        gram_into(&values, out);
        for value in out {
            *value /= divisor;
        }
        return;
    };
    centre_observed(&mut values, &observed);
    let assets = values.count();
    gram_into(&values, out);
    let counts = common_rows(&observed);
    // Values are centred on the mean over an asset's own rows; this corrects for the mean over the rows of the pair.
    let sums = products(&values, &observed);
    for i in 0..assets {
        for j in i..assets {
            let (upper, lower) = (i * assets + j, j * assets + i);
            let count = counts[upper];
            let value =
                if count < 2.0 { f64::NAN } else { (out[upper] - sums[upper] * sums[lower] / count) / (count - 1.0) };
            out[upper] = value;
            out[lower] = value;
        }
    }
}

/// Pearson's correlation; see [`Sample::correlation`].
pub(super) fn pearson(sample: Sample) -> Vec<f64> {
    let Sample { mut values, observed } = sample;
    let assets = values.count();
    let Some(observed) = observed else {
        centre(&mut values);
        let products = gram(&values);
        let norms: Vec<f64> = (0..assets).map(|asset| products[asset * assets + asset].sqrt()).collect();
        // An asset that does not vary gives 0/0, which is NaN.
        return by_pairs(assets, |i, j| products[i * assets + j] / (norms[i] * norms[j]));
    };
    centre_observed(&mut values, &observed);
    let (cross, counts, sums) = (gram(&values), common_rows(&observed), products(&values, &observed));
    let mut squares = values;
    for asset in 0..assets {
        squares.row_mut(asset).iter_mut().for_each(|value| *value *= *value);
    }
    let squares = products(&squares, &observed);
    by_pairs(assets, |i, j| {
        let (upper, lower) = (i * assets + j, j * assets + i);
        let count = counts[upper];
        let variation = |cell: usize| squares[cell] - sums[cell] * sums[cell] / count;
        let (left, right) = (variation(upper), variation(lower));
        let varies = left > NO_VARIATION * squares[upper] && right > NO_VARIATION * squares[lower];
        if count < 2.0 || !varies {
            return f64::NAN;
        }
        (cross[upper] - sums[upper] * sums[lower] / count) / (left.sqrt() * right.sqrt())
    })
}

/// Writes the Ledoit–Wolf estimate of `values`, `[assets, rows]`, to `out`, `[assets, assets]`, and returns the
/// shrinkage weight; see [`Sample::ledoit_wolf`].
pub(super) fn ledoit_wolf(mut values: Rows, out: &mut [f64]) -> f64 {
    centre(&mut values);
    let (assets, rows) = (values.count(), values.length());
    let (p, n) = (assets as f64, rows as f64);
    gram_into(&values, out);
    for value in &mut *out {
        *value /= n;
    }
    let trace: f64 = (0..assets).map(|asset| out[asset * assets + asset]).sum();
    let mean = trace / p;
    let norm = sum(&out.iter().map(|value| value * value).collect::<Vec<_>>());
    // The mean over rows of ‖x x' − S‖² without forming x x': it is the mean of ‖x‖⁴ minus ‖S‖².
    let mut squares = vec![0.0; rows];
    for asset in 0..assets {
        for (square, value) in squares.iter_mut().zip(values.row(asset)) {
            *square += value * value;
        }
    }
    let fourth = sum(&squares.iter().map(|square| square * square).collect::<Vec<_>>());
    let distance = (norm - 2.0 * mean * trace + p * mean * mean) / p;
    let error = ((fourth / n - norm) / (p * n)).min(distance);
    let weight = if assets == 1 || error == 0.0 { 0.0 } else { error / distance };
    for (cell, value) in out.iter_mut().enumerate() {
        *value *= 1.0 - weight;
        if cell % (assets + 1) == 0 {
            *value += weight * mean;
        }
    }
    weight
}
