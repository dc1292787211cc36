//! Panels and feature planes from Parquet files: a date column and one numeric column per asset. The date column is the
//! first column if that holds dates, else the only column that does, because pandas writes a date index as the last
//! one.

use ::bytes::Bytes;
use ::parquet::basic::{ConvertedType, LogicalType, Type as Physical};
use ::parquet::column::reader::{ColumnReader, ColumnReaderImpl};
use ::parquet::data_type::DataType;
use ::parquet::errors::ParquetError;
use ::parquet::file::reader::{FileReader, SerializedFileReader};
use ::parquet::schema::types::{ColumnDescPtr, ColumnDescriptor};
use jiff::civil::Date;

use super::column_names;
use super::parquet_dates::{ColumnNotes, DateColumn, DateEncoding};
use super::parquet_limits;
use super::raw::RawTable;
use crate::error::{Code, Error, Result, fail};

/// Files that declare more cells are refused, because a damaged file may declare any number.
const MAX_CELLS: usize = 1 << 33;
/// Days from the year -9999 to 9999: dates increase from row to row, so no file has more rows.
const MAX_ROWS: usize = 7_304_484;

/// Reads a Parquet file into a table.
pub(in crate::panel) fn table(bytes: Vec<u8>) -> Result<RawTable> {
    parquet_limits::footer(&bytes)?;
    let bytes = Bytes::from(bytes);
    // On a damaged file the reader may panic instead of returning an error.
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| read(&bytes)));
    outcome.unwrap_or_else(|_| fail!(InvalidData, "the Parquet file is damaged and cannot be decoded"))
}

#[allow(clippy::needless_pass_by_value)] // the signature that map_err takes
fn damaged(error: ParquetError) -> Error {
    Error::new(Code::InvalidData, format!("the file is not a readable Parquet file: {error}"))
}

fn read(bytes: &Bytes) -> Result<RawTable> {
    let reader = SerializedFileReader::new(bytes.clone()).map_err(damaged)?;
    let schema = reader.metadata().file_metadata().schema_descr();
    let columns = schema.columns();
    if columns.iter().any(|column| column.max_rep_level() > 0 || column.path().parts().len() > 1) {
        fail!(InvalidData, "the file has nested columns; allowed are a date column and one numeric column per asset");
    }
    let notes = ColumnNotes::of(reader.metadata().file_metadata());
    let date_column = date_column(columns, &notes)?;
    let dated = DateColumn {
        column: &columns[date_column],
        encoding: DateEncoding::of(&columns[date_column]).unwrap_or(DateEncoding::Days),
        zone: notes.zone(columns[date_column].name())?,
    };
    let assets: Vec<usize> =
        (0..columns.len()).filter(|&column| column != date_column && !notes.is_index(columns[column].name())).collect();
    let names: Vec<String> = assets.iter().map(|&column| columns[column].name().to_owned()).collect();
    column_names::check(&names)?;
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
        for column in std::iter::once(date_column)
            .chain(assets.iter().copied().filter(|&asset| Number::of(&columns[asset]).is_some()))
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
        dated.read(reader, count, first, &mut dates)?;
        for (&asset, values) in assets.iter().zip(&mut by_asset) {
            read_values(group.get_column_reader(asset).map_err(damaged)?, &columns[asset], count, values)?;
        }
    }
    let values = (0..dates.len()).flat_map(|row| by_asset.iter().map(move |values| values[row])).collect();
    let single = assets.iter().map(|&asset| columns[asset].physical_type() == Physical::FLOAT).collect();
    Ok(RawTable { dates, names, values, lines: None, decimals: None, single_precision: Some(single), layout: None })
}

/// The index of the date column: the only one among those that pandas wrote as index, else the first column if it
/// holds dates, else the only one that does.
fn date_column(columns: &[ColumnDescPtr], notes: &ColumnNotes) -> Result<usize> {
    let encoded: Vec<(usize, DateEncoding)> =
        columns.iter().enumerate().filter_map(|(index, column)| Some((index, DateEncoding::of(column)?))).collect();
    let in_index = |index: usize| notes.is_index(columns[index].name());
    let select = |choose: &dyn Fn(usize, DateEncoding) -> bool| -> Vec<usize> {
        encoded.iter().filter(|&&(index, encoding)| choose(index, encoding)).map(|&(index, _)| index).collect()
    };
    // An index of text may hold names; it is taken for dates only where no other column can.
    if let [only] = select(&|index, encoding| in_index(index) && encoding != DateEncoding::Text)[..] {
        return Ok(only);
    }
    let dated = select(&|index, _| !in_index(index));
    match dated.as_slice() {
        [0, ..] => Ok(0),
        [only] => Ok(*only),
        [] => match select(&|index, _| in_index(index))[..] {
            [only] => Ok(only),
            _ => fail!(InvalidData, "the file has no date column (date, timestamp or text YYYY-MM-DD)"),
        },
        _ => fail!(
            InvalidData,
            "the file has {} date columns, none of them the first column; allowed is one date column",
            dated.len()
        ),
    }
}

