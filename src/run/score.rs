//! Metrics of paths as JSON: numbers, dates, and null with the reason where a metric is undefined.

use jiff::civil::Date;
use serde_json::{Map, Value as Json, json};

use crate::evaluate::{Inputs, Metric, Value, evaluate};
use crate::panel::Panel;
use crate::portfolio::Path;

/// Every metric of a path against a benchmark over the same rows, in the order of the table.
pub(super) fn values(panel: &Panel, path: &Path, benchmark: &Path) -> Vec<(&'static Metric, Value)> {
    let Some(&first) = path.rows.first() else { return Vec::new() };
    let dates: Vec<Date> = path.rows.iter().map(|&row| panel.dates()[row]).collect();
    evaluate(&Inputs {
        start: panel.dates()[first.saturating_sub(1)],
        dates: &dates,
        gross: &path.gross,
        net: &path.net,
        turnover: &path.turnover,
        benchmark: Some(&benchmark.net),
    })
}

/// The same as JSON.
pub(super) fn metrics(panel: &Panel, path: &Path, benchmark: &Path) -> Json {
    let (mut written, mut reasons) = (Map::new(), Map::new());
    for (metric, value) in values(panel, path, benchmark) {
        let value = match value {
            Value::Number(number) => json!(number),
            Value::Day(day) => json!(day.to_string()),
            Value::Undefined(reason) => {
                reasons.insert(metric.name.to_owned(), json!(reason));
                Json::Null
            }
        };
        written.insert(metric.name.to_owned(), value);
    }
    written.insert("undefined".to_owned(), Json::Object(reasons));
    Json::Object(written)
}
