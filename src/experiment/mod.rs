//! The experiment file, TOML or JSON, as checked settings. Unknown keys are errors that suggest the nearest key.

use std::path::PathBuf;

use jiff::civil::Date;
use serde_json::{Map, Value as Json};

use crate::device::cpu::SimdLevel;
use crate::error::Result;
use crate::panel::PanelKind;
use crate::portfolio::PortfolioSettings;
use crate::settings::SettingValues;
use crate::train::TrainSettings;
use crate::windows::{FitRows, Window, WindowSettings};

mod benchmark;
mod conventions;
mod device;
mod effective;
mod execution;
mod file;
mod model_spec;
mod overrides;
mod schema;
mod section;
mod settings;

pub use benchmark::{Benchmark, BenchmarkSource, benchmark_settings};
pub(crate) use device::Device;
pub use model_spec::{ModelSpec, model_settings};
pub use settings::{data_settings, top_settings};

/// A checked experiment.
#[derive(Clone, Debug)]
pub struct Experiment {
    /// The seed of all random numbers.
    pub seed: u64,
    /// Number of threads; 0 for one per core.
    pub threads: usize,
    /// The device that models run on.
    pub device: Device,
    /// The instruction level of the CPU kernels.
    pub(crate) simd: SimdLevel,
    /// The kind and path of the price or return file; `None` if the embedding program brings a panel.
    pub data: Option<(PanelKind, PathBuf)>,
    /// The path of the membership file.
    pub membership: Option<PathBuf>,
    /// Rows after its last price for which an asset may still be held; `None` for a week of rows.
    pub stale_rows: Option<usize>,
    /// Rows per year; `None` to read it from the dates.
    pub periods_per_year: Option<f64>,
    /// The annual risk-free rate, or the path of a file of rates.
    pub(crate) risk_free: String,
    /// Rows without a price after which an asset is delisted; `None` for a month of rows.
    pub(crate) delist_rows: Option<usize>,
    /// The return of a delisted asset, or the path of a file of them.
    pub(crate) delisting_return: String,
    /// The names of feature planes and the paths of their files.
    pub features: Vec<(String, PathBuf)>,
    /// The walk-forward windows.
    pub windows: WindowSettings,
    /// Rebalancing, execution, costs and constraints.
    pub portfolio: PortfolioSettings,
    /// What models are compared with.
    pub benchmark: Benchmark,
    /// The models in the order of the file, without the benchmark.
    pub models: Vec<ModelSpec>,
    /// `[train]`, checked.
    train: Map<String, Json>,
    /// The folder that paths are relative to.
    folder: PathBuf,
    windows_values: SettingValues,
}

impl Experiment {
    /// The settings of `[train]`, overridden by those of `model` if one is given.
    ///
    /// # Errors
    /// `InvalidSetting` that names the setting.
    pub fn train_settings(&self, model: Option<&ModelSpec>) -> Result<TrainSettings> {
        let path = model.map(|model| format!("models.{}.train", model.name));
        let overrides = model.zip(path.as_deref()).map(|(model, path)| (path, &model.train));
        TrainSettings::from_sections(&self.train, overrides)
    }

    /// The rows of a window that fits, labels and scores may use.
    pub(crate) fn fit_rows(&self, dates: &[Date], window: &Window) -> FitRows {
        FitRows::new(dates, window, self.windows.embargo_days, self.portfolio.execution_lag)
    }

