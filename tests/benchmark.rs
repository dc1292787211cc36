//! A run of the command beside an index from a file, and the refusal of one that does not cover it.

use std::fs;

use serde_json::Value as Json;

use crate::common::prices;
use crate::common::process::{stderr, walkforge};

#[test]
fn a_run_is_compared_with_an_index_from_a_file() {
    let scratch = tempfile::tempdir().unwrap();
    let at = |name: &str| scratch.path().join(name);
    // The first column of the example prices as the index.
    let table = fs::read_to_string(prices()).unwrap();
    let rows: Vec<(&str, &str)> = table
        .lines()
        .skip(1)
        .map(|line| {
            let mut cells = line.split(',');
            (cells.next().unwrap(), cells.next().unwrap())
        })
        .collect();
    let index = |rows: &[(&str, &str)]| {
        let lines: Vec<String> = rows.iter().map(|(date, price)| format!("{date},{price}")).collect();
        format!("date,price\n{}\n", lines.join("\n"))
    };
    let text = index(&rows);
    fs::write(at("index.csv"), &text).unwrap();
    let experiment = format!(
        "[data]\nprices = {:?}\n[windows]\nstart = \"2012-01-01\"\n[benchmark]\nfile = \"index.csv\"\nname = \"index\"\n\
         [[models]]\nname = \"equal\"\nplugin = \"equal_weight\"\n",
        prices()
    );
    fs::write(at("experiment.toml"), experiment).unwrap();
    let run = |out: &str, set: &[&str]| {
        let set = set.iter().flat_map(|set| ["--set", set]);
        let arguments: Vec<&str> = ["run", "experiment.toml", "--out", out].into_iter().chain(set).collect();
        walkforge(&arguments).current_dir(scratch.path()).output().unwrap()
    };
    let done = run("out", &[]);
    assert!(done.status.success(), "{}", stderr(&done));
    let price = |date: &str| {
        let row = rows.iter().position(|(day, _)| *day == date).unwrap();
        [row - 1, row].map(|row| rows[row].1.parse::<f64>().unwrap())
    };
    let returns = fs::read_to_string(at("out/returns.csv")).unwrap();
    let mut lines = 0;
    for line in returns.lines().skip(1) {
        let [date, _, model, _, cost, net, turnover] = line.split(',').collect::<Vec<_>>()[..] else {
            panic!("{line}")
        };
        if model == "index" {
            let [before, now] = price(date);
            assert!((net.parse::<f64>().unwrap() - (now / before - 1.0)).abs() < 1e-12, "{line}");
            assert_eq!((cost, turnover), ("0.0", "0.0"));
            lines += 1;
        }
    }
    assert!(lines > 1700, "{lines}");
    let document: Json = serde_json::from_str(&fs::read_to_string(at("out/run.json")).unwrap()).unwrap();
    assert_eq!(document["settings"]["benchmark"], serde_json::json!({"name": "index", "file": "index.csv"}));
    assert!(document["data"]["benchmark_sha256"].is_string());
    assert!(document["summary"]["equal"]["against_benchmark"]["p"].is_number());
    let weights = fs::read_to_string(at("out/weights.csv")).unwrap();
    assert!(!weights.contains(",index,") && fs::read_to_string(at("out/report.html")).unwrap().contains("less index"));
    // Other values are another run, and too few of them none.
    fs::write(at("index.csv"), text.replace("2022-12-28,", "2022-12-28,1")).unwrap();
    let other = stderr(&run("out", &[]));
    assert!(other.contains("holds another run (run.json differs in data)"), "{other}");
    fs::write(at("index.csv"), index(&rows[..8000])).unwrap();
    let refused = stderr(&run("short", &[]));
    assert!(refused.contains("setting 'benchmark.file': index.csv: the last value before "), "{refused}");
    let asset = stderr(&run("asset", &["benchmark.asset=AAPL"]));
    assert!(asset.contains("settings 'benchmark.asset' and 'benchmark.file' are given; one is allowed"), "{asset}");
}
