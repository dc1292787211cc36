//! The training of one window: epochs over the train samples, each validated on the net path, of which the best one's
//! weights are kept. The caller advances it by one epoch at a time and may cancel between any two batches. The replicas
//! of an ensemble train in lock-step; if the memory budget does not hold all, the next one starts when another has
//! ended.

use std::sync::Arc;
use std::time::Instant;

use super::dataset::{TrainingContext, TrainingData};
use super::history::{Epoch, ReplicaHistory, StopReason, TrainingHistory};
use super::memory::{MemoryPlan, check_machine, plan_memory};
use super::replica_control::{ReplicaControl, ReplicaSpec};
use super::settings::TrainSettings;
use super::span::TrainingSpan;
use crate::device::{Team, memory};
use crate::engine::{Engine, EpochWork, Stop};
use crate::error::{Error, Result};
use crate::evaluate::Conventions;
use crate::model::Network;
use crate::network::{BoundNetwork, TrainedNetwork};
use crate::program::Parameter;
use crate::random::Random;

/// Random stream for the seeds of an ensemble.
const SEED_STREAM: u32 = u32::MAX - 2;

/// The replicas of one window under training, one per seed.
pub struct Trainer {
    data: TrainingData,
    replicas: Vec<ReplicaControl>,
    engine: Box<dyn Engine>,
    plan: MemoryPlan,
    measured_bytes: usize,
    seconds: f64,
}

impl Trainer {
    /// Prepares a training outside a run, on the calling thread, with inputs computed. Its validation scores are per row,
    /// not annualised. See [`Trainer::planned`].
    ///
    /// # Errors
    /// Errors of [`Trainer::planned`], and of the network where it computes inputs.
    pub fn new(network: Arc<dyn Network>, settings: &TrainSettings, span: TrainingSpan, seed: u64) -> Result<Self> {
        let context =
            TrainingContext::new(&span.panel, Arc::new(Team::alone()), Conventions::per_row(), span.execution.clone());
        let mut out = Self::planned(network, settings, span, seed, context)?;
        out.fill(&|| false)?;
        Ok(out)
    }

    /// Finds the samples and plans the memory of a training; nothing that the plan counts is allocated before the first
    /// epoch. `seed` is the seed of the window.
    ///
    /// # Errors
    /// `InvalidData` if there are too few samples; `InvalidSetting` if the memory budget is too small, with the bytes
    /// that are needed, or if the machine has less than is planned; errors of the network.
    pub(crate) fn planned(
        network: Arc<dyn Network>,
        settings: &TrainSettings,
        span: TrainingSpan,
        seed: u64,
        context: TrainingContext,
    ) -> Result<Self> {
        let started = Instant::now();
        let held = context.held_bytes();
        let data = TrainingData::new(network, settings, span, context)?;
        let plan = plan_memory(&data, settings.seeds, held)?;
        check_machine(&plan, memory::available())?;
        let scalars = data.bound.program.scalars();
        let spec = |index| ReplicaSpec { seed: Self::seed(seed, index), scalars: scalars.to_vec() };
        let replicas = (0..settings.seeds).map(|index| ReplicaControl::new(&data, spec(index))).collect();
        let engine = data.engine(&plan)?;
        let seconds = started.elapsed().as_secs_f64();
        Ok(Self { data, replicas, engine, plan, measured_bytes: 0, seconds })
    }

    /// Trains on another engine, which has no replica yet.
    #[cfg(test)]
    fn on(mut self, mut engine: Box<dyn Engine>) -> Result<Self> {
        engine.load(&self.data.context.planes)?;
        self.engine = engine;
        Ok(self)
    }

    /// Computes inputs and scales, once, and begins the first replicas.
    fn fill(&mut self, stop: &Stop) -> Result<()> {
        if self.data.is_filled() {
            return Ok(());
        }
        self.data.fill(stop)?;
        self.begin_replicas()
    }

    /// The seed of the replica of this index in an ensemble; the first has the seed of the window.
    pub fn seed(seed: u64, index: usize) -> u64 {
        if index == 0 {
            return seed;
        }
        let random = Random::new(seed, SEED_STREAM, index as u32);
        u64::from(random.bits(0)) << 32 | u64::from(random.bits(1))
    }

    /// Begins as many waiting replicas as the memory plan allows.
    fn begin_replicas(&mut self) -> Result<()> {
        let is_taken = |replicas: &[ReplicaControl], slot| replicas.iter().any(|replica| replica.slot == Some(slot));
        for index in 0..self.replicas.len() {
            if self.replicas[index].ended.is_some() || self.replicas[index].slot.is_some() {
                continue;
            }
            let Some(slot) = (0..self.plan.stack).find(|slot| !is_taken(&self.replicas, *slot)) else { break };
            self.replicas[index].begin(&self.data, &mut *self.engine, slot)?;
        }
        Ok(())
    }

    /// Lets this many replicas train side by side, each in a workspace of [`MemoryPlan::workspace`] bytes. It moves
    /// time, never a bit.
    pub(crate) fn set_side_by_side(&mut self, count: usize) {
        self.engine.set_side_by_side(count);
    }

    /// Replicas that can train side by side now: at most so many as the memory plan holds.
    pub(crate) fn active(&self) -> usize {
        self.replicas.iter().filter(|replica| replica.ended.is_none()).count().min(self.plan.stack)
    }

