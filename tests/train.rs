//! Training equals PyTorch's: from the same weights and batches, in single precision, the output, all gradients, all
//! losses and all weights after 50 steps of Adam (`tests/golden/train.py`).

use std::sync::Arc;

use serde_json::Value as Json;
use walkforge::internals::engine::{StepSettings, Stepper};
use walkforge::internals::objective::Objective;
use walkforge::internals::ops::{Reshape, Transpose};
use walkforge::internals::program::{Builder, Program};
use walkforge::internals::train::{LearningRate, Schedule};

use crate::common;

const BATCH: usize = 16;
const STEPS: usize = 8;
const ASSETS: usize = 4;
const HIDDEN: usize = 6;

fn golden() -> Json {
    serde_json::from_str(&common::golden("train.json")).unwrap()
}

fn floats(value: &Json) -> Vec<f32> {
    value.as_array().unwrap().iter().map(|value| value.as_f64().unwrap() as f32).collect()
}

fn network(case: &str) -> Program {
    let mut builder = Builder::new();
    let x = builder.input("x", &[STEPS, ASSETS]).unwrap();
    let mask = builder.input("mask", &[ASSETS]).unwrap();
    let sequences = if case == "per_asset" {
        let turned = builder.op(Transpose { order: vec![1, 0] }, &[x]).unwrap();
        builder.op(Reshape { shape: vec![ASSETS, STEPS, 1] }, &[turned]).unwrap()
    } else {
        x
    };
    let first = builder.lstm("lstm.0", sequences, HIDDEN).unwrap();
    let mut states = builder.lstm("lstm.1", first, HIDDEN).unwrap();
    if case == "attention" {
        states = builder.attention("attention", states, 2).unwrap();
    }
    let logits = match case {
        "per_asset" => {
            let turned = builder.op(Transpose { order: vec![1, 0, 2] }, &[states]).unwrap();
            let last = builder.last(turned).unwrap();
            let logits = builder.linear("head", last, 1).unwrap();
            builder.op(Reshape { shape: vec![ASSETS] }, &[logits]).unwrap()
        }
        "sequence" => builder.linear("head", states, ASSETS).unwrap(),
        _ => {
            let last = builder.last(states).unwrap();
            builder.linear("head", last, ASSETS).unwrap()
        }
    };
    let output = if case == "scores" { logits } else { builder.masked_softmax(logits, mask).unwrap() };
    builder.finish(output).unwrap()
}

struct Worst {
    output: f32,
    gradient: f32,
    loss: f64,
    norm: f64,
    end: f32,
    /// Weights whose gradients are rounding errors only.
    rounding: f32,
}

