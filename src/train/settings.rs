//! `[train]`: how networks are trained. `[models.train]` overrides it for one model.

use serde_json::{Map, Value as Json};

use super::schedule::Schedule;
use crate::engine::AdamSettings;
use crate::engine::cpu::StepSettings;
use crate::error::{Result, fail};
use crate::objective::Objective;
use crate::program::Precision;
use crate::settings::{Choice as _, Setting, SettingType, SettingValues, choices};

choices! {
    /// The order of samples in an epoch.
    pub enum SampleOrder {
        /// Samples are shuffled each epoch.
        Shuffled = "shuffled",
        /// Each batch is a block of consecutive dates; the blocks are shuffled.
        Consecutive = "consecutive",
    }
}

choices! {
    /// The names of [`Schedule`].
    enum ScheduleName {
        Plateau = "plateau",
        Step = "step",
        Constant = "constant",
    }
}

/// The checked settings of `[train]`.
#[derive(Clone, Debug)]
pub struct TrainSettings {
    /// Largest number of epochs.
    pub max_epochs: u32,
    /// Seconds after which training ends at the next end of an epoch.
    pub max_seconds: Option<f64>,
    /// Samples per optimiser step: `batch_size` × `accumulation_steps`.
    pub batch: usize,
    /// What training minimises.
    pub objective: Objective,
    /// Number of rows whose compounded return is a label; `None` for as many as are held from one scheduled decision to
    /// the next.
    pub horizon: Option<usize>,
    /// The order of samples in an epoch.
    pub order: SampleOrder,
    /// Trading cost in the Sharpe loss, in basis points of Σ|Δw| between consecutive dates.
    pub turnover_bps: f64,
    /// Initial learning rate.
    pub learning_rate: f64,
    /// How the learning rate changes.
    pub schedule: Schedule,
    /// Epochs in a row without a better validation score after which training stops.
    pub early_stop: u32,
    /// The optimiser.
    pub adam: AdamSettings,
    /// The norm to which gradients are clipped.
    pub clip_norm: f64,
    /// Ensemble size: replicas per window, each with its own seed.
    pub seeds: usize,
    /// Precision of the computation.
    pub precision: Precision,
    /// Memory limit in bytes for all that training holds at once.
    pub memory_budget: usize,
    values: SettingValues,
}

