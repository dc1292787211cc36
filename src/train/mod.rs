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

pub(crate) use history::{Epoch, ReplicaHistory};
pub use history::{StopReason, TrainingHistory};
pub use loss::{Loss, sharpe};
pub use loss_scale::LossScale;
pub(crate) use memory::MemoryPlan;
pub use schedule::{LearningRate, Schedule};
pub use settings::{TrainSettings, train_settings};
pub use span::TrainingSpan;
pub use step::{StepOutcome, StepSettings, Stepper};
pub use trainer::Trainer;
