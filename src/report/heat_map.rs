//! Heat maps: tables whose cells are shaded by their value, so that many of them are read at a glance, without a box
//! that scrolls. Each cell holds its figure, so no meaning rests on colour alone.

use std::fmt::Write as _;

use jiff::civil::Date;

use super::chart::swatch;
use super::tables::{find_metric, formatted, month_range, number};
use super::{ReportValues, benchmark_last, escape};
use crate::evaluate::{MetricValue, Unit};

/// With more windows than this, heat maps are folded.
const MAX_OPEN: usize = 60;
/// Shades on each side of zero.
const SHADES: f64 = 4.0;
/// The metrics of windows that have a heat map, with its name and its number of decimals.
const WINDOW_METRICS: [(&str, &str, usize); 5] = [
    ("sharpe", "Sharpe ratio", 2),
    ("total_return", "Return, in percent", 1),
    ("max_drawdown", "Maximum drawdown, in percent", 1),
    ("turnover", "Turnover a year, in percent", 0),
    ("effective_holdings", "Effective number of holdings", 1),
];

/// A table of shaded figures.
pub(super) struct HeatMap<'a> {
    /// The head of the column of row names.
    pub(super) corner: &'a str,
    /// The heads of the other columns, as HTML.
    pub(super) columns: Vec<String>,
    /// Per row its name, as HTML, and one value per column; `None` leaves a cell empty.
    pub(super) rows: Vec<(String, Vec<Option<MetricValue>>)>,
    pub(super) unit: Unit,
    pub(super) decimals: usize,
}

impl HeatMap<'_> {
    /// The table; `class` is a further CSS class, `foot` are rows below it, as HTML.
    pub(super) fn html(&self, class: &str, foot: &str) -> String {
        let scale = self.scale();
        let mut out = format!("<table class=\"heat {class}\"><thead><tr><th scope=\"col\">{}</th>", self.corner);
        for column in &self.columns {
            let _ = write!(out, "<th scope=\"col\">{column}</th>");
        }
        out += "</tr></thead><tbody>\n";
        for (name, values) in &self.rows {
            let _ = write!(out, "<tr><th scope=\"row\">{name}</th>");
            for value in values {
                let Some(value) = value else {
                    out += "<td></td>";
                    continue;
                };
                let text = formatted(Some(value), self.unit, self.decimals);
                // The text above the table says that figures are in percent.
                let text = text.replace("\u{a0}%", "");
                let _ = match shade(*value, scale) {
                    Some(class) => write!(out, "<td class=\"{class}\">{text}</td>"),
                    None => write!(out, "<td>{text}</td>"),
                };
            }
            out += "</tr>\n";
        }
        out += "</tbody>";
        if !foot.is_empty() {
            let _ = write!(out, "<tfoot>{foot}</tfoot>");
        }
        out + "</table>\n"
    }

    /// The size from which a value has the darkest shade: nine in ten values are below it, so that one extreme does not
    /// bleach the others.
    fn scale(&self) -> f64 {
        let cells = self.rows.iter().flat_map(|(_, values)| values).flatten();
        let mut sizes: Vec<f64> = cells.filter_map(|value| number(*value)).map(f64::abs).collect();
        sizes.sort_by(f64::total_cmp);
        sizes.get(sizes.len().saturating_sub(1) * 9 / 10).copied().unwrap_or(1.0).max(1e-12)
    }
}

/// The class of a cell: its sign, and its size in steps; `None` near zero and where there is no value.
fn shade(value: MetricValue, scale: f64) -> Option<String> {
    let share = number(value)? / scale;
    let step = (share.abs() * SHADES).round().min(SHADES);
    (step > 0.0).then(|| format!("{}{step}", if share > 0.0 { "up" } else { "down" }))
}

