//! One optimiser step over a whole batch: forward passes, loss and gradient of the whole batch, backward passes, then
//! the update of the parameters.
//!
//! The batch is cut into parts of a fixed size that threads share, and each part runs in micro-batches of the planned
//! size. The gradients of a part begin at 0 and are added to those of the parts before it, in order, so no bit depends
//! on how many threads there are or how many parts are in memory at once. Where each part is one micro-batch and all are
//! in memory, activations stay there from the forward to the backward pass; otherwise each forward pass is repeated
//! before its backward pass.

use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use super::replica::{MicroBatch, Replica};
use super::target::ELEMENT;
use crate::device::Parallel;
use crate::engine::optimizer::{AdamStep, clip_factor, sum_of_squares};
use crate::engine::{Hyperparameters, State, Stop};
use crate::error::{Code, Error, Result, fail};
use crate::objective::{BatchOutput, Chain, LossWorkspace, Objective};
use crate::program::{Program, Purpose};

/// Samples of a part of a batch. Larger parts use a core better, smaller ones use more cores.
pub(crate) const PART: usize = 32;
/// Elements of parameters that a thread updates together.
const CHUNK: usize = 1 << 14;

/// How a batch passes through the memory of one replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StepPlan {
    /// Samples of an optimiser step.
    pub(crate) batch: usize,
    /// Most samples of a micro-batch.
    pub(crate) micro_batch: usize,
    /// Whether ops that can do so recompute activations in the backward pass instead of saving them.
    pub(crate) recompute: bool,
    /// Micro-batches in memory at once, at most the parts of a batch.
    pub(crate) lanes: usize,
    /// Most distinct rows of a plane that samples see; 0 where their dates are not known.
    pub(crate) date_rows: usize,
}

/// Parts that a batch is cut into.
pub(crate) fn parts(batch: usize) -> usize {
    batch.div_ceil(PART).max(1)
}

/// The samples of a part of a batch.
fn part(batch: usize, index: usize) -> Range<usize> {
    let parts = parts(batch);
    index * batch / parts..(index + 1) * batch / parts
}

/// Samples of the largest part of a batch.
pub(crate) fn largest_part(batch: usize) -> usize {
    batch.div_ceil(parts(batch))
}

impl StepPlan {
    /// The plan without any saving: every part is in memory at once.
    pub(crate) fn whole(batch: usize) -> Self {
        Self { batch, micro_batch: largest_part(batch), recompute: false, lanes: parts(batch), date_rows: 0 }
    }

    fn purpose(self) -> Purpose {
        if self.recompute { Purpose::TrainRecompute } else { Purpose::Train }
    }

    /// Whether activations of a batch of `size` samples stay in memory from the forward to the backward pass.
    fn keeps_activations(self, size: usize) -> bool {
        self.lanes >= parts(size) && self.micro_batch >= largest_part(size)
    }
}

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

/// Samples that pass through a network together. Indices count from the first of them.
pub(crate) trait Samples: Sync {
    /// Number of samples.
    fn size(&self) -> usize;

    /// Fills an input, given by its index, for a range of samples, `[samples, shape]`.
    fn input(&self, input: usize, samples: Range<usize>, out: &mut [f32]);

    /// Writes the labels of a range of samples, `[samples, output shape]`; non-finite where missing.
    fn labels(&self, samples: Range<usize>, out: &mut [f32]);

    /// The assignment of assets to slots and the as-of row of a sample, where they are known.
    fn date(&self, _sample: usize) -> Option<(u32, u32)> {
        None
    }

    /// The column of the asset in each slot of a sample.
    fn slots(&self, sample: usize) -> &[i32];

    /// Whether the date of a sample comes directly after that of the sample before it.
    fn is_consecutive(&self, sample: usize) -> bool;
}

/// Memory for one micro-batch.
struct Lane {
    replica: Replica,
    /// Parameter gradients of the part under way.
    gradients: Vec<f32>,
}

/// The memory that one replica of a program trains in. Replicas that train one after another share it.
pub(crate) struct Workspace {
    program: Arc<Program>,
    objective: Objective,
    plan: StepPlan,
    lanes: Vec<Mutex<Lane>>,
    /// The parameters in half precision; empty in single precision.
    cast: Vec<f32>,
    /// Parameter gradients of the whole batch.
    pub(super) gradients: Vec<f32>,
    /// Output of a whole batch.
    output: Vec<f32>,
    /// Gradient of the loss with respect to `output`.
    output_grad: Vec<f32>,
    labels: Vec<f32>,
    loss: LossWorkspace,
}

