//! The table of metrics.

use walkforge::METRICS;
use walkforge_plugin_abi::wf_string;

use super::guard::{catch_panic_or, string};

/// Returns the number of metrics. `wf_run_metric` computes each of them by name.
#[unsafe(no_mangle)]
pub extern "C" fn wf_metric_count() -> usize {
    METRICS.len()
}

/// Returns the name of a metric by index, such as "sharpe". Empty if the index is out of range. Valid forever.
#[unsafe(no_mangle)]
pub extern "C" fn wf_metric_name(metric: usize) -> wf_string {
    catch_panic_or(string(""), || string(METRICS.get(metric).map_or("", |metric| metric.name)))
}

/// Returns the one-line definition of a metric by index. Empty if the index is out of range. Valid forever.
#[unsafe(no_mangle)]
pub extern "C" fn wf_metric_doc(metric: usize) -> wf_string {
    catch_panic_or(string(""), || string(METRICS.get(metric).map_or("", |metric| metric.doc)))
}
