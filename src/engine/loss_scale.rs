//! The dynamic loss scale of half-precision training, with the updates of `torch.amp.GradScaler`: the gradient of the
//! loss is scaled up so that small gradients do not round to 0, and scaled down after an overflow.

use serde::{Deserialize, Serialize};

/// The initial scale.
const START: f64 = 65536.0;
/// The smallest scale.
const MIN: f64 = 1.0;

/// The loss scale of one replica, and the number of steps since it changed or a step overflowed.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
pub struct LossScale {
    scale: f64,
    clean: u32,
    /// Steps without overflow after which the scale doubles.
    interval: u32,
}

impl Default for LossScale {
    fn default() -> Self {
        Self::new(2000)
    }
}

impl LossScale {
    /// The scale before the first step; it doubles after `interval` steps in a row without overflow.
    pub fn new(interval: u32) -> Self {
        Self { scale: START, clean: 0, interval }
    }

    /// The current scale.
    pub fn scale(&self) -> f64 {
        self.scale
    }

    /// Updates the scale after a step: halves it if the step overflowed, doubles it after enough steps that did not.
    pub fn update(&mut self, overflowed: bool) {
        if overflowed {
            self.scale = (self.scale / 2.0).max(MIN);
            self.clean = 0;
            return;
        }
        self.clean += 1;
        if self.clean == self.interval {
            // The scale must be finite in single precision.
            let doubled = self.scale * 2.0;
            if doubled <= f64::from(f32::MAX) {
                self.scale = doubled;
            }
            self.clean = 0;
        }
    }

    /// Whether the scale cannot become smaller, so that an overflow has another cause.
    pub fn is_min(&self) -> bool {
        self.scale <= MIN
    }
}

#[cfg(test)]
mod tests {
    use super::LossScale;

    #[test]
    fn an_overflow_halves_the_scale_and_steps_without_one_double_it() {
        let mut scale = LossScale::new(3);
        let mut seen = Vec::new();
        for overflowed in [false, false, true, false, false, false, true] {
            scale.update(overflowed);
            seen.push(scale.scale());
        }
        assert_eq!(seen, [65536.0, 65536.0, 32768.0, 32768.0, 32768.0, 65536.0, 32768.0]);
    }

    #[test]
    fn the_scale_stays_between_one_and_the_largest_single_precision_value() {
        let mut scale = LossScale::new(1);
        (0..20).for_each(|_| scale.update(true));
        assert_eq!((scale.scale(), scale.is_min()), (1.0, true));
        (0..200).for_each(|_| scale.update(false));
        assert!(scale.scale() <= f64::from(f32::MAX) && scale.scale() > 1e38);
    }
}
