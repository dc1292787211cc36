//! Runs: the same bytes at any thread count, no look-ahead into changed rows, and a run directory that is never
//! overwritten.

use std::path::Path;

use crate::common::prices;
use crate::common::process::{refused, run, stdout, walkforge};

#[track_caller]
fn good(arguments: &[&str]) -> String {
    stdout(&run(&mut walkforge(arguments)))
}

fn read(folder: &Path, file: &str) -> String {
    std::fs::read_to_string(folder.join(file)).unwrap()
}

fn without_machine(folder: &Path) -> serde_json::Value {
    let mut document: serde_json::Value = serde_json::from_str(&read(folder, "run.json")).unwrap();
    assert!(document.as_object_mut().unwrap().remove("machine").is_some());
    document
}

const EXPERIMENT: &str = "examples/experiments/hrp.toml";

#[test]
fn one_thread_and_three_give_the_same_directory() {
    let scratch = tempfile::tempdir().unwrap();
    let (one, three) = (scratch.path().join("one"), scratch.path().join("three"));
    good(&["run", EXPERIMENT, "--out", one.to_str().unwrap(), "--set", "threads=1"]);
    good(&["run", EXPERIMENT, "--out", three.to_str().unwrap(), "--set", "threads=3"]);
    for file in ["weights.csv", "returns.csv", "report.html"] {
        assert!(read(&one, file) == read(&three, file), "{file} differs");
    }
    assert_eq!(without_machine(&one), without_machine(&three));
    // A finished directory is left unchanged by the same run; another run is refused.
    let before = read(&one, "run.json");
    good(&["run", EXPERIMENT, "--out", one.to_str().unwrap()]);
    assert_eq!(read(&one, "run.json"), before);
    let other = ["run", EXPERIMENT, "--out", one.to_str().unwrap(), "--set", "portfolio.cost_bps=3"];
    refused(&mut walkforge(&other), "holds another run");
    assert_eq!(read(&one, "run.json"), before);
}

#[test]
fn weights_do_not_depend_on_later_prices() {
    let scratch = tempfile::tempdir().unwrap();
    let prices = std::fs::read_to_string(prices()).unwrap();
    let cut = "2005-06-30";
    let changed: Vec<String> = prices
        .lines()
        .enumerate()
        .map(|(index, line)| {
            let (date, rest) = line.split_once(',').unwrap();
            if index == 0 || date <= cut {
                return format!("{line}\n");
            }
            let cells: Vec<String> = rest
                .split(',')
                .enumerate()
                .map(|(asset, cell)| {
                    format!("{}", cell.parse::<f64>().unwrap() * (1.0 + (index * 7 + asset * 13) as f64 % 1.9))
                })
                .collect();
            format!("{date},{}\n", cells.join(","))
        })
        .collect();
    std::fs::write(scratch.path().join("changed.csv"), changed.concat()).unwrap();
    let experiment = "[data]\nprices = \"changed.csv\"\n[[models]]\nname = \"hrp\"\n";
    std::fs::write(scratch.path().join("changed.toml"), experiment).unwrap();
    let (as_is, moved) = (scratch.path().join("as_is"), scratch.path().join("moved"));
    good(&["run", EXPERIMENT, "--out", as_is.to_str().unwrap()]);
    good(&["run", scratch.path().join("changed.toml").to_str().unwrap(), "--out", moved.to_str().unwrap()]);
    let (as_is, moved) = (read(&as_is, "weights.csv"), read(&moved, "weights.csv"));
    let known = |line: &&str| line.get(..10).is_some_and(|date| date <= cut);
    let (before, after): (Vec<&str>, Vec<&str>) =
        (as_is.lines().filter(known).collect(), moved.lines().filter(known).collect());
    assert!(before.len() > 5000);
    assert!(before == after, "a weight moved on or before {cut}");
    assert_ne!(as_is, moved);
}

#[test]
fn windows_are_printed_as_csv() {
    let data = ["windows", "--data", "examples/data/sp500_20_prices.csv"];
    assert_eq!(good(&data).lines().count(), 1 + 29);
    assert_eq!(good(&[&data[..], &["--set", "windows.step_months=1"]].concat()).lines().count(), 1 + 337);
}

#[test]
fn bad_input_exits_with_2_and_is_named() {
    for (arguments, expected) in [
        (vec!["run", "nope.toml", "--out", "out"], "nope.toml"),
        (vec!["run", EXPERIMENT, "--out", "out", "--set", "windows.train_month=3"], "did you mean 'train_months'?"),
        (vec!["windows", "--data", "nope.csv"], "nope.csv"),
        (
            vec!["weights", "--model", "nope", "--data", "examples/data/sp500_20_prices.csv"],
            "plugin 'nope' was not found",
        ),
        (
            vec!["weights", "--model", "hrp", "--data", "examples/data/sp500_20_prices.csv", "--as-of", "1989-01-01"],
            "begin on 1990-01-02",
        ),
        (
            vec!["weights", "--model", "hrp", "--data", "examples/data/sp500_20_prices.csv", "--as-of", "1990-03-01"],
            "no asset can be held",
        ),
    ] {
        refused(&mut walkforge(&arguments), expected);
    }
}
