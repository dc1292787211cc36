//! Training: settings, losses of a whole batch, the optimiser, learning rates, early stopping, the step that puts them together,
//! and the loop over the epochs of one window.

mod dataset;
mod loss;
mod loss_scale;
mod memory;
mod optimizer;
mod replica_control;
mod schedule;
mod settings;
mod span;
mod step;
mod trainer;

pub use loss::{Chain, LossWorkspace, mean_square, portfolio_sharpe, sharpe};
pub use loss_scale::LossScale;
pub use memory::MemoryPlan;
pub use optimizer::{Adam, AdamSettings, Decay, clip, norm};
pub use schedule::{EarlyStop, LearningRate, Schedule};
pub use settings::{Loss, Order, TrainSettings, train_settings};
pub use span::TrainingSpan;
pub use step::{Batch, GatherInput, StepOutcome, StepSettings, Stepper};
pub use trainer::{Ended, Epoch, SeedTraining, Trainer, Training};
