//! The look-ahead audit of a plugin on synthetic data, and calls whose caller has cancelled.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use super::data::{fit, ordinary_panel, panel_for, past_at};
use super::network::as_estimator;
use super::{CheckOutcome, Subject};
use crate::error::{Code, Result};
use crate::experiment::Experiment;
use crate::job::Runtime;
use crate::model::{Context, Factory};
use crate::plugin::PluginSearch;
use crate::run::Run;

/// The number of cut dates in the audit of a network.
const NETWORK_DATES: usize = 2;

/// Seconds within which calls must return after their caller cancelled.
const MAX_SECONDS: f64 = 10.0;

pub(super) fn look_ahead(subject: &Subject) -> Result<CheckOutcome> {
    let plugin = subject.plugin()?;
    let requirements = Subject::model(&plugin)?.requirements();
    let is_network = plugin.is_network();
    // Enough months before the first decision for a whole lookback.
    let months = requirements.lookback.div_ceil(20).clamp(6, 240);
    let panel = ordinary_panel((months + 15) * 22, 8)?;
    let mut search = PluginSearch::default();
    search.add("checked", plugin)?;
    let experiment = format!(
        "[windows]\ntrain_months = {months}\nvalidation_months = 3\ntest_months = 3\nstep_months = 3\n\
         [train]\nmax_epochs = 1\n[[models]]\nname = \"checked\"\n"
    );
    let experiment = Experiment::from_toml(&experiment, "".into(), &[])?;
    let run = Run::new(experiment, panel, &Runtime::new(search, 1)?)?;
    // Networks have few cut dates, because they are trained again for each.
    let audit = run.audit(if is_network { NETWORK_DATES } else { crate::run::DEFAULT_DATES })?;
    Ok(match audit.moved {
        Some(moved) => CheckOutcome::Failed(format!(
            "the decision of {} in window {} moved by {} when {}; a model may use only the past that is passed to the \
             call: look for statics, caches and files",
            moved.date,
            moved.window,
            moved.difference,
            match moved.change {
                "order" => "the windows ran in reverse".to_owned(),
                change => format!("the rows after {} were {change}", moved.after),
            }
        )),
        None => {
            CheckOutcome::Passed(format!("{} decisions compared, data cut at {} dates", audit.compared, audit.dates))
        }
    })
}

pub(super) fn cancel(subject: &Subject) -> Result<CheckOutcome> {
    let plugin = subject.plugin()?;
    let flag = Arc::new(AtomicBool::new(true));
    let context = Context::new(None, flag).checking();
    let settings = Subject::defaults(&plugin)?;
    let started = Instant::now();
    let call_all = || -> Result<()> {
        let mut model = as_estimator(plugin.create(&settings, &context)?, &context);
        let Some(panel) = panel_for(&*model)? else { return Ok(()) };
        fit(&panel, &mut *model)?;
        if let Some(past) = past_at(&panel, &*model, panel.dates().len() - 1)? {
            model.weights(&past)?;
        }
        Ok(())
    };
    let answer = match call_all() {
        Ok(()) => "an answer",
        Err(error) if error.code() == Code::Cancelled => "WF_E_CANCELLED",
        Err(error) => {
            return Ok(CheckOutcome::Failed(format!(
                "after the caller cancelled: {error}; return weights or WF_E_CANCELLED"
            )));
        }
    };
    let seconds = started.elapsed().as_secs_f64();
    if seconds > MAX_SECONDS {
        return Ok(CheckOutcome::Failed(format!(
            "calls took {seconds:.0} s after the caller cancelled; poll the service 'cancel' in long loops"
        )));
    }
    Ok(CheckOutcome::Passed(format!("{answer} within {MAX_SECONDS} s")))
}
