//! A network under training outside a run, with inputs that are handed over with every batch: for tests, benches and
//! memory figures. It takes the steps that an engine takes.

use std::ops::Range;
use std::sync::Arc;

use super::step::{Samples, StepOutcome, StepPlan, Workspace, parts};
use crate::device::Team;
use crate::engine::{AdamSettings, Hyperparameters, LossScale, State};
use crate::error::Result;
use crate::objective::{Chain, Objective};
use crate::program::Program;

/// The settings of an optimiser step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StepSettings {
    /// The objective.
    pub objective: Objective,
    /// Cost of Σ|Δw| between consecutive dates in the loss, as a fraction; 0 for none.
    pub turnover: f64,
    /// The optimiser.
    pub adam: AdamSettings,
    /// The norm to which gradients are clipped.
    pub clip_norm: f64,
}

impl Default for StepSettings {
    fn default() -> Self {
        Self { objective: Objective::Sharpe, turnover: 0.0, adam: AdamSettings::default(), clip_norm: 1.0 }
    }
}

/// Gathers an input for a range of samples. The arguments are the index of the input, the range, and the values to
/// fill, `[samples, shape]`.
pub(crate) type GatherInput<'a> = dyn Fn(usize, Range<usize>, &mut [f32]) + Sync + 'a;

/// A batch of samples for one optimiser step.
#[derive(Clone, Copy)]
pub struct Batch<'a> {
    /// Number of samples.
    pub size: usize,
    /// Gathers their inputs.
    pub gather: &'a GatherInput<'a>,
    /// Their labels, `[samples, output shape]`; empty for a prediction.
    pub labels: &'a [f32],
    /// Which of them are consecutive dates, for turnover costs.
    pub chain: Option<Chain<'a>>,
}

impl Samples for Batch<'_> {
    fn size(&self) -> usize {
        self.size
    }

    fn input(&self, input: usize, samples: Range<usize>, out: &mut [f32]) {
        (self.gather)(input, samples, out);
    }

    fn labels(&self, samples: Range<usize>, out: &mut [f32]) {
        let elements = self.labels.len() / self.size;
        out.copy_from_slice(&self.labels[samples.start * elements..samples.end * elements]);
    }

    fn slots(&self, sample: usize) -> &[i32] {
        self.chain.map_or(&[], |chain| chain.slots[sample])
    }

    fn is_consecutive(&self, sample: usize) -> bool {
        self.chain.is_some_and(|chain| chain.consecutive[sample])
    }
}

/// A network under training: its state, and the memory of one replica.
pub struct Stepper {
    program: Arc<Program>,
    plan: StepPlan,
    state: State,
    workspace: Workspace,
    settings: Hyperparameters,
    team: Arc<Team>,
}

impl Stepper {
    /// A network with parameters initialised from `seed`. It trains on batches of at most `batch` samples, in
    /// micro-batches of at most `micro_batch`; with `recompute`, ops that can do so recompute activations instead of
    /// saving them. All parts of a batch are in memory at once.
    pub fn new(
        program: Arc<Program>,
        settings: StepSettings,
        batch: usize,
        micro_batch: usize,
        recompute: bool,
        seed: u64,
    ) -> Self {
        let StepSettings { objective, turnover, adam, clip_norm } = settings;
        let plan = plan_of(batch, micro_batch, recompute);
        let state = State::initial(&program, seed);
        let mut workspace = Workspace::new(Arc::clone(&program), objective, plan, turnover > 0.0);
        let scalars = program.scalars();
        let settings = Hyperparameters { seed, adam, clip_norm, turnover, scalars };
        workspace.begin(&settings, &state);
        Self { program, plan, state, workspace, settings, team: Arc::new(Team::alone()) }
    }

    /// Spreads the parts of a batch over the threads of `parallel`.
    #[must_use]
    pub fn on(mut self, parallel: Arc<dyn crate::device::Parallel>) -> Self {
        let threads = parallel.threads();
        self.team = Arc::new(Team::new(parallel, threads));
        self
    }

    /// The bytes that [`Stepper::new`] allocates.
    pub fn planned_bytes(
        program: &Program,
        settings: &StepSettings,
        batch: usize,
        micro_batch: usize,
        recompute: bool,
    ) -> usize {
        let plan = plan_of(batch, micro_batch, recompute);
        State::planned_bytes(program)
            + Workspace::planned_bytes(program, settings.objective, plan, settings.turnover > 0.0)
    }

    /// The master parameters, in the program's layout.
    pub fn parameters(&self) -> &[f32] {
        &self.state.parameters
    }

    /// The clipped gradients of the last step.
    pub fn gradients(&self) -> &[f32] {
        &self.workspace.gradients
    }

    /// Changes the master parameters.
    pub fn set_parameters(&mut self, set: impl FnOnce(&mut [f32])) {
        set(&mut self.state.parameters);
        self.workspace.begin(&self.settings, &self.state);
    }

    /// The loss scale; `None` in single precision.
    pub fn loss_scale(&self) -> Option<LossScale> {
        self.state.loss_scale
    }

    /// Sets the loss scale, for example from a checkpoint. Does nothing in single precision.
    pub fn set_loss_scale(&mut self, scale: LossScale) {
        if self.state.loss_scale.is_some() {
            self.state.loss_scale = Some(scale);
        }
    }

    /// Samples per micro-batch, at most.
    pub fn micro_batch(&self) -> usize {
        self.plan.micro_batch
    }

    /// The output of a batch, `[batch, output shape]`; `inputs` are `[batch, shape]` in the program's order.
    pub fn predict(&mut self, inputs: &[&[f32]], batch: usize) -> Vec<f32> {
        let gather = gather_slices(inputs, batch);
        let elements: usize = self.program.output_shape().iter().product();
        let mut out = vec![0.0; batch * elements];
        let samples = Batch { size: batch, gather: &gather, labels: &[], chain: None };
        // Nothing stops it.
        let _ = self.workspace.predict(&self.state, &samples, &mut out, (&*self.team, &|| false));
        out
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
        let threads = (&*self.team as &dyn crate::device::Parallel, &(|| false) as &crate::engine::Stop);
        self.workspace.step(&mut self.state, &self.settings, batch, learning_rate, threads)
    }
}

fn plan_of(batch: usize, micro_batch: usize, recompute: bool) -> StepPlan {
    let whole = StepPlan::whole(batch);
    StepPlan { micro_batch: micro_batch.min(whole.micro_batch), recompute, lanes: parts(batch), ..whole }
}

/// Gathers from inputs that are whole in memory, `[batch, shape]` each.
fn gather_slices<'a>(inputs: &'a [&'a [f32]], batch: usize) -> impl Fn(usize, Range<usize>, &mut [f32]) + Sync + 'a {
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
        let bytes = |micro_batch| stepper(micro_batch).workspace.bytes();
        assert!(bytes(1) < bytes(BATCH) / 3, "{} {}", bytes(1), bytes(BATCH));
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
        -crate::objective::sharpe(&returns).0
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
