//! What the report shows of a run: values and facts in words. How they look is the report's business.

use std::fmt::Write as _;

use crate::panel::{Panel, PanelKind, UniverseSource};
use crate::report::{
    ChangedValues, Curves, Integrity, ModelValues, RebalanceValues, ReportValues, WindowSpan, WindowValues,
};
use crate::run::output::run_json::{by_rule, moved};
use crate::run::runner::{Run, Target};
use crate::run::scores::{PriceGaps, Scores};
use crate::settings::Choice as _;
use crate::train::{StopReason, TrainingHistory};

pub(in crate::run) fn overview(run: &Run, scores: &Scores) -> ReportValues {
    let panel = &run.panel;
    let day = |row: usize| panel.dates()[row];
    let models = run.models.iter().enumerate().map(|(model, entry)| {
        let rebalance = |target: &Target| RebalanceValues {
            date: day(target.row),
            weights: panel.output_order().iter().map(|&column| target.weights[column]).collect(),
        };
        let (total, gaps) = (&scores.total[model], &scores.gaps[model]);
        ModelValues {
            name: entry.name.clone(),
            fits: run.results[model].iter().any(|window| window.train.is_some()),
            net: run.paths[model].net.clone(),
            turnover: run.paths[model].turnover.clone(),
            rebalances: run.targets[model].iter().map(rebalance).collect(),
            total: total.metrics.clone(),
            windows: scores.windows[model]
                .iter()
                .map(|window| WindowValues {
                    train: window.train.metrics.clone(),
                    validation: window.validation.metrics.clone(),
                    test: window.test.metrics.clone(),
                })
                .collect(),
            changes: by_rule(&total.changes)
                .into_iter()
                .map(|(rule, list)| {
                    let most =
                        list.iter().fold((0, f64::MIN), |most, entry| if entry.1 > most.1 { *entry } else { most });
                    ChangedValues { rule, decisions: list.len(), moved: moved(&list), most: (day(most.0), most.1) }
                })
                .collect(),
            gaps: gap_words(gaps),
            overfitting: scores.overfitting[model].clone(),
            training: run.results[model].iter().filter_map(|window| window.training.as_ref()).map(curves).collect(),
        }
    });
    let windows = run.windows.iter().zip(&run.stitched).map(|(window, held)| WindowSpan {
        held: (day(held.start), day(held.end - 1)),
        test: (day(window.test.rows.start), day(window.test.rows.end - 1)),
    });
    ReportValues {
        facts: facts(run),
        days: run.stitched.iter().flat_map(|rows| rows.clone().map(day)).collect(),
        windows: windows.collect(),
        assets: panel.output_order().iter().map(|&column| panel.assets()[column].clone()).collect(),
        models: models.collect(),
        integrity: integrity(run),
    }
}

fn curves(of: &TrainingHistory) -> Curves {
    Curves {
        loss: of.epochs.iter().map(|epoch| epoch.loss).collect(),
        validation: of.epochs.iter().map(|epoch| epoch.validation).collect(),
        best_epoch: of.best_epoch as usize,
        by_clock: of.ended == StopReason::MaxSeconds,
        ended: match of.ended {
            StopReason::MaxEpochs => "all epochs",
            StopReason::EarlyStop => "early stop",
            StopReason::MaxSeconds => "time was up",
        },
        samples: of.samples,
        batch: of.batch,
        micro_batch: of.micro_batch,
        recompute: of.recompute,
        seeds: of.seeds.iter().map(|seed| seed.validation).collect(),
        stack: of.stack,
        loss_scale: of.loss_scale,
        skipped: of.epochs.iter().map(|epoch| epoch.skipped as usize).sum(),
        parameters: of.parameters,
        planned_bytes: of.planned_bytes,
        measured_bytes: of.measured_bytes,
    }
}

fn gap_words(gaps: &PriceGaps) -> Option<String> {
    (*gaps != PriceGaps::default()).then(|| {
        format!(
            "{} asset-days held without a price, each earning 0; {} moves earned when a price came back",
            gaps.days_without_price, gaps.moves_after_gap
        )
    })
}

fn integrity(run: &Run) -> Integrity {
    let windows = || run.results.iter().flatten();
    let decisions = || windows().flat_map(|window| &window.shown.decisions);
    Integrity {
        decisions: decisions().count(),
        nearest: decisions().map(|(row, highest)| *highest as i64 - *row as i64).max().unwrap_or(0),
        fits: windows().filter(|window| window.train.is_some()).count(),
    }
}

/// Name and value of what a reader should know of how the figures came about.
fn facts(run: &Run) -> Vec<(String, String)> {
    let (experiment, panel) = (&run.experiment, &run.panel);
    let settings = &experiment.windows;
    let (dates, assets) = (panel.dates(), panel.assets().len());
    let span = match dates {
        [first, .., last] => format!("{first} to {last}, {} dates", dates.len()),
        _ => format!("{} date", dates.len()),
    };
    let scheme = settings.scheme.name();
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
                "{}, {scheme}: {} months train, {} validation, {} test, step {}",
                run.windows.len(),
                settings.train_months,
                settings.validation_months,
                settings.test_months,
                settings.step_months
            ),
        ),
        ("Universe", universe_words(panel)),
        (
            "Rebalance",
            if rebalance.parse::<usize>().is_ok() { format!("every {rebalance} rows") } else { rebalance.to_owned() },
        ),
        ("Execution", lag_words(experiment.portfolio.execution_lag)),
        ("Costs", format!("{} basis points of the weight bought and sold", experiment.portfolio.cost_bps)),
    ];
    let features: Vec<&str> = panel.features().iter().map(|feature| feature.name.as_str()).collect();
    if !features.is_empty() {
        out.insert(3, ("Features", features.join(", ")));
    }
    out.extend(experiment.portfolio.describe());
    out.push(("Models", models.join(", ")));
    out.push(("Made by", format!("walkforge {}, seed {}", env!("CARGO_PKG_VERSION"), experiment.seed)));
    out.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

fn universe_words(panel: &Panel) -> String {
    let value = match panel.kind() {
        PanelKind::Prices => "price",
        PanelKind::Returns => "return",
    };
    let fresh = match panel.stale_rows() {
        0 => format!("with a {value} on the day of the decision"),
        rows => format!("with a {value} on the day of the decision or up to {rows} rows before"),
    };
    let mut out = match panel.universe_source() {
        UniverseSource::Values => format!("assets {fresh}"),
        UniverseSource::Mask => format!("the members of the day, as given, {fresh}"),
        UniverseSource::Intervals { assets, intervals, assets_used, .. } => {
            let missing = match assets - assets_used {
                0 => String::new(),
                missing => format!(" ({missing} of them without data, never held)"),
            };
            format!("the members of the day, of {assets} assets in {intervals} intervals{missing}, {fresh}")
        }
    };
    let [least, middle, most] = panel.member_counts();
    // Writing to a string cannot fail.
    let _ = write!(out, "; {least} to {most} a day, median {middle}");
    out
}

fn lag_words(lag: usize) -> String {
    match lag {
        0 => "decided and traded at the same close (lag 0), held from the next day".to_owned(),
        1 => "decided at a close, traded at the next one (lag 1), held from the day after that".to_owned(),
        _ => format!("decided at a close, traded {lag} closes later (lag {lag}), held from the day after that"),
    }
}
