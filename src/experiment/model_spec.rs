//! `[[models]]`: the models of an experiment.

use serde_json::{Map, Value as Json};

use super::section::section;
use crate::error::{Result, fail};
use crate::model::EQUAL_WEIGHT;
use crate::settings::{Setting, SettingType, SettingValues, unknown};

/// A model of an experiment.
#[derive(Clone, Debug)]
pub struct ModelSpec {
    /// The name in results.
    pub name: String,
    /// The name or path of the plugin.
    pub plugin: String,
    /// The settings of the model, not yet checked against the plugin's declaration.
    pub settings: Map<String, Json>,
    /// Overrides of `[train]`, checked.
    pub train: Map<String, Json>,
}

/// The declarations of `[[models]]`. Those of `[models.settings]` come from the model's plugin.
pub fn model_settings() -> Vec<Setting> {
    vec![
        Setting::new("name", SettingType::Text, Json::Null, "name in results, of letters, digits, _, - and ."),
        Setting::new(
            "plugin",
            SettingType::Text,
            Json::Null,
            "name or path of the plugin, or equal_weight; the model's name if left out",
        ),
    ]
}

/// Reads and checks `[[models]]`; empty if there is none. A plugin that is left out has the name of its model.
pub(super) fn models(root: &Map<String, Json>) -> Result<Vec<ModelSpec>> {
    let list = match root.get("models") {
        None => return Ok(Vec::new()),
        Some(Json::Array(list)) => list,
        Some(found) => fail!(InvalidSetting, "'models': found {found}, allowed is an array of tables, [[models]]"),
    };
    let declared = model_settings();
    let mut out: Vec<ModelSpec> = Vec::new();
    for (index, entry) in list.iter().enumerate() {
        let path = format!("models[{index}]");
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
        check_name(&path, &name)?;
        if out.iter().any(|other| other.name == name) {
            fail!(
                InvalidSetting,
                "setting '{path}.name': found \"{name}\", which is taken; every model needs its own name"
            );
        }
        // Its type was checked above, so an error means that it is missing.
        let plugin = values.text("plugin").map_or_else(|_| name.clone(), str::to_owned);
        out.push(ModelSpec { name, plugin, settings, train });
    }
    Ok(out)
}

/// Refuses a name in results that could not be that of a file, and that of the default benchmark.
pub(super) fn check_name(path: &str, name: &str) -> Result<()> {
    let plain = |sign: char| sign.is_ascii_alphanumeric() || matches!(sign, '_' | '-' | '.');
    if name.is_empty() || name.starts_with('.') || !name.chars().all(plain) {
        fail!(
            InvalidSetting,
            "setting '{path}.name': found \"{name}\", allowed are letters, digits, _, - and ., and no . at the start"
        );
    }
    if name == EQUAL_WEIGHT {
        fail!(InvalidSetting, "setting '{path}.name': found \"{name}\", the name of the benchmark; choose another");
    }
    Ok(())
}
