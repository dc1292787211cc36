//! CSV files as records of text: a header, then rows of the same length, with their line numbers.

use ::csv::StringRecord;
use jiff::civil::Date;

use crate::error::{Code, Error, Result, fail};

/// Cells that mean a missing value in any letter case, as an empty one does: pandas, R, Excel, Bloomberg, FRED, SQL.
const MISSING: [&str; 10] = ["nan", "-nan", "na", "n/a", "#n/a", "#n/a n/a", "<na>", "null", "none", "#value!"];
/// Cells of marks alone that mean a missing value.
const MISSING_MARKS: [&str; 3] = ["-", "--", "."];
/// Separators of cells, most usual first.
const SEPARATORS: [char; 3] = [',', ';', '\t'];

/// The separator between the cells of a text file.
pub(super) fn separator_of(bytes: &[u8]) -> u8 {
    separator(String::from_utf8_lossy(bytes).trim_start_matches('\u{feff}'))
}

/// The separator that splits the header into the most cells; text in quotes does not count. Where two split it alike,
/// the one that stands earlier in the list.
fn separator(text: &str) -> u8 {
    let header = text.lines().find(|line| !line.trim().is_empty()).unwrap_or("");
    let mut counts = [0; SEPARATORS.len()];
    let mut quoted = false;
    for letter in header.chars() {
        quoted ^= letter == '"';
        if let Some(index) = SEPARATORS.iter().position(|separator| *separator == letter && !quoted) {
            counts[index] += 1;
        }
    }
    let mut best = 0;
    for (index, count) in counts.iter().enumerate() {
        if *count > counts[best] {
            best = index;
        }
    }
    SEPARATORS[best] as u8
}

/// The line number of a record. The reader's position stands before the rest of a line end and before empty lines.
fn first_line(text: &str, position: &::csv::Position) -> u64 {
    let rest = text.as_bytes().get(position.byte() as usize..).unwrap_or(&[]);
    let skipped = rest.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).filter(|byte| **byte == b'\n').count();
    position.line() + skipped as u64
}

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
        .delimiter(separator(text))
        .from_reader(text.as_bytes());
    let unreadable = |error: ::csv::Error| Error::new(Code::InvalidData, error.to_string());
    let mut record = StringRecord::new();
    if !reader.read_record(&mut record).map_err(unreadable)? {
        fail!(InvalidData, "the file is empty; the first row must name its columns");
    }
    let columns = record.len();
    header(&record)?;
    while reader.read_record(&mut record).map_err(unreadable)? {
        let line = record.position().map_or(0, |position| first_line(text, position));
        if record.len() != columns {
            fail!(InvalidData, "row {line} has {} cells, row 1 has {columns}", record.len());
        }
        row(line, &record)?;
    }
    Ok(())
}

/// Parses a date: `YYYY-MM-DD`, `YYYY/MM/DD` or `YYYYMMDD`, also with a time of midnight after it; `YYYY-MM` and `YYYYMM`
/// are the last day of that month.
pub(in crate::panel) fn calendar_date(cell: &str, line: u64, column: &str) -> Result<Date> {
    let position = format!("row {line}, column {column}: found '{cell}'");
    let (day, time) = match cell.find(['T', ' ']) {
        Some(end) => (&cell[..end], &cell[end + 1..]),
        None => (cell, ""),
    };
    if let Some(date) = civil_date(day) {
        if is_midnight(time) {
            return Ok(date);
        }
        fail!(InvalidData, "{position}, allowed is a date as YYYY-MM-DD, or midnight; cut the time off");
    }
    let parts: Vec<&str> = day.split(['/', '.', '-']).collect();
    let is_number = |part: &&str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    if parts.len() == 3 && parts.iter().all(is_number) && parts[0].len() <= 2 {
        fail!(
            InvalidData,
            "{position}, in which day and month cannot be told apart for sure; allowed is a calendar date as \
             YYYY-MM-DD, so write dates like that"
        );
    }
    fail!(
        InvalidData,
        "{position}, allowed is a calendar date as YYYY-MM-DD (or YYYY/MM/DD, YYYYMMDD, YYYY-MM, YYYYMM)"
    )
}

/// The date of a cell without a time; `None` if it is none of the forms that [`calendar_date`] reads.
pub(in crate::panel) fn civil_date(cell: &str) -> Option<Date> {
    let separator = cell.as_bytes().get(4).copied().filter(|byte| matches!(byte, b'-' | b'/'));
    let is_form = |length: usize, at: &[usize]| {
        cell.len() == length
            && cell
                .bytes()
                .enumerate()
                .all(|(index, byte)| if at.contains(&index) { Some(byte) == separator } else { byte.is_ascii_digit() })
    };
    let (month, day) = if is_form(10, &[4, 7]) {
        (&cell[5..7], Some(&cell[8..]))
    } else if is_form(8, &[]) {
        (&cell[4..6], Some(&cell[6..]))
    } else if is_form(7, &[4]) {
        (&cell[5..], None)
    } else if is_form(6, &[]) {
        (&cell[4..], None)
    } else {
        return None;
    };
    let first = Date::new(cell[..4].parse().ok()?, month.parse().ok()?, 1).ok()?;
    match day {
        None => Some(first.last_of_month()),
        Some(day) => Date::new(first.year(), first.month(), day.parse().ok()?).ok(),
    }
}

/// Whether a time is missing or midnight, with or without an offset from UTC.
fn is_midnight(time: &str) -> bool {
    let clock = time.trim().trim_end_matches("UTC").trim_end_matches('Z');
    let clock = clock.split(['+', '-']).next().unwrap_or("").trim();
    clock.bytes().all(|byte| matches!(byte, b'0' | b':' | b'.'))
}

/// Parses a value; NaN if the cell is empty or a usual mark of a missing value. With `decimal_comma`, a comma stands
/// before the decimals.
pub(in crate::panel) fn value(cell: &str, line: u64, column: &str, decimal_comma: bool) -> Result<f64> {
    if is_missing(cell) {
        return Ok(f64::NAN);
    }
    let number = if decimal_comma { cell.replacen(',', ".", 1).parse::<f64>() } else { cell.parse::<f64>() };
    match number {
        Ok(value) => Ok(value),
        Err(_) => fail!(
            InvalidData,
            "row {line}, column {column}: found '{cell}', allowed is a number without separators of thousands or units, \
             or an empty cell if it is missing"
        ),
    }
}

pub(in crate::panel) fn is_missing(cell: &str) -> bool {
    cell.is_empty()
        || MISSING_MARKS.contains(&cell)
        || (cell.len() <= 8 && MISSING.contains(&cell.to_ascii_lowercase().as_str()))
}
