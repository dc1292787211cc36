//! The memory of training: what is held stays within the plan, a budget is kept or refused with the least that would
//! do, and neither the budget nor the number of seeds changes what a seed learns.

use std::sync::Arc;

use jiff::ToSpan;
use jiff::civil::{Date, date};
use serde_json::{Value as Json, json};
use walkforge::internals::model::{Context, Estimator, Factory, Model, Network};
use walkforge::internals::network::{BoundNetwork, TrainedNetwork};
use walkforge::internals::objective::Head;
use walkforge::internals::portfolio::{Constraints, ExecutionModel};
use walkforge::internals::program::{Precision, Purpose};
use walkforge::internals::random::Random;
use walkforge::internals::settings::SettingValues;
use walkforge::internals::train::{Trainer, TrainingSpan};
use walkforge::{Panel, PanelKind, Result, TrainSettings, TrainingHistory};

use crate::common;

const ROWS: usize = 420;
const TRAIN: usize = 360;

fn panel(assets: usize) -> Panel {
    let random = Random::new(5, 0, 0);
    let dates: Vec<Date> = (0..ROWS as i64).map(|day| date(2015, 1, 1).saturating_add(day.days())).collect();
    let names: Vec<String> = (0..assets).map(|asset| format!("A{asset:03}")).collect();
    let values: Vec<f64> = (0..(ROWS * assets) as u64).map(|cell| 0.01 * random.normal(cell)).collect();
    Panel::from_arrays(PanelKind::Returns, dates, &names, &values).unwrap()
}

fn lstm(settings: &Json) -> Arc<dyn Network> {
    let plugin = common::lstm();
    let settings = SettingValues::check("", plugin.settings(), settings.as_object().unwrap()).unwrap();
    let Model::Network(network) = plugin.create(&settings, &Context::default()).unwrap() else { panic!() };
    network
}

fn trainer(model: &Json, train: &Json, seed: u64) -> Result<Trainer> {
    let network = lstm(model);
    let settings = TrainSettings::from_sections(train.as_object().unwrap(), None)?;
    let task = TrainingSpan {
        panel: panel(6),
        train: 0..TRAIN,
        samples: network.requirements().lookback - 1..TRAIN - 1,
        horizon: 1,
        decisions: (TRAIN - 1..ROWS - 1).step_by(7).collect(),
        validation: TRAIN..ROWS,
        execution: ExecutionModel::new(Constraints::default(), 1.0, 0),
    };
    Trainer::new(network, &settings, task, seed)
}

fn trained(mut trainer: Trainer) -> (TrainedNetwork, TrainingHistory) {
    while !trainer.is_done() {
        trainer.epoch(&|| false).unwrap();
    }
    trainer.finish()
}

fn with(base: &Json, key: &str, value: impl Into<Json>) -> Json {
    let mut out = base.clone();
    out[key] = value.into();
    out
}

/// Ten networks with different activations.
fn shapes() -> Vec<Json> {
    let base = json!({"hidden_size": 8, "lookback": 6, "layers": 2});
    vec![
        base.clone(),
        with(&base, "hidden_size", 21),
        with(&base, "layers", 1),
        with(&base, "layers", 4),
        with(&base, "output", "sequence"),
        with(&base, "arrangement", "per_asset"),
        with(&with(&base, "arrangement", "per_asset"), "output", "sequence"),
        with(&base, "attention", true),
        with(&with(&base, "attention", true), "arrangement", "per_asset"),
        with(&base, "lookback", 17),
    ]
}