/// The section "Window by window": per metric a heat map of windows and models.
pub(super) fn window_maps(values: &ReportValues) -> String {
    let mut out = String::from(
        "<section><h2>Window by window</h2><p>What each window’s model earned on the out-of-sample path as it was held, \
         after costs: a window takes over the portfolio of the one before it. The Sharpe ratio of the whole path, at the \
         top of this page, is not the mean of these: its mean and its deviation are taken over all days at once.</p>\n",
    );
    let columns: Vec<String> = benchmark_last(&values.models)
        .map(|(index, model)| format!("{} {}", swatch(index), escape(&model.name)))
        .collect();
    for (name, title, decimals) in WINDOW_METRICS {
        let Some((metric, definition)) = find_metric(name) else { continue };
        let rows = values.windows.iter().enumerate().map(|(window, spans)| {
            let cells = benchmark_last(&values.models)
                .map(|(_, model)| model.windows.get(window).and_then(|metrics| metrics.get(metric)).copied());
            let (start, end) = spans.stitched;
            (format!("<span title=\"{start} to {end}\">{}</span>", span_name(start, end)), cells.collect())
        });
        let map = HeatMap {
            corner: "Window",
            columns: columns.clone(),
            rows: rows.collect(),
            unit: definition.unit,
            decimals,
        };
        let open = if name == "sharpe" && values.windows.len() <= MAX_OPEN { " open" } else { "" };
        let foot = if name == "sharpe" { wins(values, metric) } else { String::new() };
        let _ = writeln!(out, "<details{open}><summary><h3>{title}</h3></summary>{}</details>", map.html("", &foot));
    }
    out + "</section>\n"
}

/// In how many windows each model was above the benchmark, as a row of a table; empty without another model.
fn wins(values: &ReportValues, metric: usize) -> String {
    let Some((benchmark, others)) = values.models.split_first().filter(|(_, others)| !others.is_empty()) else {
        return String::new();
    };
    let mut out = format!("<tr><th scope=\"row\">Above {}</th>", escape(&benchmark.name));
    for model in others {
        let pairs = model.windows.iter().zip(&benchmark.windows);
        let pairs: Vec<(f64, f64)> =
            pairs.filter_map(|(one, two)| number(*one.get(metric)?).zip(number(*two.get(metric)?))).collect();
        let above = pairs.iter().filter(|(one, two)| one > two).count();
        let _ = write!(out, "<td>{above} of {}</td>", pairs.len());
    }
    out + "<td></td></tr>"
}

/// A span of days: its year if it is one, else its first and last month.
fn span_name(start: Date, end: Date) -> String {
    if start.year() == end.year() && (start.month(), end.month()) == (1, 12) {
        start.year().to_string()
    } else {
        month_range(start, end)
    }
}

#[cfg(test)]
mod tests {
    use super::{HeatMap, span_name};
    use crate::evaluate::{MetricValue, Unit};
    use jiff::civil::date;

    #[test]
    fn cells_are_shaded_by_sign_and_size_and_hold_their_figure() {
        let row = |values: &[f64]| values.iter().map(|value| Some(MetricValue::Number(*value))).collect::<Vec<_>>();
        let mut rows = vec![("a".to_owned(), row(&[1.0, -0.5, 0.1])), ("b".to_owned(), row(&[8.0, -1.0, 0.76]))];
        rows[1].1.push(None);
        rows[0].1.push(Some(MetricValue::Undefined("no <days>")));
        let columns = ["w", "x", "y", "z"].map(str::to_owned).to_vec();
        let map = HeatMap { corner: "Year", columns, rows, unit: Unit::Ratio, decimals: 2 };
        // Of 0.1, 0.5, 0.76, 1, 1 and 8 the darkest shade begins at 1.
        let html = map.html("m", "");
        let first = "<td class=\"up4\">1.00</td><td class=\"down2\">−0.50</td><td>0.10</td>\
                     <td><span title=\"no &lt;days&gt;\">–</span></td>";
        let second = "<td class=\"up4\">8.00</td><td class=\"down4\">−1.00</td><td class=\"up3\">0.76</td><td></td>";
        assert!(html.contains(first) && html.contains(second), "{html}");
        let none = HeatMap { corner: "", columns: Vec::new(), rows: Vec::new(), unit: Unit::Ratio, decimals: 2 };
        assert!(none.html("", "<tr></tr>").contains("<tfoot><tr></tr></tfoot>"));
    }

    #[test]
    fn a_calendar_year_is_named_by_its_number() {
        assert_eq!(span_name(date(2020, 1, 2), date(2020, 12, 30)), "2020");
        assert_eq!(span_name(date(2020, 2, 3), date(2020, 12, 30)), "2020-02 – 2020-12");
        assert_eq!(span_name(date(2020, 1, 2), date(2021, 12, 30)), "2020-01 – 2021-12");
    }
}
