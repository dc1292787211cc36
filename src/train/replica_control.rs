//! One replica under training, as the host sees it: its sample order, learning rate, early stop and best weights. Its
//! tensors stay with the engine. Nothing of it depends on the replicas that train beside it.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::dataset::{Score, TrainingData};
use super::early_stop::EarlyStop;
use super::history::{Epoch, StopReason};
use super::schedule::LearningRate;
use crate::engine::{Engine, EpochWork, State, StateSelection, Stop};
use crate::error::{Code, Error, Result};

/// What makes a replica differ from the others of its window.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub(super) struct ReplicaSpec {
    /// Keys its initial parameters, sample order and dropout.
    pub(super) seed: u64,
    /// Per op of the program, its scalar.
    pub(super) scalars: Vec<f32>,
}

/// Progress within the current epoch.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Serialize)]
pub(super) struct EpochCursor {
    /// Batches that are done.
    batches: usize,
    /// Sum of their losses.
    #[serde(with = "super::exact")]
    loss: f64,
    /// Batches whose step was skipped; their loss is not in the sum.
    skipped: u32,
}

/// A replica under training. A document holds all of it but tensors, and the slot, which is the engine's.
#[derive(Debug, Deserialize, Serialize)]
pub(super) struct ReplicaControl {
    pub(super) spec: ReplicaSpec,
    /// Its slot of the engine; `None` while waiting for memory and after the end.
    #[serde(skip)]
    pub(super) slot: Option<usize>,
    /// Whether it has trained the current epoch.
    pub(super) is_through: bool,
    rate: LearningRate,
    stop: EarlyStop,
    /// Parameters of the best epoch.
    #[serde(skip)]
    pub(super) best: Vec<f32>,
    pub(super) epochs: Vec<Epoch>,
    cursor: EpochCursor,
    pub(super) ended: Option<StopReason>,
    pub(super) loss_scale: Option<f64>,
    /// Why training ended early with the best epoch kept: what was non-finite, and where.
    pub(super) divergence: Option<String>,
}

impl ReplicaControl {
    /// A replica before its first epoch.
    pub(super) fn new(data: &TrainingData, spec: ReplicaSpec) -> Self {
        Self {
            spec,
            slot: None,
            is_through: false,
            rate: LearningRate::new(data.settings.schedule, data.settings.learning_rate),
            stop: EarlyStop::new(data.settings.early_stop),
            best: vec![0.0; data.bound.program.parameter_count()],
            epochs: Vec::new(),
            cursor: EpochCursor::default(),
            ended: None,
            loss_scale: None,
            divergence: None,
        }
    }

    /// Begins it in a slot of the engine.
    ///
    /// # Errors
    /// Errors of the engine.
    pub(super) fn begin(&mut self, data: &TrainingData, engine: &mut dyn Engine, slot: usize) -> Result<()> {
        let (view, tables) = data.view()?;
        let state = State::initial(&data.bound.program, self.spec.seed);
        engine.begin(slot, view, tables, data.hyperparameters(self.spec.seed, &self.spec.scalars), state)?;
        self.slot = Some(slot);
        Ok(())
    }

    /// The epoch whose weights are kept, from 1, and its validation score. Without a validation span it is the last
    /// epoch.
    pub(super) fn best(&self, data: &TrainingData) -> (u32, Option<f64>) {
        match self.stop.best() {
            Some((epoch, score)) if !data.span.validation.is_empty() => {
                (epoch, Some(score).filter(|score| score.is_finite()))
            }
            _ => (self.epochs.len() as u32, None),
        }
    }

    /// The rest of the current epoch, for the engine; `None` where the replica has no slot or has trained it.
    pub(super) fn work(&self, data: &TrainingData) -> Option<EpochWork> {
        let slot = self.slot.filter(|_| !self.is_through)?;
        let EpochCursor { batches: cursor, loss, skipped } = self.cursor;
        let batches = Arc::new(data.batches(self.spec.seed, self.epochs.len() as u32 + 1));
        Some(EpochWork { slot, batches, cursor, learning_rate: self.rate.rate(), loss, skipped, fault: None })
    }

    /// Takes over what the engine has done, and validates the epoch if it is done.
    ///
    /// # Errors
    /// A non-finite loss or gradient before any epoch was finite, with epoch, batch and op; errors of the validation
    /// path and of the engine.
    pub(super) fn take(
        &mut self,
        data: &TrainingData,
        engine: &mut dyn Engine,
        work: EpochWork,
        stop: &Stop,
    ) -> Result<()> {
        let EpochWork { slot, batches, cursor, loss, skipped, fault, .. } = work;
        self.cursor = EpochCursor { batches: cursor, loss, skipped };
        let epoch = self.epochs.len() + 1;
        if let Some(error) = fault {
            let context =
                format!("the network of plugin '{}', epoch {epoch}, batch {}", data.network.name(), cursor + 1);
            return self.diverge(error.context(context));
        }
        if cursor < batches.len() {
            return Ok(());
        }
        let context = |error: Error| {
            let is_cancelled = error.code() == Code::Cancelled;
            if is_cancelled { error } else { error.context(format!("the validation of epoch {epoch}")) }
        };
        let score = data.validate(engine, slot, stop).map_err(context)?;
        if score == Score::NonFinite {
            let message = format!("the network of plugin '{}' output a non-finite value", data.network.name());
            return self.diverge(context(Error::new(Code::InvalidData, message)));
        }
        let validation = if let Score::Sharpe(ratio) = score { Some(ratio) } else { None };
        let is_ruined = score == Score::Ruined;
        let score = if is_ruined { f64::NEG_INFINITY } else { validation.unwrap_or(f64::NAN) };
        let loss = loss / (cursor - skipped as usize) as f64;
        let state = engine.read(slot, StateSelection::Parameters)?;
        if self.stop.epoch(score) || data.span.validation.is_empty() {
            self.best.copy_from_slice(&state.parameters);
        }
        self.epochs.push(Epoch { loss, validation, learning_rate: self.rate.rate(), skipped, is_ruined });
        self.rate.epoch(score);
        self.loss_scale = state.loss_scale.map(|scale| scale.scale());
        self.cursor = EpochCursor::default();
        self.is_through = true;
        Ok(())
    }

    /// Ends a training that met a non-finite value: the best epoch is kept. Without one the error is returned, and the
    /// next step tries again.
    fn diverge(&mut self, error: Error) -> Result<()> {
        if self.epochs.is_empty() {
            return Err(error);
        }
        self.divergence = Some(error.to_string());
        self.ended = Some(StopReason::Diverged);
        self.is_through = true;
        Ok(())
    }

    /// Ends the training if a limit is reached; `seconds` is the training time so far.
    pub(super) fn end_if_due(&mut self, data: &TrainingData, seconds: f64) {
        let settings = &data.settings;
        self.ended = if self.ended.is_some() {
            self.ended
        } else if self.epochs.len() as u32 >= settings.max_epochs {
            Some(StopReason::MaxEpochs)
        } else if !data.span.validation.is_empty() && self.stop.should_stop() {
            Some(StopReason::EarlyStop)
        } else if settings.max_seconds.is_some_and(|limit| seconds >= limit) {
            Some(StopReason::MaxSeconds)
        } else {
            None
        };
    }
}
