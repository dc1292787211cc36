//! Parameters packed for predictions: once per set of parameters, shared by every replica that predicts with it.

use crate::device::cpu::round_to_half;
use crate::ops::PackedWeights;
use crate::program::{Dtype, GraphNode, Program};

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

/// Offset and elements of the parameters that a node would pack: those among its operands but the first.
fn packable<'a>(program: &'a Program, node: &'a GraphNode) -> impl Iterator<Item = (usize, usize)> + 'a {
    node.inputs[1..].iter().filter_map(|input| program.parameter_index(*input)).map(|index| {
        let parameter = &program.parameters()[index];
        (parameter.offset, parameter.count())
    })
}

/// Whether the parameters of a node are packed for predictions: its op packs, and all its operands but the first are
/// parameters of the program and not values computed from them.
pub(super) fn packs(program: &Program, node: &GraphNode) -> bool {
    node.op.cpu().packs() && packable(program, node).count() + 1 == node.inputs.len()
}

impl Program {
    /// Packs a set of parameters for predictions; they are already in the program's precision.
    pub fn pack(&self, parameters: &[f32]) -> PackedParameters {
        let pack = |node: &GraphNode| {
            let ranges: Vec<(usize, usize)> = packable(self, node).collect();
            let values: Vec<&[f32]> = ranges.iter().map(|&(offset, count)| &parameters[offset..][..count]).collect();
            let half = node.inputs[1..].iter().all(|input| self.values[input.0].dtype == Dtype::F16);
            Some(PackedNode { op: node.op.name(), parameters: ranges, packed: node.op.cpu().pack(&values, half)? })
        };
        PackedParameters { nodes: self.nodes.iter().filter(|node| packs(self, node)).filter_map(pack).collect() }
    }

    /// Writes the parameters that ops compute with: a copy of `master`, rounded where a parameter is in half precision.
    pub fn cast_parameters(&self, master: &[f32], out: &mut [f32]) {
        out.copy_from_slice(master);
        for parameter in self.parameters() {
            if self.values[parameter.value.0].dtype == Dtype::F16 {
                round_to_half(&mut out[parameter.offset..][..parameter.count()]);
            }
        }
    }
}

impl PackedParameters {
    /// Bytes of its elements.
    pub fn bytes(&self) -> usize {
        self.nodes.iter().map(|node| node.packed.bytes()).sum()
    }

    /// Whether `program` packs the same ops with the same parameters, as a network does for any count of assets.
    pub fn matches(&self, program: &Program) -> bool {
        let mut nodes = program.nodes.iter().filter(|node| packs(program, node));
        let mut same = |packed: &PackedNode| {
            nodes.next().is_some_and(|node| {
                packed.op == node.op.name() && packed.parameters.iter().copied().eq(packable(program, node))
            })
        };
        self.nodes.iter().all(&mut same) && nodes.next().is_none()
    }

    /// The packed parameters of the node at this index among those that pack.
    pub(super) fn get(&self, index: usize) -> Option<&PackedWeights> {
        self.nodes.get(index).map(|node| &node.packed)
    }
}
