//! `[portfolio.groups.NAME]`: bounds on groups of assets, which the table or a file names.

use serde_json::{Map, Value as Json, json};

use super::constraints::{DatedGroup, Group};
use crate::error::{Result, fail};
use crate::panel::{AssetGroups, Panel};
use crate::settings::{Setting, SettingType, SettingValues};

/// The table that stands for every group of the file without a table of its own.
const OTHERS: &str = "*";

/// The declarations of `[portfolio.groups.NAME]`; `assets` is a list of names.
pub fn group_settings() -> Vec<Setting> {
    let bound = |name, doc| Setting::new(name, SettingType::Real(-20.0, 20.0), Json::Null, doc);
    vec![
        bound("min", "smallest sum of the weights of the group's assets; no limit if left out"),
        bound("max", "largest sum of the weights of the group's assets; no limit if left out"),
    ]
}

/// A table of `[portfolio.groups]`.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct GroupTable {
    name: String,
    /// The names of its assets; `None` if they are in the file.
    assets: Option<Vec<String>>,
    min: Option<f64>,
    max: Option<f64>,
}

impl GroupTable {
    /// Reads the tables; `has_file` says whether a file names the assets of those without a list.
    pub(super) fn read_all(tables: Option<Json>, has_file: bool) -> Result<Vec<Self>> {
        let tables = match tables {
            None => Map::new(),
            Some(Json::Object(tables)) => tables,
            Some(found) => {
                fail!(InvalidSetting, "'portfolio.groups': found {found}, allowed are tables [portfolio.groups.NAME]")
            }
        };
        let out: Vec<Self> =
            tables.into_iter().map(|(name, table)| Self::read(name, table, has_file)).collect::<Result<_>>()?;
        if has_file && out.iter().all(|table| table.assets.is_some()) {
            fail!(
                InvalidSetting,
                "setting 'portfolio.asset_groups': no table [portfolio.groups.NAME] bounds a group of the file; add one, \
                 or [portfolio.groups.\"{OTHERS}\"] for all of its groups"
            );
        }
        Ok(out)
    }

    fn read(name: String, table: Json, has_file: bool) -> Result<Self> {
        let path = format!("portfolio.groups.{name}");
        let Json::Object(mut table) = table else {
            fail!(InvalidSetting, "'{path}': found {table}, allowed is a table with assets, min and max");
        };
        let assets = match table.remove("assets") {
            None => None,
            Some(list) => {
                let names = list.as_array().filter(|names| !names.is_empty());
                let names: Option<Vec<String>> =
                    names.and_then(|names| names.iter().map(|asset| asset.as_str().map(str::to_owned)).collect());
                if names.is_none() {
                    fail!(
                        InvalidSetting,
                        "setting '{path}.assets': found {list}, allowed is a list with at least one name of an asset"
                    );
                }
                names
            }
        };
        if assets.is_none() && !has_file {
            fail!(
                InvalidSetting,
                "setting '{path}.assets' is missing: allowed is a list with at least one name of an asset, or none where \
                 portfolio.asset_groups is a file that names the assets of the group"
            );
        }
        let values = SettingValues::check(&path, &group_settings(), &table)?;
        let bound = |name: &str| values.get(name).map(|_| values.real(name)).transpose();
        let (min, max) = (bound("min")?, bound("max")?);
        if min.is_none() && max.is_none() {
            fail!(InvalidSetting, "'{path}': found neither min nor max; set at least one of them");
        }
        if let Some((min, max)) = min.zip(max).filter(|(min, max)| min > max) {
            fail!(InvalidSetting, "setting '{path}.min': found {min}, allowed is at most its max of {max}");
        }
        Ok(Self { name, assets, min, max })
    }

    fn bounds(&self) -> (f64, f64) {
        (self.min.unwrap_or(f64::NEG_INFINITY), self.max.unwrap_or(f64::INFINITY))
    }

    /// The groups of the tables that list their assets; `assets` are those of the panel, in canonical order.
    ///
    /// # Errors
    /// `InvalidSetting` if a table names an asset that the panel does not have.
    pub(super) fn listed(tables: &[Self], assets: &[String]) -> Result<Vec<Group>> {
        let mut out = Vec::new();
        for table in tables {
            let mut columns = Vec::new();
            for asset in table.assets.iter().flatten() {
                let Ok(column) = assets.binary_search(asset) else {
                    fail!(
                        InvalidSetting,
                        "setting 'portfolio.groups.{}.assets': found \"{asset}\", which is not an asset of the data",
                        table.name
                    );
                };
                columns.push(column);
            }
            columns.sort_unstable();
            columns.dedup();
            let (min, max) = table.bounds();
            if table.assets.is_some() {
                out.push(Group { name: table.name.clone(), assets: columns, min, max });
            }
        }
        Ok(out)
    }

    /// The groups of the tables whose assets the file names. Assets that the panel does not have are left out.
    ///
    /// # Errors
    /// `InvalidSetting` if the file has no such group.
    pub(super) fn dated(tables: &[Self], file: &AssetGroups, panel: &Panel) -> Result<Vec<DatedGroup>> {
        let group = |name: &str, table: &Self| {
            let (min, max) = table.bounds();
            DatedGroup { name: name.to_owned(), members: panel.rows_within(&file[name]), min, max }
        };
        let mut out = Vec::new();
        for table in tables.iter().filter(|table| table.assets.is_none() && table.name != OTHERS) {
            if !file.contains_key(&table.name) {
                let known: Vec<&str> = file.keys().map(String::as_str).collect();
                fail!(
                    InvalidSetting,
                    "'portfolio.groups.{}': the file of portfolio.asset_groups has no such group; it has {}",
                    table.name,
                    known.join(", ")
                );
            }
            out.push(group(&table.name, table));
        }
        if let Some(others) = tables.iter().find(|table| table.assets.is_none() && table.name == OTHERS) {
            let has_table = |name: &&String| tables.iter().any(|table| table.name == **name);
            out.extend(file.keys().filter(|name| !has_table(name)).map(|name| group(name, others)));
        }
        Ok(out)
    }

