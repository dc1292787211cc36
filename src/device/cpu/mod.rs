//! The CPU: arena memory, matrix products, tiles in registers, elementwise functions, the instruction level.

mod aligned;
mod arena;
mod gemm;
mod half;
mod level;
mod math;
pub(crate) mod microkernel;
pub(crate) mod panels;
pub(crate) mod simd;
pub(crate) mod transpose;

pub(crate) use aligned::AlignedVec;
pub(crate) use arena::Arena;
pub(crate) use gemm::{Matrix, product};
pub(crate) use half::half_reads_are_fast;
pub use half::round_to_half;
pub(crate) use level::arch;
pub use level::{SimdLevel, choose_level};
pub(crate) use math::{exp_f64, exp_slice, log, negative_exp_m1_slice, sigmoid_slice, tanh_slice};

/// `f32` lanes of the widest vector that any supported CPU has.
pub(crate) const MOST_LANES: usize = 16;
