//! Turning the children of merges so that neighbours in the leaf order are near each other.

use core::ops::Range;

use pulp::Arch;

use crate::linkage::{Merge, leaf_order};

/// The merges with their children turned as SciPy's `optimal_leaf_ordering` turns them, for the symmetric distances
/// `[n, n]` that they were made from.
///
/// The costs are those of Bar-Joseph, Gifford and Jaakkola (2001, "Fast optimal leaf ordering for hierarchical
/// clustering"): the least sum of distances between neighbours below a node whose ends are given. The children of a node
/// are turned as the best pair of ends of that node's *parent* wants them. That is what SciPy does; the paper follows the
/// best pair of ends of the root down instead, so an order found here can be longer than the shortest (it was for 109 of
/// 200 average-linkage trees of eight random points). SciPy also sums in single precision, which decides between orders
/// that are nearly as long; so does this.
///
/// Takes O(n²) memory and O(n³) time, but for distances of which very many are equal, where it may take longer.
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

/// A sum of three numbers of at least 0 in single precision, in whatever order and with any of them rounded first, is
/// within 5·2⁻²⁴ of any other such sum of them, relatively; so the best of one kind is within twice that of the best of
/// another. This allows 16·2⁻²⁴.
const SLACK: f32 = 1.0 + 1.0 / (1 << 20) as f32;

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
    /// The same in single precision.
    rounded: Vec<f32>,
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
        let sorted: Vec<f64> =
            order.iter().flat_map(|&left| order.iter().map(move |&right| distances[left * n + right])).collect();
        Self {
            merges,
            n,
            rounded: sorted.iter().map(|distance| *distance as f32).collect(),
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

    /// Finds the costs of the node of a merge for every pair of ends, and what its best pair wants of its children.
    fn join(&mut self, step: usize) {
        let Merge { first, second, .. } = self.merges[step];
        for left in self.sides(first, false) {
            for right in self.sides(second, true) {
                self.cross(&left, &right);
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

    /// Costs for outer ends from one side each: the least over the inner ends m and k in between.
    ///
    /// For each outer end u, the least of cost(u, m) + distance(m, k) over m is taken once for every k, so that a pair of
    /// outer ends looks at the k alone; the few k that may be the best are then summed as SciPy sums.
    fn cross(&mut self, left: &Side, right: &Side) {
        let n = self.n;
        let inner = right.inner.clone();
        let shortest = left.inner.clone().flat_map(|m| &self.distances[m * n..][inner.clone()]);
        // Rounded to single precision, as SciPy's bound is.
        let shortest = shortest.fold(f64::INFINITY, |least, distance| least.min(*distance)) as f32;
        let mut nearest = vec![0.0; inner.len()];
        let wide = Arch::new();
        for u in left.outer.clone() {
            // Sums and minima are the same at any vector width.
            let (costs, rounded) = (&self.costs[u * n..], &self.rounded);
            wide.dispatch(
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
                let (mut cost, mut guarded) = (f32::INFINITY, f32::INFINITY);
                within(&nearest, from_w, 0.0, limit, |place| {
                    let k = inner.start + place;
                    let distances = &self.distances[k * n..][left.inner.clone()];
                    let rounded = &self.rounded[k * n..][left.inner.clone()];
                    within(&from_u, rounded, from_w[place], limit, |m| {
                        let both = from_u[m] + from_w[place];
                        let sum = (f64::from(both) + distances[m]) as f32;
                        cost = cost.min(sum);
                        guarded = guarded.min(sum.max(both + shortest));
                    });
                });
                // Where rounding put SciPy's bound above a sum, SciPy may have passed over that sum.
                if guarded > cost {
                    cost = self.as_bounded(left, right, (u, w), shortest);
                }
                for place in [u * n + w, w * n + u] {
                    self.costs[place] = cost;
                    self.choices[place] = (left.turned, right.turned);
                }
            }
        }
    }

    /// The least cost for outer ends u and w that a search finds which goes through the inner ends by rising cost and
    /// stops where `shortest` more cannot be better, all in single precision.
    fn as_bounded(&self, left: &Side, right: &Side, (u, w): (usize, usize), shortest: f32) -> f32 {
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

/// The least sum of two numbers that lie side by side.
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

/// Calls `each` with the places where two numbers that lie side by side and `more` are together at most `limit`. Eight
/// places are looked at in one go, for few are.
fn within(left: &[f32], right: &[f32], more: f32, limit: f32, mut each: impl FnMut(usize)) {
    let ((lefts, left), (rights, right)) = (left.as_chunks::<8>(), right.as_chunks::<8>());
    for (chunk, (left, right)) in lefts.iter().zip(rights).enumerate() {
        let mut hit = [false; 8];
        for lane in 0..8 {
            hit[lane] = left[lane] + right[lane] + more <= limit;
        }
        if hit != [false; 8] {
            (0..8).filter(|lane| hit[*lane]).for_each(|lane| each(chunk * 8 + lane));
        }
    }
    for (place, (left, right)) in left.iter().zip(right).enumerate() {
        if left + right + more <= limit {
            each(lefts.len() * 8 + place);
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
