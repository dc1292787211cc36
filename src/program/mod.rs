//! A network as data: typed, shaped values and the ops between them. From it everything else is derived: the reverse pass, the
//! order of work, and where in memory each number lives.
//!
//! Shapes are those of one sample; batched values have one for each sample of a micro-batch. A program may be run for a
//! stack of M replicas (windows, seeds, trials of equal shape), each with its own parameters, arena and random numbers, so
//! that the bits of one depend on no other.

mod builder;
mod execute;
mod packed;
mod plan;
mod precision;
mod reverse;
mod text;

pub use builder::{Builder, MOST_AXES};
pub use execute::{Replica, Step};
pub use packed::PackedParameters;
pub use plan::{Plan, Purpose};
pub use precision::Precision;

use crate::ops::{Op, Operand};

/// A value of a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ValueId(pub(crate) usize);

/// The type of numbers as they are stored; sums are always carried in more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dtype {
    /// 32 bits.
    F32,
    /// 16 bits (IEEE 754 binary16). On the processor such a number is kept in 32 bits and rounded where it is written.
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

/// How a parameter begins.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Init {
    /// Uniform in [-bound, bound).
    Uniform(f32),
    /// One number throughout.
    Constant(f32),
}

/// A parameter: trained, and kept in checkpoints under its name.
#[derive(Clone, Debug, PartialEq)]
pub struct Parameter {
    /// Its name, unique in the program.
    pub name: String,
    /// Its shape.
    pub shape: Vec<usize>,
    /// How it begins.
    pub init: Init,
    /// Where it begins among all parameters' numbers.
    pub offset: usize,
    value: ValueId,
}

impl Parameter {
    /// How many numbers it has.
    pub fn count(&self) -> usize {
        self.shape.iter().product()
    }
}

/// An input: filled anew for each micro-batch.
#[derive(Clone, Debug, PartialEq)]
pub struct Input {
    /// Its name, unique in the program.
    pub name: String,
    /// Shape of one sample.
    pub shape: Vec<usize>,
    value: ValueId,
}

/// Where a value comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    Input(usize),
    Parameter(usize),
    Node(usize),
}

/// A value.
#[derive(Clone, Debug)]
struct Value {
    operand: Operand,
    dtype: Dtype,
    source: Source,
    /// Whether the loss's gradient with respect to it is of use: it depends on a parameter.
    trained: bool,
}

/// An op between values.
#[derive(Debug)]
struct Node {
    op: Box<dyn Op>,
    inputs: Vec<ValueId>,
    output: ValueId,
}

/// A network.
#[derive(Debug)]
pub struct Program {
    values: Vec<Value>,
    nodes: Vec<Node>,
    inputs: Vec<Input>,
    parameters: Vec<Parameter>,
    output: ValueId,
}

/// The parameters begin at multiples of this many numbers, so that each has cache lines of its own.
const ALIGNMENT: usize = 16;

impl Program {
    /// The inputs, in the order in which they were declared.
    pub fn inputs(&self) -> &[Input] {
        &self.inputs
    }

    /// The parameters, in the order in which they were declared.
    pub fn parameters(&self) -> &[Parameter] {
        &self.parameters
    }

    /// Numbers of all parameters, gaps between them included.
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
