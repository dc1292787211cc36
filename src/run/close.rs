//! Closing a window that is done for every model: its rows of the out-of-sample paths. A model whose choice leaves no
//! portfolio within the constraints ends there, and the others go on.

use super::notices::float_modes;
use super::runner::{Run, Target, WindowState};
use crate::error::{Code, Error, Result};
use crate::job::ModelWindow;
use crate::model::LogLevel;
use crate::portfolio::{Account, SimulatedPath};

/// Where the out-of-sample path of a model ends before the last window.
#[derive(Debug)]
pub struct EndedModel {
    /// The window at which it ends: the path has none of its rows.
    pub window: usize,
    /// Why, with the date of the decision.
    pub error: Error,
}

/// What a model adds to its path.
enum Closing {
    /// It ended in an earlier window.
    Ended,
    /// It ends at this one.
    Ends(Error),
    /// Its account after the window, and the path over the window's rows.
    Extended(Box<(Account, SimulatedPath)>),
}

impl Run {
    /// Warns, once a model, of a plugin that leaves the floating-point environment changed.
    pub(super) fn warn_of_float_modes(&mut self) {
        for model in self.models.iter().filter(|model| model.factory.changed_float_modes()) {
            let warning = float_modes(&model.name);
            if !self.warnings.contains(&warning) {
                model.context.log(LogLevel::Warn, &warning);
                self.warnings.push(warning);
            }
        }
    }

    /// Extends the out-of-sample paths by the next window where it is done for every model; returns whether it was.
    pub(super) fn close_window(&mut self) -> Result<bool> {
        let window = self.progress().done;
        let state = |model| self.states.get(&(window, model));
        let is_done = |model: usize| matches!(state(model), Some(WindowState::Done(_) | WindowState::Failed(_)));
        let models = 0..self.models.len();
        if window == self.windows.len() || !models.clone().all(|model| self.has_ended(model, window) || is_done(model))
        {
            return Ok(false);
        }
        self.planes.check(&self.panel, window, window + 1 == self.windows.len())?;
        let closings: Vec<Closing> = models.map(|model| self.closing(model, window)).collect::<Result<_>>()?;
        for (model, closing) in closings.into_iter().enumerate() {
            let state = self.states.remove(&(window, model));
            match closing {
                Closing::Ended => self.results[model].push(ModelWindow::none()),
                Closing::Ends(error) => self.end_model(model, window, error),
                Closing::Extended(extended) => {
                    let (account, simulated) = *extended;
                    self.warn_of_relisted(model, &account);
                    self.accounts[model] = account;
                    self.paths[model].append(simulated.path);
                    let targets = simulated.targets.into_iter().map(|(row, weights)| Target { window, row, weights });
                    self.targets[model].extend(targets);
                    self.changes[model].extend(simulated.changes);
                    if let Some(WindowState::Done(result)) = state {
                        self.results[model].push(*result);
                    }
                }
            }
        }
        Ok(true)
    }

    /// Whether the path of a model ends at a window or before.
    pub(super) fn has_ended(&self, model: usize, window: usize) -> bool {
        self.ended[model].as_ref().is_some_and(|ended| ended.window <= window)
    }

    /// What a model whose part of the window is done adds to its path.
    fn closing(&self, model: usize, window: usize) -> Result<Closing> {
        let context =
            |error: Error| error.context(format!("the path of model '{}', window {window}", self.models[model].name));
        match self.states.get(&(window, model)) {
            Some(WindowState::Done(result)) => match self.simulate(model, window, result).map_err(context) {
                Ok(extended) => Ok(Closing::Extended(Box::new(extended))),
                // Without the benchmark there is nothing to compare with.
                Err(error) if model > 0 && error.code() == Code::Infeasible => Ok(Closing::Ends(error)),
                Err(error) => Err(error),
            },
            Some(WindowState::Failed(error)) => Ok(Closing::Ends(Error::new(error.code(), error.to_string()))),
            _ => Ok(Closing::Ended),
        }
    }

    /// Ends the path of a model before a window.
    fn end_model(&mut self, model: usize, window: usize, error: Error) {
        let warning = format!(
            "model '{}' ends before window {window}, with the test span from {}: {error}",
            self.models[model].name, self.windows[window].test.start
        );
        self.models[model].context.log(LogLevel::Error, &warning);
        self.warnings.push(warning);
        self.results[model].push(ModelWindow::none());
        self.ended[model] = Some(EndedModel { window, error });
        self.states.retain(|key, _| key.1 != model);
        self.plans.retain(|key, _| key.1 != model);
    }

    /// Warns of delisted assets that have a price again: the path did not earn their move.
    fn warn_of_relisted(&mut self, model: usize, account: &Account) {
        let (panel, entry) = (&self.panel, &self.models[model]);
        for back in &account.record().relisted[self.accounts[model].record().relisted.len()..] {
            let warning = format!(
                "model '{}': {} has a price again on {}, after it counted as delisted; its move since the last price, which \
                 the path did not earn, is a return of {:.4}. If it was only halted, raise data.delist_rows from {}",
                entry.name,
                panel.assets()[back.asset],
                panel.dates()[back.row],
                back.missed,
                self.execution.terms.delisting.rows
            );
            entry.context.log(LogLevel::Warn, &warning);
            self.warnings.push(warning);
        }
    }

    /// The account of a model after one more window, and its path over the rows that the window contributes.
    fn simulate(&self, model: usize, window: usize, result: &ModelWindow) -> Result<(Account, SimulatedPath)> {
        let rows = &self.stitched.rows[window];
        let mut account = self.accounts[model].clone();
        let decisions = result.decisions.get()?;
        // A span alone also decides at its first row; the path goes on with the holdings of the window before.
        let off_schedule = decisions.test.first().is_some_and(|first| !self.stitched.decides(window, first.row));
        let own = &decisions.test[usize::from(off_schedule)..];
        let execution = self.execution_of(model);
        let mut simulated = execution.simulate(&self.panel, &mut account, own, rows.clone())?;
        // No model holds anything over the rows that a step longer than the test span leaves out.
        if self.stitched.precedes_gap(window) {
            account.sell_all(&self.panel, &mut simulated.path);
        }
        Ok((account, simulated))
    }
}
