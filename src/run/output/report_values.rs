//! The values and facts that the report shows of a run. The report itself decides how they look.

use std::fmt::Write as _;
use std::ops::Range;

use serde_json::Value as Json;

use crate::panel::{Panel, PanelKind, UniverseSource};
use crate::report::{
    ComparisonValues, ConstraintValues, CurrentValues, HoldingValues, Integrity, ModelValues, RebalanceValues,
    ReportValues, TradingEvent, TradingValues, TrainingValues, WindowSpan,
};
use crate::run::document::{AssetEvent, CurrentEntry, TradingEntry};
use crate::run::output::current::current;
use crate::run::output::run_json::{group_by_rule, run_identity, total_moved, train_sharpe};
use crate::run::output::trading::trading;
use crate::run::runner::{Run, Target};
use crate::run::scores::Scores;
use crate::settings::Choice as _;
use crate::train::{StopReason, TrainingHistory};

/// Everything that the report of a run shows.
pub(in crate::run) fn report_values(run: &Run, scores: &Scores) -> ReportValues {
    let panel = &run.panel;
    let day = |row: usize| panel.dates()[row];
    let days = run.stitched.rows.iter().map(Range::len).sum();
    let models = run.models.iter().enumerate().map(|(model, entry)| {
        let rebalance = |target: &Target| RebalanceValues {
            date: day(target.row),
            weights: panel.output_order().iter().map(|&column| target.weights[column]).collect(),
        };
        // Where everything is lost nothing more is earned; where a model ended there is no more to show.
        let rest = if run.ended[model].is_some() { f64::NAN } else { 0.0 };
        let total = &scores.total[model];
        ModelValues {
            name: entry.name.clone(),
            net: padded(&run.paths[model].net, days, rest),
            turnover: padded(&run.paths[model].turnover, days, rest),
            rebalances: run.targets[model].iter().map(rebalance).collect(),
            total: total.metrics.clone(),
            drawdowns: scores.drawdowns[model].clone(),
            current: current(run, model).map(current_values),
            calendar: scores.calendar[model].clone(),
            comparison: scores.comparisons[model]
                .map(|found| ComparisonValues { difference: found.difference, adjusted_p: found.adjusted_p }),
            windows: scores.windows[model].iter().map(|window| window.held.clone()).collect(),
            changes: group_by_rule(&total.changes)
                .into_iter()
                .map(|(rule, entries)| {
                    let (row, largest) =
                        entries.iter().fold((0, f64::MIN), |most, entry| if entry.1 > most.1 { *entry } else { most });
                    ConstraintValues {
                        rule,
                        decisions: entries.len(),
                        moved: total_moved(&entries),
                        largest: (day(row), largest),
                    }
                })
                .collect(),
            trading: TradingValues { sentence: describe_trading(run, model), events: trading_events(run, model) },
            overfitting: scores.overfitting[model].clone(),
            training: run.results[model]
                .iter()
                .filter_map(|window| window.training.as_ref())
                .map(|history| training(history, train_sharpe(run, model, history)))
                .collect(),
        }
    });
    let windows = run.windows.iter().zip(&run.stitched.rows).map(|(window, stitched)| WindowSpan {
        stitched: (day(stitched.start), day(stitched.end - 1)),
        test: (day(window.test.rows.start), day(window.test.rows.end - 1)),
    });
    ReportValues {
        facts: facts(run),
        identity: identity(run),
        periods_per_year: run.conventions.periods_per_year,
        days: run.stitched.rows.iter().flat_map(|rows| rows.clone().map(day)).collect(),
        windows: windows.collect(),
        assets: panel.output_order().iter().map(|&column| panel.assets()[column].clone()).collect(),
        models: models.collect(),
        integrity: integrity(run),
    }
}

/// Everything that identifies the run in `run.json`, as names and values.
fn identity(run: &Run) -> Vec<(String, String)> {
    let mut out = Vec::new();
    flatten("", &Json::Object(run_identity(run)), &mut out);
    out
}

