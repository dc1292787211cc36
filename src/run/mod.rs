//! A run: every model over every window, then the out-of-sample path of each. This is the one module that sees all
//! stages.

mod audit;
mod close;
mod comparison;
mod directory;
pub(crate) mod document;
mod feasibility;
mod notices;
mod output;
mod result_bytes;
mod runner;
mod scores;
mod units;

pub use audit::{Audit, DEFAULT_DATES, Pipeline, WindowDecisions};
pub use directory::{RunDirectory, write_directory};
pub use document::RunDocument;
pub use output::csv::csv_cell;
pub use runner::{Progress, Run, Target, TrainingProgress};
pub use scores::scores;
