//! Single linkage and the order of its leaves, numbered as in `scipy.cluster.hierarchy`: leaves 0..n, then one cluster a merge.

/// A merge of two clusters, the smaller number first.
pub type Merge = (usize, usize);

/// Single linkage of square distances `[n, n]`: the minimum spanning tree grown from node 0, its edges by length
/// (equal lengths in the order they were found), joined bottom up. Gives n − 1 merges; the k-th makes cluster n + k.
pub fn single(distances: &[f64], n: usize) -> Vec<Merge> {
    let mut edges: Vec<(f64, usize, usize)> = Vec::with_capacity(n.saturating_sub(1));
    let mut nearest = vec![f64::INFINITY; n];
    let mut waiting: Vec<usize> = (1..n).collect();
    let mut newest = 0;
    while !waiting.is_empty() {
        let mut best = 0;
        for (place, &node) in waiting.iter().enumerate() {
            nearest[node] = nearest[node].min(distances[newest * n + node]);
            if nearest[node] < nearest[waiting[best]] {
                best = place;
            }
        }
        let node = waiting.remove(best);
        // Whatever joined between the edge's true end and `newest` is nearer than this edge, so after sorting both ends
        // lie in one cluster by the time this edge is used, and `newest` may stand for it.
        edges.push((nearest[node], newest, node));
        newest = node;
    }
    edges.sort_by(|left, right| left.0.total_cmp(&right.0));
    let mut parent: Vec<usize> = (0..2 * n).collect();
    edges
        .iter()
        .enumerate()
        .map(|(step, &(_, left, right))| {
            let (left, right) = (root(&mut parent, left), root(&mut parent, right));
            parent[left] = n + step;
            parent[right] = n + step;
            (left.min(right), left.max(right))
        })
        .collect()
}

fn root(parent: &mut [usize], mut node: usize) -> usize {
    while parent[node] != node {
        parent[node] = parent[parent[node]];
        node = parent[node];
    }
    node
}

/// The leaves from left to right, the first cluster of every merge before the second.
pub fn leaf_order(merges: &[Merge], n: usize) -> Vec<usize> {
    let mut order = Vec::with_capacity(n);
    let mut open = vec![if merges.is_empty() { 0 } else { n + merges.len() - 1 }];
    while let Some(cluster) = open.pop() {
        if cluster < n {
            order.push(cluster);
        } else {
            let (first, second) = merges[cluster - n];
            open.push(second);
            open.push(first);
        }
    }
    order
}

#[cfg(test)]
mod tests {
    use super::{leaf_order, single};

    #[test]
    fn nearest_pairs_merge_first_and_ties_in_the_order_found() {
        // Points 0, 10, 1, 11 on a line: two pairs at distance 1, then both at distance 9.
        let points = [0.0_f64, 10.0, 1.0, 11.0];
        let distances: Vec<f64> =
            points.iter().flat_map(|left| points.iter().map(move |right| (left - right).abs())).collect();
        let merges = single(&distances, 4);
        assert_eq!(merges, [(0, 2), (1, 3), (4, 5)]);
        assert_eq!(leaf_order(&merges, 4), [0, 2, 1, 3]);
    }
}
