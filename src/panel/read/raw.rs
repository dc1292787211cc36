//! A table as a file or caller gives it, before the panel interprets its values.

use jiff::civil::Date;

use crate::error::{Result, fail};
use crate::panel::asset_order::sorted_columns;

/// Values by date and column name.
pub(in crate::panel) struct RawTable {
    pub(in crate::panel) dates: Vec<Date>,
    pub(in crate::panel) names: Vec<String>,
    /// `[dates, names]`, row-major, NaN where missing.
    pub(in crate::panel) values: Vec<f64>,
    /// The line number of each row in a text file; `None` for other sources, whose rows are counted from 1.
    pub(in crate::panel) lines: Option<Vec<u64>>,
}

impl RawTable {
    /// Names a row by its number in the source, for error messages.
    pub(in crate::panel) fn row_label(&self, row: usize) -> String {
        match &self.lines {
            Some(lines) => format!("row {}", lines[row]),
            None => format!("row {}", row + 1),
        }
    }

    /// Returns the columns sorted by name, after checking that sizes agree, names are unique and dates increase.
    pub(in crate::panel) fn canonical_columns(&self) -> Result<Vec<usize>> {
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
                "{rows} dates and {columns} assets need {rows} x {columns} values, found {}",
                self.values.len()
            );
        }
        let sorted = sorted_columns(&self.names)?;
        if rows > 2 && self.dates.windows(2).all(|pair| pair[1] < pair[0]) {
            fail!(
                InvalidData,
                "{}: date {} is before the row above ({}), and so is every row: the newest stands first; dates must \
                 increase, so sort the rows by date",
                self.row_label(1),
                self.dates[1],
                self.dates[0]
            );
        }
        for (row, pair) in self.dates.windows(2).enumerate() {
            if pair[1] <= pair[0] {
                let found = if pair[1] == pair[0] { "the same date as" } else { "before" };
                fail!(
                    InvalidData,
                    "{}: date {} is {found} the row above ({}); dates must increase",
                    self.row_label(row + 1),
                    pair[1],
                    pair[0]
                );
            }
        }
        Ok(sorted)
    }

    /// The values of these columns, in the order given.
    pub(in crate::panel) fn select(&self, columns: &[usize]) -> Vec<f64> {
        let width = self.names.len();
        self.values.chunks_exact(width).flat_map(|row| columns.iter().map(|&column| row[column])).collect()
    }
}
