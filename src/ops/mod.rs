//! The operations that networks are built from. A file holds one op or a few related ones, each with its shape rule,
//! its forward and backward pass on the CPU and its test cases. The registry finds an op by name.
//!
//! Shapes are those of one sample (one date). A batched operand has a leading batch axis in memory. An operand that is
//! not batched (a parameter, or a value computed from parameters only) is shared by all samples.

mod activation;
mod arithmetic;
#[cfg(test)]
mod case;
mod dropout;
mod linear;
mod lstm;
mod matmul;
mod movement;
mod normalization;
mod reduction;
mod registry;
mod softmax;
#[cfg(test)]
mod tests;

use std::fmt::Debug;

use crate::device::cpu::LstmPackedWeights;
use crate::random::Random;

pub use activation::Activation;
pub(crate) use arithmetic::{Arithmetic, Scale};
pub(crate) use dropout::Dropout;
pub(crate) use linear::Linear;
pub(crate) use lstm::Lstm;
pub(crate) use matmul::MatMul;
pub(crate) use movement::{Concat, Slice};
pub use movement::{Reshape, Transpose};
pub(crate) use normalization::LayerNorm;
pub(crate) use reduction::{Reduce, Reduction};
pub use registry::{NAMES, from_name};
pub(crate) use softmax::Softmax;

/// Most operands of an op.
pub(crate) const MOST_OPERANDS: usize = 6;

/// The shape of an operand or output of an op.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operand {
    /// Shape of one sample.
    pub shape: Vec<usize>,
    /// Whether each sample has values of its own.
    pub batched: bool,
}

impl Operand {
    /// An operand with values per sample.
    pub fn batched(shape: &[usize]) -> Self {
        Self { shape: shape.to_vec(), batched: true }
    }

    /// An operand that all samples share.
    pub fn shared(shape: &[usize]) -> Self {
        Self { shape: shape.to_vec(), batched: false }
    }

    /// Elements of one sample.
    pub fn count(&self) -> usize {
        self.shape.iter().product()
    }

    /// Elements in memory for `batch` samples.
    pub fn size(&self, batch: usize) -> usize {
        self.count() * if self.batched { batch } else { 1 }
    }

    /// Length of the last axis; 1 for a scalar.
    pub fn last_axis(&self) -> usize {
        self.shape.last().copied().unwrap_or(1)
    }
}

/// The values of the forward pass that the backward pass of an op reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Uses {
    /// Per operand, whether it is read.
    pub inputs: [bool; MOST_OPERANDS],
    /// Whether the output is read.
    pub output: bool,
}

impl Uses {
    /// Nothing.
    pub const NOTHING: Self = Self { inputs: [false; MOST_OPERANDS], output: false };
    /// The output only.
    pub const OUTPUT: Self = Self { inputs: [false; MOST_OPERANDS], output: true };
    /// Every operand.
    pub const INPUTS: Self = Self { inputs: [true; MOST_OPERANDS], output: false };
}

/// Workspace that an op needs beside its operands and output, in elements.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Workspace {
    /// Written by the forward pass and read by the backward pass.
    pub saved: usize,
    /// Used during the forward pass.
    pub forward: usize,
    /// Used during the backward pass.
    pub backward: usize,
}

/// The parameters of an op in the layout of its kernel, packed once for many predictions.
#[derive(Debug)]
pub enum PackedWeights {
    /// Of an LSTM layer.
    Lstm(LstmPackedWeights),
}

impl PackedWeights {
    /// Bytes of its elements.
    pub fn bytes(&self) -> usize {
        match self {
            Self::Lstm(packed) => packed.bytes(),
        }
    }
}

/// What both passes of an op know about a call.
#[derive(Clone, Copy, Debug)]
pub struct Call<'a> {
    /// The operands.
    pub operands: &'a [Operand],
    /// The output.
    pub output: &'a Operand,
    /// Samples of the micro-batch.
    pub batch: usize,
    /// Whether the network is in training mode.
    pub training: bool,
    /// Whether internal values of the op, such as the states of a sequence, are rounded to half precision. The caller
    /// rounds the output; sums, norms and cell states stay in single precision.
    pub half: bool,
    /// The random sequence of this op at this step.
    pub random: Random,
    /// Index of the first sample of the micro-batch in the whole batch.
    pub offset: usize,
}

