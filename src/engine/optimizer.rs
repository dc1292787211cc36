//! Adam and `AdamW` on single-precision parameters, and gradient clipping, as PyTorch defines them.

use crate::settings::choices;

choices! {
    /// The form of weight decay.
    pub enum Decay {
        /// Added to the gradient (L2), as in `torch.optim.Adam`.
        Gradient = "adam",
        /// Subtracted from the parameter directly (Loshchilov and Hutter 2017), as in `torch.optim.AdamW`.
        Decoupled = "adamw",
    }
}

/// The settings of Adam.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamSettings {
    /// The weight decay coefficient.
    pub weight_decay: f64,
    /// The form of weight decay.
    pub decay: Decay,
    /// The decay rates of the first and second moments.
    pub betas: (f64, f64),
    /// Added to the square root of the second moment.
    pub epsilon: f64,
}

impl Default for AdamSettings {
    fn default() -> Self {
        Self { weight_decay: 1e-5, decay: Decay::Gradient, betas: (0.9, 0.999), epsilon: 1e-8 }
    }
}

/// The constants of one step of Adam (Kingma and Ba 2014, algorithm 1), computed in double precision and then rounded,
/// as PyTorch does.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AdamStep {
    /// Factor of the parameters before the step.
    shrink: f32,
    /// Factor of the parameters that is added to the gradients.
    l2: f32,
    /// 1 − β₁.
    gain_first: f32,
    beta2: f32,
    /// 1 − β₂.
    gain_second: f32,
    step_size: f32,
    root: f32,
    epsilon: f32,
}

impl AdamStep {
    /// The constants of the step with this number, from 1.
    pub(crate) fn new(settings: AdamSettings, step: u32, learning_rate: f64) -> Self {
        let AdamSettings { weight_decay, decay, betas, epsilon } = settings;
        let correction = |beta: f64| 1.0 - beta.powi(step as i32);
        let (shrink, l2) = match decay {
            Decay::Gradient => (1.0, weight_decay as f32),
            Decay::Decoupled => ((1.0 - learning_rate * weight_decay) as f32, 0.0),
        };
        Self {
            shrink,
            l2,
            gain_first: (1.0 - betas.0) as f32,
            beta2: betas.1 as f32,
            gain_second: (1.0 - betas.1) as f32,
            step_size: (learning_rate / correction(betas.0)) as f32,
            root: correction(betas.1).sqrt() as f32,
            epsilon: epsilon as f32,
        }
    }

    /// The constants, in the order in which a kernel takes them.
    #[cfg(test)]
    pub(crate) fn constants(&self) -> [f32; 8] {
        let Self { shrink, l2, gain_first, beta2, gain_second, step_size, root, epsilon } = *self;
        [shrink, l2, gain_first, beta2, gain_second, step_size, root, epsilon]
    }

    /// Updates parameters and both moments from the gradients, element by element.
    pub(crate) fn apply(&self, parameters: &mut [f32], gradients: &[f32], first: &mut [f32], second: &mut [f32]) {
        let moments = first.iter_mut().zip(second);
        for ((parameter, gradient), (first, second)) in parameters.iter_mut().zip(gradients).zip(moments) {
            *parameter *= self.shrink;
            let gradient = gradient + self.l2 * *parameter;
            *first += (gradient - *first) * self.gain_first;
            *second = *second * self.beta2 + gradient * gradient * self.gain_second;
            *parameter -= self.step_size * *first / (second.sqrt() / self.root + self.epsilon);
        }
    }
}

/// The sum of the squares of gradients, in double precision.
pub(crate) fn sum_of_squares(gradients: &[f32]) -> f64 {
    gradients.iter().map(|value| f64::from(*value).powi(2)).sum()
}

/// The factor that clips gradients of this norm to `max_norm`, as `torch.nn.utils.clip_grad_norm_` does; 1 if they are
/// not clipped.
pub(crate) fn clip_factor(norm: f64, max_norm: f64) -> f32 {
    let factor = max_norm / (norm + 1e-6);
    if factor < 1.0 { factor as f32 } else { 1.0 }
}

#[cfg(test)]
mod tests {
    use super::{AdamSettings, AdamStep, Decay, clip_factor, sum_of_squares};

    /// Parameters after steps with these gradients, and both moments.
    fn run<const N: usize>(
        settings: AdamSettings,
        start: [f32; N],
        gradients: &[[f32; N]],
        rate: f64,
    ) -> [[f32; N]; 3] {
        let (mut parameters, mut first, mut second) = (start, [0.0; N], [0.0; N]);
        for (gradients, step) in gradients.iter().zip(1..) {
            AdamStep::new(settings, step, rate).apply(&mut parameters, gradients, &mut first, &mut second);
        }
        [parameters, first, second]
    }

    #[test]
    fn the_first_step_moves_every_parameter_by_the_learning_rate() {
        let settings = AdamSettings { weight_decay: 0.0, ..AdamSettings::default() };
        let [parameters, ..] = run(settings, [1.0, 1.0, 1.0], &[[0.5, -3.0, 0.0]], 0.01);
        // m̂ = g and v̂ = g², so the step is the learning rate times the sign.
        let expected = [0.99, 1.01, 1.0];
        assert!(parameters.iter().zip(expected).all(|(one, two): (&f32, f32)| (one - two).abs() < 1e-6));
    }

    #[test]
    fn two_steps_match_the_formulas() {
        let settings = AdamSettings { weight_decay: 0.1, ..AdamSettings::default() };
        let [[parameter], ..] = run(settings, [2.0], &[[0.3], [-0.7]], 0.1);
        let (mut exact, mut m, mut v) = (2.0_f64, 0.0, 0.0);
        for (step, gradient) in [(1, 0.3_f64), (2, -0.7)] {
            let g = gradient + 0.1 * exact;
            m = 0.9 * m + 0.1 * g;
            v = 0.999 * v + 0.001 * g * g;
            let (m_hat, v_hat) = (m / (1.0 - 0.9_f64.powi(step)), v / (1.0 - 0.999_f64.powi(step)));
            exact -= 0.1 * m_hat / (v_hat.sqrt() + 1e-8);
        }
        assert!((f64::from(parameter) - exact).abs() < 1e-6, "{parameter} {exact}");
    }

    #[test]
    fn the_moments_gain_what_is_left_of_one_in_double_precision() {
        // 1 − 0.999 taken in single precision is 1.3e-5 off, in one direction, at every step.
        let settings = AdamSettings { weight_decay: 0.0, ..AdamSettings::default() };
        let [_, [first], [second]] = run(settings, [0.0], &[[1.0]], 0.1);
        assert_eq!((first, second), (0.1, 0.001));
    }

    #[test]
    fn decoupled_decay_does_not_enter_the_moments() {
        let settings = AdamSettings { weight_decay: 0.5, decay: Decay::Decoupled, ..AdamSettings::default() };
        let [parameters, ..] = run(settings, [2.0], &[[0.0]], 0.1);
        assert_eq!(parameters, [1.9]);
    }

    #[test]
    fn gradients_are_clipped_only_above_the_norm() {
        assert_eq!(sum_of_squares(&[3.0, 4.0]), 25.0);
        assert!((clip_factor(5.0, 1.0) - 0.2).abs() < 1e-6);
        assert_eq!((clip_factor(1.0, 2.0), clip_factor(0.0, 1.0)), (1.0, 1.0));
    }
}
