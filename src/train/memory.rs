//! The memory of training, known before the first step, and how it is made to fit its budget: fewer networks at a time, then smaller
//! micro-batches, then gates that are computed again instead of kept.

use super::dataset::TrainingData;
use super::step::Stepper;
use crate::error::{Result, fail};

/// How training was made to fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryPlan {
    /// Networks that are trained at a time.
    pub stack: usize,
    /// Samples that a network goes through at a time.
    pub micro_batch: usize,
    /// Whether what ops keep for the backward pass is computed again instead, where they can.
    pub recompute: bool,
    /// Bytes of the plan.
    pub bytes: usize,
}

/// Bytes for `seeds` networks, so many at a time.
fn plan(data: &TrainingData, seeds: usize, stack: usize, micro_batch: usize, recompute: bool) -> MemoryPlan {
    let (program, batch) = (&data.bound.program, data.batch());
    let best = seeds * program.parameter_count() * size_of::<f32>();
    let room = batch * data.output() * size_of::<f32>();
    let each = Stepper::planned_bytes(program, &data.step, batch, micro_batch, recompute);
    let bytes = data.planned_bytes() + room + best + stack * each;
    MemoryPlan { stack, micro_batch, recompute, bytes }
}

/// The first plan that fits the budget. Training several networks at a time saves no time on a processor, so they go first; a
/// smaller micro-batch goes through the network twice; computing again costs less than that, but only where ops can.
pub(super) fn plan_memory(data: &TrainingData, seeds: usize) -> Result<MemoryPlan> {
    let (batch, budget) = (data.batch(), data.settings.memory_budget);
    let stacks = (1..=seeds).rev().map(|stack| plan(data, seeds, stack, batch, false));
    let again = std::iter::once(plan(data, seeds, 1, batch, true));
    let smaller = (1..batch).rev().filter(|micro| batch.is_multiple_of(*micro));
    let smaller = smaller.flat_map(|micro| [plan(data, seeds, 1, micro, false), plan(data, seeds, 1, micro, true)]);
    let mut least: Option<MemoryPlan> = None;
    for fit in stacks.chain(again).chain(smaller) {
        if fit.bytes <= budget {
            return Ok(fit);
        }
        least = least.filter(|least| least.bytes <= fit.bytes).or(Some(fit));
    }
    let Some(least) = least else { fail!(Internal, "there is no plan") };
    let again = if least.recompute { " and what can be computed again not kept" } else { "" };
    fail!(
        InvalidSetting,
        "setting 'train.memory_budget': found {budget} bytes, but training takes at least {} bytes, of them {} for the data of the window, \
         with samples taken {} at a time{again}; the cheapest that fits is memory_budget = \"{}B\"{}",
        least.bytes,
        data.planned_bytes(),
        least.micro_batch,
        least.bytes,
        if seeds > 1 { ", or fewer seeds" } else { ", or a smaller network" }
    )
}