    /// The network as it is bound for training.
    pub fn bound(&self) -> &BoundNetwork {
        &self.data.bound
    }

    /// The memory plan.
    pub fn memory_plan(&self) -> MemoryPlan {
        self.plan
    }

    /// The most bytes held so far.
    pub fn measured_bytes(&self) -> usize {
        self.measured_bytes
    }

    /// The finished epochs of the first seed.
    pub fn epochs(&self) -> &[Epoch] {
        &self.replicas[0].epochs
    }

    /// The number of finished epochs, and the last one, of the first replica that has not ended; if all have, of the
    /// last replica.
    pub fn last(&self) -> (usize, Option<Epoch>) {
        let replica = self.replicas.iter().find(|replica| replica.ended.is_none()).or(self.replicas.last());
        replica.map_or((0, None), |replica| (replica.epochs.len(), replica.epochs.last().copied()))
    }

    /// Whether every replica has ended.
    pub fn is_done(&self) -> bool {
        self.replicas.iter().all(|replica| replica.ended.is_some())
    }

    /// An upper estimate of the seconds left, from the mean duration of the finished epochs; `None` before the first
    /// one.
    pub fn seconds_left(&self) -> Option<f64> {
        let done: usize = self.replicas.iter().map(|replica| replica.epochs.len()).sum();
        if done == 0 {
            return None;
        }
        let max_epochs = self.data.settings.max_epochs as usize;
        let running = self.replicas.iter().filter(|replica| replica.ended.is_none());
        let left: usize = running.map(|replica| max_epochs.saturating_sub(replica.epochs.len())).sum();
        let seconds = self.seconds / done as f64 * left as f64;
        let limit = self.data.settings.max_seconds;
        Some(limit.map_or(seconds, |limit| seconds.min((limit - self.seconds).max(0.0))))
    }

    /// Trains one epoch of every active replica. After an error the next call continues with the batch that failed.
    ///
    /// # Errors
    /// `Cancelled` if `stop` returns true; `InvalidData` with epoch, batch and op if a loss or gradient is non-finite
    /// before any epoch was finite; errors of the validation path, with the date.
    pub fn epoch(&mut self, stop: &Stop) -> Result<()> {
        let started = Instant::now();
        let before = self.seconds;
        let outcome =
            self.fill(stop).and_then(|()| self.train_epoch(stop, &|| before + started.elapsed().as_secs_f64()));
        self.measured_bytes = self.measured_bytes.max(self.held_bytes());
        self.seconds = before + started.elapsed().as_secs_f64();
        outcome
    }

    fn train_epoch(&mut self, stop: &Stop, seconds: &dyn Fn() -> f64) -> Result<()> {
        let Self { data, replicas, engine, .. } = self;
        let is_ensemble = replicas.len() > 1;
        let works = replicas.iter().enumerate().filter_map(|(index, replica)| Some((index, replica.work(data)?)));
        let (indices, mut works): (Vec<usize>, Vec<EpochWork>) = works.unzip();
        let mut outcome = engine.epoch(&mut works, stop);
        // What is done is kept, whichever replica failed or was stopped.
        for (index, work) in indices.into_iter().zip(works) {
            let context = |error: Error| if is_ensemble { error.context(format!("seed {index}")) } else { error };
            let taken = replicas[index].take(data, &mut **engine, work, stop).map_err(context);
            outcome = outcome.and(taken);
        }
        outcome?;
        for replica in replicas.iter_mut().filter(|replica| replica.slot.is_some()) {
            replica.end_if_due(data, seconds());
            replica.is_through = false;
            if replica.ended.is_some()
                && let Some(slot) = replica.slot.take()
            {
                engine.end(slot)?;
            }
        }
        self.begin_replicas()
    }

    /// The bytes that are held.
    fn held_bytes(&self) -> usize {
        let best: usize = self.replicas.iter().map(|replica| size_of_val(replica.best.as_slice())).sum();
        self.data.context.held_bytes() + self.data.bytes() + best + self.engine.bytes()
    }

    /// The trained network with the best epoch's weights of every seed, and the record of its training.
    pub fn finish(self) -> (TrainedNetwork, TrainingHistory) {
        let Self { data, replicas, plan, measured_bytes, seconds, engine: _ } = self;
        let history = |replica: &ReplicaControl| {
            let (best_epoch, validation) = replica.best(&data);
            let ended = replica.ended.unwrap_or(StopReason::MaxEpochs);
            let (epochs, divergence) = (replica.epochs.len() as u32, replica.divergence.clone());
            ReplicaHistory { epochs, best_epoch, validation, ended, divergence }
        };
        let seeds: Vec<ReplicaHistory> = replicas.iter().map(history).collect();
        let history = TrainingHistory {
            best_epoch: seeds[0].best_epoch,
            ended: seeds[0].ended,
            seeds,
            samples: data.samples.train.len(),
            batch: data.batch(),
            micro_batch: plan.micro_batch,
            stack: plan.stack,
            recompute: plan.recompute,
            parameters: data.bound.program.parameters().iter().map(Parameter::count).sum(),
            loss_scale: replicas[0].loss_scale,
            planned_bytes: plan.bytes,
            measured_bytes,
            seconds,
            epochs: replicas[0].epochs.clone(),
        };
        let best = replicas.into_iter().map(|replica| replica.best).collect();
        (data.into_trained(best), history)
    }
}

#[cfg(test)]
mod tests;
