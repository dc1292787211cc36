//! One optimiser step over a whole batch, in micro-batches of any size: forward all, the loss and its gradient of the whole batch,
//! then backward each. Where there are several micro-batches each forward pass is done again before its backward pass, so
//! that only one of them is in memory.

use std::sync::Arc;

use super::loss::{mean_square, sharpe};
use super::optimizer::{Adam, AdamSettings, clip};
use crate::error::{Result, fail};
use crate::program::{Plan, Program, Purpose, Replica, Step};

/// What a step makes small.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Objective {
    /// The output is weights, `[…, assets]`, and their product with the labels the portfolio's returns: −mean/(std + ε).
    Sharpe,
    /// The output is meant to be the labels: the mean square of the difference.
    MeanSquare,
}

/// What a step came to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Outcome {
    /// The loss of the whole batch, before the step.
    pub loss: f64,
    /// The norm of the gradients, before they were clipped.
    pub norm: f64,
}

/// A network under training: parameters, optimiser, and the memory of one micro-batch.
pub struct Stepper {
    program: Arc<Program>,
    plan: Arc<Plan>,
    replica: Replica,
    parameters: Vec<f32>,
    gradients: Vec<f32>,
    adam: Adam,
    objective: Objective,
    most_norm: f64,
}

impl Stepper {
    /// A network with parameters as `seed` begins them, trained in micro-batches of `micro_batch` samples; the norm of its
    /// gradients is clipped at `most_norm`.
    pub fn new(
        program: Arc<Program>,
        objective: Objective,
        settings: AdamSettings,
        most_norm: f64,
        micro_batch: usize,
        seed: u64,
    ) -> Self {
        let plan = Arc::new(program.plan(Purpose::Train, micro_batch));
        let replica = Replica::new(Arc::clone(&program), Arc::clone(&plan), seed);
        let parameters = replica.initial_parameters();
        let gradients = vec![0.0; parameters.len()];
        let adam = Adam::new(settings, parameters.len());
        Self { program, plan, replica, parameters, gradients, adam, objective, most_norm }
    }

    /// The parameters, laid out as the program says.
    pub fn parameters(&self) -> &[f32] {
        &self.parameters
    }

    /// The gradients of the last step, clipped.
    pub fn gradients(&self) -> &[f32] {
        &self.gradients
    }

    /// The parameters, to be set.
    pub fn parameters_mut(&mut self) -> &mut [f32] {
        &mut self.parameters
    }

    /// Bytes that were planned for it: arena, parameters, gradients, and both moments.
    pub fn planned_bytes(&self) -> usize {
        self.plan.bytes(1) + 2 * self.parameters.len() * size_of::<f32>()
    }

    /// The output of a batch, `[batch, output shape]`; `inputs` are `[batch, shape]` in the program's order.
    pub fn predict(&mut self, inputs: &[&[f32]], batch: usize) -> Vec<f32> {
        let mut out = Vec::new();
        for first in (0..batch).step_by(self.plan.batch()) {
            let step = Step { batch: self.plan.batch().min(batch - first), first, training: false, number: 0 };
            self.fill(inputs, step);
            out.extend_from_slice(self.replica.forward(&self.parameters, step));
        }
        out
    }

    fn fill(&mut self, inputs: &[&[f32]], step: Step) {
        for (place, input) in inputs.iter().enumerate() {
            let count: usize = self.program.inputs()[place].shape.iter().product();
            let part = &input[step.first * count..][..step.batch * count];
            self.replica.input(place, step.batch).copy_from_slice(part);
        }
    }

