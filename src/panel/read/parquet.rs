//! Panels and feature planes from Parquet files: a date column and one numeric column per asset. The date column is the
//! first column if that holds dates, else the only column that does, because pandas writes a date index as the last
//! one.

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

/// Files that declare more cells are refused, because a damaged file may declare any number.
const MAX_CELLS: usize = 1 << 33;
/// Days from the year -9999 to 9999: dates increase from row to row, so no file has more rows.
const MAX_ROWS: usize = 7_304_484;

/// How a column encodes dates.
#[derive(Clone, Copy, PartialEq, Eq)]
enum DateEncoding {
    /// Days since 1970-01-01.
    Days,
    /// Ticks since 1970-01-01, this many per day.
    Ticks(i64),
    /// Text as `YYYY-MM-DD`.
    Text,
}

/// Reads a Parquet file into a table.
pub(in crate::panel) fn table(path: &Path) -> Result<RawTable> {
    let bytes = std::fs::read(path).map_err(|error| Error::io("read", path, &error))?;
    parquet_limits::footer(&bytes)?;
    let file = File::open(path).map_err(|error| Error::io("read", path, &error))?;
    // On a damaged file the reader may panic instead of returning an error.
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| read(file, &bytes)));
    outcome.unwrap_or_else(|_| fail!(InvalidData, "the Parquet file is damaged and cannot be decoded"))
}

#[allow(clippy::needless_pass_by_value)] // the signature that map_err takes
fn damaged(error: ParquetError) -> Error {
    Error::new(Code::InvalidData, format!("the file is not a readable Parquet file: {error}"))
}

fn read(file: File, bytes: &[u8]) -> Result<RawTable> {
    let reader = SerializedFileReader::new(file).map_err(damaged)?;
    let schema = reader.metadata().file_metadata().schema_descr();
    let columns = schema.columns();
    if columns.iter().any(|column| column.max_rep_level() > 0 || column.path().parts().len() > 1) {
        fail!(InvalidData, "the file has nested columns; allowed are a date column and one numeric column per asset");
    }
    let date_columns: Vec<usize> =
        (0..columns.len()).filter(|&column| date_encoding(&columns[column]).is_some()).collect();
    let date_column = match date_columns.as_slice() {
        [0, ..] => 0,
        [only] => *only,
        [] => fail!(InvalidData, "the file has no date column (date, timestamp or text YYYY-MM-DD)"),
        _ => fail!(
            InvalidData,
            "the file has {} date columns, none of them the first column; allowed is one date column",
            date_columns.len()
        ),
    };
    let encoding = date_encoding(&columns[date_column]).unwrap_or(DateEncoding::Days);
    let assets: Vec<usize> = (0..columns.len()).filter(|&column| column != date_column).collect();
    let names: Vec<String> = assets.iter().map(|&column| columns[column].name().to_owned()).collect();
    let rows = usize::try_from(reader.metadata().file_metadata().num_rows()).unwrap_or(usize::MAX);
    if rows > MAX_ROWS {
        fail!(InvalidData, "the file declares {rows} rows; the calendar has {MAX_ROWS} days");
    }
    if rows.checked_mul(assets.len().max(1)).is_none_or(|cells| cells > MAX_CELLS) {
        fail!(InvalidData, "the file declares {rows} rows of {} columns, more than can be read", columns.len());
    }
    let mut dates: Vec<Date> = Vec::new();
    let mut by_asset: Vec<Vec<f64>> = vec![Vec::new(); assets.len()];
    for group in 0..reader.num_row_groups() {
        let group = reader.get_row_group(group).map_err(damaged)?;
        let (count, first) = (usize::try_from(group.metadata().num_rows()).unwrap_or(usize::MAX), dates.len());
        // A row group must not allocate memory for more rows than the whole file declares.
        if count > rows - first.min(rows) {
            fail!(
                InvalidData,
                "the file declares {rows} rows, and {count} of them in a row group after the first {first} rows"
            );
        }
        for column in
            std::iter::once(date_column).chain(assets.iter().copied().filter(|&asset| is_numeric(&columns[asset])))
        {
            // byte_range() would panic on a negative offset or length.
            let chunk = group.metadata().column(column);
            let start = chunk.dictionary_page_offset().unwrap_or_else(|| chunk.data_page_offset());
            let (Ok(start), Ok(length)) = (usize::try_from(start), usize::try_from(chunk.compressed_size())) else {
                fail!(
                    InvalidData,
                    "the Parquet file is damaged: column {} has a negative offset or size",
                    columns[column].name()
                );
            };
            parquet_limits::pages(bytes, start..start.saturating_add(length), rows)?;
        }
        let reader = group.get_column_reader(date_column).map_err(damaged)?;
        read_dates(reader, &columns[date_column], encoding, count, first, &mut dates)?;
        for (&asset, values) in assets.iter().zip(&mut by_asset) {
            read_values(group.get_column_reader(asset).map_err(damaged)?, &columns[asset], count, values)?;
        }
    }
    let values = (0..dates.len()).flat_map(|row| by_asset.iter().map(move |values| values[row])).collect();
    Ok(RawTable { dates, names, values, lines: None })
}

