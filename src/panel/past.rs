//! What is known at a row: an owned copy of a lookback, with nothing behind it that a model could reach forward through.

use std::ops::Range;

use jiff::civil::Date;

use super::Panel;
use crate::error::{Result, fail};

/// A copy of the rows up to and with the as-of row, of chosen assets.
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
}

impl Past {
    /// The rows of the panel that were copied; the last of them is the as-of row, the highest a model was shown.
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

    /// The names of those assets.
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

    /// Feature planes in order of their names, each `[rows, assets]`, row-major, NaN where missing.
    pub fn features(&self) -> &[Vec<f64>] {
        &self.features
    }

    /// The names of those planes.
    pub fn feature_names(&self) -> &[String] {
        &self.feature_names
    }
}

impl Past {
    /// The same of some of its assets, by their place.
    ///
    /// # Panics
    /// Where there is no such place: a fault of the caller.
    #[must_use]
    pub fn of_assets(&self, places: &[usize]) -> Self {
        fn pick<T: Copy>(cells: &[T], columns: usize, places: &[usize]) -> Vec<T> {
            cells.chunks_exact(columns).flat_map(|row| places.iter().map(|&place| row[place])).collect()
        }
        let columns = self.assets.len();
        Self {
            rows: self.rows.clone(),
            dates: self.dates.clone(),
            assets: places.iter().map(|&place| self.assets[place]).collect(),
            names: places.iter().map(|&place| self.names[place].clone()).collect(),
            returns: pick(&self.returns, columns, places),
            members: pick(&self.members, columns, places),
            features: self.features.iter().map(|plane| pick(plane, columns, places)).collect(),
            feature_names: self.feature_names.clone(),
        }
    }
}

impl Panel {
    /// A copy of `rows` (the as-of row is the last) of the columns `assets`.
    ///
    /// # Errors
    /// `InvalidArgument` where the rows are none or reach beyond the panel, or a column is not there.
    pub fn past(&self, rows: Range<usize>, assets: &[usize]) -> Result<Past> {
        if rows.is_empty() || rows.end > self.dates.len() {
            fail!(
                InvalidArgument,
                "rows {}..{} asked of a panel with rows 0..{}",
                rows.start,
                rows.end,
                self.dates.len()
            );
        }
        if let Some(column) = assets.iter().find(|&&column| column >= self.assets.len()) {
            fail!(InvalidArgument, "asset {column} asked of a panel with {} assets", self.assets.len());
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
                    let row = |row: usize| &feature.values[row * self.assets.len()..][..self.assets.len()];
                    rows.clone().flat_map(|at| assets.iter().map(move |&column| row(at)[column])).collect()
                })
                .collect(),
            feature_names: self.features().iter().map(|feature| feature.name.clone()).collect(),
            members: rows.clone().flat_map(|row| assets.iter().map(move |&column| self.members(row)[column])).collect(),
            rows,
        })
    }

    /// The columns a model may weigh at the last of `rows`: members there with at least `min_history` finite returns
    /// in `rows`.
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
