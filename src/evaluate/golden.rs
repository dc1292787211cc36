//! Figures against NumPy and SciPy: `tests/golden/figures.py` makes the values.

use jiff::ToSpan;
use jiff::civil::{Date, date};
use serde_json::Value as Json;

use super::overfitting::{MonitorInputs, SpanReturns, WindowReturns, overfitting};
use super::uncertainty::{compare, holm, probability, shortest_track};
use super::{Inputs, MetricValue, evaluate};

fn golden() -> Json {
    serde_json::from_str(include_str!("../../tests/golden/figures.json")).unwrap()
}

fn list(of: &Json) -> Vec<f64> {
    of.as_array().unwrap().iter().map(|value| value.as_f64().unwrap()).collect()
}

#[track_caller]
fn near(name: &str, ours: f64, expected: &Json) {
    let expected = expected.as_f64().unwrap();
    assert!((ours - expected).abs() <= 1e-10 * expected.abs().max(1e-3), "{name}: {ours}, expected {expected}");
}

fn number(value: MetricValue) -> f64 {
    if let MetricValue::Number(value) = value { value } else { panic!("{value:?}") }
}

#[test]
fn metrics_match_numpy_and_scipy() {
    let golden = golden();
    let (net, benchmark) = (list(&golden["net"]), list(&golden["benchmark"]));
    let start = date(2020, 1, 1);
    let dates: Vec<Date> = (1..=net.len() as i64).map(|day| start.checked_add(day.days()).unwrap()).collect();
    let inputs = Inputs {
        periods_per_year: 252.0,
        spans: &[(0, start)],
        dates: &dates,
        gross: &net,
        net: &net,
        excess: &net,
        turnover: &net,
        benchmark: Some(&benchmark),
        targets: &[],
        coefficients: &[],
    };
    let ours = evaluate(&inputs);
    let expected = golden["metrics"].as_object().unwrap();
    assert_eq!(expected.len(), 15);
    for (name, expected) in expected {
        let (_, value) = ours.iter().find(|(metric, _)| metric.name == name).unwrap();
        near(name, number(*value), expected);
    }
}

#[test]
fn a_difference_of_sharpe_ratios_and_holm_match_numpy() {
    let golden = golden();
    let (net, benchmark) = (list(&golden["net"]), list(&golden["benchmark"]));
    let less: Vec<f64> = net.iter().map(|value| value - 0.0006).collect();
    let found = compare(&less, &benchmark, 252.0, 0x1234_5678_9abc_def0).unwrap();
    let expected = &golden["compare"];
    near("difference", found.value, &expected["difference"]);
    near("error", found.error, &expected["error"]);
    near("low", found.interval[0], &expected["low"]);
    near("high", found.interval[1], &expected["high"]);
    near("p", found.p, &expected["p"]);
    assert!(compare(&less, &benchmark, 252.0, 1).unwrap().interval != found.interval);
    assert_eq!(compare(&net, &net, 252.0, 1), Err("the two have the same returns"));
    assert_eq!(compare(&net[..59], &benchmark[..59], 252.0, 1), Err("there are fewer than 60 returns"));
    for (ours, expected) in
        holm(&list(&golden["holm"]["p"])).into_iter().zip(golden["holm"]["adjusted"].as_array().unwrap())
    {
        near("holm", ours, expected);
    }
}

#[test]
fn the_monitor_of_overlapping_windows_matches_numpy() {
    let golden = golden();
    let (net, benchmark) = (list(&golden["net"]), list(&golden["benchmark"]));
    let expected = &golden["monitor"];
    let window = |window: &Json| {
        let rows: Vec<usize> = list(window).into_iter().map(|row| row as usize).collect();
        let span = |first: usize| {
            let rows = rows[first]..rows[first + 1];
            let (model, benchmark) = (net[rows.clone()].to_vec(), benchmark[rows.clone()].to_vec());
            Ok(SpanReturns { rows, model, benchmark })
        };
        WindowReturns { train: span(0), validation: span(1), test: span(2) }
    };
    let windows: Vec<WindowReturns> = expected["spans"].as_array().unwrap().iter().map(window).collect();
    let found = overfitting(&MonitorInputs {
        windows: &windows,
        periods_per_year: 252.0,
        step_months: 24,
        test_months: 28,
        out_of_sample: None,
        epochs: &[],
    });
    for (name, value) in [
        ("gap", found.gap),
        ("gap_error", found.gap_error),
        ("validation_gap", found.validation_gap),
        ("validation_gap_error", found.validation_gap_error),
        ("train_excess", found.train_excess),
        ("generalisation", found.generalisation),
        ("low", found.generalisation_interval[0]),
        ("high", found.generalisation_interval[1]),
    ] {
        near(name, number(value), &expected[name]);
    }
}

/// The example of Bailey and López de Prado (2012): monthly Sharpe ratio 0.3 over 60 months.
#[test]
fn the_probabilistic_sharpe_ratio_matches_its_published_example() {
    let moments = [0.3, -0.5, 5.0];
    assert!((probability(moments, 60.0, 0.0).unwrap() - 0.9807).abs() < 5e-5);
    let least = shortest_track(moments).unwrap();
    assert!(probability(moments, least, 0.0).unwrap() >= 0.95);
    assert!(probability(moments, least - 1.0, 0.0).unwrap() < 0.95);
    assert_eq!(shortest_track([-0.1, 0.0, 3.0]), Err("the Sharpe ratio is not above 0"));
}
