//! Learning rate schedules.

use serde::{Deserialize, Serialize};

/// How the learning rate changes over the epochs.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
pub enum Schedule {
    /// The rate stays as it is.
    Constant,
    /// Multiplies the rate by `factor` after more than `patience` epochs without a better validation score, as
    /// PyTorch's `ReduceLROnPlateau` with mode "max" and its defaults: a score is better if it exceeds the best by 10⁻⁴
    /// of it.
    Plateau {
        /// The factor of the rate.
        factor: f64,
        /// Epochs without a better score before the rate is reduced.
        patience: u32,
    },
    /// Multiplies the rate by `factor` every `epochs` epochs, as PyTorch's `StepLR`.
    Step {
        /// The factor of the rate.
        factor: f64,
        /// Epochs between reductions.
        epochs: u32,
    },
}

/// A learning rate under a schedule.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct LearningRate {
    schedule: Schedule,
    #[serde(with = "super::exact")]
    rate: f64,
    #[serde(with = "super::exact")]
    best: f64,
    /// Epochs since the best score or the last reduction.
    waited: u32,
    epochs: u32,
}

impl LearningRate {
    /// The learning rate before the first epoch.
    pub fn new(schedule: Schedule, rate: f64) -> Self {
        Self { schedule, rate, best: f64::NEG_INFINITY, waited: 0, epochs: 0 }
    }

    /// The current rate.
    pub fn rate(&self) -> f64 {
        self.rate
    }

    /// Updates the rate after an epoch with this validation score. NaN is never a better score.
    pub fn epoch(&mut self, score: f64) {
        self.epochs += 1;
        match self.schedule {
            Schedule::Constant => (),
            Schedule::Step { factor, epochs } => {
                if self.epochs.is_multiple_of(epochs) {
                    self.rate *= factor;
                }
            }
            Schedule::Plateau { factor, patience } => {
                let threshold = self.best + 1e-4 * self.best.abs();
                if score > if self.best.is_finite() { threshold } else { self.best } {
                    self.best = score;
                    self.waited = 0;
                } else {
                    self.waited += 1;
                }
                if self.waited > patience {
                    self.rate *= factor;
                    self.waited = 0;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{LearningRate, Schedule};

    #[test]
    fn a_plateau_reduces_the_rate_after_its_patience() {
        let mut rate = LearningRate::new(Schedule::Plateau { factor: 0.1, patience: 2 }, 1.0);
        let mut seen = Vec::new();
        // 1.00005 is not better than 1, as the threshold is 1e-4 of the best.
        for score in [1.0, 1.000_05, 0.9, 0.8, 2.0, 1.0, 1.0, 1.0, f64::NAN] {
            rate.epoch(score);
            seen.push(rate.rate());
        }
        let expected = [1.0, 1.0, 1.0, 0.1, 0.1, 0.1, 0.1, 0.01, 0.01];
        assert!(seen.iter().zip(expected).all(|(one, two): (&f64, f64)| (one - two).abs() < 1e-12), "{seen:?}");
    }

    #[test]
    fn the_threshold_of_a_negative_best_score_lies_above_it() {
        let mut rate = LearningRate::new(Schedule::Plateau { factor: 0.5, patience: 0 }, 1.0);
        rate.epoch(-1.0);
        rate.epoch(-0.999_95);
        assert_eq!(rate.rate(), 0.5);
        rate.epoch(-0.99);
        assert_eq!(rate.rate(), 0.5);
    }

    #[test]
    fn step_reduces_the_rate_at_regular_intervals() {
        let mut rate = LearningRate::new(Schedule::Step { factor: 0.5, epochs: 2 }, 1.0);
        let rates: Vec<f64> = (0..5).map(|_| (rate.epoch(0.0), rate.rate()).1).collect();
        assert_eq!(rates, [1.0, 0.5, 0.5, 0.25, 0.25]);
    }
}
