//! The record of a training: its epochs, why it ended, and how it was planned.

/// One epoch, as progress and the learning curve tell it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Epoch {
    /// Mean loss of its batches, each before its step; NaN where none took a step.
    pub loss: f64,
    /// Validation score: the Sharpe ratio of the net path, a year; `None` where there is no validation span or the ratio is
    /// undefined.
    pub validation: Option<f64>,
    /// Learning rate that its steps were taken with.
    pub learning_rate: f64,
    /// Batches that overflowed half precision, so that no step was taken.
    pub skipped: u32,
}

/// Why training ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopReason {
    /// All epochs were gone through.
    MaxEpochs,
    /// The validation score did not get better any more.
    EarlyStop,
    /// The time was up: the run depends on the clock.
    MaxSeconds,
}

impl StopReason {
    /// Its name in `run.json`.
    pub fn name(self) -> &'static str {
        match self {
            Self::MaxEpochs => "max_epochs",
            Self::EarlyStop => "early_stop",
            Self::MaxSeconds => "max_seconds",
        }
    }
}

/// What training one seed of a network came to.
#[derive(Clone, Debug, PartialEq)]
pub struct ReplicaHistory {
    /// Epochs that were gone through.
    pub epochs: u32,
    /// The epoch whose weights were kept, from 1.
    pub best_epoch: u32,
    /// Its validation score.
    pub validation: Option<f64>,
    /// Why it ended.
    pub ended: StopReason,
}

/// What training a network came to.
#[derive(Clone, Debug, PartialEq)]
pub struct TrainingHistory {
    /// Every epoch of the first seed, in order.
    pub epochs: Vec<Epoch>,
    /// The epoch whose weights were kept, from 1; of the first seed.
    pub best_epoch: u32,
    /// Why it ended; of the first seed.
    pub ended: StopReason,
    /// Every seed.
    pub seeds: Vec<ReplicaHistory>,
    /// Train samples, of which a batch takes some.
    pub samples: usize,
    /// Samples of a batch.
    pub batch: usize,
    /// Samples that were gone through at a time.
    pub micro_batch: usize,
    /// Seeds that were trained at a time.
    pub stack: usize,
    /// Whether what ops keep was computed again instead.
    pub recompute: bool,
    /// Trained parameters of one seed.
    pub parameters: usize,
    /// The loss scale at the end, in half precision; of the first seed.
    pub loss_scale: Option<f64>,
    /// Bytes that were planned before the first step.
    pub planned_bytes: usize,
    /// Most bytes that were held.
    pub measured_bytes: usize,
    /// Seconds that it took.
    pub seconds: f64,
}
