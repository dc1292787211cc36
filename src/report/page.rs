//! The page from top to bottom: results, conditions, charts, tables, and what was checked.

use std::fmt::Write as _;

use jiff::civil::Date;

use super::calendar::calendar;
use super::chart::{Chart, Line, MAX_BANDS};
use super::current::current_portfolios;
use super::headline::{headline, lead};
use super::heat_map::window_maps;
use super::learning::{learning_curves, stopped_by_clock};
use super::monitor::monitor;
use super::series::{drawdown, rolling_rows, rolling_sharpe, rolling_sum, wealth};
use super::tables::{constraint_changes, totals, trading_events, worst_drawdowns};
use super::weights_chart::weights_chart;
use super::{ModelValues, ReportValues, benchmark_last, escape};

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
    for warning in values.models.iter().filter_map(stopped_by_clock) {
        let _ = writeln!(out, "<p class=\"verdict\"><b>Depends on the clock:</b> {warning}.</p>");
    }
    let charts = Charts { values, bands: values.windows.iter().map(|window| window.stitched).collect() };
    out += &charts.wealth();
    out += &headline(values);
    out += &facts(values);
    out += &charts.relative();
    out += &charts.drawdown();
    out += &worst_drawdowns(values);
    out += &calendar(values);
    out += &window_maps(values);
    out += &charts.rolling();
    out += &monitor(values);
    out += &learning_curves(values);
    out += &current_portfolios(values);
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
    out += &constraint_changes(values);
    out += &trading_events(values);
    out += &integrity(values);
    out += "</main></body>\n</html>\n";
    out
}

/// The charts over the out-of-sample days.
struct Charts<'a> {
    values: &'a ReportValues,
    bands: Vec<(Date, Date)>,
}

impl Charts<'_> {
    fn chart(&self, title: &str, note: &str, scale: (bool, bool), series: &dyn Fn(&ModelValues) -> Vec<f64>) -> String {
        let values = self.values;
        let lines = values.models.iter().map(|model| Line { name: model.name.clone(), values: series(model) });
        Chart {
            title,
            note,
            periods_per_year: values.periods_per_year,
            days: &values.days,
            bands: &self.bands,
            logarithmic: scale.0,
            percent: scale.1,
            lines: lines.collect(),
        }
        .html()
    }

    fn wealth(&self) -> String {
        let shading =
            if self.bands.len() > MAX_BANDS { "" } else { " Dark and light bands mark the windows’ test spans." };
        let note =
            format!("Growth of 1 after costs, on a logarithmic scale; the last value is beside each name.{shading}");
        self.chart("Wealth", &note, (true, false), &|model| wealth(&model.net))
    }

    /// Wealth over the benchmark's; empty without another model.
    fn relative(&self) -> String {
        let Some((benchmark, others)) = self.values.models.split_first() else { return String::new() };
        if others.is_empty() {
            return String::new();
        }
        let name = escape(&benchmark.name);
        let title = format!("Wealth relative to {name}");
        let note = format!(
            "Wealth divided by that of {name}, on a logarithmic scale: where a line rises, its model earned more."
        );
        let of_benchmark = wealth(&benchmark.net);
        self.chart(&title, &note, (true, false), &|model| {
            wealth(&model.net).iter().zip(&of_benchmark).map(|(one, other)| one / other).collect()
        })
    }

    fn drawdown(&self) -> String {
        self.chart("Drawdown", "Loss from the highest wealth so far.", (false, true), &|model| drawdown(&model.net))
    }

    fn rolling(&self) -> String {
        let periods = self.values.periods_per_year;
        let rows = rolling_rows(periods);
        let sharpe = format!("Over the last {rows} rows, after costs.");
        let turnover = format!("Half of the weight bought and sold, summed over the last {rows} rows.");
        self.chart("Rolling Sharpe ratio", &sharpe, (false, false), &|model| rolling_sharpe(&model.net, periods))
            + &self.chart("Turnover", &turnover, (false, true), &|model| rolling_sum(&model.turnover, rows))
    }
}

