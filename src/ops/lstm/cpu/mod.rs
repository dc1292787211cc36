//! Fused LSTM layer, forward and backward. The weights are packed once per call so that one tile computes the four
//! gates of a group of units and applies their activations while the sums are in registers.
//!
//! Units are grouped by vector. A row of gates (one sequence at one step) is group after group, and in each group i, f,
//! g, o. Sequences are processed in blocks, each block step by step, so that the values of a step are in cache at the
//! next one. The sums of a row have a fixed order, so its bits do not depend on the other rows.

mod backward;
mod dates;
mod forward;
mod pack;
mod packed_weights;

use pulp::Arch;

use super::super::{Backward, Call, CpuKernel, Forward, Operand, PackedWeights, Workspace};
use super::Lstm;
use crate::device::cpu::{MOST_LANES, arch};
use backward::BackwardPass;
use dates::DateRows;
use forward::ForwardPass;
pub(crate) use packed_weights::LstmPackedWeights;

/// Most sequences of a block.
const BLOCK: usize = 48;
/// Most rows of gate gradients that a backward pass holds before it adds their products to the weight gradients.
const TIME_BLOCK_ROWS: usize = 192;
/// Below this many sequences, the input projections of many steps are computed together.
const FEW_SEQUENCES: usize = 4;
/// Most rows whose input projections are computed together.
const PROJECTED_ROWS: usize = 60;

/// Sizes of a call of a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LstmShape {
    /// Sequences.
    pub sequences: usize,
    /// Steps of each sequence.
    pub steps: usize,
    /// Input features.
    pub inputs: usize,
    /// Hidden units.
    pub hidden: usize,
}

/// Parameters of a layer, in PyTorch's layout and gate order.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LstmWeights<'a> {
    /// `[4 hidden, inputs]`.
    pub input: &'a [f32],
    /// `[4 hidden, hidden]`.
    pub recurrent: &'a [f32],
    /// Input and recurrent bias, each `[4 hidden]`; the layer uses their sum.
    pub biases: [&'a [f32]; 2],
}

/// Gradients that a backward pass adds to. A slice is empty if its gradient is not needed.
#[derive(Debug)]
pub(crate) struct LstmGradients<'a> {
    /// Of the inputs, `[sequences, steps, inputs]`.
    pub x: &'a mut [f32],
    /// `[4 hidden, inputs]`.
    pub input: &'a mut [f32],
    /// `[4 hidden, hidden]`.
    pub recurrent: &'a mut [f32],
    /// Of both biases, each `[4 hidden]`; the two are equal.
    pub biases: [&'a mut [f32]; 2],
}

/// A count of units or inputs, rounded up to whole vectors of any supported width.
fn padded(count: usize) -> usize {
    count.next_multiple_of(MOST_LANES)
}

impl LstmShape {
    /// Gates of a row, padded for any vector width.
    fn padded_gate_width(&self) -> usize {
        4 * padded(self.hidden)
    }

    /// Rows whose input projections are computed together; 0 if every step computes its own.
    fn projected_rows(&self) -> usize {
        if self.sequences < FEW_SEQUENCES { PROJECTED_ROWS.min(self.sequences * self.steps) } else { 0 }
    }

    /// Rows of gate gradients that a backward pass holds: those of a time block and of the step after it.
    fn time_block_rows(&self) -> usize {
        TIME_BLOCK_ROWS.min(BLOCK.min(self.sequences) * (self.steps + 1))
    }

    /// Distance between rows of the right factors of the weight gradients (input, state, 1). An odd number of cache
    /// lines, so that a column of many rows spreads over the sets of the cache.
    fn factor_stride(&self) -> usize {
        let lines = (self.inputs + self.hidden + 1).div_ceil(MOST_LANES);
        (lines | 1) * MOST_LANES
    }

    /// Elements that a forward pass saves for the backward pass: activated gates and cell states of each row.
    pub(crate) fn saved(&self) -> usize {
        self.sequences * self.steps * (self.padded_gate_width() + padded(self.hidden))
    }