#[test]
fn what_is_held_stays_within_the_plan_and_a_budget_one_byte_below_the_least_is_refused() {
    let (mut compared, mut recomputed, mut smaller) = (0, 0, 0);
    for precision in ["fp32", "fp16"] {
        for model in shapes() {
            let base = json!({"max_epochs": 1, "batch_size": 64, "accumulation_steps": 4, "precision": precision});
            let budgeted = |bytes: usize| trainer(&model, &with(&base, "memory_budget", format!("{bytes}B")), 1);
            let whole = trained(trainer(&model, &base, 1).unwrap()).1;
            assert_eq!((whole.batch, whole.micro_batch, whole.recompute), (256, 32, false));
            let refused = budgeted(1000).err().unwrap().to_string();
            let least: usize = refused.split("at least ").nth(1).unwrap().split(' ').next().unwrap().parse().unwrap();
            // All that is planned without a budget, one byte less, half way down, the least.
            for budget in
                [whole.planned_bytes, whole.planned_bytes - 1, usize::midpoint(whole.planned_bytes, least), least]
            {
                let training = trained(budgeted(budget).unwrap()).1;
                let (planned, measured) = (training.planned_bytes, training.measured_bytes);
                assert!(measured <= planned && 2 * measured > planned, "{model}: {measured} {planned}");
                assert!(planned <= budget, "{model} {budget}");
                compared += 1;
                recomputed += usize::from(training.recompute);
                smaller += usize::from(training.micro_batch < 32);
            }
            let message = budgeted(least - 1).err().unwrap().to_string();
            assert!(message.contains(&format!("at least {least} bytes")), "{message}");
            assert!(message.contains(&format!("memory_budget = \"{least}B\"")), "{message}");
        }
    }
    println!("{compared} trainings: {smaller} with smaller micro-batches, {recomputed} with recomputation");
    assert!(compared == 80 && smaller >= 40 && recomputed >= 5);
}

fn bits(trained: &TrainedNetwork) -> Vec<Vec<u32>> {
    trained.parameters().iter().map(|seed| seed.iter().map(|value| value.to_bits()).collect()).collect()
}

#[test]
fn a_seed_learns_the_same_alone_and_together_with_seven_others() {
    let model = json!({"hidden_size": 8, "lookback": 6, "dropout": 0.4});
    let base = json!({"max_epochs": 4, "early_stop_epochs": 2, "batch_size": 32});
    let (together, training) = trained(trainer(&model, &with(&base, "seeds", 8), 7).unwrap());
    assert_eq!((training.stack, training.seeds.len()), (8, 8));
    // Seeds stop at different epochs.
    let ended: std::collections::BTreeSet<u32> = training.seeds.iter().map(|seed| seed.epochs).collect();
    assert!(ended.len() > 1, "{:?}", training.seeds);
    let together = bits(&together);
    for (index, seed) in together.iter().enumerate() {
        let (alone, alone_training) = trained(trainer(&model, &base, Trainer::seed(7, index)).unwrap());
        assert!(bits(&alone)[0] == *seed, "seed {index}");
        assert_eq!(alone_training.seeds[0], training.seeds[index]);
    }
    // If not all fit into the budget, they are trained in groups and learn the same.
    let state = 3 * 4 * training.parameters;
    let budget = training.planned_bytes - 5 * state;
    let settings = with(&with(&base, "seeds", 8), "memory_budget", format!("{budget}B"));
    let (in_groups, training) = trained(trainer(&model, &settings, 7).unwrap());
    assert!(training.stack == 3 && training.micro_batch == 32, "{training:?}");
    assert!(training.planned_bytes <= budget && training.measured_bytes <= training.planned_bytes, "{training:?}");
    assert!(bits(&in_groups) == together);
}

#[test]
fn the_weights_of_an_ensemble_are_the_mean_over_its_seeds() {
    let model = json!({"hidden_size": 8, "lookback": 6});
    let base = json!({"max_epochs": 3, "batch_size": 32, "learning_rate": 0.02});
    let past = panel(6).past(350..400, &(0..6).collect::<Vec<_>>()).unwrap();
    let whole = trained(trainer(&model, &with(&base, "seeds", 3), 7).unwrap()).0;
    let seeds: Vec<TrainedNetwork> =
        (0..3).map(|index| trained(trainer(&model, &base, Trainer::seed(7, index)).unwrap()).0).collect();
    let each: Vec<Vec<f64>> = seeds.iter().map(|seed| seed.weights(&past).unwrap()).collect();
    assert_ne!(each[0], each[1]);
    for (asset, weight) in whole.weights(&past).unwrap().iter().enumerate() {
        let mean = each.iter().map(|weights| weights[asset]).sum::<f64>() / 3.0;
        assert!((weight - mean).abs() < 1e-15);
    }
}

