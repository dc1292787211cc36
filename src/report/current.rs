//! The portfolio that each model holds at the end: weights, what the last rebalance traded, and shares of risk.

use std::fmt::Write as _;

use super::chart::swatch;
use super::tables::formatted;
use super::{CurrentValues, HoldingValues, ReportValues, benchmark_last, escape};
use crate::evaluate::{MetricValue, Unit};

/// The assets that are shown.
const MOST: usize = 25;

/// A table per model, the largest weights first; empty if no model ever traded.
pub(super) fn current_portfolios(values: &ReportValues) -> String {
    let mut out = String::new();
    for (index, model) in benchmark_last(&values.models) {
        let Some(current) = &model.current else { continue };
        let open = if out.is_empty() { " open" } else { "" };
        let _ = writeln!(
            out,
            "<details{open}><summary><h3>{} {}</h3></summary>{}</details>",
            swatch(index),
            escape(&model.name),
            portfolio(current)
        );
    }
    if out.is_empty() {
        return out;
    }
    format!(
        "<section><h2>Current portfolio</h2><p>Weights at the last close, and what the last rebalance bought (+) and sold \
         (−). The share of risk is the part of the portfolio’s variance that an asset brings, by the covariance of returns \
         up to that decision: with equal shares, every asset brings as much risk as any other.</p>\n{out}</section>\n"
    )
}

fn portfolio(current: &CurrentValues) -> String {
    let CurrentValues { date, decided, executed, risk_rows, undefined, holdings } = current;
    let risk = match (risk_rows, undefined) {
        (Some(rows), _) => format!("Shares of risk are over {rows} rows."),
        (None, reason) => format!("No shares of risk: {}.", reason.as_deref().unwrap_or("not computed")),
    };
    let mut out = format!(
        "<p>Held on {date}. Last decided on {decided}, executed at the close of {executed}. {}</p><table class=\"plain \
         holdings\"><thead><tr><th scope=\"col\">Asset</th><th scope=\"col\">Weight</th><th scope=\"col\">Last trade</th>\
         <th scope=\"col\">Share of risk</th></tr></thead><tbody>\n",
        escape(&risk)
    );
    let mut order: Vec<&HoldingValues> = holdings.iter().collect();
    order.sort_by(|one, two| two.weight.abs().total_cmp(&one.weight.abs()));
    let percent = |value: f64| formatted(Some(&MetricValue::Number(value)), Unit::Percent, 1);
    for held in order.iter().take(MOST) {
        let traded = percent(held.traded);
        let _ = writeln!(
            out,
            "<tr><th scope=\"row\">{}</th><td>{}</td><td>{}{traded}</td><td>{}</td></tr>",
            escape(&held.asset),
            percent(held.weight),
            if held.traded > 0.0 { "+" } else { "" },
            held.risk.map_or_else(|| "–".to_owned(), percent)
        );
    }
    out += "</tbody></table>";
    match order.len().saturating_sub(MOST) {
        0 => out,
        more => out + &format!("<p>{more} more are in run.json.</p>"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::page::tests::{model, values};
    use super::current_portfolios;
    use crate::report::{CurrentValues, HoldingValues, ModelValues};

    #[test]
    fn the_largest_weights_come_first_with_their_trades_and_shares_of_risk() {
        let holding = |asset: usize| HoldingValues {
            asset: format!("<{asset}>"),
            weight: asset as f64 / 100.0,
            traded: if asset == 30 { 0.015 } else { -0.02 },
            risk: Some(0.4),
        };
        let mut current = CurrentValues {
            date: "2020-06-30".to_owned(),
            decided: "2020-05-28".to_owned(),
            executed: "2020-05-29".to_owned(),
            risk_rows: Some(250),
            undefined: None,
            holdings: (1..=30).map(holding).collect(),
        };
        let page = |current| current_portfolios(&values(vec![ModelValues { current, ..model("equal_weight") }]));
        let html = page(Some(current.clone()));
        let text = "Held on 2020-06-30. Last decided on 2020-05-28, executed at the close of 2020-05-29. Shares of risk are \
                    over 250 rows.";
        assert!(html.contains(text), "{html}");
        let first = "<tbody>\n<tr><th scope=\"row\">&lt;30&gt;</th><td>30.0\u{a0}%</td><td>+1.5\u{a0}%</td>\
                     <td>40.0\u{a0}%</td></tr>\n<tr><th scope=\"row\">&lt;29&gt;</th><td>29.0\u{a0}%</td><td>−2.0\u{a0}%</td>";
        assert!(html.contains(first), "{html}");
        assert!(html.contains("&lt;6&gt;") && !html.contains("&lt;5&gt;") && html.contains("5 more are in run.json."));
        (current.risk_rows, current.undefined) = (None, Some("too few rows".to_owned()));
        current.holdings = vec![HoldingValues { risk: None, ..holding(30) }];
        let html = page(Some(current));
        assert!(html.contains("No shares of risk: too few rows.") && html.contains("<td>–</td>"), "{html}");
        assert_eq!(page(None), "");
    }
}
