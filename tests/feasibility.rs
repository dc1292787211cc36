//! What cannot be decided is said before anything is trained, with all its dates; groups of assets come from a file.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use serde_json::Value as Json;
use walkforge::{Code, Error, Experiment, Run, Runtime};

use crate::common::panels::stocks;
use crate::common::process::{stderr, walkforge};
use crate::common::{hrp, prices, search};

const WINDOWS: &str = "[windows]\nstart = \"2008-01-01\"\n";

fn prepared(text: &str, overrides: &[&str]) -> Result<Run, Error> {
    let overrides: Vec<String> = overrides.iter().map(|&entry| entry.to_owned()).collect();
    let experiment = Experiment::from_toml(&format!("{WINDOWS}{text}"), "".into(), &overrides)?;
    Run::new(experiment, stocks(), &Runtime::new(search([("hrp", hrp())]), 1)?)
}

#[track_caller]
fn refused(text: &str, overrides: &[&str], code: Code, expected: &[&str]) {
    let error = prepared(text, overrides).err().unwrap();
    let text = error.to_string();
    assert!(error.code() == code && expected.iter().all(|part| text.contains(part)), "{text}");
}

#[test]
fn decisions_that_cannot_be_made_are_named_before_the_run() {
    let hrp = "[[models]]\nname = \"hrp\"\n";
    let bound = "20 assets of at most portfolio.max_weight = 0.04 each cannot add up to 1";
    let dates = "cannot decide on 144 of 144 decision dates. 2010-12-31 to 2022-11-30 (144 dates): ";
    let relax = "portfolio.infeasible = \"relax\"";
    refused(hrp, &["portfolio.max_weight=0.04"], Code::Infeasible, &["model 'hrp' ", dates, bound, relax]);
    // More history than the first decisions have.
    let history =
        "2010-12-31 to 2012-11-30 (24 dates): no asset is a member with 5793 finite returns in all rows up to it. What";
    refused(
        hrp,
        &["models.hrp.settings.lookback=8000", "models.hrp.settings.min_history=5793"],
        Code::InvalidData,
        &["model 'hrp' cannot decide on 24 of 144", history, "windows.start", "lower models.hrp.settings.min_history"],
    );
    // Equal weight has no scores to rank.
    let equal = "[[models]]\nname = \"equal\"\nplugin = \"equal_weight\"\n";
    let ranked = ["portfolio.top_k=5", "portfolio.top_k_by=score"];
    refused(
        equal,
        &ranked,
        Code::InvalidSetting,
        &["'portfolio.top_k_by': found \"score\"", "'equal' gives no scores"],
    );
    // Models with the same needs are named together.
    let two = "[[models]]\nname = \"one\"\nplugin = \"hrp\"\n[[models]]\nname = \"two\"\nplugin = \"hrp\"\n";
    refused(two, &["portfolio.max_weight=0.04"], Code::Infeasible, &["models 'one', 'two' cannot decide on 144"]);
    // Relaxed, each asset may hold a twentieth.
    let overrides = ["portfolio.max_weight=0.04", "portfolio.infeasible=relax", "windows.step_months=120"];
    let mut run = prepared(equal, &overrides).unwrap();
    while run.progress().done < run.windows.len() {
        run.step().unwrap();
    }
    assert!(run.targets[1].iter().all(|target| target.weights.iter().all(|weight| (weight - 0.05).abs() < 1e-12)));
    let relaxed = run.changes[1].iter().filter(|(_, change)| change.rule == "relaxed_max_weight");
    let moved: Vec<f64> = relaxed.map(|(_, change)| change.moved).collect();
    assert!(moved.len() == run.targets[1].len() && moved.iter().all(|moved| (moved - 0.2).abs() < 1e-12), "{moved:?}");
}

