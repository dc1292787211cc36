//! Tables of metrics and of changes by constraints, with definitions.

use std::fmt::Write as _;

use jiff::civil::Date;

use super::chart::swatch;
use super::{ReportValues, benchmark_last, escape};
use crate::evaluate::{METRICS, Metric, MetricValue, Unit};

/// Events of a model's trading that are shown.
const MOST_EVENTS: usize = 20;
/// The rules of the constraints and what they do.
const RULES: [(&str, &str); 13] = [
    ("membership", "sells assets that have left the universe"),
    ("top_k", "keeps the number of assets within its limit"),
    ("min_weight", "drops positions below the smallest allowed weight"),
    (
        "bounds",
        "brings weights within the budget and the bounds of assets and groups; what is cut off goes to the rest",
    ),
    ("spread", "as bounds, but to assets that the model does not hold, as those it holds cannot take it"),
    ("turnover", "moves only part of the way to the target, as far as the turnover limit allows"),
    ("drift", "not a change: how far the turnover limit, or a missing price, left holdings outside their bounds"),
    (
        "relaxed_min_weight",
        "as nothing satisfied all constraints: the weight that stands below the smallest allowed one",
    ),
    ("relaxed_top_k", "as nothing satisfied all constraints: the weight of the assets beyond the number allowed"),
    ("relaxed_group_min", "as nothing satisfied all constraints: the weight that groups lack to their smallest sum"),
    ("relaxed_group_max", "as nothing satisfied all constraints: the weight of groups beyond their largest sum"),
    ("relaxed_max_weight", "as nothing satisfied all constraints: the weight beyond the bounds of the assets"),
    ("turnover_beyond", "not a change: turnover above the limit, by drift between decision and execution"),
];

/// The definition of a metric, and its index in [`METRICS`] and in lists of values.
pub(super) fn find_metric(name: &str) -> Option<(usize, &'static Metric)> {
    METRICS.iter().enumerate().find(|(_, metric)| metric.name == name)
}

/// Every metric of the out-of-sample path, with definitions.
pub(super) fn totals(values: &ReportValues) -> String {
    let mut out = String::from(
        "<section><h2>All metrics, out of sample</h2>\
         <div class=\"scroll\"><table><thead><tr><th scope=\"col\">Metric</th>",
    );
    for (index, model) in benchmark_last(&values.models) {
        let _ = write!(out, "<th scope=\"col\">{} {}</th>", swatch(index), escape(&model.name));
    }
    out += "</tr></thead><tbody>\n";
    for (row, metric) in METRICS.iter().enumerate() {
        let _ = write!(out, "<tr><th scope=\"row\" title=\"{}\">{}</th>", escape(metric.doc), escape(metric.label));
        for (_, model) in benchmark_last(&values.models) {
            let _ = write!(out, "<td>{}</td>", formatted(model.total.get(row), metric.unit, 2));
        }
        out += "</tr>\n";
    }
    out += "</tbody></table></div>\n<details><summary>What each metric means</summary><dl class=\"terms\">";
    for metric in METRICS {
        let _ = write!(out, "<dt>{}</dt><dd>{}</dd>", escape(metric.label), escape(metric.doc));
    }
    out += "<dt>–</dt><dd>no value; the reason is in run.json, and is shown when the pointer rests on the dash</dd>";
    out + "</dl></details></section>\n"
}

/// The worst drawdowns, a table per model.
pub(super) fn worst_drawdowns(values: &ReportValues) -> String {
    let mut out = String::from(
        "<section><h2>Worst drawdowns</h2><p>Falls of wealth below its highest value so far. The length is the number of \
         rows held until wealth was as high again, or until the end.</p>\n",
    );
    for (order, (index, model)) in benchmark_last(&values.models).enumerate() {
        let _ = writeln!(
            out,
            "<details{}><summary><h3>{} {}</h3></summary><table class=\"plain\"><thead><tr><th scope=\"col\">Depth</th>\
             <th scope=\"col\">Highest</th><th scope=\"col\">Lowest</th><th scope=\"col\">Recovered</th>\
             <th scope=\"col\">Length</th></tr></thead><tbody>",
            if order == 0 { " open" } else { "" },
            swatch(index),
            escape(&model.name)
        );
        for fall in &model.drawdowns {
            let recovered = fall.recovery.map_or_else(|| "not yet".to_owned(), |day| day.to_string());
            let _ = writeln!(
                out,
                "<tr><td>{}</td><td>{}</td><td>{}</td><td>{recovered}</td><td>{}</td></tr>",
                formatted(Some(&MetricValue::Number(fall.depth)), Unit::Percent, 1),
                fall.peak,
                fall.trough,
                fall.rows
            );
        }
        out += "</tbody></table></details>\n";
    }
    out + "</section>\n"
}

