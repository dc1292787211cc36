//! One schedule for the whole experiment: where decisions are due depends on calendar and settings, not on where windows
//! begin or the file does.

use jiff::civil::{Date, date};
use walkforge::{Experiment, Panel, PluginSearch, Run, Runtime};

use crate::common::panels::stocks;

/// A finished run of equal weight on the example prices.
fn run_on(panel: Panel, overrides: &[&str]) -> Run {
    let overrides: Vec<String> = overrides.iter().map(|&entry| entry.to_owned()).collect();
    let experiment = Experiment::from_toml("", "".into(), &overrides).unwrap();
    let mut run = Run::new(experiment, panel, &Runtime::new(PluginSearch::default(), 1).unwrap()).unwrap();
    while run.progress().done < run.windows.len() {
        run.step().unwrap();
    }
    run
}

fn decided(run: &Run) -> Vec<Date> {
    run.targets[0].iter().map(|target| run.panel.dates()[target.row]).collect()
}

/// The rows of a panel from `first` on, as a panel of prices.
fn from_row(panel: &Panel, first: usize) -> Panel {
    let dates = panel.dates()[first..].to_vec();
    let assets = panel.assets().to_vec();
    let mut prices = vec![100.0; assets.len()];
    let mut values = Vec::with_capacity(dates.len() * assets.len());
    for row in first..panel.dates().len() {
        for (price, earned) in prices.iter_mut().zip(panel.returns(row)) {
            *price *= 1.0 + if row > first && earned.is_finite() { *earned } else { 0.0 };
            values.push(*price);
        }
    }
    Panel::from_arrays(walkforge::PanelKind::Prices, dates, &assets, &values).unwrap()
}

const MONTHLY_WINDOWS: [&str; 3] = ["windows.start=2008-01-01", "windows.test_months=1", "windows.step_months=1"];

#[test]
fn quarterly_stays_quarterly_where_a_window_begins_each_month() {
    let overrides =
        |rebalance: &'static str, lag: &'static str| [MONTHLY_WINDOWS.as_slice(), &[rebalance, lag]].concat();
    for (rebalance, lag, decisions, never_held) in [
        ("portfolio.rebalance=quarterly", "portfolio.execution_lag=0", 44, 88),
        // The first decision of all, then the quarters: with a lag the first is a day before the end of its quarter.
        ("portfolio.rebalance=quarterly", "portfolio.execution_lag=1", 45, 88),
        ("portfolio.rebalance=monthly", "portfolio.execution_lag=0", 132, 0),
        ("portfolio.rebalance=monthly", "portfolio.execution_lag=1", 133, 0),
    ] {
        let run = run_on(stocks(), &overrides(rebalance, lag));
        assert_eq!((run.windows.len(), decided(&run).len()), (132, decisions), "{rebalance} {lag}");
        let never = run.stitched.never_held();
        assert_eq!(never.len(), never_held, "{rebalance} {lag}");
        let said = run.warnings.iter().filter(|warning| warning.contains("88 of 132 windows own no row")).count();
        assert_eq!(said, usize::from(never_held > 0), "{:?}", run.warnings);
        let held: std::collections::BTreeSet<usize> = run.targets[0].iter().map(|target| target.window).collect();
        assert!(never.iter().all(|window| !held.contains(window)) && held.len() + never.len() == 132);
    }
}

#[test]
fn a_lag_adds_the_first_decision_and_no_other() {
    for (lag, decisions) in [("portfolio.execution_lag=0", 132), ("portfolio.execution_lag=3", 133)] {
        let run = run_on(stocks(), &["windows.start=2008-01-01", lag]);
        let dates = decided(&run);
        assert_eq!((run.windows.len(), dates.len()), (11, decisions), "{lag}");
        // Around the turn of a year, where a window begins, there is one decision.
        let turn = dates.iter().filter(|day| (date(2012, 12, 10)..date(2013, 1, 10)).contains(day)).count();
        assert_eq!(turn, 1, "{lag}");
    }
}

#[test]
fn a_number_of_rows_counts_from_the_first_decision_wherever_the_file_begins() {
    let panel = stocks();
    let first = panel.dates().iter().position(|day| day.year() == 2008).unwrap();
    let overrides = ["windows.start=2008-02-01", "portfolio.rebalance=21", "portfolio.execution_lag=1"];
    let whole = run_on(from_row(&panel, first), &overrides);
    let expected = decided(&whole);
    let rows: Vec<usize> = whole.targets[0].iter().map(|target| target.row).collect();
    assert!(rows.windows(2).all(|pair| pair[1] - pair[0] == 21) && rows.len() > 100, "{rows:?}");
    assert_eq!(rows[0] + 2, whole.windows[0].test.rows.start);
    for cut in [1, 7] {
        assert_eq!(decided(&run_on(from_row(&panel, first + cut), &overrides)), expected, "{cut} rows less");
    }
}
