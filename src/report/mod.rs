//! `report.html`: one page that needs no network, light or dark as its reader prefers, readable on a phone. It sees only
//! the values that a run hands it.

mod chart;

use std::fmt::Write as _;

use jiff::civil::Date;

use crate::evaluate::{METRICS, Unit, Value};
use chart::{Band, Chart, Line, shares};

/// A rebalance as the report shows it.
#[derive(Clone, Debug)]
pub struct Rebalance {
    /// The decision's date.
    pub date: Date,
    /// Weights, `[assets]`.
    pub weights: Vec<f64>,
}

/// One model of the report, series `[days]`.
#[derive(Clone, Debug)]
pub struct ModelValues {
    /// Its name.
    pub name: String,
    /// Net returns.
    pub net: Vec<f64>,
    /// ½ Σ|Δw|.
    pub turnover: Vec<f64>,
    /// Targets.
    pub rebalances: Vec<Rebalance>,
    /// Out-of-sample metrics in the order of the table.
    pub total: Vec<Value>,
    /// By window, the Sharpe ratios of validation and test.
    pub windows: Vec<(Value, Value)>,
}

/// Everything that a report shows.
#[derive(Clone, Debug)]
pub struct Values {
    /// Name and value of what the reader should know first.
    pub facts: Vec<(String, String)>,
    /// The out-of-sample days.
    pub days: Vec<Date>,
    /// First and last test day of each window.
    pub windows: Vec<(Date, Date)>,
    /// Asset names.
    pub assets: Vec<String>,
    /// The models, the benchmark first.
    pub models: Vec<ModelValues>,
}

/// Days of the rolling Sharpe ratio.
const ROLLING: usize = 252;

/// The page.
pub fn html(values: &Values) -> String {
    let mut out = String::from(HEAD);
    out += "<h1>Walk-forward report</h1><dl>";
    for (name, value) in &values.facts {
        let _ = write!(out, "<div><dt>{}</dt><dd>{}</dd></div>", escape(name), escape(value));
    }
    out += "</dl>";
    let bands: Vec<Band> = values.windows.iter().map(|(start, end)| Band { start: *start, end: *end }).collect();
    let lines = |series: &dyn Fn(&ModelValues) -> Vec<f64>| -> Vec<Line> {
        values.models.iter().map(|model| Line { name: model.name.clone(), values: series(model) }).collect()
    };
    let chart = |title, note, logarithmic, percent, lines| {
        Chart { title, note, days: &values.days, bands: &bands, logarithmic, percent, lines }.svg()
    };
    out += &chart(
        "Wealth",
        "What 1 became, after costs, out of sample; logarithmic. Shaded: every other test window.",
        true,
        false,
        lines(&|model| wealth(&model.net)),
    );
    out += &chart("Drawdown", "Below the highest wealth so far.", false, true, lines(&|model| drawdown(&model.net)));
    out += &chart(
        "Rolling Sharpe ratio",
        "Over the last 252 days, after costs.",
        false,
        false,
        lines(&|model| rolling_sharpe(&model.net)),
    );
    out += &chart(
        "Turnover",
        "Half of the weight moved, over the last 252 days.",
        false,
        true,
        lines(&|model| rolling_sum(&model.turnover)),
    );
    for model in &values.models {
        let dates: Vec<Date> = model.rebalances.iter().map(|rebalance| rebalance.date).collect();
        let weights: Vec<&[f64]> = model.rebalances.iter().map(|rebalance| rebalance.weights.as_slice()).collect();
        out += &shares(&format!("Weights of {}", escape(&model.name)), &dates, &weights, &values.assets);
    }
    out += &tables(values);
    out += "</main></body></html>\n";
    out
}

fn tables(values: &Values) -> String {
    let mut out = String::from("<section><h2>Metrics, out of sample</h2><div class=scroll><table><tr><th></th>");
    for model in &values.models {
        let _ = write!(out, "<th>{}</th>", escape(&model.name));
    }
    out += "</tr>";
    for (row, metric) in METRICS.iter().enumerate() {
        let _ = write!(out, "<tr><th title=\"{}\">{}</th>", escape(metric.doc), metric.label);
        for model in &values.models {
            let _ = write!(out, "<td>{}</td>", shown(model.total.get(row), metric.unit));
        }
        out += "</tr>";
    }
    out += "</table></div></section><section><h2>Sharpe ratio a window</h2><div class=scroll><table><tr><th>test</th>";
    for model in &values.models {
        let name = escape(&model.name);
        let _ = write!(out, "<th>{name}<br>validation</th><th>{name}<br>test</th>");
    }
    out += "</tr>";
    for (place, (start, end)) in values.windows.iter().enumerate() {
        let _ = write!(out, "<tr><th>{start} – {end}</th>");
        for model in &values.models {
            let pair = model.windows.get(place);
            let (validation, test) = (pair.map(|pair| &pair.0), pair.map(|pair| &pair.1));
            let _ = write!(out, "<td>{}</td><td>{}</td>", shown(validation, Unit::Ratio), shown(test, Unit::Ratio));
        }
        out += "</tr>";
    }
    out += "</table></div></section>";
    out
}

