//! The loop: epochs over the train samples, the validation score of each on the net path, the best epoch's weights kept. It is
//! stepped by its caller, an epoch at a time, and can be stopped between any two batches and gone on with. Several seeds are
//! several networks in lock-step; those that are through give their memory to those that wait.

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
use crate::network::BoundNetwork;
use crate::network::TrainedNetwork;
use crate::random::Random;

/// Stream of random numbers for the seeds of an ensemble.
const SEED_STREAM: u32 = u32::MAX - 2;

/// The networks of one window under training, one a seed.
pub struct Trainer {
    data: TrainingData,
    learners: Vec<ReplicaControl>,
    /// Learners that have gone through the round under way.
    stepped: Vec<bool>,
    fit: MemoryPlan,
    /// Labels of one batch.
    room: Vec<f32>,
    measured: usize,
    seconds: f64,
}

impl Trainer {
    /// Prepares training: samples, normalizer, tables, the memory plan. `seed` is that of the window.
    ///
    /// # Errors
    /// `InvalidData` where the train span has too few samples; `InvalidSetting` where the memory budget is too small, with what
    /// is needed; what the network gives.
    pub fn new(network: Arc<dyn Network>, settings: &TrainSettings, span: TrainingSpan, seed: u64) -> Result<Self> {
        let started = Instant::now();
        let mut data = TrainingData::new(network, settings, span)?;
        let fit = plan_memory(&data, settings.seeds)?;
        data.fill()?;
        let learners = (0..settings.seeds).map(|place| ReplicaControl::new(&data, Self::seed(seed, place))).collect();
        let room = vec![0.0; data.batch() * data.output()];
        let mut out =
            Self { data, learners, stepped: vec![false; settings.seeds], fit, room, measured: 0, seconds: 0.0 };
        out.activate();
        out.seconds = started.elapsed().as_secs_f64();
        Ok(out)
    }

    /// The seed of a network of an ensemble; the first is the window's own.
    pub fn seed(seed: u64, place: usize) -> u64 {
        if place == 0 {
            return seed;
        }
        let random = Random::new(seed, SEED_STREAM, place as u32);
        u64::from(random.bits(0)) << 32 | u64::from(random.bits(1))
    }

    /// Gives memory to those that wait for it, as far as the plan goes.
    fn activate(&mut self) {
        for place in 0..self.learners.len() {
            let active = self.learners.iter().filter(|learner| learner.stepper.is_some()).count();
            let learner = &mut self.learners[place];
            if active < self.fit.stack && learner.ended.is_none() && learner.stepper.is_none() {
                learner.begin(&self.data, self.fit.micro_batch, self.fit.recompute);
                self.stepped[place] = false;
            }
        }
        let learners: usize = self.learners.iter().map(ReplicaControl::bytes).sum();
        let held = self.data.bytes() + learners + size_of_val(self.room.as_slice());
        self.measured = self.measured.max(held);
    }

    /// The network as it is trained.
    pub fn bound(&self) -> &BoundNetwork {
        &self.data.bound
    }

    /// How its memory was planned.
    pub fn memory_plan(&self) -> MemoryPlan {
        self.fit
    }

    /// Most bytes that were held so far.
    pub fn measured_bytes(&self) -> usize {
        self.measured
    }

    /// The epochs of the first seed that are done.
    pub fn epochs(&self) -> &[Epoch] {
        &self.learners[0].epochs
    }

    /// The last epoch that is done, of the first seed that is not through, or of the last seed.
    pub fn last(&self) -> (usize, Option<Epoch>) {
        let learner = self.learners.iter().find(|learner| learner.ended.is_none()).or(self.learners.last());
        learner.map_or((0, None), |learner| (learner.epochs.len(), learner.epochs.last().copied()))
    }

    /// Whether every seed is through.
    pub fn is_done(&self) -> bool {
        self.learners.iter().all(|learner| learner.ended.is_some())
    }

    /// Seconds that the epochs to come will take at most, by those that are done.
    pub fn seconds_left(&self) -> Option<f64> {
        let done: usize = self.learners.iter().map(|learner| learner.epochs.len()).sum();
        if done == 0 {
            return None;
        }
        let most = self.data.settings.max_epochs as usize;
        let waiting = self.learners.iter().filter(|learner| learner.ended.is_none());
        let left: usize = waiting.map(|learner| most.saturating_sub(learner.epochs.len())).sum();
        let all = self.seconds / done as f64 * left as f64;
        Some(self.data.settings.max_seconds.map_or(all, |most| all.min((most - self.seconds).max(0.0))))
    }

    /// Goes through one epoch of every seed that has its memory. After an error the same batch is tried again by the next call.
    ///
    /// # Errors
    /// `Cancelled` where `cancelled` says so; `InvalidData` where a loss or gradient is no number, with epoch, batch and op; what
    /// books and constraints give on the validation path, with the date.
    pub fn epoch(&mut self, cancelled: &dyn Fn() -> bool) -> Result<()> {
        let started = Instant::now();
        let before = self.seconds;
        let mut outcome = Ok(());
        for place in 0..self.learners.len() {
            let learner = &mut self.learners[place];
            if learner.stepper.is_none() || self.stepped[place] {
                continue;
            }
            outcome = learner.epoch(&self.data, &mut self.room, cancelled);
            if outcome.is_err() {
                break;
            }
            self.stepped[place] = true;
            learner.end(&self.data, before + started.elapsed().as_secs_f64());
        }
        self.seconds = before + started.elapsed().as_secs_f64();
        if outcome.is_ok() {
            self.stepped.fill(false);
            self.activate();
        } else if self.learners.len() > 1 {
            let place = self.stepped.iter().position(|stepped| !stepped).unwrap_or(0);
            outcome = outcome.map_err(|error: Error| error.context(format!("seed {place}")));
        }
        outcome
    }

    /// The trained network, with the best epoch's weights of every seed, and how it came about.
    pub fn finish(self) -> (TrainedNetwork, TrainingHistory) {
        let Self { data, learners, fit, measured, seconds, .. } = self;
        let seed = |learner: &ReplicaControl| {
            let (best_epoch, validation) = learner.best(&data);
            let ended = learner.ended.unwrap_or(StopReason::MaxEpochs);
            ReplicaHistory { epochs: learner.epochs.len() as u32, best_epoch, validation, ended }
        };
        let seeds: Vec<ReplicaHistory> = learners.iter().map(seed).collect();
        let training = TrainingHistory {
            best_epoch: seeds[0].best_epoch,
            ended: seeds[0].ended,
            seeds,
            samples: data.samples.train.len(),
            batch: data.batch(),
            micro_batch: fit.micro_batch,
            stack: fit.stack,
            recompute: fit.recompute,
            parameters: data.bound.program.parameters().iter().map(crate::program::Parameter::count).sum(),
            loss_scale: learners[0].loss_scale,
            planned_bytes: fit.bytes,
            measured_bytes: measured,
            seconds,
            epochs: learners[0].epochs.clone(),
        };
        let best = learners.into_iter().map(|learner| learner.best).collect();
        (data.into_trained(best), training)
    }
}
