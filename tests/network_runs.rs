//! Runs with a network: the same bytes at any thread count, the training section of `run.json`, the overfitting monitor
//! recomputed from the scores, and the learning curves of the report.

use std::path::Path;

use jiff::civil::date;
use serde_json::Value as Json;
use walkforge::internals::run::write_directory;
use walkforge::{Experiment, Panel, PanelKind, Run, Runtime};

use crate::common::panels::{letters, random_walks, weekdays_before};
use crate::common::{finish, lstm, search};

const EXPERIMENT: &str = "
[windows]
train_months = 6
validation_months = 3
test_months = 3
step_months = 3
[train]
max_epochs = 4
batch_size = 16
accumulation_steps = 2
early_stop_epochs = 2
[[models]]
name = \"net\"
plugin = \"lstm\"
[models.settings]
hidden_size = 4
layers = 1
lookback = 10
dropout = 0.0
";

/// Prices of three assets on the weekdays of three years.
fn panel() -> Panel {
    let (days, names) = (weekdays_before(date(2021, 1, 1)), letters(3));
    let values = random_walks(29, 1.0006, days.len(), names.len());
    Panel::from_arrays(PanelKind::Prices, days, &names, &values).unwrap()
}

fn prepared(threads: usize, overrides: &[&str]) -> Run {
    let overrides: Vec<String> = overrides.iter().map(|&entry| entry.to_owned()).collect();
    let experiment = Experiment::from_toml(EXPERIMENT, "".into(), &overrides).unwrap();
    Run::new(experiment, panel(), &Runtime::new(search([("lstm", lstm())]), threads).unwrap()).unwrap()
}

/// Runs to the end and writes the directory.
fn written(folder: &Path, threads: usize, overrides: &[&str]) {
    let mut run = prepared(threads, overrides);
    finish(&mut run);
    write_directory(&run, folder, 1.5).unwrap();
}

fn read(folder: &Path, file: &str) -> String {
    std::fs::read_to_string(folder.join(file)).unwrap()
}

fn document(folder: &Path) -> Json {
    serde_json::from_str(&read(folder, "run.json")).unwrap()
}

