//! From a window to the training of a network on it: which rows are samples, labels and decisions, and nothing behind them.

use std::ops::Range;
use std::sync::Arc;

use crate::error::{Result, fail};
use crate::job::Entry;
use crate::model::Network;
use crate::panel::Panel;
use crate::portfolio::PortfolioSettings;
use crate::random::Random;
use crate::train::{TrainSettings, Trainer, TrainingSpan};
use crate::windows::{SampleRule, Window, decisions, fit_rows, train_samples, validation_rows};

/// Stream of random numbers for the seeds of windows.
const WINDOW_STREAM: u32 = u32::MAX - 1;

/// What windows are trained under.
pub(super) struct TrainingContext<'a> {
    pub(super) rules: &'a PortfolioSettings,
    pub(super) embargo_days: u32,
    pub(super) seed: u64,
}

/// The seed of a window: a function of the run's seed and the window's number, so that nothing else can move it.
fn seed_of(seed: u64, window: usize) -> u64 {
    let random = Random::new(seed, WINDOW_STREAM, window as u32);
    u64::from(random.bits(0)) << 32 | u64::from(random.bits(1))
}

/// Prepares the training of a network on a window.
pub(super) fn trainer(
    panel: &Panel,
    window: &Window,
    network: Arc<dyn Network>,
    settings: &TrainSettings,
    setting: &TrainingContext,
) -> Result<Trainer> {
    let (lag, dates) = (setting.rules.execution_lag, panel.dates());
    let lookback = network.requirements().lookback;
    let train = fit_rows(&window.train.rows, lag);
    let rule = SampleRule { lookback, horizon: settings.horizon, lag };
    let samples = train_samples(window, &rule);
    let validation = validation_rows(dates, window, setting.embargo_days, lag);
    let due = |row: usize| setting.rules.rebalance.is_decision(row, dates[row], dates.get(row + 1).copied());
    let mut rows = decisions(validation.clone(), lag, due)?;
    if rows.is_empty() {
        // Nothing is scored; the assets of a fixed universe are those of the train span's last row.
        rows.push(train.end - 1);
    }
    let end = train.end.max(validation.end);
    let first = (rows[0] + 1).saturating_sub(lookback).min(train.start);
    let shift = |rows: &Range<usize>| {
        if rows.is_empty() { 0..0 } else { rows.start - first..rows.end - first }
    };
    let execution = setting.rules.execution(panel.assets())?;
    let task = TrainingSpan {
        panel: panel.part(first..end),
        train: shift(&train),
        samples: shift(&samples),
        decisions: rows.into_iter().map(|row| row - first).collect(),
        validation: shift(&validation),
        execution,
    };
    Trainer::new(network, settings, task, seed_of(setting.seed, window.index))
}

/// Trains to the end.
pub(super) fn train_to_end(trainer: &mut Trainer, entry: &Entry) -> Result<()> {
    while !trainer.is_through() {
        if entry.context.cancelled() {
            fail!(Cancelled, "{}", super::CANCELLED);
        }
        trainer.epoch(&|| entry.context.cancelled())?;
    }
    Ok(())
}
