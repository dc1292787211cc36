//! A table as a file or caller gives it, before the panel interprets its values.

use jiff::civil::Date;

use crate::error::{Result, fail};
use crate::panel::PanelKind;
use crate::panel::asset_order::sorted_columns;

/// Values by date and column name.
pub(in crate::panel) struct RawTable {
    pub(in crate::panel) dates: Vec<Date>,
    pub(in crate::panel) names: Vec<String>,
    /// `[dates, names]`, row-major, NaN where missing.
    pub(in crate::panel) values: Vec<f64>,
    /// The line number of each row in a text file; `None` for other sources, whose rows are counted from 1.
    pub(in crate::panel) lines: Option<Vec<u64>>,
    /// The most digits after the decimal mark of a value in each column of a text file.
    pub(in crate::panel) decimals: Option<Vec<u32>>,
    /// Whether each column is stored in single precision; `None` if none is.
    pub(in crate::panel) single_precision: Option<Vec<bool>>,
    /// How a text file is written, where it is not in the usual way.
    pub(in crate::panel) layout: Option<String>,
}

impl RawTable {
    /// Takes out the rows without any value: they are no trading dates. Returns their numbers in the source and dates.
    pub(in crate::panel) fn drop_empty_rows(&mut self) -> Vec<(u64, Date)> {
        let width = self.names.len();
        if width == 0 || self.values.len() != self.dates.len() * width {
            return Vec::new();
        }
        let keep: Vec<bool> =
            self.values.chunks_exact(width).map(|row| row.iter().any(|value| !value.is_nan())).collect();
        let numbers = self.row_numbers();
        let dropped = (0..keep.len()).filter(|&row| !keep[row]).map(|row| (numbers[row], self.dates[row])).collect();
        let kept = || (0..keep.len()).filter(|&row| keep[row]);
        self.values = kept().flat_map(|row| self.values[row * width..][..width].iter().copied()).collect();
        self.dates = kept().map(|row| self.dates[row]).collect();
        self.lines = Some(kept().map(|row| numbers[row]).collect());
        dropped
    }

    /// Two units of the last digit of its prices over the least price of a column; NaN for returns and where the digits
    /// are not known.
    pub(in crate::panel) fn rounding(&self, kind: PanelKind, column: usize) -> f64 {
        let Some(digits) = self.decimals.as_ref().filter(|_| kind == PanelKind::Prices).map(|list| list[column]) else {
            return f64::NAN;
        };
        let prices = self.values.iter().skip(column).step_by(self.names.len());
        2.0 * 10.0_f64.powi(-(digits as i32)) / prices.copied().fold(f64::NAN, f64::min)
    }

    /// Returns of a column none of which is further than this from their mean are constant; the rest is rounding.
    pub(in crate::panel) fn constant_within(&self, column: usize) -> f64 {
        let is_single = self.single_precision.as_ref().is_some_and(|list| list[column]);
        if is_single { 5e-7 } else { 1e-12 }
    }

    /// The number of each row in the source: its line in a text file, else counted from 1.
    pub(in crate::panel) fn row_numbers(&self) -> Vec<u64> {
        self.lines.clone().unwrap_or_else(|| (1..=self.dates.len() as u64).collect())
    }

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
