//! Panels from CSV files: a date column, then one column per asset. Errors name file, row and column.

use std::cell::RefCell;
use std::path::Path;

use ::csv::StringRecord;

use super::column_names;
use super::csv_records::{calendar_date, is_missing, read_csv, separator_of, value};
use super::file_kind::text_bytes;
use super::raw::RawTable;
use crate::error::{Error, Result, fail};
use crate::panel::{Panel, PanelKind};

impl Panel {
    /// Reads a CSV file: dates as `YYYY-MM-DD` in the first column, then one column per asset. `YYYY/MM/DD` and `YYYYMMDD`
    /// are read too, a time of midnight is cut off, and `YYYY-MM` and `YYYYMM` are the last day of the month. Cells are
    /// separated by commas, semicolons or tabs, numbers have a point or a comma before their decimals. A cell that is
    /// empty or a usual mark (`NaN`, `NA`, `N/A`, `#N/A`, `null`, `None`, `-`, `.`) is a missing value. The file may be
    /// gzipped.
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
    Panel::from_table(kind, table(bytes)?)
}

/// Parses a CSV file into a table that knows its line numbers.
pub(in crate::panel) fn table(bytes: &[u8]) -> Result<RawTable> {
    let names = RefCell::new(Vec::new());
    let (mut dates, mut values, mut lines) = (Vec::new(), Vec::new(), Vec::new());
    let header = |header: &StringRecord| {
        let first = &header[0];
        *names.borrow_mut() = header.iter().skip(1).map(str::to_owned).collect::<Vec<_>>();
        if names.borrow().is_empty() {
            fail!(
                InvalidData,
                "row 1 names no asset: found '{first:.60}'; the file needs a header of a date column and at least one \
                 asset column, separated by commas, semicolons or tabs; delete titles and comments above it"
            );
        }
        if let Ok(date) = calendar_date(first, 1, "date") {
            fail!(
                InvalidData,
                "row 1 begins with the date {date}: the file has no header; add one that names the date column and \
                 each asset"
            );
        }
        column_names::check(&names.borrow())
    };
    let mut decimals = DecimalMark::default();
    let mut digits = Vec::new();
    read_csv(bytes, header, |line, cells| {
        dates.push(calendar_date(&cells[0], line, "date")?);
        digits.resize(cells.len() - 1, 0);
        for ((cell, name), digits) in cells.iter().skip(1).zip(names.borrow().iter()).zip(&mut digits) {
            *digits = decimal_digits(cell).max(*digits);
            values.push(decimals.value(cell, line, name)?);
        }
        lines.push(line);
        Ok(())
    })?;
    decimals.check()?;
    let (names, layout) = (names.into_inner(), layout(separator_of(bytes), decimals.comma.is_some()));
    Ok(RawTable { dates, names, values, lines: Some(lines), decimals: Some(digits), single_precision: None, layout })
}

/// How a file is written, in words, where it is not with commas between cells and points before decimals.
fn layout(separator: u8, has_decimal_commas: bool) -> Option<String> {
    let cells = match separator {
        b';' => Some("semicolons between cells"),
        b'\t' => Some("tabs between cells"),
        _ => None,
    };
    let parts: Vec<&str> = cells.into_iter().chain(has_decimal_commas.then_some("commas before decimals")).collect();
    (!parts.is_empty()).then(|| parts.join(" and "))
}

/// How many digits after the decimal mark a number is written with: two for 1.50, four for 1.5e-3.
fn decimal_digits(cell: &str) -> u32 {
    let (mantissa, exponent) = cell.split_once(['e', 'E']).unwrap_or((cell, "0"));
    let digits = mantissa.split_once(['.', ',']).map_or(0, |(_, digits)| digits.len() as i64);
    digits.saturating_sub(exponent.parse::<i64>().unwrap_or(0)).clamp(0, 300) as u32
}