    /// Elements of workspace of a forward pass: packed parameters, cell states of a block and input projections.
    pub(crate) fn forward(&self) -> usize {
        self.padded_gate_width() * (self.inputs + self.hidden + 1) + self.forward_packed(false)
    }

    /// Elements of workspace of a forward pass with weights that were packed beforehand: cell states of a block, input
    /// projections and, if weights are stored in `half` precision, those weights in single precision for several
    /// sequences.
    pub(crate) fn forward_packed(&self, half: bool) -> usize {
        let widened =
            if half && self.sequences > 1 { self.padded_gate_width() * (self.inputs + self.hidden) } else { 0 };
        BLOCK.min(self.sequences) * padded(self.hidden) + self.projected_rows() * self.padded_gate_width() + widened
    }

    /// Elements of workspace of a backward pass: packed weights, weight gradients, cell-state gradients of a block, and
    /// gate gradients and right factors of a time block.
    pub(crate) fn backward(&self) -> usize {
        let packed = self.padded_gate_width() * (padded(self.inputs) + padded(self.hidden));
        let gradients = self.padded_gate_width() * (self.inputs + self.hidden + 1);
        let cells = BLOCK.min(self.sequences) * padded(self.hidden);
        packed + gradients + cells + self.time_block_rows() * (self.padded_gate_width() + self.factor_stride())
    }

    /// Elements of additional workspace of a backward pass that recomputes what was not saved: that of a forward pass,
    /// and gates, cell states and states of a block.
    pub(crate) fn recompute(&self) -> usize {
        let rows = BLOCK.min(self.sequences) * self.steps;
        self.forward() + rows * (self.padded_gate_width() + padded(self.hidden) + self.hidden)
    }
}

/// The arguments that all passes take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LstmArguments<'a> {
    /// Sizes.
    pub shape: LstmShape,
    /// Parameters. A backward pass reads the biases only if it recomputes.
    pub weights: LstmWeights<'a>,
    /// Inputs, `[sequences, steps, inputs]`.
    pub x: &'a [f32],
    /// Whether gates, states and their gradients are rounded to half precision. Sums and cell states never are.
    pub half: bool,
}

/// Computes the state at every step, `[sequences, steps, hidden]`. `saved` has [`LstmShape::saved`] elements, or none
/// if there will be no backward pass; `scratch` has [`LstmShape::forward`], and with `dates` [`LstmShape::by_date`] more.
/// `dates` moves no bit.
///
/// # Panics
/// If the sizes do not agree.
fn forward_at(
    arch: Arch,
    arguments: LstmArguments,
    dates: Option<&DateRows>,
    output: &mut [f32],
    saved: &mut [f32],
    scratch: &mut [f32],
) {
    arch.dispatch(ForwardPass { arguments, packed: None, dates, output, saved, scratch });
}

/// Computes the same bits as [`forward_at`] with weights that were packed beforehand, without a backward pass. The
/// weights in `arguments` are ignored. `scratch` has [`LstmShape::forward_packed`] elements.
///
/// # Panics
/// If the sizes do not agree.
fn predict_at(
    arch: Arch,
    arguments: LstmArguments,
    packed: &LstmPackedWeights,
    output: &mut [f32],
    scratch: &mut [f32],
) {
    let (packed, saved) = (Some(packed), &mut [][..]);
    arch.dispatch(ForwardPass { arguments, packed, dates: None, output, saved, scratch });
}

/// Adds to the gradients of the inputs and the parameters. `output` and `saved` are those of [`forward_at`],
/// `output_grad` is `[sequences, steps, hidden]`, and `scratch` has [`LstmShape::backward`] elements, with `dates`
/// [`LstmShape::by_date`] more. If `saved` is empty, gates and cell states are recomputed block by block, to the same
/// bits, and `scratch` has [`LstmShape::recompute`] elements more. With `dates` the gradient of the input weights is
/// summed by date, which moves it by rounding.
///
/// # Panics
/// If the sizes do not agree.
fn backward_at(
    arch: Arch,
    (arguments, dates, output_grad): (LstmArguments, Option<&DateRows>, &[f32]),
    (output, saved): (&[f32], &[f32]),
    gradients: LstmGradients,
    scratch: &mut [f32],
) {
    arch.dispatch(BackwardPass { arguments, dates, output, saved, output_grad, gradients, scratch });
}

