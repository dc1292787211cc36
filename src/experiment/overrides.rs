//! Overrides of single settings, `--set section.key=value`.

use serde_json::{Value as Json, json};

use crate::error::{Result, fail};
use crate::settings::parse_toml;

/// Largest number of keys before the value of an override; no setting has as many.
const MAX_KEYS: usize = 16;

/// Applies `section.key=value`. The value is parsed as TOML and taken as text if that fails.
pub(super) fn set(tree: &mut Json, entry: &str) -> Result<()> {
    let Some((path, text)) = entry.split_once('=') else {
        fail!(InvalidSetting, "--set {entry}: allowed is section.key=value");
    };
    let value = parse_toml(&format!("v = {text}")).map_or_else(|_| json!(text), |table| table["v"].clone());
    // Tables nested without limit would overflow the stack.
    if path.split('.').count() > MAX_KEYS {
        fail!(
            InvalidSetting,
            "--set {entry}: allowed is section.key=value, with at most {MAX_KEYS} keys before the value"
        );
    }
    let mut node = tree;
    let mut keys = path.split('.').peekable();
    while let Some(key) = keys.next() {
        // In a list of tables, such as [[models]], the key is the name of a table.
        if let Json::Array(list) = node {
            let names: Vec<&str> = list.iter().filter_map(|table| table["name"].as_str()).collect();
            let Some(index) = names.iter().position(|name| *name == key) else {
                fail!(InvalidSetting, "--set {entry}: there is no '{key}'; allowed are {}", names.join(", "));
            };
            let Some(table) = list.iter_mut().filter(|table| table["name"].is_string()).nth(index) else {
                fail!(Internal, "table {index} has lost its name");
            };
            node = table;
            if keys.peek().is_none() {
                fail!(InvalidSetting, "--set {entry}: allowed is {path}.settings.KEY=VALUE or {path}.train.KEY=VALUE");
            }
            continue;
        }
        let Some(table) = node.as_object_mut() else {
            fail!(InvalidSetting, "--set {entry}: what comes before '{key}' is not a table");
        };
        if keys.peek().is_none() {
            table.insert(key.to_owned(), value);
            return Ok(());
        }
        node = table.entry(key).or_insert_with(|| json!({}));
    }
    Ok(())
}
