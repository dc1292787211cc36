//! `walkforge data check`, and the same findings as warnings of a run.

use std::fmt::Write as _;

use crate::common::process::{run, stderr, stdout, walkforge};

#[test]
fn the_check_prints_what_a_run_warns_of() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("prices.csv");
    let mut text = String::from("date,\"A, Pref\",B\n");
    let (mut day, mut price) = (jiff::civil::date(2015, 1, 1), 100.0);
    for row in 0..1600_u32 {
        // A halving that the prices were not adjusted for, and a holiday that was kept as an empty row.
        price *= if row == 800 { 0.5 } else { 1.0 + (f64::from(row * 37 % 101) - 50.0) / 5000.0 };
        let other = 50.0 + f64::from(row * 53 % 97) / 100.0;
        let _ = if row == 400 { writeln!(text, "{day},,") } else { writeln!(text, "{day},{price:.4},{other:.4}") };
        day = day.tomorrow().unwrap();
    }
    std::fs::write(&path, text).unwrap();

    let output = run(walkforge(&["data", "check"]).arg(&path));
    let table = stdout(&output);
    let mut lines = table.lines();
    assert_eq!(lines.next(), Some("finding,row,date,column,detail"));
    assert_eq!(
        lines.next(),
        Some("empty_row,402,2016-02-05,,no column has a value: the row is no trading date and was left out")
    );
    let large = lines.next().unwrap();
    assert!(large.starts_with("large_move,802,2017-03-11,\"A, Pref\",\"the return is -50.0 %; a split"), "{large}");
    assert_eq!(lines.next(), None);
    assert!(stderr(&output).contains("1599 dates from 2015-01-01 to 2019-05-19, 2 assets; 2 findings"));

    let experiment = folder.path().join("experiment.toml");
    let settings = "[data]\nprices = \"prices.csv\"\n[windows]\ntrain_months = 12\nvalidation_months = 0\n";
    std::fs::write(&experiment, settings).unwrap();
    let out = folder.path().join("run");
    let output = run(walkforge(&["run"]).arg(&experiment).arg("--out").arg(&out));
    let document: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(out.join("run.json")).unwrap()).unwrap();
    let warnings = document["warnings"].as_array().unwrap();
    assert_eq!(warnings.len(), 2, "{warnings:?}");
    for warning in warnings {
        let warning = warning.as_str().unwrap();
        assert!(stderr(&output).contains(warning), "{warning}");
    }
    assert!(warnings[1].as_str().unwrap().starts_with("row 802 (2017-03-11), column A, Pref: the return is -50.0 %"));
    let weights = run(walkforge(&["weights", "--model", "equal_weight", "--data"]).arg(&path));
    assert_eq!(stdout(&weights), "asset,weight\n\"A, Pref\",0.5\nB,0.5\n");
}

#[test]
fn the_check_says_how_an_unusual_file_was_read() {
    let folder = tempfile::tempdir().unwrap();
    let said = |text: &str| {
        let path = folder.path().join("prices.csv");
        std::fs::write(&path, text).unwrap();
        stderr(&run(&mut walkforge(&["data", "check", path.to_str().unwrap()])))
    };
    let rows = |separator: &str, mark: &str| {
        let row = |day: i32| format!("2020-01-{day:02}{separator}10{mark}{day:02}5\n");
        format!("date{separator}A\n{}", (1..20).map(row).collect::<String>())
    };
    assert!(
        said(&rows(";", ",")).contains("1 assets, read with semicolons between cells and commas before decimals; ")
    );
    assert!(said(&rows("\t", ".")).contains("1 assets, read with tabs between cells; "));
    assert!(said(&rows(",", ".")).contains("1 assets; "));
}
