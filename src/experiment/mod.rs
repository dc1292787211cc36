//! The experiment file: TOML or JSON into checked settings. Unknown keys are errors that suggest the nearest key.

use std::path::PathBuf;

use serde_json::{Map, Value as Json, json};

use crate::error::{Result, fail};
use crate::panel::PanelKind;
use crate::portfolio::PortfolioSettings;
use crate::settings::{Setting, SettingType, SettingValues, unknown};
use crate::train::TrainSettings;
use crate::windows::WindowSettings;

mod device;
mod file;
mod model_spec;
mod overrides;

pub use device::Device;
pub use model_spec::{ModelSpec, model_settings};

/// A checked experiment.
#[derive(Clone, Debug)]
pub struct Experiment {
    /// What every random choice of a run is derived from.
    pub seed: u64,
    /// Number of threads; 0 for one a core.
    pub threads: usize,
    /// What models are computed on.
    pub device: Device,
    /// Price or return file and which of the two it is, with the path as the file says it.
    pub data: Option<(PanelKind, PathBuf)>,
    /// Membership file, as the file says it.
    pub membership: Option<PathBuf>,
    /// Rows after its last price for which an asset may still be held.
    pub stale_rows: usize,
    /// Feature planes by name, `[data.features]`, and their files.
    pub features: Vec<(String, PathBuf)>,
    /// How windows are cut.
    pub windows: WindowSettings,
    /// Rebalancing, costs and constraints.
    pub portfolio: PortfolioSettings,
    /// The models beside equal weight, in the file's order.
    pub models: Vec<ModelSpec>,
    /// `[train]`, checked.
    train: Map<String, Json>,
    folder: PathBuf,
    windows_values: SettingValues,
}

/// The declarations of `[data]`.
pub fn data_settings() -> Vec<Setting> {
    vec![
        Setting::new(
            "prices",
            SettingType::Text,
            Json::Null,
            "file of prices (CSV or Parquet), relative to the experiment file",
        ),
        Setting::new("returns", SettingType::Text, Json::Null, "file of simple returns, instead of prices"),
        Setting::new(
            "membership",
            SettingType::Text,
            Json::Null,
            "CSV file of ticker, start and end (both days inside): who may be held when; without it, who has a price",
        ),
        Setting::new(
            "stale_rows",
            SettingType::Integer(0, 100_000),
            0,
            "rows after its last price for which an asset may still be held",
        ),
    ]
}

/// The declarations that stand before every section.
pub fn top_settings() -> Vec<Setting> {
    vec![
        Setting::new("seed", SettingType::Integer(0, i64::MAX), 0, "what every random choice of a run is derived from"),
        Setting::new("threads", SettingType::Integer(0, 4096), 0, "threads to compute with; 0 for one a core"),
        Setting::new(
            "device",
            SettingType::Text,
            "auto",
            "what models are computed on: auto or cpu; this build has no CUDA",
        ),
    ]
}

const SECTIONS: [&str; 4] = ["data", "windows", "portfolio", "train"];

