//! `[train]`: how networks are trained. `[models.train]` overrides it for one model.

use serde_json::{Map, Value as Json};

use super::optimizer::AdamSettings;
use super::schedule::Schedule;
use super::step::StepSettings;
use crate::error::{Result, fail};
use crate::network::Head;
use crate::program::Precision;
use crate::settings::{Choice as _, Setting, SettingType, SettingValues, choices};

choices! {
    /// The loss that training minimises.
    pub enum Loss {
        /// −mean/(std + ε) of the batch's portfolio returns.
        Sharpe = "sharpe",
        /// The mean square of scores less returns.
        MeanSquare = "mse",
    }
}

impl Loss {
    /// The head that the loss is taken of.
    pub fn head(self) -> Head {
        match self {
            Self::Sharpe => Head::Weights,
            Self::MeanSquare => Head::Scores,
        }
    }
}

choices! {
    /// In which order samples are drawn.
    pub enum Order {
        /// Dates are shuffled each epoch.
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
    /// Most epochs.
    pub max_epochs: u32,
    /// Seconds after which no epoch is begun.
    pub max_seconds: Option<f64>,
    /// Dates of a batch: `batch_size` × `accumulation_steps`.
    pub batch: usize,
    /// What is made small.
    pub loss: Loss,
    /// Rows of a label.
    pub horizon: usize,
    /// In which order samples are drawn.
    pub order: Order,
    /// Basis points of Σ|Δw| between consecutive dates that are taken off the returns in the loss.
    pub turnover_bps: f64,
    /// Learning rate at the start.
    pub learning_rate: f64,
    /// How it changes.
    pub schedule: Schedule,
    /// Epochs in a row without a better validation score after which training stops.
    pub early_stop: u32,
    /// The optimiser.
    pub adam: AdamSettings,
    /// Norm at which gradients are clipped.
    pub clip_norm: f64,
    /// Networks of an ensemble, each from a seed of its own.
    pub seeds: usize,
    /// What networks compute in.
    pub precision: Precision,
    /// Bytes that training one network may take.
    pub memory_budget: usize,
    values: SettingValues,
}

/// The declarations of `[train]`.
pub fn train_settings() -> Vec<Setting> {
    let step = StepSettings::default();
    vec![
        Setting::new(
            "max_epochs",
            SettingType::Integer(1, 1_000_000),
            100,
            "most times that a network sees its train span",
        ),
        Setting::new(
            "max_seconds",
            SettingType::Real(0.001, 1e9),
            Json::Null,
            "seconds after which no further epoch of a window is begun, so that the run depends on the clock; none if left out",
        ),
        Setting::new(
            "batch_size",
            SettingType::Integer(1, 1_000_000),
            32,
            "dates of a batch, times accumulation_steps",
        ),
        Setting::new(
            "accumulation_steps",
            SettingType::Integer(1, 1_000_000),
            4,
            "an optimiser step and its Sharpe ratio are of batch_size times this many dates",
        ),
        Setting::choice(
            "loss",
            step.loss,
            "sharpe: -mean/deviation of the batch's portfolio returns; mse: mean square of scores less returns, in deviations \
             of the train span",
        ),
        Setting::new("horizon", SettingType::Integer(1, 10_000), 1, "rows over which a label's return is compounded"),
        Setting::choice(
            "order",
            Order::Shuffled,
            "whether dates are shuffled each epoch, or blocks of consecutive dates are",
        ),
        Setting::new(
            "turnover_bps",
            SettingType::Real(0.0, 10_000.0),
            0.0,
            "basis points of the sum of |w - w before| between consecutive dates that the sharpe loss takes off returns; \
             needs order = \"consecutive\", or a network that gives weights for a sequence of dates",
        ),
        Setting::new("learning_rate", SettingType::Real(1e-12, 10.0), 1e-3, "step size of the optimiser at the start"),
        Setting::choice(
            "schedule",
            ScheduleName::Plateau,
            "plateau: the learning rate falls after schedule_epochs without a better validation Sharpe ratio; step: it falls \
             every schedule_epochs; constant",
        ),
        Setting::new("schedule_factor", SettingType::Real(1e-6, 1.0), 0.1, "what the learning rate is multiplied with"),
        Setting::new("schedule_epochs", SettingType::Integer(1, 1_000_000), 10, "epochs of the schedule"),
        Setting::new(
            "early_stop_epochs",
            SettingType::Integer(1, 1_000_000),
            15,
            "epochs in a row without a better validation Sharpe ratio after which training stops; the best epoch is kept",
        ),
        Setting::choice("optimizer", step.adam.decay, "how weight decay enters: as L2, or decoupled"),
        Setting::new("weight_decay", SettingType::Real(0.0, 10.0), step.adam.weight_decay, "weight decay"),
        Setting::new("clip_norm", SettingType::Real(1e-6, 1e9), step.clip_norm, "norm at which gradients are clipped"),
        Setting::new(
            "seeds",
            SettingType::Integer(1, 1000),
            1,
            "networks that are trained of each window, each from a seed of its own; the mean of their weights is held",
        ),
        Setting::choice(
            "precision",
            Precision::Fp32,
            "fp16: half precision between ops and in products, single precision for master weights, sums and states of cells, with \
             a dynamic loss scale; on the processor it rounds so and is the slower",
        ),
        Setting::new(
            "memory_budget",
            SettingType::Text,
            "4GiB",
            "bytes that training one network of one window may take, as in 64MiB or 4GiB",
        ),
    ]
}

/// Reads a number of bytes, as in `64MiB`.
fn bytes(path: &str, text: &str) -> Result<usize> {
    let units = [("KiB", 10), ("MiB", 20), ("GiB", 30), ("TiB", 40), ("B", 0)];
    let read = units.into_iter().find_map(|(unit, shift)| {
        let number: f64 = text.trim().strip_suffix(unit)?.trim().parse().ok()?;
        let all = number * (1_u64 << shift) as f64;
        (all >= 1.0 && all < (1_u64 << 53) as f64).then_some(all as usize)
    });
    match read {
        Some(bytes) => Ok(bytes),
        None => fail!(
            InvalidSetting,
            "setting '{path}.memory_budget': found \"{text}\", allowed is a number with a unit: B, KiB, MiB, GiB or TiB"
        ),
    }
}

impl TrainSettings {
    /// Checks the section found at `path`, with what `overrides`, found at their own path, say instead.
    ///
    /// # Errors
    /// `InvalidSetting` naming the setting.
    pub fn from_sections(section: &Map<String, Json>, overrides: Option<(&str, &Map<String, Json>)>) -> Result<Self> {
        let declared = train_settings();
        SettingValues::check("train", &declared, section)?;
        let mut all = section.clone();
        let mut path = "train";
        if let Some((of_model, own)) = overrides {
            SettingValues::check(of_model, &declared, own)?;
            all.extend(own.clone());
            path = of_model;
        }
        Self::from_values(path, SettingValues::check(path, &declared, &all)?)
    }

    fn from_values(path: &str, values: SettingValues) -> Result<Self> {
        let count = |name: &str| values.count(name);
        let epochs = |name: &str| values.count(name).map(|count| count as u32);
        let Some(batch) = count("batch_size")?.checked_mul(count("accumulation_steps")?).filter(|batch| *batch > 1)
        else {
            fail!(
                InvalidSetting,
                "settings '{path}.batch_size' and '{path}.accumulation_steps': their product is the dates of a batch, and must \
                 be at least 2 for a Sharpe ratio"
            );
        };
        let factor = values.real("schedule_factor")?;
        let schedule = match values.choice("schedule")? {
            ScheduleName::Plateau => Schedule::Plateau { factor, patience: epochs("schedule_epochs")? },
            ScheduleName::Step => Schedule::Step { factor, epochs: epochs("schedule_epochs")? },
            ScheduleName::Constant => Schedule::Constant,
        };
        let decay = values.choice("optimizer")?;
        let loss: Loss = values.choice("loss")?;
        let turnover_bps = values.real("turnover_bps")?;
        let has_turnover = match loss {
            Loss::Sharpe => true,
            Loss::MeanSquare => false,
        };
        if turnover_bps > 0.0 && !has_turnover {
            fail!(
                InvalidSetting,
                "setting '{path}.turnover_bps': found {turnover_bps}, allowed with loss = \"{}\" is 0",
                loss.name()
            );
        }
        let horizon = count("horizon")?;
        Ok(Self {
            max_epochs: epochs("max_epochs")?,
            max_seconds: values.get("max_seconds").map(|_| values.real("max_seconds")).transpose()?,
            batch,
            loss,
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
            memory_budget: bytes(path, values.text("memory_budget")?)?,
            values,
        })
    }

    /// All of them, defaults filled in.
    pub fn to_json(&self) -> Json {
        self.values.to_json()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Map, Value as Json, json};

    use super::{Loss, Order, Schedule, TrainSettings};

    fn table(value: &Json) -> Map<String, Json> {
        value.as_object().unwrap().clone()
    }

    #[test]
    fn the_defaults_are_those_of_the_definitions() {
        let settings = TrainSettings::from_sections(&Map::new(), None).unwrap();
        assert_eq!((settings.max_epochs, settings.batch, settings.early_stop), (100, 128, 15));
        assert_eq!(settings.schedule, Schedule::Plateau { factor: 0.1, patience: 10 });
        assert_eq!((settings.loss, settings.order, settings.horizon), (Loss::Sharpe, Order::Shuffled, 1));
        assert_eq!((settings.learning_rate, settings.adam.weight_decay, settings.clip_norm), (1e-3, 1e-5, 1.0));
        assert_eq!((settings.memory_budget, settings.max_seconds), (4 << 30, None));
    }

    #[test]
    fn a_model_overrides_what_the_section_says() {
        let (all, own) = (table(&json!({"max_epochs": 7, "loss": "mse"})), table(&json!({"max_epochs": 3})));
        let settings = TrainSettings::from_sections(&all, Some(("models.lstm.train", &own))).unwrap();
        assert_eq!((settings.max_epochs, settings.loss), (3, Loss::MeanSquare));
        assert_eq!(settings.to_json()["max_epochs"], json!(3));
    }

    #[test]
    fn what_cannot_be_used_is_named_where_it_stands() {
        let told = |all: Json, own: Json| {
            let (all, own) = (table(&all), table(&own));
            TrainSettings::from_sections(&all, Some(("models.lstm.train", &own))).unwrap_err().to_string()
        };
        assert!(told(json!({"max_epoch": 3}), json!({})).contains("'train.max_epoch'"));
        assert!(told(json!({}), json!({"loss": "mae"})).contains("'models.lstm.train.loss'"));
        let message = told(json!({"memory_budget": "4GB"}), json!({}));
        assert!(message.contains("memory_budget': found \"4GB\", allowed is a number with a unit"), "{message}");
        assert!(told(json!({"batch_size": 1}), json!({"accumulation_steps": 1})).contains("at least 2"));
        let message = told(json!({"loss": "mse"}), json!({"turnover_bps": 5}));
        assert!(message.contains("allowed with loss = \"mse\" is 0"), "{message}");
    }
}
