//! The look-ahead audit: four planted leaks are caught, with the right date; honest pipelines and plugins pass.

use std::sync::Mutex;

use jiff::civil::{Date, date};
use walkforge::internals::run::{Pipeline, WindowDecisions};
use walkforge::internals::windows::decisions;
use walkforge::{
    Audit, Decision, Experiment, Membership, Panel, PanelKind, Rebalance, Run, Runtime, Window, register, windows,
};

use crate::common::panels::{letters, random_walks, weekdays_before};
use crate::common::{hrp, search};

/// Prices of five assets on the weekdays of four years; one asset leaves the universe.
fn panel() -> Panel {
    let (days, names) = (weekdays_before(date(2021, 12, 31)), letters(5));
    let values = random_walks(17, 1.0, days.len(), names.len());
    let mut membership = Membership::default();
    for name in &names {
        membership.add(name, date(2018, 1, 1), if name == "E" { date(2021, 3, 31) } else { Date::MAX });
    }
    Panel::from_arrays(PanelKind::Prices, days, &names, &values).unwrap().with_membership(&membership)
}

const EXPERIMENT: &str = "[windows]\ntrain_months = 12\nvalidation_months = 3\ntest_months = 3\nstep_months = 3\n";

fn cut(panel: &Panel) -> Vec<Window> {
    let experiment = Experiment::from_toml(EXPERIMENT, "".into(), &[]).unwrap();
    windows(panel.dates(), &experiment.windows).unwrap()
}

fn test_rows(panel: &Panel, window: &Window) -> Vec<usize> {
    let dates = panel.dates();
    let due = |row: usize| Rebalance::Monthly.is_decision(row, dates[row], dates.get(row + 1).copied());
    decisions(window.test.rows.clone(), 0, due).unwrap()
}

/// Audits a function that gives weights, `[assets]`, for each test decision of a window.
fn audited(panel: &Panel, weigh: &dyn Fn(&Panel, &Window, usize) -> Vec<f64>) -> Audit {
    let windows = cut(panel);
    let decide = |panel: &Panel, _model: usize, window: usize| {
        let window = &windows[window];
        let decided = test_rows(panel, window).into_iter().map(|row| Decision {
            row,
            target: weigh(panel, window, row),
            shown: vec![true; panel.assets().len()],
            scores: None,
        });
        WindowDecisions { decisions: decided.collect(), failed: None }
    };
    let as_decided = |_: &Panel, _: (usize, usize), decisions: &[Decision], _: usize| {
        Ok(decisions.iter().map(|decision| (decision.row, decision.target.clone())).collect())
    };
    let pipeline = Pipeline {
        panel,
        windows: &windows,
        models: 1,
        lag: 0,
        decide: &decide,
        simulate: &as_decided,
        cancelled: &|| false,
    };
    pipeline.audit(1000).unwrap()
}

/// Inverse standard deviations of the returns in `rows`, of the assets in `held`, as weights.
fn inverse_risk(panel: &Panel, rows: std::ops::Range<usize>, held: &[bool]) -> Vec<f64> {
    let raw: Vec<f64> = (0..held.len())
        .map(|asset| {
            let squares: Vec<f64> =
                rows.clone().map(|row| panel.returns(row)[asset]).filter(|v| v.is_finite()).map(|v| v * v).collect();
            let risk = (squares.iter().sum::<f64>() / squares.len().max(1) as f64).sqrt();
            if held[asset] && risk > 0.0 { 1.0 / risk } else { 0.0 }
        })
        .collect();
    let sum: f64 = raw.iter().sum();
    raw.iter().map(|weight| weight / sum.max(f64::MIN_POSITIVE)).collect()
}

#[test]
fn an_honest_pipeline_passes() {
    let panel = panel();
    let audit = audited(&panel, &|panel, window, row| {
        inverse_risk(panel, window.train.rows.start..row + 1, panel.members(row))
    });
    assert_eq!(audit.moved, None);
    assert!(audit.dates >= 20 && audit.compared > 90, "{audit:?}");
}

#[test]
fn a_normaliser_fitted_on_all_data_is_caught_at_the_first_decision() {
    let panel = panel();
    let moved = audited(&panel, &|panel, _, row| inverse_risk(panel, 0..panel.dates().len(), panel.members(row)));
    let moved = moved.moved.unwrap();
    let first = test_rows(&panel, &cut(&panel)[0])[0];
    assert_eq!((moved.row, moved.window, moved.date), (first, 0, panel.dates()[first]));
    assert!(moved.difference > 0.0 && moved.after == moved.date);
}

#[test]
fn a_label_across_the_boundary_is_caught_in_the_window_that_has_it() {
    let panel = panel();
    let windows = cut(&panel);
    let leaky = 3;
    let weigh = |panel: &Panel, window: &Window, row: usize| {
        // The label of the last validation sample reaches one row into the test span.
        let end = window.validation.rows.end + usize::from(window.index == leaky);
        inverse_risk(panel, window.train.rows.start..end, panel.members(row))
    };
    let moved = audited(&panel, &weigh).moved.unwrap();
    let first = test_rows(&panel, &windows[leaky])[0];
    assert_eq!((moved.row, moved.window, moved.date), (first, leaky, panel.dates()[first]));
    // The row that leaked is the one after the decision, so that a change after the decision reveals it.
    assert_eq!(moved.after, panel.dates()[first]);
}

