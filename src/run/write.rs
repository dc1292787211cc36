//! The run directory: `weights.csv`, `returns.csv`, `report.html`, then `run.json`, each whole or not there. Numbers are written so that
//! reading them back gives the same double.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;

use serde_json::{Map, Value as Json, json};

use super::score::{metrics, values};
use super::walk::Run;
use crate::error::{Error, Result, fail};
use crate::evaluate::Value;
use crate::report::{ModelValues, Rebalance, Values, html};
use crate::windows::{Span, fit_rows};

/// Writes the results of a run. Where the directory already holds a finished run of the same experiment and data it is
/// left as it is; a run is finished when its `run.json` is there, which is written last.
///
/// # Errors
/// `NotReady` where windows are still to be computed;
/// `Exists` where the directory holds another run or other files; `Io` where writing fails.
pub fn write_directory(run: &Run, folder: &Path, seconds: f64) -> Result<()> {
    let progress = run.progress();
    if progress.done < progress.windows {
        fail!(
            NotReady,
            "{} of {} windows are computed; step the run to its end first",
            progress.done,
            progress.windows
        );
    }
    let document = document(run)?;
    if finished(folder, &document)? {
        return Ok(());
    }
    std::fs::create_dir_all(folder).map_err(|error| Error::io("make", folder, &error))?;
    put(&folder.join("weights.csv"), &weights(run))?;
    put(&folder.join("returns.csv"), &returns(run))?;
    put(&folder.join("report.html"), &html(&report(run)?))?;
    let mut document = document;
    if let Json::Object(map) = &mut document {
        map.insert("machine".to_owned(), json!({"threads": run.threads(), "seconds": seconds}));
    }
    put(&folder.join("run.json"), &format!("{document:#}\n"))
}

/// Whether `folder` holds this run, finished.
fn finished(folder: &Path, document: &Json) -> Result<bool> {
    if !folder.exists() {
        return Ok(false);
    }
    let file = folder.join("run.json");
    if !file.exists() {
        let entries = std::fs::read_dir(folder).map_err(|error| Error::io("read", folder, &error))?;
        for entry in entries {
            let name = entry.map_err(|error| Error::io("read", folder, &error))?.file_name();
            let ours = ["weights.csv", "returns.csv", "report.html", "run.json"]
                .iter()
                .any(|ours| name == *ours || name.to_string_lossy() == format!("{ours}.partial"));
            if !ours {
                fail!(
                    Exists,
                    "{} holds {}, so it is no run directory; name a new one",
                    folder.display(),
                    name.display()
                );
            }
        }
        return Ok(false);
    }
    let text = std::fs::read_to_string(&file).map_err(|error| Error::io("read", &file, &error))?;
    let same = serde_json::from_str::<Json>(&text).is_ok_and(|earlier| {
        ["walkforge", "data", "settings", "models"].iter().all(|key| earlier[key] == document[key])
    });
    if !same {
        fail!(Exists, "{} holds a run of another experiment, data or version; name a new directory", folder.display());
    }
    Ok(true)
}

/// Writes a file under a temporary name, makes it durable and gives it its name.
fn put(path: &Path, text: &str) -> Result<()> {
    let mut partial = path.as_os_str().to_owned();
    partial.push(".partial");
    let partial = std::path::PathBuf::from(partial);
    let write = || {
        let mut file = std::fs::File::create(&partial)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        std::fs::rename(&partial, path)
    };
    write().map_err(|error| Error::io("write", path, &error))
}

fn weights(run: &Run) -> String {
    let dates = run.panel.dates();
    let mut text = String::from("date,window,model,asset,weight\n");
    for ((model, _, _), targets) in run.models().zip(&run.targets) {
        for target in targets {
            for &column in run.panel.output_order() {
                // Writing to a string cannot fail.
                let _ = writeln!(
                    text,
                    "{},{},{},{},{:?}",
                    dates[target.row],
                    target.window,
                    model,
                    quoted(&run.panel.assets()[column]),
                    target.weights[column]
                );
            }
        }
    }
    text
}

fn returns(run: &Run) -> String {
    let dates = run.panel.dates();
    let mut text = String::from("date,window,model,gross,cost,net,turnover\n");
    for ((model, _, _), path) in run.models().zip(&run.paths) {
        let windows = run.stitched.iter().enumerate().flat_map(|(window, rows)| rows.clone().map(move |_| window));
        for (place, window) in windows.enumerate() {
            let _ = writeln!(
                text,
                "{},{window},{},{:?},{:?},{:?},{:?}",
                dates[path.rows[place]],
                model,
                path.gross[place],
                path.cost[place],
                path.net[place],
                path.turnover[place]
            );
        }
    }
    text
}

/// A CSV cell, in quotes where it needs them.
fn quoted(text: &str) -> String {
    if text.contains([',', '"', '\n', '\r']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text.to_owned() }
}

