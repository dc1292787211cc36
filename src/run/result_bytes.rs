//! The memory that the results of a run take, known before it begins. Its memory plan counts them.

use crate::job::LoadedModel;
use crate::panel::Panel;
use crate::portfolio::Decision;
use crate::windows::{RebalanceSchedule, Window};

use super::runner::Target;

/// Most bytes of decisions that a run keeps in memory; the others go to a file.
const MOST_DECISIONS: usize = 64 << 20;
/// Decisions in memory take at most this part of the memory budget of a training.
const PART_OF_BUDGET: usize = 16;

/// Bytes of results.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ResultBytes {
    /// Of decisions that stay in memory.
    pub(super) decisions: usize,
    /// Of the targets of all out-of-sample paths.
    pub(super) targets: usize,
}

/// The most that decisions and targets take in memory.
pub(super) fn result_bytes(
    schedule: &RebalanceSchedule,
    panel: &Panel,
    windows: &[Window],
    models: &[LoadedModel],
) -> ResultBytes {
    let (dates, assets) = (panel.dates(), panel.assets().len());
    // Scheduled rows before each row: a span adds at most one row of its own.
    let mut scheduled = vec![0; dates.len() + 1];
    for row in 0..dates.len() {
        scheduled[row + 1] = scheduled[row] + usize::from(schedule.contains(row));
    }
    let due = |rows: std::ops::Range<usize>| scheduled[rows.end] - scheduled[rows.start];
    let in_window = |window: &Window| due(window.train.rows.start..window.test.rows.end) + 2;
    // Weights, scores, and whether an asset was shown.
    let decision = size_of::<Decision>() + assets * (2 * size_of::<f64>() + 1);
    let decisions = windows.iter().map(in_window).sum::<usize>() * decision * models.len();
    let target = size_of::<Target>() + assets * size_of::<f64>();
    let out_of_sample = windows.first().map_or(0, |first| due(first.test.rows.start..dates.len()) + windows.len());
    let least_budget = models.iter().map(|model| model.train.memory_budget).min().unwrap_or(usize::MAX);
    ResultBytes {
        decisions: decisions.min(MOST_DECISIONS).min(least_budget / PART_OF_BUDGET),
        targets: out_of_sample * target * models.len(),
    }
}
