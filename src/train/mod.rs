//! Training: settings, losses of a whole batch, the optimiser, learning rates, early stopping, the step that puts them together,
//! and the loop over the epochs of one window.

mod budget;
mod data;
mod form;
mod learner;
mod lesson;
mod loss;
mod optimizer;
mod scale;
mod scaler;
mod schedule;
mod settings;
mod step;
mod task;
mod trained;
mod trainer;

pub use budget::Fit;
pub use form::{Form, Wanted};
pub use loss::{Chain, LossRoom, mean_square, portfolio_sharpe, sharpe};
pub use optimizer::{Adam, AdamSettings, Decay, clip, norm};
pub use scaler::LossScale;
pub use schedule::{EarlyStop, LearningRate, Schedule};
pub use settings::{Loss, Order, TrainSettings, train_settings};
pub use step::{Batch, Fill, Outcome, StepSettings, Stepper};
pub use task::Task;
pub use trained::Trained;
pub use trainer::{Ended, Epoch, SeedTraining, Trainer, Training};