    /// The name, and the bounds in words.
    pub(super) fn describe(&self) -> String {
        let percent = |share: f64| format!("{} %", share * 100.0);
        let name = if self.name == OTHERS { "each other group" } else { &self.name };
        match (self.min, self.max) {
            (Some(min), Some(max)) => format!("{name}, {} to {}", percent(min), percent(max)),
            (Some(min), None) => format!("{name}, at least {}", percent(min)),
            (_, max) => format!("{name}, at most {}", percent(max.unwrap_or_default())),
        }
    }

    /// As `run.json` records it.
    pub(super) fn effective(&self) -> (String, Json) {
        (self.name.clone(), json!({"assets": self.assets, "min": self.min, "max": self.max}))
    }
}

#[cfg(test)]
mod tests {
    use jiff::ToSpan as _;
    use jiff::civil::date;
    use serde_json::json;

    use super::{Group, GroupTable};
    use crate::panel::{AssetGroups, Membership, Panel, PanelKind};

    fn panel() -> Panel {
        let dates = (0..4).map(|day| date(2020, 1, 1) + i64::from(day).days()).collect();
        let names = ["A", "B", "C"].map(str::to_owned);
        Panel::from_arrays(PanelKind::Prices, dates, &names, &[1.0; 12]).unwrap()
    }

    #[test]
    fn a_file_names_the_assets_of_a_group_day_by_day() {
        let mut file = AssetGroups::new();
        let mut add = |group: &str, asset: &str, first, last| {
            let entry: &mut Membership = file.entry(group.to_owned()).or_default();
            entry.add(asset, date(2020, 1, first), date(2020, 1, last));
        };
        add("tech", "B", 1, 2);
        add("tech", "A", 2, 31);
        add("media", "B", 3, 31);
        add("media", "Z", 1, 31);
        let tables = json!({"tech": {"max": 0.4}, "*": {"min": 0.1}, "own": {"assets": ["C", "A", "C"], "max": 0.5}});
        let tables = GroupTable::read_all(Some(tables), true).unwrap();
        let listed = GroupTable::listed(&tables, panel().assets()).unwrap();
        let own = Group { name: "own".into(), assets: vec![0, 2], min: f64::NEG_INFINITY, max: 0.5 };
        assert_eq!(listed, std::slice::from_ref(&own));
        let constraints = crate::portfolio::Constraints {
            groups: listed,
            dated_groups: GroupTable::dated(&tables, &file, &panel()).unwrap(),
            ..Default::default()
        };
        let at = |row: usize| {
            let groups = constraints.at(row).into_owned().groups;
            groups.into_iter().map(|group| (group.name, group.assets)).collect::<Vec<_>>()
        };
        let expected = |tech: &[usize], media: &[usize]| {
            let entry = |name: &str, assets: &[usize]| (name.to_owned(), assets.to_vec());
            vec![entry("own", &[0, 2]), entry("tech", tech), entry("media", media)]
        };
        assert_eq!(at(0), expected(&[1], &[]));
        assert_eq!(at(1), expected(&[0, 1], &[]));
        assert_eq!(at(2), expected(&[0], &[1]));
        assert_eq!(constraints.at(2).groups[2].min, 0.1);
        let unknown = GroupTable::read_all(Some(json!({"energy": {"max": 0.4}})), true).unwrap();
        let message = GroupTable::dated(&unknown, &file, &panel()).unwrap_err().to_string();
        assert!(message.contains("'portfolio.groups.energy'") && message.contains("it has media, tech"), "{message}");
    }

    #[test]
    fn errors_name_the_table_and_what_is_allowed() {
        for (tables, has_file, expected) in [
            (json!([1]), false, "'portfolio.groups': found [1]"),
            (json!({"a": 1}), false, "'portfolio.groups.a': found 1"),
            (json!({"a": {"assets": []}}), false, "'portfolio.groups.a.assets': found [], allowed is a list"),
            (json!({"a": {"assets": [1]}}), false, "'portfolio.groups.a.assets': found [1], allowed is a list"),
            (json!({"a": {"max": 1}}), false, "'portfolio.groups.a.assets' is missing"),
            (json!({"a": {"assets": ["X"], "maxi": 1}}), false, "did you mean 'max'?"),
            (json!({"a": {"assets": ["X"]}}), false, "'portfolio.groups.a': found neither min nor max"),
            (json!({"a": {"assets": ["X"], "min": 0.5, "max": 0.1}}), false, "'portfolio.groups.a.min': found 0.5"),
            (json!({"a": {"assets": ["X"], "max": 0.1}}), true, "'portfolio.asset_groups': no table"),
            (json!({}), true, "'portfolio.asset_groups': no table"),
        ] {
            let message = GroupTable::read_all(Some(tables), has_file).unwrap_err().to_string();
            assert!(message.contains(expected), "{message}");
        }
        let tables = GroupTable::read_all(Some(json!({"a": {"assets": ["Z"], "max": 1}})), false).unwrap();
        let message = GroupTable::listed(&tables, panel().assets()).unwrap_err().to_string();
        assert!(message.contains("'portfolio.groups.a.assets': found \"Z\", which is not an asset"), "{message}");
    }
}
