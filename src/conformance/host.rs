//! What a plugin must leave alone in the process that loads it, and what it must give back.

use super::data::{fit, for_model, past_at};
use super::network::as_estimator;
use super::{CheckOutcome, Subject};
use crate::error::Result;
use crate::model::{Context, Factory};
use crate::plugin::checking::process::{self, ProcessState};

pub(super) fn untouched(subject: &Subject) -> Result<CheckOutcome> {
    let before = ProcessState::now();
    let plugin = subject.plugin()?;
    let mut model = Subject::model(&plugin)?;
    if let Some(panel) = for_model(&*model)? {
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
    Ok(CheckOutcome::Passed("all of it is as it was".to_owned()))
}

/// Models that are made, asked and destroyed, twice so many as are counted.
const ROUNDS: usize = 60;

/// The same of networks, whose training takes its time.
const ROUNDS_OF_NETWORKS: usize = 2;

pub(super) fn leaks(subject: &Subject) -> Result<CheckOutcome> {
    let plugin = subject.plugin()?;
    // Not in checking mode, whose guarded pages are never given back.
    let settings = Subject::defaults(&plugin)?;
    let context = Context::default();
    let make = || plugin.create(&settings, &context).map(|model| as_estimator(model, &context));
    let rounds = if plugin.is_network() { ROUNDS_OF_NETWORKS } else { ROUNDS };
    let Some(panel) = for_model(&*make()?)? else {
        return Ok(CheckOutcome::Skipped("its default lookback is longer than the data made here".to_owned()));
    };
    let round = || -> Result<()> {
        let mut model = make()?;
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
    // Caches may fill in the first rounds; what grows after that, in every round, is a leak.
    let growth = used[2].saturating_sub(used[1]).min(used[1].saturating_sub(used[0]));
    let each = growth / rounds;
    Ok(if each > 0 {
        CheckOutcome::Failed(format!(
            "memory grew by {growth} bytes over {rounds} models, each made, fitted, asked and destroyed; destroy must give \
             back all that create and fit took, and no call may keep what it allocates"
        ))
    } else {
        CheckOutcome::Passed(format!("{} models, {growth} bytes more at the end", 3 * rounds))
    })
}
