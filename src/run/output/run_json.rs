//! `run.json`: what the run was, its scores, what constraints changed, and for every decision the highest row shown.
//! Numbers are written so that reading them back gives the same double.

use std::fmt::Write as _;

use serde_json::{Map, Value as Json, json};

use crate::evaluate::{METRICS, MetricValue, Overfitting, SpanSharpes};
use crate::panel::{Panel, UniverseSource};
use crate::portfolio::ConstraintChange;
use crate::run::runner::Run;
use crate::run::scores::{PriceGaps, Scored, Scores};
use crate::settings::Choice as _;
use crate::train::{ReplicaHistory, TrainingHistory};
use crate::windows::Span;

/// Widest line that keeps a table or list together.
const WIDEST: usize = 120;

/// What makes two runs the same: library, data, settings and models. It is known before anything is computed, and a
/// directory that holds the same is not computed again.
pub(in crate::run) fn identity(run: &Run) -> Map<String, Json> {
    let (panel, day) = (&run.panel, |day: Option<&jiff::civil::Date>| json!(day.map(ToString::to_string)));
    let models: Vec<Json> = run
        .models
        .iter()
        .map(|model| {
            let mut out = json!({
                "name": model.name,
                "plugin": model.plugin(),
                "version": model.version(),
                "sha256": model.sha256(),
                "settings": model.settings(),
            });
            if let Some(train) = model.train_settings() {
                out["train"] = train;
            }
            out
        })
        .collect();
    let mut out = Map::new();
    out.insert("schema".to_owned(), json!(1));
    out.insert("walkforge".to_owned(), json!(env!("CARGO_PKG_VERSION")));
    let data = json!({
        "sha256": panel.fingerprint(),
        "first_date": day(panel.dates().first()),
        "last_date": day(panel.dates().last()),
        "dates": panel.dates().len(),
        "assets": panel.assets().len(),
        "kind": panel.kind().name(),
        "universe": universe(panel),
        "features": panel.features().iter().map(|feature| &feature.name).collect::<Vec<_>>(),
    });
    out.insert("data".to_owned(), data);
    out.insert("settings".to_owned(), run.experiment.effective());
    out.insert("models".to_owned(), json!(models));
    out
}

/// Who may be held, and where that comes from.
fn universe(panel: &Panel) -> Json {
    let [least, middle, most] = panel.member_counts();
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
    out["members"] = json!({"min": least, "median": middle, "max": most});
    out
}

/// The whole of `run.json` but for `machine`.
pub(in crate::run) fn document(run: &Run, scores: &Scores) -> Map<String, Json> {
    let mut out = identity(run);
    let summary: Map<String, Json> = run
        .models
        .iter()
        .enumerate()
        .map(|(model, entry)| {
            let (total, gaps) = (&scores.total[model], &scores.gaps[model]);
            let mut scored = metrics(&total.metrics);
            let changed = entries(&total.changes, &|row| run.panel.dates()[row].to_string());
            scored.insert("constraints".to_owned(), json!(changed));
            scored.insert("gaps".to_owned(), gap_counts(gaps));
            if let Some(found) = &scores.overfitting[model] {
                let peaks = run.results[model].iter().map(|window| window.training.as_ref().and_then(peak_epoch));
                scored.insert("overfitting".to_owned(), monitor(found, &peaks.collect::<Vec<_>>()));
            }
            (entry.name.clone(), Json::Object(scored))
        })
        .collect();
    out.insert("summary".to_owned(), Json::Object(summary));
    out.insert("windows".to_owned(), (0..run.windows.len()).map(|window| window_entry(run, scores, window)).collect());
    out
}

fn window_entry(run: &Run, scores: &Scores, place: usize) -> Json {
    let (dates, window) = (run.panel.dates(), &run.windows[place]);
    let span = |span: &Span| {
        let dates = &dates[span.rows.clone()];
        let day = |date: Option<&jiff::civil::Date>| date.map(ToString::to_string);
        json!({"start": day(dates.first()), "end": day(dates.last()), "rows": dates.len()})
    };
    let mut models = Map::new();
    for (model, entry) in run.models.iter().enumerate() {
        let (scored, shown) = (&scores.windows[model][place], &run.results[model][place].shown);
        let decisions: Vec<Json> = shown
            .decisions
            .iter()
            .map(|(row, highest)| json!({"as_of": dates[*row].to_string(), "highest_row_shown": highest, "row": row}))
            .collect();
        let changed = |scored: &Scored| json!(entries(&scored.changes, &|row| dates[row].to_string()));
        let mut out = json!({
            "train": metrics(&scored.train.metrics),
            "validation": metrics(&scored.validation.metrics),
            "test": metrics(&scored.test.metrics),
            "constraints": {
                "train": changed(&scored.train),
                "validation": changed(&scored.validation),
                "test": changed(&scored.test),
            },
            "integrity": {"fit_highest_row_shown": shown.fit, "decisions": decisions},
        });
        if let Some(of) = &run.results[model][place].training {
            out["training"] = training(of);
        }
        models.insert(entry.name.clone(), out);
    }
    json!({
        "window": window.index,
        "train": span(&window.train),
        "validation": span(&window.validation),
        "test": span(&window.test),
        "models": models,
    })
}

