//! The page from top to bottom: results, conditions, charts, tables, and what was checked.

use std::fmt::Write as _;

use jiff::civil::Date;

use super::chart::{Chart, Line, MAX_BANDS};
use super::heat_map::window_maps;
use super::learning::{learning_curves, stopped_by_clock};
use super::monitor::monitor;
use super::series::{drawdown, rolling_rows, rolling_sharpe, rolling_sum, wealth};
use super::tables::{constraint_changes, formatted, headline, totals, trading_events};
use super::weights_chart::weights_chart;
use super::{ModelValues, ReportValues, benchmark_last, escape};
use crate::evaluate::{METRICS, Unit};

const STYLE: &str = include_str!("style.css");

/// The report as one HTML page.
pub(crate) fn html(values: &ReportValues) -> String {
    let names: Vec<String> = benchmark_last(&values.models).map(|(_, model)| escape(&model.name)).collect();
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
    for (_, model) in benchmark_last(&values.models) {
        if let Some(sentence) = &model.trading.sentence {
            let _ = writeln!(out, "<div><dt>Trading, {}</dt><dd>{}</dd></div>", escape(&model.name), escape(sentence));
        }
    }
    for (_, model) in benchmark_last(&values.models) {
        if let Some(warning) = stopped_by_clock(model) {
            let _ = writeln!(out, "<div><dt>Depends on the clock</dt><dd>{warning}</dd></div>");
        }
    }
    out += "</dl>\n";
    out += &charts(values);
    out += &monitor(values);
    out += &learning_curves(values);
    out += "<section><h2>Weights</h2><p>Target weights at each rebalance, after constraints. The assets with the \
            largest average weights come first.</p>\n";
    for (index, model) in benchmark_last(&values.models) {
        let open = if index > 0 || values.models.len() == 1 { " open" } else { "" };
        let _ = writeln!(out, "<details{open}><summary><h3>{}</h3></summary>", escape(&model.name));
        out += &weights_chart(model, &values.assets);
        out += "</details>\n";
    }
    out += "</section>\n";
    out += &totals(values);
    out += &window_maps(values);
    out += &constraint_changes(values);
    out += &trading_events(values);
    out += &integrity(values);
    out += "</main></body>\n</html>\n";
    out
}

/// The result, one clause per model.
fn lead(values: &ReportValues) -> String {
    let (Some(first), Some(last)) = (values.days.first(), values.days.last()) else { return String::new() };
    let sharpe = METRICS.iter().position(|metric| metric.name == "sharpe");
    let results: Vec<String> = benchmark_last(&values.models)
        .map(|(_, model)| {
            format!(
                "<b>{}</b> turned 1 into {} (Sharpe {})",
                escape(&model.name),
                wealth(&model.net).last().map_or_else(|| "–".to_owned(), |wealth| format!("{wealth:.2}")),
                formatted(sharpe.and_then(|index| model.total.get(index)), Unit::Ratio, 1)
            )
        })
        .collect();
    format!(
        "<p class=\"lead\">Out of sample, {first} to {last}, after costs: {}. Each weight was decided by a model that \
         had seen no data after the decision date.</p>\n",
        results.join("; ")
    )
}

/// The charts over the out-of-sample days.
fn charts(values: &ReportValues) -> String {
    let periods = values.periods_per_year;
    let rows = rolling_rows(periods);
    let bands: Vec<(Date, Date)> = values.windows.iter().map(|window| window.stitched).collect();
    let lines = |series: &dyn Fn(&ModelValues) -> Vec<f64>| -> Vec<Line> {
        values.models.iter().map(|model| Line { name: model.name.clone(), values: series(model) }).collect()
    };
    let chart = |title, note, logarithmic, percent, lines| {
        Chart { title, note, periods_per_year: periods, days: &values.days, bands: &bands, logarithmic, percent, lines }
            .html()
    };
    let shading = if bands.len() > MAX_BANDS { "" } else { " Dark and light bands mark the windows’ test spans." };
    let wealth_note =
        format!("Growth of 1 after costs, on a logarithmic scale; the last value is beside each name.{shading}");
    let sharpe_note = format!("Over the last {rows} rows, after costs.");
    let turnover_note = format!("Half of the weight bought and sold, summed over the last {rows} rows.");
    [
        chart("Wealth", wealth_note.as_str(), true, false, lines(&|model| wealth(&model.net))),
        chart("Drawdown", "Loss from the highest wealth so far.", false, true, lines(&|model| drawdown(&model.net))),
        chart("Rolling Sharpe ratio", &sharpe_note, false, false, lines(&|model| rolling_sharpe(&model.net, periods))),
        chart("Turnover", &turnover_note, false, true, lines(&|model| rolling_sum(&model.turnover, rows))),
    ]
    .concat()
}