    /// One step of the optimiser. `labels` are `[batch, output shape]`; one that is no number counts as a return of 0, or not at
    /// all.
    ///
    /// # Errors
    /// `InvalidData` where the loss or a gradient is no number, naming the parameter; the parameters are then as before.
    pub fn step(&mut self, inputs: &[&[f32]], labels: &[f32], batch: usize, learning_rate: f64) -> Result<Outcome> {
        let micro = self.plan.batch();
        let number = self.adam.steps();
        let part = |first: usize| Step { batch: micro.min(batch - first), first, training: true, number };
        let mut output = Vec::with_capacity(labels.len());
        for first in (0..batch).step_by(micro) {
            self.fill(inputs, part(first));
            output.extend_from_slice(self.replica.forward(&self.parameters, part(first)));
        }
        let (loss, towards) = self.loss(&output, labels);
        if !loss.is_finite() {
            fail!(InvalidData, "step {number}: the loss is {loss}");
        }
        self.gradients.fill(0.0);
        let count = towards.len() / batch;
        for first in (0..batch).step_by(micro) {
            let step = part(first);
            // One micro-batch alone is still there.
            if batch > micro {
                self.fill(inputs, step);
                self.replica.forward(&self.parameters, step);
            }
            let towards = &towards[first * count..][..step.batch * count];
            self.replica.backward(&self.parameters, towards, &mut self.gradients, step);
        }
        for parameter in self.program.parameters() {
            let gradient = &self.gradients[parameter.offset..][..parameter.count()];
            if let Some(found) = gradient.iter().find(|value| !value.is_finite()) {
                fail!(InvalidData, "step {number}: a gradient of parameter '{}' is {found}", parameter.name);
            }
        }
        let norm = clip(&mut self.gradients, self.most_norm);
        self.adam.step(&mut self.parameters, &self.gradients, learning_rate);
        Ok(Outcome { loss, norm })
    }

