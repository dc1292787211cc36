//! One optimiser step over a whole batch, in micro-batches of any size: forward passes of all micro-batches, loss and
//! gradient of the whole batch, then their backward passes. With several micro-batches each forward pass is repeated
//! before its backward pass, so that the activations of only one micro-batch are in memory.

use std::ops::Range;
use std::sync::Arc;

use super::loss::{Chain, Loss, LossWorkspace, mean_square, portfolio_sharpe};
use super::loss_scale::LossScale;
use super::optimizer::{Adam, AdamSettings, clip};
use crate::error::{Code, Error, Result};
use crate::program::{MicroBatch, Plan, Program, Purpose, Replica};

/// The result of an optimiser step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StepOutcome {
    /// The loss of the whole batch before the step.
    pub loss: f64,
    /// The norm of the gradients before clipping; NaN if the step was skipped.
    pub norm: f64,
    /// Whether the step was skipped and the loss scale halved because a value overflowed half precision.
    pub skipped: bool,
}

/// The settings of an optimiser step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StepSettings {
    /// The loss. The Sharpe loss takes the output as weights `[…, assets]`, whose products with the labels are
    /// portfolio returns; the mean square takes it as forecasts of the labels.
    pub loss: Loss,
    /// Cost of Σ|Δw| between consecutive dates in the Sharpe loss, as a fraction; 0 for none.
    pub turnover: f64,
    /// The optimiser.
    pub adam: AdamSettings,
    /// The norm to which gradients are clipped.
    pub clip_norm: f64,
}

impl Default for StepSettings {
    fn default() -> Self {
        Self { loss: Loss::Sharpe, turnover: 0.0, adam: AdamSettings::default(), clip_norm: 1.0 }
    }
}

/// Gathers an input for a range of samples. The arguments are the index of the input, the range, and the values to
/// fill, `[samples, shape]`.
pub(crate) type GatherInput<'a> = dyn Fn(usize, Range<usize>, &mut [f32]) + 'a;

/// A batch of samples for one optimiser step.
#[derive(Clone, Copy)]
pub struct Batch<'a> {
    /// Number of samples.
    pub size: usize,
    /// Gathers their inputs.
    pub gather: &'a GatherInput<'a>,
    /// Their labels, `[samples, output shape]`. The Sharpe loss takes a non-finite label as a return of 0; the mean
    /// square ignores it.
    pub labels: &'a [f32],
    /// Which of them are consecutive dates, for turnover costs.
    pub chain: Option<Chain<'a>>,
}

/// A network under training: parameters, optimiser, and the memory of one micro-batch.
pub struct Stepper {
    program: Arc<Program>,
    plan: Arc<Plan>,
    replica: Replica,
    parameters: Vec<f32>,
    /// The parameters in half precision; empty in single precision.
    cast: Vec<f32>,
    gradients: Vec<f32>,
    adam: Adam,
    /// `None` in single precision.
    loss_scale: Option<LossScale>,
    settings: StepSettings,
    /// Output of a whole batch.
    output: Vec<f32>,
    /// Gradient of the loss with respect to `output`.
    output_grad: Vec<f32>,
    workspace: LossWorkspace,
}

fn purpose(recompute: bool) -> Purpose {
    if recompute { Purpose::TrainRecompute } else { Purpose::Train }
}

/// The parameters in the precision of the network.
fn used<'a>(cast: &'a [f32], parameters: &'a [f32]) -> &'a [f32] {
    if cast.is_empty() { parameters } else { cast }
}

/// Dates and assets in the output of one sample.
fn layout(program: &Program) -> (usize, usize) {
    match *program.output_shape() {
        [.., dates, assets] => (dates, assets),
        [assets] => (1, assets),
        [] => (1, 1),
    }
}

impl Stepper {
    /// A network with parameters initialised from `seed`. It trains on batches of at most `batch` samples, in
    /// micro-batches of `micro_batch`; with `recompute`, ops that can do so recompute activations instead of saving
    /// them.
    pub fn new(
        program: Arc<Program>,
        settings: StepSettings,
        batch: usize,
        micro_batch: usize,
        recompute: bool,
        seed: u64,
    ) -> Self {
        let half = program.is_half();
        let plan = Arc::new(program.plan(purpose(recompute), micro_batch));
        let replica = Replica::new(Arc::clone(&program), Arc::clone(&plan), seed);
        let parameters = replica.initial_parameters();
        let mut cast = vec![0.0; if half { parameters.len() } else { 0 }];
        if half {
            program.cast_parameters(&parameters, &mut cast);
        }
        let (dates, assets) = layout(&program);
        let elements = batch * dates * assets;
        Self {
            program,
            plan,
            replica,
            cast,
            gradients: vec![0.0; parameters.len()],
            adam: Adam::new(settings.adam, parameters.len()),
            parameters,
            loss_scale: half.then(LossScale::default),
            settings,
            output: vec![0.0; elements],
            output_grad: vec![0.0; elements],
            workspace: LossWorkspace::new(batch * dates, assets, settings.turnover > 0.0),
        }
    }

