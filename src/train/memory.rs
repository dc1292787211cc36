//! The memory of training, planned before the first step to fit the budget. The plan is a function of network, batch and
//! budget alone, as if the window trained alone: how many windows or replicas then train side by side moves time, never
//! a bit.
//!
//! Memory is saved in the order of cost: hold fewer replicas at a time, which costs nothing; then smaller micro-batches,
//! which repeat every forward pass; then fewer micro-batches at a time, which leaves cores idle; then recomputed
//! activations.

use super::dataset::TrainingData;
use crate::engine::State;
use crate::engine::cpu::{StepPlan, Workspace, largest_part, parts};
use crate::error::{Result, fail};

/// How training fits its memory budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryPlan {
    /// Replicas held at a time.
    pub stack: usize,
    /// Samples that pass through a network at a time.
    pub micro_batch: usize,
    /// Whether ops that can do so recompute activations in the backward pass instead of saving them.
    pub recompute: bool,
    /// Planned bytes with one replica in training: what the run holds for all its trainings, the data of the window,
    /// the states of its replicas, and one workspace.
    pub bytes: usize,
    /// Bytes of `bytes` that the run holds for all its trainings.
    pub(crate) held: usize,
    /// Bytes of `bytes` that are the workspace of one replica in training.
    pub(crate) workspace: usize,
    pub(crate) step: StepPlan,
}

/// The plan for `seeds` replicas, `stack` of them held at a time, in a run that holds `held` bytes anyway.
fn plan(data: &TrainingData, (seeds, held): (usize, usize), stack: usize, step: StepPlan) -> MemoryPlan {
    let program = &data.bound.program;
    let best = seeds * program.parameter_count() * size_of::<f32>();
    let workspace = Workspace::planned_bytes(program, data.settings.objective, step, data.charges_turnover());
    let bytes = held + data.planned_bytes() + best + stack * State::planned_bytes(program) + workspace;
    MemoryPlan { stack, micro_batch: step.micro_batch, recompute: step.recompute, bytes, held, workspace, step }
}

/// The first plan that fits the budget, cheapest saving first. `held` are the bytes that the run holds anyway.
pub(super) fn plan_memory(data: &TrainingData, seeds: usize, held: usize) -> Result<MemoryPlan> {
    let (batch, budget) = (data.batch(), data.settings.memory_budget);
    let date_rows = data.date_rows();
    let whole = StepPlan { date_rows, ..StepPlan::whole(batch) };
    let fewer_replicas = (1..=seeds).rev().map(|stack| (stack, whole));
    // Of all sizes of a micro-batch that need as many passes, the smallest.
    let part = largest_part(batch);
    let mut sizes: Vec<usize> = (1..=part).map(|passes| part.div_ceil(passes)).collect();
    sizes.dedup();
    let smaller = [(false, parts(batch)), (false, 1), (true, parts(batch)), (true, 1)].into_iter().flat_map(|saving| {
        let (recompute, lanes) = saving;
        sizes.iter().map(move |&micro_batch| (1, StepPlan { batch, micro_batch, recompute, lanes, date_rows }))
    });
    let mut smallest: Option<MemoryPlan> = None;
    for (stack, step) in fewer_replicas.chain(smaller) {
        let plan = plan(data, (seeds, held), stack, step);
        if plan.bytes <= budget {
            return Ok(plan);
        }
        smallest = smallest.filter(|smallest| smallest.bytes <= plan.bytes).or(Some(plan));
    }
    let Some(smallest) = smallest else { fail!(Internal, "there is no memory plan") };
    let least = smallest.bytes;
    let recompute = if smallest.recompute { " and recomputed activations" } else { "" };
    fail!(
        InvalidSetting,
        "setting 'train.memory_budget': found {budget} bytes, but training takes at least {least} bytes, {} of them for \
         the data, with micro-batches of {}{recompute}; allowed is memory_budget = \"{least}B\" or more{}",
        held + data.planned_bytes(),
        smallest.micro_batch,
        if seeds > 1 { "; fewer seeds need less" } else { "; a smaller network needs less" }
    )
}

/// Refuses a plan above what the machine or the control group has left. Free memory may only refuse: a plan that
/// depended on it would make results depend on the neighbours of a process.
///
/// # Errors
/// `InvalidSetting` with what is needed and what is there.
pub(super) fn check_machine(plan: &MemoryPlan, available: Option<u64>) -> Result<()> {
    // What the run holds is already taken.
    let needed = (plan.bytes - plan.held) as u64;
    if let Some(available) = available.filter(|available| *available < needed) {
        fail!(
            InvalidSetting,
            "setting 'train.memory_budget': training is planned to take {needed} bytes beside what the run holds, but the \
             machine or the control group of the process has {available} left; set memory_budget = \"{}B\" or less, or \
             free memory",
            available / 10 * 9 + plan.held as u64
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{MemoryPlan, check_machine};
    use crate::engine::cpu::StepPlan;

    #[test]
    fn a_plan_above_what_the_machine_has_left_is_refused() {
        let step = StepPlan::whole(32);
        let (micro_batch, recompute) = (step.micro_batch, step.recompute);
        let plan = MemoryPlan { stack: 1, micro_batch, recompute, bytes: 5000, held: 1000, workspace: 3000, step };
        assert!(check_machine(&plan, None).is_ok() && check_machine(&plan, Some(4000)).is_ok());
        let message = check_machine(&plan, Some(3999)).unwrap_err().to_string();
        assert!(message.contains("take 4000 bytes") && message.contains("has 3999 left"), "{message}");
        assert!(message.contains("memory_budget = \"4591B\""), "{message}");
    }
}
