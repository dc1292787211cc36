//! One replica under training: its optimiser state, sample order, learning rate, loss scale, early stop and best
//! weights. Nothing of it depends on the replicas that train beside it.

use std::sync::Arc;

use super::dataset::TrainingData;
use super::early_stop::EarlyStop;
use super::history::{Epoch, StopReason};
use super::schedule::LearningRate;
use super::step::{StepOutcome, Stepper};
use crate::error::{Error, Result, fail};

/// Progress within the current epoch.
#[derive(Clone, Copy, Debug, Default)]
struct EpochProgress {
    /// Batches that are done.
    batches: usize,
    /// Sum of their losses.
    loss: f64,
    /// Batches whose step was skipped; their loss is not in the sum.
    skipped: u32,
}

/// A replica under training.
pub(super) struct ReplicaControl {
    pub(super) seed: u64,
    /// Parameters and optimiser state; `None` while waiting for memory and after the end.
    pub(super) stepper: Option<Stepper>,
    rate: LearningRate,
    stop: EarlyStop,
    /// Parameters of the best epoch.
    pub(super) best: Vec<f32>,
    pub(super) epochs: Vec<Epoch>,
    progress: EpochProgress,
    pub(super) ended: Option<StopReason>,
    pub(super) loss_scale: Option<f64>,
}

impl ReplicaControl {
    /// A replica before its first epoch, without a stepper.
    pub(super) fn new(data: &TrainingData, seed: u64) -> Self {
        Self {
            seed,
            stepper: None,
            rate: LearningRate::new(data.settings.schedule, data.settings.learning_rate),
            stop: EarlyStop::new(data.settings.early_stop),
            best: vec![0.0; data.bound.program.parameter_count()],
            epochs: Vec::new(),
            progress: EpochProgress::default(),
            ended: None,
            loss_scale: None,
        }
    }

    /// Allocates the stepper.
    pub(super) fn begin(&mut self, data: &TrainingData, micro_batch: usize, recompute: bool) {
        let program = Arc::clone(&data.bound.program);
        self.stepper = Some(Stepper::new(program, data.step, data.batch(), micro_batch, recompute, self.seed));
    }

    /// The bytes that it holds.
    pub(super) fn bytes(&self) -> usize {
        size_of_val(self.best.as_slice()) + self.stepper.as_ref().map_or(0, Stepper::bytes)
    }

    /// The epoch whose weights are kept, from 1, and its validation score. Without a validation span it is the last
    /// epoch.
    pub(super) fn best(&self, data: &TrainingData) -> (u32, Option<f64>) {
        match self.stop.best() {
            Some((epoch, score)) if !data.span.validation.is_empty() => {
                (epoch, Some(score).filter(|score| !score.is_nan()))
            }
            _ => (self.epochs.len() as u32, None),
        }
    }

    /// Trains one epoch, or the rest of the current one, and validates it; `batch_labels` is a buffer for labels.
    ///
    /// # Errors
    /// `Cancelled` if `cancelled` returns true between two batches; errors of the optimiser step, with epoch and batch,
    /// and of the validation path.
    pub(super) fn epoch(
        &mut self,
        data: &TrainingData,
        batch_labels: &mut [f32],
        cancelled: &dyn Fn() -> bool,
    ) -> Result<()> {
        let Some(stepper) = &mut self.stepper else { fail!(Internal, "the replica has no stepper") };
        let epoch = self.epochs.len() + 1;
        let batches = data.batches(self.seed, epoch as u32);
        while let Some(batch) = batches.get(self.progress.batches) {
            if cancelled() {
                fail!(Cancelled, "training was cancelled; further steps continue it");
            }
            let (plugin, number) = (data.network.name(), self.progress.batches + 1);
            let context = |error: Error| {
                error.context(format!("the network of plugin '{plugin}', epoch {epoch}, batch {number}"))
            };
            let outcome = data.train_step(stepper, batch_labels, batch, self.rate.rate());
            let StepOutcome { loss, skipped, .. } = outcome.map_err(context)?;
            self.progress.batches += 1;
            self.progress.skipped += u32::from(skipped);
            self.progress.loss += if skipped { 0.0 } else { loss };
        }
        let context = |error: Error| error.context(format!("the validation of epoch {epoch}"));
        let validation = data.validate(stepper).map_err(context)?;
        let EpochProgress { batches, loss, skipped } = std::mem::take(&mut self.progress);
        let loss = loss / (batches - skipped as usize) as f64;
        let score = validation.unwrap_or(f64::NAN);
        if self.stop.epoch(score) || data.span.validation.is_empty() {
            self.best.copy_from_slice(stepper.parameters());
        }
        self.epochs.push(Epoch { loss, validation, learning_rate: self.rate.rate(), skipped });
        self.rate.epoch(score);
        self.loss_scale = stepper.loss_scale().map(|scale| scale.scale());
        Ok(())
    }

    /// Ends the training and frees the stepper if a limit is reached; `seconds` is the training time so far.
    pub(super) fn end_if_due(&mut self, data: &TrainingData, seconds: f64) {
        let settings = &data.settings;
        self.ended = if self.epochs.len() as u32 >= settings.max_epochs {
            Some(StopReason::MaxEpochs)
        } else if !data.span.validation.is_empty() && self.stop.should_stop() {
            Some(StopReason::EarlyStop)
        } else if settings.max_seconds.is_some_and(|limit| seconds >= limit) {
            Some(StopReason::MaxSeconds)
        } else {
            None
        };
        if self.ended.is_some() {
            self.stepper = None;
        }
    }
}
