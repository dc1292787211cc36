//! The training of one window: epochs over the train samples, each validated on the net path, of which the best one's
//! weights are kept. The caller advances it by one epoch at a time and may cancel between any two batches. The replicas
//! of an ensemble train in lock-step; if the memory budget does not hold all, the next one starts when another has
//! ended.

use std::sync::Arc;
use std::time::Instant;

use super::dataset::TrainingData;
use super::history::{Epoch, ReplicaHistory, StopReason, TrainingHistory};
use super::memory::{MemoryPlan, plan_memory};
use super::replica_control::ReplicaControl;
use super::settings::TrainSettings;
use super::span::TrainingSpan;
use crate::error::{Error, Result};
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
    /// Replicas that have done the current epoch.
    stepped: Vec<bool>,
    plan: MemoryPlan,
    /// Buffer for the labels of one batch.
    batch_labels: Vec<f32>,
    measured_bytes: usize,
    seconds: f64,
}

impl Trainer {
    /// Prepares training: samples, memory plan, normalizer, input tables and labels. `seed` is the seed of the window.
    ///
    /// # Errors
    /// `InvalidData` if there are too few samples; `InvalidSetting` if the memory budget is too small, with the bytes
    /// that are needed; errors of the network.
    pub fn new(network: Arc<dyn Network>, settings: &TrainSettings, span: TrainingSpan, seed: u64) -> Result<Self> {
        let started = Instant::now();
        let mut data = TrainingData::new(network, settings, span)?;
        let plan = plan_memory(&data, settings.seeds)?;
        data.fill()?;
        let replicas = (0..settings.seeds).map(|index| ReplicaControl::new(&data, Self::seed(seed, index))).collect();
        let batch_labels = vec![0.0; data.batch() * data.output_elements()];
        let stepped = vec![false; settings.seeds];
        let mut out = Self { data, replicas, stepped, plan, batch_labels, measured_bytes: 0, seconds: 0.0 };
        out.begin_replicas();
        out.seconds = started.elapsed().as_secs_f64();
        Ok(out)
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
    fn begin_replicas(&mut self) {
        for index in 0..self.replicas.len() {
            let active = self.replicas.iter().filter(|replica| replica.stepper.is_some()).count();
            let replica = &mut self.replicas[index];
            if active < self.plan.stack && replica.ended.is_none() && replica.stepper.is_none() {
                replica.begin(&self.data, self.plan.micro_batch, self.plan.recompute);
                self.stepped[index] = false;
            }
        }
        let replicas: usize = self.replicas.iter().map(ReplicaControl::bytes).sum();
        let held = self.data.bytes() + replicas + size_of_val(self.batch_labels.as_slice());
        self.measured_bytes = self.measured_bytes.max(held);
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
    /// `Cancelled` if `cancelled` returns true; `InvalidData` with epoch, batch and op if a loss or gradient is
    /// non-finite; errors of the validation path, with the date.
    pub fn epoch(&mut self, cancelled: &dyn Fn() -> bool) -> Result<()> {
        let started = Instant::now();
        let before = self.seconds;
        let mut outcome = Ok(());
        let is_ensemble = self.replicas.len() > 1;
        for (index, replica) in self.replicas.iter_mut().enumerate() {
            if replica.stepper.is_none() || self.stepped[index] {
                continue;
            }
            let context = |error: Error| if is_ensemble { error.context(format!("seed {index}")) } else { error };
            outcome = replica.epoch(&self.data, &mut self.batch_labels, cancelled).map_err(context);
            if outcome.is_err() {
                break;
            }
            self.stepped[index] = true;
            replica.end_if_due(&self.data, before + started.elapsed().as_secs_f64());
        }
        self.seconds = before + started.elapsed().as_secs_f64();
        if outcome.is_ok() {
            self.stepped.fill(false);
            self.begin_replicas();
        }
        outcome
    }

    /// The trained network with the best epoch's weights of every seed, and the record of its training.
    pub fn finish(self) -> (TrainedNetwork, TrainingHistory) {
        let Self { data, replicas, plan, measured_bytes, seconds, .. } = self;
        let history = |replica: &ReplicaControl| {
            let (best_epoch, validation) = replica.best(&data);
            let ended = replica.ended.unwrap_or(StopReason::MaxEpochs);
            ReplicaHistory { epochs: replica.epochs.len() as u32, best_epoch, validation, ended }
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
