//! Weights over time: one small area chart per asset, all on one scale. Each has its name beside it, so no colours have
//! to be told apart.

use std::fmt::Write as _;
use std::ops::Range;

use jiff::civil::Date;

use super::axis::DateAxis;
use super::chart::{WIDTH, labels_below};
use super::{ModelValues, escape};

/// The most assets that have a chart; one sentence sums up the others.
const MAX_ASSETS: usize = 20;
/// The most steps in a chart; if there are more rebalances, their weights are averaged.
const MAX_STEPS: usize = 360;
const HEIGHT: f64 = 300.0;

/// The weights of a model over time, in the order of average weight.
pub(super) fn weights_chart(model: &ModelValues, assets: &[String]) -> String {
    let count = model.rebalances.len().max(1) as f64;
    let mean = |asset: usize, transform: fn(f64) -> f64| {
        model.rebalances.iter().map(|one| transform(one.weights[asset])).sum::<f64>() / count
    };
    let last = |asset: usize| model.rebalances.last().map_or(0.0, |one| one.weights[asset]);
    // The assets with the largest average |weight| are shown, from the largest long to the largest short position.
    let mut order: Vec<usize> = (0..assets.len()).collect();
    order.sort_by(|one, two| mean(*two, f64::abs).total_cmp(&mean(*one, f64::abs)));
    let mut order: Vec<(usize, f64)> = order.into_iter().map(|asset| (asset, mean(asset, |weight| weight))).collect();
    let (shown, rest) = order.split_at_mut(assets.len().min(MAX_ASSETS));
    shown.sort_by(|one, two| two.1.total_cmp(&one.1));
    let weights = shown.iter().flat_map(|(asset, _)| model.rebalances.iter().map(|one| one.weights[*asset]));
    let (low, high) = weights.fold((0.0_f64, 1e-9_f64), |(low, high), weight| (low.min(weight), high.max(weight)));
    let (range, largest) = (low..high, high.max(-low));
    let days: Vec<Date> = model.rebalances.iter().map(|one| one.date).collect();
    let axis = DateAxis::new(&days);
    let mut out = format!(
        "<div class=\"scroll\"><table class=\"strips\"><thead><tr><th scope=\"col\">Asset</th>\
         <th scope=\"col\">{} to {} over time</th><th scope=\"col\">mean</th><th scope=\"col\">last</th></tr>\
         </thead><tbody>\n",
        if low < 0.0 { percent(low, largest) } else { "0".to_owned() },
        percent(high, largest)
    );
    for (asset, mean) in &*shown {
        let _ = writeln!(
            out,
            "<tr><th scope=\"row\">{}</th><td><svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" preserveAspectRatio=\"none\" \
             aria-hidden=\"true\"><path d=\"{}\"/></svg></td><td>{}</td><td>{}</td></tr>",
            escape(&assets[*asset]),
            outline(model, *asset, &range, axis),
            percent(*mean, largest),
            percent(last(*asset), largest)
        );
    }
    let _ = writeln!(
        out,
        "</tbody><tfoot><tr><td></td><td><div class=\"below\">{}</div></td><td></td><td></td></tr></tfoot>\
         </table></div>",
        labels_below(axis, &days)
    );
    if !rest.is_empty() {
        let (means, lasts) =
            rest.iter().fold((0.0, 0.0), |(means, lasts), (asset, mean)| (means + mean, lasts + last(*asset)));
        let _ = writeln!(
            out,
            "<p>The other {} assets hold {} on average and {} at the last rebalance.</p>",
            rest.len(),
            percent(means, 1.0),
            percent(lasts, 1.0)
        );
    }
    out
}