    /// The loss of the whole batch, and its gradient with respect to the output.
    fn loss(&self, output: &[f32], labels: &[f32]) -> (f64, Vec<f32>) {
        match self.objective {
            Objective::MeanSquare => {
                let (loss, gradient) = mean_square(output, labels);
                (loss, gradient.iter().map(|value| *value as f32).collect())
            }
            Objective::Sharpe => {
                let assets = self.program.output_shape().last().copied().unwrap_or(1);
                let earned = |label: &f32| if label.is_finite() { f64::from(*label) } else { 0.0 };
                let rows = output.chunks_exact(assets).zip(labels.chunks_exact(assets));
                let returns: Vec<f64> = rows
                    .map(|(weights, labels)| weights.iter().zip(labels).map(|(w, r)| f64::from(*w) * earned(r)).sum())
                    .collect();
                let (loss, slopes) = sharpe(&returns);
                let towards = labels
                    .chunks_exact(assets)
                    .zip(slopes)
                    .flat_map(|(labels, slope)| labels.iter().map(move |label| (slope * earned(label)) as f32))
                    .collect();
                (loss, towards)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::{AdamSettings, Objective, Stepper};
    use crate::program::{Builder, Program};
    use crate::random::Random;

    const BATCH: usize = 128;
    const ASSETS: usize = 5;
    const STEPS: usize = 6;

    fn network() -> Arc<Program> {
        let mut builder = Builder::new();
        let x = builder.input("returns", &[STEPS, ASSETS]).unwrap();
        let mask = builder.input("mask", &[ASSETS]).unwrap();
        let states = builder.lstm("lstm", x, 16).unwrap();
        let last = builder.last(states).unwrap();
        let logits = builder.linear("head", last, ASSETS).unwrap();
        let weights = builder.masked_softmax(logits, mask).unwrap();
        Arc::new(builder.finish(weights).unwrap())
    }

    struct Data {
        x: Vec<f32>,
        mask: Vec<f32>,
        labels: Vec<f32>,
    }

    /// Noise, and tomorrow's return of an asset that is `signal` times today's, the rest noise.
    fn data(stream: u32, batch: usize, signal: f64) -> Data {
        let random = Random::new(9, stream, 0);
        let x: Vec<f32> = (0..(batch * STEPS * ASSETS) as u64).map(|place| random.normal(place) as f32).collect();
        let noise = Random::new(9, stream, 1);
        let labels = (0..batch * ASSETS)
            .map(|place| {
                let today = x[(place / ASSETS * STEPS + STEPS - 1) * ASSETS + place % ASSETS];
                (0.01 * (signal * f64::from(today) + noise.normal(place as u64))) as f32
            })
            .collect();
        Data { x, mask: vec![1.0; batch * ASSETS], labels }
    }

    fn stepper(micro_batch: usize) -> Stepper {
        Stepper::new(network(), Objective::Sharpe, AdamSettings::default(), 1.0, micro_batch, 5)
    }

    /// Parameters after an epoch of 4 batches.
    fn trained(micro_batch: usize) -> Vec<f32> {
        let mut stepper = stepper(micro_batch);
        for stream in 0..4 {
            let data = data(stream, BATCH, 0.5);
            stepper.step(&[&data.x, &data.mask], &data.labels, BATCH, 1e-2).unwrap();
        }
        stepper.parameters().to_vec()
    }

    #[test]
    fn micro_batches_of_any_size_give_the_same_parameters_to_rounding() {
        let whole = trained(BATCH);
        for micro_batch in [1, 4, 32, 50] {
            let parts = trained(micro_batch);
            let worst = parts.iter().zip(&whole).map(|(one, two)| (one - two).abs()).fold(0.0, f32::max);
            assert!(worst < 2e-4, "{micro_batch}: {worst}");
        }
        assert!(stepper(1).planned_bytes() < stepper(BATCH).planned_bytes() / 10);
    }

    /// The Sharpe ratio, a step, of fresh data after 60 steps of training.
    fn out_of_sample(signal: f64) -> f64 {
        let mut stepper = stepper(BATCH);
        for stream in 0..60 {
            let data = data(stream, BATCH, signal);
            stepper.step(&[&data.x, &data.mask], &data.labels, BATCH, 1e-2).unwrap();
        }
        let fresh = data(1000, 4000, signal);
        let weights = stepper.predict(&[&fresh.x, &fresh.mask], 4000);
        -stepper.loss(&weights, &fresh.labels).0
    }

    #[test]
    fn a_planted_signal_is_found_and_noise_is_not() {
        let (found, nothing) = (out_of_sample(0.5), out_of_sample(0.0));
        // With a correlation of 0.45 holding the best of five earns about 0.5 deviations a step; noise earns 0, give or take
        // 1/√4000 = 0.016.
        assert!(found > 0.4, "{found}");
        assert!(nothing.abs() < 0.06, "{nothing}");
    }

    #[test]
    fn a_loss_that_is_no_number_stops_before_the_parameters_move() {
        let mut stepper = stepper(BATCH);
        let before = stepper.parameters().to_vec();
        let mut data = data(0, BATCH, 0.5);
        data.x[7] = f32::NAN;
        let message = stepper.step(&[&data.x, &data.mask], &data.labels, BATCH, 1e-2).unwrap_err().to_string();
        assert!(message.contains("step 0: the loss is NaN"), "{message}");
        assert_eq!(stepper.parameters(), before);
    }

    #[test]
    fn what_is_masked_out_gets_nothing_and_a_missing_label_earns_nothing() {
        let mut stepper = stepper(BATCH);
        let mut data = data(0, BATCH, 0.5);
        data.mask.iter_mut().step_by(ASSETS).for_each(|mask| *mask = 0.0);
        data.labels[3] = f32::NAN;
        stepper.step(&[&data.x, &data.mask], &data.labels, BATCH, 1e-2).unwrap();
        let weights = stepper.predict(&[&data.x, &data.mask], BATCH);
        assert!(weights.iter().step_by(ASSETS).all(|weight| *weight == 0.0));
        assert!(weights.chunks(ASSETS).all(|row| (row.iter().sum::<f32>() - 1.0).abs() < 1e-5));
    }
}
