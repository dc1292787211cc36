//! Panels and feature planes from Parquet files: a date column, and one numeric column an asset. Pandas writes a date index
//! as the last column, so the date column is the first one where that holds dates, else the only one that does.

use std::fs::File;
use std::path::Path;

use ::parquet::basic::{ConvertedType, LogicalType, TimeUnit, Type as Physical};
use ::parquet::column::reader::{ColumnReader, ColumnReaderImpl};
use ::parquet::data_type::{ByteArray, DataType};
use ::parquet::errors::ParquetError;
use ::parquet::file::reader::{FileReader, SerializedFileReader};
use ::parquet::schema::types::ColumnDescriptor;
use jiff::civil::Date;

use super::csv_records::calendar_date;
use super::parquet_limits;
use super::raw::RawTable;
use crate::error::{Code, Error, Result, fail};
use crate::panel::day_number::date_of;

/// More cells than this are no panel; a damaged file could claim any number.
const MOST_CELLS: usize = 1 << 33;
/// Dates increase from row to row, and the calendar from the year -9999 to 9999 has no more days than this.
const MOST_ROWS: usize = 7_304_484;

/// How a column says when.
#[derive(Clone, Copy, PartialEq, Eq)]
enum When {
    Days,
    /// Ticks a day.
    Ticks(i64),
    Text,
}

/// The numbers of a Parquet file.
pub(in crate::panel) fn table(path: &Path) -> Result<RawTable> {
    let bytes = std::fs::read(path).map_err(|error| Error::io("read", path, &error))?;
    parquet_limits::footer(&bytes)?;
    let file = File::open(path).map_err(|error| Error::io("read", path, &error))?;
    // Damaged files make the reader fail, and in places panic: both are the file's fault.
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| read(file, &bytes)));
    outcome.unwrap_or_else(|_| fail!(InvalidData, "it is a damaged Parquet file: its reader gave up"))
}

#[allow(clippy::needless_pass_by_value)] // map_err hands it over
fn damaged(error: ParquetError) -> Error {
    Error::new(Code::InvalidData, format!("it is no Parquet file that can be read: {error}"))
}

fn read(file: File, bytes: &[u8]) -> Result<RawTable> {
    let reader = SerializedFileReader::new(file).map_err(damaged)?;
    let schema = reader.metadata().file_metadata().schema_descr();
    let columns = schema.columns();
    if columns.iter().any(|column| column.max_rep_level() > 0 || column.path().parts().len() > 1) {
        fail!(InvalidData, "it has nested columns; allowed are a date column and one numeric column an asset");
    }
    let dated: Vec<usize> = (0..columns.len()).filter(|&place| when(&columns[place]).is_some()).collect();
    let date_column = match dated.as_slice() {
        [0, ..] => 0,
        [only] => *only,
        [] => fail!(InvalidData, "it has no date column (date, timestamp or text YYYY-MM-DD)"),
        _ => fail!(InvalidData, "it has {} date columns and none of them is the first; one is allowed", dated.len()),
    };
    let kind = when(&columns[date_column]).unwrap_or(When::Days);
    let assets: Vec<usize> = (0..columns.len()).filter(|&place| place != date_column).collect();
    let names: Vec<String> = assets.iter().map(|&place| columns[place].name().to_owned()).collect();
    let rows = usize::try_from(reader.metadata().file_metadata().num_rows()).unwrap_or(usize::MAX);
    if rows > MOST_ROWS {
        fail!(InvalidData, "it claims {rows} rows; the calendar has {MOST_ROWS} days");
    }
    if rows.checked_mul(assets.len().max(1)).is_none_or(|cells| cells > MOST_CELLS) {
        fail!(InvalidData, "it claims {rows} rows of {} columns, more than can be read", columns.len());
    }
    let mut dates: Vec<Date> = Vec::new();
    let mut by_asset: Vec<Vec<f64>> = vec![Vec::new(); assets.len()];
    for group in 0..reader.num_row_groups() {
        let group = reader.get_row_group(group).map_err(damaged)?;
        let (count, first) = (usize::try_from(group.metadata().num_rows()).unwrap_or(usize::MAX), dates.len());
        // So that no row group alone makes room for more than the file claims in all.
        if count > rows - first.min(rows) {
            fail!(InvalidData, "it claims {rows} rows, and {count} of them in a row group after the first {first}");
        }
        for place in
            std::iter::once(date_column).chain(assets.iter().copied().filter(|&place| is_number(&columns[place])))
        {
            // Not byte_range(): it panics where a number is negative.
            let chunk = group.metadata().column(place);
            let start = chunk.dictionary_page_offset().unwrap_or_else(|| chunk.data_page_offset());
            let (Ok(start), Ok(length)) = (usize::try_from(start), usize::try_from(chunk.compressed_size())) else {
                fail!(InvalidData, "it is a damaged Parquet file: column {} lies nowhere", columns[place].name());
            };
            parquet_limits::pages(bytes, start..start.saturating_add(length), rows)?;
        }
        let column = group.get_column_reader(date_column).map_err(damaged)?;
        days(column, &columns[date_column], kind, count, first, &mut dates)?;
        for (&place, values) in assets.iter().zip(&mut by_asset) {
            numbers(group.get_column_reader(place).map_err(damaged)?, &columns[place], count, values)?;
        }
    }
    let values = (0..dates.len()).flat_map(|row| by_asset.iter().map(move |values| values[row])).collect();
    Ok(RawTable { dates, names, values, lines: None })
}

