//! Turning the children of merges so that neighbours in the leaf order are near each other.

use core::ops::Range;

use crate::linkage::{Merge, leaf_order};

/// The merges with their children turned as SciPy's `optimal_leaf_ordering` turns them, for the symmetric distances
/// `[n, n]` that they were made from.
///
/// The costs are those of Bar-Joseph, Gifford and Jaakkola (2001, "Fast optimal leaf ordering for hierarchical
/// clustering"): the least sum of distances between neighbours below a node whose ends are given. The
/// children of a node are turned as the best pair of ends of that node's *parent* wants them. That is what SciPy does;
/// the paper follows the best pair of ends of the root down instead, so an order found here can be longer than the
/// shortest. SciPy also sums in single precision, which decides between orders that are nearly as long; so does this.
///
/// Costs O(n²) memory and, by early stops, about O(n² log n) time on the correlations of stocks; O(n⁴) at worst.
pub fn turned(merges: &[Merge], distances: &[f64], n: usize) -> Vec<Merge> {
    let mut turns = Turns::new(merges, distances, n);
    for step in 0..merges.len() {
        turns.join(step);
    }
    // A turned node carries everything below it along: it is turned by itself and by every node above it.
    let mut out = merges.to_vec();
    let mut flipped = vec![false; merges.len()];
    for step in (0..merges.len()).rev() {
        flipped[step] ^= turns.wanted[step];
        for child in [merges[step].first, merges[step].second] {
            if child >= n {
                flipped[child - n] = flipped[step];
            }
        }
        if flipped[step] {
            (out[step].first, out[step].second) = (merges[step].second, merges[step].first);
        }
    }
    out
}

/// One side of a merge seen as two parts: the leaves that may be its outer end, those that are then its inner end, and
/// whether its children are turned for that.
struct Side {
    outer: Range<usize>,
    inner: Range<usize>,
    turned: bool,
}

struct Turns<'a> {
    merges: &'a [Merge],
    n: usize,
    /// Distances in the order of the leaves.
    distances: Vec<f64>,
    /// The leaves below each cluster, as places in the order of the leaves.
    below: Vec<Range<usize>>,
    /// The least cost of the node where two leaves meet, with these as its ends, `[n, n]`.
    costs: Vec<f32>,
    /// Whether the first and the second child of that node are turned for it.
    choices: Vec<(bool, bool)>,
    /// For every merge, whether its parent wants it turned.
    wanted: Vec<bool>,
}

impl<'a> Turns<'a> {
    fn new(merges: &'a [Merge], distances: &[f64], n: usize) -> Self {
        let order = leaf_order(merges, n);
        let mut below = vec![0..0; n + merges.len()];
        for (place, &leaf) in order.iter().enumerate() {
            below[leaf] = place..place + 1;
        }
        for (step, merge) in merges.iter().enumerate() {
            below[n + step] = below[merge.first].start..below[merge.second].end;
        }
        let sorted =
            order.iter().flat_map(|&left| order.iter().map(move |&right| distances[left * n + right])).collect();
        Self {
            merges,
            n,
            distances: sorted,
            below,
            costs: vec![0.0; n * n],
            choices: vec![(false, false); n * n],
            wanted: vec![false; merges.len()],
        }
    }

    /// The ways to see a cluster as an outer and an inner part. `last` is whether its outer end is its last leaf when it
    /// is not turned.
    fn sides(&self, cluster: usize, last: bool) -> Vec<Side> {
        let Some(step) = cluster.checked_sub(self.n) else {
            let leaf = self.below[cluster].clone();
            return vec![Side { outer: leaf.clone(), inner: leaf, turned: false }];
        };
        let (first, second) =
            (self.below[self.merges[step].first].clone(), self.below[self.merges[step].second].clone());
        let (outer, inner) = if last { (second, first) } else { (first, second) };
        vec![
            Side { outer: outer.clone(), inner: inner.clone(), turned: false },
            Side { outer: inner, inner: outer, turned: true },
        ]
    }

