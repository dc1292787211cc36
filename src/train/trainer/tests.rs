//! A whole training, from the network's inputs to the kept epoch, is the same on any engine.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use jiff::ToSpan;
use jiff::civil::{Date, date};
use serde_json::json;

use super::Trainer;
use crate::device::Team;
use crate::engine::StateSelection;
use crate::engine::reference::ReferenceEngine;
use crate::error::Result;
use crate::evaluate::Conventions;
use crate::model::{AssetSet, Estimator, Network, NetworkSpec, Output, Requirements};
use crate::panel::{Panel, PanelKind, Past};
use crate::portfolio::{Constraints, ExecutionModel};
use crate::program::{Axis, Builder, InputSource, Plane};
use crate::random::Random;
use crate::train::replica_control::ReplicaControl;
use crate::train::{StopReason, TrainSettings, TrainingContext, TrainingHistory, TrainingSpan};

const ROWS: usize = 150;
const TRAIN: usize = 110;
const ASSETS: usize = 4;
const STEPS: usize = 6;

/// An LSTM over all assets, beside a computed input and a feature.
struct Small;

impl Network for Small {
    fn name(&self) -> &'static str {
        "small"
    }

    fn requirements(&self) -> Requirements {
        Requirements::new(STEPS, 3)
    }

    fn asset_set(&self) -> AssetSet {
        AssetSet::Fixed
    }

    fn build(&self, assets: usize, _features: &[String]) -> Result<NetworkSpec> {
        let mut builder = Builder::new();
        let trailing = |plane| InputSource::Trailing { plane, rows: STEPS };
        let returns = builder.input_from("returns", &[STEPS, assets], trailing(Plane::Returns))?;
        let volume = builder.input_from("volume", &[STEPS, assets], trailing(Plane::Feature(0)))?;
        let momentum = InputSource::Computed { index: 0, shape: vec![Axis::Assets, Axis::Fixed(1)], normalise: true };
        let momentum = builder.input_from("momentum", &[assets, 1], momentum)?;
        let sum = builder.arithmetic(crate::ops::Arithmetic::Add, returns, volume)?;
        let states = builder.lstm("lstm", sum, 7)?;
        let last = builder.last(states)?;
        let dropped = builder.dropout(last, 0.2)?;
        let scores = builder.linear("head", dropped, assets)?;
        let flat = builder.op(crate::ops::Reshape { shape: vec![assets] }, &[momentum])?;
        let output = builder.arithmetic(crate::ops::Arithmetic::Add, scores, flat)?;
        Ok(NetworkSpec { builder, output, kind: Output::Scores })
    }

    fn compute(&self, _input: usize, past: &Past, out: &mut [f32]) -> Result<()> {
        let assets = past.assets().len();
        for (asset, out) in out.iter_mut().enumerate() {
            *out =
                past.returns().iter().skip(asset).step_by(assets).filter(|value| value.is_finite()).sum::<f64>() as f32;
        }
        Ok(())
    }
}

fn panel() -> Panel {
    let random = Random::new(5, 0, 0);
    let dates: Vec<Date> = (0..ROWS as i64).map(|day| date(2015, 1, 1).saturating_add(day.days())).collect();
    let names: Vec<String> = (0..ASSETS).map(|asset| format!("A{asset}")).collect();
    let cells = 0..(ROWS * ASSETS) as u64;
    let values: Vec<f64> =
        cells.clone().map(|cell| if cell % 37 == 5 { f64::NAN } else { 0.01 * random.normal(cell) }).collect();
    let volume: Vec<f64> = cells.map(|cell| 1000.0 + 50.0 * random.normal(cell + (1 << 32))).collect();
    let panel = Panel::from_arrays(PanelKind::Returns, dates, &names, &values).unwrap();
    panel.with_feature("volume", &volume).unwrap()
}

fn trainer(train: &serde_json::Value) -> Trainer {
    trainer_on(panel(), train)
}

fn trainer_on(panel: Panel, train: &serde_json::Value) -> Trainer {
    let execution = ExecutionModel::new(Constraints::default(), 5.0, 0);
    let context = TrainingContext::new(&panel, Arc::new(Team::alone()), Conventions::per_row(), execution.clone());
    let settings = TrainSettings::from_sections(train.as_object().unwrap(), None).unwrap();
    let span = TrainingSpan {
        panel,
        train: 0..TRAIN,
        samples: STEPS - 1..TRAIN - 1,
        horizon: settings.horizon.unwrap_or(1),
        decisions: (TRAIN - 1..ROWS - 1).step_by(4).collect(),
        validation: TRAIN..ROWS,
        execution,
    };
    Trainer::planned(Arc::new(Small), &settings, span, 11, context).unwrap()
}

fn finished(mut trainer: Trainer) -> (Vec<Vec<f32>>, Vec<f64>, TrainingHistory) {
    while !trainer.is_done() {
        trainer.epoch(&|| false).unwrap();
    }
    let (network, history) = trainer.finish();
    let past = panel().past(ROWS - STEPS..ROWS, &[0, 1, 2, 3]).unwrap();
    (network.parameters().to_vec(), network.weights(&past).unwrap(), history)
}