fn compare(case: &str, golden: &Json) -> Worst {
    let program = Arc::new(network(case));
    let objective = if case == "scores" { Objective::MeanSquare } else { Objective::Sharpe };
    let settings = StepSettings { objective, clip_norm: 0.5, ..StepSettings::default() };
    let mut stepper = Stepper::new(Arc::clone(&program), settings, BATCH, BATCH, false, 0);
    for parameter in program.parameters() {
        let start = floats(&golden["start"][&parameter.name]);
        stepper.set_parameters(|all| all[parameter.offset..][..parameter.count()].copy_from_slice(&start));
    }
    let batches: Vec<[Vec<f32>; 3]> = golden["batches"]
        .as_array()
        .unwrap()
        .iter()
        .map(|batch| [floats(&batch["x"]), floats(&batch["mask"]), floats(&batch["labels"])])
        .collect();
    let largest = |values: &[f32]| values.iter().fold(0.0_f32, |most, value| most.max(value.abs()));
    let difference = |ours: &[f32], theirs: &[f32]| {
        ours.iter().zip(theirs).fold(0.0_f32, |worst, (one, two)| worst.max((one - two).abs()))
    };
    // Relative to the largest element of the same tensor.
    let apart = |ours: &[f32], theirs: &[f32]| difference(ours, theirs) / largest(theirs);
    // The largest gradient of all parameters, to which others are relative.
    let all = golden["gradients"].as_object().unwrap().values().map(|tensor| largest(&floats(tensor)));
    let most = all.fold(0.0, f32::max);
    let mut worst = Worst { output: 0.0, gradient: 0.0, loss: 0.0, norm: 0.0, end: 0.0, rounding: 0.0 };
    let given = |batch: &[Vec<f32>; 3]| -> Vec<Vec<f32>> { batch[..2].to_vec() };
    let first = given(&batches[0]);
    let views: Vec<&[f32]> = first.iter().map(Vec::as_slice).collect();
    worst.output = apart(&stepper.predict(&views, BATCH), &floats(&golden["output"]));
    let (losses, norms) = (golden["losses"].as_array().unwrap(), golden["norms"].as_array().unwrap());
    for step in 0..losses.len() {
        let batch = &batches[step % batches.len()];
        let given = given(batch);
        let views: Vec<&[f32]> = given.iter().map(Vec::as_slice).collect();
        let outcome = stepper.step(&views, &batch[2], BATCH, 1e-3).unwrap();
        let relative = |ours: f64, theirs: &Json| (ours / theirs.as_f64().unwrap() - 1.0).abs();
        worst.loss = worst.loss.max(relative(outcome.loss, &losses[step]));
        worst.norm = worst.norm.max(relative(outcome.norm, &norms[step]));
        if step == 0 {
            // Gradients before clipping.
            let factor = (0.5 / (outcome.norm + 1e-6)).min(1.0) as f32;
            for parameter in program.parameters() {
                let ours = &stepper.gradients()[parameter.offset..][..parameter.count()];
                let ours: Vec<f32> = ours.iter().map(|value| value / factor).collect();
                let theirs = floats(&golden["gradients"][&parameter.name]);
                worst.gradient = worst.gradient.max(difference(&ours, &theirs) / most);
            }
        }
    }
    for parameter in program.parameters() {
        let ours = &stepper.parameters()[parameter.offset..][..parameter.count()];
        let apart = apart(ours, &floats(&golden["end"][&parameter.name]));
        // A bias that cancels in a softmax has a gradient of rounding errors only. Adam scales it to full steps, so
        // that neither implementation's values mean anything.
        if largest(&floats(&golden["gradients"][&parameter.name])) < 1e-6 * most {
            assert!(parameter.name == "attention.key.bias" || parameter.name == "head.bias");
            worst.rounding = worst.rounding.max(apart);
        } else {
            worst.end = worst.end.max(apart);
        }
    }
    worst
}

#[test]
fn fifty_steps_equal_pytorchs() {
    let golden = golden();
    for (case, golden) in golden["cases"].as_object().unwrap() {
        let Worst { output, gradient, loss, norm, end, rounding } = compare(case, golden);
        println!(
            "{case}: output {output:.1e}, gradients {gradient:.1e}, losses {loss:.1e}, norms {norm:.1e}, end {end:.1e}"
        );
        assert!(output < 1e-5 && gradient < 1e-5, "{case}");
        assert!(loss < 1e-4 && norm < 1e-4 && end < 1e-4 && rounding < 1e-3, "{case}");
    }
}

#[test]
fn the_plateau_schedule_equals_pytorchs_epoch_by_epoch() {
    let golden = golden();
    let (scores, rates) = (&golden["plateau"]["scores"], golden["plateau"]["rates"].as_array().unwrap());
    let mut ours = LearningRate::new(Schedule::Plateau { factor: 0.1, patience: 3 }, 1e-3);
    let mut lowered = 0;
    for (score, rate) in scores.as_array().unwrap().iter().zip(rates) {
        let before = ours.rate();
        ours.epoch(score.as_f64().unwrap());
        lowered += usize::from(ours.rate() < before);
        assert!((ours.rate() / rate.as_f64().unwrap() - 1.0).abs() < 1e-12, "{} {rate}", ours.rate());
    }
    assert!(lowered > 1);
}
