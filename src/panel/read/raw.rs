//! Numbers by date and name, as a source holds them, before anything is known of what they mean.

use std::collections::BTreeMap;

use jiff::civil::Date;

use crate::error::{Result, fail};

/// `values` is `[dates, names]`, row-major, NaN where missing.
pub(in crate::panel) struct RawTable {
    pub(in crate::panel) dates: Vec<Date>,
    pub(in crate::panel) names: Vec<String>,
    pub(in crate::panel) values: Vec<f64>,
    /// Where a row stands in a text file; rows are counted from 1 where it is no text file.
    pub(in crate::panel) lines: Option<Vec<u64>>,
}

impl RawTable {
    /// Where a row stands in its source, for error messages.
    pub(in crate::panel) fn place(&self, row: usize) -> String {
        match &self.lines {
            Some(lines) => format!("row {}", lines[row]),
            None => format!("row {}", row + 1),
        }
    }

    /// Checks what every source must be: sizes that agree, names that are unique, dates that increase. Gives the
    /// columns in order of their names.
    pub(in crate::panel) fn canonical(&self) -> Result<Vec<usize>> {
        let (rows, columns) = (self.dates.len(), self.names.len());
        if rows == 0 || columns == 0 {
            fail!(
                InvalidData,
                "a panel needs at least one date and one asset, found {rows} dates and {columns} assets"
            );
        }
        if Some(self.values.len()) != rows.checked_mul(columns) {
            fail!(
                InvalidData,
                "{rows} dates of {columns} assets need {rows} x {columns} values, found {}",
                self.values.len()
            );
        }
        let mut positions = BTreeMap::new();
        for (column, name) in self.names.iter().enumerate() {
            if name.is_empty() {
                fail!(InvalidData, "asset {} has no name", column + 1);
            }
            if let Some(earlier) = positions.insert(name.as_str(), column) {
                fail!(InvalidData, "asset {name} is there twice, as asset {} and {}", earlier + 1, column + 1);
            }
        }
        for (row, pair) in self.dates.windows(2).enumerate() {
            if pair[1] <= pair[0] {
                let found = if pair[1] == pair[0] { "the same date as" } else { "before" };
                fail!(
                    InvalidData,
                    "{}: date {} is {found} the row above ({}); dates must increase",
                    self.place(row + 1),
                    pair[1],
                    pair[0]
                );
            }
        }
        Ok(positions.into_values().collect())
    }

    /// The values, columns in the order given.
    pub(in crate::panel) fn ordered(&self, columns: &[usize]) -> Vec<f64> {
        let width = self.names.len();
        self.values.chunks_exact(width).flat_map(|row| columns.iter().map(|&column| row[column])).collect()
    }
}
