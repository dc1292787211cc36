//! `run.json`: the identity of the run, its scores, what constraints changed, and for each decision the last row that
//! its model was shown. Values are written so that reading them back gives the same double.

use std::fmt::Write as _;
use std::ops::Range;

use serde_json::{Map, Value as Json, json};
use sha2::{Digest as _, Sha256};

use crate::device::memory::peak_bytes;
use crate::evaluate::{CalendarReturns, Drawdown, METRICS, MetricValue, Overfitting, WindowScore};
use crate::panel::{Panel, UniverseSource, hex};
use crate::portfolio::ConstraintChange;
use crate::run::close::EndedModel;
use crate::run::comparison::Comparison;
use crate::run::document::{RESULTS, SCHEMA};
use crate::run::output::current::current;
use crate::run::output::trading::{terms_digest, trading};
use crate::run::runner::Run;
use crate::run::scores::{PathScores, Scores};
use crate::settings::Choice as _;
use crate::train::{Epoch, ReplicaHistory, TrainingHistory};
use crate::windows::Span;

/// The longest line that an object or array is written on.
const MAX_LINE: usize = 120;

/// The identity of a run: library version, data, settings and models. Runs with the same identity have the same
/// results. It is known before anything is computed, so a finished directory of the same run is not computed again.
pub(in crate::run) fn run_identity(run: &Run) -> Map<String, Json> {
    let (panel, day) = (&run.panel, |day: Option<&jiff::civil::Date>| json!(day.map(ToString::to_string)));
    let models: Vec<Json> = run
        .models
        .iter()
        .enumerate()
        .map(|(index, model)| {
            let mut out = json!({
                "name": model.name,
                "plugin": model.plugin(),
                "version": model.version(),
                "sha256": model.sha256(),
                "settings": model.settings(),
            });
            if let Some(mut train) = model.train_settings() {
                train["horizon"] = json!(run.horizon(index));
                out["train"] = train;
            }
            out
        })
        .collect();
    let mut out = Map::new();
    out.insert("schema".to_owned(), json!(SCHEMA));
    out.insert("results".to_owned(), json!(RESULTS));
    out.insert("walkforge".to_owned(), json!(env!("CARGO_PKG_VERSION")));
    let data = json!({
        "sha256": panel.fingerprint(),
        "first_date": day(panel.dates().first()),
        "last_date": day(panel.dates().last()),
        "dates": panel.dates().len(),
        "assets": panel.assets().len(),
        "kind": panel.kind().name(),
        "periods_per_year": run.conventions.periods_per_year,
        "risk_free": risk_free(run),
        "delist_rows": run.execution.terms.delisting.rows,
        "delisting_return": run.experiment.delisting_return,
        "terms_sha256": terms_digest(&run.execution),
        "benchmark_sha256": run.benchmark_execution.index.as_ref().map(|returns| digest(returns)),
        "universe": universe(panel),
        "features": panel.features().iter().map(|feature| &feature.name).collect::<Vec<_>>(),
    });
    out.insert("data".to_owned(), data);
    out.insert("settings".to_owned(), run.experiment.effective());
    out.insert("models".to_owned(), json!(models));
    out
}

/// The risk-free rate as set, with the digest of the returns that it stands for, as a file may change.
fn risk_free(run: &Run) -> Json {
    let returns = &run.conventions.risk_free;
    json!({"setting": run.experiment.risk_free, "sha256": (!returns.is_empty()).then(|| digest(returns))})
}

/// The digest of returns.
fn digest(returns: &[f64]) -> String {
    hex(&Sha256::digest(returns.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>()))
}

/// Which assets may be held, and the source of that information.
fn universe(panel: &Panel) -> Json {
    let [min, median, max] = panel.member_counts();
    let mut out = match panel.universe_source() {
        UniverseSource::Values => json!({"from": "values"}),
        UniverseSource::Mask => json!({"from": "mask"}),
        UniverseSource::Intervals { assets, intervals, assets_used, intervals_used } => json!({
            "from": "membership",
            "assets": assets,
            "intervals": intervals,
            "assets_used": assets_used,
            "intervals_used": intervals_used,
            "assets_without_column": panel.without_values(),
        }),
    };
    out["stale_rows"] = json!(panel.stale_rows());
    out["members"] = json!({"min": min, "median": median, "max": max});
    out
}

