//! Checks a tree of tables, as parsed from TOML or JSON, and builds the experiment from it.

use std::path::PathBuf;

use serde_json::Value as Json;

use super::section::section;
use super::settings::{data_settings, top_settings};
use super::{Device, Experiment, model_spec};
use crate::error::{Result, fail};
use crate::panel::PanelKind;
use crate::portfolio::PortfolioSettings;
use crate::settings::{SettingValues, unknown};
use crate::train::TrainSettings;
use crate::windows::WindowSettings;

const SECTIONS: [&str; 4] = ["data", "windows", "portfolio", "train"];

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
        // A rate may be given as a number instead of a text.
        if let Some(rate) = data.get_mut("risk_free").filter(|rate| rate.is_number()) {
            *rate = Json::String(rate.to_string());
        }
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
            periods_per_year: data_values
                .get("periods_per_year")
                .map(|_| data_values.real("periods_per_year"))
                .transpose()?,
            risk_free: risk_free(data_values.text("risk_free")?)?,
            features,
            seed: top.count("seed")? as u64,
            threads: top.count("threads")?,
            device: Device::parse(top.text("device")?)?,
            simd: top.choice("simd")?,
            data,
            windows: WindowSettings::from_values(&windows_values)?,
            portfolio: PortfolioSettings::from_section(section(root, "", "portfolio")?)?,
            models,
            folder,
            windows_values,
        })
    }
}

/// Checks the risk-free rate, if it is a number and not a file.
fn risk_free(text: &str) -> Result<String> {
    match text.parse::<f64>() {
        Ok(rate) if !(-1.0..=1.0).contains(&rate) => fail!(
            InvalidSetting,
            "setting 'data.risk_free': found {text}, allowed is a fraction from -1 to 1, such as 0.03 for 3 %, or a file"
        ),
        _ => Ok(text.to_owned()),
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
