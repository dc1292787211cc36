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

/// The state of Adam (Kingma and Ba 2014, algorithm 1): two moments per parameter, and the number of steps.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Adam {
    settings: AdamSettings,
    first: Vec<f32>,
    second: Vec<f32>,
    steps: u32,
}

impl Adam {
    /// The state before the first step, for `count` parameters.
    pub(crate) fn new(settings: AdamSettings, count: usize) -> Self {
        Self { settings, first: vec![0.0; count], second: vec![0.0; count], steps: 0 }
    }

    /// The number of steps taken.
    pub(crate) fn steps(&self) -> u32 {
        self.steps
    }

    /// The bytes of the moments.
    pub(crate) fn bytes(&self) -> usize {
        size_of_val(self.first.as_slice()) + size_of_val(self.second.as_slice())
    }

    /// Takes one step: updates the parameters from their gradients.
    pub(crate) fn step(&mut self, parameters: &mut [f32], gradients: &[f32], learning_rate: f64) {
        let AdamSettings { weight_decay, decay, betas, epsilon } = self.settings;
        self.steps += 1;
        let correction = |beta: f64| 1.0 - beta.powi(self.steps as i32);
        let (step_size, root) = (learning_rate / correction(betas.0), correction(betas.1).sqrt());
        let (step_size, root, epsilon) = (step_size as f32, root as f32, epsilon as f32);
        let (beta1, beta2) = (betas.0 as f32, betas.1 as f32);
        let (shrink, l2) = match decay {
            Decay::Gradient => (1.0, weight_decay as f32),
            Decay::Decoupled => ((1.0 - learning_rate * weight_decay) as f32, 0.0),
        };
        let moments = self.first.iter_mut().zip(&mut self.second);
        for ((parameter, gradient), (first, second)) in parameters.iter_mut().zip(gradients).zip(moments) {
            *parameter *= shrink;
            let gradient = gradient + l2 * *parameter;
            *first += (gradient - *first) * (1.0 - beta1);
            *second = *second * beta2 + gradient * gradient * (1.0 - beta2);
            *parameter -= step_size * *first / (second.sqrt() / root + epsilon);
        }
    }
}

/// The Euclidean norm of the gradients, computed in double precision.
pub(crate) fn norm(gradients: &[f32]) -> f64 {
    gradients.iter().map(|value| f64::from(*value).powi(2)).sum::<f64>().sqrt()
}

/// Clips the norm of the gradients to `max_norm`, as `torch.nn.utils.clip_grad_norm_` does. Returns the norm before.
pub(crate) fn clip(gradients: &mut [f32], max_norm: f64) -> f64 {
    let norm = norm(gradients);
    let factor = max_norm / (norm + 1e-6);
    if factor < 1.0 {
        for value in gradients {
            *value *= factor as f32;
        }
    }
    norm
}

#[cfg(test)]
mod tests {
    use super::{Adam, AdamSettings, Decay, clip, norm};

    #[test]
    fn the_first_step_moves_every_parameter_by_the_learning_rate() {
        let settings = AdamSettings { weight_decay: 0.0, ..AdamSettings::default() };
        let mut adam = Adam::new(settings, 3);
        let mut parameters = [1.0, 1.0, 1.0];
        adam.step(&mut parameters, &[0.5, -3.0, 0.0], 0.01);
        // m̂ = g and v̂ = g², so the step is the learning rate times the sign.
        let expected = [0.99, 1.01, 1.0];
        assert!(parameters.iter().zip(expected).all(|(one, two): (&f32, f32)| (one - two).abs() < 1e-6));
        assert_eq!(adam.steps(), 1);
    }

    #[test]
    fn two_steps_match_the_formulas() {
        let settings = AdamSettings { weight_decay: 0.1, ..AdamSettings::default() };
        let (mut adam, mut parameters) = (Adam::new(settings, 1), [2.0_f32]);
        let (mut exact, mut m, mut v) = (2.0_f64, 0.0, 0.0);
        for (step, gradient) in [(1, 0.3_f64), (2, -0.7)] {
            adam.step(&mut parameters, &[gradient as f32], 0.1);
            let g = gradient + 0.1 * exact;
            m = 0.9 * m + 0.1 * g;
            v = 0.999 * v + 0.001 * g * g;
            let (m_hat, v_hat) = (m / (1.0 - 0.9_f64.powi(step)), v / (1.0 - 0.999_f64.powi(step)));
            exact -= 0.1 * m_hat / (v_hat.sqrt() + 1e-8);
            assert!((f64::from(parameters[0]) - exact).abs() < 1e-6, "{} {exact}", parameters[0]);
        }
    }

    #[test]
    fn decoupled_decay_does_not_enter_the_moments() {
        let settings = AdamSettings { weight_decay: 0.5, decay: Decay::Decoupled, ..AdamSettings::default() };
        let (mut adam, mut parameters) = (Adam::new(settings, 1), [2.0_f32]);
        adam.step(&mut parameters, &[0.0], 0.1);
        assert_eq!(parameters, [1.9]);
    }

    #[test]
    fn gradients_are_clipped_only_above_the_norm() {
        let mut gradients = [3.0, 4.0];
        assert!((clip(&mut gradients, 1.0) - 5.0).abs() < 1e-12);
        assert!((norm(&gradients) - 1.0).abs() < 1e-6);
        let before = gradients;
        clip(&mut gradients, 2.0);
        assert_eq!(gradients, before);
    }
}