/// The whole of `run.json` except `machine`.
pub(in crate::run) fn run_document(run: &Run, scores: &Scores) -> Map<String, Json> {
    let mut out = run_identity(run);
    let summary: Map<String, Json> = run
        .models
        .iter()
        .enumerate()
        .map(|(model, entry)| {
            let total = &scores.total[model];
            let mut summary = metrics(&total.metrics);
            let changes = changes_by_rule(&total.changes, &|row| run.panel.dates()[row].to_string());
            summary.insert("constraints".to_owned(), json!(changes));
            summary.insert("trading".to_owned(), json!(trading(run, model)));
            summary.insert("drawdowns".to_owned(), scores.drawdowns[model].iter().map(drawdown).collect());
            summary.insert("calendar".to_owned(), calendar(&scores.calendar[model]));
            if let Some(EndedModel { window, error }) = &run.ended[model] {
                summary.insert("ended".to_owned(), json!({"window": window, "reason": error.to_string()}));
            }
            if let Some(current) = current(run, model) {
                summary.insert("current".to_owned(), json!(current));
            }
            if let Some(comparison) = &scores.comparisons[model] {
                summary.insert("against_benchmark".to_owned(), against_benchmark(comparison));
            }
            if let Some(found) = &scores.overfitting[model] {
                let peaks = run.results[model].iter().map(|window| window.training.as_ref().and_then(peak_epoch));
                summary.insert("overfitting".to_owned(), monitor(found, &peaks.collect::<Vec<_>>()));
            }
            (entry.name.clone(), Json::Object(summary))
        })
        .collect();
    out.insert("summary".to_owned(), Json::Object(summary));
    out.insert("schedule".to_owned(), schedule(run));
    out.insert("warnings".to_owned(), json!(run.warnings));
    out.insert("windows".to_owned(), (0..run.windows.len()).map(|window| window_entry(run, scores, window)).collect());
    out
}

/// When portfolios are rebalanced.
fn schedule(run: &Run) -> Json {
    let dates = run.panel.dates();
    let day = |row: usize| dates[row].to_string();
    let gap = |rows: &Range<usize>| json!({"start": day(rows.start), "end": day(rows.end - 1), "rows": rows.len()});
    let skipped = |test: &Span| json!({"start": test.start.to_string(), "end": test.end.to_string()});
    json!({
        "first_decision": day(run.schedule.first()),
        "gaps": run.stitched.gaps().iter().map(gap).collect::<Vec<_>>(),
        "never_held": run.stitched.never_held(),
        "skipped": run.skipped.iter().map(skipped).collect::<Vec<_>>(),
    })
}

/// The spans of a window, and the scores and decisions of every model in it.
fn window_entry(run: &Run, scores: &Scores, index: usize) -> Json {
    let (dates, window) = (run.panel.dates(), &run.windows[index]);
    let span = |span: &Span| {
        let dates = &dates[span.rows.clone()];
        let day = |date: Option<&jiff::civil::Date>| date.map(ToString::to_string);
        json!({"start": day(dates.first()), "end": day(dates.last()), "rows": dates.len()})
    };
    let mut models = Map::new();
    for (model, entry) in run.models.iter().enumerate().filter(|(model, _)| !run.has_ended(*model, index)) {
        let (scores, shown) = (&scores.windows[model][index], &run.results[model][index].shown);
        let decisions: Vec<Json> = shown
            .decisions
            .iter()
            .map(|(row, highest)| json!({"as_of": dates[*row].to_string(), "highest_row_shown": highest, "row": row}))
            .collect();
        let changes = |span: &PathScores| json!(changes_by_rule(&span.changes, &|row| dates[row].to_string()));
        let mut out = json!({
            "train": metrics(&scores.train.metrics),
            "validation": metrics(&scores.validation.metrics),
            "test": metrics(&scores.test.metrics),
            "held": metrics(&scores.held),
            "constraints": {
                "train": changes(&scores.train),
                "validation": changes(&scores.validation),
                "test": changes(&scores.test),
            },
            "integrity": {"fit_highest_row_shown": shown.fit, "decisions": decisions},
        });
        if let Some(history) = &run.results[model][index].training {
            out["training"] = training(history);
            if let Some(sharpe) = train_sharpe(run, model, history) {
                out["training"]["epochs"]["train_sharpe"] = json!(sharpe);
            }
        }
        models.insert(entry.name.clone(), out);
    }
    json!({
        "window": window.index,
        "train": span(&window.train),
        "validation": span(&window.validation),
        "test": span(&window.test),
        "complete": window.is_complete(dates),
        "models": models,
    })
}

