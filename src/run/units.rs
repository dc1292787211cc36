//! Which models in which windows a run advances next. A unit is one model in one window. How many networks train side by
//! side is what fits the memory budget, and at most the threads: that moves time, never a bit.

use std::collections::BTreeMap;

use super::runner::{Run, WindowState};
use crate::error::{Error, Result};
use crate::train::MemoryPlan;

/// A unit: window and model.
pub(super) type Key = (usize, usize);

/// Bytes of the memory budget that units in training take.
#[derive(Default)]
struct Taken {
    /// Bytes of all of them; what the run holds for all its trainings is counted once.
    bytes: usize,
    /// The smallest budget of their models.
    budget: Option<usize>,
}

impl Taken {
    /// Bytes and least budget with one more unit.
    fn with(&self, plan: MemoryPlan, budget: usize) -> (usize, usize) {
        match self.budget {
            None => (plan.bytes, budget),
            Some(least) => (self.bytes + plan.bytes - plan.held, least.min(budget)),
        }
    }

    /// Whether one more unit fits. The first one was planned to.
    fn fits(&self, plan: MemoryPlan, budget: usize) -> bool {
        let (bytes, budget) = self.with(plan, budget);
        bytes <= budget
    }

    fn add(&mut self, plan: MemoryPlan, budget: usize) {
        let (bytes, budget) = self.with(plan, budget);
        (self.bytes, self.budget) = (bytes, Some(budget));
    }

    /// Bytes that are left.
    fn left(&self) -> usize {
        self.budget.unwrap_or(0).saturating_sub(self.bytes)
    }
}

impl Run {
    /// The units to advance next: the models of the next windows that are not done, one window per thread, and as many
    /// networks as there are threads and memory.
    ///
    /// # Errors
    /// Errors of planning the training of a network, with its unit.
    pub(super) fn next_units(&mut self) -> Result<Vec<Key>, (Key, Error)> {
        let progress = self.progress();
        let (done, threads) = (progress.done, self.threads());
        let has_networks = self.models.iter().any(|model| model.factory.is_network());
        let (mut out, mut taken) = (Vec::new(), Taken::default());
        let in_training = |state: &WindowState| matches!(state, WindowState::Training(..) | WindowState::Trained(..));
        let mut training: Vec<Key> =
            self.states.iter().filter(|(_, state)| in_training(state)).map(|(key, _)| *key).collect();
        for key in &training {
            // They were admitted when they began.
            if let Some(plan) = self.plan_of(*key) {
                taken.add(plan, self.models[key.1].train.memory_budget);
            }
        }
        let mut is_full = false;
        for window in done..progress.windows.min(done + 2 * threads) {
            if window >= done + threads && (is_full || training.len() >= threads || !has_networks) {
                break;
            }
            for model in 0..self.models.len() {
                let key = (window, model);
                let is_done = matches!(self.states.get(&key), Some(WindowState::Done(_) | WindowState::Failed(_)));
                if is_done || self.has_ended(model, window) {
                    continue;
                }
                if self.models[model].factory.is_network() && !training.contains(&key) {
                    if is_full || training.len() >= threads {
                        continue;
                    }
                    // A unit that does not fit waits, and so do those behind it, so that none waits for ever.
                    is_full = !self.admit(key, &mut taken).map_err(|error| (key, error))?;
                    if is_full {
                        continue;
                    }
                    training.push(key);
                }
                out.push(key);
            }
        }
        self.spread_replicas(&training, taken.left());
        self.forget_inputs();
        // Networks take longest and come first, so that the others fill the time of threads that finish early.
        out.sort_by_key(|(window, model)| (!self.models[*model].factory.is_network(), *window, *model));
        Ok(out)
    }

    /// Plans the training of a unit that has not begun, and takes its bytes from the budget; returns whether it fits.
    fn admit(&mut self, key: Key, taken: &mut Taken) -> Result<bool> {
        let budget = self.models[key.1].train.memory_budget;
        if self.plans.get(&key).is_some_and(|plan| !taken.fits(*plan, budget)) {
            return Ok(false);
        }
        let state = self.begin(key)?;
        self.states.insert(key, state);
        let Some(plan) = self.plan_of(key) else { return Ok(true) };
        let fits = taken.fits(plan, budget);
        if fits {
            taken.add(plan, budget);
            self.plans.remove(&key);
        } else {
            // What it found is dropped until there is memory for it.
            self.states.remove(&key);
            self.plans.insert(key, plan);
        }
        Ok(fits)
    }

    /// The memory plan of a unit in training.
    fn plan_of(&self, key: Key) -> Option<MemoryPlan> {
        match self.states.get(&key) {
            Some(WindowState::Training(trainer, _)) => Some(trainer.memory_plan()),
            _ => None,
        }
    }

    /// Gives threads that have no unit of their own to the replicas of others, where a workspace for each fits into the
    /// `left` bytes.
    fn spread_replicas(&mut self, training: &[Key], mut left: usize) {
        let mut threads = self.threads().saturating_sub(training.len());
        for key in training {
            if let Some(WindowState::Training(trainer, _)) = self.states.get_mut(key) {
                let workspace = trainer.memory_plan().workspace.max(1);
                let more = threads.min(trainer.active().saturating_sub(1)).min(left / workspace);
                trainer.set_side_by_side(1 + more);
                threads -= more;
                left -= more * workspace;
            }
        }
    }

    /// Forgets the inputs that networks computed at rows that no window reads any more.
    fn forget_inputs(&self) {
        if let Some(window) = self.windows.get(self.progress().done) {
            self.contexts.iter().for_each(|context| context.computed.forget_before(window.train.rows.start));
        }
    }
}

/// The plans of units that wait for memory.
pub(super) type Plans = BTreeMap<Key, MemoryPlan>;
