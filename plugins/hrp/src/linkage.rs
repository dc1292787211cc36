//! Agglomerative clustering and its leaf order, with the results and the cluster indices of `scipy.cluster.hierarchy`:
//! leaves are clusters 0 to n − 1, and each merge adds one cluster, in order of increasing height.

/// The distance between two clusters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Linkage {
    /// The least distance between their members.
    Single,
    /// The greatest distance between their members.
    Complete,
    /// The mean distance over all pairs of members.
    Average,
    /// The increase of the within-cluster sum of squares that their merge causes (Ward 1963), as a distance.
    Ward,
}

/// A merge of two clusters, a row of SciPy's linkage matrix.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Merge {
    /// The cluster that comes first in the leaf order. [`cluster`] puts the smaller index here.
    pub first: usize,
    /// The other cluster.
    pub second: usize,
    /// The distance between them.
    pub height: f64,
}

/// Clusters n points by their distances, `[n, n]`, which are symmetric and finite. Returns n − 1 merges; merge k makes
/// cluster n + k.
///
/// Ties are resolved as in SciPy: single linkage grows a minimum spanning tree from node 0, the others follow
/// nearest-neighbour chains (both in Müllner 2011, "Modern hierarchical, agglomerative clustering algorithms",
/// arXiv:1109.2378). Of equal distances the smallest index comes first. Merges are then sorted by height, those of
/// equal height in the order in which they were found.
pub fn cluster(distances: &[f64], n: usize, linkage: Linkage) -> Vec<Merge> {
    let mut found = match linkage {
        Linkage::Single => spanning_tree(distances, n),
        Linkage::Complete => {
            nearest_neighbour_chain(distances, n, |left, right, _| if left > right { left } else { right })
        }
        Linkage::Average => nearest_neighbour_chain(distances, n, |left, right, sizes| {
            (sizes.left * left + sizes.right * right) / (sizes.left + sizes.right)
        }),
        Linkage::Ward => nearest_neighbour_chain(distances, n, |left, right, sizes| {
            let share = 1.0 / (sizes.left + sizes.right + sizes.other);
            let squared = (sizes.other + sizes.left) * share * left * left
                + (sizes.other + sizes.right) * share * right * right
                - sizes.other * share * sizes.height * sizes.height;
            squared.sqrt()
        }),
    };
    found.sort_by(|left, right| left.height.total_cmp(&right.height));
    // So far both sides of a merge are leaves. Each stands for the cluster that contains it at that step.
    let mut parent: Vec<usize> = (0..2 * n).collect();
    for (step, merge) in found.iter_mut().enumerate() {
        let (left, right) = (root(&mut parent, merge.first), root(&mut parent, merge.second));
        parent[left] = n + step;
        parent[right] = n + step;
        (merge.first, merge.second) = (left.min(right), left.max(right));
    }
    found
}

fn root(parent: &mut [usize], mut node: usize) -> usize {
    while parent[node] != node {
        parent[node] = parent[parent[node]];
        node = parent[node];
    }
    node
}

/// Returns the edges of the minimum spanning tree in the order in which Prim's algorithm finds them from node 0.
fn spanning_tree(distances: &[f64], n: usize) -> Vec<Merge> {
    let mut edges = Vec::with_capacity(n.saturating_sub(1));
    // Nodes outside the tree, in increasing order, and the distance of each from the tree.
    let mut outside: Vec<usize> = (1..n).collect();
    let mut nearest = vec![f64::INFINITY; outside.len()];
    let mut newest = 0;
    while !outside.is_empty() {
        let row = &distances[newest * n..][..n];
        let mut best = 0;
        let mut height = f64::INFINITY;
        for (index, (node, nearest)) in outside.iter().zip(&mut nearest).enumerate() {
            let distance = row[*node];
            if distance < *nearest {
                *nearest = distance;
            }
            if *nearest < height {
                height = *nearest;
                best = index;
            }
        }
        let node = outside.remove(best);
        nearest.remove(best);
        // The nodes that joined after the edge's true end, up to `newest`, did so by shorter edges. After sorting by
        // height the true end and `newest` are in one cluster before this edge is used, so `newest` may stand for it.
        edges.push(Merge { first: newest, second: node, height });
        newest = node;
    }
    edges
}

/// What a merge distance depends on beside the two distances.
struct MergeContext {
    /// Assets in the two merged clusters and in the third one.
    left: f64,
    right: f64,
    other: f64,
    /// The distance at which the two were merged.
    height: f64,
}