/// The values of a document by the path of their names; an element of a list that has a name goes by it.
fn flatten(path: &str, value: &Json, out: &mut Vec<(String, String)>) {
    let join = |key: &str| if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
    match value {
        Json::Object(map) => map.iter().for_each(|(key, value)| flatten(&join(key), value, out)),
        Json::Array(list) if list.iter().any(Json::is_object) => {
            for (index, value) in list.iter().enumerate() {
                let name = value["name"].as_str().map_or_else(|| index.to_string(), str::to_owned);
                flatten(&join(&name), value, out);
            }
        }
        Json::String(text) => out.push((path.to_owned(), text.clone())),
        other => out.push((path.to_owned(), other.to_string())),
    }
}

/// The current portfolio, as the report shows it.
fn current_values(entry: CurrentEntry) -> CurrentValues {
    CurrentValues {
        date: entry.date,
        decided: entry.decided,
        executed: entry.executed,
        risk_rows: entry.risk_rows,
        undefined: entry.undefined,
        holdings: entry
            .holdings
            .into_iter()
            .map(|held| HoldingValues { asset: held.asset, weight: held.weight, traded: held.traded, risk: held.risk })
            .collect(),
    }
}

/// The training history of a network in one window.
fn training(history: &TrainingHistory, train_sharpe: Option<Vec<f64>>) -> TrainingValues {
    TrainingValues {
        loss: history.epochs.iter().map(|epoch| epoch.loss).collect(),
        train_sharpe,
        validation: history.epochs.iter().map(|epoch| epoch.validation).collect(),
        best_epoch: history.best_epoch as usize,
        by_clock: history.ended == StopReason::MaxSeconds,
        ended: match history.ended {
            StopReason::MaxEpochs => "epoch limit",
            StopReason::EarlyStop => "early stopping",
            StopReason::MaxSeconds => "time limit",
            StopReason::Diverged => "divergence",
        },
        samples: history.samples,
        batch: history.batch,
        micro_batch: history.micro_batch,
        recompute: history.recompute,
        seeds: history.seeds.iter().map(|seed| seed.validation).collect(),
        stack: history.stack,
        loss_scale: history.loss_scale,
        skipped: history.epochs.iter().map(|epoch| epoch.skipped as usize).sum(),
        parameters: history.parameters,
        planned_bytes: history.planned_bytes,
        measured_bytes: history.measured_bytes,
    }
}

/// A series over all out-of-sample days: `rest` after a path that ends early.
fn padded(values: &[f64], days: usize, rest: f64) -> Vec<f64> {
    let mut out = values.to_vec();
    out.resize(days, rest);
    out
}

/// What happened to a model's portfolio that its weights do not show, in words; `None` if nothing did.
fn describe_trading(run: &Run, model: usize) -> Option<String> {
    let TradingEntry {
        days_without_price,
        moves_after_gap,
        blocked,
        uninvested,
        delisted,
        relisted,
        sold_without_price,
        without_price_at_end,
        ruined,
    } = trading(run, model);
    let mut out = Vec::new();
    if let Some(day) = ruined {
        out.push(format!("everything was lost on {day}, where its figures end"));
    }
    if let Some(ended) = &run.ended[model] {
        let first = run.windows[ended.window].test.start;
        out.push(format!("its path ends before the test span from {first}, with its figures: {}", ended.error));
    }
    if days_without_price > 0 || moves_after_gap > 0 {
        out.push(format!(
            "{days_without_price} asset-days held without a price, each with a return of 0; {moves_after_gap} price moves \
             across a gap, earned on the day the price came back"
        ));
    }
    if !blocked.is_empty() {
        let most = uninvested.iter().map(|(_, share)| *share).fold(0.0, f64::max);
        out.push(format!(
            "{} orders for assets without a price were not executed; at most {:.1} % of wealth stayed in cash for it",
            blocked.len(),
            most * 100.0
        ));
    }
    for (count, text) in [
        (delisted.len(), "series ended and were turned to cash"),
        (relisted.len(), "of them had a price again later: raise data.delist_rows to keep such assets"),
        (sold_without_price.len(), "sold at their last price before a gap between test spans"),
        (without_price_at_end.len(), "held at the end without a price there, at their last price"),
    ] {
        if count > 0 {
            out.push(format!("{count} {text}"));
        }
    }
    (!out.is_empty()).then(|| out.join("; "))
}

