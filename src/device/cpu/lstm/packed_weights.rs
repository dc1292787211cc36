//! Weights of a layer that are packed once for many calls, in half precision where that loses nothing.

use half::f16;
use half::slice::HalfFloatSliceExt;
use pulp::{Arch, Simd, WithSimd};

use super::super::microkernel::Right;
use super::LstmWeights;
use super::forward::Packed;
use super::pack::Gates;

/// Bytes of a cache line.
const LINE: usize = 64;

/// Packed parameters of a layer, in the order in which this machine's vectors read them.
#[derive(Debug)]
pub struct LstmPackedWeights {
    hidden: usize,
    inputs: usize,
    lanes: usize,
    input: Stored,
    recurrent: Stored,
    biases: Vec<f32>,
}

/// Numbers that begin with a cache line: a vector that lies in two of them comes from the second-level cache in two pieces.
#[derive(Debug)]
struct Aligned<T> {
    numbers: Vec<T>,
    first: usize,
}

impl<T: Copy> Aligned<T> {
    fn new(from: &[T], zero: T) -> Self {
        let most = LINE / size_of::<T>();
        let mut numbers = vec![zero; from.len() + most];
        let first = numbers.as_ptr().align_offset(LINE).min(most);
        numbers[first..][..from.len()].copy_from_slice(from);
        numbers.truncate(first + from.len());
        Self { numbers, first }
    }

    fn get(&self) -> &[T] {
        &self.numbers[self.first..]
    }
}

/// Numbers that are kept.
#[derive(Debug)]
enum Stored {
    Single(Aligned<f32>),
    Half(Aligned<f16>),
}

impl Stored {
    /// Keeps numbers; where they are to be in half precision, and all of them are there and finite, in half the bytes.
    fn new(numbers: &[f32], half: bool) -> Self {
        if half {
            let mut stored = vec![f16::ZERO; numbers.len()];
            stored.convert_from_f32_slice(numbers);
            let mut back = vec![0.0; numbers.len()];
            stored.convert_to_f32_slice(&mut back);
            if back.iter().zip(numbers).all(|(one, two)| one.is_finite() && one.to_bits() == two.to_bits()) {
                return Self::Half(Aligned::new(&stored, f16::ZERO));
            }
        }
        Self::Single(Aligned::new(numbers, 0.0))
    }

    fn right(&self) -> Right<'_> {
        match self {
            Self::Single(numbers) => Right::Single(numbers.get()),
            Self::Half(numbers) => Right::Half(numbers.get()),
        }
    }

    fn bytes(&self) -> usize {
        match self {
            Self::Single(numbers) => size_of_val(numbers.get()),
            Self::Half(numbers) => size_of_val(numbers.get()),
        }
    }
}

/// Numbers in a vector.
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
    /// Packs the parameters of a layer with this many units. Where they are `half`, which is to say hold what half precision can,
    /// they are stored in it; biases are not, whose sums need not be in it.
    ///
    /// # Panics
    /// Where sizes do not agree: a fault of the caller.
    pub fn new(weights: LstmWeights, hidden: usize, half: bool) -> Self {
        Self::at(Arch::new(), weights, hidden, half)
    }

    pub(super) fn at(arch: Arch, weights: LstmWeights, hidden: usize, half: bool) -> Self {
        let lanes = arch.dispatch(Lanes);
        let layout = Gates { hidden, lanes };
        let inputs = weights.input.len() / (4 * hidden);
        assert_eq!(weights.input.len(), 4 * hidden * inputs, "weights of another size");
        let pack = |weights: &[f32], inner: usize| {
            let mut out = vec![0.0; layout.wide() * inner];
            layout.pack(weights, inner, &mut out);
            Stored::new(&out, half)
        };
        let mut biases = vec![0.0; layout.wide()];
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

    /// Bytes of its numbers.
    pub fn bytes(&self) -> usize {
        self.input.bytes() + self.recurrent.bytes() + size_of_val(self.biases.as_slice())
    }

    /// What a pass reads.
    pub(super) fn packed(&self, layout: Gates, inputs: usize) -> Packed<'_> {
        let agree = self.hidden == layout.hidden && self.lanes == layout.lanes && self.inputs == inputs;
        assert!(agree, "weights that were prepared for another layer");
        Packed { input: self.input.right(), recurrent: self.recurrent.right(), biases: &self.biases }
    }
}

#[cfg(test)]
mod tests {
    use super::{Aligned, LINE};

    #[test]
    fn numbers_begin_with_a_cache_line() {
        for count in [1_u16, 3, 64, 1000] {
            let numbers: Vec<u16> = (0..count).collect();
            let aligned = Aligned::new(&numbers, 7);
            assert_eq!(aligned.get(), numbers);
            assert_eq!(aligned.get().as_ptr().align_offset(LINE), 0);
        }
    }
}
