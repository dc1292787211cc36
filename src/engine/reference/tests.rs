//! The reference is right, op by op, and the CPU engine trains as it does.

use std::sync::Arc;

use super::ReferenceEngine;
use super::ops::{Call, Tensor, apply};
use super::tape::{Tape, Var};
use crate::device::{Pool, Team};
use crate::engine::cpu::{CpuEngine, StepPlan};
use crate::engine::gather::tests::noise;
use crate::engine::{
    AdamSettings, Decay, EMPTY_SLOT, Engine, EpochWork, Hyperparameters, LabelRule, Normalizer, Planes, State,
    StateSelection, Tables, WindowView,
};
use crate::objective::Objective;
use crate::ops::{Arithmetic, CASES, Case, CaseValues, Operand, Reduction};
use crate::program::{Builder, InputSource, Plane, Program};
use crate::random::Random;

const SAMPLES: usize = 3;

/// Output and gradients of a case on the tape, from its operands in double precision.
fn on_tape(case: &Case, inputs: &[Vec<f64>], output_grad: Option<&[f64]>) -> (Vec<f64>, Vec<Vec<f64>>) {
    let mut tape = Tape::default();
    let operands: Vec<Operand> = case.operands.iter().map(|(operand, _)| operand.clone()).collect();
    let tensors: Vec<Tensor> = operands
        .iter()
        .zip(inputs)
        .map(|(operand, values)| Tensor {
            shape: operand.shape.clone(),
            is_batched: operand.batched,
            values: values.iter().map(|value| tape.number(*value)).collect(),
        })
        .collect();
    let shape = case.op.rule().shape(&operands).unwrap();
    let is_batched = operands.iter().any(|operand| operand.batched);
    // The random numbers of the cases of dropout.
    let random = Random::new(5, 1, 2);
    let scalar = case.op.rule().scalar().map_or(0.0, |(_, value)| f64::from(value));
    let call = Call { shape: &shape, is_batched, samples: SAMPLES, is_training: true, random, scalar };
    let output = apply(&mut tape, &case.op, &tensors, &call);
    let values: Vec<f64> = output.values.iter().map(|var| tape.value(*var)).collect();
    let Some(output_grad) = output_grad else { return (values, Vec::new()) };
    let weights: Vec<Var> = output_grad.iter().map(|grad| tape.number(*grad)).collect();
    let loss = tape.dot(output.values.iter().copied().zip(weights));
    (values, tensors.iter().map(|tensor| tape.gradients(loss, &tensor.values)).collect())
}

#[test]
fn each_op_of_the_reference_has_the_values_and_gradients_of_its_cases() {
    let mut compared = 0;
    for (folder, cases) in CASES {
        for case in cases() {
            let draw = |stream: u32, count: usize, values: CaseValues| -> Vec<f64> {
                let uniform = |position| f64::from(Random::new(3, stream, 0).uniform(position));
                (0..count as u64)
                    .map(|position| match values {
                        CaseValues::Uniform => uniform(position) * 2.0 - 1.0,
                        CaseValues::Positive => uniform(position) + 0.5,
                        CaseValues::Mask => f64::from(u8::from(uniform(position) < 0.7)),
                    })
                    .collect()
            };
            let operands = case.operands.iter().zip(0..);
            let mut inputs: Vec<Vec<f64>> =
                operands.map(|((operand, values), stream)| draw(stream, operand.size(SAMPLES), *values)).collect();
            let exact = (case.reference)(&inputs, SAMPLES);
            let output_grad = draw(99, exact.len(), CaseValues::Uniform);
            let (values, gradients) = on_tape(&case, &inputs, Some(&output_grad));
            let name = format!("{folder}, {}", case.name);
            assert_eq!(values.len(), exact.len(), "{name}");
            for (ours, exact) in values.iter().zip(&exact) {
                assert!((ours - exact).abs() < 1e-7, "{name}: {ours}, expected {exact}");
            }
            let loss = |values: &[f64]| -> f64 { values.iter().zip(&output_grad).map(|(x, y)| x * y).sum() };
            for operand in 0..inputs.len() {
                if case.operands[operand].1 == CaseValues::Mask {
                    continue;
                }
                for index in 0..inputs[operand].len() {
                    const STEP: f64 = 1e-5;
                    let value = inputs[operand][index];
                    let mut at = |value: f64| {
                        inputs[operand][index] = value;
                        loss(&(case.reference)(&inputs, SAMPLES))
                    };
                    let slope = (at(value + STEP) - at(value - STEP)) / (2.0 * STEP);
                    inputs[operand][index] = value;
                    let ours = gradients[operand][index];
                    assert!((ours - slope).abs() < 1e-6, "{name}, {operand}, {index}: {ours}, expected {slope}");
                    compared += 1;
                }
            }
        }
    }
    assert!(compared > 1000, "{compared}");
}

const ROWS: usize = 100;
const ASSETS: usize = 4;
const STEPS: usize = 5;
const TRAINED: usize = 80;

/// Inputs, two LSTM layers with dropout, attention, a residual connection, normalisation and a masked softmax.
fn deep(builder: &mut Builder) -> crate::program::ValueId {
    let trailing = InputSource::Trailing { plane: Plane::Returns, rows: STEPS };
    let x = builder.input_from("returns", &[STEPS, ASSETS], trailing).unwrap();
    let first = builder.lstm("lstm.0", x, 8).unwrap();
    let dropped = builder.dropout(first, 0.3).unwrap();
    let second = builder.lstm("lstm.1", dropped, 8).unwrap();
    let attended = builder.attention("attention", second, 2).unwrap();
    let sum = builder.arithmetic(Arithmetic::Add, attended, second).unwrap();
    let normal = builder.layer_norm("norm", sum).unwrap();
    let pooled = builder.reduce(Reduction::Mean, 0, normal).unwrap();
    builder.linear("head", pooled, ASSETS).unwrap()
}

