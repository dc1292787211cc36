//! The first screen: what the models did beside the benchmark, each with its uncertainty.

use std::fmt::Write as _;

use super::chart::swatch;
use super::tables::{find_metric, formatted, number};
use super::{ComparisonValues, ModelValues, ReportValues, benchmark_last, escape};
use crate::evaluate::{Metric, MetricValue, Unit};

/// The metrics beside the Sharpe ratio, with their short names.
const METRICS: [(&str, &str); 3] =
    [("cagr", "CAGR"), ("max_drawdown", "Max drawdown"), ("turnover", "Turnover a year")];
/// A p-value up to this is a difference.
const LEVEL: f64 = 0.05;

/// What a comparison with the benchmark came to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Higher,
    Lower,
    NotDistinguishable,
    /// There is no comparison, for this reason.
    Unknown(&'static str),
}

impl Outcome {
    fn of(comparison: &ComparisonValues) -> Self {
        match (comparison.difference, comparison.adjusted_p) {
            (Err(reason), _) => Self::Unknown(reason),
            (Ok(found), Some(p)) if p <= LEVEL => {
                if found.value > 0.0 {
                    Self::Higher
                } else {
                    Self::Lower
                }
            }
            (Ok(_), _) => Self::NotDistinguishable,
        }
    }

    fn words(self) -> &'static str {
        match self {
            Self::Higher => "higher",
            Self::Lower => "lower",
            Self::NotDistinguishable => "not distinguishable",
            Self::Unknown(_) => "not compared",
        }
    }
}

/// The result in a sentence or two.
pub(super) fn lead(values: &ReportValues) -> String {
    let (Some(first), Some(last)) = (values.days.first(), values.days.last()) else { return String::new() };
    let mut out = format!("<p class=\"lead\">Out of sample, {first} to {last}, after costs.");
    if let Some((benchmark, others)) = values.models.split_first().filter(|(_, others)| !others.is_empty()) {
        let benchmark = escape(&benchmark.name);
        let outcome = |model: &ModelValues| model.comparison.as_ref().map(Outcome::of);
        for (wanted, text) in [
            (Outcome::Higher, "higher than"),
            (Outcome::Lower, "lower than"),
            (Outcome::NotDistinguishable, "not distinguishable from"),
        ] {
            let names = others.iter().filter(|model| outcome(model) == Some(wanted));
            let names: Vec<String> = names.map(|model| format!("<b>{}</b>", escape(&model.name))).collect();
            let (plural, verb) = if names.len() == 1 { ("", "is") } else { ("s", "are") };
            if !names.is_empty() {
                let names = listed(&names);
                let _ = write!(out, " The Sharpe ratio{plural} of {names} {verb} {text} that of {benchmark}.");
            }
        }
    }
    out + "</p>\n"
}

/// Names with commas and an "and".
fn listed(names: &[String]) -> String {
    match names {
        [rest @ .., last] if !rest.is_empty() => format!("{} and {last}", rest.join(", ")),
        _ => names.concat(),
    }
}

/// The headline table, one row per model.
pub(super) fn headline(values: &ReportValues) -> String {
    let columns: Vec<(usize, &Metric, &str)> =
        METRICS.iter().filter_map(|(name, label)| find_metric(name).map(|(at, metric)| (at, metric, *label))).collect();
    let compared = values.models.len() > 1;
    let benchmark = values.models.first().map_or_else(String::new, |model| escape(&model.name));
    let mut out = String::from(
        "<div class=\"scroll\"><table class=\"headline\"><thead><tr><th scope=\"col\">Model</th>\
         <th scope=\"col\">Net Sharpe</th>",
    );
    if compared {
        let _ = write!(out, "<th scope=\"col\">less {benchmark}</th>");
    }
    for (_, metric, label) in &columns {
        let _ = write!(out, "<th scope=\"col\" title=\"{}\">{label}</th>", escape(metric.doc));
    }
    out += "</tr></thead><tbody>\n";
    for (index, model) in benchmark_last(&values.models) {
        let _ = write!(
            out,
            "<tr><th scope=\"row\">{} {}</th><td>{}{}</td>",
            swatch(index),
            escape(&model.name),
            metric(model, "sharpe"),
            sharpe_interval(model)
        );
        if compared {
            let _ = write!(out, "<td>{}</td>", model.comparison.as_ref().map_or_else(String::new, difference));
        }
        for (at, metric, _) in &columns {
            let _ = write!(out, "<td>{}</td>", formatted(model.total.get(*at), metric.unit, 1));
        }
        out += "</tr>\n";
    }
    out += "</tbody></table></div>\n<details><summary>How to read this table</summary><p>The Sharpe ratio is the mean of \
            net returns over their deviation on the whole path, per year, less the risk-free rate where one is set. Below \
            it stands its 95 % interval, ± 1.96 standard errors: with other years of the same kind it could lie anywhere \
            in there.";
    if compared {
        let _ = write!(
            out,
            " Its difference from {benchmark} is taken on the same days, with its own 95 % interval (Ledoit and Wolf \
             2008), as two models share most of their days’ luck. It counts as higher or lower where its p-value, \
             corrected for the number of models (Holm), is at most 5 %; otherwise the two are not distinguishable."
        );
    }
    out + "</p></details>\n"
}

