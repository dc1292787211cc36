//! Small cases with results worked by hand: halts, delistings, total losses, short positions, limits under a lag, files
//! with holidays, monthly data. A scripted model holds what a feature plane says.

use std::fs;
use std::path::Path;

use jiff::civil::{Date, date};
use walkforge::{Experiment, MetricValue, Panel, PanelKind, Run, Runtime, register};

use crate::common::panels::{letters, random_walks, weekdays, weekdays_before};
use crate::common::process::{refused, run, stdout, walkforge};
use crate::common::search;

/// A model whose weights are the last row of the feature `target`.
mod scripted {
    use walkforge_plugin::{Context, Error, Estimator, Past, Requirements, Settings, export_estimator};

    pub(super) struct Scripted;

    impl Estimator for Scripted {
        const DESCRIPTION: &'static str =
            r#"{"name": "scripted", "version": "1", "kind": "estimator", "doc": "reads its weights", "settings": []}"#;
        const FITS: bool = false;

        fn create(_settings: &Settings, _context: Context) -> Result<Self, Error> {
            Ok(Self)
        }

        fn requirements(&self) -> Requirements {
            Requirements { lookback: 1, min_history: 0 }
        }

        fn weights(&self, past: &Past, out: &mut [f64]) -> Result<(), Error> {
            let target = past.features[0].values;
            out.copy_from_slice(&target[target.len() - out.len()..]);
            // What an asset that may not be held would get goes to the others.
            let sum: f64 = out.iter().sum();
            for weight in out.iter_mut() {
                *weight /= sum;
            }
            Ok(())
        }
    }

    export_estimator!(wf_plugin_init_scripted, Scripted);
}

const NAN: f64 = f64::NAN;

/// A case: three assets at a constant price of 100 on the weekdays of 2018 and 2019, tested from June 2018 on.
struct Case {
    prices: Vec<[f64; 3]>,
    targets: Vec<[f64; 3]>,
    settings: Vec<String>,
}

fn days() -> Vec<Date> {
    weekdays_before(date(2019, 12, 31))
}

/// The row of the last trading date of January 2019.
fn month_end() -> usize {
    days().iter().position(|day| *day == date(2019, 1, 31)).unwrap()
}

impl Case {
    fn new(target: [f64; 3]) -> Self {
        let rows = days().len();
        Self {
            prices: vec![[100.0; 3]; rows],
            targets: vec![target; rows],
            settings: vec!["portfolio.cost_bps=0".to_owned()],
        }
    }

    fn set(mut self, settings: &[&str]) -> Self {
        self.settings.extend(settings.iter().map(|&setting| setting.to_owned()));
        self
    }

    /// Sets the price of the first asset on some rows.
    fn price(mut self, rows: impl Iterator<Item = usize>, price: f64) -> Self {
        rows.for_each(|row| self.prices[row][0] = price);
        self
    }

    fn from(self, row: usize, price: f64) -> Self {
        let end = self.prices.len();
        self.price(row..end, price)
    }

    fn run(self) -> Run {
        let text = "[windows]\ntrain_months = 3\nvalidation_months = 2\ntest_months = 6\nstep_months = 6\n\
                    [[models]]\nname = \"scripted\"\n";
        let experiment = Experiment::from_toml(text, "".into(), &self.settings).unwrap();
        let panel = Panel::from_arrays(PanelKind::Prices, days(), &letters(3), self.prices.as_flattened()).unwrap();
        let panel = panel.with_feature("target", self.targets.as_flattened()).unwrap();
        // SAFETY: the function is the plugin's entry.
        let plugin = unsafe { register(scripted::wf_plugin_init_scripted, "scripted") }.unwrap();
        let search = search([("scripted", plugin)]);
        let mut run = Run::new(experiment, panel, &Runtime::new(search, 1).unwrap()).unwrap();
        while run.progress().done < run.windows.len() {
            run.step().unwrap();
        }
        run
    }

    /// The total return of the scripted model.
    fn total(self) -> f64 {
        self.run().paths[1].net.iter().map(|net| 1.0 + net).product::<f64>() - 1.0
    }
}

#[track_caller]
fn close(found: f64, expected: f64) {
    assert!((found - expected).abs() < 1e-12, "found {found}, expected {expected}");
}

#[test]
fn a_halt_loses_its_move_to_whoever_holds_it() {
    let (third, end) = ([1.0 / 3.0; 3], month_end());
    // A third of the wealth loses 60 %: a halt within a month, one over its end, one on its last day, and one that
    // began before the asset was bought.
    for (halt, settings) in [
        (end - 10..end - 5, &[][..]),
        (end - 5..end + 4, &[]),
        (end - 5..end + 4, &["data.stale_rows=20"]),
        (end..end + 1, &[]),
        (end - 5..end + 4, &["portfolio.execution_lag=1"]),
    ] {
        let reopens = halt.end;
        close(Case::new(third).set(settings).from(reopens, 40.0).price(halt, NAN).total(), -0.2);
    }
}

