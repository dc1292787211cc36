//! One optimiser step over a whole batch, in micro-batches of any size: forward all, the loss and its gradient of the whole batch,
//! then backward each. Where there are several micro-batches each forward pass is done again before its backward pass, so
//! that only one of them is in memory.

use std::ops::Range;
use std::sync::Arc;

use super::loss::{Chain, LossWorkspace, mean_square, portfolio_sharpe};
use super::loss_scale::LossScale;
use super::optimizer::{Adam, AdamSettings, clip};
use super::settings::Loss;
use crate::error::{Code, Error, Result};
use crate::program::{MicroBatch, Plan, Program, Purpose, Replica};

/// What a step came to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StepOutcome {
    /// The loss of the whole batch, before the step.
    pub loss: f64,
    /// The norm of the gradients, before they were clipped.
    pub norm: f64,
    /// Whether a number overflowed half precision, so that no step was taken and the loss scale was halved.
    pub skipped: bool,
}

/// How a network is stepped.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StepSettings {
    /// What is made small. For the Sharpe ratio the output is weights, `[…, assets]`, and their product with the labels the
    /// portfolio's returns; for the mean square it is meant to be the labels.
    pub loss: Loss,
    /// Cost of Σ|Δw| between consecutive dates in the Sharpe loss, as a share; 0 for none.
    pub turnover: f64,
    /// The optimiser.
    pub adam: AdamSettings,
    /// Norm at which gradients are clipped.
    pub clip_norm: f64,
}

impl Default for StepSettings {
    fn default() -> Self {
        Self { loss: Loss::Sharpe, turnover: 0.0, adam: AdamSettings::default(), clip_norm: 1.0 }
    }
}

/// Fills an input of some samples of a batch, `[samples, shape]`: its number, the samples, where it goes.
pub type GatherInput<'a> = dyn Fn(usize, Range<usize>, &mut [f32]) + 'a;

/// What a step learns from.
#[derive(Clone, Copy)]
pub struct Batch<'a> {
    /// Samples.
    pub size: usize,
    /// Their inputs.
    pub fill: &'a GatherInput<'a>,
    /// Their labels, `[samples, output shape]`; one that is no number counts as a return of 0, or not at all.
    pub labels: &'a [f32],
    /// Which weights follow on which, where trading costs.
    pub chain: Option<Chain<'a>>,
}

/// A network under training: parameters, optimiser, and the memory of one micro-batch.
pub struct Stepper {
    program: Arc<Program>,
    plan: Arc<Plan>,
    replica: Replica,
    parameters: Vec<f32>,
    /// The parameters as products use them; empty where they are used as they are.
    cast: Vec<f32>,
    gradients: Vec<f32>,
    adam: Adam,
    /// Of half precision.
    scale: Option<LossScale>,
    settings: StepSettings,
    /// Output, and the loss's gradient with respect to it, of a whole batch.
    output: Vec<f32>,
    output_grad: Vec<f32>,
    room: LossWorkspace,
}

fn training(recompute: bool) -> Purpose {
    if recompute { Purpose::TrainRecompute } else { Purpose::Train }
}

/// The parameters that products use.
fn used<'a>(cast: &'a [f32], parameters: &'a [f32]) -> &'a [f32] {
    if cast.is_empty() { parameters } else { cast }
}

/// Dates and assets of one sample of a program's output.
fn layout(program: &Program) -> (usize, usize) {
    match *program.output_shape() {
        [.., dates, assets] => (dates, assets),
        [assets] => (1, assets),
        [] => (1, 1),
    }
}

impl Stepper {
    /// A network with parameters as `seed` begins them, trained in batches of at most `batch` samples, `micro_batch` of them at
    /// a time; with `recompute`, ops that can keep nothing for the backward pass.
    pub fn new(
        program: Arc<Program>,
        settings: StepSettings,
        batch: usize,
        micro_batch: usize,
        recompute: bool,
        seed: u64,
    ) -> Self {
        let half = program.is_half();
        let plan = Arc::new(program.plan(training(recompute), micro_batch));
        let replica = Replica::new(Arc::clone(&program), Arc::clone(&plan), seed);
        let parameters = replica.initial_parameters();
        let gradients = vec![0.0; parameters.len()];
        let adam = Adam::new(settings.adam, parameters.len());
        let (dates, assets) = layout(&program);
        let numbers = batch * dates * assets;
        let room = LossWorkspace::new(batch * dates, assets, settings.turnover > 0.0);
        let (output, output_grad) = (vec![0.0; numbers], vec![0.0; numbers]);
        let scale = half.then(LossScale::default);
        let mut cast = vec![0.0; if half { parameters.len() } else { 0 }];
        if half {
            program.cast_parameters(&parameters, &mut cast);
        }
        Self { program, plan, replica, parameters, cast, gradients, adam, scale, settings, output, output_grad, room }
    }

