//! Early stopping on the validation score.

use serde::{Deserialize, Serialize};

use super::exact::Exact;

/// Keeps track of the best epoch and of when to stop.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub(crate) struct EarlyStop {
    patience: u32,
    best: Option<(u32, Exact)>,
    epochs: u32,
}

impl EarlyStop {
    /// Stops after `patience` epochs in a row without a better score.
    pub(crate) fn new(patience: u32) -> Self {
        Self { patience, best: None, epochs: 0 }
    }

    /// Records the score of an epoch and returns whether it is the best so far. The first epoch always is; NaN is worse
    /// than any other score.
    pub(crate) fn epoch(&mut self, score: f64) -> bool {
        self.epochs += 1;
        let better = self.best.is_none_or(|(_, Exact(best))| score > best || best.is_nan() && !score.is_nan());
        if better {
            self.best = Some((self.epochs, Exact(score)));
        }
        better
    }

    /// The best epoch, counted from 1, and its score; `None` before the first epoch.
    pub(crate) fn best(&self) -> Option<(u32, f64)> {
        self.best.map(|(epoch, Exact(score))| (epoch, score))
    }

    /// Whether training should stop.
    pub(crate) fn should_stop(&self) -> bool {
        self.best.is_some_and(|(epoch, _)| self.epochs - epoch >= self.patience)
    }
}

#[cfg(test)]
mod tests {
    use super::EarlyStop;

    #[test]
    fn training_stops_after_the_patience_and_the_best_epoch_is_known() {
        let mut stop = EarlyStop::new(2);
        let better: Vec<bool> = [f64::NAN, 0.1, 0.3, 0.2].iter().map(|score| stop.epoch(*score)).collect();
        assert_eq!(better, [true, true, true, false]);
        assert!(!stop.should_stop());
        assert!(!stop.epoch(0.3) && stop.should_stop());
        assert_eq!(stop.best(), Some((3, 0.3)));
    }
}
