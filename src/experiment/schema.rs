//! Checks a tree of tables, as parsed from TOML or JSON, and builds the experiment from it.

use std::path::PathBuf;

use serde_json::{Map, Value as Json};

use super::execution::{DELISTING_RETURNS, RATES};
use super::section::section;
use super::settings::{data_settings, top_settings};
use super::{Benchmark, Device, Experiment, model_spec};
use crate::error::{Result, fail};
use crate::panel::PanelKind;
use crate::portfolio::PortfolioSettings;
use crate::settings::{SettingValues, number_or_file, unknown};
use crate::train::TrainSettings;
use crate::windows::WindowSettings;

const SECTIONS: [&str; 5] = ["data", "windows", "portfolio", "train", "benchmark"];

impl Experiment {
    /// Builds an experiment from JSON with the same keys as the TOML file; data paths are relative to `folder`.
    ///
    /// # Errors
    /// `InvalidSetting` that names the setting.
    pub fn from_json(tree: &Json, folder: PathBuf) -> Result<Self> {
        let Some(root) = tree.as_object() else {
            fail!(InvalidSetting, "the experiment: found {tree}, allowed is a table of settings")
        };
        let declared = top_settings();
        let allowed: Vec<&str> =
            SECTIONS.into_iter().chain(["models"]).chain(declared.iter().map(|top| top.name.as_str())).collect();
        for key in root.keys() {
            if !allowed.contains(&key.as_str()) {
                return Err(unknown(key, key, &allowed));
            }
        }
        let mut top = root.clone();
        top.retain(|key, _| declared.iter().any(|setting| setting.name == *key));
        let top = SettingValues::check("", &declared, &top)?;
        let mut data = section(root, "", "data")?;
        let features = features(data.remove("features"))?;
        numbers_as_text(&mut data, &["risk_free", "delisting_return"]);
        let data_values = SettingValues::check("data", &data_settings(), &data)?;
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
        let mut portfolio = section(root, "", "portfolio")?;
        numbers_as_text(&mut portfolio, &["borrow_rate", "cash_return"]);
        let train = section(root, "", "train")?;
        TrainSettings::from_sections(&train, None)?;
        let models = model_spec::models(root)?;
        for model in &models {
            TrainSettings::from_sections(&train, Some((&format!("models.{}.train", model.name), &model.train)))?;
        }
        Ok(Self {
            train,
            membership: data_values.text("membership").ok().map(PathBuf::from),
            stale_rows: data_values.get("stale_rows").map(|_| data_values.count("stale_rows")).transpose()?,
            periods_per_year: data_values
                .get("periods_per_year")
                .map(|_| data_values.real("periods_per_year"))
                .transpose()?,
            risk_free: number_or_file("data.risk_free", data_values.text("risk_free")?, &RATES)?,
            delist_rows: data_values.get("delist_rows").map(|_| data_values.count("delist_rows")).transpose()?,
            delisting_return: number_or_file(
                "data.delisting_return",
                data_values.text("delisting_return")?,
                &DELISTING_RETURNS,
            )?,
            features,
            seed: top.count("seed")? as u64,
            threads: top.count("threads")?,
            device: Device::parse(top.text("device")?)?,
            simd: top.choice("simd")?,
            data,
            windows: WindowSettings::from_values(&windows_values)?,
            portfolio: PortfolioSettings::from_section(portfolio)?,
            benchmark: Benchmark::from_section(&section(root, "", "benchmark")?, &models)?,
            models,
            folder,
            windows_values,
        })
    }
}

/// Turns numbers of settings that may also name a file into text.
fn numbers_as_text(section: &mut Map<String, Json>, names: &[&str]) {
    for name in names {
        if let Some(value) = section.get_mut(*name).filter(|value| value.is_number()) {
            *value = Json::String(value.to_string());
        }
    }
}

/// Reads `[data.features]`: names of feature planes and paths of their files.
fn features(table: Option<Json>) -> Result<Vec<(String, PathBuf)>> {
    let table = match table {
        None => return Ok(Vec::new()),
        Some(Json::Object(table)) => table,
        Some(found) => fail!(InvalidSetting, "'data.features': found {found}, allowed is a table of NAME = \"FILE\""),
    };
    table
        .into_iter()
        .map(|(name, file)| match file {
            Json::String(file) => Ok((name, PathBuf::from(file))),
            found => {
                fail!(InvalidSetting, "setting 'data.features.{name}': found {found}, allowed is the path of a file")
            }
        })
        .collect()
}
