//! The processor: one arena of memory, matrix products, and the functions that networks are made of.

mod arena;
mod gemm;
mod half;
mod math;

pub use arena::{Arena, MOST_VIEWS, Views};
pub use gemm::{Matrix, product};
pub use half::round_to_half;
pub use math::{sigmoid, sigmoid_slice, tanh, tanh_slice};