/// The months of a span, such as `2020-01 – 2020-12`.
pub(super) fn month_range(start: Date, end: Date) -> String {
    let month = |day: Date| format!("{}-{:02}", day.year(), day.month());
    if (start.year(), start.month()) == (end.year(), end.month()) {
        month(start)
    } else {
        format!("{} – {}", month(start), month(end))
    }
}

/// What the constraints changed; empty if they changed nothing.
pub(super) fn constraint_changes(values: &ReportValues) -> String {
    if values.models.iter().all(|model| model.changes.is_empty()) {
        return String::new();
    }
    let mut out = String::from(
        "<section><h2>Changes by constraints</h2><p>How constraints changed the models’ targets on the out-of-sample \
         path. Weight moved is the sum of |after − before|.</p><div class=\"scroll\"><table><thead><tr>\
         <th scope=\"col\">Model</th><th scope=\"col\">Rule</th><th scope=\"col\">Decisions changed</th>\
         <th scope=\"col\">Weight moved per change</th>\
         <th scope=\"col\">Largest change</th><th scope=\"col\">Date</th></tr></thead><tbody>\n",
    );
    for (index, model) in benchmark_last(&values.models) {
        for change in &model.changes {
            let _ = writeln!(
                out,
                "<tr><th scope=\"row\">{} {}</th><td>{}</td><td>{} of {}</td><td>{}</td><td>{}</td>\
                 <td>{}</td></tr>",
                swatch(index),
                escape(&model.name),
                change.rule,
                change.decisions,
                model.rebalances.len(),
                formatted(Some(&MetricValue::Number(change.moved / change.decisions.max(1) as f64)), Unit::Percent, 1),
                formatted(Some(&MetricValue::Number(change.largest.1)), Unit::Percent, 1),
                change.largest.0
            );
        }
    }
    out += "</tbody></table></div>\n<details><summary>What each rule does</summary><dl class=\"terms\">";
    for (rule, meaning) in RULES {
        let _ = write!(out, "<dt>{rule}</dt><dd>{meaning}</dd>");
    }
    out + "</dl></details></section>\n"
}

/// The first events of each model's trading; empty if there are none.
pub(super) fn trading_events(values: &ReportValues) -> String {
    if values.models.iter().all(|model| model.trading.events.is_empty()) {
        return String::new();
    }
    let mut out = String::from(
        "<section><h2>Orders without a price, and series that ended</h2><p>An asset without a price is not traded: its \
         weight stays as it is until the next decision. All of them are in run.json.</p><div class=\"scroll\"><table>\
         <thead><tr><th scope=\"col\">Model</th><th scope=\"col\">Date</th><th scope=\"col\">Asset</th>\
         <th scope=\"col\">What</th><th scope=\"col\">Weight</th></tr></thead><tbody>\n",
    );
    for (index, model) in benchmark_last(&values.models) {
        let name = format!("{} {}", swatch(index), escape(&model.name));
        for event in model.trading.events.iter().take(MOST_EVENTS) {
            let weight = formatted(Some(&MetricValue::Number(event.weight)), Unit::Percent, 2);
            let (date, asset, what) = (&event.date, escape(&event.asset), event.what);
            let _ = writeln!(
                out,
                "<tr><th scope=\"row\">{name}</th><td>{date}</td><td>{asset}</td><td>{what}</td><td>{weight}</td></tr>"
            );
        }
        let more = model.trading.events.len().saturating_sub(MOST_EVENTS);
        if more > 0 {
            let _ =
                writeln!(out, "<tr><th scope=\"row\">{name}</th><td colspan=\"4\">{more} more in run.json</td></tr>");
        }
    }
    out + "</tbody></table></div></section>\n"
}

/// The value of a metric, if it is a number.
pub(super) fn number(value: MetricValue) -> Option<f64> {
    if let MetricValue::Number(value) = value { Some(value) } else { None }
}

/// A metric as text. Percentages have `decimals` decimals, ratios have 2; an undefined metric is a dash with its
/// reason.
pub(super) fn formatted(value: Option<&MetricValue>, unit: Unit, decimals: usize) -> String {
    match value {
        None => "–".to_owned(),
        Some(MetricValue::Day(day)) => day.to_string(),
        Some(MetricValue::Undefined(reason)) => format!("<span title=\"{}\">–</span>", escape(reason)),
        Some(MetricValue::Number(value)) => {
            let text = if unit == Unit::Count {
                format!("{value:.0}")
            } else if unit == Unit::Percent {
                format!("{:.decimals$}\u{a0}%", value * 100.0)
            } else {
                format!("{value:.2}")
            };
            text.replace('-', "−")
        }
    }
}
