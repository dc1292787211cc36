//! A program as others read it: its ops in the order of execution, and what their operands are.

use std::sync::Arc;

use super::{Dtype, Program, ValueId, ValueSource};
use crate::ops::Op;

/// A value that an op reads or writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Value<'a> {
    /// What computes it.
    pub source: ValueSource,
    /// Shape of one sample.
    pub shape: &'a [usize],
    /// Whether each sample has values of its own.
    pub is_batched: bool,
    /// Its precision in memory.
    pub dtype: Dtype,
}

/// An op with its operands.
#[derive(Clone, Debug, PartialEq)]
pub struct Node<'a> {
    /// The op.
    pub op: &'a Op,
    /// Its operands, in order.
    pub operands: Vec<Value<'a>>,
    /// Its output.
    pub output: Value<'a>,
}

impl Program {
    fn value(&self, id: ValueId) -> Value<'_> {
        let info = &self.values[id.0];
        let (shape, is_batched) = (info.operand.shape.as_slice(), info.operand.batched);
        Value { source: info.source, shape, is_batched, dtype: info.dtype }
    }

    /// The ops in the order of execution. An operand is an input, a parameter or the output of an earlier op.
    pub fn nodes(&self) -> impl Iterator<Item = Node<'_>> {
        self.nodes.iter().map(|node| Node {
            op: &node.op,
            operands: node.inputs.iter().map(|input| self.value(*input)).collect(),
            output: self.value(node.output),
        })
    }

    /// Per op, the value of the attribute in which replicas of one shape may differ; 0 where it has none.
    pub fn scalars(&self) -> Arc<[f32]> {
        self.nodes.iter().map(|node| node.op.rule().scalar().map_or(0.0, |(_, value)| value)).collect()
    }

    /// The output.
    pub fn output(&self) -> Value<'_> {
        self.value(self.output)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Builder, ValueSource};

    #[test]
    fn nodes_name_what_they_read_and_write() {
        let mut builder = Builder::new();
        let x = builder.input("x", &[4]).unwrap();
        let y = builder.linear("body", x, 3).unwrap();
        let mask = builder.input("mask", &[3]).unwrap();
        let weights = builder.masked_softmax(y, mask).unwrap();
        let program = builder.finish(weights).unwrap();
        let read: Vec<(&str, Vec<ValueSource>, ValueSource)> = program
            .nodes()
            .map(|node| {
                let operands = node.operands.iter().map(|value| value.source).collect();
                (node.op.name(), operands, node.output.source)
            })
            .collect();
        let (input, parameter, node) = (ValueSource::Input, ValueSource::Parameter, ValueSource::Node);
        let expected = vec![
            ("linear", vec![input(0), parameter(0), parameter(1)], node(0)),
            ("softmax", vec![node(0), input(1)], node(1)),
        ];
        assert_eq!(read, expected);
        let output = program.output();
        assert_eq!((output.source, output.shape, output.is_batched), (node(1), &[3][..], true));
        assert!(!program.nodes().next().is_some_and(|node| node.operands[1].is_batched));
    }
}