/// Orders that were not executed, series that ended, and what has no price at the end, by day.
fn trading_events(run: &Run, model: usize) -> Vec<TradingEvent> {
    let entry = trading(run, model);
    let events = |what, list: Vec<AssetEvent>| {
        let event = move |AssetEvent { date, asset, weight }: AssetEvent| TradingEvent { date, asset, what, weight };
        list.into_iter().map(event)
    };
    let blocked = entry.blocked.into_iter().map(|AssetEvent { date, asset, weight }| {
        let what = if weight > 0.0 { "not bought, no price" } else { "not sold, no price" };
        TradingEvent { date, asset, what, weight: weight.abs() }
    });
    let delisted = entry.delisted.into_iter().map(|gone| TradingEvent {
        date: gone.date,
        asset: gone.asset,
        what: "delisted, turned to cash",
        weight: gone.weight,
    });
    let at_end = entry.without_price_at_end.into_iter().map(|held| TradingEvent {
        date: held.last_price.unwrap_or_default(),
        asset: held.asset,
        what: "last price; held until the end",
        weight: held.weight,
    });
    let mut out: Vec<TradingEvent> = blocked
        .chain(delisted)
        .chain(events("has a price again; return that was not earned", entry.relisted))
        .chain(events("sold at its last price before a gap", entry.sold_without_price))
        .chain(at_end)
        .collect();
    out.sort_by(|one, two| (&one.date, &one.asset).cmp(&(&two.date, &two.asset)));
    out
}

/// What the run recorded about the rows that models were shown.
fn integrity(run: &Run) -> Integrity {
    let windows = || run.results.iter().flatten();
    let decisions = || windows().flat_map(|window| &window.shown.decisions);
    Integrity {
        decisions: decisions().count(),
        latest_offset: decisions().map(|(row, highest)| *highest as i64 - *row as i64).max().unwrap_or(0),
        fits: windows().filter(|window| window.fits).count(),
    }
}

