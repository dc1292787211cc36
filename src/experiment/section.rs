//! Sections of an experiment: tables in tables.

use serde_json::{Map, Value as Json};

use crate::error::{Result, fail};

/// The table `name` of the table `parent`, whose path is `path`; empty if it is missing.
pub(super) fn section(parent: &Map<String, Json>, path: &str, name: &str) -> Result<Map<String, Json>> {
    match parent.get(name) {
        None => Ok(Map::new()),
        Some(Json::Object(table)) => Ok(table.clone()),
        Some(found) if path.is_empty() => {
            fail!(InvalidSetting, "'{name}': found {found}, allowed is a table [{name}]")
        }
        Some(found) => fail!(InvalidSetting, "'{path}.{name}': found {found}, allowed is a table"),
    }
}
