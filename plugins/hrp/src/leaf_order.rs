//! Optimal leaf ordering: swaps the children of merges so that neighbours in the leaf order are near each other.

use core::ops::Range;

use pulp::Arch;

use crate::linkage::{Merge, leaf_order};

/// Returns the merges with their children swapped as SciPy's `optimal_leaf_ordering` swaps them. `distances`, `[n, n]`,
/// are the symmetric distances that were clustered.
///
/// The cost of a node for a given pair of end leaves is that of Bar-Joseph, Gifford and Jaakkola (2001, "Fast optimal
/// leaf ordering for hierarchical clustering"): the least sum of distances between neighbours below the node. The
/// children of a node are swapped if the best pair of ends of the node's *parent* requires it. That is what SciPy does;
/// the paper follows the best pair of ends of the root down instead, so an order found here can be longer than the
/// shortest (it was for 109 of 200 average-linkage trees of eight random points). SciPy also sums in single precision,
/// which decides between orders of nearly equal length; so does this function.
///
/// Takes O(n²) memory and O(n³) time; longer if very many distances are equal.
pub fn optimal_leaf_order(merges: &[Merge], distances: &[f64], n: usize) -> Vec<Merge> {
    let mut search = OrderSearch::new(merges, distances, n);
    for step in 0..merges.len() {
        search.solve(step);
    }
    // A swap reverses everything below a node, so a node is flipped by its own swap and by those of all nodes above it.
    let mut out = merges.to_vec();
    let mut flipped = vec![false; merges.len()];
    for step in (0..merges.len()).rev() {
        flipped[step] ^= search.swapped[step];
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

/// Bound on the ratio of two sums of the same three values in single precision. Two such sums of values of at least 0,
/// in any order and with any of them rounded first, differ by at most 5·2⁻²⁴ relatively, so the least of one kind is
/// within twice that of the least of another. This allows 16·2⁻²⁴.
const SLACK: f32 = 1.0 + 1.0 / (1 << 20) as f32;

/// One way to orient a child of a merge: which of its leaves may be its outer end, which are then at its inner end,
/// next to the other child, and whether its own children are swapped for that.
struct Orientation {
    outer: Range<usize>,
    inner: Range<usize>,
    swapped: bool,
}

/// The dynamic program over all nodes and pairs of end leaves.
struct OrderSearch<'a> {
    merges: &'a [Merge],
    n: usize,
    /// Distances with rows and columns in the initial leaf order, `[n, n]`.
    distances: Vec<f64>,
    /// The same in single precision.
    rounded: Vec<f32>,
    /// The leaves below each cluster, as positions in the initial leaf order.
    below: Vec<Range<usize>>,
    /// The least cost of the lowest node above two leaves with these as its ends, `[n, n]`.
    costs: Vec<f32>,
    /// Whether the children of the first and of the second child of that node are swapped for it, `[n, n]`.
    child_swaps: Vec<(bool, bool)>,
    /// For each merge, whether its children are swapped for its parent.
    swapped: Vec<bool>,
}

impl<'a> OrderSearch<'a> {
    fn new(merges: &'a [Merge], distances: &[f64], n: usize) -> Self {
        let order = leaf_order(merges, n);
        let mut below = vec![0..0; n + merges.len()];
        for (position, &leaf) in order.iter().enumerate() {
            below[leaf] = position..position + 1;
        }
        for (step, merge) in merges.iter().enumerate() {
            below[n + step] = below[merge.first].start..below[merge.second].end;
        }
        let sorted: Vec<f64> =
            order.iter().flat_map(|&left| order.iter().map(move |&right| distances[left * n + right])).collect();
        Self {
            merges,
            n,
            rounded: sorted.iter().map(|distance| *distance as f32).collect(),
            distances: sorted,
            below,
            costs: vec![0.0; n * n],
            child_swaps: vec![(false, false); n * n],
            swapped: vec![false; merges.len()],
        }
    }

    /// Returns the orientations of a cluster that is the second child of its parent if `is_second`, else the first.
    fn orientations(&self, cluster: usize, is_second: bool) -> Vec<Orientation> {
        let Some(step) = cluster.checked_sub(self.n) else {
            let leaf = self.below[cluster].clone();
            return vec![Orientation { outer: leaf.clone(), inner: leaf, swapped: false }];
        };
        let (first, second) =
            (self.below[self.merges[step].first].clone(), self.below[self.merges[step].second].clone());
        let (outer, inner) = if is_second { (second, first) } else { (first, second) };
        vec![
            Orientation { outer: outer.clone(), inner: inner.clone(), swapped: false },
            Orientation { outer: inner, inner: outer, swapped: true },
        ]
    }

    /// Computes the costs of a merge for each pair of ends, and whether its best pair swaps the children of its
    /// children.
    fn solve(&mut self, step: usize) {
        let Merge { first, second, .. } = self.merges[step];
        for left in self.orientations(first, false) {
            for right in self.orientations(second, true) {
                self.combine(&left, &right);
            }
        }
        let mut best = (f32::INFINITY, (false, false));
        for left in self.below[first].clone() {
            for right in self.below[second].clone() {
                let index = left * self.n + right;
                if self.costs[index] < best.0 {
                    best = (self.costs[index], self.child_swaps[index]);
                }
            }
        }
        for (child, swapped) in [(first, best.1.0), (second, best.1.1)] {
            if child >= self.n {
                self.swapped[child - self.n] = swapped;
            }
        }
    }

    /// Computes the costs for each pair of outer ends u and w: the least cost(u, m) + distance(m, k) + cost(k, w) over
    /// the inner ends m and k.
    ///
    /// For each u, the least of cost(u, m) + distance(m, k) over m is computed once per k, so that each w needs a
    /// search over k only. The few k that may be the best are then summed as SciPy does.
    fn combine(&mut self, left: &Orientation, right: &Orientation) {
        let n = self.n;
        let inner = right.inner.clone();
        let shortest = left.inner.clone().flat_map(|m| &self.distances[m * n..][inner.clone()]);
        // SciPy rounds its bound to single precision.
        let shortest = shortest.fold(f64::INFINITY, |least, distance| least.min(*distance)) as f32;
        let mut nearest = vec![0.0; inner.len()];
        let arch = Arch::new();
        for u in left.outer.clone() {
            // The vector width does not change sums and minima.
            let (costs, rounded) = (&self.costs[u * n..], &self.rounded);
            arch.dispatch(
                #[inline(always)]
                || {
                    nearest.fill(f32::INFINITY);
                    for m in left.inner.clone() {
                        let cost = costs[m];
                        for (nearest, distance) in nearest.iter_mut().zip(&rounded[m * n..][inner.clone()]) {
                            let sum = cost + distance;
                            *nearest = if sum < *nearest { sum } else { *nearest };
                        }
                    }
                },
            );
            let from_u = self.costs[u * n..][left.inner.clone()].to_vec();
            for w in right.outer.clone() {
                let from_w = &self.costs[w * n..][inner.clone()];
                let limit = least_sum(&nearest, from_w) * SLACK;
                let (mut cost, mut bounded) = (f32::INFINITY, f32::INFINITY);
                for_each_within(&nearest, from_w, 0.0, limit, |index| {
                    let k = inner.start + index;
                    let distances = &self.distances[k * n..][left.inner.clone()];
                    let rounded = &self.rounded[k * n..][left.inner.clone()];
                    for_each_within(&from_u, rounded, from_w[index], limit, |m| {
                        let both = from_u[m] + from_w[index];
                        let sum = (f64::from(both) + distances[m]) as f32;
                        cost = cost.min(sum);
                        bounded = bounded.min(sum.max(both + shortest));
                    });
                });
                // If rounding makes SciPy's bound larger than a sum, SciPy may have skipped that sum.
                if bounded > cost {
                    cost = self.bounded_search(left, right, (u, w), shortest);
                }
                for index in [u * n + w, w * n + u] {
                    self.costs[index] = cost;
                    self.child_swaps[index] = (left.swapped, right.swapped);
                }
            }
        }
    }

    /// Returns the cost for the outer ends u and w that SciPy's search finds: it visits the inner ends by increasing
    /// cost and stops once the cost plus `shortest` cannot be less than the best, all in single precision.
    fn bounded_search(&self, left: &Orientation, right: &Orientation, (u, w): (usize, usize), shortest: f32) -> f32 {
        let sorted = |outer: usize, inner: &Range<usize>| {
            let costs = &self.costs[outer * self.n..][inner.clone()];
            let mut out: Vec<(f32, usize)> = costs.iter().copied().zip(inner.clone()).collect();
            out.sort_unstable_by(|left, right| left.0.total_cmp(&right.0).then(left.1.cmp(&right.1)));
            out
        };
        let (from_u, from_w) = (sorted(u, &left.inner), sorted(w, &right.inner));
        let mut least = f32::INFINITY;
        for (cost_u, m) in from_u {
            if cost_u + from_w[0].0 + shortest >= least {
                break;
            }
            for &(cost_w, k) in &from_w {
                let both = cost_u + cost_w;
                if both + shortest >= least {
                    break;
                }
                least = least.min((f64::from(both) + self.distances[m * self.n + k]) as f32);
            }
        }
        least
    }
}

/// Returns the least of the elementwise sums.
fn least_sum(left: &[f32], right: &[f32]) -> f32 {
    let ((lefts, left), (rights, right)) = (left.as_chunks::<8>(), right.as_chunks::<8>());
    let mut least = [f32::INFINITY; 8];
    for (left, right) in lefts.iter().zip(rights) {
        for lane in 0..8 {
            let sum = left[lane] + right[lane];
            least[lane] = if sum < least[lane] { sum } else { least[lane] };
        }
    }
    left.iter().zip(right).map(|(left, right)| left + right).chain(least).fold(f32::INFINITY, f32::min)
}

/// Calls `visit` with each index at which `left + right + offset` is at most `limit`. Few are, so eight elements are
/// compared at once.
fn for_each_within(left: &[f32], right: &[f32], offset: f32, limit: f32, mut visit: impl FnMut(usize)) {
    let ((lefts, left), (rights, right)) = (left.as_chunks::<8>(), right.as_chunks::<8>());
    for (chunk, (left, right)) in lefts.iter().zip(rights).enumerate() {
        let mut hit = [false; 8];
        for lane in 0..8 {
            hit[lane] = left[lane] + right[lane] + offset <= limit;
        }
        if hit != [false; 8] {
            (0..8).filter(|lane| hit[*lane]).for_each(|lane| visit(chunk * 8 + lane));
        }
    }
    for (index, (left, right)) in left.iter().zip(right).enumerate() {
        if left + right + offset <= limit {
            visit(lefts.len() * 8 + index);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::optimal_leaf_order;
    use crate::linkage::{Linkage, cluster, leaf_order};

    #[test]
    fn points_on_a_line_are_put_in_order() {
        let points = [4.0_f64, 0.0, 9.0, 1.5, 7.0, 3.0];
        let distances: Vec<f64> =
            points.iter().flat_map(|left| points.iter().map(move |right| (left - right).abs())).collect();
        for linkage in [Linkage::Single, Linkage::Average, Linkage::Complete, Linkage::Ward] {
            let merges = cluster(&distances, 6, linkage);
            let order = leaf_order(&optimal_leaf_order(&merges, &distances, 6), 6);
            let mut ordered: Vec<f64> = order.iter().map(|&leaf| points[leaf]).collect();
            if ordered[0] > ordered[5] {
                ordered.reverse();
            }
            assert!(ordered.is_sorted(), "{linkage:?}: {ordered:?}");
        }
    }

    #[test]
    fn trees_of_one_and_two_leaves_stay_unchanged() {
        let two = cluster(&[0.0, 1.0, 1.0, 0.0], 2, Linkage::Ward);
        assert_eq!(optimal_leaf_order(&two, &[0.0, 1.0, 1.0, 0.0], 2), two);
        assert_eq!(optimal_leaf_order(&[], &[0.0], 1), []);
    }
}