/// The training history of a network, without computing times.
fn training(history: &TrainingHistory) -> Json {
    let epochs = &history.epochs;
    json!({
        "epochs": {
            "loss": epochs.iter().map(|epoch| epoch.loss).collect::<Vec<_>>(),
            "validation_sharpe": epochs.iter().map(|epoch| epoch.validation).collect::<Vec<_>>(),
            "learning_rate": epochs.iter().map(|epoch| epoch.learning_rate).collect::<Vec<_>>(),
            "skipped": epochs.iter().map(|epoch| epoch.skipped).collect::<Vec<_>>(),
        },
        "ruined_epochs": ruined_epochs(epochs),
        "epochs_run": epochs.len(),
        "best_epoch": history.best_epoch,
        "ended": history.ended.name(),
        "seeds": history.seeds.iter().map(seed).collect::<Vec<_>>(),
        "samples": history.samples,
        "batch": history.batch,
        "micro_batch": history.micro_batch,
        "recompute": history.recompute,
        "stack": history.stack,
        "loss_scale": history.loss_scale,
        "parameters": history.parameters,
        "planned_bytes": history.planned_bytes,
        "measured_bytes": history.measured_bytes,
    })
}

/// The training loss per epoch as a Sharpe ratio per year, before costs: labels cover `horizon` rows. `None` if the loss
/// is not a Sharpe ratio.
pub(in crate::run) fn train_sharpe(run: &Run, model: usize, history: &TrainingHistory) -> Option<Vec<f64>> {
    let train = &run.models[model].train;
    let scale = (run.conventions.periods_per_year / run.horizon(model) as f64).sqrt();
    train.objective.is_sharpe().then(|| history.epochs.iter().map(|epoch| -epoch.loss * scale).collect())
}

/// The epochs, from 1, on whose validation path everything was lost.
fn ruined_epochs(epochs: &[Epoch]) -> Vec<usize> {
    (1..).zip(epochs).filter(|(_, epoch)| epoch.is_ruined).map(|(number, _)| number).collect()
}

fn seed(history: &ReplicaHistory) -> Json {
    let mut out = json!({
        "epochs_run": history.epochs,
        "best_epoch": history.best_epoch,
        "validation_sharpe": history.validation,
        "ended": history.ended.name(),
    });
    if let Some(reason) = &history.divergence {
        out["divergence"] = json!(reason);
    }
    out
}

/// The epoch with the best validation score, counted from 1; `None` if no epoch has one.
fn peak_epoch(history: &TrainingHistory) -> Option<u32> {
    history.epochs.iter().any(|epoch| epoch.validation.is_some()).then_some(history.best_epoch)
}

/// A drawdown of the out-of-sample path.
fn drawdown(fall: &Drawdown) -> Json {
    json!({
        "depth": fall.depth,
        "peak": fall.peak.to_string(),
        "trough": fall.trough.to_string(),
        "recovery": fall.recovery.map(|day| day.to_string()),
        "rows": fall.rows,
    })
}

/// The returns of calendar years and months, as lists of name and return.
fn calendar(returns: &CalendarReturns) -> Json {
    json!({
        "years": returns.years.iter().map(|(year, earned)| json!([year.to_string(), earned])).collect::<Vec<_>>(),
        "months": returns
            .months
            .iter()
            .map(|(year, month, earned)| json!([format!("{year}-{month:02}"), earned]))
            .collect::<Vec<_>>(),
    })
}

/// The difference of the Sharpe ratio from the benchmark's; null with a reason where there is none.
fn against_benchmark(comparison: &Comparison) -> Json {
    match &comparison.difference {
        Ok(found) => json!({
            "sharpe_difference": found.value,
            "standard_error": found.error,
            "interval": found.interval,
            "p": found.p,
            "adjusted_p": comparison.adjusted_p,
        }),
        Err(reason) => json!({
            "sharpe_difference": null,
            "standard_error": null,
            "interval": null,
            "p": null,
            "adjusted_p": null,
            "undefined": reason,
        }),
    }
}

