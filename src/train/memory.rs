//! The memory of training, planned before the first step to fit the budget. Memory is saved in this order: train fewer
//! replicas at a time; with one replica, recompute activations instead of saving them; then use smaller micro-batches.

use super::dataset::TrainingData;
use super::step::Stepper;
use crate::error::{Result, fail};

/// How training fits its memory budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryPlan {
    /// Replicas trained at a time.
    pub stack: usize,
    /// Samples that pass through a network at a time.
    pub micro_batch: usize,
    /// Whether ops that can do so recompute activations in the backward pass instead of saving them.
    pub recompute: bool,
    /// Planned bytes.
    pub bytes: usize,
}

/// The plan for `seeds` replicas, `stack` of them at a time.
fn plan(data: &TrainingData, seeds: usize, stack: usize, micro_batch: usize, recompute: bool) -> MemoryPlan {
    let (program, batch) = (&data.bound.program, data.batch());
    let best = seeds * program.parameter_count() * size_of::<f32>();
    let labels = batch * data.output_elements() * size_of::<f32>();
    let stepper = Stepper::planned_bytes(program, &data.step, batch, micro_batch, recompute);
    let bytes = data.planned_bytes() + labels + best + stack * stepper;
    MemoryPlan { stack, micro_batch, recompute, bytes }
}

/// The first plan that fits the budget, cheapest saving first. Fewer replicas at a time cost nothing on a CPU.
/// Recomputing costs less than smaller micro-batches, which need two forward passes, but not every op can.
pub(super) fn plan_memory(data: &TrainingData, seeds: usize) -> Result<MemoryPlan> {
    let (batch, budget) = (data.batch(), data.settings.memory_budget);
    let fewer_replicas = (1..=seeds).rev().map(|stack| plan(data, seeds, stack, batch, false));
    let recompute = std::iter::once(plan(data, seeds, 1, batch, true));
    let smaller = (1..batch).rev().filter(|micro_batch| batch.is_multiple_of(*micro_batch));
    let smaller =
        smaller.flat_map(|micro_batch| [false, true].map(|recompute| plan(data, seeds, 1, micro_batch, recompute)));
    let mut smallest: Option<MemoryPlan> = None;
    for plan in fewer_replicas.chain(recompute).chain(smaller) {
        if plan.bytes <= budget {
            return Ok(plan);
        }
        smallest = smallest.filter(|smallest| smallest.bytes <= plan.bytes).or(Some(plan));
    }
    let Some(smallest) = smallest else { fail!(Internal, "there is no memory plan") };
    let recompute = if smallest.recompute { " and recomputed activations" } else { "" };
    fail!(
        InvalidSetting,
        "setting 'train.memory_budget': found {budget} bytes, but training takes at least {} bytes, {} of them for the \
         data of the window, with micro-batches of {}{recompute}; allowed is memory_budget = \"{}B\" or more{}",
        smallest.bytes,
        data.planned_bytes(),
        smallest.micro_batch,
        smallest.bytes,
        if seeds > 1 { "; fewer seeds need less" } else { "; a smaller network needs less" }
    )
}
