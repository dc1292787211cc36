//! The look-ahead audit of a plugin on made-up data, and calls whose caller has cancelled.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use super::data::{fit, for_model, ordinary, past_at};
use super::network::as_estimator;
use super::{CheckOutcome, Subject};
use crate::error::{Code, Result};
use crate::experiment::Experiment;
use crate::job::Runtime;
use crate::model::{Context, Factory};
use crate::plugin::PluginSearch;
use crate::run::Run;

/// Dates at which the data of networks are cut.
const DATES_OF_NETWORKS: usize = 2;

/// Seconds that a call may go on after its caller cancelled.
const PATIENCE: f64 = 10.0;

pub(super) fn look_ahead(subject: &Subject) -> Result<CheckOutcome> {
    let plugin = subject.plugin()?;
    let needs = Subject::model(&plugin)?.requirements();
    let is_network = plugin.is_network();
    // Enough months before the first decision for the model to have its history.
    let months = needs.lookback.div_ceil(20).clamp(6, 240);
    let panel = ordinary((months + 15) * 22, 8)?;
    let mut search = PluginSearch::default();
    search.add("checked", plugin)?;
    let experiment = format!(
        "[windows]\ntrain_months = {months}\nvalidation_months = 3\ntest_months = 3\nstep_months = 3\n\
         [train]\nmax_epochs = 1\n[[models]]\nname = \"checked\"\n"
    );
    let experiment = Experiment::from_toml(&experiment, "".into(), &[])?;
    let run = Run::new(experiment, panel, &Runtime::new(search, 1)?)?;
    // The models of a window are trained anew for each date at which the data are cut.
    let audit = run.audit(if is_network { DATES_OF_NETWORKS } else { crate::run::DEFAULT_DATES })?;
    Ok(match audit.moved {
        Some(moved) => CheckOutcome::Failed(format!(
            "the decision of {} in window {} moved by {} when {}; a model may use nothing but the past that the call \
             hands it: look for statics, caches and files",
            moved.date,
            moved.window,
            moved.difference,
            match moved.change {
                "order" => "the windows were walked in reverse".to_owned(),
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
    let mut told = 0;
    let walk = || -> Result<()> {
        let mut model = as_estimator(plugin.create(&settings, &context)?, &context);
        let Some(panel) = for_model(&*model)? else { return Ok(()) };
        fit(&panel, &mut *model)?;
        if let Some(past) = past_at(&panel, &*model, panel.dates().len() - 1)? {
            model.weights(&past)?;
        }
        Ok(())
    };
    match walk() {
        Ok(()) => (),
        Err(error) if error.code() == Code::Cancelled => told += 1,
        Err(error) => {
            return Ok(CheckOutcome::Failed(format!("with a cancelled caller: {error}; allowed is WF_E_CANCELLED")));
        }
    }
    let seconds = started.elapsed().as_secs_f64();
    if seconds > PATIENCE {
        return Ok(CheckOutcome::Failed(format!(
            "calls went on for {seconds:.0} s after the caller cancelled; ask the service 'cancel' now and then"
        )));
    }
    let how = if told > 0 { "WF_E_CANCELLED" } else { "an answer" };
    Ok(CheckOutcome::Passed(format!("{how} within {PATIENCE} s")))
}