fn document(run: &Run) -> Result<Json> {
    let panel = &run.panel;
    let span = |span: &Span| {
        let dates = &panel.dates()[span.rows.clone()];
        let day = |date: Option<&jiff::civil::Date>| date.map(ToString::to_string);
        json!({"start": day(dates.first()), "end": day(dates.last()), "rows": dates.len()})
    };
    let mut windows = Vec::new();
    for (place, window) in run.windows.iter().enumerate() {
        let validation_rows = fit_rows(&window.validation.rows, run.experiment.execution_lag);
        let score = |model: usize, validation: bool| {
            let result = &run.results[model][place];
            if validation {
                run.score_path(&result.validation, validation_rows.clone())
            } else {
                run.score_path(&result.test, window.test.rows.clone())
            }
        };
        let (benchmark_validation, benchmark_test) = (score(0, true)?, score(0, false)?);
        let mut models = Map::new();
        for (model, (name, _, _)) in run.models().enumerate() {
            let shown = &run.results[model][place].shown;
            let decisions: Vec<Json> = shown
                .decisions
                .iter()
                .map(|(row, highest)| json!({"as_of": panel.dates()[*row].to_string(), "highest_row_shown": highest, "row": row}))
                .collect();
            models.insert(
                name.to_owned(),
                json!({
                    "validation": metrics(panel, &score(model, true)?, &benchmark_validation),
                    "test": metrics(panel, &score(model, false)?, &benchmark_test),
                    "integrity": {"fit_highest_row_shown": shown.fit, "decisions": decisions},
                }),
            );
        }
        windows.push(json!({
            "window": window.index,
            "train": span(&window.train),
            "validation": span(&window.validation),
            "test": span(&window.test),
            "models": models,
        }));
    }
    let summary: Map<String, Json> = run
        .models()
        .zip(&run.paths)
        .map(|((name, _, _), path)| (name.to_owned(), metrics(panel, path, &run.paths[0])))
        .collect();
    let models: Vec<Json> = run
        .models()
        .map(|(name, plugin, settings)| {
            json!({
                "name": name,
                "plugin": plugin.name(),
                "version": plugin.version(),
                "settings": settings.to_json(),
            })
        })
        .collect();
    Ok(json!({
        "schema": 1,
        "walkforge": env!("CARGO_PKG_VERSION"),
        "data": {"sha256": panel.fingerprint(), "dates": panel.dates().len(), "assets": panel.assets().len()},
        "settings": run.experiment.effective(),
        "models": models,
        "summary": summary,
        "windows": windows,
    }))
}

/// What the report shows of a run.
fn report(run: &Run) -> Result<Values> {
    let panel = &run.panel;
    let day = |row: usize| panel.dates()[row];
    let rows: Vec<usize> = run.stitched.iter().flat_map(std::clone::Clone::clone).collect();
    let mut models = Vec::new();
    for (model, (name, _, _)) in run.models().enumerate() {
        let mut windows = Vec::new();
        for (place, window) in run.windows.iter().enumerate() {
            let validation_rows = fit_rows(&window.validation.rows, run.experiment.execution_lag);
            let sharpe = |decided, rows| -> Result<Value> {
                let path = run.score_path(decided, rows)?;
                let found = values(panel, &path, &path).into_iter().find(|(metric, _)| metric.name == "sharpe");
                Ok(found.map_or(Value::Undefined("there are no returns"), |(_, value)| value))
            };
            let result = &run.results[model][place];
            windows
                .push((sharpe(&result.validation, validation_rows)?, sharpe(&result.test, window.test.rows.clone())?));
        }
        let rebalance = |target: &super::walk::Target| Rebalance {
            date: day(target.row),
            weights: panel.output_order().iter().map(|&column| target.weights[column]).collect(),
        };
        models.push(ModelValues {
            name: name.to_owned(),
            net: run.paths[model].net.clone(),
            turnover: run.paths[model].turnover.clone(),
            rebalances: run.targets[model].iter().map(rebalance).collect(),
            total: values(panel, &run.paths[model], &run.paths[0]).into_iter().map(|(_, value)| value).collect(),
            windows,
        });
    }
    let fact = |name: &str, value: String| (name.to_owned(), value);
    Ok(Values {
        facts: vec![
            fact("Assets", panel.assets().len().to_string()),
            fact("Windows", run.windows.len().to_string()),
            fact("Execution lag", format!("{} rows", run.experiment.execution_lag)),
            fact("Costs", format!("{} bps", run.experiment.cost_bps)),
        ],
        days: rows.iter().map(|&row| day(row)).collect(),
        windows: run.stitched.iter().map(|rows| (day(rows.start), day(rows.end - 1))).collect(),
        assets: panel.output_order().iter().map(|&column| panel.assets()[column].clone()).collect(),
        models,
    })
}
