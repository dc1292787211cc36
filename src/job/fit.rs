//! Fitting one model on the train and validation spans of one window.

use std::ops::Range;

use super::{CANCELLED, LoadedModel, job_seed};
use crate::error::{Error, Result, fail};
use crate::experiment::Experiment;
use crate::model::{Estimator, Model, Network};
use crate::panel::Panel;
use crate::train::{Trainer, TrainingContext, TrainingSpan};
use crate::windows::{FitRows, RebalanceSchedule, SampleRule, Window, decisions, train_samples};

/// The model of a window before its first decision.
pub(crate) enum Prepared {
    /// A model that can decide.
    Ready(Box<dyn Estimator>),
    /// A network to be trained.
    Training(Box<Trainer>),
}

/// Creates the model of a window: fits an estimator, plans the training of a network in the memory of `context`. Also
/// returns the highest row that the fit sees.
///
/// # Errors
/// `InvalidData` if the train span is too short or no asset is a member; errors of the model, with the window.
pub(crate) fn prepare(
    experiment: &Experiment,
    panel: &Panel,
    (schedule, window): (&RebalanceSchedule, &Window),
    model: &LoadedModel,
    context: &TrainingContext,
) -> Result<(Prepared, usize)> {
    let in_window = |error: Error| fit_context(error, window);
    let created = model.factory.create(&model.settings, &model.context).map_err(in_window)?;
    let (embargo, lag) = (experiment.windows.embargo_days, experiment.portfolio.execution_lag);
    let FitRows { train: train_rows, validation: validation_rows } =
        FitRows::checked(panel.dates(), window, embargo, lag)?;
    let shown = if validation_rows.is_empty() { train_rows.clone() } else { train_rows.start..validation_rows.end };
    let prepared = match created {
        Model::Estimator(mut estimator) => {
            if estimator.needs_fit() {
                let assets = members_of(panel, shown.clone())?;
                let train = panel.past(train_rows, &assets)?;
                let validation =
                    if validation_rows.is_empty() { None } else { Some(panel.past(validation_rows, &assets)?) };
                estimator.fit(&train, validation.as_ref()).map_err(in_window)?;
            }
            Prepared::Ready(estimator)
        }
        Model::Network(network) => {
            members_of(panel, shown.clone())?;
            let seed = job_seed(experiment.seed, &model.seed_name, window.test.start);
            let of_window = (schedule, window);
            let span = training_span(experiment, panel, of_window, &*network, (model, context)).map_err(in_window)?;
            let trainer = Trainer::planned(network, &model.train, span, seed, context.clone()).map_err(in_window)?;
            Prepared::Training(Box::new(trainer))
        }
    };
    Ok((prepared, shown.end - 1))
}

/// Creates the model of a window and fits it, or trains it to the end.
pub(crate) fn fit_to_end(
    experiment: &Experiment,
    panel: &Panel,
    (schedule, window): (&RebalanceSchedule, &Window),
    model: &LoadedModel,
    context: &TrainingContext,
) -> Result<Box<dyn Estimator>> {
    match prepare(experiment, panel, (schedule, window), model, context)?.0 {
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
fn members_of(panel: &Panel, rows: Range<usize>) -> Result<Vec<usize>> {
    let member = |column: &usize| rows.clone().any(|row| panel.members(row)[*column]);
    let out: Vec<usize> = (0..panel.assets().len()).filter(member).collect();
    if out.is_empty() {
        let (first, last) = (panel.dates()[rows.start], panel.dates()[rows.end - 1]);
        fail!(InvalidData, "there is nothing to fit: no asset is a member between {first} and {last}");
    }
    Ok(out)
}

/// The data of a window. Its panel ends with the last row that training may see, and rows are those of the run.
fn training_span(
    experiment: &Experiment,
    panel: &Panel,
    (schedule, window): (&RebalanceSchedule, &Window),
    network: &dyn Network,
    (model, context): (&LoadedModel, &TrainingContext),
) -> Result<TrainingSpan> {
    let (portfolio, dates) = (&experiment.portfolio, panel.dates());
    let (lag, lookback) = (portfolio.execution_lag, network.requirements().lookback);
    let FitRows { train, validation } = experiment.fit_rows(dates, window);
    let horizon = model.train.horizon.unwrap_or(schedule.holding());
    let samples = train_samples(&train, &SampleRule { lookback, horizon, lag });
    let mut rows = decisions(validation.clone(), lag, |row| schedule.contains(row))?;
    if rows.is_empty() {
        // No epoch is scored; a fixed asset set consists of the assets that are eligible at the last train row.
        rows.push(train.end - 1);
    }
    let panel = panel.slice(0..train.end.max(validation.end));
    let execution = context.execution.clone();
    Ok(TrainingSpan { panel, train, samples, horizon, decisions: rows, validation, execution })
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