    /// The bytes that [`Stepper::new`] allocates.
    pub fn planned_bytes(
        program: &Program,
        settings: &StepSettings,
        batch: usize,
        micro_batch: usize,
        recompute: bool,
    ) -> usize {
        let (dates, assets) = layout(program);
        // The plan counts parameters and gradients; here come both moments, the cast parameters, output and its
        // gradient.
        let per_parameter = if program.is_half() { 3 } else { 2 };
        let elements = program.parameter_count() * per_parameter + 2 * batch * dates * assets;
        program.plan(purpose(recompute), micro_batch).bytes(1)
            + elements * size_of::<f32>()
            + LossWorkspace::planned_bytes(batch * dates, assets, settings.turnover > 0.0)
    }

    /// The bytes that it holds.
    pub fn bytes(&self) -> usize {
        let buffers = [&self.parameters, &self.cast, &self.gradients, &self.output, &self.output_grad];
        let buffers: usize = buffers.iter().map(|buffer| size_of_val(buffer.as_slice())).sum();
        self.replica.bytes() + buffers + self.adam.bytes() + self.workspace.bytes()
    }

    /// The master parameters, in the program's layout.
    pub fn parameters(&self) -> &[f32] {
        &self.parameters
    }

    /// The clipped gradients of the last step.
    pub fn gradients(&self) -> &[f32] {
        &self.gradients
    }

    /// Changes the master parameters.
    pub fn set_parameters(&mut self, set: impl FnOnce(&mut [f32])) {
        set(&mut self.parameters);
        self.update_cast();
    }

    fn update_cast(&mut self) {
        if !self.cast.is_empty() {
            self.program.cast_parameters(&self.parameters, &mut self.cast);
        }
    }

    /// The loss scale; `None` in single precision.
    pub fn loss_scale(&self) -> Option<LossScale> {
        self.loss_scale
    }

    /// Sets the loss scale, for example from a checkpoint. Does nothing in single precision.
    pub fn set_loss_scale(&mut self, scale: LossScale) {
        if self.loss_scale.is_some() {
            self.loss_scale = Some(scale);
        }
    }

    /// Samples per micro-batch.
    pub fn micro_batch(&self) -> usize {
        self.plan.batch()
    }

    /// The outputs of `samples` samples, `[samples, output shape]`, with inputs from `gather`.
    pub fn predict_with(&mut self, samples: usize, gather: &GatherInput) -> Vec<f32> {
        let mut out = Vec::new();
        for offset in (0..samples).step_by(self.plan.batch()) {
            let size = self.plan.batch().min(samples - offset);
            let micro_batch = MicroBatch { size, offset, training: false, step: 0 };
            self.gather(gather, micro_batch);
            out.extend_from_slice(self.replica.forward(used(&self.cast, &self.parameters), micro_batch));
        }
        out
    }

    /// The output of a batch, `[batch, output shape]`; `inputs` are `[batch, shape]` in the program's order.
    pub fn predict(&mut self, inputs: &[&[f32]], batch: usize) -> Vec<f32> {
        self.predict_with(batch, &gather_slices(inputs, batch))
    }

    /// Gathers the inputs of a micro-batch.
    fn gather(&mut self, gather: &GatherInput, micro_batch: MicroBatch) {
        let MicroBatch { size, offset, .. } = micro_batch;
        for input in 0..self.program.inputs().len() {
            gather(input, offset..offset + size, self.replica.input(input, size));
        }
    }

    /// The micro-batches of the next optimiser step.
    fn micro_batches(&self, batch: &Batch) -> impl Iterator<Item = MicroBatch> + use<> {
        let (largest, samples, step) = (self.plan.batch(), batch.size, self.adam.steps());
        (0..samples).step_by(largest).map(move |offset| {
            let size = largest.min(samples - offset);
            MicroBatch { size, offset, training: true, step }
        })
    }

