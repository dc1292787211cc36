//! Benchmarks from a file, of one asset and of a model: what each holds, and what its train spans are compared with.

use std::fmt::Write as _;

use super::{Fixed, WINDOWS, dates, decision, finish, prices, try_prepare};
use crate::error::Result;
use crate::evaluate::MetricValue;
use crate::panel::PanelKind;
use crate::run::{Run, scores};

/// A run with a model that is held to a largest weight of 0.5, beside a benchmark.
fn prepared(benchmark: &str, overrides: &[&str]) -> Result<Run> {
    let text = format!(
        "{WINDOWS}[portfolio]\nmax_weight = 0.5\n[benchmark]\n{benchmark}\n[[models]]\nname = \"own\"\nplugin = \"equal_weight\"\n"
    );
    try_prepare(&text, &prices(), PanelKind::Prices, overrides)
}

/// A file with the prices of the second asset from a row on, without the rows that `keeps` refuses.
fn file_from(folder: &tempfile::TempDir, first: usize, keeps: impl Fn(usize) -> bool) -> String {
    let mut text = String::from("date,price\n");
    for (row, date) in dates().into_iter().enumerate().skip(first).filter(|(row, _)| keeps(*row)) {
        writeln!(text, "{date},{:?}", prices()[row * 3 + 1]).unwrap();
    }
    let path = folder.path().join("index.csv");
    std::fs::write(&path, text).unwrap();
    format!("file = {path:?}\nname = \"index\"")
}

fn close(one: f64, two: f64) -> bool {
    (one - two).abs() < 1e-12
}

#[test]
fn a_file_is_an_index_without_weights_and_costs() {
    let folder = tempfile::tempdir().unwrap();
    // Every fifth row has no value of its own: its move is in that of the next.
    let run = finish(prepared(&file_from(&folder, 0, |row| row % 5 != 3), &[]).unwrap());
    assert_eq!(run.models[0].name, "index");
    let value = |row: usize| prices()[(if row % 5 == 3 { row - 1 } else { row }) * 3 + 1];
    let path = &run.paths[0];
    assert_eq!(path.rows, run.paths[1].rows);
    assert!(path.rows.iter().zip(&path.net).all(|(row, net)| close(*net, value(*row) / value(row - 1) - 1.0)));
    assert!(path.cost.iter().chain(&path.turnover).all(|value| *value == 0.0) && run.targets[0].is_empty());
    // Each model is compared with it on every span, also alone.
    let scores = scores(&run).unwrap();
    assert!(scores.comparisons[1].unwrap().difference.is_ok());
    let correlation = crate::evaluate::METRICS.iter().position(|metric| metric.name == "return_correlation").unwrap();
    assert!(matches!(scores.windows[1][0].test.metrics[correlation], MetricValue::Number(_)));
}

#[test]
fn a_file_that_begins_after_the_train_span_leaves_the_monitor_without_it() {
    let folder = tempfile::tempdir().unwrap();
    let train = vec![decision(30, [0.0, 1.0, 0.0])];
    let reason = |first: usize| {
        let run = finish(prepared(&file_from(&folder, first, |_| true), &[]).unwrap());
        super::super::score_train(&run, (1, 0), &train, 0..60).unwrap().1.err()
    };
    assert_eq!((reason(0), reason(30)), (None, None));
    // The first row that is held is 31.
    assert_eq!(reason(31), Some("the benchmark does not reach over the train span"));
    // The validation span begins at row 60, so a value is needed up to row 59.
    assert!(prepared(&file_from(&folder, 59, |_| true), &[]).is_ok());
    let error = prepared(&file_from(&folder, 60, |_| true), &[]).err().unwrap().to_string();
    assert!(error.contains("'benchmark.file': ") && error.contains("needed is one up to 2020-02-29"), "{error}");
    let error = prepared(&file_from(&folder, 0, |row| !(100..112).contains(&row)), &[]).err().unwrap().to_string();
    assert!(error.contains("the last value before 2020-04-20 is of 2020-04-09, 11 days older"), "{error}");
}

#[test]
fn an_asset_is_bought_once_and_held() {
    let run = finish(prepared("asset = \"B\"", &["portfolio.cost_bps=10"]).unwrap());
    let path = &run.paths[0];
    let earned = |row: usize| prices()[row * 3 + 1] / prices()[(row - 1) * 3 + 1] - 1.0;
    assert!(path.rows.iter().zip(&path.gross).all(|(row, gross)| close(*gross, earned(*row))));
    assert!(close(path.turnover[0], 0.5) && close(path.cost[0], 0.001));
    assert!(path.turnover[1..].iter().all(|turnover| *turnover == 0.0));
    let unknown = prepared("asset = \"SPY\"", &[]).err().unwrap().to_string();
    assert!(unknown.contains("'benchmark.asset': found \"SPY\", which is not an asset of the data"), "{unknown}");
}

#[test]
fn an_asset_that_is_no_member_is_refused_with_all_dates() {
    let text = format!("{WINDOWS}[benchmark]\nasset = \"C\"\n");
    let mut values = prices();
    // The last price is on 30 April; with stale_rows = 7 it is a member for a week.
    values.iter_mut().skip(2).step_by(3).skip(121).for_each(|price| *price = f64::NAN);
    let error = try_prepare(&text, &values, PanelKind::Prices, &[]).err().unwrap().to_string();
    let expected = "model 'benchmark' cannot decide on 2 of 5 decision dates. 2020-05-31 to 2020-06-30 (2 dates): C, the setting \
                    benchmark.asset, is not a member. What helps: add it to the universe, or give its prices in benchmark.file";
    assert_eq!(error, expected);
}

#[test]
fn a_model_is_walked_once_more_without_constraints() {
    let mut run = prepared("model = \"own\"", &["portfolio.max_turnover=0.01"]).unwrap();
    for model in &mut run.models {
        model.factory = Box::new(Fixed([0.8, 0.2, 0.0]));
    }
    let run = finish(run);
    assert!(run.targets[0].iter().all(|target| target.weights == [0.8, 0.2, 0.0]) && run.changes[0].is_empty());
    assert!(run.targets[1].iter().all(|target| target.weights[0] < 0.6) && !run.changes[1].is_empty());
    assert_eq!((run.models[0].name.as_str(), run.models[0].seed_name.as_str()), ("benchmark", "own"));
}