/// The declarations of `[train]`.
pub fn train_settings() -> Vec<Setting> {
    let step = StepSettings::default();
    let objectives: Vec<String> =
        Objective::ALL.iter().map(|objective| format!("{}: {}", objective.name(), objective.doc())).collect();
    let objectives = objectives.join("; ");
    vec![
        Setting::new(
            "max_epochs",
            SettingType::Integer(1, 1_000_000),
            100,
            "largest number of epochs (passes over the train samples)",
        ),
        Setting::new(
            "max_seconds",
            SettingType::Real(0.001, 1e9),
            Json::Null,
            "time limit in seconds for training one model in one window, checked after each epoch; results then depend \
             on the clock; no limit if left out",
        ),
        Setting::new(
            "batch_size",
            SettingType::Integer(1, 1_000_000),
            32,
            "one optimiser step uses batch_size x accumulation_steps dates, in micro-batches as large as memory_budget \
             allows",
        ),
        Setting::new(
            "accumulation_steps",
            SettingType::Integer(1, 1_000_000),
            4,
            "factor of batch_size; the loss, such as the Sharpe ratio, is taken over all dates of an optimiser step",
        ),
        Setting::choice("loss", step.objective, &objectives),
        Setting::new(
            "horizon",
            SettingType::Integer(1, 10_000),
            Json::Null,
            "number of rows whose compounded return is the label of a date; if left out, the median number of rows from \
             one scheduled decision to the next over the train rows of the first window, such as 21 for monthly \
             decisions on daily dates, so that what is learnt is what will be held",
        ),
        Setting::choice(
            "order",
            SampleOrder::Shuffled,
            "shuffled: dates are shuffled each epoch; consecutive: the dates of an optimiser step follow one another, \
             and such blocks are shuffled",
        ),
        Setting::new(
            "turnover_bps",
            SettingType::Real(0.0, 10_000.0),
            0.0,
            "trading cost in the sharpe loss, in basis points of the sum of |w - w before| between consecutive dates; \
             needs order = \"consecutive\", or a network that outputs weights for a sequence of dates",
        ),
        Setting::new("learning_rate", SettingType::Real(1e-12, 10.0), 1e-3, "initial learning rate"),
        Setting::choice(
            "schedule",
            ScheduleName::Plateau,
            "plateau: reduce the learning rate after more than schedule_epochs epochs without a better validation \
             Sharpe ratio; step: reduce it every schedule_epochs epochs; constant: keep it",
        ),
        Setting::new(
            "schedule_factor",
            SettingType::Real(1e-6, 1.0),
            0.1,
            "factor of the learning rate when it is reduced",
        ),
        Setting::new(
            "schedule_epochs",
            SettingType::Integer(1, 1_000_000),
            10,
            "patience of plateau, or interval of step, in epochs",
        ),
        Setting::new(
            "early_stop_epochs",
            SettingType::Integer(1, 1_000_000),
            15,
            "training stops after this many epochs in a row without a better validation Sharpe ratio; the weights of \
             the best epoch are kept",
        ),
        Setting::choice(
            "optimizer",
            step.adam.decay,
            "adam: weight decay as L2 penalty in the gradient; adamw: decoupled weight decay",
        ),
        Setting::new(
            "weight_decay",
            SettingType::Real(0.0, 10.0),
            step.adam.weight_decay,
            "coefficient of weight decay",
        ),
        Setting::new(
            "clip_norm",
            SettingType::Real(1e-6, 1e9),
            step.clip_norm,
            "largest norm of the gradients; larger ones are scaled down to it",
        ),
        Setting::new(
            "seeds",
            SettingType::Integer(1, 1000),
            1,
            "ensemble size: networks per window, each with its own seed; their weights are averaged",
        ),
        Setting::choice(
            "precision",
            Precision::Fp32,
            "fp16: activations and operands of matrix products in half precision; master weights, sums and cell states \
             in single precision; dynamic loss scale; the CPU emulates it by rounding, which is slower than fp32",
        ),
        Setting::new(
            "memory_budget",
            SettingType::Text,
            "4GiB",
            "memory limit for all that training holds at once, over all threads, such as 64MiB or 4GiB; windows train side \
             by side as far as it allows",
        ),
    ]
}

/// Parses a memory size such as `64MiB`.
fn parse_bytes(path: &str, text: &str) -> Result<usize> {
    let units = [("KiB", 10), ("MiB", 20), ("GiB", 30), ("TiB", 40), ("B", 0)];
    let parsed = units.into_iter().find_map(|(unit, shift)| {
        let value: f64 = text.trim().strip_suffix(unit)?.trim().parse().ok()?;
        let bytes = value * (1_u64 << shift) as f64;
        (bytes >= 1.0 && bytes < (1_u64 << 53) as f64).then_some(bytes as usize)
    });
    match parsed {
        Some(bytes) => Ok(bytes),
        None => fail!(
            InvalidSetting,
            "setting '{path}.memory_budget': found \"{text}\", allowed is a number above 0 with a unit: B, KiB, MiB, GiB or TiB"
        ),
    }
}

impl TrainSettings {
    /// Checks `[train]` with the settings of one model that override it, which come with the path of their section.
    ///
    /// # Errors
    /// `InvalidSetting` that names the setting.
    pub fn from_sections(section: &Map<String, Json>, overrides: Option<(&str, &Map<String, Json>)>) -> Result<Self> {
        let declared = train_settings();
        SettingValues::check("train", &declared, section)?;
        let mut all = section.clone();
        let mut path = "train";
        if let Some((model_path, model_section)) = overrides {
            SettingValues::check(model_path, &declared, model_section)?;
            all.extend(model_section.clone());
            path = model_path;
        }
        Self::from_values(path, SettingValues::check(path, &declared, &all)?)
    }

