//! Sorted orders of assets' values, and Spearman's correlation.

use super::kernel::Rows;
use super::moments::pearson;
use super::sample::{Sample, by_pairs};

/// The rows of an asset sorted by value. Rows with equal values form a group.
pub(super) struct Order {
    /// The observed rows in ascending order of their values.
    pub(super) rows: Vec<u32>,
    /// For each row of the sample, the index in `rows` at which its group begins; 0 where missing.
    pub(super) begin: Vec<u32>,
    /// For each row of the sample, the index in `rows` after the end of its group; 0 where missing.
    pub(super) end: Vec<u32>,
    /// For each row of the sample, whether it is observed.
    pub(super) observed: Vec<bool>,
}

impl Order {
    /// Sorts an asset's observed values; they are finite, as a non-finite return counts as missing.
    pub(super) fn new(sample: &Sample, asset: usize) -> Self {
        let values = sample.values.row(asset);
        let observed: Vec<bool> = (0..values.len()).map(|row| sample.is_observed(asset, row)).collect();
        let mut rows: Vec<u32> = (0..values.len() as u32).filter(|&row| observed[row as usize]).collect();
        let value = |row: u32| values[row as usize];
        // Not total_cmp: −0 and 0 are equal. Finite values always compare.
        rows.sort_by(|&left, &right| value(left).partial_cmp(&value(right)).unwrap_or(core::cmp::Ordering::Equal));
        let (mut begin, mut end) = (vec![0; values.len()], vec![0; values.len()]);
        let mut first = 0;
        for group in rows.chunk_by(|&left, &right| value(left) == value(right)) {
            for &row in group {
                begin[row as usize] = first;
                end[row as usize] = first + group.len() as u32;
            }
            first += group.len() as u32;
        }
        Self { rows, begin, end, observed }
    }

    pub(super) fn of_all(sample: &Sample) -> Vec<Self> {
        (0..sample.assets()).map(|asset| Self::new(sample, asset)).collect()
    }

    /// The groups of equal values, in ascending order.
    pub(super) fn groups(&self) -> impl Iterator<Item = &[u32]> {
        self.rows.chunk_by(|&left, &right| self.begin[left as usize] == self.begin[right as usize])
    }

    /// Writes twice the mean rank of each row among the rows where `other` is observed too, at least 2; 0 for other
    /// rows. Doubled ranks are integers, so sums of their products are exact.
    fn ranks_within(&self, other: &Self, out: &mut [f64]) {
        out.fill(0.0);
        let mut rank = 1;
        let mut common: Vec<u32> = Vec::new();
        for group in self.groups() {
            common.clear();
            common.extend(group.iter().filter(|&&row| other.observed[row as usize]));
            for &row in &common {
                out[row as usize] = (2 * rank + common.len() - 1) as f64;
            }
            rank += common.len();
        }
    }
}

/// Spearman's correlation: Pearson's correlation of the ranks.
pub(super) fn spearman(sample: &Sample) -> Vec<f64> {
    let assets = sample.assets();
    let orders = Order::of_all(sample);
    if sample.observed.is_none() {
        let mut values = Rows::zeros(assets, sample.rows());
        for (asset, order) in orders.iter().enumerate() {
            order.ranks_within(order, values.row_mut(asset));
        }
        return pearson(Sample { values, observed: None });
    }
    let (mut left, mut right) = (vec![0.0; sample.rows()], vec![0.0; sample.rows()]);
    by_pairs(assets, |i, j| {
        orders[i].ranks_within(&orders[j], &mut left);
        orders[j].ranks_within(&orders[i], &mut right);
        let count =
            orders[i].observed.iter().zip(&orders[j].observed).filter(|(left, right)| **left && **right).count();
        // Both sides have the ranks 1 to `count`, doubled, so the mean of both is count + 1.
        let mean = (count + 1) as f64;
        let (mut product, mut lefts, mut rights) = (0.0, 0.0, 0.0);
        for (left, right) in left.iter().zip(&right).filter(|(rank, _)| **rank != 0.0) {
            let (left, right) = (left - mean, right - mean);
            product += left * right;
            lefts += left * left;
            rights += right * right;
        }
        product / (lefts.sqrt() * rights.sqrt())
    })
}

#[cfg(test)]
mod tests {
    use crate::statistics::{Coefficient, Missing, Sample};

    #[test]
    fn equal_values_share_their_mean_rank() {
        // Ranks 1.5, 1.5, 3, 4 against 2, 1, 3, 4: covariance 4, variances 4.5 and 5.
        let returns = [5.0, 2.0, 5.0, 1.0, 7.0, 3.0, 9.0, 30.0];
        let out = Sample::new(&returns, 2, Missing::Complete).unwrap().correlation(Coefficient::Spearman);
        assert!((out[1] - 4.5 / (4.5_f64 * 5.0).sqrt()).abs() < 1e-15, "{}", out[1]);
    }
}