/// A metric of the whole path.
fn metric(model: &ModelValues, name: &str) -> String {
    let found = find_metric(name);
    formatted(found.and_then(|(at, _)| model.total.get(at)), found.map_or(Unit::Ratio, |(_, metric)| metric.unit), 1)
}

/// The interval of the Sharpe ratio as a second line; empty if there is none.
fn sharpe_interval(model: &ModelValues) -> String {
    let bound = |name: &str| find_metric(name).and_then(|(at, _)| number(*model.total.get(at)?));
    match (bound("sharpe_low"), bound("sharpe_high")) {
        (Some(_), Some(_)) => {
            format!("<small>{} to {}</small>", metric(model, "sharpe_low"), metric(model, "sharpe_high"))
        }
        _ => String::new(),
    }
}

/// The difference from the benchmark, its interval, and what it came to.
fn difference(comparison: &ComparisonValues) -> String {
    let outcome = Outcome::of(comparison);
    let ratio = |value: f64| formatted(Some(&MetricValue::Number(value)), Unit::Ratio, 2);
    match comparison.difference {
        Ok(found) => format!(
            "{}{}<small>{} to {}</small><small>{}</small>",
            if found.value > 0.0 { "+" } else { "" },
            ratio(found.value),
            ratio(found.interval[0]),
            ratio(found.interval[1]),
            outcome.words()
        ),
        Err(reason) => format!("<span title=\"{}\">–</span><small>{}</small>", escape(reason), outcome.words()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::page::tests::{model, values};
    use super::{headline, lead};
    use crate::evaluate::Difference;
    use crate::report::{ComparisonValues, ModelValues};

    fn compared(name: &str, value: f64, p: f64) -> ModelValues {
        let found = Difference { value, error: 0.1, interval: [value - 0.25, value + 0.25], p };
        let comparison = ComparisonValues { difference: Ok(found), adjusted_p: Some(p) };
        ModelValues { comparison: Some(comparison), ..model(name) }
    }

    #[test]
    fn a_difference_is_named_only_where_its_corrected_p_value_says_so() {
        let unknown = ComparisonValues { difference: Err("fewer than <60> rows"), adjusted_p: None };
        let values = values(vec![
            model("equal_weight"),
            compared("up", 0.5, 0.04),
            compared("down", -0.5, 0.05),
            compared("near", 0.5, 0.06),
            compared("nearer", 0.0, 0.9),
            ModelValues { comparison: Some(unknown), ..model("short") },
        ]);
        let lead = lead(&values);
        let sentences = "after costs. The Sharpe ratio of <b>up</b> is higher than that of equal_weight. The Sharpe ratio of \
                         <b>down</b> is lower than that of equal_weight. The Sharpe ratios of <b>near</b> and <b>nearer</b> \
                         are not distinguishable from that of equal_weight.";
        assert!(lead.contains(sentences) && !lead.contains("short"), "{lead}");
        let table = headline(&values);
        let cell = |text: &str| assert!(table.contains(text), "{text}: {table}");
        cell("<td>+0.50<small>0.25 to 0.75</small><small>higher</small></td>");
        cell("<td>−0.50<small>−0.75 to −0.25</small><small>lower</small></td>");
        cell("<td>+0.50<small>0.25 to 0.75</small><small>not distinguishable</small></td>");
        cell("<td><span title=\"fewer than &lt;60&gt; rows\">–</span><small>not compared</small></td>");
        // The benchmark has nothing to be compared with; each Sharpe ratio has its interval.
        cell("<td>−0.50<small>−0.50 to −0.50</small></td><td></td>");
    }

    #[test]
    fn a_benchmark_alone_is_compared_with_nothing() {
        let values = values(vec![model("equal_weight")]);
        assert!(lead(&values).ends_with("after costs.</p>\n"));
        let table = headline(&values);
        assert!(!table.contains("less equal_weight") && !table.contains("Holm"), "{table}");
    }
}
