//! The forward pass, and the weights of a block of queries, which both passes compute to the same bits.

use pulp::{Simd, WithSimd};

use super::AttentionShape;
use crate::device::cpu::microkernel::{Rows, RowsMut, split_evenly};
use crate::device::cpu::panels::{Left, Panels, Product, padded};
use crate::device::cpu::simd::{exp_of_negative, load, round_vectors, store};

/// The forward pass over all samples.
pub(super) struct ForwardPass<'a> {
    pub(super) shape: AttentionShape,
    pub(super) half: bool,
    pub(super) inputs: &'a [&'a [f32]],
    pub(super) output: &'a mut [f32],
    pub(super) scratch: &'a mut [f32],
}

impl WithSimd for ForwardPass<'_> {
    type Output = ();

    #[allow(clippy::inline_always)]
    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { shape, half, inputs, output, scratch } = self;
        let (keys, head_width, head_values) = (shape.keys, shape.head_width(), shape.head_values());
        let (mask, rest) = scratch.split_at_mut(shape.mask_size());
        let (packed_keys, rest) = rest.split_at_mut(Panels::size(head_width, keys));
        let (packed_values, rest) = rest.split_at_mut(Panels::size(keys, head_values));
        let (weights, rest) = rest.split_at_mut(shape.block() * padded(keys));
        let context = &mut rest[..shape.block() * padded(head_values)];
        for sample in 0..shape.samples {
            shape.pad_mask(inputs.get(3), sample, mask);
            for sequence in 0..shape.sequences {
                for head in 0..shape.heads {
                    let at = shape.head(sample, sequence, head);
                    let key = (&inputs[1][at.key.start..], at.key.stride);
                    let value = (&inputs[2][at.value.start..], at.value.stride);
                    let key = Panels::pack_transposed::<S>(key, head_width, keys, packed_keys);
                    let value = Panels::pack::<S>(value, keys, head_values, packed_values);
                    for (first, count) in split_evenly(shape.queries, super::BLOCK) {
                        let query = &inputs[0][at.query.start + first * at.query.stride..];
                        let (query, mask) = ((query, at.query.stride), shape.mask_rows(mask, first));
                        let block = Block { count, half, scale: shape.scale(), keys };
                        block.weights(simd, query, key, mask, weights);
                        let left = Left { elements: weights, row_stride: padded(keys), stride: 1, rows: count };
                        let out = (&mut *context, padded(head_values));
                        simd.vectorize(Product { left, right: value, adds: false, out });
                        let into = &mut output[at.output.start + first * at.output.stride..];
                        let rows = into.chunks_mut(at.output.stride).zip(context.chunks_exact(padded(head_values)));
                        for (into, from) in rows.take(count) {
                            into[..head_values].copy_from_slice(&from[..head_values]);
                        }
                    }
                }
            }
        }
    }
}

/// A block of queries of a head.
#[derive(Clone, Copy)]
pub(super) struct Block {
    /// Its queries.
    pub(super) count: usize,
    /// Whether weights are rounded to half precision.
    pub(super) half: bool,
    /// Factor of the scores.
    pub(super) scale: f32,
    pub(super) keys: usize,
}

impl Block {
    /// Writes the weights `[count, padded keys]` of a block: the softmax of its scaled scores over the keys of the mask.
    #[allow(clippy::inline_always)]
    #[inline(always)]
    pub(super) fn weights<S: Simd>(self, simd: S, query: Rows, key: Panels, mask: Rows, weights: &mut [f32]) {
        let left = Left { elements: query.0, row_stride: query.1, stride: 1, rows: self.count };
        let out = (&mut *weights, padded(self.keys));
        simd.vectorize(Product { left, right: key, adds: false, out });
        simd.vectorize(MaskedSoftmax { block: self, mask, rows: (weights, padded(self.keys)) });
    }
}

/// Replaces rows of scores by their softmax. Keys whose mask is 0, and the padding, get exactly 0.
struct MaskedSoftmax<'a> {
    block: Block,
    mask: Rows<'a>,
    rows: RowsMut<'a>,
}

impl WithSimd for MaskedSoftmax<'_> {
    type Output = ();

    #[allow(clippy::inline_always)]
    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { block, mask: (mask, mask_stride), rows: (rows, stride) } = self;
        let lanes = S::F32_LANES;
        let width = block.keys.next_multiple_of(lanes);
        let (zero, lowest) = (simd.splat_f32s(0.0), simd.splat_f32s(f32::NEG_INFINITY));
        let scale = simd.splat_f32s(block.scale);
        for (index, row) in rows.chunks_exact_mut(stride).take(block.count).enumerate() {
            let mask = &mask[index * mask_stride..][..width];
            let row = &mut row[..width];
            let mut most = lowest;
            for (x, mask) in row.chunks_exact_mut(lanes).zip(mask.chunks_exact(lanes)) {
                let is_included = simd.less_than_f32s(zero, load::<S>(mask));
                let scaled = simd.mul_f32s(load::<S>(x), scale);
                let score = simd.select_f32s(is_included, scaled, lowest);
                most = simd.max_f32s(most, score);
                store::<S>(x, score);
            }
            // A score of NaN may be missed here, but makes its weight, and so the sum, NaN.
            let most = simd.splat_f32s(simd.reduce_max_f32s(most));
            let mut sums = zero;
            for (x, mask) in row.chunks_exact_mut(lanes).zip(mask.chunks_exact(lanes)) {
                let is_included = simd.less_than_f32s(zero, load::<S>(mask));
                let power = exp_of_negative(simd, simd.sub_f32s(load::<S>(x), most));
                let power = simd.select_f32s(is_included, power, zero);
                sums = simd.add_f32s(sums, power);
                store::<S>(x, power);
            }
            let sum = simd.reduce_sum_f32s(sums);
            if sum == 0.0 {
                continue;
            }
            let factor = simd.splat_f32s(1.0 / sum);
            for (x, mask) in row.chunks_exact_mut(lanes).zip(mask.chunks_exact(lanes)) {
                let is_included = simd.less_than_f32s(zero, load::<S>(mask));
                // Selected once more, because 0 times NaN is NaN.
                let weight = simd.select_f32s(is_included, simd.mul_f32s(load::<S>(x), factor), zero);
                let [weight] = if block.half { round_vectors(simd, [weight]) } else { [weight] };
                store::<S>(x, weight);
            }
        }
    }
}