/// Dates and assets in the output of one sample.
pub(crate) fn layout(program: &Program) -> (usize, usize) {
    match *program.output_shape() {
        [.., dates, assets] => (dates, assets),
        [assets] => (1, assets),
        [] => (1, 1),
    }
}

fn output_elements(program: &Program) -> usize {
    program.output_shape().iter().product()
}

/// The parameters in the precision of the network.
fn used<'a>(cast: &'a [f32], parameters: &'a [f32]) -> &'a [f32] {
    if cast.is_empty() { parameters } else { cast }
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Splits a buffer of `[samples, elements]` at the parts of `0..size`.
fn split_parts(buffer: &mut [f32], size: usize, elements: usize) -> Vec<Mutex<&mut [f32]>> {
    let mut rest = buffer;
    let mut split = |part: Range<usize>| {
        let (first, behind) = std::mem::take(&mut rest).split_at_mut(part.len() * elements);
        rest = behind;
        Mutex::new(first)
    };
    (0..parts(size)).map(|index| split(part(size, index))).collect()
}

/// Calls `body` with each chunk of the parameters, on the threads of `team`.
fn for_each_chunk(team: &dyn Parallel, count: usize, body: &(dyn Fn(Range<usize>) + Sync)) {
    team.for_each(count.div_ceil(CHUNK), &|chunk| body(chunk * CHUNK..count.min((chunk + 1) * CHUNK)));
}

/// A slice whose chunks are written by different threads.
fn chunks(values: &mut [f32]) -> Vec<Mutex<&mut [f32]>> {
    values.chunks_mut(CHUNK).map(Mutex::new).collect()
}

impl Workspace {
    /// Allocates the memory of a plan.
    pub(crate) fn new(program: Arc<Program>, objective: Objective, plan: StepPlan, turnover: bool) -> Self {
        let memory = Arc::new(program.plan_by_date(plan.purpose(), plan.micro_batch, plan.date_rows));
        let parameters = program.parameter_count();
        let lane = |_| {
            let replica = Replica::new(Arc::clone(&program), Arc::clone(&memory), 0);
            Mutex::new(Lane { replica, gradients: vec![0.0; parameters] })
        };
        let (dates, assets) = layout(&program);
        let elements = plan.batch * output_elements(&program);
        Self {
            lanes: (0..plan.lanes).map(lane).collect(),
            cast: vec![0.0; if program.is_half() { parameters } else { 0 }],
            gradients: vec![0.0; parameters],
            output: vec![0.0; elements],
            output_grad: vec![0.0; elements],
            labels: vec![0.0; elements],
            loss: LossWorkspace::new(objective, plan.batch * dates, assets, turnover),
            program,
            objective,
            plan,
        }
    }

    /// The bytes that [`Workspace::new`] allocates.
    pub(crate) fn planned_bytes(program: &Program, objective: Objective, plan: StepPlan, turnover: bool) -> usize {
        let parameters = program.parameter_count() * ELEMENT;
        let lane = program.plan_by_date(plan.purpose(), plan.micro_batch, plan.date_rows).bytes() + parameters;
        let own = parameters * if program.is_half() { 2 } else { 1 };
        let (dates, assets) = layout(program);
        let output = 3 * plan.batch * output_elements(program) * ELEMENT;
        plan.lanes * lane + own + output + LossWorkspace::planned_bytes(objective, plan.batch * dates, assets, turnover)
    }

    /// The bytes that it holds.
    pub(crate) fn bytes(&self) -> usize {
        let lane = |lane: &Mutex<Lane>| {
            let lane = locked(lane);
            lane.replica.bytes() + size_of_val(lane.gradients.as_slice())
        };
        let own = [&self.cast, &self.gradients, &self.output, &self.output_grad, &self.labels];
        let own: usize = own.iter().map(|values| size_of_val(values.as_slice())).sum();
        self.lanes.iter().map(lane).sum::<usize>() + own + self.loss.bytes()
    }

    /// Takes over a replica: its seed, scalars and parameters.
    pub(crate) fn begin(&mut self, hyperparameters: &Hyperparameters, state: &State) {
        for lane in &self.lanes {
            locked(lane).replica.become_replica(hyperparameters.seed, &hyperparameters.scalars);
        }
        self.update_cast(state);
    }

    fn update_cast(&mut self, state: &State) {
        if !self.cast.is_empty() {
            self.program.cast_parameters(&state.parameters, &mut self.cast);
        }
    }

    /// The micro-batches of a part.
    fn micro_batches(&self, part: Range<usize>, training: bool, step: u32) -> impl Iterator<Item = MicroBatch> + use<> {
        let largest = self.plan.micro_batch;
        part.clone().step_by(largest).map(move |offset| {
            let size = largest.min(part.end - offset);
            MicroBatch { size, offset, training, step }
        })
    }

    /// Fills the inputs of a micro-batch.
    fn gather(&self, lane: &mut Lane, samples: &dyn Samples, micro_batch: MicroBatch) {
        let MicroBatch { size, offset, .. } = micro_batch;
        for input in 0..self.program.inputs().len() {
            samples.input(input, offset..offset + size, lane.replica.input(input, size));
        }
        if self.plan.date_rows > 0 {
            lane.replica.set_dates((offset..offset + size).map_while(|sample| samples.date(sample)));
        }
    }

    /// Calls `body` with each part of `0..size` and a lane of its own, on the threads of `team`; part i runs in lane
    /// i modulo lanes. Calls `after` whenever all lanes have been used, with the parts that they hold.
    fn for_each_part(
        &self,
        team: &dyn Parallel,
        size: usize,
        body: &(dyn Fn(&mut Lane, usize, Range<usize>) + Sync),
        mut after: impl FnMut(&[Mutex<Lane>]),
    ) {
        let (count, lanes) = (parts(size), self.lanes.len());
        for first in (0..count).step_by(lanes) {
            let held = lanes.min(count - first);
            team.for_each(held, &|lane| {
                let index = first + lane;
                body(&mut locked(&self.lanes[lane]), index, part(size, index));
            });
            after(&self.lanes[..held]);
        }
    }

    /// Forward passes of all samples; writes their outputs, `[samples, output shape]`. Returns whether it got to the
    /// end.
    fn forward(
        &self,
        team: &dyn Parallel,
        parameters: &[f32],
        samples: &dyn Samples,
        (training, step): (bool, u32),
        (output, stop): (&mut [f32], &Stop),
    ) -> bool {
        let elements = output_elements(&self.program);
        let output = split_parts(output, samples.size(), elements);
        let stopped = std::sync::atomic::AtomicBool::new(false);
        let parameters = used(&self.cast, parameters);
        self.for_each_part(
            team,
            samples.size(),
            &|lane, index, part| {
                let mut output = locked(&output[index]);
                for micro_batch in self.micro_batches(part.clone(), training, step) {
                    self.gather(lane, samples, micro_batch);
                    if !lane.replica.forward_until(parameters, micro_batch, stop) {
                        stopped.store(true, std::sync::atomic::Ordering::Relaxed);
                        return;
                    }
                    let into = &mut output[(micro_batch.offset - part.start) * elements..];
                    let from = lane.replica.output(micro_batch);
                    into[..from.len()].copy_from_slice(from);
                }
            },
            |_| (),
        );
        !stopped.into_inner()
    }

    /// The outputs of samples without training, `[samples, output shape]`.
    ///
    /// # Errors
    /// `Cancelled` if `stop` returned true.
    pub(crate) fn predict(
        &self,
        state: &State,
        samples: &dyn Samples,
        out: &mut [f32],
        (team, stop): (&dyn Parallel, &Stop),
    ) -> Result<()> {
        if !self.forward(team, &state.parameters, samples, (false, 0), (out, stop)) {
            return Err(cancelled());
        }
        Ok(())
    }

    /// Takes an optimiser step on samples.
    ///
    /// # Errors
    /// `InvalidData` if the loss or a gradient is non-finite, with the first op or input that is; `Cancelled` if `stop`
    /// returned true. The state stays as it was.
    pub(crate) fn step(
        &mut self,
        state: &mut State,
        settings: &Hyperparameters,
        samples: &dyn Samples,
        learning_rate: f64,
        (team, stop): (&dyn Parallel, &Stop),
    ) -> Result<StepOutcome> {
        let elements = samples.size() * output_elements(&self.program);
        let mut output = std::mem::take(&mut self.output);
        let passed =
            self.forward(team, &state.parameters, samples, (true, state.steps), (&mut output[..elements], stop));
        self.output = output;
        if !passed {
            return Err(cancelled());
        }
        let loss = self.loss(settings, samples, team);
        let scale = state.loss_scale.map_or(1.0, |scale| scale.scale());
        if state.loss_scale.is_some() {
            for value in &mut self.output_grad[..elements] {
                *value = (f64::from(*value) * scale) as f32;
            }
        }
        if !loss.is_finite() {
            if lower_loss_scale(state) {
                return Ok(StepOutcome { loss, norm: f64::NAN, skipped: true });
            }
            return Err(self.non_finite(state, samples, &format!("the loss is {loss}")));
        }
        if !self.backward(team, state, samples, stop) {
            return Err(cancelled());
        }
        let Some(norm) = self.unscale(team, (scale != 1.0).then_some(scale)) else {
            if lower_loss_scale(state) {
                return Ok(StepOutcome { loss, norm: f64::NAN, skipped: true });
            }
            let message = self.non_finite_gradient();
            return Err(self.non_finite(state, samples, &message));
        };
        self.update(team, state, settings, norm, learning_rate);
        self.update_cast(state);
        if let Some(scale) = &mut state.loss_scale {
            scale.update(false);
        }
        Ok(StepOutcome { loss, norm, skipped: false })
    }

    /// Loss of the whole batch and its gradient with respect to the output.
    fn loss(&mut self, settings: &Hyperparameters, samples: &dyn Samples, team: &dyn Parallel) -> f64 {
        let (size, per_sample) = (samples.size(), output_elements(&self.program));
        let elements = size * per_sample;
        let labels = split_parts(&mut self.labels[..elements], size, per_sample);
        team.for_each(labels.len(), &|index| samples.labels(part(size, index), &mut locked(&labels[index])));
        let (mut slots, mut consecutive): (Vec<&[i32]>, Vec<bool>) = (Vec::new(), Vec::new());
        if settings.turnover > 0.0 {
            slots.extend((0..size).map(|sample| samples.slots(sample)));
            consecutive.extend((0..size).map(|sample| samples.is_consecutive(sample)));
        }
        let chain = Chain { slots: &slots, consecutive: &consecutive };
        let batch = BatchOutput {
            output: &self.output[..elements],
            labels: &self.labels[..elements],
            layout: layout(&self.program),
            turnover: (settings.turnover > 0.0).then_some((settings.turnover, chain)),
        };
        self.objective.loss(&batch, &mut self.loss, &mut self.output_grad[..elements])
    }

    /// Backward passes of all samples: writes the gradients of the whole batch. Returns whether it got to the end.
    fn backward(&mut self, team: &dyn Parallel, state: &State, samples: &dyn Samples, stop: &Stop) -> bool {
        let mut gradients = std::mem::take(&mut self.gradients);
        gradients.fill(0.0);
        let (size, elements) = (samples.size(), output_elements(&self.program));
        let kept = self.plan.keeps_activations(size);
        let stopped = std::sync::atomic::AtomicBool::new(false);
        let parameters = used(&self.cast, &state.parameters);
        let count = gradients.len();
        self.for_each_part(
            team,
            size,
            &|lane, _, part| {
                lane.gradients.fill(0.0);
                for micro_batch in self.micro_batches(part, true, state.steps) {
                    if !kept {
                        self.gather(lane, samples, micro_batch);
                    }
                    let Lane { replica, gradients } = lane;
                    let output_grad = &self.output_grad[micro_batch.offset * elements..][..micro_batch.size * elements];
                    let passed = (kept || replica.forward_until(parameters, micro_batch, stop))
                        && replica.backward_until(parameters, output_grad, gradients, micro_batch, stop);
                    if !passed {
                        stopped.store(true, std::sync::atomic::Ordering::Relaxed);
                        return;
                    }
                }
            },
            |lanes| {
                let parts: Vec<_> = lanes.iter().map(locked).collect();
                let parts: Vec<&[f32]> = parts.iter().map(|lane| lane.gradients.as_slice()).collect();
                let sums = chunks(&mut gradients);
                for_each_chunk(team, count, &|range| {
                    let mut sums = locked(&sums[range.start / CHUNK]);
                    for part in &parts {
                        sums.iter_mut().zip(&part[range.clone()]).for_each(|(sum, value)| *sum += value);
                    }
                });
            },
        );
        self.gradients = gradients;
        !stopped.into_inner()
    }

    /// Divides the gradients by the loss scale and returns their norm; `None` if one is non-finite.
    fn unscale(&mut self, team: &dyn Parallel, scale: Option<f64>) -> Option<f64> {
        let count = self.gradients.len();
        let squares: Vec<Mutex<f64>> = (0..count.div_ceil(CHUNK)).map(|_| Mutex::new(0.0)).collect();
        let gradients = chunks(&mut self.gradients);
        for_each_chunk(team, count, &|range| {
            let mut gradients = locked(&gradients[range.start / CHUNK]);
            if let Some(scale) = scale {
                gradients.iter_mut().for_each(|gradient| *gradient = (f64::from(*gradient) / scale) as f32);
            }
            *locked(&squares[range.start / CHUNK]) = sum_of_squares(&gradients);
        });
        // In order, and a square of a finite single-precision value is finite in double precision.
        let sum: f64 = squares.iter().map(|square| *locked(square)).sum();
        sum.is_finite().then(|| sum.sqrt())
    }

    /// Clips the gradients and updates parameters and moments.
    fn update(
        &mut self,
        team: &dyn Parallel,
        state: &mut State,
        settings: &Hyperparameters,
        norm: f64,
        learning_rate: f64,
    ) {
        state.steps += 1;
        let adam = AdamStep::new(settings.adam, state.steps, learning_rate);
        let factor = clip_factor(norm, settings.clip_norm);
        let count = self.gradients.len();
        let gradients = chunks(&mut self.gradients);
        let [parameters, first, second] =
            [&mut state.parameters, &mut state.first, &mut state.second].map(|values| chunks(values));
        for_each_chunk(team, count, &|range| {
            let chunk = range.start / CHUNK;
            let mut gradients = locked(&gradients[chunk]);
            if factor < 1.0 {
                gradients.iter_mut().for_each(|gradient| *gradient *= factor);
            }
            let (mut first, mut second) = (locked(&first[chunk]), locked(&second[chunk]));
            adam.apply(&mut locked(&parameters[chunk]), &gradients, &mut first, &mut second);
        });
    }

    /// Names the first parameter with a non-finite gradient.
    fn non_finite_gradient(&self) -> String {
        for parameter in self.program.parameters() {
            let gradient = &self.gradients[parameter.offset..][..parameter.count()];
            if let Some(value) = gradient.iter().find(|value| !value.is_finite()) {
                return format!("a gradient of parameter '{}' is {value}", parameter.name);
            }
        }
        "a gradient is non-finite".to_owned()
    }

    /// The error for a non-finite loss or gradient; reruns the batch to find where a non-finite value first appeared.
    fn non_finite(&mut self, state: &State, samples: &dyn Samples, message: &str) -> Error {
        let elements = output_elements(&self.program);
        let mut source = None;
        let mut gradients = std::mem::take(&mut self.gradients);
        for part in (0..parts(samples.size())).map(|index| part(samples.size(), index)) {
            for micro_batch in self.micro_batches(part, true, state.steps) {
                let lane = &mut *locked(&self.lanes[0]);
                self.gather(lane, samples, micro_batch);
                let output_grad = &self.output_grad[micro_batch.offset * elements..][..micro_batch.size * elements];
                let parameters = used(&self.cast, &state.parameters);
                source = lane.replica.first_non_finite(parameters, output_grad, &mut gradients, micro_batch);
                if source.is_some() {
                    break;
                }
            }
            if source.is_some() {
                break;
            }
        }
        self.gradients = gradients;
        let source = source.map_or_else(String::new, |source| format!("; {source}"));
        Error::new(Code::InvalidData, format!("{message}{source}"))
    }
}

/// Handles a non-finite value: lowers the loss scale if it can, and returns whether it did.
fn lower_loss_scale(state: &mut State) -> bool {
    let Some(scale) = state.loss_scale.as_mut().filter(|scale| !scale.is_min()) else { return false };
    scale.update(true);
    true
}

fn cancelled() -> Error {
    Error::new(Code::Cancelled, "training was cancelled; further steps continue it")
}

/// Checks that an engine can fill the inputs of a program.
///
/// # Errors
/// `Internal` if an input is handed over with every batch.
pub(super) fn check_inputs(program: &Program) -> Result<()> {
    if let Some(input) = program.inputs().iter().find(|input| input.source == crate::program::InputSource::Given) {
        fail!(Internal, "input '{}' comes from no plane and no table", input.name);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{largest_part, part, parts};

    #[test]
    fn the_parts_of_a_batch_are_a_function_of_its_size_alone_and_cover_it() {
        for batch in [1, 2, 31, 32, 33, 127, 128, 1000] {
            let all: Vec<usize> = (0..parts(batch)).flat_map(|index| part(batch, index)).collect();
            assert_eq!(all, (0..batch).collect::<Vec<_>>(), "{batch}");
            let largest = (0..parts(batch)).map(|index| part(batch, index).len()).max();
            assert_eq!(largest, Some(largest_part(batch)), "{batch}");
        }
        assert_eq!((parts(32), parts(33), parts(128), largest_part(128)), (1, 2, 4, 32));
    }
}
