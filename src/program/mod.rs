//! A network as data: a graph of ops on typed, shaped values. Everything else is derived from it: the backward pass,
//! the order of execution and the memory plan.
//!
//! Shapes are those of one sample; a batched value has one per sample of a micro-batch. A program may be run for a
//! stack of M replicas (windows, seeds, trials of equal shape), each with its own parameters, arena and random
//! sequence, so the bits of one do not depend on the others.

mod builder;
mod execute;
mod packed;
mod plan;
mod precision;
mod reverse;
mod text;

pub use builder::Builder;
pub(crate) use builder::MOST_AXES;
pub use execute::{MicroBatch, Replica};
pub(crate) use packed::PackedParameters;
pub(crate) use plan::Plan;
pub use plan::Purpose;
pub use precision::Precision;

use crate::ops::{Op, Operand};

/// Identifies a value of a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ValueId(pub(crate) usize);

/// The precision of a value in memory. Sums are accumulated in single precision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dtype {
    /// Single precision.
    F32,
    /// Half precision (IEEE 754 binary16). The CPU keeps such values as `f32` and rounds them when they are written.
    F16,
}

impl std::fmt::Display for Dtype {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
        })
    }
}

/// The initial values of a parameter.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Init {
    /// Uniform in [-bound, bound).
    Uniform(f32),
    /// The same value for every element.
    Constant(f32),
}

/// A trained tensor, saved in checkpoints under its name.
#[derive(Clone, Debug, PartialEq)]
pub struct Parameter {
    /// Its name, unique in the program.
    pub name: String,
    /// Its shape.
    pub shape: Vec<usize>,
    /// Its initial values.
    pub init: Init,
    /// Index of its first element in the flat vector of all parameters.
    pub offset: usize,
    value: ValueId,
}

impl Parameter {
    /// Its elements.
    pub fn count(&self) -> usize {
        self.shape.iter().product()
    }
}

/// An input, which is filled before each micro-batch.
#[derive(Clone, Debug, PartialEq)]
pub struct Input {
    /// Its name, unique in the program.
    pub name: String,
    /// Shape of one sample.
    pub shape: Vec<usize>,
    value: ValueId,
}

/// What computes a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ValueSource {
    Input(usize),
    Parameter(usize),
    Node(usize),
}

/// What a program knows about a value.
#[derive(Clone, Debug)]
struct ValueInfo {
    operand: Operand,
    dtype: Dtype,
    source: ValueSource,
    /// Whether the backward pass computes its gradient, because it depends on a parameter.
    requires_grad: bool,
}

/// A node of the graph: an op applied to values.
#[derive(Debug)]
struct Node {
    op: Box<dyn Op>,
    inputs: Vec<ValueId>,
    output: ValueId,
}

/// A network as a graph of ops, in the order of execution.
#[derive(Debug)]
pub struct Program {
    values: Vec<ValueInfo>,
    nodes: Vec<Node>,
    inputs: Vec<Input>,
    parameters: Vec<Parameter>,
    output: ValueId,
}

/// Alignment of parameters and buffers in elements: a cache line, so that no two share one.
const ALIGNMENT: usize = 16;

impl Program {
    /// The inputs, in order of declaration.
    pub fn inputs(&self) -> &[Input] {
        &self.inputs
    }

    /// The parameters, in order of declaration.
    pub fn parameters(&self) -> &[Parameter] {
        &self.parameters
    }

    /// Length of the flat vector of all parameters, gaps for alignment included.
    pub fn parameter_count(&self) -> usize {
        self.parameters.last().map_or(0, |last| (last.offset + last.count()).next_multiple_of(ALIGNMENT))
    }

    /// Shape of one sample of the output.
    pub fn output_shape(&self) -> &[usize] {
        &self.values[self.output.0].operand.shape
    }

    fn operands(&self, node: &Node) -> Vec<Operand> {
        node.inputs.iter().map(|input| self.values[input.0].operand.clone()).collect()
    }
}