/// Sizes of a call for `batch` samples; a sample may have several sequences.
fn kernel_shape(x: &Operand, output: &Operand, batch: usize) -> LstmShape {
    let axes = x.shape.len();
    let (steps, inputs) = (x.shape[axes - 2], x.shape[axes - 1]);
    LstmShape { sequences: x.size(batch) / (steps * inputs), steps, inputs, hidden: output.last_axis() }
}

fn arguments<'a>(call: &Call, inputs: &[&'a [f32]]) -> LstmArguments<'a> {
    LstmArguments {
        shape: kernel_shape(&call.operands[0], call.output, call.batch),
        weights: LstmWeights { input: inputs[1], recurrent: inputs[2], biases: [inputs[3], inputs[4]] },
        x: inputs[0],
        half: call.half,
    }
}

/// The distinct rows of x, where the executor knows dates.
fn date_rows(call: &Call) -> Option<DateRows> {
    let x = &call.operands[0].shape;
    call.dates.map(|dates| DateRows::new(dates, x[x.len() - 2]))
}

impl CpuKernel for Lstm {
    fn workspace(&self, operands: &[Operand], output: &Operand, batch: usize) -> Workspace {
        let shape = kernel_shape(&operands[0], output, batch);
        Workspace { saved: shape.saved(), forward: shape.forward(), backward: shape.backward() }
    }

    fn recompute_workspace(&self, operands: &[Operand], output: &Operand, batch: usize) -> Workspace {
        let shape = kernel_shape(&operands[0], output, batch);
        Workspace { saved: 0, forward: shape.forward(), backward: shape.backward() + shape.recompute() }
    }

    fn packs(&self) -> bool {
        true
    }

    fn pack(&self, parameters: &[&[f32]], half: bool) -> Option<PackedWeights> {
        let [input, recurrent, input_bias, recurrent_bias] = *parameters else { return None };
        let weights = LstmWeights { input, recurrent, biases: [input_bias, recurrent_bias] };
        Some(PackedWeights::Lstm(LstmPackedWeights::new(weights, input_bias.len() / 4, half)))
    }

    fn packed_workspace(&self, operands: &[Operand], output: &Operand, batch: usize, half: bool) -> Workspace {
        Workspace { forward: kernel_shape(&operands[0], output, batch).forward_packed(half), ..Workspace::default() }
    }

    fn date_workspace(
        &self,
        (operands, output): (&[Operand], &Operand),
        batch: usize,
        date_rows: usize,
        recomputes: bool,
    ) -> usize {
        kernel_shape(&operands[0], output, batch).by_date(date_rows, recomputes)
    }

    fn forward(&self, pass: &mut Forward) {
        let arguments = arguments(&pass.call, pass.inputs);
        match pass.packed {
            Some(PackedWeights::Lstm(packed)) => predict_at(arch(), arguments, packed, pass.output, pass.scratch),
            None => {
                let dates = date_rows(&pass.call);
                forward_at(arch(), arguments, dates.as_ref(), pass.output, pass.saved, pass.scratch);
            }
        }
    }

    fn backward(&self, pass: &mut Backward) {
        let [x, input, recurrent, input_bias, recurrent_bias, ..] = &mut *pass.input_grads else { return };
        let gradients = LstmGradients { x, input, recurrent, biases: [input_bias, recurrent_bias] };
        let arguments = arguments(&pass.call, pass.inputs);
        let dates = date_rows(&pass.call);
        let given = (arguments, dates.as_ref(), pass.output_grad);
        backward_at(arch(), given, (pass.output, pass.saved), gradients, pass.scratch);
    }
}

#[cfg(test)]
mod tests;
