//! What networks are made of. Each op is a folder's file: its shape rule, its forward and backward pass on the processor, and
//! its cases. A table lists them; tests iterate it.
//!
//! Shapes are those of one sample (one date). A batched operand has a leading batch axis in memory; one that is not
//! batched (a parameter, or what is computed of parameters alone) is shared by all samples.

mod activation;
mod arithmetic;
mod cases;
mod dropout;
mod linear;
mod lstm;
mod matmul;
mod movement;
mod normalization;
mod reduction;
mod registry;
mod softmax;

use std::fmt::Debug;

use crate::device::cpu::LstmPackedWeights;
use crate::random::Random;

pub use activation::Activation;
pub use arithmetic::{Arithmetic, Scale};
pub use cases::{Case, TABLE};
pub use dropout::Dropout;
pub use linear::Linear;
pub use lstm::Lstm;
pub use matmul::MatMul;
pub use movement::{Concat, Reshape, Slice, Transpose};
pub use normalization::LayerNorm;
pub use reduction::{Reduce, Reduction};
pub use registry::{NAMES, from_name};
pub use softmax::Softmax;

/// Most operands of an op.
pub const MOST_OPERANDS: usize = 6;

/// What an op is given or gives: the shape of one sample, and whether there is one for each sample of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operand {
    /// Shape of one sample.
    pub shape: Vec<usize>,
    /// Whether each sample has its own.
    pub batched: bool,
}

impl Operand {
    /// One for each sample.
    pub fn batched(shape: &[usize]) -> Self {
        Self { shape: shape.to_vec(), batched: true }
    }

    /// One shared by all samples.
    pub fn shared(shape: &[usize]) -> Self {
        Self { shape: shape.to_vec(), batched: false }
    }

    /// Numbers of one sample.
    pub fn count(&self) -> usize {
        self.shape.iter().product()
    }

    /// Numbers in memory.
    pub fn size(&self, batch: usize) -> usize {
        self.count() * if self.batched { batch } else { 1 }
    }

    /// The last axis; 1 for a single number.
    pub fn last(&self) -> usize {
        self.shape.last().copied().unwrap_or(1)
    }
}

/// What the backward pass of an op reads of the forward pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Uses {
    /// By operand.
    pub inputs: [bool; MOST_OPERANDS],
    /// The output.
    pub output: bool,
}

impl Uses {
    /// Nothing.
    pub const NOTHING: Self = Self { inputs: [false; MOST_OPERANDS], output: false };
    /// The output alone.
    pub const OUTPUT: Self = Self { inputs: [false; MOST_OPERANDS], output: true };
    /// Every operand.
    pub const INPUTS: Self = Self { inputs: [true; MOST_OPERANDS], output: false };
}

/// Workspace that an op wants beside its operands, in numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Workspace {
    /// Written by the forward pass and read by the backward pass.
    pub saved: usize,
    /// Used during the forward pass.
    pub forward: usize,
    /// Used during the backward pass.
    pub backward: usize,
}

/// Parameters of an op as its kernel reads them, packed once for many predictions.
#[derive(Debug)]
pub enum PackedWeights {
    /// Of an LSTM layer.
    Lstm(LstmPackedWeights),
}

impl PackedWeights {
    /// Bytes of its numbers.
    pub fn bytes(&self) -> usize {
        match self {
            Self::Lstm(prepared) => prepared.bytes(),
        }
    }
}

/// What an op knows of a call.
#[derive(Clone, Copy, Debug)]
pub struct Call<'a> {
    /// The operands.
    pub operands: &'a [Operand],
    /// The output.
    pub output: &'a Operand,
    /// Samples.
    pub batch: usize,
    /// Whether the network is being trained.
    pub training: bool,
    /// Whether what an op keeps inside, such as states of a sequence, is rounded to half precision. What it gives is rounded by
    /// its caller; sums, norms and cell states stay in single precision.
    pub half: bool,
    /// Random numbers of this op at this step.
    pub random: Random,
    /// The place of the first sample in the whole batch, which micro-batches cut in parts.
    pub first: usize,
}

/// The forward pass.
pub struct Forward<'a> {
    /// The call.
    pub call: Call<'a>,
    /// The operands' values.
    pub inputs: &'a [&'a [f32]],
    /// Where the output goes; every number must be written.
    pub output: &'a mut [f32],
    /// What the backward pass will read; empty where none will come.
    pub saved: &'a mut [f32],
    /// Workspace.
    pub scratch: &'a mut [f32],
    /// What [`Op::pack`] made of the parameters, for a prediction.
    pub packed: Option<&'a PackedWeights>,
}

/// The backward pass: adds to the gradients of the operands.
pub struct Backward<'a> {
    /// The call.
    pub call: Call<'a>,
    /// The operands' values, empty where [`Op::uses`] does not name them.
    pub inputs: &'a [&'a [f32]],
    /// The output's values, empty where [`Op::uses`] does not name them.
    pub output: &'a [f32],
    /// What the forward pass saved.
    pub saved: &'a [f32],
    /// Workspace.
    pub scratch: &'a mut [f32],
    /// The gradient of the loss with respect to the output.
    pub gradient: &'a [f32],
    /// Gradients with respect to the operands, to be added to; empty where nobody asks.
    pub gradients: &'a mut [&'a mut [f32]],
}

/// An op.
pub trait Op: Debug + Send + Sync {
    /// Its name, as programs show it.
    fn name(&self) -> &'static str;

    /// Its attributes, as programs show them; empty where it has none.
    fn attributes(&self) -> String {
        String::new()
    }

    /// The shape of one sample of its output.
    ///
    /// # Errors
    /// What is wrong with the operands' shapes, in words.
    fn shape(&self, operands: &[Operand]) -> Result<Vec<usize>, String>;

    /// What its backward pass reads of the forward pass.
    fn uses(&self) -> Uses;

    /// Whether its parameters stay in single precision where those of products are halved.
    fn single_parameters(&self) -> bool {
        false
    }

    /// Workspace that it wants for a batch.
    fn workspace(&self, _operands: &[Operand], _output: &Operand, _batch: usize) -> Workspace {
        Workspace::default()
    }

    /// Workspace that it wants where what can be computed again is not kept: less is saved, and more is worked with. The backward pass
    /// is then handed nothing that was saved, and comes to the same bits.
    fn recompute_workspace(&self, operands: &[Operand], output: &Operand, batch: usize) -> Workspace {
        self.workspace(operands, output, batch)
    }

    /// Whether it packs its parameters, which are all operands but the first, before it is called for predictions.
    fn packs(&self) -> bool {
        false
    }

    /// Packs its parameters, which are given in the order of its operands; where `half` they hold what half precision can.
    fn pack(&self, _parameters: &[&[f32]], _half: bool) -> Option<PackedWeights> {
        None
    }

    /// Workspace that it wants where its parameters were packed beforehand and there is no backward pass.
    fn packed_workspace(&self, operands: &[Operand], output: &Operand, batch: usize) -> Workspace {
        self.workspace(operands, output, batch)
    }

    /// Computes the output.
    fn forward(&self, pass: &mut Forward);

    /// Adds to the gradients of the operands.
    fn backward(&self, pass: &mut Backward);
}

/// Fails where there are not as many operands as an op takes.
fn arity(operands: &[Operand], count: usize) -> Result<(), String> {
    if operands.len() == count {
        return Ok(());
    }
    Err(format!("takes {count} operands, found {}", operands.len()))
}

/// Whether every number is asked for; ops with one operand and no gradient to give have nothing to do.
fn wanted(gradient: &[f32]) -> bool {
    !gradient.is_empty()
}
