//! Agglomerative clustering and the order of its leaves, with the merges and numbers of `scipy.cluster.hierarchy`: leaves
//! 0..n, then one cluster a merge, by rising height.

/// How far two clusters are apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Linkage {
    /// As their nearest members.
    Single,
    /// As their farthest members.
    Complete,
    /// The mean over all pairs of members.
    Average,
    /// The growth of the sum of squares that their merge would bring (Ward 1963), as a distance.
    Ward,
}

/// A merge of two clusters.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Merge {
    /// The cluster that comes first in the leaf order; [`merges`] puts the smaller number here.
    pub first: usize,
    /// The other cluster.
    pub second: usize,
    /// How far they were apart.
    pub height: f64,
}

/// Clusters symmetric, finite distances `[n, n]`. Gives n − 1 merges; the k-th makes cluster n + k.
///
/// Equal distances are resolved as SciPy resolves them: single linkage grows a minimum spanning tree from node 0, the
/// others follow chains of nearest neighbours (both in Müllner 2011, "Modern hierarchical, agglomerative clustering
/// algorithms", arXiv:1109.2378), of equals the smallest index first; merges are then sorted by height, those of equal height
/// in the order in which they were found.
pub fn merges(distances: &[f64], n: usize, linkage: Linkage) -> Vec<Merge> {
    let mut found = match linkage {
        Linkage::Single => spanning_tree(distances, n),
        Linkage::Complete => neighbour_chain(distances, n, |left, right, _| if left > right { left } else { right }),
        Linkage::Average => neighbour_chain(distances, n, |left, right, sizes| {
            (sizes.left * left + sizes.right * right) / (sizes.left + sizes.right)
        }),
        Linkage::Ward => neighbour_chain(distances, n, |left, right, sizes| {
            let share = 1.0 / (sizes.left + sizes.right + sizes.other);
            let grown = (sizes.other + sizes.left) * share * left * left
                + (sizes.other + sizes.right) * share * right * right
                - sizes.other * share * sizes.merged_at * sizes.merged_at;
            grown.sqrt()
        }),
    };
    found.sort_by(|left, right| left.height.total_cmp(&right.height));
    // Both ends of a merge are leaves so far; what they have become by then is the cluster that holds them.
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

/// The minimum spanning tree grown from node 0 (Prim), its edges in the order they were found.
fn spanning_tree(distances: &[f64], n: usize) -> Vec<Merge> {
    let mut edges = Vec::with_capacity(n.saturating_sub(1));
    // Nodes outside the tree, rising, and how far each is from it.
    let mut waiting: Vec<usize> = (1..n).collect();
    let mut nearest = vec![f64::INFINITY; waiting.len()];
    let mut newest = 0;
    while !waiting.is_empty() {
        let row = &distances[newest * n..][..n];
        let mut best = 0;
        let mut height = f64::INFINITY;
        for (place, (node, nearest)) in waiting.iter().zip(&mut nearest).enumerate() {
            let distance = row[*node];
            if distance < *nearest {
                *nearest = distance;
            }
            if *nearest < height {
                height = *nearest;
                best = place;
            }
        }
        let node = waiting.remove(best);
        nearest.remove(best);
        // Whatever joined between the edge's true end and `newest` is nearer than this edge, so after sorting both ends
        // lie in one cluster by the time this edge is used, and `newest` may stand for it.
        edges.push(Merge { first: newest, second: node, height });
        newest = node;
    }
    edges
}

/// What a rule may need to know of a merge and of a third cluster.
struct Sizes {
    left: f64,
    right: f64,
    other: f64,
    merged_at: f64,
}

/// Merges of mutual nearest neighbours, in the order they are found. `rule` gives the distance of a third cluster from a
/// merged pair, from its distances to both (Lance and Williams 1967).
fn neighbour_chain(distances: &[f64], n: usize, rule: impl Fn(f64, f64, &Sizes) -> f64) -> Vec<Merge> {
    let mut distances = distances.to_vec();
    let mut sizes = vec![1.0; n];
    // 0 for what may be a neighbour, infinite for a cluster that was merged into another: added to a row, it leaves the
    // former and hides the latter.
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
            let least = nearest(row, &hidden);
            // The link before the tip wins over others as near, or a chain could run in circles. No chain is longer than
            // there are nodes, but where a distance is no number; such a tree is wrong, but it ends.
            let before = chain.len().checked_sub(2).map(|place| chain[place]);
            match before {
                Some(before) if row[before] <= least || chain.len() > n => {
                    chain.truncate(chain.len() - 2);
                    break (tip, before, row[before]);
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
                let known = Sizes { left: sizes[left], right: sizes[right], other: sizes[other], merged_at: height };
                let distance = rule(distances[left * n + other], distances[right * n + other], &known);
                distances[right * n + other] = distance;
                distances[other * n + right] = distance;
            }
        }
        sizes[right] += sizes[left];
    }
    found
}

/// The least distance of a row among what is not hidden.
fn nearest(row: &[f64], hidden: &[f64]) -> f64 {
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

/// The leaves from left to right, the first cluster of every merge before the second (SciPy's `leaves_list`).
pub fn leaf_order(merges: &[Merge], n: usize) -> Vec<usize> {
    let mut order = Vec::with_capacity(n);
    let mut open = vec![if merges.is_empty() { 0 } else { n + merges.len() - 1 }];
    while let Some(cluster) = open.pop() {
        if cluster < n {
            order.push(cluster);
        } else {
            let Merge { first, second, .. } = merges[cluster - n];
            open.push(second);
            open.push(first);
        }
    }
    order
}

#[cfg(test)]
mod tests {
    use super::{Linkage, leaf_order, merges};

    fn on_a_line(points: &[f64]) -> Vec<f64> {
        points.iter().flat_map(|left| points.iter().map(move |right| (left - right).abs())).collect()
    }

    #[test]
    fn nearest_pairs_merge_first_and_ties_in_the_order_found() {
        // Points 0, 10, 1, 11 on a line: two pairs at distance 1, then both at a distance that depends on the rule.
        let distances = on_a_line(&[0.0, 10.0, 1.0, 11.0]);
        // Ward: 2 clusters of 2, centres 10 apart: √(2·2·2/(2 + 2))·10.
        for (linkage, last) in [
            (Linkage::Single, 9.0),
            (Linkage::Complete, 11.0),
            (Linkage::Average, 10.0),
            (Linkage::Ward, 200.0_f64.sqrt()),
        ] {
            let found = merges(&distances, 4, linkage);
            let pairs: Vec<_> = found.iter().map(|merge| (merge.first, merge.second)).collect();
            assert_eq!(pairs, [(0, 2), (1, 3), (4, 5)], "{linkage:?}");
            assert_eq!((found[0].height, found[1].height), (1.0, 1.0));
            assert!((found[2].height - last).abs() < 1e-12, "{linkage:?}: {}", found[2].height);
            assert_eq!(leaf_order(&found, 4), [0, 2, 1, 3]);
        }
    }

    #[test]
    fn one_and_two_points_are_trees_too() {
        assert_eq!(leaf_order(&merges(&[0.0], 1, Linkage::Ward), 1), [0]);
        assert_eq!(leaf_order(&merges(&[0.0, 3.0, 3.0, 0.0], 2, Linkage::Average), 2), [0, 1]);
    }
}
