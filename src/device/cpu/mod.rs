//! The CPU: arena memory, matrix products, LSTM kernels and elementwise functions.

mod arena;
mod gemm;
mod half;
mod level;
mod lstm;
mod math;
mod microkernel;
mod simd;

pub(crate) use arena::Arena;
pub(crate) use gemm::{Matrix, product};
pub use half::round_to_half;
pub use level::{SimdLevel, choose_level};
pub(crate) use lstm::{
    LstmArguments, LstmGradients, LstmPackedWeights, LstmShape, LstmWeights, lstm_backward, lstm_forward, lstm_predict,
};
pub(crate) use math::{exp_f64, exp_slice, negative_exp_m1_slice, sigmoid_slice, tanh_slice};

/// `f32` lanes of the widest vector that any supported CPU has.
const MOST_LANES: usize = 16;