/// The conditions under which the figures were computed, as name and value.
fn facts(run: &Run) -> Vec<(String, String)> {
    let (experiment, panel) = (&run.experiment, &run.panel);
    let settings = &experiment.windows;
    let (dates, assets) = (panel.dates(), panel.assets().len());
    let span = match dates {
        [first, .., last] => format!("{first} to {last}, {} dates", dates.len()),
        _ => format!("{} date", dates.len()),
    };
    let scheme = settings.scheme.name();
    let never_held = match run.stitched.never_held().len() {
        0 => String::new(),
        never => format!("; {never} of them own no scheduled rebalance and are never held"),
    };
    let gaps: Vec<String> =
        run.stitched.gaps().iter().map(|rows| format!("{} to {}", dates[rows.start], dates[rows.end - 1])).collect();
    let gaps =
        if gaps.is_empty() { String::new() } else { format!("; nothing is held over the gaps {}", gaps.join(", ")) };
    let skipped: Vec<String> =
        run.skipped.iter().map(|test| format!("{} to before {}", test.start, test.end)).collect();
    let skipped = if skipped.is_empty() {
        String::new()
    } else {
        format!("; skipped, as their test spans have no date: {}", skipped.join(", "))
    };
    let open = match run.windows.last().filter(|window| !window.is_complete(dates)) {
        None => String::new(),
        Some(last) => format!("; the last test span ends before {} and is not complete", last.test.end),
    };
    let models: Vec<String> = run
        .models
        .iter()
        .map(|model| {
            let (name, plugin, version) = (&*model.name, model.plugin(), model.version());
            if name == plugin { format!("{name} {version}") } else { format!("{name} ({plugin} {version})") }
        })
        .collect();
    let rebalance = experiment.portfolio.rebalance_text();
    let mut out = vec![
        ("Data", format!("{span}, {assets} {}", if assets == 1 { "asset" } else { "assets" })),
        (
            "Windows",
            format!(
                "{}, {scheme}: {} months of training, {} of validation, {} of test, step {}{never_held}{gaps}{skipped}{open}",
                run.windows.len(),
                settings.train_months,
                settings.validation_months,
                settings.test_months,
                settings.step_months
            ),
        ),
        ("Annualised by", describe_periods(run)),
        ("Universe", describe_universe(panel)),
        (
            "Rebalance",
            if rebalance.parse::<usize>().is_ok() {
                format!("every {rebalance} dates, counted from the first decision")
            } else {
                rebalance.to_owned()
            },
        ),
        ("Execution", describe_lag(experiment.portfolio.execution_lag)),
        ("Costs", describe_costs(run)),
    ];
    if experiment.risk_free != "0" {
        out.push(("Risk-free rate", format!("{}, taken off in Sharpe ratios", experiment.risk_free)));
    }
    let features: Vec<&str> = panel.features().iter().map(|feature| feature.name.as_str()).collect();
    if !features.is_empty() {
        out.insert(4, ("Features", features.join(", ")));
    }
    out.extend(experiment.portfolio.describe());
    out.push(("Models", models.join(", ")));
    out.push(("Computed by", format!("walkforge {}, seed {}", env!("CARGO_PKG_VERSION"), experiment.seed)));
    out.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// The number of rows per year, and where it is from.
fn describe_periods(run: &Run) -> String {
    let from = if run.experiment.periods_per_year.is_some() { "as set" } else { "as read from the dates" };
    format!("{} rows per year, {from}", run.conventions.periods_per_year)
}

/// Which assets may be held.
fn describe_universe(panel: &Panel) -> String {
    let value = match panel.kind() {
        PanelKind::Prices => "price",
        PanelKind::Returns => "return",
    };
    let fresh = match panel.stale_rows() {
        0 => format!("with a {value} on the decision date"),
        rows => format!("with a {value} on the decision date or up to {rows} dates before"),
    };
    let mut out = match panel.universe_source() {
        UniverseSource::Values => format!("assets {fresh}"),
        UniverseSource::Mask => format!("the members on the decision date, as given, {fresh}"),
        UniverseSource::Intervals { assets, intervals, assets_used, .. } => {
            let missing = match assets - assets_used {
                0 => String::new(),
                missing => format!(" ({missing} of them have no data and are never held)"),
            };
            format!(
                "the members on the decision date, out of {assets} assets in {intervals} intervals{missing}, {fresh}"
            )
        }
    };
    let [min, median, max] = panel.member_counts();
    // Writing to a string cannot fail.
    let _ = write!(out, "; {min} to {max} per day, median {median}");
    out
}

/// What trading and holding costs and earns beside returns.
fn describe_costs(run: &Run) -> String {
    let portfolio = &run.experiment.portfolio;
    let mut out = format!("{} basis points of the value bought and sold", portfolio.cost_bps);
    if let Some(file) = &portfolio.asset_costs {
        // Writing to a string cannot fail.
        let _ = write!(out, ", or what {file} gives for an asset");
    }
    for (setting, what) in
        [(&portfolio.borrow_rate, "a year for short positions"), (&portfolio.cash_return, "a year on cash")]
    {
        if setting != "0" {
            let _ = write!(out, "; {setting} {what}");
        }
    }
    out
}

/// When decisions are traded.
fn describe_lag(lag: usize) -> String {
    match lag {
        0 => "decided and traded at the same close (lag 0), held from the next day".to_owned(),
        1 => "decided at a close, traded at the next one (lag 1), held from the day after that".to_owned(),
        _ => format!("decided at a close, traded {lag} closes later (lag {lag}), held from the day after that"),
    }
}
