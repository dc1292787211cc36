//! The experiment file: TOML or JSON into checked settings. Unknown keys are errors that suggest the nearest key.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value as Json, json};

use crate::error::{Code, Error, Result, fail};
use crate::model::EQUAL_WEIGHT;
use crate::panel::{Membership, Panel, PanelKind};
use crate::portfolio::PortfolioSettings;
use crate::settings::{Setting, SettingType, SettingValues, unknown};
use crate::train::TrainSettings;
use crate::windows::WindowSettings;

/// A model of an experiment.
#[derive(Clone, Debug)]
pub struct ModelEntry {
    /// Its name in results.
    pub name: String,
    /// The plugin, by name or path.
    pub plugin: String,
    /// Its settings as the user gave them, not yet checked against the plugin's declaration.
    pub settings: Map<String, Json>,
    /// What it overrides of `[train]`; checked.
    pub train: Map<String, Json>,
}

/// What models are computed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Device {
    /// The processor.
    Cpu,
}

impl Device {
    /// Reads `auto` or `cpu`.
    ///
    /// # Errors
    /// `InvalidSetting` with what is allowed; CUDA devices are refused, as this build has none.
    pub fn parse(text: &str) -> Result<Self> {
        match text {
            "auto" | "cpu" => Ok(Self::Cpu),
            cuda if cuda.strip_prefix("cuda:").is_some_and(|number| number.parse::<u32>().is_ok()) => fail!(
                InvalidSetting,
                "setting 'device': found \"{cuda}\", but this build has no CUDA; allowed are auto, cpu"
            ),
            _ => fail!(InvalidSetting, "setting 'device': found \"{text}\", allowed are auto, cpu"),
        }
    }

    /// Its name in `run.json`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
        }
    }
}

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
    pub rules: PortfolioSettings,
    /// The models beside equal weight, in the file's order.
    pub models: Vec<ModelEntry>,
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

/// The declarations of `[[models]]`; `[models.settings]` is declared by the model's plugin.
pub fn model_settings() -> Vec<Setting> {
    vec![
        Setting::new("name", SettingType::Text, Json::Null, "name in results: letters, digits, _, - and ."),
        Setting::new("plugin", SettingType::Text, Json::Null, "plugin by name or path; the model's name if left out"),
    ]
}

/// Names on the way to a value in an override, more than any setting has.
const DEEPEST: usize = 16;

const SECTIONS: [&str; 4] = ["data", "windows", "portfolio", "train"];

impl Experiment {
    /// Reads an experiment file and applies `section.key=value` overrides.
    ///
    /// # Errors
    /// `NotFound`, `Io`, and `InvalidSetting` that names the file and the setting.
    pub fn from_file(path: &Path, overrides: &[String]) -> Result<Self> {
        let text = std::fs::read_to_string(path).map_err(|error| Error::io("read", path, &error))?;
        let folder = path.parent().unwrap_or(Path::new("")).to_owned();
        Self::from_toml(&text, folder, overrides)
            .map_err(|error| error.context(format!("cannot use {}", path.display())))
    }

    /// From TOML text; data paths are relative to `folder`.
    ///
    /// # Errors
    /// `InvalidSetting` that names the setting.
    pub fn from_toml(text: &str, folder: PathBuf, overrides: &[String]) -> Result<Self> {
        let mut tree: Json = toml::from_str(text).map_err(|error| {
            // Of what is nested too deeply the parser does not say where.
            let place =
                if error.span().is_some() { String::new() } else { format!(" near line {}", deepest_line(text)) };
            Error::new(Code::InvalidSetting, format!("it is not TOML: {}{place}", error.to_string().trim_end()))
        })?;
        for entry in overrides {
            set(&mut tree, entry)?;
        }
        Self::from_json(&tree, folder)
    }

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
        let models = models(root)?;
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
            rules: PortfolioSettings::from_section(section(root, "", "portfolio")?)?,
            models,
            folder,
            windows_values,
        })
    }

    /// `[train]`, with what a model overrides of it.
    ///
    /// # Errors
    /// `InvalidSetting` that names the setting.
    pub fn train_settings(&self, model: Option<&ModelEntry>) -> Result<TrainSettings> {
        let path = model.map(|model| format!("models.{}.train", model.name));
        let own = model.zip(path.as_deref()).map(|(model, path)| (path, &model.train));
        TrainSettings::from_sections(&self.train, own)
    }

    /// Reads the panel that `[data]` names.
    ///
    /// # Errors
    /// `InvalidSetting` where none is named, and what reading gives.
    pub fn panel(&self) -> Result<Panel> {
        let Some((kind, path)) = &self.data else {
            fail!(InvalidSetting, "setting 'data.prices' is missing: name a file there, or in 'data.returns'");
        };
        let mut panel = Panel::from_file(*kind, &self.folder.join(path))?.with_stale_rows(self.stale_rows);
        if let Some(path) = &self.membership {
            panel = panel.with_membership(&Membership::from_csv(&self.folder.join(path))?);
        }
        for (name, path) in &self.features {
            panel = panel.with_feature_file(name, &self.folder.join(path))?;
        }
        Ok(panel)
    }

    /// Whether it names data of its own, which an embedding program that brings a panel must not.
    pub fn names_data(&self) -> bool {
        self.data.is_some() || self.membership.is_some() || self.stale_rows > 0 || !self.features.is_empty()
    }

    /// The settings that results depend on, defaults filled in. The kind of device is one of them, as arithmetic rounds
    /// differently on another kind; which device of that kind, and how many threads, changes nothing and is not here.
    pub fn effective(&self) -> Json {
        json!({
            "seed": self.seed,
            "device": self.device.name(),
            "windows": self.windows_values.to_json(),
            "portfolio": self.rules.effective(),
        })
    }
}

