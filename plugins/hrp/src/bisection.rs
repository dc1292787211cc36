//! Recursive bisection: splits weight between the halves of the leaf order in inverse proportion to their risk (López
//! de Prado 2016, stage 3).

use walkforge_plugin::Error;

use crate::risk::Risk;

/// Computes the weights, `[assets]`, for a leaf order. A cluster of n leaves is cut after the first n/2, rounded down.
///
/// # Errors
/// If the risk of an asset is not positive, or that of both halves of a cluster is 0.
pub(crate) fn weights(risk: &Risk, order: &[usize]) -> Result<Vec<f64>, Error> {
    let inverses = risk.inverses()?;
    let mut out = vec![1.0; order.len()];
    let mut stack = vec![order];
    while let Some(cluster) = stack.pop() {
        if cluster.len() < 2 {
            continue;
        }
        let (left, right) = cluster.split_at(cluster.len() / 2);
        let (risk_left, risk_right) = (risk.cluster(left, &inverses)?, risk.cluster(right, &inverses)?);
        if risk_left + risk_right <= 0.0 {
            return Err(Error::data(format!(
                "the {} of two clusters is 0, of {} assets from {} on and of {} assets from {} on; weight cannot be \
                 split between them",
                risk.measure.name(),
                left.len(),
                risk.names[left[0]],
                right.len(),
                risk.names[right[0]]
            )));
        }
        let share = 1.0 - risk_left / (risk_left + risk_right);
        for &asset in left {
            out[asset] *= share;
        }
        for &asset in right {
            out[asset] *= 1.0 - share;
        }
        stack.push(left);
        stack.push(right);
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::weights;
    use crate::risk::{Measure, Risk};

    #[test]
    fn two_uncorrelated_assets_get_inverse_risk_weights() {
        for (measure, first) in [(Measure::Variance, 0.9), (Measure::Std, 0.75)] {
            let risk = Risk { measure, covariance: &[1.0, 0.0, 0.0, 9.0], returns: &[], names: &["A", "B"] };
            let out = weights(&risk, &[0, 1]).unwrap();
            assert!((out[0] - first).abs() < 1e-15 && (out[1] + first - 1.0).abs() < 1e-15, "{out:?}");
        }
    }

    #[test]
    fn two_perfectly_hedged_clusters_are_an_error() {
        // B is -A and D is -C.
        let covariance = [1.0, -1.0, 0.0, 0.0, -1.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0, -1.0, 0.0, 0.0, -1.0, 1.0];
        let names = ["A", "B", "C", "D"];
        let risk = Risk { measure: Measure::Variance, covariance: &covariance, returns: &[], names: &names };
        let message = weights(&risk, &[0, 1, 2, 3]).unwrap_err().message;
        let expected = "the variance of two clusters is 0, of 2 assets from A on and of 2 assets from C on";
        assert!(message.starts_with(expected), "{message}");
    }
}
