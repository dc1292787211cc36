//! Kendall's τ-b in O(T log T) per pair of assets with T rows.
//!
//! Rows are visited in ascending order of the left asset's values. Each row is discordant with the rows visited before
//! it that have a higher value of the right asset (Knight 1966, "A computer method for calculating Kendall's tau with
//! ungrouped data", counts them by a merge sort). Here the visited rows are a bit set over the right asset's sorted
//! positions, and a Fenwick tree counts the bits of its words.

use super::ranks::Order;
use super::sample::{Sample, by_pairs};

/// A set of positions that counts its members below a position.
struct PositionSet {
    words: Vec<u64>,
    /// Fenwick tree over the bit counts of `words`; node 0 is unused.
    tree: Vec<u32>,
}

impl PositionSet {
    /// An empty set of positions below `length`.
    fn new(length: usize) -> Self {
        let words = length.div_ceil(64) + 1;
        Self { words: vec![0; words], tree: vec![0; words + 1] }
    }

    fn clear(&mut self) {
        self.words.fill(0);
        self.tree.fill(0);
    }

    fn insert(&mut self, position: u32) {
        let word = position as usize / 64;
        self.words[word] |= 1 << (position % 64);
        let mut node = word + 1;
        while node < self.tree.len() {
            self.tree[node] += 1;
            node += node & node.wrapping_neg();
        }
    }

    /// Number of members below `position`.
    fn count_below(&self, position: u32) -> u32 {
        let word = position as usize / 64;
        let mut count = (self.words[word] & ((1 << (position % 64)) - 1)).count_ones();
        let mut node = word;
        while node > 0 {
            count += self.tree[node];
            node &= node - 1;
        }
        count
    }
}

/// Number of pairs among `count` elements.
fn pairs(count: u64) -> u64 {
    count * count.saturating_sub(1) / 2
}

/// Number of pairs of equal values of `one` in the rows where `other` is observed too.
fn ties(one: &Order, other: &Order) -> u64 {
    one.groups().map(|group| pairs(group.iter().filter(|&&row| other.observed[row as usize]).count() as u64)).sum()
}

pub(super) fn correlation(sample: &Sample) -> Vec<f64> {
    let orders = Order::of_all(sample);
    // The position of each row in its asset's order, distinct even for equal values.
    let positions: Vec<Vec<u32>> = orders
        .iter()
        .map(|order| {
            let mut positions = vec![0; sample.rows()];
            for (position, &row) in order.rows.iter().enumerate() {
                positions[row as usize] = position as u32;
            }
            positions
        })
        .collect();
    let complete_ties: Option<Vec<u64>> =
        sample.observed.is_none().then(|| orders.iter().map(|order| ties(order, order)).collect());
    let mut visited = PositionSet::new(sample.rows());
    let mut group_values = Vec::new();
    by_pairs(sample.assets(), |i, j| {
        let (left, right, right_positions) = (&orders[i], &orders[j], &positions[j]);
        visited.clear();
        let (mut count, mut discordant, mut left_ties, mut joint_ties) = (0_u64, 0_u64, 0_u64, 0_u64);
        for group in left.groups() {
            let common = group.iter().map(|&row| row as usize).filter(|&row| right.observed[row]);
            let before = count;
            for row in common.clone() {
                discordant += before - u64::from(visited.count_below(right.end[row]));
                count += 1;
            }
            for row in common.clone() {
                visited.insert(right_positions[row]);
            }
            if count - before > 1 {
                left_ties += pairs(count - before);
                group_values.clear();
                group_values.extend(common.map(|row| right.begin[row]));
                group_values.sort_unstable();
                let equal = group_values.chunk_by(|one, two| one == two);
                joint_ties += equal.map(|run| pairs(run.len() as u64)).sum::<u64>();
            }
        }
        let right_ties = complete_ties.as_ref().map_or_else(|| ties(right, left), |ties| ties[j]);
        let total = pairs(count);
        let balance = (total + joint_ties) as f64 - (left_ties + right_ties + 2 * discordant) as f64;
        balance / ((total - left_ties) as f64).sqrt() / ((total - right_ties) as f64).sqrt()
    })
}

#[cfg(test)]
mod tests {
    use crate::statistics::{Coefficient, Missing, Sample};

    /// τ-b by its definition, over all pairs of rows.
    fn by_definition(left: &[f64], right: &[f64]) -> f64 {
        let (mut balance, mut lefts, mut rights) = (0.0, 0.0, 0.0);
        for i in 0..left.len() {
            for j in 0..i {
                let sign = |row: &[f64]| f64::from(i8::from(row[i] > row[j]) - i8::from(row[i] < row[j]));
                balance += sign(left) * sign(right);
                lefts += sign(left).abs();
                rights += sign(right).abs();
            }
        }
        balance / (lefts * rights).sqrt()
    }

    #[test]
    fn tau_b_matches_its_definition_with_and_without_ties_and_gaps() {
        let mut state = 7_u64;
        for (rows, values, gaps) in [(2, 3, 0), (5, 2, 0), (70, 4, 0), (200, 1_000_000, 0), (150, 6, 5), (300, 400, 9)]
        {
            let assets = 4;
            let returns: Vec<f64> = (0..rows * assets)
                .map(|_| {
                    state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                    if gaps > 0 && (state >> 50).is_multiple_of(gaps) {
                        f64::NAN
                    } else {
                        ((state >> 33) % values) as f64
                    }
                })
                .collect();
            let sample = Sample::new(&returns, assets, Missing::Pairwise).unwrap();
            let out = sample.correlation(Coefficient::Kendall);
            for i in 0..assets {
                for j in 0..i {
                    let (left, right): (Vec<f64>, Vec<f64>) = returns
                        .chunks_exact(assets)
                        .map(|row| (row[i], row[j]))
                        .filter(|(left, right)| left.is_finite() && right.is_finite())
                        .unzip();
                    let (ours, expected) = (out[i * assets + j], by_definition(&left, &right));
                    let same = (ours - expected).abs() < 1e-14 || (ours.is_nan() && expected.is_nan());
                    assert!(same, "{ours} {expected} ({rows} rows, {values} distinct values)");
                }
            }
        }
    }
}
