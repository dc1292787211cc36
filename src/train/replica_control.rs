//! One network under training: its parameters and optimiser, its own order of samples, learning rate, loss scale and early stop, and
//! its best weights. Nothing of it depends on others that train beside it.

use std::sync::Arc;

use super::dataset::TrainingData;
use super::early_stop::EarlyStop;
use super::history::{Epoch, StopReason};
use super::schedule::LearningRate;
use super::step::{StepOutcome, Stepper};
use crate::error::{Error, Result, fail};

/// The epoch under way: batches that are done, the sum of their losses, and those that were skipped.
#[derive(Clone, Copy, Debug, Default)]
struct Done {
    batches: usize,
    losses: f64,
    skipped: u32,
}

/// A network under training.
pub(super) struct ReplicaControl {
    pub(super) seed: u64,
    /// Its memory; given back when it is through.
    pub(super) stepper: Option<Stepper>,
    rate: LearningRate,
    stop: EarlyStop,
    pub(super) best: Vec<f32>,
    pub(super) epochs: Vec<Epoch>,
    done: Done,
    pub(super) ended: Option<StopReason>,
    pub(super) loss_scale: Option<f64>,
}

impl ReplicaControl {
    /// Before the first epoch, without its memory.
    pub(super) fn new(data: &TrainingData, seed: u64) -> Self {
        Self {
            seed,
            stepper: None,
            rate: LearningRate::new(data.settings.schedule, data.settings.learning_rate),
            stop: EarlyStop::new(data.settings.early_stop),
            best: vec![0.0; data.bound.program.parameter_count()],
            epochs: Vec::new(),
            done: Done::default(),
            ended: None,
            loss_scale: None,
        }
    }

    /// Takes its memory.
    pub(super) fn begin(&mut self, data: &TrainingData, micro_batch: usize, recompute: bool) {
        let program = Arc::clone(&data.bound.program);
        self.stepper = Some(Stepper::new(program, data.step, data.batch(), micro_batch, recompute, self.seed));
    }

    /// Bytes that it holds.
    pub(super) fn bytes(&self) -> usize {
        size_of_val(self.best.as_slice()) + self.stepper.as_ref().map_or(0, Stepper::bytes)
    }

    /// The epoch whose weights are kept, from 1, and its validation score.
    pub(super) fn best(&self, data: &TrainingData) -> (u32, Option<f64>) {
        match self.stop.best() {
            Some((epoch, score)) if !data.span.validation.is_empty() => {
                (epoch, Some(score).filter(|score| !score.is_nan()))
            }
            _ => (self.epochs.len() as u32, None),
        }
    }

    /// Goes through an epoch, or what is left of one; `seconds` is what training took so far.
    pub(super) fn epoch(&mut self, data: &TrainingData, room: &mut [f32], cancelled: &dyn Fn() -> bool) -> Result<()> {
        let Some(stepper) = &mut self.stepper else { fail!(Internal, "a learner has no memory") };
        let number = self.epochs.len() + 1;
        let batches = data.batches(self.seed, number as u32);
        while let Some(batch) = batches.get(self.done.batches) {
            if cancelled() {
                fail!(Cancelled, "training was cancelled; a further step goes on with it");
            }
            let (plugin, at) = (data.network.name(), self.done.batches + 1);
            let place =
                |error: Error| error.context(format!("the network of plugin '{plugin}', epoch {number}, batch {at}"));
            let outcome = data.learn(stepper, room, batch, self.rate.rate());
            let StepOutcome { loss, skipped, .. } = outcome.map_err(place)?;
            self.done.batches += 1;
            self.done.skipped += u32::from(skipped);
            self.done.losses += if skipped { 0.0 } else { loss };
        }
        let place = |error: Error| error.context(format!("the validation of epoch {number}"));
        let validation = data.validate(stepper).map_err(place)?;
        let Done { batches, losses, skipped } = std::mem::take(&mut self.done);
        let loss = losses / (batches - skipped as usize) as f64;
        let score = validation.unwrap_or(f64::NAN);
        if self.stop.epoch(score) || data.span.validation.is_empty() {
            self.best.copy_from_slice(stepper.parameters());
        }
        self.epochs.push(Epoch { loss, validation, learning_rate: self.rate.rate(), skipped });
        self.rate.epoch(score);
        self.loss_scale = stepper.loss_scale().map(|scale| scale.scale());
        Ok(())
    }

    /// Ends it, where it is time to; its memory is given back.
    pub(super) fn end(&mut self, data: &TrainingData, seconds: f64) {
        let settings = &data.settings;
        self.ended = if self.epochs.len() as u32 >= settings.max_epochs {
            Some(StopReason::MaxEpochs)
        } else if !data.span.validation.is_empty() && self.stop.stops() {
            Some(StopReason::EarlyStop)
        } else if settings.max_seconds.is_some_and(|most| seconds >= most) {
            Some(StopReason::MaxSeconds)
        } else {
            None
        };
        if self.ended.is_some() {
            self.stepper = None;
        }
    }
}