#[test]
fn membership_from_the_future_is_caught_where_it_first_matters() {
    let panel = panel();
    let leaky = |panel: &Panel, window: &Window, row: usize| {
        let members: Vec<bool> =
            (0..5).map(|asset| panel.members(row)[asset] && panel.members(panel.dates().len() - 1)[asset]).collect();
        inverse_risk(panel, window.train.rows.start..row + 1, &members)
    };
    let moved = audited(&panel, &leaky).moved.unwrap();
    let first = test_rows(&panel, &cut(&panel)[0])[0];
    assert_eq!((moved.row, moved.window), (first, 0));
}

/// A plugin that remembers, in a static variable, the last return it was shown for each date.
mod peeking {
    use std::collections::BTreeMap;

    use super::Mutex;
    use walkforge_plugin::{Context, Error, Estimator, Past, Requirements, Settings, export_estimator};

    static SEEN: Mutex<BTreeMap<i32, Vec<(String, f64)>>> = Mutex::new(BTreeMap::new());

    pub(super) struct Peeking;

    impl Estimator for Peeking {
        const DESCRIPTION: &'static str =
            r#"{"name": "peeking", "version": "1", "kind": "estimator", "doc": "cheats", "settings": []}"#;
        const FITS: bool = false;

        fn create(_settings: &Settings, _context: Context) -> Result<Self, Error> {
            Ok(Self)
        }

        fn requirements(&self) -> Requirements {
            Requirements { lookback: 20, min_history: 10 }
        }

        fn weights(&self, past: &Past, out: &mut [f64]) -> Result<(), Error> {
            let mut seen = SEEN.lock().unwrap();
            let assets = past.names.len();
            for (row, &day) in past.dates.iter().enumerate() {
                let returns = past.returns[row * assets..][..assets].iter();
                let named = past.names.iter().map(|&name| name.to_owned());
                seen.insert(day, named.zip(returns.copied()).collect());
            }
            // If tomorrow is known from another call, its best asset gets all weight.
            out.fill(1.0 / assets as f64);
            let today = past.dates[past.dates.len() - 1];
            if let Some((_, tomorrow)) = seen.range(today + 1..today + 5).next() {
                let best = tomorrow.iter().filter(|(_, value)| value.is_finite()).max_by(|a, b| a.1.total_cmp(&b.1));
                if let Some(index) = best.and_then(|(name, _)| past.names.iter().position(|known| known == name)) {
                    out.fill(0.0);
                    out[index] = 1.0;
                }
            }
            Ok(())
        }
    }

    export_estimator!(wf_plugin_init_peeking, Peeking);
}

fn run(panel: &Panel, model: &str) -> Run {
    run_with(panel, model, &[])
}

fn run_with(panel: &Panel, model: &str, overrides: &[&str]) -> Run {
    // SAFETY: the function is the plugin's entry.
    let peeking = unsafe { register(peeking::wf_plugin_init_peeking, "peeking") }.unwrap();
    let search = search([("peeking", peeking), ("hrp", hrp())]);
    let text = format!("{EXPERIMENT}[portfolio]\nmax_turnover = 0.3\n[[models]]\nname = \"{model}\"\n");
    let text = if model == "hrp" { format!("{text}[models.settings]\nlookback = 120\n") } else { text };
    let overrides: Vec<String> = overrides.iter().map(|&entry| entry.to_owned()).collect();
    let experiment = Experiment::from_toml(&text, "".into(), &overrides).unwrap();
    Run::new(experiment, panel.clone(), &Runtime::new(search, 1).unwrap()).unwrap()
}

#[test]
fn a_plugin_that_peeks_through_a_static_is_caught() {
    let panel = panel();
    let run = run(&panel, "peeking");
    let moved = run.audit(1000).unwrap().moved.unwrap();
    // In order, the first window's validation decisions come before anything else was seen. With the windows reversed,
    // the very first decision knows tomorrow.
    let first = run.windows[0].validation.rows.start - 1;
    assert_eq!((moved.row, moved.window, moved.model), (first, 0, 1));
    assert_eq!((moved.date, moved.change), (panel.dates()[first], "order"));
}

#[test]
fn equal_weight_and_hrp_pass_with_members_that_come_and_go() {
    let run = run(&panel(), "hrp");
    let audit = run.audit(1000).unwrap();
    assert_eq!(audit.moved, None);
    assert!(audit.dates >= 20 && audit.compared > 500, "{audit:?}");
}

#[test]
fn with_an_execution_lag_honest_models_pass() {
    for lag in ["portfolio.execution_lag=1", "portfolio.execution_lag=3"] {
        let audit = run_with(&panel(), "hrp", &[lag]).audit(1000).unwrap();
        assert_eq!(audit.moved, None, "{lag}");
        assert!(audit.dates >= 20 && audit.compared > 500, "{audit:?}");
    }
}
