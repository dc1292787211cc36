//! CSV files as records of text: a header, then rows of the same length, with their line numbers.

use ::csv::StringRecord;
use jiff::civil::Date;

use crate::error::{Code, Error, Result, fail};

/// Cells that mean a missing value, as an empty one does.
const MISSING: [&str; 3] = ["NaN", "nan", "NA"];

/// Reads CSV: calls `header` once, then `row` with each row and its line number in the file (from 1). Every row has as
/// many cells as the header.
pub(in crate::panel) fn read_csv(
    bytes: &[u8],
    header: impl FnOnce(&StringRecord) -> Result<()>,
    mut row: impl FnMut(u64, &StringRecord) -> Result<()>,
) -> Result<()> {
    let text = std::str::from_utf8(bytes).map_err(|error| {
        Error::new(Code::InvalidData, format!("the file is not text: byte {} is not UTF-8", error.valid_up_to()))
    })?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if let Some(position) = text.find('\0') {
        fail!(InvalidData, "the file is not text: byte {position} is zero");
    }
    let mut reader = ::csv::ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .trim(::csv::Trim::All)
        .from_reader(text.as_bytes());
    let unreadable = |error: ::csv::Error| Error::new(Code::InvalidData, error.to_string());
    let mut record = StringRecord::new();
    if !reader.read_record(&mut record).map_err(unreadable)? {
        fail!(InvalidData, "the file is empty; the first row must name its columns");
    }
    let columns = record.len();
    header(&record)?;
    while reader.read_record(&mut record).map_err(unreadable)? {
        let line = record.position().map_or(0, ::csv::Position::line);
        if record.len() != columns {
            fail!(InvalidData, "row {line} has {} cells, row 1 has {columns}", record.len());
        }
        row(line, &record)?;
    }
    Ok(())
}

/// Parses a date written as `YYYY-MM-DD`.
pub(in crate::panel) fn calendar_date(cell: &str, line: u64, column: &str) -> Result<Date> {
    let has_format = cell.len() == 10
        && cell.bytes().enumerate().all(
            |(index, byte)| {
                if matches!(index, 4 | 7) { byte == b'-' } else { byte.is_ascii_digit() }
            },
        );
    match (has_format, cell.parse()) {
        (true, Ok(date)) => Ok(date),
        _ => {
            fail!(InvalidData, "row {line}, column {column}: found '{cell}', allowed is a calendar date as YYYY-MM-DD")
        }
    }
}

/// Parses a value; NaN if the cell is empty, `NaN` or `NA`.
pub(in crate::panel) fn value(cell: &str, line: u64, column: &str) -> Result<f64> {
    if cell.is_empty() || MISSING.contains(&cell) {
        return Ok(f64::NAN);
    }
    match cell.parse::<f64>() {
        Ok(value) => Ok(value),
        Err(_) => fail!(
            InvalidData,
            "row {line}, column {column}: found '{cell}', allowed is a number, or an empty cell if it is missing"
        ),
    }
}
