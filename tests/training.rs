//! Training in the whole pipeline: a planted signal is found, noise is not, nothing looks ahead, threads and
//! interruptions do not change a bit, and as much memory is used as was planned.

use std::ops::Range;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};

use jiff::civil::date;
use walkforge::internals::model::{Context, Factory, Model};
use walkforge::internals::portfolio::{Constraints, ExecutionModel};
use walkforge::internals::random::Random;
use walkforge::internals::run::scores;
use walkforge::internals::settings::SettingValues;
use walkforge::internals::train::{StopReason, Trainer, TrainingSpan};
use walkforge::{Code, Experiment, Panel, PanelKind, Run, Runtime, TrainSettings, TrainingHistory, register};

use crate::common::panels::weekdays;
use crate::common::{finish, lstm, search};

const ASSETS: usize = 5;

fn names() -> Vec<String> {
    (0..ASSETS).map(|asset| format!("A{asset}")).collect()
}

/// Daily returns with a standard deviation of 1 % and an autocorrelation of `echo`.
fn returns(seed: u64, rows: usize, echo: f64) -> Vec<f64> {
    let random = Random::new(seed, 0, 0);
    let mut out: Vec<f64> = Vec::with_capacity(rows * ASSETS);
    for cell in 0..rows * ASSETS {
        let before = if cell < ASSETS { 0.0 } else { out[cell - ASSETS] };
        out.push(echo * before + 0.01 * (1.0 - echo * echo).sqrt() * random.normal(cell as u64));
    }
    out
}

fn panel(values: &[f64]) -> Panel {
    let dates = weekdays(date(2012, 1, 2)).take(values.len() / ASSETS).collect();
    Panel::from_arrays(PanelKind::Returns, dates, &names(), values).unwrap()
}

const EXPERIMENT: &str = "
seed = 3
[windows]
train_months = 12
validation_months = 4
test_months = 4
step_months = 4
[portfolio]
rebalance = \"daily\"
cost_bps = 2.0
[train]
max_epochs = 12
batch_size = 32
accumulation_steps = 2
learning_rate = 0.02
[[models]]
name = \"lstm\"
[models.settings]
hidden_size = 8
layers = 1
lookback = 8
min_history = 4
";

fn prepared(panel: &Panel, overrides: &[&str], threads: usize) -> Run {
    try_prepare(panel, overrides, threads).unwrap()
}

fn try_prepare(panel: &Panel, overrides: &[&str], threads: usize) -> walkforge::Result<Run> {
    // Overrides of the model are written into its table, the others are applied like those of the command line.
    let (own, rest): (Vec<&str>, Vec<&str>) = overrides.iter().partition(|entry| entry.starts_with("model."));
    let own: Vec<String> = own.iter().map(|entry| entry["model.".len()..].replacen('=', " = ", 1)).collect();
    let overridden = |line: &&str| own.iter().any(|entry| line.split(' ').next() == entry.split(' ').next());
    let kept = EXPERIMENT.lines().filter(|line| !overridden(line));
    let text = kept.chain(own.iter().map(String::as_str)).collect::<Vec<_>>().join("\n");
    let rest: Vec<String> = rest.iter().map(|&entry| entry.to_owned()).collect();
    let experiment = Experiment::from_toml(&text, PathBuf::new(), &rest).unwrap();
    Run::new(experiment, panel.clone(), &Runtime::new(search([("lstm", lstm())]), threads).unwrap())
}

fn done(mut run: Run) -> Run {
    finish(&mut run);
    run
}