    /// Takes an optimiser step on `batch` samples: `inputs` are `[batch, shape]` in the program's order, `labels`
    /// `[batch, output shape]`.
    ///
    /// # Errors
    /// Errors of [`Stepper::step_with`].
    pub fn step(&mut self, inputs: &[&[f32]], labels: &[f32], batch: usize, learning_rate: f64) -> Result<StepOutcome> {
        let gather = gather_slices(inputs, batch);
        self.step_with(&Batch { size: batch, gather: &gather, labels, chain: None }, learning_rate)
    }

    /// Takes an optimiser step.
    ///
    /// # Errors
    /// `InvalidData` if the loss or a gradient is non-finite, with the first op or input that is; the parameters stay
    /// as they were.
    pub fn step_with(&mut self, batch: &Batch, learning_rate: f64) -> Result<StepOutcome> {
        let elements: usize = self.program.output_shape().iter().product();
        for micro_batch in self.micro_batches(batch) {
            self.gather(batch.gather, micro_batch);
            let output = self.replica.forward(used(&self.cast, &self.parameters), micro_batch);
            self.output[micro_batch.offset * elements..][..output.len()].copy_from_slice(output);
        }
        let loss = self.loss(batch, elements);
        let scale = self.loss_scale.map_or(1.0, |scale| scale.scale());
        if self.loss_scale.is_some() {
            for value in &mut self.output_grad[..batch.size * elements] {
                *value = (f64::from(*value) * scale) as f32;
            }
        }
        if !loss.is_finite() {
            if self.lower_loss_scale() {
                return Ok(StepOutcome { loss, norm: f64::NAN, skipped: true });
            }
            return Err(self.non_finite(batch, &format!("the loss is {loss}")));
        }
        self.gradients.fill(0.0);
        for micro_batch in self.micro_batches(batch) {
            // The activations of a single micro-batch are still in memory.
            if batch.size > micro_batch.size {
                self.gather(batch.gather, micro_batch);
                self.replica.forward(used(&self.cast, &self.parameters), micro_batch);
            }
            let output_grad = &self.output_grad[micro_batch.offset * elements..][..micro_batch.size * elements];
            self.replica.backward(used(&self.cast, &self.parameters), output_grad, &mut self.gradients, micro_batch);
        }
        if self.loss_scale.is_some() {
            for gradient in &mut self.gradients {
                *gradient = (f64::from(*gradient) / scale) as f32;
            }
            if self.gradients.iter().any(|gradient| !gradient.is_finite()) && self.lower_loss_scale() {
                return Ok(StepOutcome { loss, norm: f64::NAN, skipped: true });
            }
        }
        for parameter in self.program.parameters() {
            let gradient = &self.gradients[parameter.offset..][..parameter.count()];
            if let Some(value) = gradient.iter().find(|value| !value.is_finite()) {
                let message = format!("a gradient of parameter '{}' is {value}", parameter.name);
                return Err(self.non_finite(batch, &message));
            }
        }
        let norm = clip(&mut self.gradients, self.settings.clip_norm);
        self.adam.step(&mut self.parameters, &self.gradients, learning_rate);
        self.update_cast();
        if let Some(scale) = &mut self.loss_scale {
            scale.update(false);
        }
        Ok(StepOutcome { loss, norm, skipped: false })
    }

    /// Handles a non-finite value: lowers the loss scale if it can, and returns whether it did.
    fn lower_loss_scale(&mut self) -> bool {
        let Some(scale) = self.loss_scale.as_mut().filter(|scale| !scale.is_min()) else { return false };
        scale.update(true);
        true
    }

    /// The loss of the whole batch; writes its gradient with respect to the output to `output_grad`.
    fn loss(&mut self, batch: &Batch, elements: usize) -> f64 {
        let output = &self.output[..batch.size * elements];
        let output_grad = &mut self.output_grad[..batch.size * elements];
        match self.settings.loss {
            Loss::MeanSquare => mean_square(output, batch.labels, output_grad),
            Loss::Sharpe => {
                let chain = batch.chain.filter(|_| self.settings.turnover > 0.0);
                let turnover = chain.map(|chain| (self.settings.turnover, chain));
                let layout = layout(&self.program);
                portfolio_sharpe(output, batch.labels, layout, turnover, &mut self.workspace, output_grad)
            }
        }
    }

    /// The error for a non-finite loss or gradient; reruns the batch to find where a non-finite value first appeared.
    fn non_finite(&mut self, batch: &Batch, message: &str) -> Error {
        let elements: usize = self.program.output_shape().iter().product();
        let mut source = None;
        for micro_batch in self.micro_batches(batch) {
            self.gather(batch.gather, micro_batch);
            let output_grad = &self.output_grad[micro_batch.offset * elements..][..micro_batch.size * elements];
            let parameters = used(&self.cast, &self.parameters);
            source = self.replica.first_non_finite(parameters, output_grad, &mut self.gradients, micro_batch);
            if source.is_some() {
                break;
            }
        }
        let source = source.map_or_else(String::new, |source| format!("; {source}"));
        Error::new(Code::InvalidData, format!("{message}{source}"))
    }
}

