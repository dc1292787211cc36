//! Recursive bisection: each half of the leaf order gets weight against its cluster variance.

/// Weights, `[assets]`, from a covariance `[assets, assets]` and a leaf order.
pub fn weights(covariance: &[f64], assets: usize, order: &[usize]) -> Vec<f64> {
    let mut out = vec![1.0; assets];
    let mut open = vec![order];
    while let Some(cluster) = open.pop() {
        if cluster.len() < 2 {
            continue;
        }
        let (left, right) = cluster.split_at(cluster.len() / 2);
        let (risk_left, risk_right) = (variance(covariance, assets, left), variance(covariance, assets, right));
        let share = 1.0 - risk_left / (risk_left + risk_right);
        for &asset in left {
            out[asset] *= share;
        }
        for &asset in right {
            out[asset] *= 1.0 - share;
        }
        open.push(left);
        open.push(right);
    }
    out
}

/// Variance of a cluster's inverse-variance portfolio.
fn variance(covariance: &[f64], assets: usize, cluster: &[usize]) -> f64 {
    let inverse: Vec<f64> = cluster.iter().map(|&asset| 1.0 / covariance[asset * assets + asset]).collect();
    let total: f64 = inverse.iter().sum();
    let mut sum = 0.0;
    for (&i, left) in cluster.iter().zip(&inverse) {
        let row: f64 = cluster.iter().zip(&inverse).map(|(&j, right)| covariance[i * assets + j] * right).sum();
        sum += left * row;
    }
    sum / (total * total)
}

#[cfg(test)]
mod tests {
    use super::weights;

    #[test]
    fn two_uncorrelated_assets_are_weighed_by_inverse_variance() {
        let out = weights(&[1.0, 0.0, 0.0, 3.0], 2, &[0, 1]);
        assert_eq!(out, [0.75, 0.25]);
    }
}
