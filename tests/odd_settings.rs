//! Settings at the edge of what they allow: each trains to a finite score, or is refused by a message that says why.

use std::path::PathBuf;

use jiff::civil::date;
use walkforge::internals::random::Random;
use walkforge::internals::train::StopReason;
use walkforge::{Experiment, Panel, PanelKind, Run, Runtime, TrainingHistory};

use crate::common::panels::weekdays;
use crate::common::{lstm, search};

const EXPERIMENT: &str = "
seed = 7
threads = 1
[windows]
train_months = 12
validation_months = 4
test_months = 4
[portfolio]
rebalance = \"monthly\"
cost_bps = 1.0
[train]
max_epochs = 1
batch_size = 16
accumulation_steps = 2
[[models]]
name = \"lstm\"
[models.settings]
hidden_size = 4
lookback = 10
min_history = 2
";

/// 21 months of independent returns: one window.
fn panel(assets: usize) -> Panel {
    let dates: Vec<_> = weekdays(date(2012, 1, 2)).take(21 * 22).collect();
    let random = Random::new(5, 0, 0);
    let values: Vec<f64> = (0..dates.len() * assets).map(|cell| 0.01 * random.normal(cell as u64)).collect();
    let names: Vec<String> = (0..assets).map(|asset| format!("A{asset:03}")).collect();
    Panel::from_arrays(PanelKind::Returns, dates, &names, &values).unwrap()
}

/// Runs the experiment with overrides, which may name settings of the model as `settings.NAME`. Returns how the training
/// of its first seed ended, and the message where it is refused.
fn outcome(assets: usize, overrides: &[&str]) -> Result<TrainingHistory, String> {
    let overrides: Vec<String> =
        overrides.iter().map(|entry| entry.replace("settings.", "models.lstm.settings.")).collect();
    let experiment =
        Experiment::from_toml(EXPERIMENT, PathBuf::new(), &overrides).map_err(|error| error.to_string())?;
    let runtime = Runtime::new(search([("lstm", lstm())]), 1).unwrap();
    let mut run = Run::new(experiment, panel(assets), &runtime).map_err(|error| error.to_string())?;
    while run.progress().done < run.windows.len() {
        run.step().map_err(|error| error.to_string())?;
    }
    Ok(run.results[1][0].training.clone().unwrap())
}

#[test]
fn settings_at_the_edge_train_to_finite_losses() {
    use StopReason::{Diverged, EarlyStop, MaxEpochs, MaxSeconds};
    let cases: &[(usize, StopReason, &[&str])] = &[
        (1, MaxEpochs, &[]),
        (2, MaxEpochs, &[]),
        (200, MaxEpochs, &[]),
        (5, MaxEpochs, &["windows.validation_months=0"]),
        (5, MaxEpochs, &["windows.validation_months=0", "settings.output=sequence", "train.seeds=2"]),
        (5, MaxEpochs, &["portfolio.execution_lag=1"]),
        (5, MaxEpochs, &["portfolio.rebalance=daily"]),
        (5, MaxEpochs, &["windows.embargo_days=30"]),
        (5, MaxEpochs, &["settings.hidden_size=1"]),
        (5, MaxEpochs, &["settings.hidden_size=7"]),
        (5, MaxEpochs, &["settings.hidden_size=129"]),
        (5, MaxEpochs, &["settings.layers=1"]),
        (5, MaxEpochs, &["settings.layers=8"]),
        (5, MaxEpochs, &["settings.lookback=2"]),
        (5, MaxEpochs, &["settings.attention=true", "settings.hidden_size=7", "settings.attention_heads=7"]),
        (5, MaxEpochs, &["settings.output=sequence"]),
        (5, MaxEpochs, &["settings.arrangement=per_asset"]),
        (5, MaxEpochs, &["settings.arrangement=per_asset", "settings.output=sequence"]),
        (5, MaxEpochs, &["settings.arrangement=per_asset", "settings.attention=true", "settings.attention_heads=2"]),
        (5, MaxEpochs, &["train.batch_size=2", "train.accumulation_steps=1"]),
        (5, MaxEpochs, &["train.batch_size=3", "train.accumulation_steps=1"]),
        (5, MaxEpochs, &["train.batch_size=1", "train.accumulation_steps=2"]),
        (5, MaxEpochs, &["train.batch_size=1000000", "train.accumulation_steps=1000000"]),
        (5, MaxEpochs, &["train.loss=mse", "settings.output=sequence"]),
        (5, MaxEpochs, &["train.order=consecutive", "train.turnover_bps=10"]),
        (5, MaxEpochs, &["train.horizon=1"]),
        (5, MaxEpochs, &["train.precision=fp16", "settings.hidden_size=1"]),
        (
            5,
            MaxEpochs,
            &[
                "train.precision=fp16",
                "settings.attention=true",
                "settings.attention_heads=2",
                "settings.output=sequence",
                "settings.arrangement=per_asset",
            ],
        ),
        (5, EarlyStop, &["train.early_stop_epochs=1", "train.max_epochs=50", "train.horizon=1"]),
        (5, MaxSeconds, &["train.max_seconds=0.05", "train.max_epochs=100000", "train.early_stop_epochs=100000"]),
        (5, MaxEpochs, &["train.learning_rate=10", "train.max_epochs=6"]),
        (5, MaxEpochs, &["train.learning_rate=10", "train.loss=mse", "train.max_epochs=6"]),
        (5, MaxEpochs, &["train.weight_decay=10", "train.max_epochs=6"]),
        // The best epoch is kept, and the run goes on.
        (
            5,
            Diverged,
            &["train.optimizer=adamw", "train.weight_decay=10", "train.learning_rate=10", "train.max_epochs=6"],
        ),
    ];
    for (assets, ended, overrides) in cases {
        let history = outcome(*assets, overrides).unwrap_or_else(|message| panic!("{overrides:?}: {message}"));
        assert_eq!(history.ended, *ended, "{overrides:?}");
        assert!(history.best_epoch >= 1, "{overrides:?}");
        assert!(history.epochs.iter().all(|epoch| epoch.loss.is_finite()), "{overrides:?}: {:?}", history.epochs);
    }
}