/// The nearest-neighbour-chain algorithm over the full matrix `distances`, `[n, n]`, for linkages whose merges never
/// lower a distance. Returns the merges in the order in which they are found, not sorted by height; each names two
/// slots, and the merged cluster takes the second one. `update` is the formula of Lance and Williams (1967): the
/// distance between a merged pair and a third cluster from the distances of both to that cluster.
fn nearest_neighbour_chain(distances: &[f64], n: usize, update: impl Fn(f64, f64, &MergeContext) -> f64) -> Vec<Merge> {
    let mut distances = distances.to_vec();
    let mut sizes = vec![1.0; n];
    // Added to a row of distances: 0 for a cluster that may be a neighbour, infinite for one that was merged into
    // another.
    let mut hidden = vec![0.0; n];
    for node in 0..n {
        distances[node * n + node] = f64::INFINITY;
    }
    let mut found = Vec::with_capacity(n.saturating_sub(1));
    let mut chain: Vec<usize> = Vec::with_capacity(n);
    while found.len() + 1 < n {
        if chain.is_empty() {
            chain.extend(hidden.iter().position(|hidden| *hidden == 0.0));
        }
        let (mut left, mut right, height) = loop {
            let tip = chain[chain.len() - 1];
            let row = &distances[tip * n..][..n];
            let least = least_visible(row, &hidden);
            // On a tie the element before the tip wins, or a chain could run in circles. A chain has at most n elements
            // unless a distance is NaN, which callers refuse before; the bound ends the loop all the same.
            let previous = chain.len().checked_sub(2).map(|index| chain[index]);
            match previous {
                Some(previous) if row[previous] <= least || chain.len() > n => {
                    chain.truncate(chain.len() - 2);
                    break (tip, previous, row[previous]);
                }
                _ => {
                    let next = row.iter().zip(&hidden).position(|(distance, hidden)| distance + hidden == least);
                    chain.push(next.unwrap_or_default());
                }
            }
        };
        if left > right {
            (left, right) = (right, left);
        }
        found.push(Merge { first: left, second: right, height });
        hidden[left] = f64::INFINITY;
        for other in 0..n {
            if hidden[other] == 0.0 && other != right {
                let merge = MergeContext { left: sizes[left], right: sizes[right], other: sizes[other], height };
                let distance = update(distances[left * n + other], distances[right * n + other], &merge);
                distances[right * n + other] = distance;
                distances[other * n + right] = distance;
            }
        }
        sizes[right] += sizes[left];
    }
    found
}

/// Returns the least distance of a row to a cluster that is not hidden.
fn least_visible(row: &[f64], hidden: &[f64]) -> f64 {
    let mut least = [f64::INFINITY; 8];
    let ((rows, row), (hiddens, hidden)) = (row.as_chunks::<8>(), hidden.as_chunks::<8>());
    for (distances, hidden) in rows.iter().zip(hiddens) {
        for lane in 0..8 {
            let distance = distances[lane] + hidden[lane];
            least[lane] = if distance < least[lane] { distance } else { least[lane] };
        }
    }
    row.iter().zip(hidden).map(|(distance, hidden)| distance + hidden).chain(least).fold(f64::INFINITY, f64::min)
}

/// Returns the leaves from left to right, the first cluster of each merge before the second (SciPy's `leaves_list`).
/// This order is López de Prado's quasi-diagonalisation.
pub fn leaf_order(merges: &[Merge], n: usize) -> Vec<usize> {
    let mut order = Vec::with_capacity(n);
    let mut stack = vec![if merges.is_empty() { 0 } else { n + merges.len() - 1 }];
    while let Some(cluster) = stack.pop() {
        if cluster < n {
            order.push(cluster);
        } else {
            let Merge { first, second, .. } = merges[cluster - n];
            stack.push(second);
            stack.push(first);
        }
    }
    order
}

#[cfg(test)]
mod tests {
    use super::{Linkage, cluster, leaf_order};

    fn distances_on_a_line(points: &[f64]) -> Vec<f64> {
        points.iter().flat_map(|left| points.iter().map(move |right| (left - right).abs())).collect()
    }

    #[test]
    fn nearest_pairs_merge_first_and_ties_in_the_order_in_which_they_are_found() {
        // Two pairs at distance 1, then both at a distance that depends on the linkage.
        let distances = distances_on_a_line(&[0.0, 10.0, 1.0, 11.0]);
        // Ward: two clusters of 2 points with centres 10 apart: √(2·2·2/(2 + 2))·10.
        for (linkage, last) in [
            (Linkage::Single, 9.0),
            (Linkage::Complete, 11.0),
            (Linkage::Average, 10.0),
            (Linkage::Ward, 200.0_f64.sqrt()),
        ] {
            let found = cluster(&distances, 4, linkage);
            let pairs: Vec<_> = found.iter().map(|merge| (merge.first, merge.second)).collect();
            assert_eq!(pairs, [(0, 2), (1, 3), (4, 5)], "{linkage:?}");
            assert_eq!((found[0].height, found[1].height), (1.0, 1.0));
            assert!((found[2].height - last).abs() < 1e-12, "{linkage:?}: {}", found[2].height);
            assert_eq!(leaf_order(&found, 4), [0, 2, 1, 3]);
        }
    }

    #[test]
    fn one_point_and_two_points_have_a_leaf_order() {
        assert_eq!(leaf_order(&cluster(&[0.0], 1, Linkage::Ward), 1), [0]);
        assert_eq!(leaf_order(&cluster(&[0.0, 3.0, 3.0, 0.0], 2, Linkage::Average), 2), [0, 1]);
    }
}
