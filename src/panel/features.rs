//! Feature planes: values by date and asset beside returns, such as volume, that models may use.

use std::path::Path;

use super::read::RawTable;
use super::{Panel, SharedPlane, read_table};
use crate::error::{Error, Result, fail};

/// The planes that every panel has, by the names that networks use for them.
pub(crate) const OWN_PLANES: [&str; 3] = ["returns", "known", "members"];

/// A named plane.
#[derive(Clone, Debug)]
pub struct Feature {
    /// Its name.
    pub name: String,
    pub(crate) values: SharedPlane<f64>,
}

impl Feature {
    /// `[dates, assets]`, row-major, columns in canonical order, NaN where missing.
    pub fn values(&self) -> &[f64] {
        &self.values
    }
}

impl Panel {
    /// Adds a plane from a CSV or Parquet file of the panel's layout. Values are missing for dates and assets that the
    /// file lacks; dates and assets that the panel lacks are an error.
    ///
    /// # Errors
    /// As [`Panel::from_csv`], with file, row and column, and `InvalidData` if the panel has a plane of that name.
    pub fn with_feature_file(mut self, name: &str, path: &Path) -> Result<Self> {
        let table = read_table(path)?;
        let context = |error: Error| error.context(format!("cannot use {}", path.display()));
        self.add_table(name, &table).map_err(context)?;
        Ok(self)
    }

    /// Adds a plane from an array: `[dates, assets]` in the source's column order, row-major, NaN where missing.
    ///
    /// # Errors
    /// `InvalidData` if sizes do not agree, a value is infinite, or the panel has a plane of that name.
    pub fn with_feature(mut self, name: &str, values: &[f64]) -> Result<Self> {
        self.add_feature(name, values)?;
        Ok(self)
    }

    /// Adds a plane in place, as [`Panel::with_feature`] does. On failure the panel is unchanged.
    ///
    /// # Errors
    /// As [`Panel::with_feature`].
    pub fn add_feature(&mut self, name: &str, values: &[f64]) -> Result<()> {
        let names = self.output_order.iter().map(|&column| self.assets[column].clone()).collect();
        let table = RawTable {
            dates: self.dates.clone(),
            names,
            values: values.to_vec(),
            lines: None,
            decimals: None,
            single_precision: None,
            layout: None,
        };
        self.add_table(name, &table)
    }

    fn add_table(&mut self, name: &str, table: &RawTable) -> Result<()> {
        let is_allowed = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
        if name.is_empty() || !name.chars().all(is_allowed) {
            fail!(InvalidData, "a feature is named \"{name}\"; allowed are letters, digits and _");
        }
        if OWN_PLANES.contains(&name) {
            fail!(InvalidData, "a feature is named \"{name}\", which is a plane of every panel; give it another name");
        }
        let Err(index) = self.features.binary_search_by(|feature| feature.name.as_str().cmp(name)) else {
            fail!(InvalidData, "the panel has a feature '{name}' already");
        };
        let columns = table.canonical_columns()?;
        let mut targets = Vec::with_capacity(columns.len());
        for &column in &columns {
            let asset = &table.names[column];
            let Some(target) = self.column_of(asset) else {
                fail!(InvalidData, "column {asset} of feature '{name}' is not an asset of the panel");
            };
            targets.push(target);
        }
        let assets = self.assets.len();
        let mut values = vec![f64::NAN; self.dates.len() * assets];
        for (source, line) in table.select(&columns).chunks_exact(columns.len()).enumerate() {
            let Ok(row) = self.dates.binary_search(&table.dates[source]) else {
                // A value does not make a trading date of a row without a price.
                if self.empty_rows.binary_search_by_key(&table.dates[source], |(_, date)| *date).is_ok() {
                    continue;
                }
                fail!(
                    InvalidData,
                    "{}: {} of feature '{name}' is not a date of the panel",
                    table.row_label(source),
                    table.dates[source]
                );
            };
            for (&target, &value) in targets.iter().zip(line) {
                if value.is_infinite() {
                    fail!(
                        InvalidData,
                        "{}, column {}: found {value}, allowed is a finite number or a missing value",
                        table.row_label(source),
                        self.assets[target]
                    );
                }
                values[row * assets + target] = value;
            }
        }
        self.features.insert(index, Feature { name: name.to_owned(), values: values.into() });
        self.update_derived();
        Ok(())
    }