/// Arguments of a forward pass.
pub struct Forward<'a> {
    /// The call.
    pub call: Call<'a>,
    /// The values of the operands.
    pub inputs: &'a [&'a [f32]],
    /// The output; every element must be written.
    pub output: &'a mut [f32],
    /// Values for the backward pass; empty if there will be none.
    pub saved: &'a mut [f32],
    /// Workspace.
    pub scratch: &'a mut [f32],
    /// The parameters as [`Op::pack`] packed them, in a prediction.
    pub packed: Option<&'a PackedWeights>,
}

/// Arguments of a backward pass.
pub struct Backward<'a> {
    /// The call.
    pub call: Call<'a>,
    /// The values of the operands; empty for those that [`Op::uses`] does not name.
    pub inputs: &'a [&'a [f32]],
    /// The values of the output; empty if [`Op::uses`] does not name it.
    pub output: &'a [f32],
    /// The values that the forward pass saved.
    pub saved: &'a [f32],
    /// Workspace.
    pub scratch: &'a mut [f32],
    /// The gradient of the loss with respect to the output.
    pub output_grad: &'a [f32],
    /// The gradients of the loss with respect to the operands, to be added to; empty for those that are not needed.
    pub input_grads: &'a mut [&'a mut [f32]],
}

/// An op.
pub trait Op: Debug + Send + Sync {
    /// Its name in the text of a program.
    fn name(&self) -> &'static str;

    /// Its attributes in the text of a program; empty if it has none.
    fn attributes(&self) -> String {
        String::new()
    }

    /// The shape of one sample of the output. Checks attributes and operands; no program has an op that it refuses.
    ///
    /// # Errors
    /// What was found and what is allowed, as text that follows the name of the op.
    fn shape(&self, operands: &[Operand]) -> Result<Vec<usize>, String>;

    /// The values of the forward pass that the backward pass reads.
    fn uses(&self) -> Uses;

    /// Whether its parameters stay in single precision when those of products are in half precision.
    fn single_precision_parameters(&self) -> bool {
        false
    }

    /// Workspace for `batch` samples.
    fn workspace(&self, _operands: &[Operand], _output: &Operand, _batch: usize) -> Workspace {
        Workspace::default()
    }

    /// Workspace when activations are recomputed instead of saved. The backward pass then gets an empty `saved` and
    /// computes the same bits.
    fn recompute_workspace(&self, operands: &[Operand], output: &Operand, batch: usize) -> Workspace {
        self.workspace(operands, output, batch)
    }

    /// Whether its parameters, which are all operands but the first, can be packed for predictions.
    fn packs(&self) -> bool {
        false
    }

    /// Packs its parameters, in the order of the operands. With `half` they are already rounded to half precision.
    fn pack(&self, _parameters: &[&[f32]], _half: bool) -> Option<PackedWeights> {
        None
    }

    /// Workspace of a prediction with packed parameters.
    fn packed_workspace(&self, operands: &[Operand], output: &Operand, batch: usize) -> Workspace {
        self.workspace(operands, output, batch)
    }

    /// Computes the output.
    fn forward(&self, pass: &mut Forward);

    /// Adds to the gradients of the operands.
    fn backward(&self, pass: &mut Backward);
}

/// Fails unless there are `count` operands.
fn check_operand_count(operands: &[Operand], count: usize) -> Result<(), String> {
    if operands.len() == count {
        return Ok(());
    }
    Err(format!("takes {count} operands, found {}", operands.len()))
}

/// Whether this gradient of an operand is to be computed; the buffer is empty where it is not.
fn is_needed(gradient: &[f32]) -> bool {
    !gradient.is_empty()
}
