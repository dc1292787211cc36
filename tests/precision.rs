//! Half precision: the loss scale follows PyTorch's, an overflow skips the step, and training learns what it learns in
//! single precision.

use std::sync::Arc;

use serde_json::Value as Json;
use walkforge::internals::engine::{LossScale, StepSettings, Stepper};
use walkforge::internals::program::{Builder, Precision, Program};
use walkforge::internals::random::Random;

use crate::common;

#[test]
fn the_loss_scale_equals_pytorchs_step_by_step() {
    let golden: Json = serde_json::from_str(&common::golden("scaler.json")).unwrap();
    let (mut compared, cases) = (0, golden["cases"].as_array().unwrap());
    for case in cases {
        let mut ours = LossScale::new(case["interval"].as_u64().unwrap() as u32);
        let steps = case["overflows"].as_array().unwrap().iter().zip(case["scales"].as_array().unwrap());
        for (overflowed, theirs) in steps {
            let theirs = theirs.as_f64().unwrap();
            // This one stays between 1 and the largest single-precision value.
            if !(1.0..1e38).contains(&theirs) {
                break;
            }
            ours.update(overflowed.as_bool().unwrap());
            assert_eq!(ours.scale(), theirs, "{case}");
            compared += 1;
        }
    }
    println!("{compared} scales of {} cases", cases.len());
    assert!(cases.len() == 15 && compared > 900);
}

const BATCH: usize = 32;
const ASSETS: usize = 4;
const STEPS: usize = 6;

fn network(precision: Precision) -> Arc<Program> {
    let mut builder = Builder::new();
    let x = builder.input("returns", &[STEPS, ASSETS]).unwrap();
    let states = builder.lstm("lstm", x, 12).unwrap();
    let last = builder.last(states).unwrap();
    let normal = builder.layer_norm("norm", last).unwrap();
    let logits = builder.linear("head", normal, ASSETS).unwrap();
    let mask = builder.input("mask", &[ASSETS]).unwrap();
    let weights = builder.masked_softmax(logits, mask).unwrap();
    Arc::new(builder.finish(weights).unwrap().with_precision(precision))
}

struct Data {
    x: Vec<f32>,
    mask: Vec<f32>,
    labels: Vec<f32>,
}

/// Tomorrow's return of an asset is half of today's plus noise.
fn data(stream: u32) -> Data {
    let (random, noise) = (Random::new(9, stream, 0), Random::new(9, stream, 1));
    let x: Vec<f32> = (0..(BATCH * STEPS * ASSETS) as u64).map(|index| random.normal(index) as f32).collect();
    let label = |index: usize| {
        let today = x[(index / ASSETS * STEPS + STEPS - 1) * ASSETS + index % ASSETS];
        (0.01 * (0.5 * f64::from(today) + noise.normal(index as u64))) as f32
    };
    let labels = (0..BATCH * ASSETS).map(label).collect();
    Data { mask: vec![1.0; BATCH * ASSETS], labels, x }
}

fn stepper(precision: Precision, seed: u64) -> Stepper {
    Stepper::new(network(precision), StepSettings::default(), BATCH, BATCH, false, seed)
}

fn step(stepper: &mut Stepper, stream: u32) -> walkforge::internals::engine::StepOutcome {
    let data = data(stream);
    stepper.step(&[&data.x, &data.mask], &data.labels, BATCH, 1e-2).unwrap()
}

#[test]
fn an_overflow_skips_the_step_and_halves_the_scale() {
    let mut stepper = stepper(Precision::Fp16, 1);
    let mut large = LossScale::new(1);
    while large.scale() < 2.0_f64.powi(40) {
        large.update(false);
    }
    stepper.set_loss_scale(large);
    let before = stepper.parameters().to_vec();
    let outcome = step(&mut stepper, 0);
    assert!(outcome.skipped && outcome.loss.is_finite());
    assert_eq!((stepper.parameters(), stepper.loss_scale().unwrap().scale()), (&before[..], 2.0_f64.powi(39)));
    let mut skipped = 1;
    while step(&mut stepper, 0).skipped {
        assert_eq!(stepper.parameters(), before);
        skipped += 1;
    }
    println!("{skipped} steps skipped, down to a scale of {}", stepper.loss_scale().unwrap().scale() / 2.0);
    assert!(skipped > 3 && stepper.parameters() != before);
    // Skipped steps do not count: the first step taken is Adam's first, which moves every weight by the learning rate.
    let moved = before.iter().zip(stepper.parameters()).map(|(one, two)| (one - two).abs()).fold(0.0, f32::max);
    assert!((moved - 1e-2).abs() < 1e-4, "{moved}");
}