    /// Bytes that [`Stepper::new`] takes: arena, parameters and their halved copy, gradients, both moments, outputs of a batch and
    /// their slopes.
    pub fn planned_bytes(
        program: &Program,
        settings: &StepSettings,
        batch: usize,
        micro_batch: usize,
        recompute: bool,
    ) -> usize {
        let (dates, assets) = layout(program);
        let parameters = program.parameter_count() * if program.is_half() { 3 } else { 2 };
        let moments = parameters + 2 * batch * dates * assets;
        program.plan(training(recompute), micro_batch).bytes(1)
            + moments * size_of::<f32>()
            + LossWorkspace::planned_bytes(batch * dates, assets, settings.turnover > 0.0)
    }

    /// Bytes that it holds.
    pub fn bytes(&self) -> usize {
        let numbers = [&self.parameters, &self.cast, &self.gradients, &self.output, &self.output_grad];
        let numbers: usize = numbers.iter().map(|numbers| size_of_val(numbers.as_slice())).sum();
        self.replica.bytes() + numbers + self.adam.bytes() + self.room.bytes()
    }

    /// The parameters, laid out as the program says.
    pub fn parameters(&self) -> &[f32] {
        &self.parameters
    }

    /// The gradients of the last step, clipped.
    pub fn gradients(&self) -> &[f32] {
        &self.gradients
    }

    /// Sets the parameters.
    pub fn set_parameters(&mut self, set: impl FnOnce(&mut [f32])) {
        set(&mut self.parameters);
        self.cast();
    }

    fn cast(&mut self) {
        if !self.cast.is_empty() {
            self.program.cast_parameters(&self.parameters, &mut self.cast);
        }
    }

    /// The loss scale; `None` in single precision.
    pub fn loss_scale(&self) -> Option<LossScale> {
        self.scale
    }

    /// The loss scale, to be set, as a script or a checkpoint has it.
    pub fn set_loss_scale(&mut self, scale: LossScale) {
        if self.scale.is_some() {
            self.scale = Some(scale);
        }
    }

    /// Samples of a micro-batch.
    pub fn micro_batch(&self) -> usize {
        self.plan.batch()
    }

    /// The output of some samples, `[samples, output shape]`.
    pub fn predict_with(&mut self, samples: usize, fill: &GatherInput) -> Vec<f32> {
        let mut out = Vec::new();
        for first in (0..samples).step_by(self.plan.batch()) {
            let step =
                MicroBatch { size: self.plan.batch().min(samples - first), offset: first, training: false, step: 0 };
            self.fill(fill, step);
            out.extend_from_slice(self.replica.forward(used(&self.cast, &self.parameters), step));
        }
        out
    }

    /// The output of a batch, `[batch, output shape]`; `inputs` are `[batch, shape]` in the program's order.
    pub fn predict(&mut self, inputs: &[&[f32]], batch: usize) -> Vec<f32> {
        self.predict_with(batch, &of_slices(inputs, batch))
    }

    fn fill(&mut self, fill: &GatherInput, micro_batch: MicroBatch) {
        for place in 0..self.program.inputs().len() {
            let samples = micro_batch.offset..micro_batch.offset + micro_batch.size;
            fill(place, samples, self.replica.input(place, micro_batch.size));
        }
    }

    /// One step of the optimiser, from inputs and labels that lie in memory as a whole.
    ///
    /// # Errors
    /// As for [`Stepper::step_with`].
    pub fn step(&mut self, inputs: &[&[f32]], labels: &[f32], batch: usize, learning_rate: f64) -> Result<StepOutcome> {
        let fill = of_slices(inputs, batch);
        self.step_with(&Batch { size: batch, fill: &fill, labels, chain: None }, learning_rate)
    }

