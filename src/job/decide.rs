//! The decisions of a fitted model, each made from a copy that ends at its row.

use super::{CANCELLED, LoadedModel};
use crate::error::{Error, Result, fail};
use crate::experiment::Experiment;
use crate::model::{Estimator, eligible, past_at};
use crate::panel::Panel;
use crate::portfolio::Decision;
use crate::train::TrainingHistory;
use crate::windows::{Window, decisions, fit_rows};

/// The highest rows that one model was shown in one window.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IntegrityRecord {
    /// Highest row shown to the fit.
    pub fit: usize,
    /// For each decision its row and the highest row shown.
    pub decisions: Vec<(usize, usize)>,
}

/// The result of a job: the decisions of one model in one window.
#[derive(Clone, Debug)]
pub struct ModelWindow {
    /// Decisions for the train span, made from inputs inside it; `None` where the model fits nothing.
    pub train: Option<Vec<Decision>>,
    /// Decisions for the validation span.
    pub validation: Vec<Decision>,
    /// Decisions for the test span.
    pub test: Vec<Decision>,
    /// Which rows the model was shown.
    pub shown: IntegrityRecord,
    /// How the model was trained, where it is a network.
    pub training: Option<TrainingHistory>,
}

/// The decisions of a fitted model in every span of a window; `fit` is the highest row that its fit was shown.
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
        // Inputs lie in the train span too, so in its first rows no asset may have enough history.
        let can_decide = |row: usize| estimator.can_allocate(&eligible(panel, estimator.requirements(), start, row));
        let rows = rows.clone().filter(|&row| row + 1 + lag < rows.end && due(row) && can_decide(row));
        Some(decide_rows(rows.collect(), start)?)
    } else {
        None
    };
    let validation = decide_rows(decisions(window.validation.rows.clone(), lag, due)?, 0)?;
    let test = decide_rows(decisions(window.test.rows.clone(), lag, due)?, 0)?;
    // Nothing after the first test decision's row may have chosen the model.
    if let Some(first) = test.first().filter(|first| shown.fit > first.row) {
        fail!(
            LookAhead,
            "the fit was shown {}, after the first test decision of {}",
            dates[shown.fit],
            dates[first.row]
        );
    }
    Ok(ModelWindow { train, validation, test, shown, training: None })
}

/// One decision, from a lookback that starts at `start` at the earliest; and the highest row that the model was shown.
pub(crate) fn decide(panel: &Panel, model: &dyn Estimator, start: usize, row: usize) -> Result<(Decision, usize)> {
    let date = panel.dates()[row];
    let past = past_at(panel, model.requirements(), start, row)?;
    let highest = past.rows().end - 1;
    if highest > row {
        fail!(LookAhead, "the decision of {date} was shown {}", panel.dates()[highest]);
    }
    let context = |error: Error| error.context(format!("the decision of {date}"));
    let weights = model.weights(&past).map_err(context)?;
    let scores = model.scores(&past).map_err(context)?;
    let assets = panel.assets().len();
    let spread = |values: &[f64], fill: f64| {
        let mut out = vec![fill; assets];
        past.assets().iter().zip(values).for_each(|(&column, value)| out[column] = *value);
        out
    };
    let mut shown = vec![false; assets];
    past.assets().iter().for_each(|&column| shown[column] = true);
    let scores = scores.map(|scores| spread(&scores, f64::NAN));
    Ok((Decision { row, target: spread(&weights, 0.0), shown, scores }, highest))
}
