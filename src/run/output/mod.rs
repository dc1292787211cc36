//! The contents of a run directory: `run.json`, the CSV files and the values of the report.

pub(super) mod csv;
mod current;
pub(super) mod report_values;
pub(super) mod run_json;
pub(super) mod trading;
