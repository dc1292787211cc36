//! Training of networks: settings, losses over a whole batch, the optimiser, the learning rate schedule, early
//! stopping, the optimiser step that combines them, and the loop over the epochs of one window.

mod dataset;
mod early_stop;
mod history;
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

pub use early_stop::EarlyStop;
pub use history::{Epoch, ReplicaHistory, StopReason, TrainingHistory};
pub use loss::{Chain, LossWorkspace, mean_square, portfolio_sharpe, sharpe};
pub use loss_scale::LossScale;
pub use memory::MemoryPlan;
pub use optimizer::{Adam, AdamSettings, Decay, clip, norm};
pub use schedule::{LearningRate, Schedule};
pub use settings::{Loss, Order, TrainSettings, train_settings};
pub use span::TrainingSpan;
pub use step::{Batch, GatherInput, StepOutcome, StepSettings, Stepper};
pub use trainer::Trainer;
