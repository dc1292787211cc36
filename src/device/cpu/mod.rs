//! The processor: one arena of memory, matrix products, the kernels of LSTM layers, and the functions that networks are made of.

mod arena;
mod gemm;
mod half;
mod lstm;
mod math;
mod microkernel;
mod simd;

pub use arena::{Arena, MOST_VIEWS, Views};
pub use gemm::{Matrix, product};
pub use half::round_to_half;
pub use lstm::{
    LstmGiven, LstmGradients, LstmPackedWeights, LstmShape, LstmWeights, lstm_backward, lstm_forward, lstm_predict,
};
pub use math::{sigmoid_slice, tanh_slice};
