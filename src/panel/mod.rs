//! Returns by date and asset, with universe membership and features. A model only gets a copy that ends at its as-of
//! row ([`Panel::past`]).
//!
//! Columns are in canonical order (sorted by name), so results do not depend on the column order of a file;
//! [`Panel::output_order`] maps the source's columns to the canonical ones. For models, a missing price makes its own
//! return and the next one NaN; it is never filled. Profit and loss uses [`Panel::held_returns`]: a gap earns 0, and
//! the day on which the price comes back earns the whole move.

mod asset_groups;
mod asset_order;
mod asset_table;
mod check;
mod day_number;
mod features;
mod index_series;
mod past;
mod perturb;
mod plane_guard;
mod rates;
mod read;
mod shared_plane;
mod universe;

pub(crate) use asset_groups::{AssetGroups, read_asset_groups};
pub(crate) use asset_table::{AssetTable, read_asset_table};
pub use check::{DataFinding, FindingKind};
pub use day_number::{date_of, days_of};
pub(crate) use features::{Feature, OWN_PLANES};
pub(crate) use index_series::IndexSeries;
pub use past::Past;
pub(crate) use perturb::Perturbation;
pub(crate) use plane_guard::PlaneGuard;
pub(crate) use rates::Rates;
pub(crate) use shared_plane::SharedPlane;
pub use universe::Membership;
pub(crate) use universe::UniverseSource;

use std::ops::Range;
use std::path::Path;

use jiff::civil::Date;
use sha2::{Digest, Sha256};

use crate::error::{Result, fail};
use crate::settings::choices;
use read::{RawTable, read_table};
use universe::Universe;

choices! {
    /// What the values of a panel are.
    pub enum PanelKind {
        /// Prices, greater than zero.
        Prices = "prices",
        /// Simple returns, at least -1.
        Returns = "returns",
    }
}

/// Returns, membership and features of assets over dates. All planes are `[dates, assets]`, row-major, columns in
/// canonical order.
#[derive(Clone, Debug)]
pub struct Panel {
    kind: PanelKind,
    dates: Vec<Date>,
    assets: Vec<String>,
    output_order: Vec<usize>,
    returns: SharedPlane<f64>,
    held: SharedPlane<f64>,
    /// Whether the source has a value.
    present: SharedPlane<bool>,
    universe: Universe,
    without_values: Vec<String>,
    members: SharedPlane<bool>,
    features: Vec<Feature>,
    /// [`RawTable::constant_within`] of each asset.
    constant_within: Vec<f64>,
    /// For each asset, the largest return that its prices, as they are rounded in a text file, can hide; NaN where that
    /// is unknown.
    rounding: Vec<f64>,
    /// The number of each row in its source.
    row_numbers: Vec<u64>,
    /// The rows of the source without any value: number and date.
    empty_rows: Vec<(u64, Date)>,
    /// How the file is written, where it is not in the usual way.
    layout: Option<String>,
    /// SHA-256 of kind, dates, names and values.
    digest: String,
    fingerprint: String,
}

impl Panel {
    /// Reads a panel from a file, Parquet or CSV. Rows without any value are no trading dates and are left out
    /// ([`Panel::empty_rows`]).
    ///
    /// # Errors
    /// As [`Panel::from_csv`].
    pub fn from_file(kind: PanelKind, path: &Path) -> Result<Self> {
        let table = read_table(path)?;
        Self::from_table(kind, table).map_err(|error| error.context(format!("cannot use {}", path.display())))
    }

