//! The experiment: every model over every window, then the books of the out-of-sample path. The one room that sees all
//! stages.

mod audit;
mod directory;
mod document;
mod experiment;
mod overview;
mod rules;
mod runtime;
mod score;
mod tables;
mod training;
mod walk;
mod window;

pub use audit::{Audit, DEFAULT_DATES, Decided, Moved, Pipeline, Weighed};
pub use directory::{RunDirectory, write_directory};
pub use experiment::{Device, Experiment, ModelEntry, data_settings, model_settings, top_settings};
pub use rules::{Rules, group_settings, portfolio_settings};
pub use runtime::Runtime;
pub use score::{Gaps, Scored, Scores, WindowScores, scores};
pub use walk::{Learning, ModelInfo, Progress, Run, Target};
pub use window::{ModelWindow, Shown, allocate};

/// What a step says whose caller set the cancel flag.
const CANCELLED: &str = "the run was cancelled; further steps go on with it";
