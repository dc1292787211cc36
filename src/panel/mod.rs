//! Dated returns by asset: what a run knows, kept so that a model can only be handed a copy that ends at its as-of row.
//!
//! Columns are held in canonical order (by name), so that no result depends on the order of a file's columns;
//! [`Panel::output_order`] leads back to the caller's order. A missing price makes its own return and the next one NaN
//! for models; it is never filled. Profit and loss uses [`Panel::held_returns`], where a gap earns nothing and the day
//! the price returns earns the whole move.

mod csv;
mod past;

pub use past::Past;

use std::collections::BTreeMap;

use jiff::civil::Date;
use sha2::{Digest, Sha256};

use crate::error::{Result, fail};

/// What the numbers of a panel are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Prices, greater than zero.
    Prices,
    /// Simple returns, at least -1.
    Returns,
}

/// Returns of `N` assets on `T` dates, shapes `[dates, assets]`, row-major, columns in canonical order.
#[derive(Clone, Debug)]
pub struct Panel {
    kind: Kind,
    dates: Vec<Date>,
    assets: Vec<String>,
    output_order: Vec<usize>,
    returns: Vec<f64>,
    held: Vec<f64>,
    members: Vec<bool>,
    fingerprint: String,
}

impl Panel {
    /// A panel from arrays: `values` is `[dates, assets]`, row-major, NaN where missing.
    ///
    /// # Errors
    /// `InvalidData`, naming row (from 1) and asset: dates not strictly increasing, an asset twice or without a name, a
    /// price that is not above zero, a return below -1, an infinite value, sizes that do not agree, no row or no asset.
    pub fn from_arrays(kind: Kind, dates: Vec<Date>, assets: &[String], values: &[f64]) -> Result<Self> {
        let place = |row: usize| format!("row {}", row + 1);
        Self::build(kind, dates, assets, values, &place)
    }

    /// Builds a panel; `place` says where a row stands in its source, for error messages.
    fn build(
        kind: Kind,
        dates: Vec<Date>,
        names: &[String],
        values: &[f64],
        place: &dyn Fn(usize) -> String,
    ) -> Result<Self> {
        let (rows, columns) = (dates.len(), names.len());
        if rows == 0 || columns == 0 {
            fail!(
                InvalidData,
                "a panel needs at least one date and one asset, found {rows} dates and {columns} assets"
            );
        }
        if Some(values.len()) != rows.checked_mul(columns) {
            fail!(
                InvalidData,
                "{rows} dates of {columns} assets need {rows} x {columns} values, found {}",
                values.len()
            );
        }
        let mut positions = BTreeMap::new();
        for (column, name) in names.iter().enumerate() {
            if name.is_empty() {
                fail!(InvalidData, "asset {} has no name", column + 1);
            }
            if let Some(earlier) = positions.insert(name.as_str(), column) {
                fail!(InvalidData, "asset {name} is there twice, as asset {} and {}", earlier + 1, column + 1);
            }
        }
        for (row, pair) in dates.windows(2).enumerate() {
            if pair[1] <= pair[0] {
                let found = if pair[1] == pair[0] { "the same date as" } else { "before" };
                fail!(
                    InvalidData,
                    "{}: date {} is {found} the row above ({}); dates must increase",
                    place(row + 1),
                    pair[1],
                    pair[0]
                );
            }
        }
        for (row, line) in values.chunks_exact(columns).enumerate() {
            for (value, name) in line.iter().zip(names) {
                let allowed = match kind {
                    Kind::Prices => value.is_nan() || (value.is_finite() && *value > 0.0),
                    Kind::Returns => value.is_nan() || (value.is_finite() && *value >= -1.0),
                };
                if !allowed {
                    let wanted = match kind {
                        Kind::Prices => "a price above 0",
                        Kind::Returns => "a return of at least -1",
                    };
                    fail!(
                        InvalidData,
                        "{}, column {name}: found {value}, allowed is {wanted}, or nothing where it is missing",
                        place(row)
                    );
                }
            }
        }
        let canonical: Vec<usize> = positions.values().copied().collect();
        let assets: Vec<String> = positions.keys().map(|&name| name.to_owned()).collect();
        let mut output_order = vec![0; columns];
        for (position, &column) in canonical.iter().enumerate() {
            output_order[column] = position;
        }
        let sorted: Vec<f64> =
            values.chunks_exact(columns).flat_map(|line| canonical.iter().map(|&column| line[column])).collect();
        let (returns, held) = match kind {
            Kind::Prices => returns_of_prices(&sorted, columns),
            Kind::Returns => {
                let held = sorted.iter().map(|value| if value.is_nan() { 0.0 } else { *value }).collect();
                (sorted.clone(), held)
            }
        };
        if let Some(at) = held.iter().position(|value: &f64| !value.is_finite()) {
            fail!(
                InvalidData,
                "{}, column {}: the return since the last price is too large for a number",
                place(at / columns),
                assets[at % columns]
            );
        }
        let members = sorted.iter().map(|value| !value.is_nan()).collect();
        let fingerprint = fingerprint(kind, &dates, &assets, &sorted);
        Ok(Self { kind, dates, assets, output_order, returns, held, members, fingerprint })
    }

    /// What the source held.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The dates, strictly increasing.
    pub fn dates(&self) -> &[Date] {
        &self.dates
    }

    /// Asset names in canonical order.
    pub fn assets(&self) -> &[String] {
        &self.assets
    }

    /// For each column of the source, its place in canonical order.
    pub fn output_order(&self) -> &[usize] {
        &self.output_order
    }

    /// Returns as models see them at `row`, `[assets]`; NaN where the price or the one before is missing.
    pub fn returns(&self, row: usize) -> &[f64] {
        &self.returns[row * self.assets.len()..][..self.assets.len()]
    }

    /// Returns as a holder earns them, `[dates, assets]`; gaps earn 0 and the day a price returns earns the whole move.
    pub fn held_returns(&self) -> &[f64] {
        &self.held
    }

    /// Whether each asset may be held after a decision at `row`, `[assets]`.
    pub fn members(&self, row: usize) -> &[bool] {
        &self.members[row * self.assets.len()..][..self.assets.len()]
    }

    /// Whether the source holds a price or return for each asset at `row`, `[assets]`. Without a file of members these
    /// are the members too.
    pub fn has_value(&self, row: usize) -> &[bool] {
        self.members(row)
    }

    /// SHA-256 of kind, dates, names and values in canonical order, as hex; equal data give equal fingerprints
    /// whatever the order of the columns.
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }
}

/// Model returns and held returns of prices `[dates, assets]`.
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

fn fingerprint(kind: Kind, dates: &[Date], assets: &[String], values: &[f64]) -> String {
    let mut hash = Sha256::new();
    hash.update(match kind {
        Kind::Prices => b"prices ",
        Kind::Returns => b"returns",
    });
    hash.update((dates.len() as u64).to_le_bytes());
    for date in dates {
        hash.update(date.to_string());
    }
    for name in assets {
        hash.update((name.len() as u64).to_le_bytes());
        hash.update(name);
    }
    for value in values {
        // Every NaN means the same: missing.
        let bits = if value.is_nan() { f64::NAN.to_bits() } else { value.to_bits() };
        hash.update(bits.to_le_bytes());
    }
    hash.finalize().iter().fold(String::with_capacity(64), |mut text, byte| {
        for digit in [byte >> 4, byte & 15] {
            text.push(char::from_digit(u32::from(digit), 16).unwrap_or('0'));
        }
        text
    })
}
