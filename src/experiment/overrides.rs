//! `--set section.key=value`: overrides of single settings.

use serde_json::{Value as Json, json};

use crate::error::{Result, fail};

/// Names on the way to a value in an override, more than any setting has.
const DEEPEST: usize = 16;

/// Applies `section.key=value`; the value is read as TOML, and as text where it is none.
pub(super) fn set(tree: &mut Json, entry: &str) -> Result<()> {
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