impl Experiment {
    /// From the same keys as JSON.
    ///
    /// # Errors
    /// `InvalidSetting` that names the setting.
    pub fn from_json(tree: &Json, folder: PathBuf) -> Result<Self> {
        let Some(root) = tree.as_object() else { fail!(InvalidSetting, "an experiment must be a table, found {tree}") };
        let declared = top_settings();
        let known: Vec<&str> =
            SECTIONS.into_iter().chain(["models"]).chain(declared.iter().map(|top| top.name.as_str())).collect();
        for key in root.keys() {
            if !known.contains(&key.as_str()) {
                return Err(unknown(key, key, &known));
            }
        }
        let mut top = root.clone();
        top.retain(|key, _| declared.iter().any(|setting| setting.name == *key));
        let top = SettingValues::check("", &declared, &top)?;
        let mut given = section(root, "", "data")?;
        let features = features(given.remove("features"))?;
        let data_values = SettingValues::check("data", &data_settings(), &given)?;
        let windows_values =
            SettingValues::check("windows", &WindowSettings::declared(), &section(root, "", "windows")?)?;
        let data = match (data_values.text("prices"), data_values.text("returns")) {
            (Ok(_), Ok(_)) => {
                fail!(InvalidSetting, "settings 'data.prices' and 'data.returns' are both given; one is allowed")
            }
            (Ok(file), Err(_)) => Some((PanelKind::Prices, PathBuf::from(file))),
            (Err(_), Ok(file)) => Some((PanelKind::Returns, PathBuf::from(file))),
            (Err(_), Err(_)) => None,
        };
        let train = section(root, "", "train")?;
        TrainSettings::from_sections(&train, None)?;
        let models = model_spec::models(root)?;
        for model in &models {
            TrainSettings::from_sections(&train, Some((&format!("models.{}.train", model.name), &model.train)))?;
        }
        Ok(Self {
            train,
            membership: data_values.text("membership").ok().map(PathBuf::from),
            stale_rows: data_values.count("stale_rows")?,
            features,
            seed: top.count("seed")? as u64,
            threads: top.count("threads")?,
            device: Device::parse(top.text("device")?)?,
            data,
            windows: WindowSettings::from_values(&windows_values)?,
            portfolio: PortfolioSettings::from_section(section(root, "", "portfolio")?)?,
            models,
            folder,
            windows_values,
        })
    }

    /// `[train]`, with what a model overrides of it.
    ///
    /// # Errors
    /// `InvalidSetting` that names the setting.
    pub fn train_settings(&self, model: Option<&ModelSpec>) -> Result<TrainSettings> {
        let path = model.map(|model| format!("models.{}.train", model.name));
        let own = model.zip(path.as_deref()).map(|(model, path)| (path, &model.train));
        TrainSettings::from_sections(&self.train, own)
    }

    /// The settings that results depend on, defaults filled in. The kind of device is one of them, as arithmetic rounds
    /// differently on another kind; which device of that kind, and how many threads, changes nothing and is not here.
    pub fn effective(&self) -> Json {
        json!({
            "seed": self.seed,
            "device": self.device.name(),
            "windows": self.windows_values.to_json(),
            "portfolio": self.portfolio.effective(),
        })
    }
}

/// `[data.features]`: a file for each name.
fn features(table: Option<Json>) -> Result<Vec<(String, PathBuf)>> {
    let table = match table {
        None => return Ok(Vec::new()),
        Some(Json::Object(table)) => table,
        Some(found) => fail!(InvalidSetting, "'data.features': found {found}, allowed is a table of names and files"),
    };
    table
        .into_iter()
        .map(|(name, file)| match file {
            Json::String(file) => Ok((name, PathBuf::from(file))),
            found => fail!(InvalidSetting, "setting 'data.features.{name}': found {found}, allowed is a file's path"),
        })
        .collect()
}

/// A table of `of`, which is itself found at `path`.
fn section(of: &Map<String, Json>, path: &str, name: &str) -> Result<Map<String, Json>> {
    match of.get(name) {
        None => Ok(Map::new()),
        Some(Json::Object(table)) => Ok(table.clone()),
        Some(found) if path.is_empty() => {
            fail!(InvalidSetting, "'{name}': found {found}, allowed is a table [{name}]")
        }
        Some(found) => fail!(InvalidSetting, "'{path}.{name}': found {found}, allowed is a table"),
    }
}

#[cfg(test)]
mod tests {
    use super::Experiment;

    fn refused(text: &str, overrides: &[&str], expected: &str) {
        let overrides: Vec<String> = overrides.iter().map(|&entry| entry.to_owned()).collect();
        let message = Experiment::from_toml(text, "".into(), &overrides).unwrap_err().to_string();
        assert!(message.contains(expected), "{message}");
    }