    /// Creates a panel from arrays: `values` is `[dates, assets]`, row-major, NaN where missing.
    ///
    /// # Errors
    /// `InvalidData` with row (from 1) and asset if dates are not strictly increasing, an asset has no name or occurs
    /// twice, a price is not above 0, a return is below -1, a value is infinite, sizes do not agree, or there is no
    /// date or asset.
    ///
    /// # Examples
    /// Columns are kept in the order of their names; a missing price makes its own return and the next one NaN:
    /// ```
    /// use walkforge::{Panel, PanelKind};
    ///
    /// let dates = ["2020-01-02", "2020-01-03", "2020-01-06"].map(|date| date.parse().unwrap()).to_vec();
    /// let prices = [50.0, 100.0, 55.0, f64::NAN, 66.0, 121.0];
    /// let panel = Panel::from_arrays(PanelKind::Prices, dates, &["KO".into(), "AAPL".into()], &prices)?;
    /// assert_eq!(panel.assets(), ["AAPL", "KO"]);
    /// assert!(panel.returns(1)[0].is_nan() && (panel.returns(1)[1] - 0.1).abs() < 1e-12);
    /// // Held over the gap, AAPL earns the whole move when its price is back.
    /// assert!((panel.held_returns()[2 * 2] - 0.21).abs() < 1e-12);
    /// # Ok::<(), walkforge::Error>(())
    /// ```
    pub fn from_arrays(kind: PanelKind, dates: Vec<Date>, assets: &[String], values: &[f64]) -> Result<Self> {
        Self::build(
            kind,
            &RawTable {
                dates,
                names: assets.to_vec(),
                values: values.to_vec(),
                lines: None,
                decimals: None,
                single_precision: None,
                layout: None,
            },
        )
    }

    /// A panel of a file's table, without its empty rows.
    fn from_table(kind: PanelKind, mut table: RawTable) -> Result<Self> {
        table.canonical_columns()?;
        let empty_rows = table.drop_empty_rows();
        if table.dates.is_empty() {
            fail!(InvalidData, "the file has {} rows and no value in any", empty_rows.len());
        }
        let layout = table.layout.take();
        Ok(Self { empty_rows, layout, ..Self::build(kind, &table)? })
    }

    fn build(kind: PanelKind, table: &RawTable) -> Result<Self> {
        let canonical = table.canonical_columns()?;
        let columns = canonical.len();
        for (row, line) in table.values.chunks_exact(columns).enumerate() {
            for (value, name) in line.iter().zip(&table.names) {
                let allowed = match kind {
                    PanelKind::Prices => value.is_nan() || (value.is_finite() && *value > 0.0),
                    PanelKind::Returns => value.is_nan() || (value.is_finite() && *value >= -1.0),
                };
                if !allowed {
                    let expected = match kind {
                        PanelKind::Prices => "a price above 0",
                        PanelKind::Returns => "a return of at least -1 (a fraction: -0.01 is -1 %)",
                    };
                    fail!(
                        InvalidData,
                        "{}, column {name}: found {value}, allowed is {expected} or a missing value",
                        table.row_label(row)
                    );
                }
            }
        }
        let assets: Vec<String> = canonical.iter().map(|&column| table.names[column].clone()).collect();
        let sorted = table.select(&canonical);
        let (returns, held) = match kind {
            PanelKind::Prices => returns_of_prices(&sorted, columns),
            PanelKind::Returns => {
                let held = sorted.iter().map(|value| if value.is_nan() { 0.0 } else { *value }).collect();
                (sorted.clone(), held)
            }
        };
        if let Some(cell) = held.iter().position(|value: &f64| !value.is_finite()) {
            fail!(
                InvalidData,
                "{}, column {}: the return since the last price is not finite",
                table.row_label(cell / columns),
                assets[cell % columns]
            );
        }
        let mut panel = Self {
            kind,
            digest: digest(kind, &table.dates, &assets, &sorted),
            dates: table.dates.clone(),
            assets,
            output_order: asset_order::output_order(&canonical),
            returns: returns.into(),
            held: held.into(),
            present: sorted.iter().map(|value| !value.is_nan()).collect::<Vec<_>>().into(),
            universe: Universe::default(),
            without_values: Vec::new(),
            members: SharedPlane::default(),
            features: Vec::new(),
            constant_within: canonical.iter().map(|&column| table.constant_within(column)).collect(),
            rounding: canonical.iter().map(|&column| table.rounding(kind, column)).collect(),
            row_numbers: table.row_numbers(),
            empty_rows: Vec::new(),
            layout: None,
            fingerprint: String::new(),
        };
        panel.update_derived();
        Ok(panel)
    }

