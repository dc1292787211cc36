//! A network as data: a graph of ops on typed, shaped values. Everything else is derived from it: the backward pass,
//! the order of execution and the memory plan.
//!
//! Shapes are those of one sample; a batched value has one per sample of a micro-batch. A program may be run for a
//! stack of M replicas (windows, seeds, trials of equal shape), each with its own parameters, arena and random
//! sequence, so the bits of one do not depend on the others.

mod builder;
mod digest;
mod inputs;
mod node;
mod plan;
mod precision;
mod reverse;
mod text;

pub use builder::Builder;
pub(crate) use builder::MOST_AXES;
pub use inputs::InputSource;
pub(crate) use inputs::{Axis, Plane};
pub use node::{Node, Value};
pub(crate) use plan::Plan;
pub use plan::Purpose;
pub(crate) use plan::{Buffer, PlanTarget, PlannedCall, WorkspaceBytes};
pub use precision::Precision;
pub(crate) use reverse::BackwardNode;

use crate::ops::{Op, Operand};

/// Identifies a value of a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ValueId(pub(crate) usize);

/// The precision of a value in memory. Sums are accumulated in single precision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dtype {
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
    pub(crate) value: ValueId,
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
    /// Where its values come from.
    pub source: InputSource,
    pub(crate) value: ValueId,
}

/// What computes a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ValueSource {
    /// An input, by its index.
    Input(usize),
    /// A parameter, by its index.
    Parameter(usize),
    /// An op, by its index in the order of execution.
    Node(usize),
}

/// What a program knows about a value.
#[derive(Clone, Debug)]
pub(crate) struct ValueInfo {
    pub(crate) operand: Operand,
    pub(crate) dtype: Dtype,
    source: ValueSource,
    /// Whether the backward pass computes its gradient, because it depends on a parameter.
    requires_grad: bool,
}

/// A node of the graph: an op applied to values.
#[derive(Debug)]
pub(crate) struct GraphNode {
    pub(crate) op: Op,
    pub(crate) inputs: Vec<ValueId>,
    pub(crate) output: ValueId,
}

/// A network as a graph of ops, in the order of execution.
#[derive(Debug)]
pub struct Program {
    pub(crate) values: Vec<ValueInfo>,
    pub(crate) nodes: Vec<GraphNode>,
    inputs: Vec<Input>,
    parameters: Vec<Parameter>,
    pub(crate) output: ValueId,
    /// The value that holds a network's scores, if it has any: the output, or what the head takes.
    pub(crate) scores: Option<ValueId>,
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

    /// Keeps the value of the scores to the end of a forward pass, in single precision.
    #[must_use]
    pub(crate) fn with_scores(mut self, scores: Option<ValueId>) -> Self {
        self.scores = scores;
        self
    }

    /// Shape of one sample of the output.
    pub fn output_shape(&self) -> &[usize] {
        &self.values[self.output.0].operand.shape
    }

    pub(crate) fn operands(&self, node: &GraphNode) -> Vec<Operand> {
        node.inputs.iter().map(|input| self.values[input.0].operand.clone()).collect()
    }
}