    /// Whether the experiment names data files. If it does, an embedding program must not bring a panel of its own.
    pub fn names_data(&self) -> bool {
        self.data.is_some() || self.membership.is_some() || self.stale_rows.is_some() || !self.features.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::Experiment;

    #[track_caller]
    fn refused(text: &str, overrides: &[&str], expected: &str) {
        let overrides: Vec<String> = overrides.iter().map(|&entry| entry.to_owned()).collect();
        let message = Experiment::from_toml(text, "".into(), &overrides).unwrap_err().to_string();
        assert!(message.contains(expected), "{message}");
    }

    #[test]
    fn errors_name_the_setting_and_what_is_allowed() {
        refused("[window]\n", &[], "setting 'window' is unknown; did you mean 'windows'?");
        refused("[windows]\ntrain_month = 3\n", &[], "did you mean 'train_months'?");
        refused(
            "",
            &["portfolio.max_weight=2"],
            "'portfolio.max_weight': found 2, allowed is a number from 0.000001 to 1",
        );
        refused("", &["portfolio"], "allowed is section.key=value");
        refused("[portfolio]\nrebalance = \"yearly\"\n", &[], "found \"yearly\", allowed is daily");
        refused("[[models]]\nname = \"equal_weight\"\n", &[], "the name of the benchmark");
        refused("[[models]]\nname = \"a/b\"\n", &[], "found \"a/b\"");
        refused("[[models]]\nname = \"a\"\nplugins = \"b\"\n", &[], "did you mean 'plugin'?");
        refused("[data]\nprices = \"a\"\nreturns = \"b\"\n", &[], "both given");
        refused("[data.features]\nvolume = 3\n", &[], "'data.features.volume': found 3, allowed is the path of a file");
        refused("[data]\nfeatures = 3\n", &[], "'data.features': found 3");
        refused("[data]\nmember = \"a\"\n", &[], "did you mean 'membership'?");
        refused("not toml", &[], "it is not TOML");
        refused("[[models]]\nname = \"a\"\nsettings = 3\n", &[], "'models[0].settings': found 3, allowed is a table");
        refused(&format!("seed = 1\n{}a = 1", "a.".repeat(200)), &[], "recursion limit near line 2");
        refused("", &[&format!("{}a=1", "a.".repeat(50))], "with at most 16 keys before the value");
        refused("sed = 1\n", &[], "setting 'sed' is unknown; did you mean 'seed'?");
        refused("", &["seed=-1"], "setting 'seed': found -1, allowed is a whole number of at least 0");
        refused("", &["device=cuda:0"], "found \"cuda:0\", but this build has no CUDA; allowed are auto, cpu");
        refused("device = \"gpu\"\n", &[], "setting 'device': found \"gpu\", allowed are auto, cpu");
        refused("[train]\nmax_epoch = 1\n", &[], "setting 'train.max_epoch' is unknown; did you mean 'max_epochs'?");
        let own = "[[models]]\nname = \"a\"\n[models.train]\nloss = \"mae\"\n";
        refused(own, &[], "'models.a.train.loss': found \"mae\", allowed is one of sharpe, mse");
    }

    #[test]
    fn a_date_needs_no_quotes() {
        let start = |text: &str, overrides: &[&str]| {
            let overrides: Vec<String> = overrides.iter().map(|&entry| entry.to_owned()).collect();
            Experiment::from_toml(text, "".into(), &overrides).unwrap().windows.start
        };
        let quoted = start("[windows]\nstart = \"2012-01-01\"\n", &[]);
        assert!(quoted.is_some());
        assert_eq!(start("[windows]\nstart = 2012-01-01\n", &[]), quoted);
        assert_eq!(start("", &["windows.start=2012-01-01"]), quoted);
        refused("[windows]\nstart = 2012-01-01T00:00:00\n", &[], "found \"2012-01-01T00:00:00\"");
    }

    #[test]
    fn overrides_reach_their_setting() {
        let overrides = ["windows.step_months=1".to_owned(), "portfolio.rebalance=weekly".to_owned()];
        let experiment = Experiment::from_toml("[[models]]\nname = \"hrp\"\n", "".into(), &overrides).unwrap();
        assert_eq!(experiment.windows.step_months, 1);
        let two = "[[models]]\nname = \"a\"\n[[models]]\nname = \"b\"\n";
        let overrides = ["models.b.settings.size=3".to_owned(), "models.a.train.max_epochs=7".to_owned()];
        let models = Experiment::from_toml(two, "".into(), &overrides).unwrap().models;
        assert_eq!((&models[1].settings["size"], &models[0].train["max_epochs"]), (&3.into(), &7.into()));
        assert!(models[0].settings.is_empty() && models[1].train.is_empty());
        refused(two, &["models.c.settings.size=3"], "there is no 'c'; allowed are a, b");
        refused(two, &["models.b=3"], "allowed is models.b.settings.KEY=VALUE or models.b.train.KEY=VALUE");
        assert_eq!(experiment.portfolio.rebalance, crate::windows::Rebalance::Weekly);
        assert_eq!(experiment.models[0].plugin, "hrp");
        let every_ten = Experiment::from_toml("", "".into(), &["portfolio.rebalance=10".to_owned()]).unwrap();
        assert_eq!(every_ten.portfolio.rebalance, crate::windows::Rebalance::EveryRows(10));
    }
}
