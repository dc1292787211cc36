//! Covariance, Ledoit–Wolf shrinkage and Pearson's correlation.

use super::kernel::{Rows, gram, gram_into, products, sum};
use super::sample::{Sample, by_pairs};

/// A pair's sum of squares below this share of the sums it is the difference of is rounding, not variation.
const NO_VARIATION: f64 = 1e-13;

/// Removes each row's mean. A row of one repeated value becomes zeros, to the bit.
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

/// Removes each row's mean over what is observed, and leaves zeros elsewhere.
fn centre_observed(rows: &mut Rows, observed: &Rows) {
    for index in 0..rows.count() {
        let there = observed.row(index);
        let count = sum(there);
        let row = rows.row_mut(index);
        let mut seen = row.iter().zip(there).filter(|(_, there)| **there != 0.0).map(|(value, _)| *value);
        let first = seen.next().unwrap_or_default();
        let mean = if seen.all(|value| value == first) { first } else { sum(row) / count };
        for (value, there) in row.iter_mut().zip(there) {
            *value = if *there == 0.0 { 0.0 } else { *value - mean };
        }
    }
}

/// The covariance into `[assets, assets]`; see [`Sample::covariance`].
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
    let counts = gram(&observed);
    // Means over the common rows differ from the assets' own; what that adds is taken off.
    let sums = products(&values, &observed);
    for i in 0..assets {
        for j in i..assets {
            let (here, there) = (i * assets + j, j * assets + i);
            let count = counts[here];
            let value =
                if count < 2.0 { f64::NAN } else { (out[here] - sums[here] * sums[there] / count) / (count - 1.0) };
            out[here] = value;
            out[there] = value;
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
        let lengths: Vec<f64> = (0..assets).map(|asset| products[asset * assets + asset].sqrt()).collect();
        // A side of zeros gives 0/0: no value.
        return by_pairs(assets, |i, j| products[i * assets + j] / (lengths[i] * lengths[j]));
    };
    centre_observed(&mut values, &observed);
    let (own, counts, sums) = (gram(&values), gram(&observed), products(&values, &observed));
    let mut squares = values;
    for asset in 0..assets {
        squares.row_mut(asset).iter_mut().for_each(|value| *value *= *value);
    }
    let squares = products(&squares, &observed);
    by_pairs(assets, |i, j| {
        let (here, there) = (i * assets + j, j * assets + i);
        let count = counts[here];
        let variation = |at: usize| squares[at] - sums[at] * sums[at] / count;
        let (left, right) = (variation(here), variation(there));
        let varies = left > NO_VARIATION * squares[here] && right > NO_VARIATION * squares[there];
        if count < 2.0 || !varies {
            return f64::NAN;
        }
        (own[here] - sums[here] * sums[there] / count) / (left.sqrt() * right.sqrt())
    })
}

/// Ledoit–Wolf shrinkage of rows `[assets, rows]` into `[assets, assets]`, and its weight; see [`Sample::ledoit_wolf`].
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
    // The mean over dates of ‖x x' − S‖², without making x x': it is the mean of ‖x‖⁴ less ‖S‖².
    let mut lengths = vec![0.0; rows];
    for asset in 0..assets {
        for (length, value) in lengths.iter_mut().zip(values.row(asset)) {
            *length += value * value;
        }
    }
    let fourth = sum(&lengths.iter().map(|length| length * length).collect::<Vec<_>>());
    let distance = (norm - 2.0 * mean * trace + p * mean * mean) / p;
    let error = ((fourth / n - norm) / (p * n)).min(distance);
    let weight = if assets == 1 || error == 0.0 { 0.0 } else { error / distance };
    for (place, value) in out.iter_mut().enumerate() {
        *value *= 1.0 - weight;
        if place % (assets + 1) == 0 {
            *value += weight * mean;
        }
    }
    weight
}
