//! Training of networks, as the host controls it: settings, the data of a window, the learning rate schedule, early
//! stopping, the memory plan, and the loop over the epochs of one window. What runs on a device is in `engine`.

mod dataset;
mod early_stop;
mod exact;
mod history;
mod memory;
mod replica_control;
mod schedule;
mod settings;
mod span;
mod trainer;

pub(crate) use dataset::TrainingContext;
pub(crate) use history::{Epoch, ReplicaHistory};
pub use history::{StopReason, TrainingHistory};
pub(crate) use memory::MemoryPlan;
pub use schedule::{LearningRate, Schedule};
pub use settings::{TrainSettings, train_settings};
pub use span::TrainingSpan;
pub use trainer::Trainer;
