//! The table of metrics, to iterate over.

use walkforge_plugin_abi::wf_string;

use super::guard::{catch_panic_or, string};
use walkforge::evaluate::METRICS;

/// The number of metrics, each of which `wf_run_metric` knows by its name.
#[unsafe(no_mangle)]
pub extern "C" fn wf_metric_count() -> usize {
    METRICS.len()
}

/// The name of a metric, such as "sharpe"; valid for ever, empty beyond the table.
#[unsafe(no_mangle)]
pub extern "C" fn wf_metric_name(metric: usize) -> wf_string {
    catch_panic_or(string(""), || string(METRICS.get(metric).map_or("", |metric| metric.name)))
}

/// The definition of a metric, in a line; valid for ever, empty beyond the table.
#[unsafe(no_mangle)]
pub extern "C" fn wf_metric_doc(metric: usize) -> wf_string {
    catch_panic_or(string(""), || string(METRICS.get(metric).map_or("", |metric| metric.doc)))
}
