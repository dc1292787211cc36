//! A job: one model in one window. The model is fitted on copies of the window's spans, and makes each decision from a
//! copy of the panel that ends at the decision row. Runs, tuning, sessions and conformance checks are built on jobs.

mod allocate;
mod decide;
mod decisions;
mod fit;
mod loaded_model;
mod runtime;
mod seed;
#[cfg(test)]
mod tests;

pub use allocate::allocate;
pub use decide::ModelWindow;
pub(crate) use decide::{decide, decide_rows, decide_window};
pub(crate) use decisions::SpillFile;
pub use decisions::{SpanDecisions, StoredDecisions};
pub(crate) use fit::{Prepared, fit_context, fit_to_end, prepare};
pub use loaded_model::LoadedModel;
pub use runtime::Runtime;
pub(crate) use seed::job_seed;

/// The message of a step that the caller cancelled.
pub(crate) const CANCELLED: &str = "the run was cancelled; further steps continue it";
