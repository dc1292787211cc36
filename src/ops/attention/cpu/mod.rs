//! Kernels of `attention` on the CPU. A sample's head is computed in blocks of queries: their scores, the softmax in
//! memory, and the product with the values, all in cache. Heads are read and written where they lie, between the others.
//! A row's sums have a fixed order, so its bits do not depend on the other rows.

mod backward;
mod forward;
#[cfg(test)]
mod tests;

use super::super::{Backward, Call, CpuKernel, Forward, Operand, Workspace};
use super::Attention;
use crate::device::cpu::arch;
use crate::device::cpu::panels::{Panels, padded};
use backward::BackwardPass;
use forward::ForwardPass;

/// Most queries of a block.
const BLOCK: usize = 64;

/// Sizes of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct AttentionShape {
    /// Samples that the output has values for.
    samples: usize,
    /// Sequences of a sample.
    sequences: usize,
    queries: usize,
    keys: usize,
    heads: usize,
    /// Width of a query or key, all heads.
    width: usize,
    /// Width of a value, all heads.
    values: usize,
    /// Distance between samples of query, key, value and mask; 0 where all share one.
    sample_strides: [usize; 4],
    /// Queries that have a row in the mask: 1 if all share it.
    mask_rows: usize,
}

impl AttentionShape {
    fn new(attention: Attention, operands: &[Operand], output: &Operand, batch: usize) -> Self {
        let axis = |operand: &Operand, from_last: usize| operand.shape[operand.shape.len() - from_last];
        let (queries, width) = (axis(&operands[0], 2), axis(&operands[0], 1));
        let mut sample_strides = [0; 4];
        for (stride, operand) in sample_strides.iter_mut().zip(operands) {
            *stride = if operand.batched { operand.count() } else { 0 };
        }
        let has_row_per_query = operands.get(3).is_some_and(|mask| mask.shape.len() == 2);
        Self {
            samples: if output.batched { batch } else { 1 },
            sequences: operands[0].count() / (queries * width),
            queries,
            keys: axis(&operands[1], 2),
            heads: attention.heads,
            width,
            values: axis(&operands[2], 1),
            sample_strides,
            mask_rows: if has_row_per_query { queries } else { 1 },
        }
    }

    fn head_width(&self) -> usize {
        self.width / self.heads
    }

    fn head_values(&self) -> usize {
        self.values / self.heads
    }

    /// Most queries of a block of this call.
    fn block(&self) -> usize {
        BLOCK.min(self.queries)
    }

    /// Factor of the scores.
    fn scale(&self) -> f32 {
        1.0 / (self.head_width() as f32).sqrt()
    }

    /// Elements of the mask of a sample in workspace, padded.
    fn mask_size(&self) -> usize {
        self.mask_rows * padded(self.keys)
    }

    /// Elements of workspace of a forward pass: the mask, packed keys and values of a head, weights and output of a
    /// block.
    fn forward(&self) -> usize {
        self.mask_size()
            + Panels::size(self.head_width(), self.keys)
            + Panels::size(self.keys, self.head_values())
            + self.block() * (padded(self.keys) + padded(self.head_values()))
    }

    /// Elements of workspace of a backward pass: mask, keys in both orders and values of a head, queries and output
    /// gradients of a block, weights and their gradients, and the gradients of queries, keys and values.
    fn backward(&self) -> usize {
        let (head_width, head_values) = (self.head_width(), self.head_values());
        self.mask_size()
            + Panels::size(head_width, self.keys)
            + Panels::size(head_values, self.keys)
            + Panels::size(self.keys, head_width)
            + Panels::size(self.block(), head_width)
            + Panels::size(self.block(), head_values)
            + self.block() * (2 * padded(self.keys) + padded(head_width))
            + self.keys * (padded(head_width) + padded(head_values))
    }
}

/// Where the head of a sequence begins in an operand, and the distance between its rows.
#[derive(Clone, Copy)]
struct HeadRows {
    start: usize,
    stride: usize,
}

/// A head of a sequence of a sample.
struct Head {
    /// Of query, key, value and output.
    query: HeadRows,
    key: HeadRows,
    value: HeadRows,
    output: HeadRows,
}

impl AttentionShape {
    fn head(&self, sample: usize, sequence: usize, head: usize) -> Head {
        let rows = |operand: usize, count: usize, width: usize| HeadRows {
            start: sample * self.sample_strides[operand] + sequence * count * width + head * (width / self.heads),
            stride: width,
        };
        let output = (sample * self.sequences + sequence) * self.queries * self.values + head * self.head_values();
        Head {
            query: rows(0, self.queries, self.width),
            key: rows(1, self.keys, self.width),
            value: rows(2, self.keys, self.values),
            output: HeadRows { start: output, stride: self.values },
        }
    }

    /// Writes the mask of a sample: 1 for keys that a query sees, else 0, also in the padding.
    fn pad_mask(&self, mask: Option<&&[f32]>, sample: usize, into: &mut [f32]) {
        for (row, into) in into.chunks_exact_mut(padded(self.keys)).enumerate() {
            let (keys, padding) = into.split_at_mut(self.keys);
            match mask {
                Some(mask) => {
                    let mask = &mask[sample * self.sample_strides[3] + row * self.keys..][..self.keys];
                    keys.iter_mut().zip(mask).for_each(|(into, mask)| *into = f32::from(u8::from(*mask != 0.0)));
                }
                None => keys.fill(1.0),
            }
            padding.fill(0.0);
        }
    }

    /// The rows of a padded mask of a block of queries, and the distance between them.
    fn mask_rows<'a>(&self, mask: &'a [f32], first: usize) -> (&'a [f32], usize) {
        if self.mask_rows == 1 { (mask, 0) } else { (&mask[first * padded(self.keys)..], padded(self.keys)) }
    }
}

impl CpuKernel for Attention {
    fn workspace(&self, operands: &[Operand], output: &Operand, batch: usize) -> Workspace {
        let shape = AttentionShape::new(*self, operands, output, batch);
        Workspace { saved: 0, forward: shape.forward(), backward: shape.backward() }
    }

    fn forward(&self, pass: &mut Forward) {
        let Call { operands, output, batch, half, .. } = pass.call;
        let shape = AttentionShape::new(*self, operands, output, batch);
        arch().dispatch(ForwardPass { shape, half, inputs: pass.inputs, output: pass.output, scratch: pass.scratch });
    }

    fn backward(&self, pass: &mut Backward) {
        let Call { operands, output, batch, half, .. } = pass.call;
        let shape = AttentionShape::new(*self, operands, output, batch);
        arch().dispatch(BackwardPass {
            shape,
            half,
            inputs: pass.inputs,
            output_grad: pass.output_grad,
            gradients: pass.input_grads,
            scratch: pass.scratch,
        });
    }
}
