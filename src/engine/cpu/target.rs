//! What a memory plan must know of the CPU.

use super::packed::packs;
use crate::ops::Workspace;
use crate::program::{Dtype, Plan, PlanTarget, PlannedCall, Program, Purpose, WorkspaceBytes};

/// Bytes of an element: values in half precision are kept in single precision, rounded where they are written.
pub(crate) const ELEMENT: usize = size_of::<f32>();

/// Alignment of buffers: a cache line, so that no two share one and vectors do not cross one.
pub(crate) const LINE: usize = 64;

/// The CPU as the target of a plan.
pub(crate) struct Cpu;

impl PlanTarget for Cpu {
    fn workspace(&self, program: &Program, call: &PlannedCall, purpose: Purpose) -> WorkspaceBytes {
        let PlannedCall { node, operands, output, batch } = *call;
        let Workspace { saved, forward, backward } = match purpose {
            Purpose::TrainRecompute => node.op.cpu().recompute_workspace(operands, output, batch),
            Purpose::Predict if packs(program, node) => node.op.cpu().packed_workspace(operands, output, batch),
            Purpose::Train | Purpose::Predict => node.op.cpu().workspace(operands, output, batch),
        };
        WorkspaceBytes { saved: saved * ELEMENT, forward: forward * ELEMENT, backward: backward * ELEMENT }
    }

    fn element_bytes(&self, _dtype: Dtype) -> usize {
        ELEMENT
    }

    fn alignment(&self) -> usize {
        LINE
    }
}

impl Program {
    /// Plans the memory of one replica on the CPU, for micro-batches of `batch` samples.
    pub fn plan(&self, purpose: Purpose, batch: usize) -> Plan {
        self.plan_for(&Cpu, purpose, batch)
    }
}