/// How a column encodes dates; `None` if it holds none.
fn date_encoding(column: &ColumnDescriptor) -> Option<DateEncoding> {
    const SECONDS: i64 = 86_400;
    let logical = column.logical_type_ref();
    match (column.physical_type(), logical, column.converted_type()) {
        (Physical::INT32, Some(LogicalType::Date), _) | (Physical::INT32, None, ConvertedType::DATE) => {
            Some(DateEncoding::Days)
        }
        (Physical::INT64, Some(LogicalType::Timestamp(stamp)), _) => Some(DateEncoding::Ticks(match stamp.unit {
            TimeUnit::MILLIS => SECONDS * 1_000,
            TimeUnit::MICROS => SECONDS * 1_000_000,
            TimeUnit::NANOS => SECONDS * 1_000_000_000,
        })),
        (Physical::INT64, None, ConvertedType::TIMESTAMP_MILLIS) => Some(DateEncoding::Ticks(SECONDS * 1_000)),
        (Physical::INT64, None, ConvertedType::TIMESTAMP_MICROS) => Some(DateEncoding::Ticks(SECONDS * 1_000_000)),
        (Physical::BYTE_ARRAY, _, _) => Some(DateEncoding::Text),
        _ => None,
    }
}

/// The values of a column in one row group; `None` where missing.
fn column_values<T: DataType>(
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

/// Appends the dates of a row group, whose first row is row `first` of the file.
fn read_dates(
    reader: ColumnReader,
    column: &ColumnDescriptor,
    encoding: DateEncoding,
    count: usize,
    first: usize,
    out: &mut Vec<Date>,
) -> Result<()> {
    let missing = |row: usize| {
        Error::new(Code::InvalidData, format!("row {}, column {}: the date is missing", first + row + 1, column.name()))
    };
    let date = |row: usize, days: i64| {
        i32::try_from(days).ok().and_then(date_of).ok_or_else(|| {
            let context = format!("row {}, column {}", first + row + 1, column.name());
            Error::new(Code::InvalidData, format!("{context}: found day {days}, beyond the calendar"))
        })
    };
    match (reader, encoding) {
        (ColumnReader::Int32ColumnReader(reader), DateEncoding::Days) => {
            for (row, value) in column_values(reader, column, count)?.into_iter().enumerate() {
                out.push(date(row, i64::from(value.ok_or_else(|| missing(row))?))?);
            }
        }
        (ColumnReader::Int64ColumnReader(reader), DateEncoding::Ticks(ticks)) => {
            for (row, value) in column_values(reader, column, count)?.into_iter().enumerate() {
                out.push(date(row, value.ok_or_else(|| missing(row))?.div_euclid(ticks))?);
            }
        }
        (ColumnReader::ByteArrayColumnReader(reader), DateEncoding::Text) => {
            for (row, value) in column_values(reader, column, count)?.into_iter().enumerate() {
                let value: ByteArray = value.ok_or_else(|| missing(row))?;
                let text = String::from_utf8_lossy(value.data()).into_owned();
                out.push(calendar_date(&text, (first + row + 1) as u64, column.name())?);
            }
        }
        _ => fail!(InvalidData, "column {} holds no dates", column.name()),
    }
    Ok(())
}

/// Whether [`read_values`] reads columns of this type.
fn is_numeric(column: &ColumnDescriptor) -> bool {
    match column.physical_type() {
        Physical::DOUBLE | Physical::FLOAT => true,
        Physical::INT32 | Physical::INT64 => column.logical_type_ref().is_none(),
        _ => false,
    }
}

/// Appends the values of a row group, NaN where missing.
fn read_values(reader: ColumnReader, column: &ColumnDescriptor, count: usize, out: &mut Vec<f64>) -> Result<()> {
    fn push<T>(out: &mut Vec<f64>, values: Vec<Option<T>>, convert: impl Fn(T) -> f64) {
        out.extend(values.into_iter().map(|value| value.map_or(f64::NAN, &convert)));
    }
    match reader {
        ColumnReader::DoubleColumnReader(reader) => push(out, column_values(reader, column, count)?, |value| value),
        ColumnReader::FloatColumnReader(reader) => push(out, column_values(reader, column, count)?, f64::from),
        ColumnReader::Int32ColumnReader(reader) if column.logical_type_ref().is_none() => {
            push(out, column_values(reader, column, count)?, f64::from);
        }
        ColumnReader::Int64ColumnReader(reader) if column.logical_type_ref().is_none() => {
            push(out, column_values(reader, column, count)?, |value| value as f64);
        }
        _ => fail!(
            InvalidData,
            "column {} is of type {}; allowed are numeric types (double, float, int32, int64)",
            column.name(),
            column.physical_type()
        ),
    }
    Ok(())
}