fn shown(value: Option<&Value>, unit: Unit) -> String {
    match value {
        None => "–".to_owned(),
        Some(Value::Day(day)) => day.to_string(),
        Some(Value::Undefined(reason)) => format!("<span title=\"{reason}\">–</span>"),
        Some(Value::Number(number)) if unit == Unit::Percent => format!("{:.2} %", number * 100.0),
        Some(Value::Number(number)) => format!("{number:.2}"),
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

fn wealth(net: &[f64]) -> Vec<f64> {
    net.iter()
        .scan(1.0, |wealth, value| {
            *wealth *= 1.0 + value;
            Some(*wealth)
        })
        .collect()
}

fn drawdown(net: &[f64]) -> Vec<f64> {
    let mut top = 1.0_f64;
    wealth(net)
        .into_iter()
        .map(|wealth| {
            top = top.max(wealth);
            wealth / top - 1.0
        })
        .collect()
}

/// NaN until a whole span has passed.
fn rolling(values: &[f64], of: impl Fn(&[f64]) -> f64) -> Vec<f64> {
    (1..=values.len()).map(|end| if end < ROLLING { f64::NAN } else { of(&values[end - ROLLING..end]) }).collect()
}

fn rolling_sum(values: &[f64]) -> Vec<f64> {
    rolling(values, |span| span.iter().sum())
}

fn rolling_sharpe(net: &[f64]) -> Vec<f64> {
    rolling(net, |span| {
        let mean = span.iter().sum::<f64>() / ROLLING as f64;
        let squares: f64 = span.iter().map(|value| (value - mean).powi(2)).sum();
        let deviation = (squares / (ROLLING - 1) as f64).sqrt();
        if deviation > 0.0 { mean / deviation * crate::evaluate::DAYS_A_YEAR.sqrt() } else { f64::NAN }
    })
}

const HEAD: &str = "<!doctype html><html lang=en><head><meta charset=utf-8>\
<meta name=viewport content=\"width=device-width, initial-scale=1\"><title>walkforge report</title><style>\
:root{color-scheme:light dark;--paper:#fff;--ink:#1b1f24;--soft:#667;--rule:#dde;--band:#8899bb22;\
--s0:#8a8f98;--s1:#1f6feb;--s2:#d1570b;--s3:#1a8754;--s4:#8a3ffc;--s5:#b8860b}\
@media(prefers-color-scheme:dark){:root{--paper:#12151a;--ink:#e6e8eb;--soft:#99a;--rule:#2c323b;--band:#8899bb1c;\
--s0:#9aa0aa;--s1:#5ea1ff;--s2:#ff9a52;--s3:#4cc38a;--s4:#b18bff;--s5:#e3b341}}\
body{margin:0;background:var(--paper);color:var(--ink);font:15px/1.5 system-ui,sans-serif}\
main{max-width:60rem;margin:auto;padding:1rem}h1{font-size:1.6rem;margin:.5rem 0}h2{font-size:1.1rem;margin:1.8rem 0 .2rem}\
p{margin:.1rem 0;color:var(--soft)}dl{display:flex;flex-wrap:wrap;gap:.4rem 2rem;margin:0}dt{color:var(--soft);font-size:.8rem}\
dd{margin:0}svg{width:100%;height:auto;display:block}svg text{fill:var(--soft);font:12px system-ui,sans-serif}\
.key{display:flex;flex-wrap:wrap;gap:.2rem 1rem}.key i{display:inline-block;width:.8rem;height:.8rem;margin-right:.3rem}\
.scroll{overflow-x:auto}table{border-collapse:collapse;width:100%}th,td{padding:.25rem .6rem;text-align:right;\
border-bottom:1px solid var(--rule);white-space:nowrap;font-variant-numeric:tabular-nums}th{font-weight:500}\
th:first-child{text-align:left}</style></head><body><main>";
