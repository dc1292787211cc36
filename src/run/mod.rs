//! The experiment: every model over every window, then the books of the out-of-sample path. The one room that sees all
//! stages.

mod directory;
mod document;
mod experiment;
mod overview;
mod score;
mod tables;
mod walk;

pub use directory::{RunDirectory, write_directory};
pub use experiment::{Device, Experiment, ModelEntry, data_settings, portfolio_settings};
pub use score::{Gaps, Scored, Scores, WindowScores, scores};
pub use walk::{ModelWindow, Run, Shown, Target, allocate};