#[test]
fn steps_that_overflow_half_precision_are_skipped_and_training_goes_on() {
    for overrides in [
        &["train.learning_rate=10", "train.precision=fp16", "train.max_epochs=6"][..],
        &["train.learning_rate=10", "train.loss=mse", "train.precision=fp16", "train.max_epochs=6"],
        &[
            "train.clip_norm=1e9",
            "train.learning_rate=10",
            "train.batch_size=2",
            "train.accumulation_steps=1",
            "train.precision=fp16",
            "train.max_epochs=6",
        ],
    ] {
        let history = outcome(5, overrides).unwrap();
        let skipped: u32 = history.epochs.iter().map(|epoch| epoch.skipped).sum();
        assert!(skipped > 0, "{overrides:?}");
        assert_eq!((history.ended, history.epochs.len()), (StopReason::MaxEpochs, 6), "{overrides:?}");
        assert!(history.loss_scale.unwrap() < 65536.0, "{overrides:?}: {:?}", history.loss_scale);
    }
}

#[test]
fn a_thousand_seeds_train_to_the_same_bits_as_fewer_at_a_time() {
    let small = ["train.seeds=1000", "settings.hidden_size=2", "settings.lookback=3"];
    let whole = outcome(5, &small).unwrap();
    let parts = outcome(5, &[&small[..], &["train.memory_budget=2MiB"]].concat()).unwrap();
    assert_eq!(whole.stack, 1000);
    assert!((1..1000).contains(&parts.stack), "{}", parts.stack);
    assert_eq!(whole.seeds, parts.seeds);
}

#[test]
fn what_cannot_be_trained_is_refused_by_name() {
    for (message, overrides) in [
        (
            "setting 'train.memory_budget': found 4294967296 bytes, but training takes at least",
            &["settings.hidden_size=4096", "settings.layers=8"][..],
        ),
        ("setting 'train.memory_budget': found 1024 bytes, but", &["train.memory_budget=1KiB"]),
        ("found \"4GB\", allowed is a number above 0 with a unit", &["train.memory_budget=4GB"]),
        ("found \"0GiB\", allowed is a number above 0 with a unit", &["train.memory_budget=0GiB"]),
        ("'models.lstm.settings.lookback': found 1, allowed is a whole number from 2", &["settings.lookback=1"]),
        ("train span of 261 rows has 0 samples, with a lookback of 300 rows", &["settings.lookback=300"]),
        (
            "train span of 261 rows has 0 samples, with a lookback of 10 rows and a horizon of 2000",
            &["train.horizon=2000"],
        ),
        // Rows are left, but none of them has its look-back and its label in them.
        (
            "0 samples, with a lookback of 10 rows and a horizon of 250; 261 rows are without windows.embargo_days = 30",
            &["windows.embargo_days=30", "train.horizon=250"],
        ),
        ("windows.embargo_days = 400 and portfolio.execution_lag = 0 leave none of", &["windows.embargo_days=400"]),
        ("'train.batch_size' and 'train.accumulation_steps'", &["train.batch_size=1", "train.accumulation_steps=1"]),
        ("'attention_heads': found 8, allowed is a divisor of hidden_size = 4", &["settings.attention=true"]),
        ("'train.turnover_bps': found 10 with order = \"shuffled\"", &["train.turnover_bps=10"]),
    ] {
        let found = outcome(5, overrides).unwrap_err();
        assert!(found.contains(message), "{overrides:?}: {found}");
    }
}
