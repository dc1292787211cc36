//! Parameters packed for predictions: once per set of parameters, shared by every replica that predicts with it.

use super::{Dtype, Node, Program};
use crate::ops::PackedWeights;

/// A set of parameters of a program, packed.
#[derive(Debug)]
pub struct PackedParameters {
    /// Per node that packs its parameters, in order.
    nodes: Vec<PackedNode>,
}

/// The packed parameters of a node.
#[derive(Debug)]
struct PackedNode {
    op: &'static str,
    /// Offset and elements of each of its parameters.
    parameters: Vec<(usize, usize)>,
    packed: PackedWeights,
}

impl Program {
    /// Offset and elements of the parameters that a node would pack: those among its operands but the first.
    fn packable<'a>(&'a self, node: &'a Node) -> impl Iterator<Item = (usize, usize)> + 'a {
        node.inputs[1..].iter().filter_map(|input| self.parameter_index(*input)).map(|index| {
            let parameter = &self.parameters[index];
            (parameter.offset, parameter.count())
        })
    }

    /// Whether the parameters of a node are packed for predictions: its op packs, and all its operands but the first
    /// are parameters of the program and not values computed from them.
    pub(super) fn packs(&self, node: &Node) -> bool {
        node.op.packs() && self.packable(node).count() + 1 == node.inputs.len()
    }

    /// Packs a set of parameters for predictions, after [`Program::cast_parameters`] has been applied to it.
    pub fn pack(&self, parameters: &[f32]) -> PackedParameters {
        let pack = |node: &Node| {
            let ranges: Vec<(usize, usize)> = self.packable(node).collect();
            let values: Vec<&[f32]> = ranges.iter().map(|&(offset, count)| &parameters[offset..][..count]).collect();
            let half = node.inputs[1..].iter().all(|input| self.values[input.0].dtype == Dtype::F16);
            Some(PackedNode { op: node.op.name(), parameters: ranges, packed: node.op.pack(&values, half)? })
        };
        PackedParameters { nodes: self.nodes.iter().filter(|node| self.packs(node)).filter_map(pack).collect() }
    }
}

impl PackedParameters {
    /// Bytes of its elements.
    pub fn bytes(&self) -> usize {
        self.nodes.iter().map(|node| node.packed.bytes()).sum()
    }

    /// Whether `program` packs the same ops with the same parameters, as a network does for any count of assets.
    pub fn matches(&self, program: &Program) -> bool {
        let mut nodes = program.nodes.iter().filter(|node| program.packs(node));
        let mut same = |packed: &PackedNode| {
            nodes.next().is_some_and(|node| {
                packed.op == node.op.name() && packed.parameters.iter().copied().eq(program.packable(node))
            })
        };
        self.nodes.iter().all(&mut same) && nodes.next().is_none()
    }

    /// The packed parameters of the node at this index among those that pack.
    pub(super) fn get(&self, index: usize) -> Option<&PackedWeights> {
        self.nodes.get(index).map(|node| &node.packed)
    }
}