    /// Recomputes members and fingerprint after the universe or the features changed.
    fn update_derived(&mut self) {
        self.members = self.universe.members(&self.present, self.assets.len()).into();
        self.fingerprint = self.digest.clone();
        if self.universe != Universe::default() || !self.features.is_empty() {
            let mut hash = Sha256::new();
            hash.update(&self.digest);
            hash.update(self.members.iter().map(|&member| u8::from(member)).collect::<Vec<_>>());
            for feature in &self.features {
                hash.update((feature.name.len() as u64).to_le_bytes());
                hash.update(&feature.name);
                hash_values(&mut hash, &feature.values);
            }
            self.fingerprint = hex(&hash.finalize());
        }
    }

    /// The least of [`Past::constant_within`] over the assets.
    pub(crate) fn constant_within(&self) -> f64 {
        self.constant_within.iter().copied().fold(f64::INFINITY, f64::min)
    }

    /// These rows alone: no other row can be reached through it. Its members are those of this panel. The planes are
    /// shared, not copied.
    ///
    /// # Panics
    /// If the rows reach beyond the panel.
    #[must_use]
    pub fn slice(&self, rows: Range<usize>) -> Self {
        let columns = self.assets.len();
        let cells = rows.start * columns..rows.end * columns;
        Self {
            kind: self.kind,
            dates: self.dates[rows.clone()].to_vec(),
            assets: self.assets.clone(),
            output_order: self.output_order.clone(),
            returns: self.returns.slice(cells.clone()),
            held: self.held.slice(cells.clone()),
            present: self.present.slice(cells.clone()),
            universe: Universe::default(),
            without_values: Vec::new(),
            members: self.members.slice(cells.clone()),
            features: self
                .features
                .iter()
                .map(|Feature { name, values }| Feature { name: name.clone(), values: values.slice(cells.clone()) })
                .collect(),
            constant_within: self.constant_within.clone(),
            rounding: self.rounding.clone(),
            row_numbers: self.row_numbers[rows.clone()].to_vec(),
            empty_rows: Vec::new(),
            layout: None,
            digest: String::new(),
            fingerprint: String::new(),
        }
    }

    /// Bytes of all planes: returns, held returns, presence, membership and features.
    pub fn bytes(&self) -> usize {
        let features: usize = self.features.iter().map(|feature| size_of_val(&*feature.values)).sum();
        let returns = size_of_val(&*self.returns) + size_of_val(&*self.held);
        returns + self.present.len() + self.members.len() + features
    }

    /// [`Panel::bytes`] of a panel with this many dates, assets and features.
    pub fn planned_bytes(dates: usize, assets: usize, features: usize) -> usize {
        dates * assets * ((2 + features) * size_of::<f64>() + 2)
    }

    /// Returns, held returns and members, shared.
    pub(crate) fn planes(&self) -> (&SharedPlane<f64>, &SharedPlane<f64>, &SharedPlane<bool>) {
        (&self.returns, &self.held, &self.members)
    }

    /// The column of an asset.
    fn column_of(&self, asset: &str) -> Option<usize> {
        self.assets.binary_search_by(|known| known.as_str().cmp(asset)).ok()
    }

    /// Brings cells from the source's column order into canonical order.
    fn to_canonical<T: Copy>(&self, cells: &[T]) -> Vec<T> {
        let columns = self.assets.len();
        let mut canonical = vec![0; columns];
        for (column, &position) in self.output_order.iter().enumerate() {
            canonical[position] = column;
        }
        cells.chunks_exact(columns).flat_map(|row| canonical.iter().map(|&column| row[column])).collect()
    }

