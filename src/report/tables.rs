//! Tables of metrics, of changes by constraints, and the definitions.

use std::fmt::Write as _;

use jiff::civil::Date;

use super::chart::swatch;
use super::{ReportValues, WindowValues, escape, ordered};
use crate::evaluate::{METRICS, Metric, MetricValue, Unit};

/// What is compared first.
const HEADLINE: [&str; 4] = ["sharpe", "cagr", "max_drawdown", "turnover"];
/// What is shown of each test span.
const WINDOW: [&str; 5] = ["sharpe", "cagr", "volatility", "max_drawdown", "turnover"];

/// What the rules of the constraints do.
const RULES: [(&str, &str); 6] = [
    ("membership", "sells what is no longer in the universe"),
    ("top_k", "holds no more assets than allowed"),
    ("min_weight", "holds nothing smaller than allowed"),
    ("bounds", "moves to the nearest weights that sum to 1 inside the bounds of assets and groups"),
    ("turnover", "goes only part of the way to the target, as far as the turnover limit lets it"),
    ("drift", "no change: by how much the turnover limit kept a holding beyond its bound"),
];

/// Place and row of a metric of the table.
fn metric(name: &str) -> Option<(usize, &'static Metric)> {
    METRICS.iter().enumerate().find(|(_, metric)| metric.name == name)
}

/// One row a model, the figures that a reader compares first.
pub(super) fn headline(values: &ReportValues) -> String {
    let columns: Vec<(usize, &Metric)> = HEADLINE.iter().filter_map(|name| metric(name)).collect();
    let mut out =
        String::from("<div class=\"scroll\"><table class=\"headline\"><thead><tr><th scope=\"col\">Model</th>");
    for (name, (_, metric)) in HEADLINE.iter().zip(&columns) {
        let label = match *name {
            "sharpe" => "Net Sharpe",
            "cagr" => "CAGR",
            "max_drawdown" => "Max drawdown",
            _ => metric.label,
        };
        let _ = write!(out, "<th scope=\"col\" title=\"{}\">{label}</th>", escape(metric.doc));
    }
    out += "</tr></thead><tbody>\n";
    for (place, model) in ordered(&values.models) {
        let _ = write!(out, "<tr><th scope=\"row\">{} {}</th>", swatch(place), escape(&model.name));
        for (at, metric) in &columns {
            let _ = write!(out, "<td>{}</td>", shown(model.total.get(*at), metric.unit, 1));
        }
        out += "</tr>\n";
    }
    out + "</tbody></table></div>\n"
}

/// Every metric of the out-of-sample path, and what each means.
pub(super) fn totals(values: &ReportValues) -> String {
    let mut out = String::from(
        "<section><h2>All metrics, out of sample</h2>\
         <div class=\"scroll\"><table><thead><tr><th scope=\"col\">Metric</th>",
    );
    for (place, model) in ordered(&values.models) {
        let _ = write!(out, "<th scope=\"col\">{} {}</th>", swatch(place), escape(&model.name));
    }
    out += "</tr></thead><tbody>\n";
    for (row, metric) in METRICS.iter().enumerate() {
        let _ = write!(out, "<tr><th scope=\"row\" title=\"{}\">{}</th>", escape(metric.doc), escape(metric.label));
        for (_, model) in ordered(&values.models) {
            let _ = write!(out, "<td>{}</td>", shown(model.total.get(row), metric.unit, 2));
        }
        out += "</tr>\n";
    }
    out += "</tbody></table></div>\n<details><summary>What each metric means</summary><dl class=\"terms\">";
    for metric in METRICS {
        let _ = write!(out, "<dt>{}</dt><dd>{}</dd>", escape(metric.label), escape(metric.doc));
    }
    out +=
        "<dt>–</dt><dd>there is no value; the reason is in run.json, and here where a pointer rests on the dash</dd>";
    out + "</dl></details></section>\n"
}

