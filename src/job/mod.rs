//! A job: one model through one window. It is fitted on copies of the window's spans, then asked at each decision row with
//! a copy that ends there. Runs, tuning, sessions and the conformance checks stand on it.

mod allocate;
mod decide;
mod fit;
mod loaded_model;
mod runtime;
#[cfg(test)]
mod tests;

pub use allocate::allocate;
pub use decide::{IntegrityRecord, ModelWindow};
pub(crate) use decide::{decide, decide_window};
pub(crate) use fit::{Prepared, fit_context, fit_to_end, prepare};
pub use loaded_model::LoadedModel;
pub use runtime::Runtime;

/// The message of a step that ends because its caller set the cancel flag.
pub(crate) const CANCELLED: &str = "the run was cancelled; further steps continue it";
