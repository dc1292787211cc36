//! The PTX engine trains a linear network as the CPU engine and the reference do.

use std::sync::Arc;

use super::PtxEngine;
use crate::device::Team;
use crate::engine::cpu::{CpuEngine, StepPlan};
use crate::engine::gather::tests::noise;
use crate::engine::reference::ReferenceEngine;
use crate::engine::{
    AdamSettings, Decay, EMPTY_SLOT, Engine, EpochWork, Hyperparameters, LabelRule, Normalizer, Planes, State,
    StateSelection, Tables, WindowView, ZScore,
};
use crate::objective::{LabelKind, Objective};
use crate::ops::Reshape;
use crate::program::{Builder, InputSource, Plane, Program};

const ROWS: usize = 80;
const ASSETS: usize = 3;
const STEPS: usize = 4;
const SAMPLES: usize = 60;

fn program() -> Program {
    let mut builder = Builder::new();
    let trailing = InputSource::Trailing { plane: Plane::Returns, rows: STEPS };
    let x = builder.input_from("returns", &[STEPS, ASSETS], trailing).unwrap();
    let flat = builder.op(Reshape { shape: vec![STEPS * ASSETS] }, &[x]).unwrap();
    let hidden = builder.linear("body", flat, 7).unwrap();
    let scores = builder.linear("head", hidden, ASSETS).unwrap();
    builder.finish(scores).unwrap()
}

/// States of two replicas after three epochs, losses, and the output of all samples.
fn trained(engine: &mut dyn Engine, adam: AdamSettings) -> (Vec<State>, Vec<f64>, Vec<f32>) {
    let panel = noise(ROWS, ASSETS);
    engine.load(&Arc::new(Planes::of(&panel))).unwrap();
    let all: Vec<i32> = (0..ASSETS as i32).collect();
    // The first samples reach before the data, and one asset is missing now and then.
    let samples = (0..SAMPLES).map(|row| (row, if row % 5 == 1 { &[2, EMPTY_SLOT, 0][..] } else { &all }));
    let label = LabelRule { kind: LabelKind::Observed, horizon: 3, lag: 1 };
    let mut normalizer = Normalizer::fit_planes(&panel, &(0..ROWS));
    normalizer.label = ZScore { mean: 1e-4, deviation: 0.02, inverse: 50.0 };
    let view = Arc::new(WindowView::new(ROWS, ASSETS, samples, normalizer, label));
    let tables = Arc::<Tables>::default();
    for slot in 0..2 {
        let hyperparameters =
            Hyperparameters { seed: slot as u64, adam, clip_norm: 0.7, turnover: 0.0, scalars: program().scalars() };
        engine.begin(slot, &view, &tables, hyperparameters, State::initial(&program(), slot as u64)).unwrap();
    }
    let mut losses = Vec::new();
    for epoch in 0..3 {
        let batch = |first: u32| (first..SAMPLES as u32).step_by(2).collect::<Vec<u32>>();
        let batches = Arc::new(vec![batch(0), batch(1)]);
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
        assert!(works.iter().all(|work| work.cursor == 2 && work.fault.is_none()));
        losses.extend(works.iter().map(|work| work.loss));
    }
    let indices: Vec<u32> = (0..SAMPLES as u32).collect();
    let mut output = vec![0.0; SAMPLES * ASSETS];
    engine.predict(1, &indices, &mut output, &|| false).unwrap();
    let states = (0..2).map(|slot| engine.read(slot, StateSelection::All).unwrap()).collect();
    (states, losses, output)
}

fn apart(one: &(Vec<State>, Vec<f64>, Vec<f32>), two: &(Vec<State>, Vec<f64>, Vec<f32>)) -> f64 {
    let mut worst = 0.0_f64;
    let mut add = |one: &[f32], two: &[f32]| {
        assert_eq!(one.len(), two.len());
        worst = one.iter().zip(two).map(|(a, b)| f64::from((a - b).abs())).fold(worst, f64::max);
    };
    for (one, two) in one.0.iter().zip(&two.0) {
        assert_eq!(one.steps, two.steps);
        add(&one.parameters, &two.parameters);
        add(&one.first, &two.first);
        add(&one.second, &two.second);
    }
    add(&one.2, &two.2);
    one.1.iter().zip(&two.1).map(|(a, b)| (a - b).abs()).fold(worst, f64::max)
}

#[test]
fn kernels_train_a_linear_network_as_the_cpu_and_the_reference_do() {
    let decoupled = AdamSettings { decay: Decay::Decoupled, weight_decay: 0.1, ..AdamSettings::default() };
    for adam in [AdamSettings { weight_decay: 0.01, ..AdamSettings::default() }, decoupled] {
        let shared = Arc::new(program());
        let mut ptx = PtxEngine::new(&shared, Objective::MeanSquare).unwrap();
        let ours = trained(&mut ptx, adam);
        // What belongs to steps is freed: planes, and five buffers of each replica, are left.
        let held = |engine: &PtxEngine| engine.bytes();
        let before = held(&ptx);
        ptx.end(0).unwrap();
        assert!(held(&ptx) < before && ptx.read(0, StateSelection::All).is_err());
        let team = Arc::new(Team::alone());
        let plan = StepPlan::whole(SAMPLES / 2);
        let mut cpu = CpuEngine::new(Arc::clone(&shared), Objective::MeanSquare, plan, false, (2, team));
        let mut reference = ReferenceEngine::new(Arc::clone(&shared), Objective::MeanSquare);
        let (of_cpu, of_reference) = (trained(&mut cpu, adam), trained(&mut reference, adam));
        let (to_cpu, to_reference) = (apart(&ours, &of_cpu), apart(&ours, &of_reference));
        println!("{:?}: {to_cpu:e} from the CPU, {to_reference:e} from the reference", adam.decay);
        assert!(to_cpu < 1e-5 && to_reference < 1e-5, "{to_cpu} {to_reference}");
        let start = State::initial(&shared, 0).parameters;
        assert!(ours.0[0].parameters.iter().zip(&start).any(|(now, then)| (now - then).abs() > 1e-2));
    }
}

#[test]
fn what_has_no_kernel_is_refused_by_name() {
    let mut builder = Builder::new();
    let trailing = InputSource::Trailing { plane: Plane::Returns, rows: STEPS };
    let x = builder.input_from("returns", &[STEPS, ASSETS], trailing).unwrap();
    let states = builder.lstm("lstm", x, 3).unwrap();
    let program = builder.finish(states).unwrap();
    let error = PtxEngine::new(&program, Objective::MeanSquare).err().unwrap().to_string();
    assert!(error.contains("there is no kernel for op 'lstm'"), "{error}");
}