    #[test]
    fn what_a_user_gets_wrong_is_named() {
        refused("[window]\n", &[], "setting 'window' is unknown; did you mean 'windows'?");
        refused("[windows]\ntrain_month = 3\n", &[], "did you mean 'train_months'?");
        refused(
            "",
            &["portfolio.max_weight=2"],
            "'portfolio.max_weight': found 2, allowed is a number from 0.000001 to 1",
        );
        refused("", &["portfolio"], "allowed is section.key=value");
        refused("[portfolio]\nrebalance = \"yearly\"\n", &[], "found \"yearly\", allowed is daily");
        refused("[[models]]\nname = \"equal_weight\"\n", &[], "is taken");
        refused("[[models]]\nname = \"a/b\"\n", &[], "found \"a/b\"");
        refused("[[models]]\nname = \"a\"\nplugins = \"b\"\n", &[], "did you mean 'plugin'?");
        refused("[data]\nprices = \"a\"\nreturns = \"b\"\n", &[], "both given");
        refused("[data.features]\nvolume = 3\n", &[], "'data.features.volume': found 3, allowed is a file's path");
        refused("[data]\nfeatures = 3\n", &[], "'data.features': found 3");
        refused("[data]\nmember = \"a\"\n", &[], "did you mean 'membership'?");
        refused("not toml", &[], "it is not TOML");
        refused("[[models]]\nname = \"a\"\nsettings = 3\n", &[], "'models[0].settings': found 3, allowed is a table");
        refused(&format!("seed = 1\n{}a = 1", "a.".repeat(200)), &[], "recursion limit near line 2");
        refused("", &[&format!("{}a=1", "a.".repeat(50))], "with at most 16 names up to the value");
        refused("sed = 1\n", &[], "setting 'sed' is unknown; did you mean 'seed'?");
        refused("", &["seed=-1"], "setting 'seed': found -1, allowed is a whole number of at least 0");
        refused("", &["device=cuda:0"], "found \"cuda:0\", but this build has no CUDA; allowed are auto, cpu");
        refused("device = \"gpu\"\n", &[], "setting 'device': found \"gpu\", allowed are auto, cpu");
        refused("[train]\nmax_epoch = 1\n", &[], "setting 'train.max_epoch' is unknown; did you mean 'max_epochs'?");
        let own = "[[models]]\nname = \"a\"\n[models.train]\nloss = \"mae\"\n";
        refused(own, &[], "'models.a.train.loss': found \"mae\", allowed is one of sharpe, mse");
    }

    #[test]
    fn results_depend_on_the_seed_and_the_kind_of_device_but_not_on_threads() {
        let effective = |overrides: &[&str]| {
            let overrides: Vec<String> = overrides.iter().map(|&entry| entry.to_owned()).collect();
            Experiment::from_toml("", "".into(), &overrides).unwrap().effective()
        };
        let plain = effective(&[]);
        assert_eq!((&plain["seed"], &plain["device"]), (&0.into(), &"cpu".into()));
        assert_eq!(effective(&["threads=3", "device=cpu"]), plain);
        assert_eq!(effective(&["seed=7"])["seed"], 7);
    }

    #[test]
    fn overrides_reach_their_setting() {
        let overrides = ["windows.step_months=1".to_owned(), "portfolio.rebalance=weekly".to_owned()];
        let experiment = Experiment::from_toml("[[models]]\nname = \"hrp\"\n", "".into(), &overrides).unwrap();
        assert_eq!(experiment.windows.step_months, 1);
        let two = "[[models]]\nname = \"a\"\n[[models]]\nname = \"b\"\n";
        let set = ["models.b.settings.size=3".to_owned(), "models.a.train.max_epochs=7".to_owned()];
        let models = Experiment::from_toml(two, "".into(), &set).unwrap().models;
        assert_eq!((&models[1].settings["size"], &models[0].train["max_epochs"]), (&3.into(), &7.into()));
        assert!(models[0].settings.is_empty() && models[1].train.is_empty());
        refused(two, &["models.c.settings.size=3"], "there is no 'c'; there are a, b");
        refused(two, &["models.b=3"], "allowed is models.b.settings.KEY=VALUE or models.b.train.KEY=VALUE");
        assert_eq!(experiment.portfolio.rebalance, crate::windows::Rebalance::Weekly);
        assert_eq!(experiment.models[0].plugin, "hrp");
        let every_ten = Experiment::from_toml("", "".into(), &["portfolio.rebalance=10".to_owned()]).unwrap();
        assert_eq!(every_ten.portfolio.rebalance, crate::windows::Rebalance::EveryRows(10));
    }
}