fn weights() -> Program {
    let mut builder = Builder::new();
    let scores = deep(&mut builder);
    let mask = builder.input_from("mask", &[ASSETS], InputSource::Mask).unwrap();
    let weights = builder.masked_softmax(scores, mask).unwrap();
    builder.finish(weights).unwrap()
}

fn scores() -> Program {
    let mut builder = Builder::new();
    let scores = deep(&mut builder);
    builder.finish(scores).unwrap()
}

/// The scalars of a replica: the second one has less dropout than the program.
fn scalars_of(program: &Program, slot: usize) -> Arc<[f32]> {
    program.scalars().iter().map(|share| if slot == 1 { share / 2.0 } else { *share }).collect()
}

/// Trains three epochs of two replicas and returns their states and their output on all samples.
fn trained(
    engine: &mut dyn Engine,
    program: &Program,
    objective: Objective,
    adam: AdamSettings,
    turnover: f64,
) -> (Vec<State>, Vec<f32>) {
    let panel = noise(ROWS, ASSETS);
    engine.load(&Arc::new(Planes::of(&panel))).unwrap();
    let all: Vec<i32> = (0..ASSETS as i32).collect();
    let three = [1, EMPTY_SLOT, 3, 0];
    let samples = (0..TRAINED).map(|index| (index + STEPS, if index % 7 == 3 { &three[..] } else { &all }));
    let label = LabelRule { kind: objective.label_kind(), horizon: 1, lag: 1 };
    let view = WindowView::new(ROWS, ASSETS, samples, Normalizer::fit_planes(&panel, &(0..ROWS)), label);
    let (view, tables) = (Arc::new(view), Arc::<Tables>::default());
    let mut out = Vec::new();
    let mut output = vec![0.0; TRAINED * ASSETS];
    for slot in 0..2 {
        let scalars = scalars_of(program, slot);
        let hyperparameters = Hyperparameters { seed: slot as u64, adam, clip_norm: 0.5, turnover, scalars };
        engine.begin(slot, &view, &tables, hyperparameters, State::initial(program, slot as u64)).unwrap();
    }
    for epoch in 0..3 {
        let batches = [0..35, 35..50, 50..TRAINED];
        let batches = Arc::new(batches.map(|range| range.map(|sample| sample as u32).collect::<Vec<_>>()).to_vec());
        let work = |slot| EpochWork {
            slot,
            batches: Arc::clone(&batches),
            cursor: 0,
            learning_rate: 0.01 / f64::from(epoch + 1),
            loss: 0.0,
            skipped: 0,
            fault: None,
        };
        let mut works = [work(0), work(1)];
        engine.epoch(&mut works, &|| false).unwrap();
        assert!(works.iter().all(|work| work.cursor == 3 && work.fault.is_none()));
    }
    let indices: Vec<u32> = (0..TRAINED as u32).collect();
    engine.predict(1, &indices, &mut output, &|| false).unwrap();
    for slot in 0..2 {
        out.push(engine.read(slot, StateSelection::All).unwrap());
    }
    (out, output)
}

#[test]
fn the_cpu_engine_trains_as_the_reference_does() {
    let l2 = AdamSettings { weight_decay: 0.01, ..AdamSettings::default() };
    // The bias of the attention's keys has no gradient but rounding, which Adam would blow up without decay and with a
    // smaller epsilon.
    let decoupled = AdamSettings { decay: Decay::Decoupled, epsilon: 1e-5, ..l2 };
    for (program, objective, adam, turnover) in [
        (weights(), Objective::Sharpe, l2, 0.0),
        (weights(), Objective::Sharpe, decoupled, 2e-3),
        (scores(), Objective::MeanSquare, l2, 0.0),
    ] {
        let program = Arc::new(program);
        let mut reference = ReferenceEngine::new(Arc::clone(&program), objective);
        let (expected, expected_output) = trained(&mut reference, &program, objective, adam, turnover);
        let plan = StepPlan { micro_batch: 10, date_rows: 2 * ROWS, ..StepPlan::whole(35) };
        let team = Arc::new(Team::new(Arc::new(Pool::new(2).unwrap()), 2));
        let mut cpu = CpuEngine::new(Arc::clone(&program), objective, plan, turnover > 0.0, (2, team));
        let (ours, output) = trained(&mut cpu, &program, objective, adam, turnover);
        let mut worst = 0.0_f32;
        for (ours, expected) in ours.iter().zip(&expected) {
            assert_eq!(ours.steps, 9);
            let start = State::initial(&program, 0).parameters;
            let moved = ours.parameters.iter().zip(&start).any(|(now, then)| (now - then).abs() > 1e-2);
            assert!(moved, "nothing was learnt");
            for (ours, expected) in [
                (&ours.parameters, &expected.parameters),
                (&ours.first, &expected.first),
                (&ours.second, &expected.second),
            ] {
                let pairs = ours.iter().zip(expected);
                worst = pairs.map(|(ours, expected)| (ours - expected).abs()).fold(worst, f32::max);
            }
        }
        let pairs = output.iter().zip(&expected_output);
        let worst_output = pairs.map(|(ours, expected)| (ours - expected).abs()).fold(0.0, f32::max);
        println!("{objective:?}, turnover {turnover}: states {worst:e}, output {worst_output:e}");
        assert!(worst < 1e-5 && worst_output < 1e-5, "{objective:?}: {worst} {worst_output}");
    }
}
