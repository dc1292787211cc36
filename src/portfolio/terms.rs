//! What trading and holding cost and earn beside the returns of assets, and what becomes of a series that ends.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::civil::Date;

use crate::panel::Panel;

/// A number of every asset, or one for all.
#[derive(Clone, Debug, PartialEq)]
pub enum PerAsset {
    /// The same for all assets.
    Same(f64),
    /// `[assets]`.
    Each(Arc<[f64]>),
}

impl PerAsset {
    /// The number of an asset.
    pub fn of(&self, asset: usize) -> f64 {
        match self {
            Self::Same(value) => *value,
            Self::Each(values) => values[asset],
        }
    }
}

/// When a series that is held counts as delisted, and what its holder then earns.
#[derive(Clone, Debug, PartialEq)]
pub struct Delisting {
    /// Rows in a row without a price after which an asset is delisted; `usize::MAX` for never.
    pub rows: usize,
    /// The return earned on the row on which an asset is delisted.
    pub earned: PerAsset,
    /// Assets that are delisted on the first row on or after a date.
    pub dates: BTreeMap<usize, Date>,
}

impl Delisting {
    /// No asset is ever delisted.
    pub const NEVER: Self = Self { rows: usize::MAX, earned: PerAsset::Same(0.0), dates: BTreeMap::new() };

    /// Whether an asset that is held is delisted at the close of `row`.
    pub(super) fn is_due(&self, panel: &Panel, asset: usize, row: usize) -> bool {
        if let Some(date) = self.dates.get(&asset) {
            let dates = panel.dates();
            return dates[row] >= *date && (row == 0 || dates[row - 1] < *date);
        }
        if panel.has_value(row)[asset] || row + 1 < self.rows {
            return false;
        }
        (row + 1 - self.rows..row).rev().all(|before| !panel.has_value(before)[asset])
    }
}

/// Costs and returns beside those of assets.
#[derive(Clone, Debug, PartialEq)]
pub struct Terms {
    /// Trading cost in basis points of |w − w⁻|.
    pub cost_bps: PerAsset,
    /// Cost per row of a short position, as a fraction of its size.
    pub borrow: PerAsset,
    /// What cash earns per row, `[dates]`; empty for nothing.
    pub cash: Arc<[f64]>,
    /// What becomes of a series that ends.
    pub delisting: Delisting,
}

impl Terms {
    /// Trading costs alone.
    pub fn costs(cost_bps: f64) -> Self {
        Self {
            cost_bps: PerAsset::Same(cost_bps),
            borrow: PerAsset::Same(0.0),
            cash: Arc::default(),
            delisting: Delisting::NEVER,
        }
    }

    /// The cost of trades of these sizes, |w − w⁻| `[assets]`, as a fraction of wealth.
    pub(super) fn cost(&self, traded: &[f64]) -> f64 {
        match &self.cost_bps {
            PerAsset::Same(bps) => bps * 1e-4 * traded.iter().sum::<f64>(),
            PerAsset::Each(bps) => 1e-4 * traded.iter().zip(bps.iter()).map(|(size, bps)| size * bps).sum::<f64>(),
        }
    }

    /// The cost of holding short positions over a row.
    pub(super) fn borrowed(&self, weights: &[f64]) -> f64 {
        if self.borrow == PerAsset::Same(0.0) {
            return 0.0;
        }
        weights.iter().enumerate().map(|(asset, weight)| (-weight).max(0.0) * self.borrow.of(asset)).sum()
    }

    /// What cash earns over a row, per unit of it.
    pub(super) fn cash_return(&self, row: usize) -> f64 {
        self.cash.get(row).copied().unwrap_or(0.0)
    }
}
