//! The page from top to bottom: what came out, how it was made, the charts, the tables, and what was checked.

use std::fmt::Write as _;

use jiff::civil::Date;

use super::chart::{Chart, Line, MOST_BANDS};
use super::learning::{by_clock, learning};
use super::monitor::monitor;
use super::series::{ROLLING, drawdown, rolling_sharpe, rolling_sum, wealth};
use super::tables::{by_window, changes, headline, shown, totals};
use super::weights_chart::weights_chart;
use super::{ModelValues, ReportValues, escape, ordered};
use crate::evaluate::{METRICS, Unit};

const STYLE: &str = include_str!("style.css");

/// The page.
pub fn html(values: &ReportValues) -> String {
    let names: Vec<String> = ordered(&values.models).map(|(_, model)| escape(&model.name)).collect();
    let mut out = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <title>Walk-forward report: {}</title>\n<style>\n{STYLE}</style></head>\n<body><main>\n\
         <h1>Walk-forward report</h1>\n",
        names.join(", ")
    );
    out += &lead(values);
    out += &headline(values);
    out += "<dl class=\"facts\">\n";
    for (name, value) in &values.facts {
        let _ = writeln!(out, "<div><dt>{}</dt><dd>{}</dd></div>", escape(name), escape(value));
    }
    for (_, model) in ordered(&values.models) {
        if let Some(gaps) = &model.gaps {
            let _ = writeln!(out, "<div><dt>Gaps, {}</dt><dd>{}</dd></div>", escape(&model.name), escape(gaps));
        }
    }
    for (_, model) in ordered(&values.models) {
        if let Some(said) = by_clock(model) {
            let _ = writeln!(out, "<div><dt>Depends on the clock</dt><dd>{said}</dd></div>");
        }
    }
    out += "</dl>\n";
    out += &charts(values);
    out += &monitor(values);
    out += &learning(values);
    out +=
        "<section><h2>Weights</h2><p>Targets at each rebalance, after constraints; the largest on average first.</p>\n";
    for (place, model) in ordered(&values.models) {
        let open = if place > 0 || values.models.len() == 1 { " open" } else { "" };
        let _ = writeln!(out, "<details{open}><summary><h3>{}</h3></summary>", escape(&model.name));
        out += &weights_chart(model, &values.assets);
        out += "</details>\n";
    }
    out += "</section>\n";
    out += &totals(values);
    out += &by_window(values);
    out += &changes(values);
    out += &integrity(values);
    out += "</main></body>\n</html>\n";
    out
}

/// What came out, in a sentence a model.
fn lead(values: &ReportValues) -> String {
    let (Some(first), Some(last)) = (values.days.first(), values.days.last()) else { return String::new() };
    let of = |model: &ModelValues, name: &str, unit: Unit| {
        let place = METRICS.iter().position(|metric| metric.name == name);
        shown(place.and_then(|place| model.total.get(place)), unit, 1)
    };
    let says: Vec<String> = ordered(&values.models)
        .map(|(_, model)| {
            format!(
                "<b>{}</b> made 1 into {} (Sharpe {})",
                escape(&model.name),
                wealth(&model.net).last().map_or_else(|| "–".to_owned(), |wealth| format!("{wealth:.2}")),
                of(model, "sharpe", Unit::Ratio)
            )
        })
        .collect();
    format!(
        "<p class=\"lead\">Out of sample, {first} to {last}, after costs: {}. Every weight was decided by a model that \
         had seen nothing later than the day of its decision.</p>\n",
        says.join("; ")
    )
}

fn charts(values: &ReportValues) -> String {
    let bands: Vec<(Date, Date)> = values.windows.iter().map(|window| window.held).collect();
    let lines = |series: &dyn Fn(&ModelValues) -> Vec<f64>| -> Vec<Line> {
        values.models.iter().map(|model| Line { name: model.name.clone(), values: series(model) }).collect()
    };
    let chart = |title, note, logarithmic, percent, lines| {
        Chart { title, note, days: &values.days, bands: &bands, logarithmic, percent, lines }.html()
    };
    let shading = if bands.len() > MOST_BANDS {
        ""
    } else {
        " Each shade, dark or light, is one window’s share of the test dates."
    };
    let wealth_note =
        format!("What 1 became, after costs, on a logarithmic scale; beside each name its last value.{shading}");
    let sharpe_note = format!("Over the last {ROLLING} days, after costs.");
    let turnover_note = format!("Half of the weight bought and sold, summed over the last {ROLLING} days.");
    [
        chart("Wealth", wealth_note.as_str(), true, false, lines(&|model| wealth(&model.net))),
        chart(
            "Drawdown",
            "How far wealth was below its highest so far.",
            false,
            true,
            lines(&|model| drawdown(&model.net)),
        ),
        chart("Rolling Sharpe ratio", &sharpe_note, false, false, lines(&|model| rolling_sharpe(&model.net))),
        chart("Turnover", &turnover_note, false, true, lines(&|model| rolling_sum(&model.turnover))),
    ]
    .concat()
}

