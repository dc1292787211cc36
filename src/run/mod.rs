//! The experiment: every model over every window, then the books of the out-of-sample path. The one room that sees all
//! stages.

mod audit;
mod directory;
mod output;
mod runner;
mod scores;

pub use audit::{Audit, DEFAULT_DATES, Decided, Moved, Pipeline, Weighed};
pub use directory::{RunDirectory, write_directory};
pub use runner::{Progress, Run, Target, TrainingProgress};
pub use scores::{PriceGaps, Scored, Scores, WindowScores, scores};
