//! The experiment: every model over every window, then the books of the out-of-sample path. The one room that sees all
//! stages.

mod experiment;
mod runtime;
mod score;
mod walk;
mod write;

pub use experiment::{Experiment, ModelEntry, data_settings, portfolio_settings};
pub use runtime::Runtime;
pub use walk::{ModelWindow, Progress, Run, Shown, Target, allocate};
pub use write::write_directory;