/// Whether a column holds dates, and how.
fn when(column: &ColumnDescriptor) -> Option<When> {
    const SECONDS: i64 = 86_400;
    let logical = column.logical_type_ref();
    match (column.physical_type(), logical, column.converted_type()) {
        (Physical::INT32, Some(LogicalType::Date), _) | (Physical::INT32, None, ConvertedType::DATE) => {
            Some(When::Days)
        }
        (Physical::INT64, Some(LogicalType::Timestamp(stamp)), _) => Some(When::Ticks(match stamp.unit {
            TimeUnit::MILLIS => SECONDS * 1_000,
            TimeUnit::MICROS => SECONDS * 1_000_000,
            TimeUnit::NANOS => SECONDS * 1_000_000_000,
        })),
        (Physical::INT64, None, ConvertedType::TIMESTAMP_MILLIS) => Some(When::Ticks(SECONDS * 1_000)),
        (Physical::INT64, None, ConvertedType::TIMESTAMP_MICROS) => Some(When::Ticks(SECONDS * 1_000_000)),
        (Physical::BYTE_ARRAY, _, _) => Some(When::Text),
        _ => None,
    }
}

/// The values of a column in one row group; `None` where missing.
fn values<T: DataType>(
    mut reader: ColumnReaderImpl<T>,
    column: &ColumnDescriptor,
    count: usize,
) -> Result<Vec<Option<T::T>>> {
    let (mut levels, mut found) = (Vec::new(), Vec::new());
    while levels.len().max(found.len()) < count {
        let before = (levels.len(), found.len());
        reader.read_records(count, Some(&mut levels), None, &mut found).map_err(damaged)?;
        if (levels.len(), found.len()) == before {
            break;
        }
    }
    let out: Vec<Option<T::T>> = if column.max_def_level() == 0 {
        found.into_iter().map(Some).collect()
    } else {
        let mut found = found.into_iter();
        levels.iter().map(|level| if *level == column.max_def_level() { found.next() } else { None }).collect()
    };
    if out.len() != count {
        fail!(InvalidData, "column {} ends after {} of {count} values of a row group", column.name(), out.len());
    }
    Ok(out)
}

fn days(
    reader: ColumnReader,
    column: &ColumnDescriptor,
    kind: When,
    count: usize,
    first: usize,
    out: &mut Vec<Date>,
) -> Result<()> {
    let missing = |row: usize| {
        Error::new(Code::InvalidData, format!("row {}, column {}: the date is missing", first + row + 1, column.name()))
    };
    let dated = |row: usize, days: i64| {
        i32::try_from(days).ok().and_then(date_of).ok_or_else(|| {
            let place = format!("row {}, column {}", first + row + 1, column.name());
            Error::new(Code::InvalidData, format!("{place}: found day {days}, beyond the calendar"))
        })
    };
    match (reader, kind) {
        (ColumnReader::Int32ColumnReader(reader), When::Days) => {
            for (row, value) in values(reader, column, count)?.into_iter().enumerate() {
                out.push(dated(row, i64::from(value.ok_or_else(|| missing(row))?))?);
            }
        }
        (ColumnReader::Int64ColumnReader(reader), When::Ticks(ticks)) => {
            for (row, value) in values(reader, column, count)?.into_iter().enumerate() {
                out.push(dated(row, value.ok_or_else(|| missing(row))?.div_euclid(ticks))?);
            }
        }
        (ColumnReader::ByteArrayColumnReader(reader), When::Text) => {
            for (row, value) in values(reader, column, count)?.into_iter().enumerate() {
                let value: ByteArray = value.ok_or_else(|| missing(row))?;
                let text = String::from_utf8_lossy(value.data()).into_owned();
                out.push(calendar_date(&text, (first + row + 1) as u64, column.name())?);
            }
        }
        _ => fail!(InvalidData, "column {} holds no dates", column.name()),
    }
    Ok(())
}

/// Whether a column's type is one that [`numbers`] reads.
fn is_number(column: &ColumnDescriptor) -> bool {
    match column.physical_type() {
        Physical::DOUBLE | Physical::FLOAT => true,
        Physical::INT32 | Physical::INT64 => column.logical_type_ref().is_none(),
        _ => false,
    }
}

fn numbers(reader: ColumnReader, column: &ColumnDescriptor, count: usize, out: &mut Vec<f64>) -> Result<()> {
    fn push<T>(out: &mut Vec<f64>, values: Vec<Option<T>>, convert: impl Fn(T) -> f64) {
        out.extend(values.into_iter().map(|value| value.map_or(f64::NAN, &convert)));
    }
    match reader {
        ColumnReader::DoubleColumnReader(reader) => push(out, values(reader, column, count)?, |value| value),
        ColumnReader::FloatColumnReader(reader) => push(out, values(reader, column, count)?, f64::from),
        ColumnReader::Int32ColumnReader(reader) if column.logical_type_ref().is_none() => {
            push(out, values(reader, column, count)?, f64::from);
        }
        ColumnReader::Int64ColumnReader(reader) if column.logical_type_ref().is_none() => {
            push(out, values(reader, column, count)?, |value| value as f64);
        }
        _ => fail!(
            InvalidData,
            "column {} is of type {}; allowed are numbers (double, float, int32, int64)",
            column.name(),
            column.physical_type()
        ),
    }
    Ok(())
}