#[test]
fn twenty_four_mebibytes_and_a_gibibyte_give_the_same_weights_to_rounding() {
    // With the smaller budget this network is trained in smaller micro-batches.
    let model = json!({"hidden_size": 64, "lookback": 60, "dropout": 0.3});
    let base = json!({"max_epochs": 2, "batch_size": 32, "accumulation_steps": 4});
    let past = panel(6).past(300..400, &(0..6).collect::<Vec<_>>()).unwrap();
    let weights = |budget: &str| {
        let (model, training) = trained(trainer(&model, &with(&base, "memory_budget", budget), 3).unwrap());
        (model.weights(&past).unwrap(), training)
    };
    let ((small, tight), (large, plenty)) = (weights("24MiB"), weights("1GiB"));
    println!(
        "24 MiB: micro-batch {}, recomputing {}, {} bytes; 1 GiB: micro-batch {}, {} bytes",
        tight.micro_batch, tight.recompute, tight.planned_bytes, plenty.micro_batch, plenty.planned_bytes
    );
    assert!(tight.planned_bytes <= 24 << 20 && plenty.planned_bytes > 24 << 20);
    assert!(tight.micro_batch < plenty.micro_batch || tight.recompute);
    let worst = small.iter().zip(&large).map(|(one, two)| (one - two).abs()).fold(0.0, f64::max);
    assert!(worst < 1e-3, "{worst}");
}

#[test]
fn the_default_lstm_of_four_hundred_assets_fits_a_card_of_twelve_gigabytes() {
    for precision in [Precision::Fp32, Precision::Fp16] {
        let form = BoundNetwork::new(&*lstm(&json!({})), 400, &[], Head::Weights, precision).unwrap().unwrap();
        let bytes = form.program.plan(Purpose::Train, 128).bytes() + 2 * form.program.parameter_count() * 4;
        println!("400 assets, a batch of 128, {precision:?}: {:.1} MiB", bytes as f64 / f64::from(1 << 20));
        assert!(bytes < 11 << 30);
    }
}

#[test]
fn decisions_that_pass_together_have_the_bits_of_each_alone() {
    for model in [
        json!({"hidden_size": 8, "lookback": 6}),
        json!({"hidden_size": 21, "lookback": 6, "arrangement": "per_asset"}),
        json!({"hidden_size": 8, "lookback": 6, "attention": true, "output": "sequence"}),
    ] {
        for precision in ["fp32", "fp16"] {
            let train = json!({"max_epochs": 1, "batch_size": 64, "seeds": 2, "precision": precision});
            let network = trained(trainer(&model, &train, 3).unwrap()).0;
            let assets =
                |row: usize| if row.is_multiple_of(5) { vec![0, 2, 3, 5] } else { (0..6).collect::<Vec<usize>>() };
            let pasts: Vec<_> = (100..140).map(|row| panel(6).past(row - 5..row + 1, &assets(row)).unwrap()).collect();
            let bits = |values: &[f64]| values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
            for (past, answer) in pasts.iter().zip(network.answers(&pasts)) {
                let answer = answer.unwrap();
                assert_eq!(bits(&answer.weights), bits(&network.weights(past).unwrap()), "{model} {precision}");
                let scores = network.scores(past).unwrap();
                assert_eq!(answer.scores.as_deref().map(bits), scores.as_deref().map(bits), "{model} {precision}");
            }
        }
    }
}
