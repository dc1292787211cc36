//! Scores (z-scores) of inputs: mean and deviation of the train span, fitted once a window.

/// What is taken off a number, and what it is divided by.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ZScore {
    pub(crate) mean: f64,
    pub(crate) deviation: f64,
}

impl ZScore {
    /// Leaves numbers as they are.
    pub const NONE: Self = Self { mean: 0.0, deviation: 1.0 };

    /// Mean and deviation (divisor n) of the finite numbers; where they do not vary, or there are none, nothing is divided.
    pub fn of(values: impl Iterator<Item = f64> + Clone) -> Self {
        let finite = values.filter(|value| value.is_finite());
        let count = finite.clone().count().max(1) as f64;
        let mean = finite.clone().sum::<f64>() / count;
        let deviation = (finite.map(|value| (value - mean).powi(2)).sum::<f64>() / count).sqrt();
        Self { mean, deviation: if deviation > 0.0 && deviation.is_finite() { deviation } else { 1.0 } }
    }

    /// The score of a number; 0, the mean, where it is missing.
    pub fn standardise(&self, value: f64) -> f32 {
        let scored = ((value - self.mean) / self.deviation) as f32;
        if scored.is_finite() { scored } else { 0.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::ZScore;

    #[test]
    fn scores_are_of_the_finite_numbers() {
        let scale = ZScore::of([1.0, f64::NAN, 3.0, f64::INFINITY].into_iter());
        assert_eq!((scale.mean, scale.deviation), (2.0, 1.0));
        assert_eq!((scale.standardise(4.0), scale.standardise(f64::NAN)), (2.0, 0.0));
    }

    #[test]
    fn what_does_not_vary_is_not_divided() {
        let scale = ZScore::of([5.0; 3].into_iter());
        assert_eq!((scale.standardise(5.0), scale.standardise(6.0)), (0.0, 1.0));
        assert_eq!(ZScore::of(std::iter::empty()), ZScore::NONE);
    }
}
