//! The dynamic loss scale of half-precision training: the loss's gradient is made larger, so that small gradients do not become 0,
//! and smaller again where one overflowed. The sequence is that of `torch.amp.GradScaler`.

/// Where the scale starts.
const START: f64 = 65536.0;
/// The least it becomes.
const LEAST: f64 = 1.0;

/// The scale of one replica, and how many steps in a row were clean.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LossScale {
    scale: f64,
    clean: u32,
    /// Clean steps in a row after which the scale doubles.
    interval: u32,
}

impl Default for LossScale {
    fn default() -> Self {
        Self::new(2000)
    }
}

impl LossScale {
    /// Before the first step; doubled after `interval` clean steps in a row.
    pub fn new(interval: u32) -> Self {
        Self { scale: START, clean: 0, interval }
    }

    /// The scale now.
    pub fn scale(&self) -> f64 {
        self.scale
    }

    /// After a step: halved where it overflowed, doubled after enough clean ones.
    pub fn update(&mut self, overflowed: bool) {
        if overflowed {
            self.scale = (self.scale / 2.0).max(LEAST);
            self.clean = 0;
            return;
        }
        self.clean += 1;
        if self.clean == self.interval {
            // More than single precision holds is no scale.
            let doubled = self.scale * 2.0;
            if doubled <= f64::from(f32::MAX) {
                self.scale = doubled;
            }
            self.clean = 0;
        }
    }

    /// Whether it can become no smaller: what overflows now is no matter of scale.
    pub fn is_least(&self) -> bool {
        self.scale <= LEAST
    }
}

#[cfg(test)]
mod tests {
    use super::LossScale;

    #[test]
    fn an_overflow_halves_and_a_clean_stretch_doubles() {
        let mut scale = LossScale::new(3);
        let mut seen = Vec::new();
        for overflowed in [false, false, true, false, false, false, true] {
            scale.update(overflowed);
            seen.push(scale.scale());
        }
        assert_eq!(seen, [65536.0, 65536.0, 32768.0, 32768.0, 32768.0, 65536.0, 32768.0]);
    }

    #[test]
    fn it_stays_between_one_and_what_single_precision_holds() {
        let mut scale = LossScale::new(1);
        (0..20).for_each(|_| scale.update(true));
        assert_eq!((scale.scale(), scale.is_least()), (1.0, true));
        (0..200).for_each(|_| scale.update(false));
        assert!(scale.scale() <= f64::from(f32::MAX) && scale.scale() > 1e38);
    }
}