/// The overfitting monitor of a model, with one list element per window.
fn monitor(found: &Overfitting, peaks: &[Option<u32>]) -> Json {
    let json_value =
        |value: MetricValue| if let MetricValue::Number(number) = value { json!(number) } else { Json::Null };
    let list = |field: fn(&WindowScore) -> MetricValue| {
        found.windows.iter().map(|window| json_value(field(window))).collect::<Vec<_>>()
    };
    let mut windows = json!({
        "train_sharpe": list(|window| window.train.model),
        "validation_sharpe": list(|window| window.validation.model),
        "test_sharpe": list(|window| window.test.model),
        "train_excess": list(|window| window.train.excess()),
        "validation_excess": list(|window| window.validation.excess()),
        "test_excess": list(|window| window.test.excess()),
        "gap": list(WindowScore::gap),
    });
    if peaks.iter().any(Option::is_some) {
        windows["peak_epoch"] = json!(peaks);
    }
    let findings: Vec<Json> =
        found.findings.iter().map(|finding| json!({"name": finding.name, "text": finding.text})).collect();
    let mut out = json!({"verdict": found.verdict.name(), "reason": found.reason, "findings": findings});
    let mut reasons = Map::new();
    let [low, high] = found.generalisation_interval;
    for (name, value) in [
        ("mean_train_excess", found.train_excess),
        ("train_excess_standard_error", found.train_error),
        ("mean_test_excess", found.test_excess),
        ("mean_gap", found.gap),
        ("gap_standard_error", found.gap_error),
        ("mean_validation_gap", found.validation_gap),
        ("validation_gap_standard_error", found.validation_gap_error),
        ("kept", found.kept),
        ("generalisation", found.generalisation),
        ("generalisation_low", low),
        ("generalisation_high", high),
    ] {
        out[name] = json_value(value);
        if let MetricValue::Undefined(reason) = value {
            reasons.insert(name.to_owned(), json!(reason));
        }
    }
    out["windows"] = windows;
    out["undefined"] = Json::Object(reasons);
    out
}

/// The value of `machine`: the instruction level, within which bits are equal on all machines, and threads and computing
/// times, which no result depends on.
pub(in crate::run) fn machine_entry(run: &Run, seconds: f64) -> Json {
    let mut training_seconds = Map::new();
    for (entry, windows) in run.models.iter().zip(&run.results) {
        let seconds: Vec<f64> =
            windows.iter().filter_map(|window| window.training.as_ref().map(|training| training.seconds)).collect();
        if !seconds.is_empty() {
            training_seconds.insert(entry.name.clone(), json!(seconds));
        }
    }
    let mut out = json!({"simd": run.simd.name(), "threads": run.threads(), "seconds": seconds});
    if let Some(peak) = peak_bytes() {
        out["peak_bytes"] = json!(peak);
    }
    if !training_seconds.is_empty() {
        out["training_seconds"] = Json::Object(training_seconds);
    }
    out
}

/// Metrics by name: a number, a date, or null if the metric is undefined, with the reason under `undefined`.
fn metrics(values: &[MetricValue]) -> Map<String, Json> {
    let (mut written, mut reasons) = (Map::new(), Map::new());
    for (metric, value) in METRICS.iter().zip(values) {
        let value = match value {
            MetricValue::Number(number) => json!(number),
            MetricValue::Day(day) => json!(day.to_string()),
            MetricValue::Undefined(reason) => {
                reasons.insert(metric.name.to_owned(), json!(reason));
                Json::Null
            }
        };
        written.insert(metric.name.to_owned(), value);
    }
    written.insert("undefined".to_owned(), Json::Object(reasons));
    written
}

/// Per rule: the number of decisions it changed, the total weight it moved (Σ|after − before|), and a list of
/// `[decision date, weight moved]`.
fn changes_by_rule(changes: &[(usize, ConstraintChange)], day: &dyn Fn(usize) -> String) -> Map<String, Json> {
    let mut out = Map::new();
    for (rule, entries) in group_by_rule(changes) {
        let list: Vec<Json> = entries.iter().map(|(row, moved)| json!([day(*row), moved])).collect();
        let entry = json!({"decisions": entries.len(), "moved": total_moved(&entries), "entries": list});
        out.insert(rule.to_owned(), entry);
    }
    out
}