#[test]
fn a_series_that_ends_becomes_cash_with_the_delisting_return() {
    let (third, end) = ([1.0 / 3.0; 3], month_end());
    close(Case::new(third).from(end - 5, NAN).total(), 0.0);
    close(Case::new(third).set(&["data.delisting_return=-0.3"]).from(end - 5, NAN).total(), -0.1);
    // 21 rows without a price are a month; a halt of 20 is none.
    let halted =
        |rows: usize| Case::new(third).set(&["data.delisting_return=-0.3"]).price(end - 5..end - 5 + rows, NAN);
    close(halted(20).total(), 0.0);
    close(halted(21).total(), -0.1);
}

#[test]
fn a_price_after_a_delisting_is_a_warning_with_the_move_that_was_missed() {
    let end = month_end();
    let case = Case::new([0.5, 0.25, 0.25]).from(end + 30, 700.0).price(end - 5..end + 30, NAN);
    let run = case.run();
    let warning = run.warnings.iter().find(|warning| warning.contains("'scripted': A has a price again")).unwrap();
    // Half of the wealth would have earned 600 %.
    for part in [&days()[end + 30].to_string(), "a return of 3.0000", "raise data.delist_rows from 21"] {
        assert!(warning.contains(part), "{part}: {warning}");
    }
}

#[test]
fn an_order_without_a_price_at_its_execution_stays_in_cash() {
    let end = month_end();
    let mut case = Case::new([0.0, 0.5, 0.5]).set(&["portfolio.execution_lag=1"]).from(end + 1, NAN);
    case.targets[end..].fill([0.8, 0.1, 0.1]);
    let run = case.run();
    let ordered = run.targets[1].iter().find(|target| target.row == end).unwrap();
    assert_eq!(ordered.weights, [0.8, 0.1, 0.1]);
    let at = run.paths[1].rows.iter().position(|row| *row == end + 2).unwrap();
    // B and C are sold from a half to a tenth, and nothing is bought.
    close(run.paths[1].turnover[at], 0.4);
    // The next decision is about members alone.
    let next = run.targets[1].iter().find(|target| target.row > end).unwrap();
    assert_eq!(next.weights, [0.0, 0.5, 0.5]);
    close(run.paths[1].turnover[run.paths[1].rows.iter().position(|row| *row == next.row + 2).unwrap()], 0.4);
}

#[test]
fn a_total_loss_ends_the_path_and_half_of_one_does_not() {
    let end = month_end();
    let all = Case::new([1.0, 0.0, 0.0]).from(end, 1e-300).run();
    assert_eq!((all.paths[1].net.last(), all.paths[1].rows.last()), (Some(&-1.0), Some(&end)));
    let half = Case::new([0.5, 0.25, 0.25]).from(end, 1e-300);
    close(half.total(), -0.5);
}

#[test]
fn a_short_position_loses_what_its_asset_gains_and_more_than_everything_is_everything() {
    let (end, short) = (month_end(), ["portfolio.long_only=false"]);
    // Of 1 each, -1 in A: half more is a loss of 50 %, three times as much would be 200 %.
    close(Case::new([-1.0, 1.0, 1.0]).set(&short).from(end, 150.0).run().paths[1].net.iter().sum(), -0.5);
    let lost = Case::new([-1.0, 1.0, 1.0]).set(&short).from(end, 300.0).run();
    assert_eq!((lost.paths[1].net.last(), lost.paths[1].rows.last()), (Some(&-1.0), Some(&end)));
    let MetricValue::Number(drawdown) = lost.metric(1, "max_drawdown").unwrap() else { panic!() };
    close(drawdown, -1.0);
}

/// Targets that change sides every day.
fn alternating(mut case: Case) -> Case {
    for (row, target) in case.targets.iter_mut().enumerate() {
        *target = if row % 2 == 0 { [1.0, 0.0, 0.0] } else { [0.0, 1.0, 0.0] };
    }
    case
}

#[test]
fn a_turnover_limit_holds_under_any_lag() {
    let limit = ["portfolio.rebalance=daily", "portfolio.max_turnover=0.1"];
    for lag in ["portfolio.execution_lag=0", "portfolio.execution_lag=1", "portfolio.execution_lag=2"] {
        let run = alternating(Case::new([1.0, 0.0, 0.0])).set(&limit).set(&[lag]).run();
        let turnover = &run.paths[1].turnover;
        close(turnover[0], 0.5);
        assert!(turnover[1..].iter().all(|turnover| *turnover < 0.1 + 1e-12), "{lag}: {turnover:?}");
        assert!(turnover.iter().filter(|turnover| (**turnover - 0.1).abs() < 1e-12).count() > 300, "{lag}");
        assert!(run.changes[1].iter().all(|(_, change)| change.rule != "turnover_beyond"), "{lag}");
    }
}

