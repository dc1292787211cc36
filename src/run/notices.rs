//! Warnings about windows, schedule and universe that a run begins with.

use jiff::civil::Date;

use crate::experiment::Experiment;
use crate::panel::Panel;
use crate::windows::{Span, StitchedPath, Window};

/// A warning about the gaps between test spans.
pub(super) fn gaps(stitched: &StitchedPath, dates: &[Date]) -> Option<String> {
    let gaps = stitched.gaps();
    let first = gaps.first()?;
    Some(format!(
        "{} between test spans, the first from {} to {}, as windows.step_months is above windows.test_months: everything \
         is sold before and bought after, and no figure counts these dates",
        if gaps.len() == 1 { "1 gap".to_owned() } else { format!("{} gaps", gaps.len()) },
        dates[first.start],
        dates[first.end - 1]
    ))
}

/// A warning about a window that is left out.
pub(super) fn skipped_window(test: &Span) -> String {
    format!("the window with the test span from {} to before {} is skipped: no date lies in it", test.start, test.end)
}

/// A warning about windows whose model is never held, because the schedule has no decision in the rows that they own.
pub(super) fn never_held(experiment: &Experiment, stitched: &StitchedPath, windows: &[Window]) -> Option<String> {
    let never = stitched.never_held();
    let first = &windows[*never.first()?];
    Some(format!(
        "{} of {} windows own no row of the schedule (portfolio.rebalance = {}) and are never held, the first of them \
         window {} (test from {}): the model of an earlier window stays in charge; choose a longer windows.step_months \
         or rebalance more often",
        never.len(),
        windows.len(),
        experiment.portfolio.rebalance_text(),
        first.index,
        first.test.start
    ))
}

/// A warning about a plugin that leaves the floating-point environment changed.
pub(super) fn float_modes(model: &str) -> String {
    format!(
        "the plugin of model '{model}' changed rounding, traps or flushing of subnormal numbers and did not set them back; \
         they were restored after each of its calls, so that no other model is affected"
    )
}

/// A warning about members that the data have no column for. Where many are missing the first few are enough to find
/// the fault; `run.json` lists them all.
pub(super) fn missing_columns(panel: &Panel) -> Option<String> {
    const NAMED: usize = 10;
    let missing = panel.without_values();
    let more = if missing.len() > NAMED { ", …" } else { "" };
    (!missing.is_empty()).then(|| {
        format!(
            "{} of the membership's assets have no column in the data and are never held: {}{more}",
            missing.len(),
            missing[..missing.len().min(NAMED)].join(", ")
        )
    })
}