    /// The feature planes, sorted by name.
    pub fn features(&self) -> &[Feature] {
        &self.features
    }
}

#[cfg(test)]
mod tests {
    use crate::panel::{Panel, PanelKind};
    use jiff::civil::{Date, date};
    use std::io::Write as _;

    fn panel() -> Panel {
        let days: Vec<Date> = (1..=3).map(|day| date(2020, 1, day)).collect();
        Panel::from_arrays(PanelKind::Prices, days, &["B".into(), "A".into()], &[1., 2., 3., 4., 5., 6.]).unwrap()
    }

    #[test]
    fn a_feature_is_aligned_by_date_and_asset_and_changes_the_fingerprint() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(b"day,A\n2020-01-01,7\n2020-01-03,9\n").unwrap();
        let held = panel().with_feature_file("volume", file.path()).unwrap();
        let volume = &held.features()[0].values;
        assert_eq!((volume[0], volume[4]), (7.0, 9.0));
        assert!(volume[1].is_nan() && volume[2].is_nan() && volume[5].is_nan());
        assert_ne!(held.fingerprint(), panel().fingerprint());
        let past = held.past(0..2, &[1]).unwrap();
        assert!(past.features()[0].iter().all(|value| value.is_nan()) && past.features()[0].len() == 2);
        // The order in which planes were added does not matter.
        let one = panel().with_feature("x", &[1.0; 6]).unwrap().with_feature("a", &[2.0; 6]).unwrap();
        let two = panel().with_feature("a", &[2.0; 6]).unwrap().with_feature("x", &[1.0; 6]).unwrap();
        assert_eq!(one.fingerprint(), two.fingerprint());
    }

    #[test]
    fn a_value_on_a_row_without_a_price_is_left_out() {
        let (mut prices, mut volume) =
            (tempfile::NamedTempFile::new().unwrap(), tempfile::NamedTempFile::new().unwrap());
        prices.write_all(b"day,A\n2020-01-01,7\n2020-01-02,\n2020-01-03,9\n").unwrap();
        volume.write_all(b"day,A\n2020-01-01,1\n2020-01-02,2\n2020-01-03,3\n").unwrap();
        let panel = Panel::from_file(PanelKind::Prices, prices.path()).unwrap();
        let panel = panel.with_feature_file("volume", volume.path()).unwrap();
        assert_eq!(panel.features()[0].values(), [1.0, 3.0]);
    }

    #[test]
    fn a_feature_that_does_not_match_the_panel_is_refused() {
        let refused = |text: &str, expected: &str| {
            let mut file = tempfile::NamedTempFile::new().unwrap();
            file.write_all(text.as_bytes()).unwrap();
            let message = panel().with_feature_file("volume", file.path()).unwrap_err().to_string();
            assert!(message.contains(expected), "{message}");
        };
        refused("day,C\n2020-01-01,7\n", "column C of feature 'volume' is not an asset");
        refused("day,A\n2020-01-01,7\n2020-01-09,7\n", "row 3: 2020-01-09 of feature 'volume' is not a date");
        refused("day,A\n2020-01-01,inf\n", "row 2, column A: found inf");
        assert!(panel().with_feature("a b", &[1.0; 6]).is_err());
        let message = panel().with_feature("known", &[1.0; 6]).unwrap_err().to_string();
        assert!(message.contains("\"known\", which is a plane of every panel"), "{message}");
        assert!(panel().with_feature("a", &[1.0; 5]).is_err());
        assert!(panel().with_feature("a", &[1.0; 6]).unwrap().with_feature("a", &[1.0; 6]).is_err());
    }
}