/// How a network was trained, without the time that it took.
fn training(of: &TrainingHistory) -> Json {
    let epochs = &of.epochs;
    json!({
        "epochs": {
            "loss": epochs.iter().map(|epoch| epoch.loss).collect::<Vec<_>>(),
            "validation_sharpe": epochs.iter().map(|epoch| epoch.validation).collect::<Vec<_>>(),
            "learning_rate": epochs.iter().map(|epoch| epoch.learning_rate).collect::<Vec<_>>(),
            "skipped": epochs.iter().map(|epoch| epoch.skipped).collect::<Vec<_>>(),
        },
        "epochs_run": epochs.len(),
        "best_epoch": of.best_epoch,
        "ended": of.ended.name(),
        "seeds": of.seeds.iter().map(seed).collect::<Vec<_>>(),
        "samples": of.samples,
        "batch": of.batch,
        "micro_batch": of.micro_batch,
        "recompute": of.recompute,
        "stack": of.stack,
        "loss_scale": of.loss_scale,
        "parameters": of.parameters,
        "planned_bytes": of.planned_bytes,
        "measured_bytes": of.measured_bytes,
    })
}

fn seed(of: &ReplicaHistory) -> Json {
    json!({
        "epochs_run": of.epochs,
        "best_epoch": of.best_epoch,
        "validation_sharpe": of.validation,
        "ended": of.ended.name(),
    })
}

/// The epoch at which validation peaked, from 1; `None` where no epoch has a validation score.
pub(in crate::run) fn peak_epoch(of: &TrainingHistory) -> Option<u32> {
    of.epochs.iter().any(|epoch| epoch.validation.is_some()).then_some(of.best_epoch)
}

/// The overfitting monitor of a model, its lists by window.
fn monitor(found: &Overfitting, peaks: &[Option<u32>]) -> Json {
    let number = |value: MetricValue| if let MetricValue::Number(number) = value { json!(number) } else { Json::Null };
    let list =
        |of: fn(&SpanSharpes) -> MetricValue| found.windows.iter().map(|window| number(of(window))).collect::<Vec<_>>();
    let mut windows = json!({
        "train_sharpe": list(|window| window.train),
        "validation_sharpe": list(|window| window.validation),
        "test_sharpe": list(|window| window.test),
        "gap": list(SpanSharpes::gap),
        "ratio": list(SpanSharpes::ratio),
    });
    if peaks.iter().any(Option::is_some) {
        windows["peak_epoch"] = json!(peaks);
    }
    let mut out = json!({"verdict": found.verdict.name(), "reason": found.reason});
    let mut reasons = Map::new();
    for (name, value) in [
        ("mean_train_sharpe", found.mean_train),
        ("mean_test_sharpe", found.mean_test),
        ("mean_gap", found.mean_gap),
        ("gap_standard_error", found.gap_error),
        ("kept", found.kept),
        ("generalisation", found.generalisation),
    ] {
        out[name] = number(value);
        if let MetricValue::Undefined(reason) = value {
            reasons.insert(name.to_owned(), json!(reason));
        }
    }
    out["windows"] = windows;
    out["undefined"] = Json::Object(reasons);
    out
}

/// What is of the machine and the moment, and moves no result.
pub(in crate::run) fn machine(run: &Run, seconds: f64) -> Json {
    let mut trained = Map::new();
    for (entry, windows) in run.models.iter().zip(&run.results) {
        let taken: Vec<f64> =
            windows.iter().filter_map(|window| window.training.as_ref().map(|training| training.seconds)).collect();
        if !taken.is_empty() {
            trained.insert(entry.name.clone(), json!(taken));
        }
    }
    let mut out = json!({"threads": run.threads(), "seconds": seconds});
    if !trained.is_empty() {
        out["training_seconds"] = Json::Object(trained);
    }
    out
}

/// Metrics by name: numbers, dates, and null where a metric is undefined, with the reason under `undefined`.
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