/// The example prices from 2008 on, with holes: one asset after the other has no price for 30 days.
fn with_holes(folder: &Path) {
    let text = fs::read_to_string(prices()).unwrap();
    let mut out = String::new();
    for (row, line) in text.lines().filter(|line| line.starts_with("date") || *line >= "2008").enumerate() {
        let hidden = if row > 0 { 1 + (row / 30) % 20 } else { 0 };
        let cells = line.split(',').enumerate();
        let cells: Vec<&str> =
            cells.map(|(index, cell)| if index > 0 && index == hidden { "" } else { cell }).collect();
        out += &cells.join(",");
        out.push('\n');
    }
    fs::write(folder.join("holes.csv"), out).unwrap();
}

/// Runs an experiment in a folder with the command.
fn started(folder: &Path, experiment: &str, out: &str) -> std::process::Output {
    fs::write(folder.join("experiment.toml"), experiment).unwrap();
    walkforge(&["run", "experiment.toml", "--out", out]).current_dir(folder).output().unwrap()
}

#[test]
fn rows_in_common_are_counted_before_the_run() {
    let scratch = tempfile::tempdir().unwrap();
    with_holes(scratch.path());
    let text = "[data]\nprices = \"holes.csv\"\n[windows]\ntrain_months = 24\nvalidation_months = 0\nstep_months = 60\n\
                [[models]]\nname = \"hrp\"\n[models.settings]\nlookback = 252\n";
    // At each decision some asset has no return on every row of the year.
    let failed = started(scratch.path(), text, "out");
    let messages = stderr(&failed);
    assert!(!failed.status.success() && !scratch.path().join("out").exists(), "{messages}");
    for part in [
        "model 'hrp' cannot decide on",
        "0 of 252 rows have a return for each of",
        "126 are needed",
        "set models.hrp.settings.missing = \"pairwise\"",
    ] {
        assert!(messages.contains(part), "{part}: {messages}");
    }
    let paired = format!("{text}missing = \"pairwise\"\n");
    let done = started(scratch.path(), &paired, "pairwise");
    assert!(done.status.success(), "{}", stderr(&done));
}

#[test]
fn a_file_names_the_assets_of_groups_day_by_day() {
    let scratch = tempfile::tempdir().unwrap();
    let header = fs::read_to_string(prices()).unwrap();
    let names: Vec<&str> = header.lines().next().unwrap().split(',').skip(1).collect();
    // The first five change from one group to another at the end of 2012.
    let mut file = String::from("ticker,group,start,end\n");
    for name in &names[..5] {
        write!(file, "{name},early,,2012-12-31\n{name},late,2013-01-01,\n").unwrap();
    }
    fs::write(scratch.path().join("groups.csv"), file).unwrap();
    let text = |groups: &str| {
        format!(
            "[data]\nprices = {:?}\n[windows]\nstart = \"2008-01-01\"\n[portfolio]\nasset_groups = \"groups.csv\"\n{groups}\
             [[models]]\nname = \"equal\"\nplugin = \"equal_weight\"\n",
            prices()
        )
    };
    let groups = "[portfolio.groups.early]\nmax = 0.1\n[portfolio.groups.\"*\"]\nmax = 0.2\n";
    let done = started(scratch.path(), &text(groups), "out");
    assert!(done.status.success(), "{}", stderr(&done));
    let weights = fs::read_to_string(scratch.path().join("out/weights.csv")).unwrap();
    let mut sums = std::collections::BTreeMap::new();
    for line in weights.lines().skip(1) {
        let [date, _, model, asset, weight] = line.split(',').collect::<Vec<_>>()[..] else { panic!("{line}") };
        if model == "equal" && names[..5].contains(&asset) {
            *sums.entry(date.to_owned()).or_insert(0.0) += weight.parse::<f64>().unwrap();
        }
    }
    assert!(sums.len() > 100);
    for (date, sum) in sums {
        let allowed = if *date <= *"2012-12-31" { 0.1 } else { 0.2 };
        assert!((sum - allowed).abs() < 1e-9, "{date}: {sum}");
    }
    // The digest of a run covers the file.
    let digest = |out: &str| {
        let text = fs::read_to_string(scratch.path().join(out).join("run.json")).unwrap();
        serde_json::from_str::<Json>(&text).unwrap()["data"]["terms_sha256"].clone()
    };
    let before = digest("out");
    let file = fs::read_to_string(scratch.path().join("groups.csv")).unwrap().replace("2012-12-31", "2011-12-31");
    fs::write(scratch.path().join("groups.csv"), file).unwrap();
    let again = started(scratch.path(), &text(groups), "out");
    assert!(stderr(&again).contains("holds another run (run.json differs in data)"), "{}", stderr(&again));
    assert!(before.is_string());
    let unknown = started(scratch.path(), &text("[portfolio.groups.middle]\nmax = 0.1\n"), "unknown");
    let messages = stderr(&unknown);
    assert!(messages.contains("'portfolio.groups.middle'") && messages.contains("it has early, late"), "{messages}");
}