/// The conditions under which the figures were computed.
fn facts(values: &ReportValues) -> String {
    let mut out = String::from("<section><h2>Conditions</h2><dl class=\"facts\">\n");
    for (name, value) in &values.facts {
        let _ = writeln!(out, "<div><dt>{}</dt><dd>{}</dd></div>", escape(name), escape(value));
    }
    for (_, model) in benchmark_last(&values.models) {
        if let Some(sentence) = &model.trading.sentence {
            let _ = writeln!(out, "<div><dt>Trading, {}</dt><dd>{}</dd></div>", escape(&model.name), escape(sentence));
        }
    }
    out += "</dl>\n<details><summary>All settings, and the digests of data and plugins</summary><dl class=\"terms\">";
    for (name, value) in &values.identity {
        let _ = write!(out, "<dt>{}</dt><dd>{}</dd>", escape(name), escape(value));
    }
    out + "</dl></details></section>\n"
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
pub(super) mod tests {
    use jiff::ToSpan;
    use jiff::civil::{Date, date};

    use super::super::{
        ConstraintValues, Integrity, ModelValues, RebalanceValues, ReportValues, TradingEvent, TradingValues,
        WindowSpan,
    };
    use super::html;
    use crate::evaluate::{CalendarReturns, Drawdown, METRICS, MetricValue};

    pub(in crate::report) fn model(name: &str) -> ModelValues {
        let metrics = |value: f64| vec![MetricValue::Number(value); METRICS.len()];
        ModelValues {
            name: name.to_owned(),
            net: vec![0.01; 300],
            turnover: vec![0.0; 300],
            rebalances: vec![RebalanceValues { date: date(2019, 12, 31), weights: vec![0.25, 0.75] }],
            total: metrics(-0.5),
            drawdowns: Vec::new(),
            current: None,
            calendar: CalendarReturns::default(),
            comparison: None,
            windows: vec![metrics(1.25)],
            changes: Vec::new(),
            trading: TradingValues::default(),
            overfitting: None,
            training: Vec::new(),
        }
    }

    pub(in crate::report) fn values(models: Vec<ModelValues>) -> ReportValues {
        let days: Vec<Date> = (1..=300).map(|day| date(2019, 12, 31).checked_add(day.days()).unwrap()).collect();
        let span = (days[0], days[299]);
        ReportValues {
            identity: vec![("data.sha256".to_owned(), "<12ab>".to_owned())],
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
        assert!(page.contains("<dt>data.sha256</dt><dd>&lt;12ab&gt;</dd>"));
        assert!(page.contains("12 decisions were made over 1 window;") && page.contains("never a later one"));
        assert!(page.contains("The constraints changed no target.") && !page.contains("Changes by constraints"));
        // The page loads nothing and runs no script.
        for forbidden in ["<script", "http:", "https:", "url(", "@import", " src="] {
            assert!(!page.contains(forbidden), "{forbidden}");
        }
    }

    #[test]
    fn wealth_is_shown_relative_to_the_benchmark_and_its_worst_drawdowns_are_listed() {
        let mut better = model("better");
        better.net = vec![0.02; 300];
        let (peak, trough) = (date(2020, 1, 5), date(2020, 2, 7));
        better.drawdowns = vec![Drawdown { depth: -0.25, peak, trough, recovery: None, rows: 40, under_water: 39 }];
        let page = html(&values(vec![model("equal_weight"), better]));
        // 1.02^300 / 1.01^300
        assert!(page.contains("<h2>Wealth relative to equal_weight</h2>") && page.contains("better <b>19.21</b>"));
        let row = "<td>−25.0\u{a0}%</td><td>2020-01-05</td><td>2020-02-07</td><td>not yet</td><td>40</td>";
        assert!(page.contains(row), "{page}");
        let alone = html(&values(vec![model("equal_weight")]));
        assert!(!alone.contains("Wealth relative to"));
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
