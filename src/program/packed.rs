//! Parameters as the kernels of predictions read them: packed once for a set of parameters, and shared by all who predict
//! with it.

use super::{Dtype, Node, Program};
use crate::ops::PackedWeights;

/// One set of parameters of a program, packed.
#[derive(Debug)]
pub struct PackedParameters {
    /// For each node that packs, in order.
    nodes: Vec<Entry>,
}

/// What a node's op packed.
#[derive(Debug)]
struct Entry {
    op: &'static str,
    /// The first place and the count of numbers of each of its parameters.
    of: Vec<(usize, usize)>,
    packed: PackedWeights,
}

impl Program {
    /// The parameters of a node that packs them: all its operands but the first.
    fn to_pack<'a>(&'a self, node: &'a Node) -> impl Iterator<Item = (usize, usize)> + 'a {
        node.inputs[1..].iter().filter_map(|input| self.is_parameter(*input)).map(|place| {
            let parameter = &self.parameters[place];
            (parameter.offset, parameter.count())
        })
    }

    /// Whether a node's parameters are packed for predictions: its op packs, and has parameters of the program for operands, not
    /// what is computed of them.
    pub(super) fn packs(&self, node: &Node) -> bool {
        node.op.packs() && self.to_pack(node).count() + 1 == node.inputs.len()
    }

    /// Packs a set of parameters for predictions, as they are used (see [`Program::cast_parameters`]).
    pub fn pack(&self, parameters: &[f32]) -> PackedParameters {
        let pack = |node: &Node| {
            let of: Vec<(usize, usize)> = self.to_pack(node).collect();
            let numbers: Vec<&[f32]> = of.iter().map(|&(first, count)| &parameters[first..][..count]).collect();
            let half = node.inputs[1..].iter().all(|input| self.values[input.0].dtype == Dtype::F16);
            Some(Entry { op: node.op.name(), of, packed: node.op.pack(&numbers, half)? })
        };
        PackedParameters { nodes: self.nodes.iter().filter(|node| self.packs(node)).filter_map(pack).collect() }
    }
}

impl PackedParameters {
    /// Bytes of its numbers.
    pub fn bytes(&self) -> usize {
        self.nodes.iter().map(|entry| entry.packed.bytes()).sum()
    }

    /// Whether this program packs the same ops with the same parameters, as programs of one network for different numbers of
    /// assets do.
    pub fn fits(&self, program: &Program) -> bool {
        let mut nodes = program.nodes.iter().filter(|node| program.packs(node));
        let mut same = |entry: &Entry| {
            nodes
                .next()
                .is_some_and(|node| entry.op == node.op.name() && entry.of.iter().copied().eq(program.to_pack(node)))
        };
        self.nodes.iter().all(&mut same) && nodes.next().is_none()
    }

    /// What the node at this place among those that pack has packed.
    pub(super) fn get(&self, place: usize) -> Option<&PackedWeights> {
        self.nodes.get(place).map(|entry| &entry.packed)
    }
}
