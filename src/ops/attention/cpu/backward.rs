//! The backward pass. The weights of a block are computed again: that costs one of its five products and saves the
//! memory of `[heads, queries, keys]` weights per sequence, which would be written and read back through the caches.

use pulp::{Simd, WithSimd};

use super::super::super::is_needed;
use super::AttentionShape;
use super::forward::Block;
use crate::device::cpu::microkernel::{Rows, RowsMut, split_evenly};
use crate::device::cpu::panels::{Left, Panels, Product, padded};
use crate::device::cpu::simd::{load, round_vectors, store};

/// The backward pass over all samples.
pub(super) struct BackwardPass<'a, 'b> {
    pub(super) shape: AttentionShape,
    pub(super) half: bool,
    pub(super) inputs: &'a [&'a [f32]],
    pub(super) output_grad: &'a [f32],
    pub(super) gradients: &'a mut [&'b mut [f32]],
    pub(super) scratch: &'a mut [f32],
}

impl WithSimd for BackwardPass<'_, '_> {
    type Output = ();

    #[allow(clippy::inline_always)]
    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { shape, half, inputs, output_grad, gradients, scratch } = self;
        let (keys, head_width, head_values) = (shape.keys, shape.head_width(), shape.head_values());
        let [query_grad, key_grad, value_grad, ..] = gradients else { return };
        let (needs_query, needs_key) = (is_needed(query_grad), is_needed(key_grad));
        let needs_value = is_needed(value_grad);
        let (weight_width, width, value_width) = (padded(keys), padded(head_width), padded(head_values));
        let mut rest = scratch;
        let mut take = |size: usize| {
            let (taken, left) = std::mem::take(&mut rest).split_at_mut(size);
            rest = left;
            taken
        };
        let mask = take(shape.mask_size());
        let packed_scores = take(Panels::size(head_width, keys));
        let packed_values = take(Panels::size(head_values, keys));
        let packed_keys = take(Panels::size(keys, head_width));
        let packed_queries = take(Panels::size(shape.block(), head_width));
        let packed_grads = take(Panels::size(shape.block(), head_values));
        let weights = take(shape.block() * weight_width);
        let weight_grads = take(shape.block() * weight_width);
        let of_queries = take(shape.block() * width);
        let of_keys = take(keys * width);
        let of_values = take(keys * value_width);
        for sample in 0..shape.samples {
            shape.pad_mask(inputs.get(3), sample, mask);
            for index in 0..shape.sequences * shape.heads {
                let at = shape.head(sample, index / shape.heads, index % shape.heads);
                let key = (&inputs[1][at.key.start..], at.key.stride);
                let value = (&inputs[2][at.value.start..], at.value.stride);
                let right_of_scores = Panels::pack_transposed::<S>(key, head_width, keys, packed_scores);
                let right_of_weights = Panels::pack_transposed::<S>(value, head_values, keys, packed_values);
                let right_of_queries = Panels::pack::<S>(key, keys, head_width, packed_keys);
                of_keys.fill(0.0);
                of_values.fill(0.0);
                for (first, count) in split_evenly(shape.queries, super::BLOCK) {
                    let query = (&inputs[0][at.query.start + first * at.query.stride..], at.query.stride);
                    let grad = (&output_grad[at.output.start + first * at.output.stride..], at.output.stride);
                    let block = Block { count, half, scale: shape.scale(), keys };
                    let mask = shape.mask_rows(mask, first);
                    block.weights(simd, query, right_of_scores, mask, weights);
                    if needs_value {
                        let right = Panels::pack::<S>(grad, count, head_values, packed_grads);
                        let left = Left { elements: weights, row_stride: 1, stride: weight_width, rows: keys };
                        simd.vectorize(Product { left, right, adds: true, out: (&mut *of_values, value_width) });
                    }
                    if !needs_query && !needs_key {
                        continue;
                    }
                    let left = Left { elements: grad.0, row_stride: grad.1, stride: 1, rows: count };
                    let out = (&mut *weight_grads, weight_width);
                    simd.vectorize(Product { left, right: right_of_weights, adds: false, out });
                    simd.vectorize(SoftmaxGradient { block, weights, rows: (&mut *weight_grads, weight_width) });
                    if needs_query {
                        let left = Left { elements: weight_grads, row_stride: weight_width, stride: 1, rows: count };
                        let out = (&mut *of_queries, width);
                        simd.vectorize(Product { left, right: right_of_queries, adds: false, out });
                        let into = &mut query_grad[at.query.start + first * at.query.stride..];
                        add_rows((into, at.query.stride), (of_queries, width), head_width, count);
                    }
                    if needs_key {
                        let right = Panels::pack::<S>(query, count, head_width, packed_queries);
                        let left = Left { elements: weight_grads, row_stride: 1, stride: weight_width, rows: keys };
                        simd.vectorize(Product { left, right, adds: true, out: (&mut *of_keys, width) });
                    }
                }
                if needs_key {
                    let into = (&mut key_grad[at.key.start..], at.key.stride);
                    add_rows(into, (of_keys, width), head_width, keys);
                }
                if needs_value {
                    let into = (&mut value_grad[at.value.start..], at.value.stride);
                    add_rows(into, (of_values, value_width), head_values, keys);
                }
            }
        }
    }
}

/// Adds `count` rows of `width` elements.
fn add_rows((into, into_stride): RowsMut, (from, from_stride): Rows, width: usize, count: usize) {
    for (into, from) in into.chunks_mut(into_stride).zip(from.chunks_exact(from_stride)).take(count) {
        into[..width].iter_mut().zip(&from[..width]).for_each(|(into, from)| *into += from);
    }
}

/// Replaces the gradients of the weights of a block by those of its scores before scaling.
struct SoftmaxGradient<'a> {
    block: Block,
    weights: &'a [f32],
    rows: RowsMut<'a>,
}

impl WithSimd for SoftmaxGradient<'_> {
    type Output = ();

    #[allow(clippy::inline_always)]
    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { block, weights, rows: (rows, stride) } = self;
        let lanes = S::F32_LANES;
        let width = block.keys.next_multiple_of(lanes);
        let scale = simd.splat_f32s(block.scale);
        for (row, weights) in rows.chunks_exact_mut(stride).zip(weights.chunks_exact(stride)).take(block.count) {
            let (row, weights) = (&mut row[..width], &weights[..width]);
            let mut sums = simd.splat_f32s(0.0);
            for (grad, weight) in row.chunks_exact(lanes).zip(weights.chunks_exact(lanes)) {
                sums = simd.mul_add_e_f32s(load::<S>(grad), load::<S>(weight), sums);
            }
            let mean = simd.splat_f32s(simd.reduce_sum_f32s(sums));
            for (grad, weight) in row.chunks_exact_mut(lanes).zip(weights.chunks_exact(lanes)) {
                let centred = simd.sub_f32s(load::<S>(grad), mean);
                let score_grad = simd.mul_f32s(simd.mul_f32s(load::<S>(weight), centred), scale);
                let [score_grad] = if block.half { round_vectors(simd, [score_grad]) } else { [score_grad] };
                store::<S>(grad, score_grad);
            }
        }
    }
}