/// What the run recorded about the rows that models were shown.
fn integrity(values: &ReportValues) -> String {
    let integrity = values.integrity;
    let fits = match integrity.fits {
        0 => "No model in this run is fitted; each decides from its lookback alone.".to_owned(),
        fits => format!("{fits} fits were made; none saw a row after its window’s first test decision."),
    };
    let unchanged = if values.models.iter().all(|model| model.changes.is_empty()) {
        " The constraints changed no target."
    } else {
        ""
    };
    let latest = match integrity.latest_offset {
        0 => "the last row that the model was shown was that of the decision date, never a later one".to_owned(),
        before if before < 0 => {
            format!("the last row that the model was shown was at least {} rows before the decision date", -before)
        }
        after => format!("THE LAST ROW THAT THE MODEL WAS SHOWN WAS UP TO {after} ROWS AFTER THE DECISION DATE"),
    };
    let windows = values.windows.len();
    format!(
        "<section><h2>No look-ahead</h2><p>{} decisions were made over {windows} {}; at each of them {latest}. {fits} \
         The rows of each decision are in run.json.{unchanged}</p></section>\n",
        integrity.decisions,
        if windows == 1 { "window" } else { "windows" }
    )
}

#[cfg(test)]
mod tests {
    use jiff::ToSpan;
    use jiff::civil::{Date, date};

    use super::super::{
        ConstraintValues, Integrity, ModelValues, RebalanceValues, ReportValues, TradingEvent, TradingValues,
        WindowSpan,
    };
    use super::html;
    use crate::evaluate::{METRICS, MetricValue};

    fn model(name: &str) -> ModelValues {
        let metrics = |value: f64| vec![MetricValue::Number(value); METRICS.len()];
        ModelValues {
            name: name.to_owned(),
            net: vec![0.01; 300],
            turnover: vec![0.0; 300],
            rebalances: vec![RebalanceValues { date: date(2019, 12, 31), weights: vec![0.25, 0.75] }],
            total: metrics(-0.5),
            windows: vec![metrics(1.25)],
            changes: Vec::new(),
            trading: TradingValues::default(),
            overfitting: None,
            training: Vec::new(),
        }
    }

    fn values(models: Vec<ModelValues>) -> ReportValues {
        let days: Vec<Date> = (1..=300).map(|day| date(2019, 12, 31).checked_add(day.days()).unwrap()).collect();
        let span = (days[0], days[299]);
        ReportValues {
            facts: vec![("Costs".to_owned(), "<10> bps".to_owned())],
            periods_per_year: 252.0,
            windows: vec![WindowSpan { stitched: span, test: span }],
            days,
            assets: vec!["A&B".to_owned(), "C".to_owned()],
            models,
            integrity: Integrity { decisions: 12, latest_offset: 0, fits: 0 },
        }
    }

    #[test]
    fn a_page_defines_every_metric_and_escapes_names() {
        let page = html(&values(vec![model("equal_weight"), model("m")]));
        for metric in METRICS {
            let meaning = format!("<dt>{}</dt><dd>{}</dd>", super::escape(metric.label), super::escape(metric.doc));
            assert!(page.contains(&meaning), "{meaning}");
        }
        assert!(page.contains("&lt;10&gt; bps") && page.contains("A&amp;B") && !page.contains("A&B"));
        assert!(page.contains("<td>−0.50</td>") && page.contains("<td>−50.00\u{a0}%</td>"));
        assert!(page.contains("12 decisions were made over 1 window;") && page.contains("never a later one"));
        assert!(page.contains("The constraints changed no target.") && !page.contains("Changes by constraints"));
        // The page loads nothing and runs no script.
        for forbidden in ["<script", "http:", "https:", "url(", "@import", " src="] {
            assert!(!page.contains(forbidden), "{forbidden}");
        }
    }

    #[test]
    fn the_windows_of_every_model_are_in_one_table() {
        let mut better = model("better");
        better.windows[0].fill(MetricValue::Number(1.5));
        let page = html(&values(vec![model("equal_weight"), better]));
        assert!(page.contains("<td class=\"up4\">1.50</td><td class=\"up4\">1.25</td></tr>"), "{page}");
        assert!(page.contains("<th scope=\"row\">Above equal_weight</th><td>1 of 1</td><td></td></tr>"));
        assert!(page.contains("title=\"2020-01-01 to 2020-10-26\">2020-01 – 2020-10<"));
    }

    #[test]
    fn constraint_changes_price_gaps_and_a_look_ahead_are_reported() {
        let mut changed = model("m");
        changed.changes =
            vec![ConstraintValues { rule: "bounds", decisions: 4, moved: 0.5, largest: (date(2020, 2, 28), 0.3) }];
        changed.trading.sentence = Some("3 asset-days held without a price".to_owned());
        let event = |day: usize| TradingEvent {
            date: format!("2020-01-{day:02}"),
            asset: "A<B".to_owned(),
            what: "not sold, no price",
            weight: 0.25,
        };
        changed.trading.events = (1..=25).map(event).collect();
        let mut values = values(vec![model("equal_weight"), changed]);
        values.integrity.latest_offset = 2;
        let page = html(&values);
        let row = "<td>bounds</td><td>4 of 1</td><td>12.5\u{a0}%</td><td>30.0\u{a0}%</td><td>2020-02-28</td>";
        assert!(page.contains(row) && !page.contains("changed no target"));
        assert!(page.contains("<dt>Trading, m</dt><dd>3 asset-days held without a price</dd>"));
        let event = "<td>2020-01-20</td><td>A&lt;B</td><td>not sold, no price</td><td>25.00\u{a0}%</td>";
        assert!(page.contains(event) && !page.contains("2020-01-21</td>") && page.contains("5 more in run.json"));
        assert!(page.contains("WAS UP TO 2 ROWS AFTER THE DECISION DATE"));
    }
}
