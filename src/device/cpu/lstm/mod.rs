//! A layer of an LSTM, forward and backward, fused: weights are packed once a call in the order in which the tiles of sums
//! read them, so that the four gates of the same units are in registers together when their functions are due.
//!
//! Units are taken in groups of one vector. A row of gates holds group after group, and of each group i, f, g and o.
//! Sequences are taken in blocks, a block step by step, so that what a step leaves is near when the next one wants it.
//! Sums of a row have one order, whatever rows stand beside it: a row's bits depend on no other row.

mod backward;
mod forward;
mod pack;
mod packed_weights;

use pulp::Arch;

use super::microkernel::MOST_LANES;
pub use packed_weights::LstmPackedWeights;

/// Most sequences of a block.
const BLOCK: usize = 48;
/// Most rows (a sequence at a step) of gradients of gates that are in memory before the weights' gradients take them.
const WINDOW: usize = 192;
/// Fewer sequences than this have the products of their inputs taken for many steps at once.
const FEW: usize = 4;
/// Most rows whose products of inputs are taken at once.
const AHEAD: usize = 60;

/// Sizes of a layer's call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LstmShape {
    /// Sequences.
    pub sequences: usize,
    /// Steps of each.
    pub steps: usize,
    /// Numbers of an input.
    pub inputs: usize,
    /// Units.
    pub hidden: usize,
}

/// Parameters of a layer, in PyTorch's layout and gate order.
#[derive(Clone, Copy, Debug)]
pub struct LstmWeights<'a> {
    /// `[4 hidden, inputs]`.
    pub input: &'a [f32],
    /// `[4 hidden, hidden]`.
    pub recurrent: &'a [f32],
    /// Two of `[4 hidden]`, which are added up.
    pub biases: [&'a [f32]; 2],
}

/// Gradients of a layer, to be added to; empty where nobody asks.
#[derive(Debug)]
pub struct LstmGradients<'a> {
    /// Of the inputs, `[sequences, steps, inputs]`.
    pub x: &'a mut [f32],
    /// `[4 hidden, inputs]`.
    pub input: &'a mut [f32],
    /// `[4 hidden, hidden]`.
    pub recurrent: &'a mut [f32],
    /// Two of `[4 hidden]`, whose gradients are equal.
    pub biases: [&'a mut [f32]; 2],
}

/// A count of units or inputs with room for whole vectors, however wide.
fn padded(count: usize) -> usize {
    count.next_multiple_of(MOST_LANES)
}

impl LstmShape {
    /// Gates of a row, padded.
    fn wide(&self) -> usize {
        4 * padded(self.hidden)
    }

    /// Rows that a block's inputs are taken ahead for, where they are.
    fn ahead(&self) -> usize {
        if self.sequences < FEW { AHEAD.min(self.sequences * self.steps) } else { 0 }
    }

    /// Rows of gradients of gates in memory, and one step more.
    fn window(&self) -> usize {
        WINDOW.min(BLOCK.min(self.sequences) * (self.steps + 1))
    }

    /// From one row of the weights' right factors to the next: input, state and a one. An odd number of cache lines, so that
    /// one column of many rows does not fall in a few places of a cache.
    fn factors(&self) -> usize {
        let lines = (self.inputs + self.hidden + 1).div_ceil(MOST_LANES);
        (lines | 1) * MOST_LANES
    }

    /// Numbers that a forward pass keeps for the backward pass: gates after their functions and cell states of each row.
    pub fn saved(&self) -> usize {
        self.sequences * self.steps * (self.wide() + padded(self.hidden))
    }

    /// Numbers that a forward pass works with: packed weights and biases, cell states of a block, and products of inputs.
    pub fn forward(&self) -> usize {
        self.wide() * (self.inputs + self.hidden + 1) + self.forward_packed()
    }