/// Gathers from inputs that are whole in memory, `[batch, shape]` each.
fn gather_slices<'a>(inputs: &'a [&'a [f32]], batch: usize) -> impl Fn(usize, Range<usize>, &mut [f32]) + 'a {
    move |input, samples, out| {
        let elements = inputs[input].len() / batch;
        out.copy_from_slice(&inputs[input][samples.start * elements..samples.end * elements]);
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

    /// Standard normal inputs, and labels that are `signal` times an asset's last input plus noise.
    fn data(stream: u32, batch: usize, signal: f64) -> Data {
        let random = Random::new(9, stream, 0);
        let x: Vec<f32> = (0..(batch * STEPS * ASSETS) as u64).map(|index| random.normal(index) as f32).collect();
        let noise = Random::new(9, stream, 1);
        let labels = (0..batch * ASSETS)
            .map(|index| {
                let last = x[(index / ASSETS * STEPS + STEPS - 1) * ASSETS + index % ASSETS];
                (0.01 * (signal * f64::from(last) + noise.normal(index as u64))) as f32
            })
            .collect();
        Data { x, mask: vec![1.0; batch * ASSETS], labels }
    }

    fn stepper(micro_batch: usize) -> Stepper {
        Stepper::new(network(), StepSettings::default(), BATCH, micro_batch, false, 5)
    }

    /// The parameters after 4 steps.
    fn trained(micro_batch: usize) -> Vec<f32> {
        let mut stepper = stepper(micro_batch);
        for stream in 0..4 {
            let data = data(stream, BATCH, 0.5);
            stepper.step(&[&data.x, &data.mask], &data.labels, BATCH, 1e-2).unwrap();
        }
        stepper.parameters().to_vec()
    }

    #[test]
    fn parameters_do_not_depend_on_the_micro_batch_except_for_rounding() {
        let whole = trained(BATCH);
        for micro_batch in [1, 4, 32, 50] {
            let parts = trained(micro_batch);
            let worst = parts.iter().zip(&whole).map(|(one, two)| (one - two).abs()).fold(0.0, f32::max);
            assert!(worst < 2e-4, "{micro_batch}: {worst}");
        }
        assert!(stepper(1).bytes() < stepper(BATCH).bytes() / 3, "{} {}", stepper(1).bytes(), stepper(BATCH).bytes());
    }

    /// The Sharpe ratio per date of unseen data after 60 steps of training.
    fn out_of_sample(signal: f64) -> f64 {
        let mut stepper = stepper(BATCH);
        for stream in 0..60 {
            let data = data(stream, BATCH, signal);
            stepper.step(&[&data.x, &data.mask], &data.labels, BATCH, 1e-2).unwrap();
        }
        let unseen = data(1000, 4000, signal);
        let weights = stepper.predict(&[&unseen.x, &unseen.mask], 4000);
        let returns: Vec<f64> = weights
            .chunks(ASSETS)
            .zip(unseen.labels.chunks(ASSETS))
            .map(|(weights, labels)| weights.iter().zip(labels).map(|(w, r)| f64::from(w * r)).sum())
            .collect();
        -crate::train::sharpe(&returns).0
    }

    #[test]
    fn training_finds_a_planted_signal_and_none_in_noise() {
        let (signal, noise) = (out_of_sample(0.5), out_of_sample(0.0));
        // With a correlation of 0.45, holding the best of five assets earns about 0.5 deviations per date. Noise earns
        // 0 with a standard error of 1/√4000 = 0.016.
        assert!(signal > 0.4, "{signal}");
        assert!(noise.abs() < 0.06, "{noise}");
    }

    #[test]
    fn a_non_finite_loss_is_an_error_that_leaves_the_parameters_as_they_were() {
        let mut stepper = stepper(BATCH);
        let before = stepper.parameters().to_vec();
        let mut data = data(0, BATCH, 0.5);
        data.x[7] = f32::NAN;
        let message = stepper.step(&[&data.x, &data.mask], &data.labels, BATCH, 1e-2).unwrap_err().to_string();
        assert_eq!(message, "the loss is NaN; input 'returns' has NaN");
        assert_eq!(stepper.parameters(), before);
    }

    #[test]
    fn masked_assets_get_no_weight_and_a_missing_label_counts_as_zero() {
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
