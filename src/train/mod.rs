//! Training: losses of a whole batch, the optimiser, learning rates, early stopping, and the step that puts them together.

mod loss;
mod optimizer;
mod schedule;
mod step;

pub use loss::{mean_square, sharpe};
pub use optimizer::{Adam, AdamSettings, Decay, clip, norm};
pub use schedule::{EarlyStop, LearningRate, Schedule};
pub use step::{Objective, Outcome, Stepper};
