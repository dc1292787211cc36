//! The decisions of a fitted model, each made from a copy of the panel that ends at its row.

use super::{CANCELLED, LoadedModel};
use crate::error::{Error, Result, fail};
use crate::experiment::Experiment;
use crate::model::{Estimator, eligible, past_at};
use crate::panel::Panel;
use crate::portfolio::Decision;
use crate::train::TrainingHistory;
use crate::windows::{Window, decisions, fit_rows};

/// Evidence of what one model saw in one window: the highest row of each copy it was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IntegrityRecord {
    /// Highest row given to the fit.
    pub fit: usize,
    /// For each decision, its row and the highest row given to the model.
    pub decisions: Vec<(usize, usize)>,
}

/// The result of a job: the decisions of one model in one window.
#[derive(Clone, Debug)]
pub struct ModelWindow {
    /// Decisions of the train span, made from inputs inside it; `None` if the model has nothing to fit.
    pub train: Option<Vec<Decision>>,
    /// Decisions of the validation span.
    pub validation: Vec<Decision>,
    /// Decisions of the test span.
    pub test: Vec<Decision>,
    /// The highest rows that the model saw.
    pub shown: IntegrityRecord,
    /// The training, if the model is a network.
    pub training: Option<TrainingHistory>,
}

/// The decisions of a fitted model in every span of a window; `fit` is the highest row that its fit saw.
///
/// # Errors
/// `LookAhead` if the fit saw a row after the first test decision; errors of [`decide`].
pub(crate) fn decide_window(
    experiment: &Experiment,
    panel: &Panel,
    window: &Window,
    model: &LoadedModel,
    estimator: &dyn Estimator,
    fit: usize,
) -> Result<ModelWindow> {
    let lag = experiment.portfolio.execution_lag;
    let dates = panel.dates();
    let due = |row: usize| experiment.portfolio.is_due(dates, row);
    let mut shown = IntegrityRecord { fit, decisions: Vec::new() };
    let mut decide_rows = |rows: Vec<usize>, start: usize| -> Result<Vec<Decision>> {
        rows.into_iter()
            .map(|row| {
                if model.context.cancelled() {
                    fail!(Cancelled, "{CANCELLED}");
                }
                let (decision, highest) = decide(panel, estimator, start, row)?;
                shown.decisions.push((row, highest));
                Ok(decision)
            })
            .collect()
    };
    let train = if estimator.needs_fit() {
        let rows = fit_rows(&window.train.rows, lag);
        let start = rows.start;
        // Inputs start in the train span, so no asset may have enough history in its first rows.
        let can_decide = |row: usize| estimator.can_allocate(&eligible(panel, estimator.requirements(), start, row));
        let rows = rows.clone().filter(|&row| row + 1 + lag < rows.end && due(row) && can_decide(row));
        Some(decide_rows(rows.collect(), start)?)
    } else {
        None
    };
    let validation = decide_rows(decisions(window.validation.rows.clone(), lag, due)?, 0)?;
    let test = decide_rows(decisions(window.test.rows.clone(), lag, due)?, 0)?;
    // No row after the first test decision may influence the fit.
    if let Some(first) = test.first().filter(|first| shown.fit > first.row) {
        fail!(LookAhead, "the fit saw {}, after the first test decision of {}", dates[shown.fit], dates[first.row]);
    }
    Ok(ModelWindow { train, validation, test, shown, training: None })
}

/// Makes one decision from a lookback that starts no earlier than `start`. Also returns the highest row that the model
/// saw.
///
/// # Errors
/// `LookAhead` if the model saw a later row; `InvalidData` if no asset is eligible; errors of the model, with the date.
pub(crate) fn decide(panel: &Panel, model: &dyn Estimator, start: usize, row: usize) -> Result<(Decision, usize)> {
    let date = panel.dates()[row];
    let past = past_at(panel, model.requirements(), start, row)?;
    let highest = past.rows().end - 1;
    if highest > row {
        fail!(LookAhead, "the decision of {date} saw {}", panel.dates()[highest]);
    }
    let context = |error: Error| error.context(format!("the decision of {date}"));
    let weights = model.weights(&past).map_err(context)?;
    let scores = model.scores(&past).map_err(context)?;
    let assets = panel.assets().len();
    let by_column = |values: &[f64], fill: f64| {
        let mut out = vec![fill; assets];
        past.assets().iter().zip(values).for_each(|(&column, value)| out[column] = *value);
        out
    };
    let mut shown = vec![false; assets];
    past.assets().iter().for_each(|&column| shown[column] = true);
    let scores = scores.map(|scores| by_column(&scores, f64::NAN));
    Ok((Decision { row, target: by_column(&weights, 0.0), shown, scores }, highest))
}