#[test]
fn what_drift_adds_to_a_limited_turnover_under_a_lag_is_listed() {
    let mut case = alternating(Case::new([1.0, 0.0, 0.0])).set(&[
        "portfolio.rebalance=daily",
        "portfolio.max_turnover=0.1",
        "portfolio.execution_lag=1",
    ]);
    for (row, price) in case.prices.iter_mut().enumerate() {
        price[0] = if row % 7 < 3 { 100.0 } else { 110.0 };
    }
    let run = case.run();
    let path = &run.paths[1];
    let listed: Vec<(usize, f64)> = run.changes[1]
        .iter()
        .filter(|(_, change)| change.rule == "turnover_beyond")
        .map(|(row, change)| (*row, change.moved))
        .collect();
    // A decision is executed a row later and charged on the one after that; the first purchase has no limit.
    let beyond = path.rows.iter().zip(&path.turnover).skip(1).filter(|(_, turnover)| **turnover > 0.1 + 1e-12);
    let expected: Vec<(usize, f64)> = beyond.map(|(row, turnover)| (row - 2, turnover - 0.1)).collect();
    assert!(expected.len() > 20, "{}", expected.len());
    assert_eq!(listed.len(), expected.len());
    for (found, expected) in listed.iter().zip(&expected) {
        assert_eq!(found.0, expected.0);
        close(found.1, expected.1);
    }
}

/// Writes prices to a CSV file; NaN is an empty cell.
fn write(path: &Path, days: &[Date], names: &[String], prices: &[f64]) {
    let mut lines = vec![format!("date,{}", names.join(","))];
    for (day, row) in days.iter().zip(prices.chunks(names.len())) {
        let cells: Vec<String> =
            row.iter().map(|price| if price.is_nan() { String::new() } else { format!("{price:?}") }).collect();
        lines.push(format!("{day},{}", cells.join(",")));
    }
    fs::write(path, lines.join("\n") + "\n").unwrap();
}

#[test]
fn rows_without_any_value_change_no_result() {
    let scratch = tempfile::tempdir().unwrap();
    let (all, names) = (weekdays_before(date(2019, 12, 31)), letters(4));
    let prices = random_walks(4, 1.0002, all.len(), 4);
    // Good Friday of 2018 is the last weekday of March; the last row of the file is empty too.
    let is_holiday = |day: &Date| *day == date(2018, 3, 30) || day.day() == 17 || *day == all[all.len() - 1];
    let (mut kept, mut values, mut emptied) = (Vec::new(), Vec::new(), Vec::new());
    for (day, row) in all.iter().zip(prices.chunks(4)) {
        if is_holiday(day) {
            emptied.extend([NAN; 4]);
        } else {
            kept.push(*day);
            values.extend(row);
            emptied.extend(row);
        }
    }
    write(&scratch.path().join("trading.csv"), &kept, &names, &values);
    write(&scratch.path().join("business.csv"), &all, &names, &emptied);
    let results = |data: &str| {
        let text = format!(
            "[data]\nprices = \"{data}.csv\"\n[windows]\ntrain_months = 1\nvalidation_months = 1\ntest_months = 3\n\
             step_months = 3\n[[models]]\nname = \"hrp\"\n[models.settings]\nlookback = 40\n"
        );
        fs::write(scratch.path().join("experiment.toml"), text).unwrap();
        run(walkforge(&["run", "experiment.toml", "--out", data]).current_dir(scratch.path()));
        ["weights.csv", "returns.csv"].map(|file| fs::read_to_string(scratch.path().join(data).join(file)).unwrap())
    };
    let trading = results("trading");
    assert_eq!(trading, results("business"));
    assert!(trading[0].contains("2018-03-29") && !trading[0].contains("2018-03-30"));
    let found = run(&mut walkforge(&["data", "check", scratch.path().join("business.csv").to_str().unwrap()]));
    assert_eq!(stdout(&found).matches("empty_row").count(), all.len() - kept.len());
}