#[test]
fn a_model_that_ends_early_is_written_with_the_others_and_fails_the_command() {
    let scratch = tempfile::tempdir().unwrap();
    let file = fs::read_to_string(prices()).unwrap();
    let names: Vec<&str> = file.lines().next().unwrap().split(',').skip(1).collect();
    let mut sorted = names.clone();
    sorted.sort_unstable();
    // Equal weights tie, and the first by name are kept: from 2016 on one of the others must be held.
    let text = format!("ticker,group,start\n{},must,2016-01-01\n{},must,\n", sorted[19], sorted[0]);
    fs::write(scratch.path().join("groups.csv"), text).unwrap();
    let text = format!(
        "[data]\nprices = {:?}\n[windows]\nstart = \"2008-01-01\"\n[portfolio]\nasset_groups = \"groups.csv\"\ntop_k = 10\n\
         max_weight = 0.15\n[portfolio.groups.must]\nmin = 0.16\n[[models]]\nname = \"equal\"\nplugin = \"equal_weight\"\n",
        prices()
    );
    // Before 2016 a group of one asset of at most 0.15 cannot reach 0.16.
    let refused = started(scratch.path(), &text, "out");
    assert!(stderr(&refused).contains("group 'must' has 1 assets"), "{}", stderr(&refused));
    let text = text.replace("min = 0.16", "min = 0.1").replace(&format!("{},must,\n", sorted[0]), "");
    fs::write(
        scratch.path().join("groups.csv"),
        format!("ticker,group,start,end\n{},must,,2015-12-31\n{},must,2016-01-01,\n", sorted[0], sorted[19]),
    )
    .unwrap();
    for _ in 0..2 {
        // The second time the directory is finished, and the command fails in the same way.
        let ended = started(scratch.path(), &text, "out");
        let messages = stderr(&ended);
        assert_eq!(ended.status.code(), Some(1), "{messages}");
        assert!(
            messages.contains("model 'equal' ended early, the results of the others are written: ")
                && messages.contains("group 'must' has 0 assets"),
            "{messages}"
        );
    }
    let document = fs::read_to_string(scratch.path().join("out/run.json")).unwrap();
    let document: Json = serde_json::from_str(&document).unwrap();
    let ended = &document["summary"]["equal"]["ended"];
    assert_eq!(document["windows"][ended["window"].as_u64().unwrap() as usize]["test"]["start"], "2016-01-04");
    let returns = fs::read_to_string(scratch.path().join("out/returns.csv")).unwrap();
    let last =
        |model: &str| returns.lines().rfind(|line| line.split(',').nth(2) == Some(model)).unwrap()[..10].to_owned();
    assert_eq!((last("equal"), last("equal_weight")), ("2015-12-31".to_owned(), "2022-12-28".to_owned()));
    let page = fs::read_to_string(scratch.path().join("out/report.html")).unwrap();
    assert!(page.contains("its path ends before the test span from 2016-01-01"));
}