fn floats(list: &Json) -> Vec<Option<f64>> {
    list.as_array().unwrap().iter().map(Json::as_f64).collect()
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

fn pearson(one: &[f64], two: &[f64]) -> f64 {
    let (mean_one, mean_two) = (mean(one), mean(two));
    let sum = |of: &dyn Fn(f64, f64) -> f64| -> f64 {
        one.iter().zip(two).map(|(one, two)| of(one - mean_one, two - mean_two)).sum()
    };
    sum(&|one, two| one * two) / (sum(&|one, _| one * one) * sum(&|_, two| two * two)).sqrt()
}

/// Ranks of distinct values.
fn ranks(values: &[f64]) -> Vec<f64> {
    values.iter().map(|value| values.iter().filter(|other| *other < value).count() as f64).collect()
}

#[test]
fn a_network_gives_the_same_directory_at_one_thread_and_at_three() {
    let scratch = tempfile::tempdir().unwrap();
    let (one, three) = (scratch.path().join("one"), scratch.path().join("three"));
    written(&one, 1, &[]);
    written(&three, 3, &[]);
    for file in ["weights.csv", "returns.csv", "report.html"] {
        assert!(read(&one, file) == read(&three, file), "{file} differs");
    }
    // `machine` is the last key; everything before it is the same, byte for byte.
    let before = |folder: &Path| read(folder, "run.json").split("\"machine\"").next().unwrap().to_owned();
    assert!(before(&one) == before(&three) && before(&one).contains("\"training\""), "run.json differs");
    for (folder, threads) in [(one, 1), (three, 3)] {
        let machine = document(&folder)["machine"].clone();
        assert_eq!((&machine["threads"], &machine["seconds"]), (&threads.into(), &1.5.into()));
        let seconds = floats(&machine["training_seconds"]["net"]);
        assert!(seconds.len() == 9 && seconds.iter().all(|seconds| seconds.unwrap() > 0.0), "{machine}");
        assert!(machine["training_seconds"].get("equal_weight").is_none());
    }
}

#[test]
fn run_json_records_the_training_of_each_window_and_the_overfitting_monitor() {
    let scratch = tempfile::tempdir().unwrap();
    written(scratch.path(), 2, &[]);
    let document = document(scratch.path());
    let windows = document["windows"].as_array().unwrap();
    assert_eq!(windows.len(), 9);
    let (mut train, mut validation, mut test) = (Vec::new(), Vec::new(), Vec::new());
    let (mut ends, mut peaks) = (Vec::new(), Vec::new());
    for window in windows {
        assert!(window["models"]["equal_weight"].get("training").is_none());
        let of = &window["models"]["net"];
        let training = &of["training"];
        let epochs = training["epochs_run"].as_u64().unwrap() as usize;
        let curves = ["loss", "validation_sharpe", "learning_rate"].map(|name| floats(&training["epochs"][name]));
        assert!(curves.iter().all(|curve| curve.len() == epochs && curve.iter().all(Option::is_some)), "{training}");
        assert!(curves[2].iter().all(|rate| *rate == Some(1e-3)));
        // The weights of the epoch with the highest validation score are kept, and their score is that of the epoch.
        let best = training["best_epoch"].as_u64().unwrap() as usize;
        let score = curves[1][best - 1].unwrap();
        assert!(curves[1].iter().all(|other| other.unwrap() <= score));
        assert!((score / of["validation"]["sharpe"].as_f64().unwrap() - 1.0).abs() < 1e-4, "{score}");
        let ended = training["ended"].as_str().unwrap();
        assert!(if ended == "early_stop" { best + 2 == epochs && epochs < 4 } else { epochs == 4 }, "{training}");
        ends.push(ended);
        peaks.push(best);
        // An LSTM layer of 4 with two inputs for each of 3 assets (the return, and whether it is known), a linear layer
        // to 3.
        assert_eq!(training["parameters"], 4 * 4 * (6 + 4 + 2) + 3 * (4 + 1));
        assert_eq!((&training["batch"], &training["micro_batch"]), (&32.into(), &32.into()));
        let samples = training["samples"].as_u64().unwrap();
        // The look-back of 10 rows and the label lie in the train span; labels cover what is held from month to month.
        let horizon = document["models"][1]["train"]["horizon"].as_u64().unwrap();
        assert!((20..=22).contains(&horizon), "{horizon}");
        assert_eq!(samples, window["train"]["rows"].as_u64().unwrap() - 9 - horizon);
        let bytes = ["planned_bytes", "measured_bytes"].map(|name| training[name].as_u64().unwrap());
        assert!(bytes[1] > 0 && bytes[1] <= bytes[0], "{bytes:?}");
        assert!(training.get("seconds").is_none());
        for (scores, span) in [(&mut train, "train"), (&mut validation, "validation"), (&mut test, "test")] {
            scores.push(of[span]["sharpe"].as_f64().unwrap());
        }
    }
    // The types of the library hold every field.
    let read = walkforge::RunDocument::read(scratch.path()).unwrap();
    assert!(serde_json::to_value(&read).unwrap() == document, "the types of run.json lack a field");
    let of_first = &read.windows[0].models["net"].test;
    assert_eq!(of_first.number("sharpe"), windows[0]["models"]["net"]["test"]["sharpe"].as_f64());
    assert!(ends.contains(&"early_stop") && ends.contains(&"max_epochs"), "{ends:?}");

    assert!(document["summary"]["equal_weight"].get("overfitting").is_none());
    let found = &document["summary"]["net"]["overfitting"];
    let listed = |name: &str| -> Vec<f64> {
        floats(&found["windows"][name]).into_iter().map(|value| value.unwrap_or(f64::NAN)).collect()
    };
    assert_eq!((listed("train_sharpe"), listed("validation_sharpe"), listed("test_sharpe")), {
        (train.clone(), validation.clone(), test.clone())
    });
    // Excess is over equal weight on the same span.
    let benchmark = |span: &str| -> Vec<f64> {
        let of = |window: &Json| window["models"]["equal_weight"][span]["sharpe"].as_f64().unwrap();
        windows.iter().map(of).collect()
    };
    let minus = |left: &[f64], right: &[f64]| -> Vec<f64> { left.iter().zip(right).map(|(a, b)| a - b).collect() };
    let (validation, test) = (minus(&validation, &benchmark("validation")), minus(&test, &benchmark("test")));
    assert_eq!((listed("validation_excess"), listed("test_excess")), (validation.clone(), test.clone()));
    let train = listed("train_excess");
    let gaps = minus(&train, &test);
    assert_eq!(listed("gap"), gaps);
    assert_eq!(found["windows"]["peak_epoch"], serde_json::json!(peaks));
    let number = |name: &str| found[name].as_f64();
    for (name, expected) in [
        ("mean_train_excess", mean(&train)),
        ("mean_test_excess", mean(&test)),
        ("mean_gap", mean(&gaps)),
        ("mean_validation_gap", mean(&minus(&validation, &test))),
        ("generalisation", pearson(&ranks(&validation), &ranks(&test))),
    ] {
        let value = number(name).unwrap();
        assert!((value - expected).abs() < 1e-12, "{name}: {value}, expected {expected}");
    }
    let (error, kept) = (number("gap_standard_error").unwrap(), number("kept"));
    assert_eq!(kept.is_some(), mean(&train) > 2.0 * number("train_excess_standard_error").unwrap());
    let clear = mean(&gaps) > 2.0 * error;
    let verdict = if mean(&train) <= 0.0 {
        "nothing_learned"
    } else if clear && mean(&test) < 0.5 * mean(&train) {
        "overfit"
    } else if clear {
        "some_overfitting"
    } else if mean(&gaps) + 2.0 * error < 0.5 * mean(&train) {
        "none_found"
    } else {
        "no_evidence"
    };
    assert_eq!(found["verdict"], verdict);
    let reason = found["reason"].as_str().unwrap();
    assert!(reason.starts_with("over 9 windows the Sharpe ratio minus that of the benchmark is "), "{found}");
    // The last of four allowed epochs is the best in more than a fifth of the windows.
    let last = peaks.iter().filter(|peak| **peak == 4).count();
    let named = found["findings"].as_array().unwrap().iter().any(|finding| finding["name"] == "last_epoch_best");
    assert_eq!(named, 5 * last > 9, "{found}");
    let against = &document["summary"]["net"]["against_benchmark"];
    assert!(against["standard_error"].as_f64().unwrap() > 0.0 && against["p"] == against["adjusted_p"], "{against}");
    assert!(document["summary"]["equal_weight"].get("against_benchmark").is_none());
}

#[test]
fn the_report_shows_learning_curves_the_monitor_and_dependence_on_the_clock() {
    let scratch = tempfile::tempdir().unwrap();
    let (panels, rows) = (scratch.path().join("panels"), scratch.path().join("rows"));
    written(&panels, 2, &[]);
    let page = read(&panels, "report.html");
    assert!(page.contains("<h2>Learning curves of net</h2>") && page.contains("<h2>Overfitting</h2>"));
    // Both curves of a window are on one axis; a rod per window is in the chart of the scores.
    assert_eq!(page.matches("<figure class=\"panel\">").count(), 9);
    assert_eq!((page.matches("class=\"plot small\"").count(), page.matches("class=\"rod s1\"").count()), (9, 9));
    let result = document(&panels);
    let epochs = &result["windows"][0]["models"]["net"]["training"]["epochs"];
    let scale = (252.0 / result["models"][1]["train"]["horizon"].as_f64().unwrap()).sqrt();
    let values = |name: &str| -> Vec<f64> {
        epochs[name].as_array().unwrap().iter().map(|value| value.as_f64().unwrap()).collect()
    };
    let (losses, sharpe) = (values("loss"), values("train_sharpe"));
    assert!(losses.len() > 1 && losses.len() == sharpe.len());
    assert!(losses.iter().zip(&sharpe).all(|(loss, sharpe)| (loss * scale + sharpe).abs() < 1e-12));
    let reason = result["summary"]["net"]["overfitting"]["reason"].as_str().unwrap().replace('-', "−");
    assert!(page.contains(&reason) && !page.contains("epends on the clock"));
    for forbidden in ["<script", "http:", "https:", "url(", "@import", " src="] {
        assert!(!page.contains(forbidden), "{forbidden}");
    }
    // Many windows are shown as rows of a table; a millisecond is over after the first epoch.
    written(&rows, 2, &["windows.step_months=1", "train.max_seconds=0.001"]);
    let (page, document) = (read(&rows, "report.html"), document(&rows));
    let windows = document["windows"].as_array().unwrap();
    assert!(windows.iter().all(|window| window["models"]["net"]["training"]["ended"] == "max_seconds"));
    assert_eq!((page.matches("<table class=\"curves\">").count(), page.matches("class=\"panel\"").count()), (1, 0));
    assert!(page.contains(&format!("max_seconds ended the training of net in {0} of {0} windows", windows.len())));
    assert!(page.contains("<b>Depends on the clock:</b>"));
}

#[test]
fn the_training_progress_is_reported_epoch_by_epoch() {
    let mut run = prepared(1, &[]);
    assert!(run.training().is_empty());
    run.step().unwrap();
    let learning = run.training();
    assert_eq!(learning.len(), 1);
    assert_eq!((learning[0].window, learning[0].model), (0, 1));
    assert_eq!((learning[0].epochs, learning[0].max_epochs), (1, 4));
    let last = learning[0].last.unwrap();
    assert!(last.loss.is_finite() && last.validation.is_some() && last.learning_rate == 1e-3);
    assert!(learning[0].seconds_left.unwrap() > 0.0);
    finish(&mut run);
    assert!(run.training().is_empty());
}

#[test]
fn an_embargo_leaves_rows_before_the_next_span_unused_and_the_test_whole() {
    let scratch = tempfile::tempdir().unwrap();
    let (without, with) = (scratch.path().join("without"), scratch.path().join("with"));
    written(&without, 1, &[]);
    written(&with, 1, &["windows.embargo_days=20"]);
    let (without, with) = (document(&without), document(&with));
    for (one, two) in without["windows"].as_array().unwrap().iter().zip(with["windows"].as_array().unwrap()) {
        assert_eq!(one["test"], two["test"]);
        let (one, two) = (&one["models"], &two["models"]);
        assert_eq!(one["equal_weight"]["test"], two["equal_weight"]["test"]);
        assert_ne!(one["equal_weight"]["validation"], two["equal_weight"]["validation"]);
        let samples = |of: &Json| of["net"]["training"]["samples"].as_u64().unwrap();
        // Twenty days before the span are 14 weekdays, or one or two fewer or more.
        assert!((12..=15).contains(&(samples(one) - samples(two))), "{} {}", samples(one), samples(two));
        // The score that is reported is the one that chose the epoch.
        let chosen = floats(&two["net"]["training"]["epochs"]["validation_sharpe"]);
        let best = chosen.iter().copied().flatten().fold(f64::MIN, f64::max);
        let reported = two["net"]["validation"]["sharpe"].as_f64().unwrap();
        assert!((best - reported).abs() < 1e-9, "{best} {reported}");
    }
}