/// Per rule, in the order of their first change: decision rows and the weight moved at each. Several changes by a rule
/// in one decision are summed.
pub(in crate::run) fn group_by_rule(changes: &[(usize, ConstraintChange)]) -> Vec<(&'static str, Vec<(usize, f64)>)> {
    let mut out: Vec<(&'static str, Vec<(usize, f64)>)> = Vec::new();
    for (row, change) in changes {
        let entry = (*row, change.moved);
        match out.iter_mut().find(|(rule, _)| *rule == change.rule) {
            Some((_, list)) => match list.last_mut().filter(|(row, _)| *row == entry.0) {
                Some((_, moved)) => *moved += entry.1,
                None => list.push(entry),
            },
            None => out.push((change.rule, vec![entry])),
        }
    }
    out
}

/// The total weight that a rule moved.
pub(in crate::run) fn total_moved(entries: &[(usize, f64)]) -> f64 {
    entries.iter().map(|(_, moved)| moved).sum()
}

/// Indented JSON, in which an object or array that fits on one line stays on it.
pub(in crate::run) fn pretty_json(value: &Json) -> String {
    let mut out = String::new();
    write_value(value, 0, "", &mut out);
    out.push('\n');
    out
}

/// Writes a value after `key` at an indentation of `depth`.
fn write_value(value: &Json, depth: usize, key: &str, out: &mut String) {
    let flat = value.to_string();
    let (open, close, parts): (char, char, Vec<(String, &Json)>) = match value {
        Json::Object(map) => ('{', '}', map.iter().map(|(key, part)| (format!("{}: ", json!(key)), part)).collect()),
        Json::Array(list) => ('[', ']', list.iter().map(|part| (String::new(), part)).collect()),
        _ => (' ', ' ', Vec::new()),
    };
    if parts.is_empty() || 2 * depth + key.len() + flat.len() <= MAX_LINE {
        out.push_str(&flat);
        return;
    }
    out.push(open);
    for (index, (key, part)) in parts.iter().enumerate() {
        // Writing to a string cannot fail.
        let _ = write!(out, "{}\n{:width$}{key}", if index == 0 { "" } else { "," }, "", width = 2 * depth + 2);
        write_value(part, depth + 1, key, out);
    }
    let _ = write!(out, "\n{:width$}{close}", "", width = 2 * depth);
}

#[cfg(test)]
mod tests {
    use super::{changes_by_rule, metrics, pretty_json};
    use crate::evaluate::{METRICS, MetricValue};
    use crate::portfolio::ConstraintChange;
    use serde_json::{Value as Json, json};

    const CHANGES: [(usize, ConstraintChange); 6] = [
        (3, ConstraintChange { rule: "membership", moved: 0.25 }),
        (3, ConstraintChange { rule: "bounds", moved: 0.25 }),
        (3, ConstraintChange { rule: "min_weight", moved: 0.125 }),
        (3, ConstraintChange { rule: "bounds", moved: 0.25 }),
        (7, ConstraintChange { rule: "bounds", moved: 0.125 }),
        (9, ConstraintChange { rule: "bounds", moved: 0.0 }),
    ];

    #[test]
    fn changes_are_summed_by_rule_and_listed_by_decision() {
        let expected = json!({
            "membership": {"decisions": 1, "moved": 0.25, "entries": [["day 3", 0.25]]},
            "bounds": {"decisions": 3, "moved": 0.625, "entries": [["day 3", 0.5], ["day 7", 0.125], ["day 9", 0.0]]},
            "min_weight": {"decisions": 1, "moved": 0.125, "entries": [["day 3", 0.125]]},
        });
        assert_eq!(json!(changes_by_rule(&CHANGES, &|row| format!("day {row}"))), expected);
        assert_eq!(json!(changes_by_rule(&[], &|row| row.to_string())), json!({}));
    }

    #[test]
    fn an_undefined_metric_is_null_and_has_a_reason() {
        let mut values = vec![MetricValue::Number(0.5); METRICS.len()];
        values[0] = MetricValue::Undefined("the model fits nothing");
        let written = metrics(&values);
        assert_eq!(written.len(), METRICS.len() + 1);
        assert_eq!(written["sharpe"], Json::Null);
        assert_eq!(written["undefined"], json!({"sharpe": "the model fits nothing"}));
        assert_eq!(written["sortino"], json!(0.5));
    }

    #[test]
    fn pretty_json_reads_back_as_the_same_values_and_breaks_only_long_lines() {
        let short = json!({"a": [1, 2.5], "b": "x"});
        assert_eq!(pretty_json(&short), "{\"a\":[1,2.5],\"b\":\"x\"}\n");
        let long: Vec<f64> = (0..60).map(|index| f64::from(index) / 7.0).collect();
        let value = json!({"list": long, "quoted \"key\"": {"empty": {}, "none": []}, "tiny": 5e-324});
        let written = pretty_json(&value);
        assert_eq!(serde_json::from_str::<Json>(&written).unwrap(), value);
        assert!(written.contains("\n  \"quoted \\\"key\\\"\": {\"empty\":{},\"none\":[]},\n"), "{written}");
        assert!(written.lines().all(|line| line.len() <= 122));
        for length in 1..60 {
            let nested = json!({"name": {"name": {"name": vec![17; length]}}});
            let written = pretty_json(&nested);
            assert!(written.lines().all(|line| line.len() <= 121), "{written}");
            assert_eq!(written.lines().count() == 1, nested.to_string().len() <= 120);
        }
    }
}