/// The SVG path of an area in which each weight lasts until the next rebalance.
fn outline(model: &ModelValues, asset: usize, range: &Range<f64>, axis: DateAxis) -> String {
    let down = |weight: f64| ((range.end - weight) / (range.end - range.start) * HEIGHT).round() as i64;
    let mut out = format!("M0 {}", down(0.0));
    let mut pen = (0_i64, down(0.0));
    for part in model.rebalances.chunks(model.rebalances.len().div_ceil(MAX_STEPS).max(1)) {
        let weight = part.iter().map(|one| one.weights[asset]).sum::<f64>() / part.len() as f64;
        let next = ((axis.position(part[0].date) * WIDTH).round() as i64, down(weight));
        // Writing to a string cannot fail.
        let _ = write!(out, "h{}v{}", next.0 - pen.0, next.1 - pen.1);
        pen = next;
    }
    let _ = write!(out, "H{WIDTH}V{}z", down(0.0));
    out
}

/// A weight in percent, with more decimals if the largest weight shown is small.
fn percent(value: f64, largest: f64) -> String {
    let decimals = if largest < 0.02 { 2 } else { 1 };
    format!("{:.decimals$}\u{a0}%", value * 100.0).replace('-', "−")
}

#[cfg(test)]
mod tests {
    use super::super::{ModelValues, RebalanceValues};
    use super::weights_chart;
    use jiff::ToSpan;
    use jiff::civil::date;

    fn model(rebalances: Vec<Vec<f64>>) -> ModelValues {
        let rebalances = rebalances
            .into_iter()
            .zip(0_i32..)
            .map(|(weights, index)| RebalanceValues {
                date: date(2020, 1, 1).checked_add((100 * index).days()).unwrap(),
                weights,
            })
            .collect();
        ModelValues {
            name: "m".to_owned(),
            net: Vec::new(),
            turnover: Vec::new(),
            rebalances,
            total: Vec::new(),
            drawdowns: Vec::new(),
            current: None,
            calendar: crate::evaluate::CalendarReturns::default(),
            comparison: None,
            windows: Vec::new(),
            changes: Vec::new(),
            trading: crate::report::TradingValues::default(),
            overfitting: None,
            training: Vec::new(),
        }
    }

    #[test]
    fn short_positions_are_drawn_below_zero() {
        let html = weights_chart(
            &model(vec![vec![0.75, -0.25, 0.5], vec![0.75, -0.25, 0.5]]),
            &["A", "B", "C"].map(str::to_owned),
        );
        assert!(html.contains("−25.0\u{a0}% to 75.0\u{a0}% over time"), "{html}");
        assert!(html.contains("d=\"M0 225h0v-225h10000v0H10000V225z\""), "{html}");
        assert!(html.contains("d=\"M0 225h0v75h10000v0H10000V225z\""), "{html}");
        let position = |name: &str| html.find(&format!(">{name}</th>")).unwrap();
        assert!(position("A") < position("C") && position("C") < position("B"));
    }

    #[test]
    fn the_largest_weights_come_first_and_the_others_are_summed() {
        // Asset k of 30 has weight k/435, except at the first rebalance.
        let even: Vec<f64> = (0..30).map(|asset| f64::from(asset) / 435.0).collect();
        let mut first = even.clone();
        first.swap(0, 29);
        let model = model(vec![first, even]);
        let names: Vec<String> = (0..30).map(|asset| format!("<{asset}>")).collect();
        let html = weights_chart(&model, &names);
        assert_eq!(html.matches("<path d=").count(), 20);
        // 28/435 on both days; 29/435 would fill the chart.
        assert!(html.contains("scope=\"row\">&lt;28&gt;</th>") && html.contains("0 to 6.7\u{a0}% over time"));
        assert!(html.contains("d=\"M0 300h0v-290h10000v0H10000V300z\"") && !html.contains("<28>"), "{html}");
        // Assets 0 and 29 have a mean of 14.5/435 each; with 11 to 28 they are the 20 shown.
        let shown: i32 = (11..=28).sum::<i32>();
        let rest = 100.0 * (1.0 - (f64::from(shown) + 29.0) / 435.0);
        let sentence = format!("The other 10 assets hold {rest:.1}\u{a0}% on average and {rest:.1}\u{a0}% at the last");
        assert!(html.contains(&sentence), "{sentence}: {}", html.lines().last().unwrap());
    }
}