/// The line, from 1, with the most signs of tables in tables.
fn deepest_line(text: &str) -> usize {
    let depth = |line: &str| line.matches(['.', '[', '{']).count();
    text.lines()
        .enumerate()
        .max_by_key(|(place, line)| (depth(line), usize::MAX - place))
        .map_or(1, |(place, _)| place + 1)
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

fn models(root: &Map<String, Json>) -> Result<Vec<ModelEntry>> {
    let list = match root.get("models") {
        None => return Ok(Vec::new()),
        Some(Json::Array(list)) => list,
        Some(found) => fail!(InvalidSetting, "'models': found {found}, allowed are tables [[models]]"),
    };
    let declared = model_settings();
    let mut out: Vec<ModelEntry> = Vec::new();
    for (place, entry) in list.iter().enumerate() {
        let path = format!("models[{place}]");
        let Some(entry) = entry.as_object() else {
            fail!(InvalidSetting, "'{path}': found {entry}, allowed is a table")
        };
        let mut own = entry.clone();
        let settings = section(entry, &path, "settings")?;
        let train = section(entry, &path, "train")?;
        own.retain(|key, _| key != "settings" && key != "train");
        for key in own.keys() {
            let allowed = ["name", "plugin", "settings", "train"];
            if !allowed.contains(&key.as_str()) {
                return Err(unknown(&format!("{path}.{key}"), key, &allowed));
            }
        }
        let values = SettingValues::check(&path, &declared, &own)?;
        let name = values.text("name")?.to_owned();
        let plain = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '_' | '-' | '.');
        if name.is_empty() || name.starts_with('.') || !name.chars().all(plain) {
            fail!(InvalidSetting, "setting '{path}.name': found \"{name}\", allowed are letters, digits, _, - and .");
        }
        if name == EQUAL_WEIGHT || out.iter().any(|other| other.name == name) {
            fail!(InvalidSetting, "setting '{path}.name': \"{name}\" is taken; every model needs a name of its own");
        }
        let plugin = values.text("plugin").map_or_else(|_| name.clone(), str::to_owned);
        out.push(ModelEntry { name, plugin, settings, train });
    }
    Ok(out)
}

/// Applies `section.key=value`; the value is read as TOML, and as text where it is none.
fn set(tree: &mut Json, entry: &str) -> Result<()> {
    let Some((path, text)) = entry.split_once('=') else {
        fail!(InvalidSetting, "--set {entry}: allowed is section.key=value");
    };
    let value = toml::from_str::<Json>(&format!("v = {text}")).map_or_else(|_| json!(text), |table| table["v"].clone());
    // A table in a table in a table, without end, is more than can be walked.
    if path.split('.').count() > DEEPEST {
        fail!(
            InvalidSetting,
            "--set {entry}: allowed is section.key=value, with at most {DEEPEST} names up to the value"
        );
    }
    let mut place = tree;
    let mut keys = path.split('.').peekable();
    while let Some(key) = keys.next() {
        // A list of tables, such as [[models]], is looked into by the names that stand in it.
        if let Json::Array(list) = place {
            let named: Vec<&str> = list.iter().filter_map(|table| table["name"].as_str()).collect();
            let Some(found) = named.iter().position(|name| *name == key) else {
                fail!(InvalidSetting, "--set {entry}: there is no '{key}'; there are {}", named.join(", "));
            };
            let Some(table) = list.iter_mut().filter(|table| table["name"].is_string()).nth(found) else {
                fail!(Internal, "a name is lost");
            };
            place = table;
            if keys.peek().is_none() {
                fail!(InvalidSetting, "--set {entry}: allowed is {path}.settings.KEY=VALUE or {path}.train.KEY=VALUE");
            }
            continue;
        }
        let Some(table) = place.as_object_mut() else {
            fail!(InvalidSetting, "--set {entry}: there is no table on the way to '{key}'");
        };
        if keys.peek().is_none() {
            table.insert(key.to_owned(), value);
            return Ok(());
        }
        place = table.entry(key).or_insert_with(|| json!({}));
    }
    Ok(())
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
        assert_eq!(experiment.rules.rebalance, crate::windows::Rebalance::Weekly);
        assert_eq!(experiment.models[0].plugin, "hrp");
        let every_ten = Experiment::from_toml("", "".into(), &["portfolio.rebalance=10".to_owned()]).unwrap();
        assert_eq!(every_ten.rules.rebalance, crate::windows::Rebalance::EveryRows(10));
    }
}