    /// Whether the source held prices or returns.
    pub fn kind(&self) -> PanelKind {
        self.kind
    }

    /// The dates, strictly increasing.
    pub fn dates(&self) -> &[Date] {
        &self.dates
    }

    /// The number of each row in its source, `[dates]`: its line in a text file, else counted from 1.
    pub fn row_numbers(&self) -> &[u64] {
        &self.row_numbers
    }

    /// The rows of the source file that were left out because they have no value: their numbers and dates.
    pub fn empty_rows(&self) -> &[(u64, Date)] {
        &self.empty_rows
    }

    /// How the file of the panel is written, such as with semicolons between cells and commas before decimals; `None` for
    /// commas and points, and for other sources.
    pub fn layout(&self) -> Option<&str> {
        self.layout.as_deref()
    }

    /// Asset names in canonical order.
    pub fn assets(&self) -> &[String] {
        &self.assets
    }

    /// For each column of the source, its column in canonical order.
    pub fn output_order(&self) -> &[usize] {
        &self.output_order
    }

    /// Returns at `row` as models see them, `[assets]`; NaN where the price of the row or of the row before is missing.
    pub fn returns(&self, row: usize) -> &[f64] {
        &self.returns[row * self.assets.len()..][..self.assets.len()]
    }

    /// Returns as a holder earns them, `[dates, assets]`: a gap earns 0, and the day on which the price comes back
    /// earns the whole move.
    pub fn held_returns(&self) -> &[f64] {
        &self.held
    }

    /// Whether each asset may be held after a decision at `row`, `[assets]`.
    pub fn members(&self, row: usize) -> &[bool] {
        &self.members[row * self.assets.len()..][..self.assets.len()]
    }

    /// Whether the source holds a price or return for each asset at `row`, `[assets]`.
    pub fn has_value(&self, row: usize) -> &[bool] {
        &self.present[row * self.assets.len()..][..self.assets.len()]
    }

    /// SHA-256, in hexadecimal, of kind, dates, names and values in canonical order, and of membership and features if
    /// there are any. It does not depend on the column order of the source.
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }
}

/// Returns for models and held returns, each `[dates, assets]`, from prices `[dates, assets]`.
fn returns_of_prices(prices: &[f64], columns: usize) -> (Vec<f64>, Vec<f64>) {
    let mut returns = vec![f64::NAN; prices.len()];
    let mut held = vec![0.0; prices.len()];
    for column in 0..columns {
        let mut last: Option<(usize, f64)> = None;
        for (row, &price) in prices.iter().skip(column).step_by(columns).enumerate() {
            if price.is_nan() {
                continue;
            }
            if let Some((last_row, last_price)) = last {
                let earned = price / last_price - 1.0;
                held[row * columns + column] = earned;
                if last_row + 1 == row {
                    returns[row * columns + column] = earned;
                }
            }
            last = Some((row, price));
        }
    }
    (returns, held)
}

fn digest(kind: PanelKind, dates: &[Date], assets: &[String], values: &[f64]) -> String {
    let mut hash = Sha256::new();
    hash.update(match kind {
        PanelKind::Prices => b"prices ",
        PanelKind::Returns => b"returns",
    });
    hash.update((dates.len() as u64).to_le_bytes());
    for date in dates {
        hash.update(date.to_string());
    }
    for name in assets {
        hash.update((name.len() as u64).to_le_bytes());
        hash.update(name);
    }
    hash_values(&mut hash, values);
    hex(&hash.finalize())
}

fn hash_values(hash: &mut Sha256, values: &[f64]) {
    for value in values {
        // Every NaN means the same: missing.
        let bits = if value.is_nan() { f64::NAN.to_bits() } else { value.to_bits() };
        hash.update(bits.to_le_bytes());
    }
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(64), |mut text, byte| {
        for digit in [byte >> 4, byte & 15] {
            text.push(char::from_digit(u32::from(digit), 16).unwrap_or('0'));
        }
        text
    })
}
