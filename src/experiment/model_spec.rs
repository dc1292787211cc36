//! `[[models]]`: what an experiment says of a model.

use serde_json::{Map, Value as Json};

use super::section;
use crate::error::{Result, fail};
use crate::model::EQUAL_WEIGHT;
use crate::settings::{Setting, SettingType, SettingValues, unknown};

/// What an experiment says of a model.
#[derive(Clone, Debug)]
pub struct ModelSpec {
    /// Its name in results.
    pub name: String,
    /// Its plugin, by name or path.
    pub plugin: String,
    /// Its settings as given, not yet checked against the plugin's declaration.
    pub settings: Map<String, Json>,
    /// What it overrides of `[train]`; checked.
    pub train: Map<String, Json>,
}

/// The declarations of `[[models]]`; `[models.settings]` is declared by the model's plugin.
pub fn model_settings() -> Vec<Setting> {
    vec![
        Setting::new("name", SettingType::Text, Json::Null, "name in results: letters, digits, _, - and ."),
        Setting::new("plugin", SettingType::Text, Json::Null, "plugin by name or path; the model's name if left out"),
    ]
}

pub(super) fn models(root: &Map<String, Json>) -> Result<Vec<ModelSpec>> {
    let list = match root.get("models") {
        None => return Ok(Vec::new()),
        Some(Json::Array(list)) => list,
        Some(found) => fail!(InvalidSetting, "'models': found {found}, allowed are tables [[models]]"),
    };
    let declared = model_settings();
    let mut out: Vec<ModelSpec> = Vec::new();
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
        out.push(ModelSpec { name, plugin, settings, train });
    }
    Ok(out)
}
