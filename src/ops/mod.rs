//! The operations that networks are built from: a closed set ([`Op`], declared in `table`), one folder per op with its
//! rule (`mod`), its kernels on the CPU (`cpu`) and its test cases (`cases`). A rule knows no device.
//!
//! Shapes are those of one sample (one date). A batched operand has a leading batch axis in memory. An operand that is
//! not batched (a parameter, or a value computed from parameters only) is shared by all samples.

mod activation;
mod arithmetic;
mod attention;
mod attribute;
#[cfg(test)]
mod case;
mod concat;
mod conv1d;
mod dropout;
mod elementwise;
mod layer_norm;
mod linear;
mod lstm;
mod matmul;
mod reduce;
mod reshape;
mod scale;
mod slice;
mod softmax;
mod table;
#[cfg(test)]
mod tests;
mod transpose;

use crate::random::Random;

pub use activation::Activation;
pub(crate) use arithmetic::Arithmetic;
pub(crate) use attention::Attention;
pub use attribute::Attribute;
use attribute::Attributes;
#[cfg(test)]
pub(crate) use case::{Case, CaseValues};
pub(crate) use concat::Concat;
#[cfg(test)]
pub(crate) use conv1d::Conv1d;
pub(crate) use dropout::Dropout;
#[cfg(test)]
pub(crate) use elementwise::Elementwise;
pub(crate) use layer_norm::LayerNorm;
pub(crate) use linear::Linear;
pub(crate) use lstm::Lstm;
pub(crate) use lstm::LstmPackedWeights;
#[cfg(test)]
pub(crate) use matmul::MatMul;
pub(crate) use reduce::{Reduce, Reduction};
pub use reshape::Reshape;
pub(crate) use scale::Scale;
pub(crate) use slice::Slice;
pub(crate) use softmax::Softmax;
#[cfg(test)]
pub(crate) use table::CASES;
pub use table::{Op, from_name, names};
pub use transpose::Transpose;

/// Most operands of an op.
pub(crate) const MOST_OPERANDS: usize = 8;

/// The shape of an operand or output of an op.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Operand {
    /// Shape of one sample.
    pub shape: Vec<usize>,
    /// Whether each sample has values of its own.
    pub batched: bool,
}

impl Operand {
    /// An operand with values per sample.
    pub(crate) fn batched(shape: &[usize]) -> Self {
        Self { shape: shape.to_vec(), batched: true }
    }

    /// An operand that all samples share.
    pub(crate) fn shared(shape: &[usize]) -> Self {
        Self { shape: shape.to_vec(), batched: false }
    }

    /// Elements of one sample.
    pub(crate) fn count(&self) -> usize {
        self.shape.iter().product()
    }

    /// Elements in memory for `batch` samples.
    pub(crate) fn size(&self, batch: usize) -> usize {
        self.count() * if self.batched { batch } else { 1 }
    }

    /// Length of the last axis; 1 for a scalar.
    pub(crate) fn last_axis(&self) -> usize {
        self.shape.last().copied().unwrap_or(1)
    }
}

/// The values of the forward pass that the backward pass of an op reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Uses {
    /// Per operand, whether it is read.
    pub inputs: [bool; MOST_OPERANDS],
    /// Whether the output is read.
    pub output: bool,
}

impl Uses {
    /// Nothing.
    pub(crate) const NOTHING: Self = Self { inputs: [false; MOST_OPERANDS], output: false };
    /// The output only.
    pub(crate) const OUTPUT: Self = Self { inputs: [false; MOST_OPERANDS], output: true };
    /// These operands.
    pub(crate) fn of<const N: usize>(operands: [usize; N]) -> Self {
        let mut out = Self::NOTHING;
        for operand in operands {
            out.inputs[operand] = true;
        }
        out
    }

    /// Every operand.
    pub(crate) const INPUTS: Self = Self { inputs: [true; MOST_OPERANDS], output: false };
}

/// Workspace that an op needs beside its operands and output, in elements.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Workspace {
    /// Written by the forward pass and read by the backward pass.
    pub saved: usize,
    /// Used during the forward pass.
    pub forward: usize,
    /// Used during the backward pass.
    pub backward: usize,
}

/// The parameters of an op in the layout of its kernel, packed once for many predictions.
#[derive(Debug)]
pub(crate) enum PackedWeights {
    /// Of an LSTM layer.
    Lstm(LstmPackedWeights),
}

impl PackedWeights {
    /// Bytes of its elements.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Self::Lstm(packed) => packed.bytes(),
        }
    }
}

/// Per sample of a micro-batch, which assets fill which slots, and the as-of row.
pub(crate) type Dates<'a> = &'a [(u32, u32)];