/// The values of a column in one row group; `None` where missing.
pub(super) fn column_values<T: DataType>(
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

/// How the numbers of a column are stored.
#[derive(Clone, Copy)]
enum Number {
    Float,
    Half,
    Signed,
    Unsigned,
    /// Integers in units of ten to the minus this.
    Decimal(i32),
    /// A column without values.
    Null,
}

impl Number {
    /// `None` if the column holds no numbers.
    fn of(column: &ColumnDescriptor) -> Option<Self> {
        use ConvertedType as C;
        let physical = column.physical_type();
        match (physical, column.logical_type_ref(), column.converted_type()) {
            (_, Some(LogicalType::Unknown), _) => Some(Self::Null),
            (Physical::DOUBLE | Physical::FLOAT, _, _) => Some(Self::Float),
            (Physical::FIXED_LEN_BYTE_ARRAY, Some(LogicalType::Float16), _) => Some(Self::Half),
            (_, Some(LogicalType::Decimal(_)), _) | (_, None, C::DECIMAL) => {
                (physical != Physical::INT96).then_some(Self::Decimal(column.type_scale()))
            }
            (Physical::INT32 | Physical::INT64, Some(LogicalType::Integer(integer)), _) => {
                Some(if integer.is_signed { Self::Signed } else { Self::Unsigned })
            }
            (Physical::INT32 | Physical::INT64, None, C::NONE | C::INT_8 | C::INT_16 | C::INT_32 | C::INT_64) => {
                Some(Self::Signed)
            }
            (Physical::INT32 | Physical::INT64, None, C::UINT_8 | C::UINT_16 | C::UINT_32 | C::UINT_64) => {
                Some(Self::Unsigned)
            }
            _ => None,
        }
    }
}

/// Appends the values of a row group, NaN where missing.
fn read_values(reader: ColumnReader, column: &ColumnDescriptor, count: usize, out: &mut Vec<f64>) -> Result<()> {
    fn push<T>(out: &mut Vec<f64>, values: Vec<Option<T>>, convert: impl Fn(T) -> f64) {
        out.extend(values.into_iter().map(|value| value.map_or(f64::NAN, &convert)));
    }
    let Some(number) = Number::of(column) else {
        let logical = column.logical_type_ref().map_or(String::new(), |logical| format!(" ({logical:?})"));
        fail!(
            InvalidData,
            "column {} is of type {}{logical}; allowed are numeric types (floating point, integer, decimal); write it \
             as double, or leave it out",
            column.name(),
            column.physical_type()
        );
    };
    match (reader, number) {
        (ColumnReader::DoubleColumnReader(reader), _) => {
            push(out, column_values(reader, column, count)?, |value| value);
        }
        (ColumnReader::FloatColumnReader(reader), _) => push(out, column_values(reader, column, count)?, f64::from),
        (ColumnReader::Int32ColumnReader(reader), number) => {
            push(out, column_values(reader, column, count)?, |value| match number {
                Number::Unsigned => f64::from(value.cast_unsigned()),
                Number::Decimal(scale) => decimal(value.into(), scale),
                _ => f64::from(value),
            });
        }
        (ColumnReader::Int64ColumnReader(reader), number) => {
            push(out, column_values(reader, column, count)?, |value| match number {
                Number::Unsigned => value.cast_unsigned() as f64,
                Number::Decimal(scale) => decimal(value.into(), scale),
                _ => value as f64,
            });
        }
        (ColumnReader::FixedLenByteArrayColumnReader(reader), Number::Half) => {
            push(out, column_values(reader, column, count)?, |value| {
                <[u8; 2]>::try_from(value.data()).map_or(f64::NAN, |bytes| half::f16::from_le_bytes(bytes).to_f64())
            });
        }
        (ColumnReader::FixedLenByteArrayColumnReader(reader), Number::Decimal(scale)) => {
            push(out, column_values(reader, column, count)?, |value| big_decimal(value.data(), scale));
        }
        (ColumnReader::ByteArrayColumnReader(reader), Number::Decimal(scale)) => {
            push(out, column_values(reader, column, count)?, |value| big_decimal(value.data(), scale));
        }
        (ColumnReader::BoolColumnReader(reader), Number::Null) => {
            push(out, column_values(reader, column, count)?, |_| f64::NAN);
        }
        (ColumnReader::ByteArrayColumnReader(reader), Number::Null) => {
            push(out, column_values(reader, column, count)?, |_| f64::NAN);
        }
        _ => fail!(InvalidData, "column {} cannot be read; write it as double", column.name()),
    }
    Ok(())
}

/// The double nearest to `unscaled` times ten to the minus `scale`.
fn decimal(unscaled: i128, scale: i32) -> f64 {
    // Parsing rounds once; dividing would round twice where the integer has more than 53 bits.
    format!("{unscaled}e{}", -i64::from(scale)).parse().unwrap_or(f64::NAN)
}

/// A decimal of up to 16 bytes, two's complement, highest byte first. A longer one is outside what an integer holds,
/// and infinite here, which a panel refuses.
fn big_decimal(bytes: &[u8], scale: i32) -> f64 {
    let Some(&first) = bytes.first() else { return f64::NAN };
    if bytes.len() > 16 {
        return f64::INFINITY;
    }
    let start = if first >= 0x80 { -1_i128 } else { 0 };
    decimal(bytes.iter().fold(start, |value, byte| (value << 8) | i128::from(*byte)), scale)
}
