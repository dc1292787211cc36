//! Weights of a layer that are packed once for many calls, stored in half precision if that is lossless.

use half::f16;
use half::slice::HalfFloatSliceExt;
use pulp::{Arch, Simd, WithSimd};

use super::LstmWeights;
use super::pack::{GateLayout, GateWeights};
use crate::device::cpu::microkernel::RightMatrix;

/// Bytes of a cache line.
const LINE: usize = 64;

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

/// A vector of elements that begins at a cache line: a load that crosses two lines is slower.
#[derive(Debug)]
struct AlignedVec<T> {
    elements: Vec<T>,
    first: usize,
}

impl<T: Copy> AlignedVec<T> {
    fn new(from: &[T], zero: T) -> Self {
        let most = LINE / size_of::<T>();
        let mut elements = vec![zero; from.len() + most];
        let first = elements.as_ptr().align_offset(LINE).min(most);
        elements[first..][..from.len()].copy_from_slice(from);
        elements.truncate(first + from.len());
        Self { elements, first }
    }

    fn get(&self) -> &[T] {
        &self.elements[self.first..]
    }
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
                return Self::Half(AlignedVec::new(&stored, f16::ZERO));
            }
        }
        Self::Single(AlignedVec::new(elements, 0.0))
    }

    fn right(&self) -> RightMatrix<'_> {
        match self {
            Self::Single(elements) => RightMatrix::Single(elements.get()),
            Self::Half(elements) => RightMatrix::Half(elements.get()),
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
    /// are stored in it; biases never are, because the sum of two may need more.
    ///
    /// # Panics
    /// If the sizes do not agree.
    pub(crate) fn new(weights: LstmWeights, hidden: usize, half: bool) -> Self {
        Self::at(crate::device::cpu::arch(), weights, hidden, half)
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

    /// The packed parameters, for a forward pass of a layer with this layout and these inputs.
    pub(super) fn gate_weights(&self, layout: GateLayout, inputs: usize) -> GateWeights<'_> {
        let agree = self.hidden == layout.hidden && self.lanes == layout.lanes && self.inputs == inputs;
        assert!(agree, "the weights were packed for another layer");
        GateWeights { input: self.input.right(), recurrent: self.recurrent.right(), biases: &self.biases }
    }
}

#[cfg(test)]
mod tests {
    use super::{AlignedVec, LINE};

    #[test]
    fn an_aligned_vec_begins_at_a_cache_line() {
        for count in [1_u16, 3, 64, 1000] {
            let elements: Vec<u16> = (0..count).collect();
            let aligned = AlignedVec::new(&elements, 7);
            assert_eq!(aligned.get(), elements);
            assert_eq!(aligned.get().as_ptr().align_offset(LINE), 0);
        }
    }
}
