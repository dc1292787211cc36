//! Recursive bisection: each half of the leaf order gets weight against its risk (López de Prado 2016, stage 3).

use walkforge_plugin::Error;

use crate::risk::Risk;

/// Weights, `[assets]`, for a leaf order. A cluster of n is cut after its first n/2 leaves, rounded down.
///
/// # Errors
/// Where an asset or a cluster has no risk to be weighed by.
pub fn weights(risk: &Risk, order: &[usize]) -> Result<Vec<f64>, Error> {
    let inverses = risk.inverses()?;
    let mut out = vec![1.0; order.len()];
    let mut open = vec![order];
    while let Some(cluster) = open.pop() {
        if cluster.len() < 2 {
            continue;
        }
        let (left, right) = cluster.split_at(cluster.len() / 2);
        let (risk_left, risk_right) = (risk.of_cluster(left, &inverses)?, risk.of_cluster(right, &inverses)?);
        if risk_left + risk_right <= 0.0 {
            return Err(Error::data(format!(
                "two clusters of {} and {} assets, from {} and from {} on, have no {}; weight cannot be split by it",
                left.len(),
                right.len(),
                risk.names[left[0]],
                risk.names[right[0]],
                risk.measure.word()
            )));
        }
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
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::weights;
    use crate::risk::{Measure, Risk};

    #[test]
    fn two_uncorrelated_assets_are_weighed_by_inverse_risk() {
        for (measure, first) in [(Measure::Variance, 0.9), (Measure::Std, 0.75)] {
            let risk = Risk { measure, covariance: &[1.0, 0.0, 0.0, 9.0], returns: &[], names: &["A", "B"] };
            let out = weights(&risk, &[0, 1]).unwrap();
            assert!((out[0] - first).abs() < 1e-15 && (out[1] + first - 1.0).abs() < 1e-15, "{out:?}");
        }
    }

    #[test]
    fn clusters_that_hedge_perfectly_are_told() {
        // B is -A and D is -C.
        let covariance = [1.0, -1.0, 0.0, 0.0, -1.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0, -1.0, 0.0, 0.0, -1.0, 1.0];
        let names = ["A", "B", "C", "D"];
        let risk = Risk { measure: Measure::Variance, covariance: &covariance, returns: &[], names: &names };
        let message = weights(&risk, &[0, 1, 2, 3]).unwrap_err().message;
        assert!(message.contains("2 and 2 assets, from A and from C on, have no variance"), "{message}");
    }
}