    /// For every outer leaf, the inner leaves with the cost between the two, cheapest first: `[outer, inner]`.
    fn cheapest_first(&self, side: &Side) -> Vec<(f32, u32)> {
        let mut out = Vec::with_capacity(side.outer.len() * side.inner.len());
        for outer in side.outer.clone() {
            let begin = out.len();
            let row = &self.costs[outer * self.n..][..self.n];
            out.extend(side.inner.clone().map(|inner| (row[inner], inner as u32)));
            out[begin..].sort_unstable_by(|left, right| left.0.total_cmp(&right.0).then(left.1.cmp(&right.1)));
        }
        out
    }

    /// Finds the costs of the node of a merge for every pair of ends, and what its best pair wants of its children.
    fn join(&mut self, step: usize) {
        let Merge { first, second, .. } = self.merges[step];
        let lefts: Vec<_> =
            self.sides(first, false).into_iter().map(|side| (self.cheapest_first(&side), side)).collect();
        let rights: Vec<_> =
            self.sides(second, true).into_iter().map(|side| (self.cheapest_first(&side), side)).collect();
        for (left_costs, left) in &lefts {
            for (right_costs, right) in &rights {
                self.cross(left, left_costs, right, right_costs);
            }
        }
        let mut best = (f32::INFINITY, (false, false));
        for left in self.below[first].clone() {
            for right in self.below[second].clone() {
                let place = left * self.n + right;
                if self.costs[place] < best.0 {
                    best = (self.costs[place], self.choices[place]);
                }
            }
        }
        for (child, turned) in [(first, best.1.0), (second, best.1.1)] {
            if child >= self.n {
                self.wanted[child - self.n] = turned;
            }
        }
    }

    /// Costs for outer ends from one side each: the least over the inner ends in between.
    fn cross(&mut self, left: &Side, left_costs: &[(f32, u32)], right: &Side, right_costs: &[(f32, u32)]) {
        let n = self.n;
        let mut shortest = f64::INFINITY;
        for inner in left.inner.clone() {
            shortest = self.distances[inner * n..][right.inner.clone()]
                .iter()
                .fold(shortest, |least, distance| if *distance < least { *distance } else { least });
        }
        // Single precision as in SciPy, where a bound is compared with costs in single precision.
        let shortest = shortest as f32;
        for (u, from_u) in left.outer.clone().zip(left_costs.chunks_exact(left.inner.len())) {
            for (w, from_w) in right.outer.clone().zip(right_costs.chunks_exact(right.inner.len())) {
                let mut least = f32::INFINITY;
                for &(cost_u, m) in from_u {
                    if cost_u + from_w[0].0 + shortest >= least {
                        break;
                    }
                    let row = &self.distances[m as usize * n..][..n];
                    for &(cost_w, k) in from_w {
                        let both = cost_u + cost_w;
                        if both + shortest >= least {
                            break;
                        }
                        let cost = (f64::from(both) + row[k as usize]) as f32;
                        if cost < least {
                            least = cost;
                        }
                    }
                }
                for place in [u * n + w, w * n + u] {
                    self.costs[place] = least;
                    self.choices[place] = (left.turned, right.turned);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::turned;
    use crate::linkage::{Linkage, leaf_order, merges};

    #[test]
    fn a_line_of_points_is_put_in_its_order() {
        let points = [4.0_f64, 0.0, 9.0, 1.5, 7.0, 3.0];
        let distances: Vec<f64> =
            points.iter().flat_map(|left| points.iter().map(move |right| (left - right).abs())).collect();
        for linkage in [Linkage::Single, Linkage::Average, Linkage::Complete, Linkage::Ward] {
            let tree = merges(&distances, 6, linkage);
            let order = leaf_order(&turned(&tree, &distances, 6), 6);
            let mut along: Vec<f64> = order.iter().map(|&leaf| points[leaf]).collect();
            if along[0] > along[5] {
                along.reverse();
            }
            assert!(along.is_sorted(), "{linkage:?}: {along:?}");
        }
    }

    #[test]
    fn small_trees_have_nothing_to_turn() {
        let two = merges(&[0.0, 1.0, 1.0, 0.0], 2, Linkage::Ward);
        assert_eq!(turned(&two, &[0.0, 1.0, 1.0, 0.0], 2), two);
        assert_eq!(turned(&[], &[0.0], 1), []);
    }
}