fn walked(panel: &Panel, overrides: &[&str]) -> Run {
    done(prepared(panel, overrides, 2))
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

fn deviation(values: &[f64]) -> f64 {
    let mean = mean(values);
    (values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (values.len() - 1) as f64).sqrt()
}

/// The mean divided by its standard error.
fn t_value(values: &[f64]) -> f64 {
    mean(values) / deviation(values) * (values.len() as f64).sqrt()
}

/// Settings of a network that take different code paths from the panel to the weights.
const ARRANGEMENTS: [&[&str]; 4] = [
    &[],
    &["model.arrangement=\"per_asset\""],
    &["model.arrangement=\"per_asset\"", "model.output=\"sequence\""],
    &["model.output=\"sequence\"", "train.turnover_bps=2"],
];

#[test]
fn a_planted_signal_is_found_out_of_sample() {
    // Prices revert: with the label of the wrong day the model would hold what falls tomorrow.
    let panel = panel(&returns(1, 700, -0.5));
    for overrides in ARRANGEMENTS {
        let run = walked(&panel, overrides);
        let sharpe = mean(&run.paths[1].net) / deviation(&run.paths[1].net) * 252.0_f64.sqrt();
        let benchmark = mean(&run.paths[0].net) / deviation(&run.paths[0].net) * 252.0_f64.sqrt();
        println!("{overrides:?}: net Sharpe {sharpe:.2}, equal weight {benchmark:.2}");
        // Always holding the best of five assets has a Sharpe ratio of about 9 before costs, equal weight of 0.
        assert!(sharpe > 3.0 && benchmark < 2.5, "{overrides:?}: {sharpe} {benchmark}");
    }
}

#[test]
fn without_the_order_of_the_days_nothing_is_found() {
    let values = returns(1, 700, 0.5);
    let order = Random::new(9, 0, 0).permutation(700);
    let shuffled: Vec<f64> = order.iter().flat_map(|row| values[row * ASSETS..][..ASSETS].to_vec()).collect();
    for overrides in ARRANGEMENTS {
        let run = walked(&panel(&shuffled), overrides);
        let excess: Vec<f64> = run.paths[1].gross.iter().zip(&run.paths[0].gross).map(|(one, two)| one - two).collect();
        let found = t_value(&excess);
        println!("{overrides:?}: t of the excess before costs {found:.2}");
        assert!(found.abs() < 3.0, "{overrides:?}: {found}");
    }
}

#[test]
fn noise_earns_minus_the_costs_within_sampling_error() {
    let mut nets = Vec::new();
    for seed in 0..4 {
        let run = walked(&panel(&returns(100 + seed, 700, 0.0)), ARRANGEMENTS[(seed % 2) as usize]);
        let costs = &run.paths[1].cost;
        assert!(mean(costs) > 0.0);
        nets.extend(run.paths[1].net.iter().zip(costs).map(|(net, cost)| net + cost));
    }
    // Before costs the path earns nothing, which it could only with data of later rows.
    let found = t_value(&nets);
    println!("t of the net return plus costs over {} days of noise: {found:.2}", nets.len());
    assert!(found.abs() < 3.0, "{found}");
}

fn outcome(run: &Run) -> (Vec<Vec<u64>>, Vec<TrainingHistory>) {
    let weights = run.targets[1].iter().map(|target| target.weights.iter().map(|weight| weight.to_bits()).collect());
    let training = run.results[1].iter().map(|window| {
        let training = window.training.clone().unwrap();
        TrainingHistory { seconds: 0.0, ..training }
    });
    (weights.collect(), training.collect())
}

#[test]
fn one_to_four_threads_give_the_same_bits() {
    let panel = panel(&returns(2, 600, 0.2));
    for overrides in [ARRANGEMENTS[0], ARRANGEMENTS[2]] {
        let overrides = [overrides, &["model.dropout=0.4", "model.layers=2", "train.max_epochs=3"]].concat();
        let one = outcome(&done(prepared(&panel, &overrides, 1)));
        assert!(one.0.len() > 100 && one.1.len() > 2);
        for threads in 2..=4 {
            assert!(outcome(&done(prepared(&panel, &overrides, threads))) == one, "{threads} threads, {overrides:?}");
        }
    }
}

#[test]
fn threads_give_the_same_bits_also_where_the_budget_holds_fewer_units_than_threads() {
    let panel = panel(&returns(1, 700, 0.3));
    let overrides: &[&str] = &["train.seeds=3", "train.max_epochs=2"];
    let without_bytes = |run: &Run| {
        let (weights, trainings) = outcome(run);
        let trainings = trainings.into_iter();
        // The budget also decides how many decisions stay in memory.
        let same = trainings.map(|training| TrainingHistory { planned_bytes: 0, measured_bytes: 0, ..training });
        (weights, same.collect::<Vec<_>>())
    };
    let plenty = walked(&panel, overrides);
    let planned = outcome(&plenty).1[0].planned_bytes;
    // The largest of these budgets that holds one unit at a time, so that units wait for memory.
    let budget = |percent| format!("train.memory_budget=\"{}B\"", planned * percent / 100);
    let holds_one = |percent: &usize| {
        let mut run = prepared(&panel, &[overrides, &[budget(*percent).as_str()]].concat(), 4);
        run.step().is_ok() && run.training().len() == 1
    };
    let budget = budget((10..200).rev().find(holds_one).unwrap());
    let tight = [overrides, &[budget.as_str()]].concat();
    for threads in [1, 2, 4] {
        let mut run = prepared(&panel, &tight, threads);
        let mut most = 0;
        while run.step().unwrap().done < run.windows.len() {
            most = most.max(run.training().len());
        }
        assert_eq!(most, 1, "{threads} threads");
        assert!(without_bytes(&run) == without_bytes(&plenty), "{threads} threads");
    }
    let mut free = prepared(&panel, overrides, 4);
    free.step().unwrap();
    assert_eq!(free.training().len(), 4);
}

#[test]
fn a_cancelled_run_continues_to_the_same_bits() {
    let panel = panel(&returns(2, 600, 0.2));
    let overrides = ["train.max_epochs=4"];
    let expected = outcome(&walked(&panel, &overrides));
    let mut run = prepared(&panel, &overrides, 2);
    let flag = run.cancel_flag();
    for _ in 0..3 {
        flag.store(true, Ordering::Relaxed);
        assert_eq!(run.step().unwrap_err().code(), Code::Cancelled);
        run.step().unwrap();
    }
    assert!(outcome(&done(run)) == expected);
}

/// A trainer without a run.
fn trainer() -> Trainer {
    let plugin = lstm();
    let settings = serde_json::json!({"hidden_size": 8, "lookback": 8});
    let settings = SettingValues::check("", plugin.settings(), settings.as_object().unwrap()).unwrap();
    let Model::Network(network) = plugin.create(&settings, &Context::default()).unwrap() else { panic!() };
    let train = serde_json::json!({"max_epochs": 3, "batch_size": 16, "accumulation_steps": 1});
    let train = TrainSettings::from_sections(train.as_object().unwrap(), None).unwrap();
    let execution = ExecutionModel::new(Constraints::default(), 1.0, 0);
    let task = TrainingSpan {
        panel: panel(&returns(2, 200, 0.2)),
        train: 0..150,
        samples: 7..149,
        horizon: 1,
        decisions: (149..199).step_by(10).collect(),
        validation: 150..200,
        execution,
    };
    Trainer::new(network, &train, task, 1).unwrap()
}

#[test]
fn an_epoch_that_was_cancelled_inside_a_batch_continues_with_that_batch() {
    let (mut whole, mut parts, mut cancelled) = (trainer(), trainer(), 0);
    let asked = AtomicUsize::new(0);
    while !whole.is_done() {
        whole.epoch(&|| false).unwrap();
    }
    while !parts.is_done() {
        // A batch asks before each op of both passes, so most of these stop inside one.
        let outcome = parts.epoch(&|| asked.fetch_add(1, Ordering::Relaxed) % 29 == 28);
        cancelled += usize::from(outcome.is_err_and(|error| error.code() == Code::Cancelled));
    }
    // 142 samples are 8 whole batches of 16, three times.
    assert!(cancelled > 6, "{cancelled}");
    assert_eq!(whole.epochs(), parts.epochs());
    let bits =
        |trainer: Trainer| -> Vec<u32> { trainer.finish().0.parameters()[0].iter().map(|one| one.to_bits()).collect() };
    assert!(bits(whole) == bits(parts));
}

#[test]
fn the_validation_span_chooses_the_epoch_and_touches_nothing_else() {
    let values = returns(4, 480, 0.3);
    let mut other = values.clone();
    // Window 0 validates on rows 261 to 347.
    other[261 * ASSETS..].iter_mut().for_each(|value| *value = 0.1 - 7.0 * *value);
    let train = |values: &[f64], overrides: &[&str]| {
        let run = walked(&panel(values), &[overrides, &["train.max_epochs=1"]].concat());
        assert_eq!(run.windows[0].validation.rows.start, 261);
        let training = run.results[1][0].training.clone().unwrap();
        let decisions = run.results[1][0].decisions.get().unwrap();
        (decisions.train.clone().unwrap(), training.epochs[0].loss.to_bits(), training.epochs[0].validation)
    };
    for overrides in ARRANGEMENTS {
        let (one, two) = (train(&values, overrides), train(&other, overrides));
        assert!(one.0 == two.0 && one.1 == two.1, "{overrides:?}");
        assert_ne!(one.2, two.2);
    }
}

#[test]
fn nothing_that_happens_later_moves_a_weight() {
    let mut values = returns(3, 480, 0.3);
    values.iter_mut().step_by(97).for_each(|value| *value = f64::NAN);
    let mask: Vec<bool> = (0..values.len())
        .map(|cell| {
            let (row, asset) = (cell / ASSETS, cell % ASSETS);
            !(asset == 1 && row < 260 || asset == 3 && row > 380)
        })
        .collect();
    let panel = panel(&values).with_members(&mask).unwrap();
    for overrides in [ARRANGEMENTS[0], ARRANGEMENTS[1]] {
        let overrides =
            [overrides, &["train.max_epochs=1", "portfolio.rebalance=weekly", "windows.step_months=2"]].concat();
        let audit = prepared(&panel, &overrides, 2).audit(6).unwrap();
        assert_eq!(audit.moved, None, "{overrides:?}");
        assert!(audit.dates == 3 && audit.compared > 300, "{audit:?}");
    }
}

#[test]
fn the_assets_of_a_joint_network_are_those_of_the_first_validation_decision() {
    let values = returns(3, 480, 0.3);
    // Window 0: train rows 0 to 260, validation to 347, test to 435. A2 joins in the middle of the validation span, A4
    // is gone from the middle of the test span on.
    let mask: Vec<bool> = (0..values.len())
        .map(|cell| !(cell % ASSETS == 2 && cell / ASSETS < 300 || cell % ASSETS == 4 && cell / ASSETS > 400))
        .collect();
    let panel = panel(&values).with_members(&mask).unwrap();
    let held = |run: &Run, asset: usize, rows: Range<usize>| -> Vec<bool> {
        let decisions = run.results[1][0].decisions.get().unwrap();
        let decisions = decisions.test.iter().filter(|decision| rows.contains(&decision.row));
        decisions.map(|decision| decision.target[asset] > 0.0).collect()
    };
    for (overrides, newcomer) in [(ARRANGEMENTS[0], false), (ARRANGEMENTS[1], true)] {
        let run = walked(&panel, &[overrides, &["train.max_epochs=2"]].concat());
        assert!(held(&run, 2, 347..435).iter().all(|held| *held == newcomer), "{overrides:?}");
        assert!(held(&run, 4, 347..400).iter().all(|held| *held) && !held(&run, 4, 347..400).is_empty());
        assert!(held(&run, 4, 402..435).iter().all(|held| !held) && !held(&run, 4, 402..435).is_empty());
    }
}

#[test]
fn the_score_that_chose_the_epoch_is_that_of_the_report() {
    let panel = panel(&returns(5, 480, 0.3));
    for overrides in ARRANGEMENTS {
        let overrides =
            [overrides, &["portfolio.rebalance=weekly", "portfolio.max_weight=0.4", "train.max_epochs=3"]].concat();
        let run = walked(&panel, &overrides);
        let scores = scores(&run).unwrap();
        for (window, result) in run.results[1].iter().enumerate() {
            let training = result.training.as_ref().unwrap();
            let chosen = training.epochs[training.best_epoch as usize - 1].validation.unwrap();
            let best = training.epochs.iter().filter_map(|epoch| epoch.validation).fold(f64::MIN, f64::max);
            assert_eq!(chosen, best);
            let walkforge::MetricValue::Number(reported) = scores.windows[1][window].validation.metrics[0] else {
                panic!()
            };
            assert!((reported - chosen).abs() < 1e-9, "{overrides:?}, window {window}: {reported} {chosen}");
        }
    }
}

#[test]
fn half_precision_validates_as_single_precision_does() {
    let panel = panel(&returns(1, 480, -0.5));
    // The kept validation Sharpe ratio of five seeds of the first window.
    let of_seeds = |precision: &str| -> Vec<f64> {
        let run = walked(&panel, &["train.seeds=5", "train.max_epochs=8", &format!("train.precision={precision}")]);
        let training = run.results[1][0].training.clone().unwrap();
        assert_eq!(training.loss_scale.is_some(), precision == "fp16");
        training.seeds.iter().map(|seed| seed.validation.unwrap()).collect()
    };
    let (single, half) = (of_seeds("fp32"), of_seeds("fp16"));
    let spread = single.iter().map(|score| (score - mean(&single)).abs()).fold(0.0, f64::max);
    println!("validation Sharpe of five seeds: fp32 {single:.2?}, fp16 {half:.2?}");
    assert!(single != half && mean(&single) > 3.0 && (mean(&single) - mean(&half)).abs() <= spread);
}

#[test]
fn training_ends_for_the_reason_it_reports() {
    let panel = panel(&returns(6, 480, 0.0));
    let ended = |overrides: &[&str]| -> Vec<(StopReason, usize)> {
        let run = walked(&panel, overrides);
        let training = run.results[1].iter().map(|window| window.training.clone().unwrap());
        training.map(|training| (training.ended, training.epochs.len())).collect()
    };
    assert!(ended(&["train.max_epochs=2"]).iter().all(|end| *end == (StopReason::MaxEpochs, 2)));
    for (reason, epochs) in ended(&["train.max_epochs=400", "train.early_stop_epochs=3"]) {
        assert!(reason == StopReason::EarlyStop && (4..400).contains(&epochs), "{reason:?} {epochs}");
    }
    for (reason, epochs) in
        ended(&["train.max_epochs=100000", "train.early_stop_epochs=100000", "train.max_seconds=0.05"])
    {
        assert!(reason == StopReason::MaxSeconds && epochs >= 1, "{reason:?} {epochs}");
    }
    // Without a validation span there is nothing to choose by: the last epoch is kept.
    let run = walked(&panel, &["windows.validation_months=0", "train.max_epochs=3", "train.early_stop_epochs=1"]);
    for window in &run.results[1] {
        let training = window.training.as_ref().unwrap();
        assert_eq!((training.best_epoch, training.ended), (3, StopReason::MaxEpochs));
        assert!(training.epochs.iter().all(|epoch| epoch.validation.is_none()));
    }
}

#[test]
fn what_is_held_stays_within_what_was_planned() {
    let panel = panel(&returns(7, 480, 0.0)).with_feature("volume", &vec![1.0; 480 * ASSETS]).unwrap();
    let shapes: [&[&str]; 10] = [
        &[],
        &["model.hidden_size=5"],
        &["model.layers=3"],
        &["model.arrangement=\"per_asset\""],
        &["model.output=\"sequence\""],
        &["model.arrangement=\"per_asset\"", "model.output=\"sequence\""],
        &["model.attention=true", "model.attention_heads=2"],
        &["model.attention=true", "model.attention_heads=4", "model.arrangement=\"per_asset\""],
        &["model.lookback=20"],
        &["train.order=consecutive", "train.turnover_bps=3"],
    ];
    let mut compared = 0;
    for shape in shapes {
        for batch in ["train.batch_size=1", "train.batch_size=7", "train.batch_size=64"] {
            let run = walked(&panel, &[shape, &[batch, "train.max_epochs=1"]].concat());
            for window in &run.results[1] {
                let training = window.training.as_ref().unwrap();
                // The plan holds room for samples that all have slots of their own, and for a validation path.
                let (planned, measured) = (training.planned_bytes, training.measured_bytes);
                assert!(measured <= planned && 2 * measured > planned, "{shape:?} {batch}: {measured} {planned}");
                compared += 1;
            }
        }
    }
    println!("{compared} trainings within their plan");
    assert_eq!(compared, 30);
}

#[test]
fn a_smaller_budget_uses_smaller_micro_batches_and_gives_the_same_weights_to_rounding() {
    let panel = panel(&returns(8, 480, 0.3));
    let weights = |budget: &str| -> (Vec<f64>, TrainingHistory) {
        let run = walked(&panel, &["train.max_epochs=2", &format!("train.memory_budget=\"{budget}\"")]);
        let training = run.results[1][0].training.clone().unwrap();
        (run.targets[1].iter().flat_map(|target| target.weights.clone()).collect(), training)
    };
    let (whole, plenty) = weights("1GiB");
    assert_eq!((plenty.batch, plenty.micro_batch), (64, 32));
    let least = plenty.planned_bytes;
    for (share, most) in [(0.8, 32), (0.55, 16)] {
        let budget = (least as f64 * share) as usize;
        let (parts, training) = weights(&format!("{budget}B"));
        assert!(training.micro_batch <= most && training.planned_bytes <= budget, "{training:?}");
        let worst = whole.iter().zip(&parts).map(|(one, two)| (one - two).abs()).fold(0.0, f64::max);
        assert!(worst < 1e-3, "{worst}");
    }
    let mut refused = prepared(&panel, &["train.memory_budget=\"10KiB\""], 1);
    let error = refused.step().unwrap_err();
    assert_eq!(error.code(), Code::InvalidSetting);
    let message = error.to_string();
    assert!(
        message.contains("model 'lstm', window 0") && message.contains("memory_budget': found 10240 bytes"),
        "{message}"
    );
}

#[test]
fn unusable_settings_of_a_network_are_named() {
    let panel = panel(&returns(9, 480, 0.0));
    let error_of = |overrides: &[&str]| {
        let mut run = prepared(&panel, overrides, 1);
        loop {
            if let Err(error) = run.step() {
                break error.to_string();
            }
            assert!(run.progress().done < run.windows.len(), "{overrides:?} was accepted");
        }
    };
    // What leaves no sample is said before anything is trained.
    let message = try_prepare(&panel, &["model.lookback=400"], 1).err().unwrap().to_string();
    assert!(message.contains("has 0 samples, with a lookback of 400 rows"), "{message}");
    let message = error_of(&["train.turnover_bps=5"]);
    assert!(message.contains("'train.turnover_bps': found 5 with order = \"shuffled\""), "{message}");
}

/// A network whose scores overflow.
mod overflow {
    use walkforge_plugin::{Context, Error, Network, Program, Requirements, Settings, Shape, export_network};

    pub(super) struct Overflow;

    impl Network for Overflow {
        const DESCRIPTION: &'static str =
            r#"{"name": "overflow", "kind": "network", "version": "1", "doc": "too large", "settings": []}"#;

        fn create(_settings: &Settings, _context: Context) -> Result<Self, Error> {
            Ok(Self)
        }

        fn requirements(&self) -> Requirements {
            Requirements { lookback: 3, min_history: 1 }
        }

        fn build(&self, shape: &Shape, program: &mut Program) -> Result<(), Error> {
            let returns = program.trailing("returns", 3);
            let turned = program.transpose(returns, &[1, 0]);
            let mut scores = program.linear("head", turned, 1);
            for _ in 0..2 {
                scores = program.op("scale", &[scores], "factor=1e30 offset=0");
            }
            let scores = program.reshape(scores, &[shape.assets]);
            program.output_scores(scores);
            Ok(())
        }
    }

    export_network!(wf_plugin_init_overflow, Overflow);
}

#[test]
fn a_non_finite_value_ends_training_with_epoch_batch_and_op() {
    // SAFETY: the function is the plugin's entry.
    let plugin = unsafe { register(overflow::wf_plugin_init_overflow, "overflow") }.unwrap();
    let text = EXPERIMENT.split("[[models]]").next().unwrap().to_owned() + "[[models]]\nname = \"overflow\"\n";
    let experiment = Experiment::from_toml(&text, PathBuf::new(), &[]).unwrap();
    let runtime = Runtime::new(search([("overflow", plugin)]), 1).unwrap();
    let mut run = Run::new(experiment, panel(&returns(9, 480, 0.0)), &runtime).unwrap();
    let message = run.step().unwrap_err().to_string();
    println!("{message}");
    for part in ["model 'overflow', window 0", "epoch 1, batch 1", "the loss is NaN", "op 'scale' (%3) gave"] {
        assert!(message.contains(part), "{part}: {message}");
    }
}

#[test]
fn a_training_that_diverges_ends_alone_with_its_best_epoch() {
    let panel = panel(&returns(9, 480, 0.2));
    // Weight decay of this size multiplies the parameters by -99 at each step.
    let overrides = ["train.optimizer=adamw", "train.weight_decay=10", "train.learning_rate=10", "train.max_epochs=30"];
    let run = walked(&panel, &overrides);
    let training = run.results[1][0].training.as_ref().unwrap();
    let seed = &training.seeds[0];
    assert_eq!(seed.ended, StopReason::Diverged);
    let reason = seed.divergence.as_deref().unwrap();
    assert!(reason.contains("the network of plugin 'lstm'") && reason.contains("epoch "), "{reason}");
    assert!((1..30).contains(&seed.epochs) && (1..=seed.epochs).contains(&seed.best_epoch), "{seed:?}");
    // The weights of the kept epoch decide.
    assert!(run.targets[1].iter().all(|target| target.weights.iter().all(|weight| weight.is_finite())));
    // Without a finite epoch there is nothing to keep.
    let overrides = [&overrides[..], &["train.batch_size=2", "train.accumulation_steps=1"]].concat();
    let mut hopeless = prepared(&panel, &overrides, 1);
    let error = hopeless.step().unwrap_err();
    assert!(error.code() == Code::InvalidData && error.to_string().contains("epoch 1, batch "), "{error}");
}

#[test]
fn a_feature_that_is_constant_in_training_and_moves_later_does_not_freeze_decisions() {
    let values = returns(10, 480, 0.3);
    // Window 0 trains on rows 0 to 260 and tests from 347 on; 0.1 is no binary number.
    let rate: Vec<f64> = (0..values.len()).map(|cell| if cell / ASSETS < 360 { 0.1 } else { 0.35 }).collect();
    let panel = panel(&values).with_feature("rate", &rate).unwrap();
    for precision in ["fp32", "fp16"] {
        let run = walked(&panel, &["train.max_epochs=2", &format!("train.precision={precision}")]);
        let decisions = run.results[1][0].decisions.get().unwrap();
        let moved = |pair: &[walkforge::Decision]| {
            let changes = pair[0].target.iter().zip(&pair[1].target).map(|(one, two)| (one - two).abs());
            changes.fold(0.0, f64::max)
        };
        let late: Vec<&[walkforge::Decision]> = decisions.test.windows(2).filter(|pair| pair[0].row > 370).collect();
        let frozen = late.iter().filter(|pair| moved(pair) < 1e-9).count();
        assert!(late.len() > 30 && frozen == 0, "{precision}: {frozen} of {}", late.len());
    }
}

#[test]
fn a_prime_batch_is_cut_as_one_that_is_not() {
    let panel = panel(&returns(11, 480, 0.0));
    let micro_batch = |batch: usize| {
        let batch = format!("train.batch_size={batch}");
        let overrides =
            [batch.as_str(), "train.accumulation_steps=1", "train.max_epochs=1", "train.memory_budget=\"320KiB\""];
        walked(&panel, &overrides).results[1][0].training.as_ref().unwrap().micro_batch
    };
    let (prime, power) = (micro_batch(127), micro_batch(128));
    println!("micro-batch of {prime} for a batch of 127, of {power} for 128");
    assert!(prime.abs_diff(power) <= 1 && prime > 1);
}
