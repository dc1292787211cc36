//! Fitting one model on the train and validation spans of one window.

use std::ops::Range;
use std::sync::Arc;

use super::{CANCELLED, LoadedModel};
use crate::error::{Error, Result, fail};
use crate::experiment::Experiment;
use crate::model::{Estimator, Model, Network};
use crate::panel::Panel;
use crate::random::Random;
use crate::train::{Trainer, TrainingSpan};
use crate::windows::{SampleRule, Window, decisions, fit_rows, train_samples, validation_rows};

/// Random stream for the seeds of windows.
const WINDOW_STREAM: u32 = u32::MAX - 1;

/// The model of a window before its first decision.
pub(crate) enum Prepared {
    /// A model that can decide.
    Ready(Box<dyn Estimator>),
    /// A network to be trained.
    Training(Box<Trainer>),
}

/// Creates the model of a window: fits an estimator, prepares the training of a network. Also returns the highest row
/// that the fit sees.
///
/// # Errors
/// `InvalidData` if the train span is too short or no asset is a member; errors of the model, with the window.
pub(crate) fn prepare(
    experiment: &Experiment,
    panel: &Panel,
    window: &Window,
    model: &LoadedModel,
) -> Result<(Prepared, usize)> {
    let lag = experiment.portfolio.execution_lag;
    let context = |error: Error| fit_context(error, window);
    let created = model.factory.create(&model.settings, &model.context).map_err(context)?;
    let train_rows = fit_rows(&window.train.rows, lag);
    let validation_rows = fit_rows(&window.validation.rows, lag);
    if train_rows.is_empty() {
        fail!(
            InvalidData,
            "the train span has {} rows; an execution lag of {lag} leaves none",
            window.train.rows.len()
        );
    }
    let shown = if validation_rows.is_empty() { train_rows.clone() } else { train_rows.start..validation_rows.end };
    let prepared = match created {
        Model::Estimator(mut estimator) => {
            if estimator.needs_fit() {
                let assets = members_of(panel, shown.clone())?;
                let train = panel.past(train_rows, &assets)?;
                let validation =
                    if validation_rows.is_empty() { None } else { Some(panel.past(validation_rows, &assets)?) };
                estimator.fit(&train, validation.as_ref()).map_err(context)?;
            }
            Prepared::Ready(estimator)
        }
        Model::Network(network) => {
            members_of(panel, shown.clone())?;
            Prepared::Training(Box::new(trainer(experiment, panel, window, network, model).map_err(context)?))
        }
    };
    Ok((prepared, shown.end - 1))
}

/// Creates the model of a window and fits it, or trains it to the end.
pub(crate) fn fit_to_end(
    experiment: &Experiment,
    panel: &Panel,
    window: &Window,
    model: &LoadedModel,
) -> Result<Box<dyn Estimator>> {
    match prepare(experiment, panel, window, model)?.0 {
        Prepared::Ready(estimator) => Ok(estimator),
        Prepared::Training(mut trainer) => {
            train_to_end(&mut trainer, model).map_err(|error| fit_context(error, window))?;
            Ok(Box::new(trainer.finish().0))
        }
    }
}

/// Adds to an error the window whose model was being fitted.
pub(crate) fn fit_context(error: Error, window: &Window) -> Error {
    error.context(format!("the model trained from {}", window.train.start))
}

/// The columns of assets that are members on at least one of `rows`.
///
/// # Errors
/// `InvalidData` if there is none, as a model cannot be fitted without assets.
pub(super) fn members_of(panel: &Panel, rows: Range<usize>) -> Result<Vec<usize>> {
    let member = |column: &usize| rows.clone().any(|row| panel.members(row)[*column]);
    let out: Vec<usize> = (0..panel.assets().len()).filter(member).collect();
    if out.is_empty() {
        let (first, last) = (panel.dates()[rows.start], panel.dates()[rows.end - 1]);
        fail!(InvalidData, "there is nothing to fit: no asset is a member between {first} and {last}");
    }
    Ok(out)
}

/// The seed of a window, a function of the run's seed and the window's index alone.
fn window_seed(seed: u64, window: usize) -> u64 {
    let random = Random::new(seed, WINDOW_STREAM, window as u32);
    u64::from(random.bits(0)) << 32 | u64::from(random.bits(1))
}

/// Prepares the training of a network in a window. The panel it gets ends with the last row that training may see.
fn trainer(
    experiment: &Experiment,
    panel: &Panel,
    window: &Window,
    network: Arc<dyn Network>,
    model: &LoadedModel,
) -> Result<Trainer> {
    let (portfolio, dates) = (&experiment.portfolio, panel.dates());
    let (lag, lookback) = (portfolio.execution_lag, network.requirements().lookback);
    let train = fit_rows(&window.train.rows, lag);
    let samples = train_samples(window, &SampleRule { lookback, horizon: model.train.horizon, lag });
    let validation = validation_rows(dates, window, experiment.windows.embargo_days, lag);
    let mut rows = decisions(validation.clone(), lag, |row| portfolio.is_due(dates, row))?;
    if rows.is_empty() {
        // No epoch is scored; a fixed asset set consists of the assets that are eligible at the last train row.
        rows.push(train.end - 1);
    }
    let end = train.end.max(validation.end);
    let first = (rows[0] + 1).saturating_sub(lookback).min(train.start);
    let shift = |rows: &Range<usize>| {
        if rows.is_empty() { 0..0 } else { rows.start - first..rows.end - first }
    };
    let span = TrainingSpan {
        panel: panel.slice(first..end),
        train: shift(&train),
        samples: shift(&samples),
        decisions: rows.into_iter().map(|row| row - first).collect(),
        validation: shift(&validation),
        execution: portfolio.execution(panel.assets())?,
    };
    Trainer::new(network, &model.train, span, window_seed(experiment.seed, window.index))
}

/// Trains every replica to the end.
fn train_to_end(trainer: &mut Trainer, model: &LoadedModel) -> Result<()> {
    while !trainer.is_done() {
        if model.context.cancelled() {
            fail!(Cancelled, "{CANCELLED}");
        }
        trainer.epoch(&|| model.context.cancelled())?;
    }
    Ok(())
}
