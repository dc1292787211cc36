//! The decisions of a fitted model, each made from a copy of the panel that ends at its row.

use super::{CANCELLED, LoadedModel, SpanDecisions, StoredDecisions};
use crate::error::{Result, fail};
use crate::experiment::Experiment;
use crate::model::{Answer, Estimator, eligible, past_at};
use crate::panel::{Panel, Past};
use crate::portfolio::Decision;
use crate::train::TrainingHistory;
use crate::windows::{RebalanceSchedule, Window, decisions};

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
    /// The decisions of all spans.
    pub decisions: StoredDecisions,
    /// Whether the model has anything to fit.
    pub fits: bool,
    /// The rows of a decision's lookback.
    pub lookback: usize,
    /// The highest rows that the model saw.
    pub shown: IntegrityRecord,
    /// The training, if the model is a network.
    pub training: Option<TrainingHistory>,
}

impl ModelWindow {
    /// Of a model that ended before the window.
    pub(crate) fn none() -> Self {
        let shown = IntegrityRecord { fit: 0, decisions: Vec::new() };
        Self { decisions: SpanDecisions::default().into(), fits: false, lookback: 0, shown, training: None }
    }
}

/// The decisions of a fitted model in every span of a window; `fit` is the highest row that its fit saw.
///
/// # Errors
/// `LookAhead` if the fit saw a row after the first test decision; errors of [`decide_rows`].
pub(crate) fn decide_window(
    experiment: &Experiment,
    panel: &Panel,
    (schedule, window): (&RebalanceSchedule, &Window),
    model: &LoadedModel,
    estimator: &dyn Estimator,
    fit: usize,
) -> Result<ModelWindow> {
    let lag = experiment.portfolio.execution_lag;
    let dates = panel.dates();
    let due = |row: usize| schedule.contains(row);
    let rows_of = experiment.fit_rows(dates, window);
    let mut shown = IntegrityRecord { fit, decisions: Vec::new() };
    let cancelled = || model.context.cancelled();
    let mut decide_span = |rows: Vec<usize>, start: usize| -> Result<Vec<Decision>> {
        let mut decided = Vec::with_capacity(rows.len());
        decide_rows(panel, estimator, (start, &rows), &cancelled, &mut decided)?;
        Ok(decided
            .into_iter()
            .map(|(decision, highest)| {
                shown.decisions.push((decision.row, highest));
                decision
            })
            .collect())
    };
    let train = if estimator.needs_fit() {
        let rows = rows_of.train;
        let start = rows.start;
        // Inputs start in the train span, so no asset may have enough history in its first rows.
        let can_decide = |row: usize| estimator.can_allocate(&eligible(panel, estimator.requirements(), start, row));
        let rows = rows.clone().filter(|&row| row + 1 + lag < rows.end && due(row) && can_decide(row));
        Some(decide_span(rows.collect(), start)?)
    } else {
        None
    };
    let validation = decide_span(decisions(rows_of.validation, lag, due)?, 0)?;
    let test = decide_span(decisions(window.test.rows.clone(), lag, due)?, 0)?;
    // No row after the first test decision may influence the fit.
    if let Some(first) = test.first().filter(|first| shown.fit > first.row) {
        fail!(LookAhead, "the fit saw {}, after the first test decision of {}", dates[shown.fit], dates[first.row]);
    }
    let decisions = SpanDecisions { train, validation, test }.into();
    let lookback = estimator.requirements().lookback;
    Ok(ModelWindow { decisions, fits: estimator.needs_fit(), lookback, shown, training: None })
}

/// Makes one decision from a lookback that starts no earlier than `start`. Also returns the highest row that the model
/// saw.
///
/// # Errors
/// Errors of [`decide_rows`].
pub(crate) fn decide(panel: &Panel, model: &dyn Estimator, start: usize, row: usize) -> Result<(Decision, usize)> {
    let mut out = Vec::with_capacity(1);
    decide_rows(panel, model, (start, &[row]), &|| false, &mut out)?;
    match out.pop() {
        Some(decided) => Ok(decided),
        None => fail!(Internal, "a decision was left out"),
    }
}

/// Makes the decision of each row, in order, from a lookback that starts no earlier than `start`; each from a past of
/// its own that ends at its row, whether the model answers several at a time or not. Adds to `out`, up to the first
/// error, each decision and the highest row that the model saw.
///
/// # Errors
/// Of the first row that has one: `LookAhead` if the model saw a later row; `InvalidData` if no asset is eligible;
/// errors of the model, with the date. `Cancelled` if `cancelled` returned true.
pub(crate) fn decide_rows(
    panel: &Panel,
    model: &dyn Estimator,
    (start, rows): (usize, &[usize]),
    cancelled: &dyn Fn() -> bool,
    out: &mut Vec<(Decision, usize)>,
) -> Result<()> {
    for group in rows.chunks(model.together().max(1)) {
        if cancelled() {
            fail!(Cancelled, "{CANCELLED}");
        }
        let mut pasts = Vec::with_capacity(group.len());
        // The rows before one without a past are answered first, since an error of theirs comes first.
        let failed = group.iter().try_for_each(|&row| {
            pasts.push(past_of(panel, model, start, row)?);
            Ok(())
        });
        let answers = if pasts.is_empty() { Vec::new() } else { model.answers(&pasts) };
        for ((&row, past), answer) in group.iter().zip(&pasts).zip(answers) {
            let answer = answer.map_err(|error| error.context(format!("the decision of {}", panel.dates()[row])))?;
            out.push((decision(panel, row, past, answer), past.rows().end - 1));
        }
        failed?;
    }
    Ok(())
}

/// The past that a model gets at a row.
fn past_of(panel: &Panel, model: &dyn Estimator, start: usize, row: usize) -> Result<Past> {
    let past = past_at(panel, model.requirements(), start, row)?;
    let highest = past.rows().end - 1;
    if highest > row {
        fail!(LookAhead, "the decision of {} saw {}", panel.dates()[row], panel.dates()[highest]);
    }
    Ok(past)
}

/// An answer by column of the panel.
fn decision(panel: &Panel, row: usize, past: &Past, answer: Answer) -> Decision {
    let assets = panel.assets().len();
    let by_column = |values: &[f64], fill: f64| {
        let mut out = vec![fill; assets];
        past.assets().iter().zip(values).for_each(|(&column, value)| out[column] = *value);
        out
    };
    let mut shown = vec![false; assets];
    past.assets().iter().for_each(|&column| shown[column] = true);
    let scores = answer.scores.map(|scores| by_column(&scores, f64::NAN));
    Decision { row, target: by_column(&answer.weights, 0.0), shown, scores }
}
