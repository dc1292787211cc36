//! The returns of an index from a file, over the rows of a panel.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use jiff::civil::Date;

use super::read::read_table;
use crate::error::{Error, Result, fail};

/// A value that is older than this many days is no value of a row.
const OLDEST_DAYS: i32 = 10;

/// Levels of an index by date, in the order of dates.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct IndexSeries(Vec<(Date, f64)>);

impl IndexSeries {
    /// Reads a file with the columns date and price, or date and return, CSV or Parquet.
    ///
    /// # Errors
    /// `NotFound` or `Io` if the file cannot be read; `InvalidData` with file, row and column if it has other columns,
    /// dates that do not increase, or values that are none of an index.
    pub(crate) fn from_file(path: &Path) -> Result<Self> {
        let table = read_table(path)?;
        let parsed = || {
            let is = |name: &str| table.names.len() == 1 && table.names[0].eq_ignore_ascii_case(name);
            if !is("price") && !is("return") {
                let found = table.names.join(", ");
                fail!(InvalidData, "row 1: found the columns {found} beside the date, allowed is one, price or return");
            }
            let row = |index: usize| table.lines.as_ref().map_or(index as u64 + 1, |lines| lines[index]);
            if let Some(index) = table.dates.windows(2).position(|dates| dates[1] <= dates[0]) {
                let (before, date, line) = (table.dates[index], table.dates[index + 1], row(index + 1));
                fail!(InvalidData, "row {line}: date {date} is not after {before}; dates must increase");
            }
            let (mut level, mut out) = (1.0, Vec::with_capacity(table.dates.len()));
            for (index, (date, value)) in table.dates.iter().zip(&table.values).enumerate() {
                // A date without a value is as good as none.
                if value.is_nan() {
                    continue;
                }
                let (allowed, bound) =
                    if is("price") { (*value > 0.0, "above 0") } else { (*value > -1.0, "above -1") };
                if !allowed || value.is_infinite() {
                    let (line, name) = (row(index), &table.names[0]);
                    fail!(InvalidData, "row {line}, column {name}: found {value}, allowed is a number {bound}");
                }
                level = if is("price") { *value } else { level * (1.0 + value) };
                out.push((*date, level));
            }
            if out.is_empty() {
                fail!(InvalidData, "the file has no value below its header");
            }
            Ok(Self(out))
        };
        parsed().map_err(|error: Error| error.context(format!("cannot use {}", path.display())))
    }

    /// The return over each row, from the last value up to the row before to the last one up to the row, `[dates]`. NaN
    /// before the file begins and behind `needed`.
    ///
    /// # Errors
    /// `InvalidData` if the file begins after the row before `needed`, or a row up to its end is more than 10 days after
    /// the last value.
    pub(crate) fn per_row(&self, dates: &[Date], needed: Range<usize>) -> Result<Arc<[f64]>> {
        let first = self.0[0].0;
        let mut out = vec![f64::NAN; dates.len()];
        let begins = dates.partition_point(|date| *date < first);
        if begins + 1 > needed.start {
            let before = dates[needed.start.saturating_sub(1)];
            fail!(
                InvalidData,
                "its first value is of {first}, needed is one up to {before}; give earlier values, or let the windows start \
                 later"
            );
        }
        let level = |date: Date| {
            let (dated, level) = self.0[self.0.partition_point(|(dated, _)| *dated <= date) - 1];
            let age = dated.until(date).map_or(i32::MAX, |span| span.get_days());
            if age > OLDEST_DAYS {
                fail!(
                    InvalidData,
                    "the last value before {date} is of {dated}, {age} days older, allowed are {OLDEST_DAYS}; give the \
                     values between"
                );
            }
            Ok(level)
        };
        let mut before = level(dates[begins])?;
        for row in begins + 1..needed.end {
            let now = level(dates[row])?;
            out[row] = now / before - 1.0;
            before = now;
        }
        Ok(out.into())
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use jiff::civil::{Date, date};

    use super::IndexSeries;
    use crate::error::Result;

    fn read(text: &str) -> Result<IndexSeries> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("index.csv");
        std::fs::write(&file, text).unwrap();
        IndexSeries::from_file(Path::new(&file))
    }

    fn days(days: &[i8]) -> Vec<Date> {
        days.iter().map(|&day| date(2020, 1, day)).collect()
    }

    #[test]
    fn a_row_earns_from_the_last_value_before_it() {
        // The 3rd has no value of its own: its move is in that of the 6th. The 5th is no row of the panel.
        let index =
            read("date,price\n2020-01-01,100\n2020-01-02,110\n2020-01-03,\n2020-01-05,120\n2020-01-06,99\n").unwrap();
        let returns = index.per_row(&days(&[1, 2, 3, 6, 7]), 1..5).unwrap();
        assert!(returns[0].is_nan());
        let expected = [0.1, 0.0, -0.1, 0.0];
        assert!(returns[1..].iter().zip(expected).all(|(one, two)| (one - two).abs() < 1e-12), "{returns:?}");
        // Returns are compounded over the dates between two rows. Rows before the file have none, nor those behind.
        let index = read("date,Return\n2020-01-02,0.5\n2020-01-03,0.1\n2020-01-04,0.2\n2020-01-06,-0.5\n").unwrap();
        let returns = index.per_row(&days(&[1, 2, 4, 6, 7]), 2..4).unwrap();
        assert!(returns[..2].iter().all(|value| value.is_nan()) && returns[4].is_nan());
        assert!((returns[2] - 0.32).abs() < 1e-12 && (returns[3] + 0.5).abs() < 1e-12, "{returns:?}");
    }

    #[test]
    fn errors_name_row_column_and_date() {
        for (text, expected) in [
            (
                "date,close\n2020-01-01,1\n",
                "row 1: found the columns close beside the date, allowed is one, price or return",
            ),
            ("date,price,return\n2020-01-01,1,0\n", "found the columns price, return"),
            ("date,price\n2020-01-02,1\n2020-01-02,1\n", "row 3: date 2020-01-02 is not after 2020-01-02"),
            ("date,price\n2020-01-02,0\n", "row 2, column price: found 0, allowed is a number above 0"),
            ("date,return\n2020-01-02,-1\n", "row 2, column return: found -1, allowed is a number above -1"),
        ] {
            let message = read(text).unwrap_err().to_string();
            assert!(message.contains(expected), "{message}");
        }
        let index = read("date,price\n2020-01-02,1\n2020-01-03,1\n2020-01-14,1\n").unwrap();
        let message = |rows, needed| index.per_row(&days(rows), needed).unwrap_err().to_string();
        assert!(message(&[1, 2, 3], 1..3).contains("first value is of 2020-01-02, needed is one up to 2020-01-01"));
        assert!(
            message(&[2, 3, 4, 25], 1..4).contains("the last value before 2020-01-25 is of 2020-01-14, 11 days older")
        );
        assert!(index.per_row(&days(&[2, 3, 13, 24]), 1..4).is_ok());
    }
}
