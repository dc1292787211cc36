//! The data that a model sees at a row: an owned copy of the lookback, through which no later row can be reached.

use std::ops::Range;

use jiff::civil::Date;

use super::Panel;
use crate::error::{Result, fail};

/// A copy of some assets over the rows up to and including the as-of row.
#[derive(Clone, Debug, PartialEq)]
pub struct Past {
    rows: Range<usize>,
    dates: Vec<Date>,
    assets: Vec<usize>,
    names: Vec<String>,
    returns: Vec<f64>,
    members: Vec<bool>,
    features: Vec<Vec<f64>>,
    feature_names: Vec<String>,
    constant_within: Vec<f64>,
}

impl Past {
    /// The rows of the panel that were copied. The last one is the as-of row, the latest that the model sees.
    pub fn rows(&self) -> Range<usize> {
        self.rows.clone()
    }

    /// The dates, `[rows]`.
    pub fn dates(&self) -> &[Date] {
        &self.dates
    }

    /// The columns of the panel that were copied, in canonical order.
    pub fn assets(&self) -> &[usize] {
        &self.assets
    }

    /// The names of [`Past::assets`].
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// Returns, `[rows, assets]`, row-major, NaN where missing.
    pub fn returns(&self) -> &[f64] {
        &self.returns
    }

    /// Membership, `[rows, assets]`, row-major.
    pub fn members(&self) -> &[bool] {
        &self.members
    }

    /// Feature planes sorted by name, each `[rows, assets]`, row-major, NaN where missing.
    pub fn features(&self) -> &[Vec<f64>] {
        &self.features
    }

    /// The names of the feature planes.
    pub fn feature_names(&self) -> &[String] {
        &self.feature_names
    }

    /// The largest deviation from their mean, per asset, up to which returns count as constant, `[assets]`: 1e-12, and
    /// 5e-7 where the source holds single precision.
    pub fn constant_within(&self) -> &[f64] {
        &self.constant_within
    }
}

impl Past {
    /// A copy of some of its assets, given by their index in [`Past::assets`].
    ///
    /// # Panics
    /// If an index is out of range.
    #[must_use]
    pub fn of_assets(&self, indices: &[usize]) -> Self {
        fn pick<T: Copy>(cells: &[T], columns: usize, indices: &[usize]) -> Vec<T> {
            cells.chunks_exact(columns).flat_map(|row| indices.iter().map(|&index| row[index])).collect()
        }
        let columns = self.assets.len();
        Self {
            rows: self.rows.clone(),
            dates: self.dates.clone(),
            assets: indices.iter().map(|&index| self.assets[index]).collect(),
            names: indices.iter().map(|&index| self.names[index].clone()).collect(),
            returns: pick(&self.returns, columns, indices),
            members: pick(&self.members, columns, indices),
            features: self.features.iter().map(|plane| pick(plane, columns, indices)).collect(),
            feature_names: self.feature_names.clone(),
            constant_within: indices.iter().map(|&index| self.constant_within[index]).collect(),
        }
    }
}

impl Panel {
    /// A copy of the columns `assets` over `rows`, of which the last is the as-of row.
    ///
    /// # Errors
    /// `InvalidArgument` if `rows` is empty or reaches beyond the panel, or a column does not exist.
    pub fn past(&self, rows: Range<usize>, assets: &[usize]) -> Result<Past> {
        if rows.is_empty() || rows.end > self.dates.len() {
            fail!(
                InvalidArgument,
                "rows {}..{} are empty or outside the panel, which has rows 0..{}",
                rows.start,
                rows.end,
                self.dates.len()
            );
        }
        if let Some(column) = assets.iter().find(|&&column| column >= self.assets.len()) {
            fail!(InvalidArgument, "column {column} does not exist in a panel of {} assets", self.assets.len());
        }
        Ok(Past {
            dates: self.dates[rows.clone()].to_vec(),
            assets: assets.to_vec(),
            names: assets.iter().map(|&column| self.assets[column].clone()).collect(),
            returns: rows.clone().flat_map(|row| assets.iter().map(move |&column| self.returns(row)[column])).collect(),
            features: self
                .features()
                .iter()
                .map(|feature| {
                    let values = |row: usize| &feature.values[row * self.assets.len()..][..self.assets.len()];
                    rows.clone().flat_map(|row| assets.iter().map(move |&column| values(row)[column])).collect()
                })
                .collect(),
            feature_names: self.features().iter().map(|feature| feature.name.clone()).collect(),
            constant_within: assets.iter().map(|&column| self.constant_within[column]).collect(),
            members: rows.clone().flat_map(|row| assets.iter().map(move |&column| self.members(row)[column])).collect(),
            rows,
        })
    }

    /// The columns that are eligible at the last of `rows`: members there with at least `min_history` finite returns in
    /// `rows`.
    pub fn eligible(&self, rows: Range<usize>, min_history: usize) -> Vec<usize> {
        let Some(as_of) = rows.end.checked_sub(1) else { return Vec::new() };
        (0..self.assets.len())
            .filter(|&column| {
                self.members(as_of)[column]
                    && rows.clone().filter(|&row| self.returns(row)[column].is_finite()).count() >= min_history
            })
            .collect()
    }
}
