//! CSV files as texts: a header, then rows of as many cells, with the lines they stand on.

use ::csv::StringRecord;
use jiff::civil::Date;

use crate::error::{Code, Error, Result, fail};

/// Texts that stand for a missing value, beside an empty cell.
const MISSING: [&str; 3] = ["NaN", "nan", "NA"];

/// Reads CSV: hands over the header once, then each row with its line in the file (from 1); every row has as many cells
/// as the header.
pub(in crate::panel) fn read_csv(
    bytes: &[u8],
    header: impl FnOnce(&StringRecord) -> Result<()>,
    mut row: impl FnMut(u64, &StringRecord) -> Result<()>,
) -> Result<()> {
    let text = std::str::from_utf8(bytes).map_err(|error| {
        Error::new(Code::InvalidData, format!("it is not text: byte {} is not UTF-8", error.valid_up_to()))
    })?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if let Some(position) = text.find('\0') {
        fail!(InvalidData, "it is not text: byte {position} is zero");
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

/// A date written `YYYY-MM-DD`.
pub(in crate::panel) fn calendar_date(cell: &str, line: u64, column: &str) -> Result<Date> {
    let shaped = cell.len() == 10
        && cell.bytes().enumerate().all(
            |(place, byte)| {
                if matches!(place, 4 | 7) { byte == b'-' } else { byte.is_ascii_digit() }
            },
        );
    match (shaped, cell.parse()) {
        (true, Ok(date)) => Ok(date),
        _ => {
            fail!(InvalidData, "row {line}, column {column}: found '{cell}', allowed is a calendar date as YYYY-MM-DD")
        }
    }
}

/// A number; NaN where the cell is empty, `NaN` or `NA`.
pub(in crate::panel) fn number(cell: &str, line: u64, column: &str) -> Result<f64> {
    if cell.is_empty() || MISSING.contains(&cell) {
        return Ok(f64::NAN);
    }
    match cell.parse::<f64>() {
        Ok(value) => Ok(value),
        Err(_) => fail!(
            InvalidData,
            "row {line}, column {column}: found '{cell}', allowed is a number, or nothing where it is missing"
        ),
    }
}
