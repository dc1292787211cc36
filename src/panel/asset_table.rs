//! Numbers by asset from a file, such as trading costs or delisting returns, some with a date.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::path::Path;

use ::csv::StringRecord;
use jiff::civil::Date;

use super::read::{calendar_date, number, read_csv, text_bytes};
use crate::error::{Error, Result, fail};

/// A number by asset, and a date where the file gives one.
pub(crate) type AssetTable = BTreeMap<String, (f64, Option<Date>)>;

/// Reads a CSV file with the columns `ticker` and `column`, and `date` if `may_have_dates`; further columns are ignored,
/// and an empty date is none.
///
/// # Errors
/// `NotFound` or `Io` if the file cannot be read; `InvalidData` with file, row and column if it has no such columns, a
/// number is not within `allowed`, or a ticker occurs twice.
pub(crate) fn read_asset_table(
    path: &Path,
    column: &str,
    allowed: &RangeInclusive<f64>,
    may_have_dates: bool,
) -> Result<AssetTable> {
    let bytes = std::fs::read(path).map_err(|error| Error::io("read", path, &error))?;
    text_bytes(bytes)
        .and_then(|bytes| parse(&bytes, column, allowed, may_have_dates))
        .map_err(|error| error.context(format!("cannot use {}", path.display())))
}

fn parse(bytes: &[u8], column: &str, allowed: &RangeInclusive<f64>, may_have_dates: bool) -> Result<AssetTable> {
    let mut out = AssetTable::new();
    let columns = Cell::new((0, 0, None));
    let header = |header: &StringRecord| {
        let find = |name: &str| header.iter().position(|cell| cell.eq_ignore_ascii_case(name));
        let needed = |name: &str| match find(name) {
            Some(index) => Ok(index),
            None => fail!(
                InvalidData,
                "row 1 has no column '{name}'; needed are ticker and {column}, found {}",
                header.iter().collect::<Vec<_>>().join(", ")
            ),
        };
        columns.set((needed("ticker")?, needed(column)?, find("date").filter(|_| may_have_dates)));
        Ok(())
    };
    read_csv(bytes, header, |line, cells| {
        let (ticker, value, date) = columns.get();
        let (ticker, value) = (&cells[ticker], number(&cells[value], line, column, !cells[value].contains('.'))?);
        if ticker.is_empty() {
            fail!(InvalidData, "row {line}, column ticker: the cell is empty");
        }
        if !allowed.contains(&value) {
            fail!(
                InvalidData,
                "row {line}, column {column}: found {value}, allowed is a number from {} to {}",
                allowed.start(),
                allowed.end()
            );
        }
        let date = match date.map(|date| &cells[date]) {
            None | Some("") => None,
            Some(cell) => Some(calendar_date(cell, line, "date")?),
        };
        if out.insert(ticker.to_owned(), (value, date)).is_some() {
            fail!(InvalidData, "row {line}, column ticker: '{ticker}' is in an earlier row too");
        }
        Ok(())
    })?;
    if out.is_empty() {
        fail!(InvalidData, "the file has no row below its header");
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;

    use super::parse;

    #[test]
    fn numbers_are_read_by_ticker_with_their_dates() {
        let text = "date,ticker,name,return\n2020-03-02,B,\"Bee, Inc\",-0.3\n,A,Ay,1\n";
        let table = parse(text.as_bytes(), "return", &(-1.0..=10.0), true).unwrap();
        assert_eq!(table["B"], (-0.3, Some(date(2020, 3, 2))));
        assert_eq!(table["A"], (1.0, None));
        let undated = parse(text.as_bytes(), "return", &(-1.0..=10.0), false).unwrap();
        assert_eq!(undated["B"], (-0.3, None));
    }

    #[test]
    fn errors_name_row_and_column() {
        for (text, expected) in [
            ("ticker,cost\nA,1\n", "row 1 has no column 'bps'; needed are ticker and bps, found ticker, cost"),
            ("ticker,bps\nA,-1\n", "row 2, column bps: found -1, allowed is a number from 0 to 100"),
            ("ticker,bps\nA,\n", "row 2, column bps"),
            ("ticker,bps\nA,1\nA,2\n", "row 3, column ticker: 'A' is in an earlier row too"),
            ("ticker,bps\n,1\n", "row 2, column ticker: the cell is empty"),
            ("ticker,bps,date\nA,1,soon\n", "row 2, column date: found 'soon'"),
            ("ticker,bps\n", "the file has no row below its header"),
        ] {
            let message = parse(text.as_bytes(), "bps", &(0.0..=100.0), true).unwrap_err().to_string();
            assert!(message.contains(expected), "{message}");
        }
    }
}
