//! Checks that a plugin leaves the host process unchanged and frees its memory.

use super::data::{fit, panel_for, past_at};
use super::network::as_estimator;
use super::{CheckOutcome, Subject};
use crate::error::Result;
use crate::model::{Context, Factory};
use crate::plugin::checking::process::{self, ProcessState};

pub(super) fn unchanged_host(subject: &Subject) -> Result<CheckOutcome> {
    let before = ProcessState::now();
    let plugin = subject.plugin()?;
    let mut model = Subject::model(&plugin)?;
    if let Some(panel) = panel_for(&*model)? {
        fit(&panel, &mut *model)?;
        if let Some(past) = past_at(&panel, &*model, panel.dates().len() - 1)? {
            model.weights(&past)?;
            model.scores(&past)?;
        }
    }
    drop(model);
    let changes = before.changes();
    if !changes.is_empty() {
        return Ok(CheckOutcome::Failed(format!(
            "{}; these belong to the host program, and no call of a plugin may change them",
            changes.join("; ")
        )));
    }
    Ok(CheckOutcome::Passed("nothing was changed".to_owned()))
}

/// Models that are created, called and destroyed before each of three measurements of memory.
const ROUNDS: usize = 60;

/// The same for networks, which take time to train.
const NETWORK_ROUNDS: usize = 2;

pub(super) fn leaks(subject: &Subject) -> Result<CheckOutcome> {
    let plugin = subject.plugin()?;
    // Not in checking mode, which never frees its guarded pages.
    let settings = Subject::defaults(&plugin)?;
    let context = Context::default();
    let create = || plugin.create(&settings, &context).map(|model| as_estimator(model, &context));
    let rounds = if plugin.is_network() { NETWORK_ROUNDS } else { ROUNDS };
    let Some(panel) = panel_for(&*create()?)? else {
        return Ok(CheckOutcome::Skipped("its default lookback is longer than the synthetic data".to_owned()));
    };
    let round = || -> Result<()> {
        let mut model = create()?;
        let first = fit(&panel, &mut *model)?;
        for row in [first, panel.dates().len() - 1] {
            if let Some(past) = past_at(&panel, &*model, row)? {
                model.weights(&past)?;
                model.scores(&past)?;
            }
        }
        Ok(())
    };
    let mut used = Vec::new();
    for _ in 0..3 {
        for _ in 0..rounds {
            round()?;
        }
        used.push(process::allocated_bytes());
    }
    // Caches may fill in the first rounds. Growth between both pairs of measurements is a leak.
    let growth = used[2].saturating_sub(used[1]).min(used[1].saturating_sub(used[0]));
    let growth_per_model = growth / rounds;
    Ok(if growth_per_model > 0 {
        CheckOutcome::Failed(format!(
            "memory grew by {growth} bytes over {rounds} models, each created, fitted, called and destroyed; destroy \
             must free what create and fit allocated, and no call may keep what it allocates"
        ))
    } else {
        CheckOutcome::Passed(format!("{} models, memory grew by {growth} bytes", 3 * rounds))
    })
}