    fn from_values(path: &str, values: SettingValues) -> Result<Self> {
        let count = |name: &str| values.count(name);
        let epochs = |name: &str| values.count(name).map(|count| count as u32);
        let Some(batch) = count("batch_size")?.checked_mul(count("accumulation_steps")?) else {
            fail!(
                InvalidSetting,
                "settings '{path}.batch_size' and '{path}.accumulation_steps': their product is too large"
            );
        };
        let factor = values.real("schedule_factor")?;
        let schedule = match values.choice("schedule")? {
            ScheduleName::Plateau => Schedule::Plateau { factor, patience: epochs("schedule_epochs")? },
            ScheduleName::Step => Schedule::Step { factor, epochs: epochs("schedule_epochs")? },
            ScheduleName::Constant => Schedule::Constant,
        };
        let decay = values.choice("optimizer")?;
        let objective: Objective = values.choice("loss")?;
        let turnover_bps = values.real("turnover_bps")?;
        if turnover_bps > 0.0 && !objective.charges_turnover() {
            fail!(
                InvalidSetting,
                "setting '{path}.turnover_bps': found {turnover_bps}, allowed with loss = \"{}\" is 0",
                objective.name()
            );
        }
        let fewest = objective.fewest_samples();
        if batch < fewest {
            fail!(
                InvalidSetting,
                "settings '{path}.batch_size' and '{path}.accumulation_steps': their product is the number of dates in \
                 an optimiser step; allowed with loss = \"{}\" is at least {fewest}",
                objective.name()
            );
        }
        let horizon = values.get("horizon").map(|_| count("horizon")).transpose()?;
        Ok(Self {
            max_epochs: epochs("max_epochs")?,
            max_seconds: values.get("max_seconds").map(|_| values.real("max_seconds")).transpose()?,
            batch,
            objective,
            horizon,
            order: values.choice("order")?,
            turnover_bps,
            learning_rate: values.real("learning_rate")?,
            schedule,
            early_stop: epochs("early_stop_epochs")?,
            adam: AdamSettings { weight_decay: values.real("weight_decay")?, decay, ..AdamSettings::default() },
            clip_norm: values.real("clip_norm")?,
            seeds: count("seeds")?,
            precision: values.choice("precision")?,
            memory_budget: parse_bytes(path, values.text("memory_budget")?)?,
            values,
        })
    }

    /// All settings, with defaults filled in.
    pub fn to_json(&self) -> Json {
        self.values.to_json()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Map, Value as Json, json};

    use super::{Objective, SampleOrder, Schedule, TrainSettings};

    fn table(value: &Json) -> Map<String, Json> {
        value.as_object().unwrap().clone()
    }

    #[test]
    fn the_defaults_are_as_documented() {
        let settings = TrainSettings::from_sections(&Map::new(), None).unwrap();
        assert_eq!((settings.max_epochs, settings.batch, settings.early_stop), (100, 128, 15));
        assert_eq!(settings.schedule, Schedule::Plateau { factor: 0.1, patience: 10 });
        assert_eq!(
            (settings.objective, settings.order, settings.horizon),
            (Objective::Sharpe, SampleOrder::Shuffled, None)
        );
        assert_eq!((settings.learning_rate, settings.adam.weight_decay, settings.clip_norm), (1e-3, 1e-5, 1.0));
        assert_eq!((settings.memory_budget, settings.max_seconds), (4 << 30, None));
    }

    #[test]
    fn the_settings_of_a_model_override_the_section() {
        let (all, own) = (table(&json!({"max_epochs": 7, "loss": "mse"})), table(&json!({"max_epochs": 3})));
        let settings = TrainSettings::from_sections(&all, Some(("models.lstm.train", &own))).unwrap();
        assert_eq!((settings.max_epochs, settings.objective), (3, Objective::MeanSquare));
        assert_eq!(settings.to_json()["max_epochs"], json!(3));
    }

    #[test]
    fn errors_name_the_setting_and_its_section() {
        let message = |all: Json, own: Json| {
            let (all, own) = (table(&all), table(&own));
            TrainSettings::from_sections(&all, Some(("models.lstm.train", &own))).unwrap_err().to_string()
        };
        assert!(message(json!({"max_epoch": 3}), json!({})).contains("'train.max_epoch'"));
        assert!(message(json!({}), json!({"loss": "mae"})).contains("'models.lstm.train.loss'"));
        let found = message(json!({"memory_budget": "4GB"}), json!({}));
        assert!(found.contains("memory_budget': found \"4GB\", allowed is a number above 0 with a unit"), "{found}");
        assert!(message(json!({"batch_size": 1}), json!({"accumulation_steps": 1})).contains("at least 2"));
        let found = message(json!({"loss": "mse"}), json!({"turnover_bps": 5}));
        assert!(found.contains("allowed with loss = \"mse\" is 0"), "{found}");
    }
}
