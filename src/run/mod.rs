//! The experiment: every model over every window, then the books of the out-of-sample path. The one room that sees all
//! stages.

mod experiment;
mod score;
mod walk;
mod write;

pub use experiment::{Device, Experiment, ModelEntry, data_settings, portfolio_settings};
pub use walk::{ModelWindow, Run, Shown, Target, allocate};
pub use write::write_directory;
