//! Kendall's τ-b in O(T log T) a pair.
//!
//! Rows are walked in rising order of the left asset; for each, those already walked that lie higher on the right are
//! the discordant ones (Knight 1966, "A computer method for calculating Kendall's tau with ungrouped data", counts them
//! by a merge sort). Here they are counted in a set of bits by their place in the right asset's order, whose words carry
//! a Fenwick tree of counts.

use super::ranks::Order;
use super::sample::{Sample, by_pairs};

/// A set of places that says how many of its members lie below another.
struct Below {
    words: Vec<u64>,
    /// Counts of words, as a Fenwick tree from 1.
    tree: Vec<u32>,
}

impl Below {
    fn new(places: usize) -> Self {
        let words = places.div_ceil(64) + 1;
        Self { words: vec![0; words], tree: vec![0; words + 1] }
    }

    fn clear(&mut self) {
        self.words.fill(0);
        self.tree.fill(0);
    }

    fn insert(&mut self, place: u32) {
        let word = place as usize / 64;
        self.words[word] |= 1 << (place % 64);
        let mut node = word + 1;
        while node < self.tree.len() {
            self.tree[node] += 1;
            node += node & node.wrapping_neg();
        }
    }

    fn count(&self, place: u32) -> u32 {
        let word = place as usize / 64;
        let mut count = (self.words[word] & ((1 << (place % 64)) - 1)).count_ones();
        let mut node = word;
        while node > 0 {
            count += self.tree[node];
            node &= node - 1;
        }
        count
    }
}

fn pairs(count: u64) -> u64 {
    count * count.saturating_sub(1) / 2
}

/// Pairs of equal values of `one` among the places that `other` has too.
fn ties(one: &Order, other: &Order) -> u64 {
    one.places
        .chunk_by(|&left, &right| one.begin[left as usize] == one.begin[right as usize])
        .map(|group| pairs(group.iter().filter(|&&place| other.observed[place as usize]).count() as u64))
        .sum()
}

pub(super) fn correlation(sample: &Sample) -> Vec<f64> {
    let orders = Order::of_all(sample);
    // A place in each order of its own, so that equal values do not fall together.
    let own: Vec<Vec<u32>> = orders
        .iter()
        .map(|order| {
            let mut own = vec![0; sample.rows()];
            for (rank, &place) in order.places.iter().enumerate() {
                own[place as usize] = rank as u32;
            }
            own
        })
        .collect();
    let whole: Option<Vec<u64>> =
        sample.observed.is_none().then(|| orders.iter().map(|order| ties(order, order)).collect());
    let mut walked = Below::new(sample.rows());
    let mut group_values = Vec::new();
    by_pairs(sample.assets(), |i, j| {
        let (left, right, right_own) = (&orders[i], &orders[j], &own[j]);
        walked.clear();
        let (mut count, mut discordant, mut left_ties, mut both) = (0_u64, 0_u64, 0_u64, 0_u64);
        for group in left.places.chunk_by(|&one, &two| left.begin[one as usize] == left.begin[two as usize]) {
            let members = group.iter().map(|&place| place as usize).filter(|&place| right.observed[place]);
            let before = count;
            for place in members.clone() {
                discordant += before - u64::from(walked.count(right.end[place]));
                count += 1;
            }
            for place in members.clone() {
                walked.insert(right_own[place]);
            }
            if count - before > 1 {
                left_ties += pairs(count - before);
                group_values.clear();
                group_values.extend(members.map(|place| right.begin[place]));
                group_values.sort_unstable();
                both += group_values.chunk_by(|one, two| one == two).map(|run| pairs(run.len() as u64)).sum::<u64>();
            }
        }
        let right_ties = whole.as_ref().map_or_else(|| ties(right, left), |whole| whole[j]);
        let total = pairs(count);
        let balance = (total + both) as f64 - (left_ties + right_ties + 2 * discordant) as f64;
        balance / ((total - left_ties) as f64).sqrt() / ((total - right_ties) as f64).sqrt()
    })
}

#[cfg(test)]
mod tests {
    use crate::statistics::{Coefficient, Missing, Sample};

    /// τ-b from its definition, over all pairs of rows.
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
    fn tau_b_equals_its_definition_with_and_without_ties_and_gaps() {
        let mut state = 7_u64;
        for (rows, kinds, gaps) in [(2, 3, 0), (5, 2, 0), (70, 4, 0), (200, 1_000_000, 0), (150, 6, 5), (300, 400, 9)] {
            let assets = 4;
            let returns: Vec<f64> = (0..rows * assets)
                .map(|_| {
                    state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                    if gaps > 0 && (state >> 50).is_multiple_of(gaps) {
                        f64::NAN
                    } else {
                        ((state >> 33) % kinds) as f64
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
                    assert!(same, "{ours} {expected} ({rows} rows of {kinds} kinds)");
                }
            }
        }
    }
}
