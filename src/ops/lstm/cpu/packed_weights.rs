//! Weights of a layer that are packed once for many calls, stored in half precision if that is lossless.

use half::f16;
use half::slice::HalfFloatSliceExt;
use pulp::{Arch, Simd, WithSimd};

use super::LstmWeights;
use super::pack::{GateLayout, GateWeights};
use crate::device::cpu::microkernel::RightMatrix;
use crate::device::cpu::{AlignedVec, arch, half_reads_are_fast};

/// Packed parameters of a layer, in the order that fits the vector width of this machine.
#[derive(Debug)]
pub(crate) struct LstmPackedWeights {
    hidden: usize,
    inputs: usize,
    lanes: usize,
    input: PackedMatrix,
    recurrent: PackedMatrix,
    biases: Vec<f32>,
}

/// The elements of a packed matrix, in the precision in which they are stored.
#[derive(Debug)]
enum PackedMatrix {
    Single(AlignedVec<f32>),
    Half(AlignedVec<f16>),
}

impl PackedMatrix {
    /// Stores the elements; in half precision if `half` is set and every element is finite and representable in it.
    fn new(elements: &[f32], half: bool) -> Self {
        if half {
            let mut stored = vec![f16::ZERO; elements.len()];
            stored.convert_from_f32_slice(elements);
            let mut back = vec![0.0; elements.len()];
            stored.convert_to_f32_slice(&mut back);
            if back.iter().zip(elements).all(|(one, two)| one.is_finite() && one.to_bits() == two.to_bits()) {
                return Self::Half(AlignedVec::copied(&stored, f16::ZERO));
            }
        }
        Self::Single(AlignedVec::copied(elements, 0.0))
    }

    fn right(&self) -> RightMatrix<'_> {
        match self {
            Self::Single(elements) => RightMatrix::Single(elements.get()),
            Self::Half(elements) => RightMatrix::Half(elements.get()),
        }
    }

    /// The elements in single precision, converted into the start of `scratch` where they are stored in half, and the
    /// rest of it.
    fn widened<'a>(&'a self, scratch: &'a mut [f32]) -> (RightMatrix<'a>, &'a mut [f32]) {
        match self {
            Self::Single(elements) => (RightMatrix::Single(elements.get()), scratch),
            Self::Half(elements) => {
                let (into, rest) = scratch.split_at_mut(elements.get().len());
                elements.get().convert_to_f32_slice(into);
                (RightMatrix::Single(into), rest)
            }
        }
    }

    fn bytes(&self) -> usize {
        match self {
            Self::Single(elements) => size_of_val(elements.get()),
            Self::Half(elements) => size_of_val(elements.get()),
        }
    }
}

/// Reports the `f32` lanes of a SIMD level.
struct Lanes;

impl WithSimd for Lanes {
    type Output = usize;

    #[allow(clippy::inline_always)]
    #[inline(always)]
    fn with_simd<S: Simd>(self, _simd: S) -> usize {
        S::F32_LANES
    }
}

impl LstmPackedWeights {
    /// Packs the parameters of a layer with `hidden` units. With `half`, weights that half precision represents exactly
    /// are stored in it, on CPUs where that is faster; biases never are, because the sum of two may need more.
    ///
    /// # Panics
    /// If the sizes do not agree.
    pub(crate) fn new(weights: LstmWeights, hidden: usize, half: bool) -> Self {
        Self::at(arch(), weights, hidden, half && half_reads_are_fast())
    }

    pub(super) fn at(arch: Arch, weights: LstmWeights, hidden: usize, half: bool) -> Self {
        let lanes = arch.dispatch(Lanes);
        let layout = GateLayout { hidden, lanes };
        let inputs = weights.input.len() / (4 * hidden);
        assert_eq!(weights.input.len(), 4 * hidden * inputs, "the weights have another size");
        let pack = |weights: &[f32], inner: usize| {
            let mut out = vec![0.0; layout.gate_width() * inner];
            layout.pack(weights, inner, &mut out);
            PackedMatrix::new(&out, half)
        };
        let mut biases = vec![0.0; layout.gate_width()];
        layout.pack_biases(weights.biases, &mut biases);
        Self {
            hidden,
            inputs,
            lanes,
            input: pack(weights.input, inputs),
            recurrent: pack(weights.recurrent, hidden),
            biases,
        }
    }

    /// Bytes of its elements.
    pub(crate) fn bytes(&self) -> usize {
        self.input.bytes() + self.recurrent.bytes() + size_of_val(self.biases.as_slice())
    }

    /// The packed parameters, for a forward pass of a layer with this layout and these inputs, and the rest of
    /// `scratch`. For several sequences weights in half precision are converted into `scratch` first: each tile of rows
    /// would convert them again at every step.
    pub(super) fn gate_weights<'a>(
        &'a self,
        (layout, inputs): (GateLayout, usize),
        sequences: usize,
        scratch: &'a mut [f32],
    ) -> (GateWeights<'a>, &'a mut [f32]) {
        let agree = self.hidden == layout.hidden && self.lanes == layout.lanes && self.inputs == inputs;
        assert!(agree, "the weights were packed for another layer");
        let biases = &self.biases;
        if sequences == 1 {
            let weights = GateWeights { input: self.input.right(), recurrent: self.recurrent.right(), biases };
            return (weights, scratch);
        }
        let (input, rest) = self.input.widened(scratch);
        let (recurrent, rest) = self.recurrent.widened(rest);
        (GateWeights { input, recurrent, biases }, rest)
    }
}