fn gap_counts(gaps: &PriceGaps) -> Json {
    json!({"days_without_price": gaps.days_without_price, "moves_after_gap": gaps.moves_after_gap})
}

/// By rule: on how many decisions it changed something, how much weight it moved in all (Σ|after − before|), and the list
/// of decision dates with the weight moved on each.
fn entries(changes: &[(usize, ConstraintChange)], day: &dyn Fn(usize) -> String) -> Map<String, Json> {
    let mut out = Map::new();
    for (rule, of_rule) in by_rule(changes) {
        let list: Vec<Json> = of_rule.iter().map(|(row, moved)| json!([day(*row), moved])).collect();
        let entry = json!({"decisions": of_rule.len(), "moved": moved(&of_rule), "entries": list});
        out.insert(rule.to_owned(), entry);
    }
    out
}

/// Decision rows and weight moved of each rule, the rules in the order in which they first changed something. A rule
/// that came up more than once in a decision is one entry.
pub(in crate::run) fn by_rule(changes: &[(usize, ConstraintChange)]) -> Vec<(&'static str, Vec<(usize, f64)>)> {
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

pub(in crate::run) fn moved(of_rule: &[(usize, f64)]) -> f64 {
    of_rule.iter().map(|(_, moved)| moved).sum()
}

/// JSON over lines, for people: a table or list that fits on a line stays on it.
pub(in crate::run) fn text(value: &Json) -> String {
    let mut out = String::new();
    lay_out(value, 0, "", &mut out);
    out.push('\n');
    out
}

fn lay_out(value: &Json, depth: usize, before: &str, out: &mut String) {
    let flat = value.to_string();
    let (open, close, parts): (char, char, Vec<(String, &Json)>) = match value {
        Json::Object(map) => ('{', '}', map.iter().map(|(key, part)| (format!("{}: ", json!(key)), part)).collect()),
        Json::Array(list) => ('[', ']', list.iter().map(|part| (String::new(), part)).collect()),
        _ => (' ', ' ', Vec::new()),
    };
    if parts.is_empty() || 2 * depth + before.len() + flat.len() <= WIDEST {
        out.push_str(&flat);
        return;
    }
    out.push(open);
    for (place, (key, part)) in parts.iter().enumerate() {
        // Writing to a string cannot fail.
        let _ = write!(out, "{}\n{:width$}{key}", if place == 0 { "" } else { "," }, "", width = 2 * depth + 2);
        lay_out(part, depth + 1, key, out);
    }
    let _ = write!(out, "\n{:width$}{close}", "", width = 2 * depth);
}

#[cfg(test)]
mod tests {
    use super::{entries, metrics, text};
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
        assert_eq!(json!(entries(&CHANGES, &|row| format!("day {row}"))), expected);
        assert_eq!(json!(entries(&[], &|row| row.to_string())), json!({}));
    }

    #[test]
    fn an_undefined_metric_is_null_and_its_reason_stands_beside() {
        let mut values = vec![MetricValue::Number(0.5); METRICS.len()];
        values[0] = MetricValue::Undefined("the model fits nothing");
        let written = metrics(&values);
        assert_eq!(written.len(), METRICS.len() + 1);
        assert_eq!(written["sharpe"], Json::Null);
        assert_eq!(written["undefined"], json!({"sharpe": "the model fits nothing"}));
        assert_eq!(written["sortino"], json!(0.5));
    }

    #[test]
    fn the_text_reads_back_as_the_same_numbers_and_breaks_only_long_lines() {
        let short = json!({"a": [1, 2.5], "b": "x"});
        assert_eq!(text(&short), "{\"a\":[1,2.5],\"b\":\"x\"}\n");
        let long: Vec<f64> = (0..60).map(|place| f64::from(place) / 7.0).collect();
        let value = json!({"list": long, "quoted \"key\"": {"empty": {}, "none": []}, "tiny": 5e-324});
        let written = text(&value);
        assert_eq!(serde_json::from_str::<Json>(&written).unwrap(), value);
        assert!(written.contains("\n  \"quoted \\\"key\\\"\": {\"empty\":{},\"none\":[]},\n"), "{written}");
        assert!(written.lines().all(|line| line.len() <= 122));
        for length in 1..60 {
            let nested = json!({"name": {"name": {"name": vec![17; length]}}});
            let written = text(&nested);
            assert!(written.lines().all(|line| line.len() <= 121), "{written}");
            assert_eq!(written.lines().count() == 1, nested.to_string().len() <= 120);
        }
    }
}