    /// One step of the optimiser.
    ///
    /// # Errors
    /// `InvalidData` where the loss or a gradient is no number, naming the op that first gave one, or the input that held one;
    /// the parameters are then as before.
    pub fn step_with(&mut self, batch: &Batch, learning_rate: f64) -> Result<StepOutcome> {
        let (micro, number) = (self.plan.batch(), self.adam.steps());
        let part = |first: usize| MicroBatch {
            size: micro.min(batch.size - first),
            offset: first,
            training: true,
            step: number,
        };
        let count: usize = self.program.output_shape().iter().product();
        for first in (0..batch.size).step_by(micro) {
            let step = part(first);
            self.fill(batch.fill, step);
            let output = self.replica.forward(used(&self.cast, &self.parameters), step);
            self.output[first * count..][..output.len()].copy_from_slice(output);
        }
        let loss = self.loss(batch, count);
        let scale = self.scale.map_or(1.0, |scale| scale.scale());
        if self.scale.is_some() {
            for slope in &mut self.output_grad[..batch.size * count] {
                *slope = (f64::from(*slope) * scale) as f32;
            }
        }
        if !loss.is_finite() {
            if self.overflowed() {
                return Ok(StepOutcome { loss, norm: f64::NAN, skipped: true });
            }
            return Err(self.fault(batch, number, &format!("the loss is {loss}")));
        }
        self.gradients.fill(0.0);
        for first in (0..batch.size).step_by(micro) {
            let step = part(first);
            // One micro-batch alone is still there.
            if batch.size > micro {
                self.fill(batch.fill, step);
                self.replica.forward(used(&self.cast, &self.parameters), step);
            }
            let output_grad = &self.output_grad[first * count..][..step.size * count];
            self.replica.backward(used(&self.cast, &self.parameters), output_grad, &mut self.gradients, step);
        }
        if self.scale.is_some() {
            for gradient in &mut self.gradients {
                *gradient = (f64::from(*gradient) / scale) as f32;
            }
            if self.gradients.iter().any(|gradient| !gradient.is_finite()) && self.overflowed() {
                return Ok(StepOutcome { loss, norm: f64::NAN, skipped: true });
            }
        }
        for parameter in self.program.parameters() {
            let gradient = &self.gradients[parameter.offset..][..parameter.count()];
            if let Some(found) = gradient.iter().find(|value| !value.is_finite()) {
                let told = format!("a gradient of parameter '{}' is {found}", parameter.name);
                return Err(self.fault(batch, number, &told));
            }
        }
        let norm = clip(&mut self.gradients, self.settings.clip_norm);
        self.adam.step(&mut self.parameters, &self.gradients, learning_rate);
        self.cast();
        if let Some(scale) = &mut self.scale {
            scale.update(false);
        }
        Ok(StepOutcome { loss, norm, skipped: false })
    }

    /// A number that was none: whether a smaller loss scale may help, which is then set.
    fn overflowed(&mut self) -> bool {
        let helps = self.scale.is_some_and(|scale| !scale.is_least());
        if let Some(scale) = self.scale.as_mut().filter(|_| helps) {
            scale.update(true);
        }
        helps
    }

    /// The loss of the whole batch; its gradient with respect to the output goes to `output_grad`.
    fn loss(&mut self, batch: &Batch, count: usize) -> f64 {
        let output = &self.output[..batch.size * count];
        let output_grad = &mut self.output_grad[..batch.size * count];
        match self.settings.loss {
            Loss::MeanSquare => mean_square(output, batch.labels, output_grad),
            Loss::Sharpe => {
                let trading = batch.chain.filter(|_| self.settings.turnover > 0.0);
                let trading = trading.map(|chain| (self.settings.turnover, chain));
                portfolio_sharpe(output, batch.labels, layout(&self.program), trading, &mut self.room, output_grad)
            }
        }
    }

    /// Goes through the batch again to find where a number first was none.
    fn fault(&mut self, batch: &Batch, number: u32, told: &str) -> Error {
        let (micro, count) = (self.plan.batch(), self.program.output_shape().iter().product::<usize>());
        let mut found = None;
        for first in (0..batch.size).step_by(micro) {
            let step = MicroBatch { size: micro.min(batch.size - first), offset: first, training: true, step: number };
            self.fill(batch.fill, step);
            let output_grad = &self.output_grad[first * count..][..step.size * count];
            found = self.replica.first_non_finite(
                used(&self.cast, &self.parameters),
                output_grad,
                &mut self.gradients,
                step,
            );
            if found.is_some() {
                break;
            }
        }
        let place = found.map_or_else(String::new, |found| format!("; {found}"));
        Error::new(Code::InvalidData, format!("{told}{place}"))
    }
}

/// Inputs that lie in memory as a whole, `[batch, shape]` each.
fn of_slices<'a>(inputs: &'a [&'a [f32]], batch: usize) -> impl Fn(usize, Range<usize>, &mut [f32]) + 'a {
    move |place, samples, out| {
        let count = inputs[place].len() / batch;
        out.copy_from_slice(&inputs[place][samples.start * count..samples.end * count]);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::{StepSettings, Stepper};
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
        Stepper::new(network(), StepSettings::default(), BATCH, micro_batch, false, 5)
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
        assert!(stepper(1).bytes() < stepper(BATCH).bytes() / 3, "{} {}", stepper(1).bytes(), stepper(BATCH).bytes());
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
        let returns: Vec<f64> = weights
            .chunks(ASSETS)
            .zip(fresh.labels.chunks(ASSETS))
            .map(|(weights, labels)| weights.iter().zip(labels).map(|(w, r)| f64::from(w * r)).sum())
            .collect();
        -crate::train::sharpe(&returns).0
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
        assert_eq!(message, "the loss is NaN; input 'returns' has NaN");
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