#[test]
fn the_reference_engine_and_the_cpu_engine_keep_the_same_epoch_and_weights() {
    for train in [
        json!({"max_epochs": 6, "early_stop_epochs": 2, "batch_size": 16, "seeds": 2, "learning_rate": 0.01}),
        json!({"max_epochs": 4, "batch_size": 16, "order": "consecutive", "turnover_bps": 20.0, "optimizer": "adamw"}),
        json!({"max_epochs": 4, "batch_size": 50, "accumulation_steps": 1, "loss": "mse", "horizon": 3}),
    ] {
        let (ours, weights, history) = finished(trainer(&train));
        let planned = trainer(&train);
        let reference = ReferenceEngine::new(Arc::clone(&planned.bound().program), planned.data.settings.objective);
        let (expected, expected_weights, expected_history) = finished(planned.on(Box::new(reference)).unwrap());
        let worst = |one: &[f32], two: &[f32]| one.iter().zip(two).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        let parameters = ours.iter().zip(&expected).map(|(one, two)| worst(one, two)).fold(0.0, f32::max);
        let decided = weights.iter().zip(&expected_weights).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        println!("{train}: parameters {parameters:e}, weights {decided:e}");
        assert!(parameters < 1e-5 && decided < 1e-5, "{train}: {parameters} {decided}");
        assert_eq!(history.seeds.len(), expected_history.seeds.len());
        for (ours, expected) in history.seeds.iter().zip(&expected_history.seeds) {
            assert_eq!(
                (ours.best_epoch, ours.epochs, ours.ended),
                (expected.best_epoch, expected.epochs, expected.ended)
            );
        }
        for (ours, expected) in history.epochs.iter().zip(&expected_history.epochs) {
            assert!((ours.loss - expected.loss).abs() < 1e-5, "{ours:?} {expected:?}");
            let apart = ours.validation.zip(expected.validation).map_or(0.0, |(one, two)| (one - two).abs());
            assert!(apart < 1e-3 && ours.validation.is_some() == expected.validation.is_some(), "{apart}");
        }
    }
}

/// Stops a training inside an epoch, takes it apart into documents and tensors, and puts it together in another trainer.
fn moved(mut from: Trainer, mut to: Trainer) -> Trainer {
    to.fill(&|| false).unwrap();
    assert_eq!(from.replicas.len(), to.replicas.len());
    for (index, replica) in from.replicas.iter().enumerate() {
        let text = serde_json::to_string(replica).unwrap();
        let mut read: ReplicaControl = serde_json::from_str(&text).unwrap();
        read.best.clone_from(&replica.best);
        if let Some(slot) = to.replicas[index].slot {
            to.engine.end(slot).unwrap();
        }
        if let Some(slot) = replica.slot {
            let state = from.engine.read(slot, StateSelection::All).unwrap();
            let (view, tables) = to.data.view().unwrap();
            to.engine
                .begin(slot, view, tables, to.data.hyperparameters(read.spec.seed, &read.spec.scalars), state)
                .unwrap();
            read.slot = Some(slot);
        }
        to.replicas[index] = read;
    }
    to
}

#[test]
fn a_training_that_moves_through_documents_inside_an_epoch_ends_with_the_same_bits() {
    for train in [
        json!({"max_epochs": 6, "early_stop_epochs": 2, "batch_size": 16, "seeds": 3, "learning_rate": 0.02}),
        json!({"max_epochs": 4, "batch_size": 16, "precision": "fp16", "schedule": "step", "schedule_epochs": 2}),
    ] {
        let (whole, weights, history) = finished(trainer(&train));
        let mut parts = trainer(&train);
        let asked = AtomicUsize::new(0);
        let mut moves = 0;
        while !parts.is_done() {
            // A batch asks before each op of both passes: most of these stops lie inside an epoch.
            if parts.epoch(&|| asked.fetch_add(1, Ordering::Relaxed) % 37 == 36).is_err() {
                parts = moved(parts, trainer(&train));
                moves += 1;
            }
        }
        assert!(moves > 5, "{moves}");
        let (ours, our_weights, our_history) = finished(parts);
        let bits = |all: &[Vec<f32>]| all.iter().flatten().map(|value| value.to_bits()).collect::<Vec<_>>();
        assert!(bits(&ours) == bits(&whole), "{train}");
        assert_eq!((our_weights, our_history.seeds, our_history.epochs), (weights, history.seeds, history.epochs));
    }
}

#[test]
fn an_epoch_whose_validation_path_loses_everything_is_the_worst_of_all() {
    let whole = panel();
    let dates = whole.dates().to_vec();
    // Every asset is worth nothing on a row of the validation span.
    let lost = TRAIN + 20;
    let returns = |row: usize| if row == lost { vec![-1.0; ASSETS] } else { whole.returns(row).to_vec() };
    let values: Vec<f64> = (0..ROWS).flat_map(returns).collect();
    let ruinous = Panel::from_arrays(PanelKind::Returns, dates, whole.assets(), &values).unwrap();
    let ruinous = ruinous.with_feature("volume", &whole.features()[0].values).unwrap();
    let settings = json!({"max_epochs": 9, "early_stop_epochs": 3, "batch_size": 16});
    let history = finished(trainer_on(ruinous, &settings)).2;
    assert!(history.epochs.iter().all(|epoch| epoch.is_ruined && epoch.validation.is_none()), "{:?}", history.epochs);
    // No epoch is better than the first.
    assert_eq!((history.epochs.len(), history.best_epoch, history.ended), (4, 1, StopReason::EarlyStop));
    assert!(finished(trainer(&settings)).2.epochs.iter().all(|epoch| !epoch.is_ruined && epoch.validation.is_some()));
}