#[test]
fn monthly_data_are_annualised_by_twelve() {
    let scratch = tempfile::tempdir().unwrap();
    let names = letters(4);
    // The last weekday of each month of 20 years.
    let all: Vec<Date> = weekdays(date(2000, 1, 1)).take_while(|day| day.year() < 2020).collect();
    let ends: Vec<Date> =
        all.windows(2).filter(|pair| pair[0].month() != pair[1].month()).map(|pair| pair[0]).collect();
    let prices: Vec<f64> = random_walks(5, 1.008, ends.len(), 4).into_iter().collect();
    write(&scratch.path().join("monthly.csv"), &ends, &names, &prices);
    let text = "[data]\nprices = \"monthly.csv\"\n[[models]]\nname = \"hrp\"\n[models.settings]\nlookback = 36\n";
    fs::write(scratch.path().join("experiment.toml"), text).unwrap();
    run(walkforge(&["run", "experiment.toml", "--out", "out"]).current_dir(scratch.path()));
    let read = |file: &str| fs::read_to_string(scratch.path().join("out").join(file)).unwrap();
    let document: serde_json::Value = serde_json::from_str(&read("run.json")).unwrap();
    assert_eq!(document["data"]["periods_per_year"], 12.0);
    let returns = read("returns.csv");
    let of_hrp = returns.lines().filter(|line| line.split(',').nth(2) == Some("hrp"));
    let net: Vec<f64> = of_hrp.map(|line| line.split(',').nth(5).unwrap().parse().unwrap()).collect();
    let mean = net.iter().sum::<f64>() / net.len() as f64;
    let deviation = (net.iter().map(|net| (net - mean).powi(2)).sum::<f64>() / (net.len() - 1) as f64).sqrt();
    let figure = |name: &str| document["summary"]["hrp"][name].as_f64().unwrap();
    close(figure("sharpe"), mean / deviation * 12_f64.sqrt());
    close(figure("volatility"), deviation * 12_f64.sqrt());
    // A look-back for daily data is longer than the file is: the message names both settings, before anything is computed.
    let daily = text.replace("lookback = 36", "lookback = 756");
    fs::write(scratch.path().join("daily.toml"), daily).unwrap();
    let mut command = walkforge(&["run", "daily.toml", "--out", "daily"]);
    refused(
        command.current_dir(scratch.path()),
        "lower models.hrp.settings.lookback, or lower models.hrp.settings.min_history",
    );
    let file = scratch.path().join("monthly.csv");
    let mut command = walkforge(&["weights", "--model", "hrp", "--data", file.to_str().unwrap()]);
    refused(&mut command, "none is a member with 378 finite returns in the 239 rows up to it; lower model.lookback or");
}

#[test]
fn cash_that_grows_evenly_is_refused_or_excluded_by_hrp() {
    let scratch = tempfile::tempdir().unwrap();
    let (all, names) = (weekdays_before(date(2018, 6, 30)), ["A", "B", "CASH"].map(str::to_owned));
    let walks = random_walks(6, 1.0, all.len(), 2);
    let prices: Vec<f64> = (0..all.len())
        .flat_map(|row| [walks[2 * row], walks[2 * row + 1], 100.0 * 1.0001_f64.powi(row as i32)])
        .collect();
    let file = scratch.path().join("cash.csv");
    write(&file, &all, &names, &prices);
    let set = ["--set", "model.lookback=60", "--set"];
    let weights = |last: &str| {
        let data = ["weights", "--model", "hrp", "--data", file.to_str().unwrap()];
        walkforge(&[&data[..], &set, &[last]].concat())
    };
    refused(&mut weights("model.zero_variance=error"), "the returns of CASH do not vary over 60 rows");
    let found = stdout(&run(&mut weights("model.zero_variance=exclude")));
    assert!(found.contains("CASH,0.0\n"), "{found}");
}

#[test]
fn markets_with_their_own_holidays_need_pairs() {
    let scratch = tempfile::tempdir().unwrap();
    let (all, names) = (weekdays_before(date(2020, 12, 31)), letters(24));
    let mut prices = random_walks(7, 1.0, all.len(), 24);
    // Each market is closed on days of its own, eleven or so a year: on nearly every day one of them is.
    for (cell, price) in prices.iter_mut().enumerate() {
        if (cell / 24 + cell % 24) % 23 == 0 {
            *price = NAN;
        }
    }
    let file = scratch.path().join("markets.csv");
    write(&file, &all, &names, &prices);
    let weights = |set: &[&str]| {
        let set: Vec<&str> = set.iter().flat_map(|set| ["--set", set]).collect();
        walkforge(&[&["weights", "--model", "hrp", "--data", file.to_str().unwrap()][..], &set].concat())
    };
    let expected = "0 of 756 rows have a return for each of 24 assets; at least min_history = 378 are needed, or missing = \
                    \"pairwise\", which uses the rows that each pair has in common";
    refused(&mut weights(&[]), expected);
    let found = stdout(&run(&mut weights(&["model.missing=pairwise"])));
    assert_eq!(found.lines().skip(1).filter(|line| !line.ends_with(",0.0")).count(), 24, "{found}");
}
