//! Reads damaged inputs and checks the result: a usable panel or usable settings, or an error that locates the fault.
//! The tests and the fuzz targets share this file; it panics if a check fails.

use std::path::Path;

use jiff::civil::{Date, date};
use walkforge::{Error, Experiment, Membership, Panel, PanelKind, windows};

/// The outcome of reading an input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Outcome {
    /// It was read: a damaged file may still be valid.
    Read,
    /// It was refused with an error.
    Refused,
    /// It is not JSON, so that walkforge never sees it.
    NotOurs,
}

/// Longest message: it must fit into a log line and not repeat the file.
const LONGEST_MESSAGE: usize = 8192;

/// A CSV file with the panel for membership and feature files.
pub(crate) const PANEL: &str = "date,AAA,BBB,CCC\n2020-01-02,10,20.5,30\n2020-01-03,10.5,,31\n2020-01-06,11,21,29.5\n\
                         2020-01-07,10.75,20,\n2020-01-08,12,22,28\n";

/// The panel of [`PANEL`].
pub(crate) fn panel() -> Panel {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("panel.csv");
    std::fs::write(&path, PANEL).unwrap();
    Panel::from_csv(PanelKind::Prices, &path).unwrap()
}

/// Prices or returns in a CSV file or, by the extension, a Parquet file.
pub(crate) fn values(kind: PanelKind, path: &Path) -> Outcome {
    match Panel::from_file(kind, path) {
        Ok(panel) => {
            sound(&panel);
            Outcome::Read
        }
        Err(error) => {
            // The messages of the Parquet reader need not locate the fault: there are no rows before the file is read.
            let locations: &[&str] =
                if path.extension().is_some_and(|ending| ending == "csv") { &CSV_LOCATIONS } else { &[""] };
            refused(&error, &[&path.display().to_string()], locations)
        }
    }
}

const CSV_LOCATIONS: [&str; 5] = ["row ", "byte ", "asset ", "the file is empty", "needs at least one date"];

/// A membership file, for a panel.
pub(crate) fn membership(path: &Path, panel: &Panel) -> Outcome {
    match Membership::from_csv(path) {
        Ok(membership) => {
            let known = membership.assets().count();
            let panel = panel.clone().with_membership(&membership);
            assert!(panel.without_values().len() <= known);
            sound(&panel);
            Outcome::Read
        }
        Err(error) => {
            refused(&error, &[&path.display().to_string()], &["row ", "byte ", "the file is empty", "no row below"])
        }
    }
}

/// A feature plane, for a panel.
pub(crate) fn feature(name: &str, path: &Path, panel: &Panel) -> Outcome {
    match panel.clone().with_feature_file(name, path) {
        Ok(panel) => {
            sound(&panel);
            assert!(panel.features()[0].values().iter().all(|value| !value.is_infinite()));
            Outcome::Read
        }
        Err(error) => {
            let locations: Vec<&str> =
                CSV_LOCATIONS.into_iter().chain(["a feature is named", "of feature '"]).collect();
            refused(&error, &[&path.display().to_string()], &locations)
        }
    }
}

/// An experiment as TOML, with overrides.
pub(crate) fn experiment(text: &str, overrides: &[String], panel: &Panel) -> Outcome {
    settled(Experiment::from_toml(text, "".into(), overrides), panel)
}

/// An experiment as JSON.
pub(crate) fn experiment_json(bytes: &[u8], panel: &Panel) -> Outcome {
    match serde_json::from_slice(bytes) {
        Ok(tree) => settled(Experiment::from_json(&tree, "".into()), panel),
        Err(_) => Outcome::NotOurs,
    }
}

fn settled(experiment: Result<Experiment, Error>, panel: &Panel) -> Outcome {
    let locations = ["setting '", "'windows", "'portfolio", "'data", "'models", "line ", "--set ", "the experiment: "];
    let used = experiment.and_then(|experiment| {
        // A valid experiment must be usable: its windows, groups and effective settings.
        assert!(!experiment.effective().to_string().is_empty());
        experiment.constraints(panel)?;
        windows(&calendar(), &experiment.windows)
    });
    match used {
        Ok(windows) => {
            assert!(!windows.is_empty());
            Outcome::Read
        }
        Err(error) => {
            let locations: Vec<&str> = locations.into_iter().chain(["no window fits", "window "]).collect();
            refused(&error, &[], &locations)
        }
    }
}

/// The first of each month of three years.
fn calendar() -> Vec<Date> {
    (0..36).map(|month| date(2020 + month / 12, (1 + month % 12) as i8, 1)).collect()
}

fn sound(panel: &Panel) {
    let (rows, assets) = (panel.dates().len(), panel.assets().len());
    assert!(rows > 0 && assets > 0 && panel.held_returns().len() == rows * assets);
    assert!(panel.held_returns().iter().all(|value| value.is_finite()));
    assert!(panel.dates().windows(2).all(|pair| pair[0] < pair[1]));
    assert!(panel.assets().windows(2).all(|pair| pair[0] < pair[1]));
    assert_eq!((panel.members(rows - 1).len(), panel.fingerprint().len()), (assets, 64));
}

#[track_caller]
fn refused(error: &Error, all: &[&str], one: &[&str]) -> Outcome {
    let message = error.to_string();
    assert!(!message.trim().is_empty() && message.len() <= LONGEST_MESSAGE, "{} bytes: {message:.300}", message.len());
    assert!(all.iter().all(|part| message.contains(part)), "names no file: {message}");
    assert!(one.iter().any(|part| message.contains(part)), "does not locate the fault: {message}");
    Outcome::Refused
}