    /// The same where the weights were packed beforehand.
    pub fn forward_packed(&self) -> usize {
        BLOCK.min(self.sequences) * padded(self.hidden) + self.ahead() * self.wide()
    }

    /// Numbers that a backward pass works with: packed weights, the weights' gradients, gradients of a block's cell states,
    /// and gradients of gates and right factors of some steps.
    pub fn backward(&self) -> usize {
        let packed = self.wide() * (padded(self.inputs) + padded(self.hidden));
        let gradients = self.wide() * (self.inputs + self.hidden + 1);
        let cells = BLOCK.min(self.sequences) * padded(self.hidden);
        packed + gradients + cells + self.window() * (self.wide() + self.factors())
    }

    /// Numbers that computing a block again works with: what a forward pass does, and gates, cell states and states of a block.
    pub fn again(&self) -> usize {
        let rows = BLOCK.min(self.sequences) * self.steps;
        self.forward() + rows * (self.wide() + padded(self.hidden) + self.hidden)
    }
}

/// What a pass is given.
#[derive(Clone, Copy, Debug)]
pub struct LstmGiven<'a> {
    /// Sizes.
    pub shape: LstmShape,
    /// Parameters; a backward pass that need not compute again reads no bias.
    pub weights: LstmWeights<'a>,
    /// `[sequences, steps, inputs]`.
    pub x: &'a [f32],
    /// Whether gates, states and their gradients are rounded to half precision; sums and cell states are not.
    pub half: bool,
}

/// The state at every step, `[sequences, steps, hidden]`. `saved` has [`LstmShape::saved`] numbers, or none where no backward
/// pass will come; `scratch` has [`LstmShape::forward`].
///
/// # Panics
/// Where sizes do not agree: a fault of the caller.
pub fn lstm_forward(given: LstmGiven, output: &mut [f32], saved: &mut [f32], scratch: &mut [f32]) {
    forward_at(Arch::new(), given, output, saved, scratch);
}

/// The same without a backward pass, with weights that were packed beforehand: those in `given` are not looked at. `scratch` has
/// [`LstmShape::forward_packed`] numbers.
///
/// # Panics
/// Where sizes do not agree: a fault of the caller.
pub fn lstm_predict(given: LstmGiven, prepared: &LstmPackedWeights, output: &mut [f32], scratch: &mut [f32]) {
    predict_at(Arch::new(), given, prepared, output, scratch);
}

/// Adds to the gradients of x and of the parameters. `output` and `saved` are as [`lstm_forward`] left them, `gradient` is
/// that of the output, and `scratch` has [`LstmShape::backward`] numbers. Where nothing was saved, gates and cell states are
/// computed again, to the same bits, block by block, and `scratch` has [`LstmShape::again`] numbers more.
///
/// # Panics
/// Where sizes do not agree: a fault of the caller.
pub fn lstm_backward(
    given: LstmGiven,
    output: &[f32],
    saved: &[f32],
    gradient: &[f32],
    gradients: LstmGradients,
    scratch: &mut [f32],
) {
    backward_at(Arch::new(), (given, gradient), (output, saved), gradients, scratch);
}

fn forward_at(arch: Arch, given: LstmGiven, output: &mut [f32], saved: &mut [f32], scratch: &mut [f32]) {
    arch.dispatch(forward::Pass { given, prepared: None, output, saved, scratch });
}

fn predict_at(arch: Arch, given: LstmGiven, prepared: &LstmPackedWeights, output: &mut [f32], scratch: &mut [f32]) {
    arch.dispatch(forward::Pass { given, prepared: Some(prepared), output, saved: &mut [], scratch });
}

fn backward_at(
    arch: Arch,
    (given, gradient): (LstmGiven, &[f32]),
    (output, saved): (&[f32], &[f32]),
    gradients: LstmGradients,
    scratch: &mut [f32],
) {
    arch.dispatch(backward::Pass { given, output, saved, gradient, gradients, scratch });
}

#[cfg(test)]
mod tests;