/// What the walk recorded of what models were shown.
fn integrity(values: &ReportValues) -> String {
    let seen = values.integrity;
    let fits = match seen.fits {
        0 => "No model here is fitted; each weighs from its lookback alone.".to_owned(),
        fits => format!("{fits} fits were made, none shown a row after its window’s first test decision."),
    };
    let unchanged = if values.models.iter().all(|model| model.changes.is_empty()) {
        " The constraints changed no target."
    } else {
        ""
    };
    let highest = match seen.nearest {
        0 => "the highest row shown was the as-of row itself, never one above it".to_owned(),
        below if below < 0 => format!("the highest row shown stayed {} or more below the as-of row", -below),
        above => format!("THE HIGHEST ROW SHOWN WAS {above} ABOVE THE AS-OF ROW"),
    };
    format!(
        "<section><h2>No look-ahead</h2><p>{} decisions were made over {} windows; at every one of them {highest}. \
         {fits} The row of each decision is in run.json.{unchanged}</p></section>\n",
        seen.decisions,
        values.windows.len()
    )
}

#[cfg(test)]
mod tests {
    use jiff::ToSpan;
    use jiff::civil::{Date, date};

    use super::super::{
        ChangedValues, Integrity, ModelValues, RebalanceValues, ReportValues, WindowSpan, WindowValues,
    };
    use super::html;
    use crate::evaluate::{METRICS, MetricValue};

    fn model(name: &str, fits: bool) -> ModelValues {
        let metrics = |number: f64| vec![MetricValue::Number(number); METRICS.len()];
        ModelValues {
            name: name.to_owned(),
            fits,
            net: vec![0.01; 300],
            turnover: vec![0.0; 300],
            rebalances: vec![RebalanceValues { date: date(2019, 12, 31), weights: vec![0.25, 0.75] }],
            total: metrics(-0.5),
            windows: vec![WindowValues { train: metrics(3.25), validation: metrics(2.25), test: metrics(1.25) }],
            changes: Vec::new(),
            gaps: None,
            overfitting: None,
            training: Vec::new(),
        }
    }

    fn values(models: Vec<ModelValues>) -> ReportValues {
        let days: Vec<Date> = (1..=300).map(|day| date(2019, 12, 31).checked_add(day.days()).unwrap()).collect();
        let span = (days[0], days[299]);
        ReportValues {
            facts: vec![("Costs".to_owned(), "<10> bps".to_owned())],
            windows: vec![WindowSpan { held: span, test: span }],
            days,
            assets: vec!["A&B".to_owned(), "C".to_owned()],
            models,
            integrity: Integrity { decisions: 12, nearest: 0, fits: 0 },
        }
    }

    #[test]
    fn a_page_holds_every_metric_its_meaning_and_no_name_as_markup() {
        let page = html(&values(vec![model("equal_weight", false), model("m", false)]));
        for metric in METRICS {
            let meaning = format!("<dt>{}</dt><dd>{}</dd>", super::escape(metric.label), super::escape(metric.doc));
            assert!(page.contains(&meaning), "{meaning}");
        }
        assert!(page.contains("&lt;10&gt; bps") && page.contains("A&amp;B") && !page.contains("A&B"));
        assert!(page.contains("<td>−0.50</td>") && page.contains("<td>−50.00\u{a0}%</td>"));
        assert!(page.contains("12 decisions were made over 1 windows") && page.contains("never one above it"));
        assert!(page.contains("The constraints changed no target.") && !page.contains("Changes by constraints"));
        // Nothing is fetched and nothing runs.
        for forbidden in ["<script", "http:", "https:", "url(", "@import", " src="] {
            assert!(!page.contains(forbidden), "{forbidden}");
        }
    }

    #[test]
    fn scores_on_the_train_span_are_shown_where_they_mean_something() {
        let page = html(&values(vec![model("equal_weight", false), model("fitted", true), model("too", true)]));
        assert_eq!(page.matches("Sharpe, train").count(), 2);
        assert_eq!((page.matches("<td>3.25</td>").count(), page.matches("<td>2.25</td>").count()), (2, 3));
        assert!(page.contains("title=\"2020-01-01 to 2020-10-26\">2020-01 – 2020-10<"));
    }

    #[test]
    fn changes_gaps_and_a_broken_promise_are_said() {
        let mut changed = model("m", false);
        changed.changes =
            vec![ChangedValues { rule: "bounds", decisions: 4, moved: 0.5, most: (date(2020, 2, 28), 0.3) }];
        changed.gaps = Some("3 asset-days held without a price".to_owned());
        let mut values = values(vec![model("equal_weight", false), changed]);
        values.integrity.nearest = 2;
        let page = html(&values);
        let row = "<td>bounds</td><td>4 of 1</td><td>12.5\u{a0}%</td><td>30.0\u{a0}%</td><td>2020-02-28</td>";
        assert!(page.contains(row) && !page.contains("changed no target"));
        assert!(page.contains("<dt>Gaps, m</dt><dd>3 asset-days held without a price</dd>"));
        assert!(page.contains("THE HIGHEST ROW SHOWN WAS 2 ABOVE THE AS-OF ROW"));
    }
}