/// What both passes of an op know about a call.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Call<'a> {
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
    /// The scalar of the op in this replica, such as the share of dropout.
    pub scalar: f32,
    /// Per sample, which assets it sees and its as-of row, where the rows of the first operand depend on their date
    /// alone.
    pub dates: Option<Dates<'a>>,
}

/// Arguments of a forward pass.
pub(crate) struct Forward<'a> {
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
    /// The parameters as [`CpuKernel::pack`] packed them, in a prediction.
    pub packed: Option<&'a PackedWeights>,
}

/// Arguments of a backward pass.
pub(crate) struct Backward<'a> {
    /// The call.
    pub call: Call<'a>,
    /// The values of the operands; empty for those that [`Rule::uses`] does not name.
    pub inputs: &'a [&'a [f32]],
    /// The values of the output; empty if [`Rule::uses`] does not name it.
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

/// The rule of an op: names, shapes, and what its backward pass reads.
pub(crate) trait Rule {
    /// Its name in the text of a program.
    fn name(&self) -> &'static str;

    /// Its attributes, in the order of its text; those with their default may be left out.
    fn attributes(&self) -> Vec<(&'static str, Attribute)> {
        Vec::new()
    }

    /// The attribute in which replicas of one shape may differ, and its value in the program; kernels take that of their
    /// replica from [`Call::scalar`].
    fn scalar(&self) -> Option<(&'static str, f32)> {
        None
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
}

/// How the ops of a folder are read from their text.
trait Named: Sized {
    /// The names of the ops.
    const NAMES: &'static [&'static str];

    /// Reads the attributes of the op of this name, one of [`Named::NAMES`].
    ///
    /// # Errors
    /// What is wrong with an attribute, as text that follows the name of the op.
    fn read(name: &str, unread: &mut Attributes) -> Result<Self, String>;
}

/// The kernel of an op on the CPU.
pub(crate) trait CpuKernel {
    /// Workspace for `batch` samples.
    fn workspace(&self, _operands: &[Operand], _output: &Operand, _batch: usize) -> Workspace {
        Workspace::default()
    }

    /// Workspace when activations are recomputed instead of saved. The backward pass then gets an empty `saved` and
    /// computes the same bits.
    fn recompute_workspace(&self, operands: &[Operand], output: &Operand, batch: usize) -> Workspace {
        self.workspace(operands, output, batch)
    }

    /// Elements of workspace that either pass needs more where the dates of samples are known, for at most `date_rows`
    /// distinct rows of the first operand.
    fn date_workspace(
        &self,
        _operands: (&[Operand], &Operand),
        _batch: usize,
        _date_rows: usize,
        _recomputes: bool,
    ) -> usize {
        0
    }

    /// Whether it has a layout of its own for the parameters of predictions. Its parameters are then all operands but
    /// the first.
    fn packs(&self) -> bool {
        false
    }

    /// Packs its parameters, in the order of the operands. With `half` they are already rounded to half precision.
    fn pack(&self, _parameters: &[&[f32]], _half: bool) -> Option<PackedWeights> {
        None
    }

    /// Workspace of a prediction with packed parameters; with `half` they may be stored in half precision.
    fn packed_workspace(&self, operands: &[Operand], output: &Operand, batch: usize, _half: bool) -> Workspace {
        self.workspace(operands, output, batch)
    }

    /// Computes the output.
    fn forward(&self, pass: &mut Forward);

    /// Adds to the gradients of the operands.
    fn backward(&self, pass: &mut Backward);
}

impl Op {
    /// Its name in the text of a program.
    pub fn name(&self) -> &'static str {
        self.rule().name()
    }

    /// Its attributes in the text of a program; empty if it has none.
    pub fn attributes(&self) -> String {
        attribute::text(&self.rule().attributes())
    }

    /// Its attributes, in the order of its text.
    pub fn typed_attributes(&self) -> Vec<(&'static str, Attribute)> {
        self.rule().attributes()
    }
}

/// Fails unless there are `count` operands.
fn check_operand_count(operands: &[Operand], count: usize) -> Result<(), String> {
    if operands.len() == count {
        return Ok(());
    }
    Err(format!("takes {count} operands, found {}", operands.len()))
}

/// Elements per index of an axis: the product of the axes after it.
fn inner_size(x: &Operand, axis: usize) -> usize {
    x.shape[axis + 1..].iter().product()
}

/// Whether this gradient of an operand is to be computed; the buffer is empty where it is not.
fn is_needed(gradient: &[f32]) -> bool {
    !gradient.is_empty()
}