/// Whether a point or a comma stands before the decimals. One file has one of them. A comma can only stand in a cell
/// where it does not separate cells, or in quotes.
#[derive(Default)]
struct DecimalMark {
    /// Where the first cell with a point stands.
    point: Option<(u64, String)>,
    /// Where the first cell with a comma stands.
    comma: Option<(u64, String)>,
    /// Whether a comma stands before other than three digits, as none of thousands does.
    other_than_three: bool,
    /// Whether a number has neither point nor comma.
    whole: bool,
}

impl DecimalMark {
    fn value(&mut self, cell: &str, line: u64, column: &str) -> Result<f64> {
        if is_missing(cell) {
            return Ok(f64::NAN);
        }
        let comma = cell.find(',');
        let value = value(cell, line, column, comma.is_some() && !cell.contains('.'))?;
        match comma {
            Some(at) => {
                self.other_than_three |= cell.len() - at != 4;
                self.comma.get_or_insert_with(|| (line, column.to_owned()));
            }
            None if cell.contains('.') => {
                self.point.get_or_insert_with(|| (line, column.to_owned()));
            }
            None => self.whole = true,
        }
        Ok(value)
    }

    /// Refuses a file whose commas may be those of thousands.
    fn check(&self) -> Result<()> {
        let Some((line, column)) = &self.comma else { return Ok(()) };
        if let Some((other, name)) = &self.point {
            fail!(
                InvalidData,
                "row {line}, column {column} has a comma in its number, and row {other}, column {name} a point; write \
                 numbers with one decimal mark and without separators of thousands"
            );
        }
        if self.whole && !self.other_than_three {
            fail!(
                InvalidData,
                "row {line}, column {column} has a comma before three digits, which may separate thousands or decimals; \
                 write numbers without separators of thousands, and with a decimal point"
            );
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::parse;
    use crate::panel::{FindingKind, Panel, PanelKind};
    use jiff::civil::date;
    use std::fmt::Write as _;

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
    fn the_usual_forms_of_dates_numbers_and_gaps_give_one_panel() {
        let plain = prices("date,B,A\n2020-01-02,1.5,10\n2020-01-03,,11.25\n2020-01-06,3.5,22\n");
        let same = |text: &str| assert_eq!(prices(text).fingerprint(), plain.fingerprint(), "{text}");
        let cells = "1.5,10\n2020-01-03,,11.25\n2020-01-06,3.5,22\n";
        for first in
            ["2020/01/02", "20200102", "2020-01-02 00:00:00", "2020-01-02 00:00:00-05:00", "2020-01-02T00:00:00Z"]
        {
            same(&format!("date,B,A\n{first},{cells}"));
        }
        same(&format!("\u{feff}date;B;A\n2020-01-02;{}", cells.replace(',', ";")));
        same(&format!("date\tB\tA\n2020-01-02\t{}", cells.replace(',', "\t")));
        same(&format!("date;B;A\n2020-01-02;{}", cells.replace(',', ";").replace('.', ",")));
        same(&format!(
            "date,\"B\",A\n2020-01-02,{}",
            cells.replace("3.5", "\"3,5\"").replace("1.5", "\"1,5\"").replace("11.25", "\"11,25\"")
        ));
        for gap in ["NaN", "NA", "n/a", "#N/A", "#N/A N/A", "null", "None", "-", ".", "<NA>"] {
            same(&format!("date,B,A\n2020-01-02,{}", cells.replace(",,", &format!(",{gap},"))));
        }
        let months = prices("date,A\n2020-01,1\n2020-02,2\n");
        assert_eq!(months.dates(), [date(2020, 1, 31), date(2020, 2, 29)]);
        assert_eq!(prices("date,A\n202001,1\n202002,2\n").dates(), months.dates());
    }

    #[test]
    fn prices_that_move_no_more_than_their_rounding_are_found() {
        let check = |digits: usize| {
            let mut text = String::from("date,A,B\n");
            for row in 1..=28_u32 {
                let price = 1.0 + f64::from(row % 3) * 0.004;
                writeln!(text, "2020-02-{row:02},{price:.digits$},{:.4}", 10.0 + f64::from(row % 5)).unwrap();
            }
            prices(&text).check()
        };
        let found = check(2);
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!((found[0].kind, found[0].column.as_deref()), (FindingKind::Rounding, Some("A")));
        assert!(found[0].text.contains("two units of the last decimal place are 2.00e-2"), "{}", found[0]);
        assert_eq!(check(4), []);
    }

    #[test]
    fn a_row_without_a_value_is_no_trading_date() {
        let panel = prices("date,B,A\n2020-01-01,,\n2020-01-02,1,10\n2020-01-03,,NA\n2020-01-06,,11\n");
        assert_eq!(panel.dates(), [date(2020, 1, 2), date(2020, 1, 6)]);
        assert_eq!(panel.empty_rows(), [(2, date(2020, 1, 1)), (4, date(2020, 1, 3))]);
        assert_eq!(panel.row_numbers(), [3, 5]);
        assert!((panel.returns(1)[0] - 0.1).abs() < 1e-12);
        refused(b"date,A\n2020-01-02,\n", "the file has 1 rows and no value in any");
        // Without the empty row its neighbours are still named by their lines in the file.
        refused(b"date,A\n2020-01-02,1\n2020-01-03,\n2020-01-06,0\n", "row 4, column A: found 0");
    }

    #[test]
    fn files_of_another_layout_are_refused_by_name() {
        refused(b"date,A\n02/01/2020,1\n", "found '02/01/2020', in which day and month");
        refused(b"date,A\n2020-01-02 16:00,1\n", "row 2, column date: found '2020-01-02 16:00', allowed is a date");
        refused(b"2020-01-02,1\n2020-01-03,2\n", "row 1 begins with the date 2020-01-02: the file has no header");
        refused(b"Returns of 3 portfolios\n\n,A\n", "found 'Returns of 3 portfolios'; the file needs a header");
        refused(b"Date,Open,High,Low,Close,Volume\n2020-01-02,1,1,1,1,9\n", "the fields of one security");
        refused(b"Date,\"('Close', 'A')\"\n2020-01-02,1\n", "has a field and a ticker in its name");
        refused(b"date,permno,close\n2020-01-02,14593,1\n", "column permno says which security");
        refused(b"date,A\n2020-01-06,1\n2020-01-03,1\n2020-01-02,1\n", "the newest stands first");
        refused(b"date;A\n2020-01-02;1.5\n2020-01-03;1,5\n", "row 3, column A has a comma in its number, and row 2");
        refused(b"date;A\n2020-01-02;999\n2020-01-03;1,001\n", "may separate thousands or decimals");
        refused(b"date,A\n2020-01-02,\"10,116.40\"\n", "found '10,116.40', allowed is a number without");
        // LOW and OPEN are tickers as well.
        prices("date,LOW,OPEN\n2020-01-02,1,1\n");
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
        refused(b"date,A\r\n2020-01-02,1\r\n\r\n2020-01-03,0\r\n", "row 4, column A: found 0");
        refused(b"date,A\n2020-01-02,inf\n", "row 2, column A: found inf");
        refused(b"date,A\n2020-01-02,1e-300\n2020-01-03,1e300\n", "row 3, column A: the return since");
        refused(b"date,A\n2020-01-02,cheap\n", "row 2, column A: found 'cheap'");
        refused(b"date,A,B\n2020-01-02,1\n", "row 2 has 2 cells, row 1 has 3");
        refused(b"date,A\n2020-02-30,1\n", "row 2, column date: found '2020-02-30'");
        refused(b"date,A\n2020-01-02,\x001\n", "byte 18 is zero");
        refused(b"\x7fELF\xff\xfe", "byte 4 is not UTF-8");
    }
}
