//! The record of a training: its epochs, why it ended, and its memory plan.

use serde::{Deserialize, Serialize};

/// One epoch, as progress and learning curves show it.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
pub struct Epoch {
    /// Mean loss of its batches, each before its optimiser step; NaN if every step was skipped.
    #[serde(with = "super::exact")]
    pub loss: f64,
    /// Validation score, the annualised Sharpe ratio of the net path; `None` if there is no validation span or the
    /// ratio is undefined.
    pub validation: Option<f64>,
    /// Learning rate of its steps.
    pub learning_rate: f64,
    /// Batches whose step was skipped because half precision overflowed.
    pub skipped: u32,
    /// Whether everything was lost on the validation path: worse than any score.
    pub is_ruined: bool,
}

/// Why training ended.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub enum StopReason {
    /// The last of `max_epochs` was done.
    MaxEpochs,
    /// The validation score stopped improving.
    EarlyStop,
    /// `max_seconds` were over, so the result depends on the clock.
    MaxSeconds,
    /// A loss, gradient or output was non-finite after at least one finite epoch; the best epoch was kept.
    Diverged,
}

impl StopReason {
    /// The name in `run.json`.
    pub fn name(self) -> &'static str {
        match self {
            Self::MaxEpochs => "max_epochs",
            Self::EarlyStop => "early_stop",
            Self::MaxSeconds => "max_seconds",
            Self::Diverged => "diverged",
        }
    }
}

/// The training of one replica.
#[derive(Clone, Debug, PartialEq)]
pub struct ReplicaHistory {
    /// Number of epochs.
    pub epochs: u32,
    /// The epoch whose weights were kept, from 1.
    pub best_epoch: u32,
    /// The validation score of that epoch.
    pub validation: Option<f64>,
    /// Why training ended.
    pub ended: StopReason,
    /// What was non-finite, and where, if it ended so.
    pub divergence: Option<String>,
}

/// The training of a network in one window: an ensemble of replicas, one per seed.
#[derive(Clone, Debug, PartialEq)]
pub struct TrainingHistory {
    /// Every epoch of the first seed.
    pub epochs: Vec<Epoch>,
    /// The epoch whose weights were kept, from 1; of the first seed.
    pub best_epoch: u32,
    /// Why training ended; of the first seed.
    pub ended: StopReason,
    /// Every seed.
    pub seeds: Vec<ReplicaHistory>,
    /// Number of train samples.
    pub samples: usize,
    /// Samples per optimiser step.
    pub batch: usize,
    /// Samples per micro-batch.
    pub micro_batch: usize,
    /// Replicas trained at a time.
    pub stack: usize,
    /// Whether activations were recomputed instead of saved.
    pub recompute: bool,
    /// Number of trainable parameters of one replica.
    pub parameters: usize,
    /// The last loss scale of half precision; of the first seed.
    pub loss_scale: Option<f64>,
    /// Bytes planned before the first step.
    pub planned_bytes: usize,
    /// Most bytes held at a time.
    pub measured_bytes: usize,
    /// Duration in seconds.
    pub seconds: f64,
}
