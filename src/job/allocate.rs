//! One fit and one allocation, without a walk-forward run.

use std::sync::Arc;

use super::fit::fit_to_end;
use super::{LoadedModel, decide};
use crate::device::Team;
use crate::device::cpu::choose_level;
use crate::error::Result;
use crate::experiment::Experiment;
use crate::model::{Context, Estimator, Factory, Model};
use crate::panel::Panel;
use crate::portfolio::{ConstraintContext, Decision};
use crate::settings::SettingValues;
use crate::train::TrainingContext;
use crate::windows::{Window, first_decision, windows};

/// Fits a model on the data known at `row` and allocates there from cash. Returns weights `[assets]` after constraints.
///
/// The model is fitted as in a window whose first decision is at `row`: its validation span is the last
/// `validation_months` up to there, its train span the `train_months` before, less the rows of the execution lag.
///
/// # Errors
/// Errors of settings, data and the plugin.
pub fn allocate(
    experiment: &Experiment,
    panel: &Panel,
    factory: Box<dyn Factory>,
    settings: SettingValues,
    row: usize,
) -> Result<Vec<f64>> {
    choose_level(experiment.simd)?;
    let panel = &experiment.usual_stale_rows(panel);
    let (name, train) = (factory.name().to_owned(), experiment.train_settings(None)?);
    let model = LoadedModel { seed_name: name.clone(), name, factory, settings, train, context: Context::default() };
    let estimator: Box<dyn Estimator> = match model.factory.create(&model.settings, &model.context)? {
        Model::Estimator(estimator) if !estimator.needs_fit() => estimator,
        _ => {
            let (past, lag) = (panel.slice(0..row + 1), experiment.portfolio.execution_lag);
            let window = Window::deciding_last(past.dates(), &experiment.windows, lag)?;
            let (conventions, _) = experiment.conventions(&past, std::slice::from_ref(&window))?;
            let execution = experiment.execution(&past, &conventions)?;
            let context = TrainingContext::new(&past, Arc::new(Team::alone()), conventions, execution);
            // The calendar alone says where the experiment's first decision is; without a window it is here.
            let cut = windows(panel.dates(), &experiment.windows).unwrap_or_default();
            let first = first_decision(&cut, lag).unwrap_or(row);
            let train = cut.first().unwrap_or(&window).train.rows.clone();
            let schedule = experiment.portfolio.schedule(past.dates(), first, train);
            fit_to_end(experiment, &past, (&schedule, &window), &model, &context)?
        }
    };
    let (Decision { mut target, shown, scores, .. }, _) = decide(panel, &*estimator, 0, row)?;
    let cash = vec![0.0; target.len()];
    let context =
        ConstraintContext { members: panel.members(row), shown: &shown, scores: scores.as_deref(), before: &cash };
    experiment.constraints(panel)?.at(row).apply(&mut target, &context)?;
    Ok(target)
}