/// A table a model, one row a window.
pub(super) fn by_window(values: &ReportValues) -> String {
    let columns: Vec<(usize, &Metric)> = WINDOW.iter().filter_map(|name| metric(name)).collect();
    let mut out = String::from(
        "<section><h2>Window by window</h2><p>Each span is scored on a path of its own that starts in cash, after \
         costs. Figures are of the test span where nothing else is said.</p>\n",
    );
    for (place, model) in ordered(&values.models) {
        let _ = write!(
            out,
            "<h3>{} {}</h3><div class=\"scroll tall\"><table><thead><tr><th scope=\"col\">Test span</th>{}\
             <th scope=\"col\">Sharpe, validation</th>",
            swatch(place),
            escape(&model.name),
            if model.fits { "<th scope=\"col\">Sharpe, train</th>" } else { "" }
        );
        for (_, metric) in &columns {
            let label = if metric.name == "sharpe" { "Sharpe, test" } else { metric.label };
            let _ = write!(out, "<th scope=\"col\" title=\"{}\">{}</th>", escape(metric.doc), escape(label));
        }
        out += "</tr></thead><tbody>\n";
        for (span, window) in values.windows.iter().zip(&model.windows) {
            let (start, end) = span.test;
            let _ = write!(out, "<tr><th scope=\"row\" title=\"{start} to {end}\">{}</th>", months(start, end));
            out += &window_cells(window, model.fits, &columns);
            out += "</tr>\n";
        }
        out += "</tbody></table></div>\n";
    }
    out + "</section>\n"
}

fn window_cells(window: &WindowValues, fits: bool, columns: &[(usize, &Metric)]) -> String {
    let sharpe = metric("sharpe").map_or(0, |(at, _)| at);
    let mut out = String::new();
    for scored in fits.then_some(&window.train).into_iter().chain([&window.validation]) {
        let _ = write!(out, "<td>{}</td>", shown(scored.get(sharpe), Unit::Ratio, 1));
    }
    for (at, metric) in columns {
        let _ = write!(out, "<td>{}</td>", shown(window.test.get(*at), metric.unit, 1));
    }
    out
}

/// Months of a span, as short as it can be said.
pub(super) fn months(start: Date, end: Date) -> String {
    let month = |day: Date| format!("{}-{:02}", day.year(), day.month());
    if (start.year(), start.month()) == (end.year(), end.month()) {
        month(start)
    } else {
        format!("{} – {}", month(start), month(end))
    }
}

/// What the constraints changed, where they did.
pub(super) fn changes(values: &ReportValues) -> String {
    if values.models.iter().all(|model| model.changes.is_empty()) {
        return String::new();
    }
    let mut out = String::from(
        "<section><h2>Changes by constraints</h2><p>What was done to the models’ targets on the out-of-sample path; \
         weight moved is the sum of |after − before|.</p><div class=\"scroll\"><table><thead><tr>\
         <th scope=\"col\">Model</th><th scope=\"col\">Rule</th><th scope=\"col\">Decisions changed</th>\
         <th scope=\"col\">Weight moved, a change</th>\
         <th scope=\"col\">Largest</th><th scope=\"col\">on</th></tr></thead><tbody>\n",
    );
    for (place, model) in ordered(&values.models) {
        for change in &model.changes {
            let _ = writeln!(
                out,
                "<tr><th scope=\"row\">{} {}</th><td>{}</td><td>{} of {}</td><td>{}</td><td>{}</td>\
                 <td>{}</td></tr>",
                swatch(place),
                escape(&model.name),
                change.rule,
                change.decisions,
                model.rebalances.len(),
                shown(Some(&MetricValue::Number(change.moved / change.decisions.max(1) as f64)), Unit::Percent, 1),
                shown(Some(&MetricValue::Number(change.most.1)), Unit::Percent, 1),
                change.most.0
            );
        }
    }
    out += "</tbody></table></div>\n<details><summary>What each rule does</summary><dl class=\"terms\">";
    for (rule, meaning) in RULES {
        let _ = write!(out, "<dt>{rule}</dt><dd>{meaning}</dd>");
    }
    out + "</dl></details></section>\n"
}

/// A value as people read it, shares in percent with so many decimals.
pub(super) fn shown(value: Option<&MetricValue>, unit: Unit, decimals: usize) -> String {
    match value {
        None => "–".to_owned(),
        Some(MetricValue::Day(day)) => day.to_string(),
        Some(MetricValue::Undefined(reason)) => format!("<span title=\"{}\">–</span>", escape(reason)),
        Some(MetricValue::Number(number)) => {
            let text = if unit == Unit::Percent {
                format!("{:.decimals$}\u{a0}%", number * 100.0)
            } else {
                format!("{number:.2}")
            };
            text.replace('-', "−")
        }
    }
}