#[test]
fn activations_are_rounded_to_half_precision_and_master_weights_are_not() {
    let (mut half, mut single) = (stepper(Precision::Fp16, 1), stepper(Precision::Fp32, 1));
    assert_eq!(half.parameters(), single.parameters());
    let data = data(0);
    let inputs: [&[f32]; 2] = [&data.x, &data.mask];
    let (one, two) = (half.predict(&inputs, BATCH), single.predict(&inputs, BATCH));
    let apart = one.iter().zip(&two).map(|(one, two)| (one - two).abs()).fold(0.0, f32::max);
    // Half precision has 11 bits: the difference is not zero, and small.
    assert!(apart > 1e-6 && apart < 5e-3, "{apart}");
    step(&mut half, 0);
    let coarse = |value: f32| {
        let mut rounded = [value];
        walkforge::internals::device::cpu::round_to_half(&mut rounded);
        rounded[0] == value
    };
    let kept = half.parameters().iter().filter(|value| **value != 0.0 && !coarse(**value)).count();
    assert!(kept > half.parameters().len() / 2, "{kept}");
}

#[test]
fn an_overflow_at_the_lowest_scale_is_an_error_that_names_the_op() {
    let mut builder = Builder::new();
    let x = builder.input("x", &[ASSETS]).unwrap();
    let scores = builder.linear("head", x, ASSETS).unwrap();
    let large = builder.op_by_name("scale", "factor=1e30 offset=0", &[scores]).unwrap();
    let less = builder.op_by_name("scale", "factor=1e-30 offset=0", &[large]).unwrap();
    let weights = builder.op_by_name("softmax", "", &[less]).unwrap();
    let program = builder.finish(weights).unwrap().with_precision(Precision::Fp16);
    let mut stepper = Stepper::new(Arc::new(program), StepSettings::default(), BATCH, BATCH, false, 1);
    let data = data(0);
    let x = &data.x[..BATCH * ASSETS];
    let (skipped, message) = until_error(&mut stepper, x, &data.labels);
    // From 65536 down to 1.
    assert_eq!(skipped, 16);
    assert!(message.contains("op 'scale' (%1) gave"), "{message}");
}

/// Steps until one fails; returns the number of skipped steps and the message.
fn until_error(stepper: &mut Stepper, x: &[f32], labels: &[f32]) -> (usize, String) {
    let mut skipped = 0;
    loop {
        match stepper.step(&[x], labels, BATCH, 1e-2) {
            Ok(outcome) => {
                assert!(outcome.skipped);
                skipped += 1;
            }
            Err(error) => return (skipped, error.to_string()),
        }
    }
}

/// The Sharpe ratio per step on fresh data after training.
fn learned(precision: Precision, seed: u64) -> f64 {
    let mut stepper = stepper(precision, seed);
    for stream in 0..80 {
        step(&mut stepper, stream);
    }
    let mut returns = Vec::new();
    for stream in 1000..1060 {
        let data = data(stream);
        let weights = stepper.predict(&[&data.x, &data.mask], BATCH);
        let rows = weights.chunks(ASSETS).zip(data.labels.chunks(ASSETS));
        returns.extend(
            rows.map(|(weights, labels)| weights.iter().zip(labels).map(|(w, r)| f64::from(w * r)).sum::<f64>()),
        );
    }
    -walkforge::internals::objective::sharpe(&returns).0
}

#[test]
fn half_precision_learns_what_single_precision_learns() {
    let of_seeds = |precision| -> Vec<f64> { (0..5).map(|seed| learned(precision, seed)).collect() };
    let (single, half) = (of_seeds(Precision::Fp32), of_seeds(Precision::Fp16));
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
    let spread = single.iter().map(|value| (value - mean(&single)).abs()).fold(0.0, f64::max);
    println!("Sharpe ratio per step of five seeds: fp32 {single:.3?}, fp16 {half:.3?}");
    assert!(mean(&single) > 0.3 && (mean(&single) - mean(&half)).abs() <= spread, "{single:?} {half:?}");
}
