//! Learning rates over epochs.

/// How the learning rate changes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Schedule {
    /// It does not.
    Constant,
    /// Times `factor` after more than `patience` epochs without a new best score, as `ReduceLROnPlateau` with mode "max" and
    /// its defaults: a score is better if it exceeds the best by 10⁻⁴ of it.
    Plateau {
        /// What it is multiplied with.
        factor: f64,
        /// Epochs that are waited for.
        patience: u32,
    },
    /// Times `factor` every `epochs` epochs, as `StepLR`.
    Step {
        /// What it is multiplied with.
        factor: f64,
        /// How often.
        epochs: u32,
    },
}

/// A learning rate on its way.
#[derive(Clone, Debug, PartialEq)]
pub struct LearningRate {
    schedule: Schedule,
    rate: f64,
    best: f64,
    waited: u32,
    epochs: u32,
}

impl LearningRate {
    /// Before the first epoch.
    pub fn new(schedule: Schedule, rate: f64) -> Self {
        Self { schedule, rate, best: f64::NEG_INFINITY, waited: 0, epochs: 0 }
    }

    /// The rate now.
    pub fn rate(&self) -> f64 {
        self.rate
    }

    /// After an epoch with this validation score; one that is no number is no better than any.
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
                let wanted = self.best + 1e-4 * self.best.abs();
                if score > if self.best.is_finite() { wanted } else { self.best } {
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
    fn a_plateau_lowers_the_rate_after_its_patience() {
        let mut rate = LearningRate::new(Schedule::Plateau { factor: 0.1, patience: 2 }, 1.0);
        let mut seen = Vec::new();
        // 1.00005 is no better than 1: the threshold is 1e-4 of the best.
        for score in [1.0, 1.000_05, 0.9, 0.8, 2.0, 1.0, 1.0, 1.0, f64::NAN] {
            rate.epoch(score);
            seen.push(rate.rate());
        }
        let expected = [1.0, 1.0, 1.0, 0.1, 0.1, 0.1, 0.1, 0.01, 0.01];
        assert!(seen.iter().zip(expected).all(|(one, two): (&f64, f64)| (one - two).abs() < 1e-12), "{seen:?}");
    }

    #[test]
    fn a_negative_best_has_its_threshold_above_it() {
        let mut rate = LearningRate::new(Schedule::Plateau { factor: 0.5, patience: 0 }, 1.0);
        rate.epoch(-1.0);
        rate.epoch(-0.999_95);
        assert_eq!(rate.rate(), 0.5);
        rate.epoch(-0.99);
        assert_eq!(rate.rate(), 0.5);
    }

    #[test]
    fn steps_come_every_so_many_epochs() {
        let mut rate = LearningRate::new(Schedule::Step { factor: 0.5, epochs: 2 }, 1.0);
        let rates: Vec<f64> = (0..5).map(|_| (rate.epoch(0.0), rate.rate()).1).collect();
        assert_eq!(rates, [1.0, 0.5, 0.5, 0.25, 0.25]);
    }
}
