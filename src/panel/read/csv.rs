//! Panels from CSV files: a date column, then one column per asset. Errors name file, row and column.

use std::cell::RefCell;
use std::path::Path;

use ::csv::StringRecord;

use super::csv_records::{calendar_date, read_csv, value};
use super::file_kind::text_bytes;
use super::raw::RawTable;
use crate::error::{Error, Result, fail};
use crate::panel::{Panel, PanelKind};

impl Panel {
    /// Reads a CSV file: dates as `YYYY-MM-DD` in the first column, then one column per asset. A cell that is empty,
    /// `NaN` or `NA` is a missing value.
    ///
    /// # Errors
    /// `NotFound` or `Io` if the file cannot be read; `InvalidData` with file, row and column if a cell is not a date
    /// or a number, or for the reasons of [`Panel::from_arrays`].
    pub fn from_csv(kind: PanelKind, path: &Path) -> Result<Self> {
        let bytes = std::fs::read(path).map_err(|error| Error::io("read", path, &error))?;
        text_bytes(bytes)
            .and_then(|bytes| parse(kind, &bytes))
            .map_err(|error| error.context(format!("cannot use {}", path.display())))
    }
}

fn parse(kind: PanelKind, bytes: &[u8]) -> Result<Panel> {
    Panel::build(kind, &table(bytes)?)
}

/// Parses a CSV file into a table that knows its line numbers.
pub(in crate::panel) fn table(bytes: &[u8]) -> Result<RawTable> {
    let names = RefCell::new(Vec::new());
    let (mut dates, mut values, mut lines) = (Vec::new(), Vec::new(), Vec::new());
    let header = |header: &StringRecord| {
        *names.borrow_mut() = header.iter().skip(1).map(str::to_owned).collect::<Vec<_>>();
        if names.borrow().is_empty() {
            fail!(InvalidData, "row 1 names no asset: the file needs a date column and at least one asset column");
        }
        Ok(())
    };
    read_csv(bytes, header, |line, cells| {
        dates.push(calendar_date(&cells[0], line, "date")?);
        for (cell, name) in cells.iter().skip(1).zip(names.borrow().iter()) {
            values.push(value(cell, line, name)?);
        }
        lines.push(line);
        Ok(())
    })?;
    Ok(RawTable { dates, names: names.into_inner(), values, lines: Some(lines) })
}

#[cfg(test)]
mod tests {
    use super::parse;
    use crate::panel::{Panel, PanelKind};

    fn prices(text: &str) -> Panel {
        parse(PanelKind::Prices, text.as_bytes()).unwrap()
    }

    #[track_caller]
    fn refused(text: &[u8], expected: &str) {
        let message = parse(PanelKind::Prices, text).unwrap_err().to_string();
        assert!(message.contains(expected), "{message}");
    }

    #[test]
    fn a_gap_is_missing_for_models_and_holders_earn_its_move_later() {
        let panel = prices("date,B,A\n2020-01-01,1,10\n2020-01-02,,11\n2020-01-03,3,NaN\n2020-01-06,6,22\n");
        assert_eq!(panel.assets(), ["A", "B"]);
        assert_eq!(panel.output_order(), [1, 0]);
        let models: Vec<Vec<f64>> = (0..4).map(|row| panel.returns(row).to_vec()).collect();
        assert!(models[0].iter().all(|value| value.is_nan()));
        assert!((models[1][0] - 0.1).abs() < 1e-12 && models[1][1].is_nan());
        assert!(models[2].iter().all(|value| value.is_nan()));
        assert!(models[3][0].is_nan() && models[3][1] == 1.0);
        assert_eq!(panel.held_returns()[2..], [11.0 / 10.0 - 1.0, 0.0, 0.0, 2.0, 1.0, 1.0]);
        assert_eq!(panel.members(1), [true, false]);
    }

    #[test]
    fn column_order_changes_only_the_output_order() {
        let (one, two) =
            (prices("d,A,B\n2020-01-01,1,2\n2020-01-02,2,3\n"), prices("d,B,A\n2020-01-01,2,1\n2020-01-02,3,2\n"));
        assert_eq!(one.fingerprint(), two.fingerprint());
        assert_eq!(one.held_returns(), two.held_returns());
        let other = prices("d,A,B\n2020-01-01,1,2\n2020-01-02,2,3.5\n");
        assert_ne!(one.fingerprint(), other.fingerprint());
    }

    #[test]
    fn a_past_is_a_copy_that_ends_at_its_as_of_row() {
        let panel = prices("d,A,B\n2020-01-01,1,2\n2020-01-02,2,\n2020-01-03,4,6\n");
        let past = panel.past(1..3, &[0]).unwrap();
        assert_eq!((past.returns(), past.names(), past.rows()), (&[1.0, 1.0][..], &["A".to_owned()][..], 1..3));
        assert!(panel.past(2..4, &[0]).is_err() && panel.past(0..0, &[0]).is_err() && panel.past(0..1, &[2]).is_err());
        assert_eq!(panel.eligible(0..3, 1), [0]);
        assert_eq!(panel.eligible(0..3, 0), [0, 1]);
    }

    #[test]
    fn invalid_files_are_refused_with_row_and_column() {
        refused(b"", "the file is empty");
        refused(b"date\n2020-01-01\n", "names no asset");
        refused(b"date,A\n", "found 0 dates");
        refused(b"date,A\n2020-01-02,1\n2020-01-01,1\n", "row 3: date 2020-01-01 is before the row above");
        refused(b"date,A\n2020-01-02,1\n2020-01-02,1\n", "row 3: date 2020-01-02 is the same date as");
        refused(b"date,A,A\n2020-01-02,1,1\n", "asset A occurs twice");
        refused(b"date,A\n2020-01-02,0\n", "row 2, column A: found 0");
        refused(b"date,A\n2020-01-02,inf\n", "row 2, column A: found inf");
        refused(b"date,A\n2020-01-02,1e-300\n2020-01-03,1e300\n", "row 3, column A: the return since");
        refused(b"date,A\n2020-01-02,cheap\n", "row 2, column A: found 'cheap'");
        refused(b"date,A,B\n2020-01-02,1\n", "row 2 has 2 cells, row 1 has 3");
        refused(b"date,A\n2020-02-30,1\n", "row 2, column date: found '2020-02-30'");
        refused(b"date,A\n2020-01-02,\x001\n", "byte 18 is zero");
        refused(b"\x7fELF\xff\xfe", "byte 4 is not UTF-8");
    }
}
