//! Kernels of `dropout` on the CPU.

use super::super::{Backward, Call, CpuKernel, Forward, is_needed};
use super::Dropout;

/// Elements whose factors are drawn together.
const CHUNK: usize = 512;

/// Calls `body` with consecutive ranges of elements and their factors, which are 0 or 1/(1 - share).
fn for_each_chunk(call: &Call, count: usize, mut body: impl FnMut(std::ops::Range<usize>, &[f32])) {
    // A value that all samples share has one mask, in any micro-batch.
    let first = if call.output.batched { call.offset * call.output.count() } else { 0 };
    let (share, kept) = (call.scalar, 1.0 / (1.0 - call.scalar));
    let mut buffer = [0.0; CHUNK];
    for start in (0..count).step_by(CHUNK) {
        let range = start..count.min(start + CHUNK);
        let factors = &mut buffer[..range.len()];
        call.random.fill_uniform((first + start) as u64, factors);
        for factor in factors.iter_mut() {
            *factor = if *factor < share { 0.0 } else { kept };
        }
        body(range, factors);
    }
}

impl CpuKernel for Dropout {
    fn forward(&self, pass: &mut Forward) {
        pass.output.copy_from_slice(pass.inputs[0]);
        if pass.call.training && pass.call.scalar > 0.0 {
            let output = &mut *pass.output;
            for_each_chunk(&pass.call, output.len(), |range, factors| {
                output[range].iter_mut().zip(factors).for_each(|(out, factor)| *out *= factor);
            });
        }
    }

    fn backward(&self, pass: &mut Backward) {
        if !is_needed(pass.input_grads[0]) {
            return;
        }
        let (into, from) = (&mut *pass.input_grads[0], pass.output_grad);
        if pass.call.training && pass.call.scalar > 0.0 {
            for_each_chunk(&pass.call, from.len(), |range, factors| {
                let pairs = into[range.clone()].iter_mut().zip(&from[range]);
                pairs.zip(factors).for_each(|((into, from), factor)| *into += from * factor);
            });
        } else {
            into.iter_mut().zip(from).for_each(|(into, from)| *into += from);
        }
    }
}
