//! What a memory plan must know of the CPU.

use super::by_date::lstms_by_date;
use super::packed::packs;
use crate::ops::Workspace;
use crate::program::{Dtype, Plan, PlanTarget, PlannedCall, Program, Purpose, WorkspaceBytes};

/// Bytes of an element: values in half precision are kept in single precision, rounded where they are written.
pub(crate) const ELEMENT: usize = size_of::<f32>();

/// Alignment of buffers: a cache line, so that no two share one and vectors do not cross one.
pub(crate) const LINE: usize = 64;

/// The CPU as the target of a plan.
pub(crate) struct Cpu {
    /// Most distinct rows of a plane that a micro-batch sees; 0 where dates of samples are not known.
    pub(crate) date_rows: usize,
    /// Per node, whether it can go by date.
    pub(crate) by_date: Vec<bool>,
}

impl PlanTarget for Cpu {
    fn workspace(&self, program: &Program, call: &PlannedCall, purpose: Purpose) -> WorkspaceBytes {
        let PlannedCall { node, index, operands, output, batch } = *call;
        let Workspace { saved, forward, backward } = match purpose {
            Purpose::TrainRecompute => node.op.cpu().recompute_workspace(operands, output, batch),
            Purpose::Predict if packs(program, node) => {
                node.op.cpu().packed_workspace(operands, output, batch, program.is_half())
            }
            Purpose::Train | Purpose::Predict => node.op.cpu().workspace(operands, output, batch),
        };
        let recomputes = purpose == Purpose::TrainRecompute;
        let goes_by_date = self.date_rows > 0 && self.by_date.get(index).copied().unwrap_or(false);
        let more = if goes_by_date {
            node.op.cpu().date_workspace((operands, output), batch, self.date_rows, recomputes)
        } else {
            0
        };
        let (forward, backward) = (forward + more, backward + more);
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
        self.plan_for(&Cpu { date_rows: 0, by_date: Vec::new() }, purpose, batch)
    }

    /// As [`Program::plan`], for samples whose dates are known and that see at most `date_rows` distinct rows of a plane.
    pub(crate) fn plan_by_date(&self, purpose: Purpose, batch: usize, date_rows: usize) -> Plan {
        self.plan_for(&Cpu { date_rows, by_date: lstms_by_date(self) }, purpose, batch)
    }
}
