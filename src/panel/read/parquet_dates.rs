//! Dates in Parquet files. A date is the civil date of the exchange: a timestamp with a time zone is the date in that
//! zone, and one without must be midnight, because its date would be a guess.

use ::parquet::basic::{ConvertedType, LogicalType, TimeUnit, Type as Physical};
use ::parquet::column::reader::ColumnReader;
use ::parquet::data_type::{ByteArray, Int96};
use ::parquet::file::metadata::FileMetaData;
use ::parquet::schema::types::ColumnDescriptor;
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde_json::Value as Json;

use super::arrow_schema;
use super::csv_records::calendar_date;
use super::parquet::column_values;
use crate::error::{Code, Error, Result, fail};
use crate::panel::day_number::date_of;

const SECONDS_PER_DAY: i64 = 86_400;
/// The Julian day number of 1970-01-01.
const JULIAN_EPOCH: i64 = 2_440_588;

/// How a column encodes dates.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum DateEncoding {
    /// Days since 1970-01-01.
    Days,
    /// Ticks since 1970-01-01, this many per second.
    Ticks(i64),
    /// A Julian day and the nanoseconds since its midnight.
    Julian,
    /// Text as `YYYY-MM-DD`.
    Text,
}

impl DateEncoding {
    /// How a column encodes dates; `None` if it holds none.
    pub(super) fn of(column: &ColumnDescriptor) -> Option<Self> {
        let logical = column.logical_type_ref();
        match (column.physical_type(), logical, column.converted_type()) {
            (Physical::INT32, Some(LogicalType::Date), _) | (Physical::INT32, None, ConvertedType::DATE) => {
                Some(Self::Days)
            }
            (Physical::INT64, Some(LogicalType::Timestamp(stamp)), _) => Some(Self::Ticks(match stamp.unit {
                TimeUnit::MILLIS => 1_000,
                TimeUnit::MICROS => 1_000_000,
                TimeUnit::NANOS => 1_000_000_000,
            })),
            (Physical::INT64, None, ConvertedType::TIMESTAMP_MILLIS) => Some(Self::Ticks(1_000)),
            (Physical::INT64, None, ConvertedType::TIMESTAMP_MICROS) => Some(Self::Ticks(1_000_000)),
            (Physical::INT96, _, _) => Some(Self::Julian),
            (Physical::BYTE_ARRAY, None | Some(LogicalType::String), ConvertedType::NONE | ConvertedType::UTF8) => {
                Some(Self::Text)
            }
            _ => None,
        }
    }
}

/// What a file says about its columns beside their types.
pub(super) struct ColumnNotes {
    pandas: Json,
    arrow: Option<String>,
}

impl ColumnNotes {
    pub(super) fn of(metadata: &FileMetaData) -> Self {
        let value = |key: &str| {
            let entries = metadata.key_value_metadata()?;
            entries.iter().find(|entry| entry.key == key)?.value.clone()
        };
        let pandas = value("pandas").and_then(|text| serde_json::from_str(&text).ok()).unwrap_or(Json::Null);
        Self { pandas, arrow: value("ARROW:schema") }
    }

    /// Whether pandas wrote the column as an index.
    pub(super) fn is_index(&self, column: &str) -> bool {
        self.pandas["index_columns"].as_array().is_some_and(|names| names.iter().any(|name| name == column))
    }

    fn time_zone(&self, column: &str) -> Option<String> {
        let from_arrow = self.arrow.as_deref().and_then(|schema| arrow_schema::time_zone(schema, column));
        from_arrow.or_else(|| {
            let columns = self.pandas["columns"].as_array()?;
            let found = columns.iter().find(|entry| entry["field_name"] == column || entry["name"] == column)?;
            Some(found["metadata"]["timezone"].as_str()?.to_owned())
        })
    }

    /// The time zone of a column; `None` if the file names none.
    pub(super) fn zone(&self, column: &str) -> Result<Option<TimeZone>> {
        let Some(name) = self.time_zone(column) else { return Ok(None) };
        match TimeZone::get(&name).ok().or_else(|| fixed_offset(&name)) {
            Some(zone) => Ok(Some(zone)),
            None => fail!(
                InvalidData,
                "column {column}: found the time zone '{name}', allowed are the names of the IANA time zone database \
                 and offsets such as +09:00; store dates without a time instead"
            ),
        }
    }
}

/// An offset as `+09:00` or `-0530`.
fn fixed_offset(name: &str) -> Option<TimeZone> {
    let (sign, digits) = match name.split_at_checked(1)? {
        ("+", rest) => (1, rest.replace(':', "")),
        ("-", rest) => (-1, rest.replace(':', "")),
        _ => return None,
    };
    if digits.len() != 4 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let (hours, minutes): (i32, i32) = (digits[..2].parse().ok()?, digits[2..].parse().ok()?);
    Some(TimeZone::fixed(jiff::tz::Offset::from_seconds(sign * (hours * 3600 + minutes * 60)).ok()?))
}

/// The date column of a file.
pub(super) struct DateColumn<'a> {
    pub(super) column: &'a ColumnDescriptor,
    pub(super) encoding: DateEncoding,
    pub(super) zone: Option<TimeZone>,
}

impl DateColumn<'_> {
    /// Appends the dates of a row group, whose first row is row `first` of the file.
    pub(super) fn read(&self, reader: ColumnReader, count: usize, first: usize, out: &mut Vec<Date>) -> Result<()> {
        let column = self.column;
        let missing = |row: usize| {
            let position = format!("row {}, column {}", first + row + 1, column.name());
            Error::new(Code::InvalidData, format!("{position}: the date is missing"))
        };
        match (reader, self.encoding) {
            (ColumnReader::Int32ColumnReader(reader), DateEncoding::Days) => {
                for (row, value) in column_values(reader, column, count)?.into_iter().enumerate() {
                    out.push(self.date(first + row, i64::from(value.ok_or_else(|| missing(row))?))?);
                }
            }
            (ColumnReader::Int64ColumnReader(reader), DateEncoding::Ticks(ticks)) => {
                let nanoseconds = 1_000_000_000 / ticks;
                for (row, value) in column_values(reader, column, count)?.into_iter().enumerate() {
                    let value = value.ok_or_else(|| missing(row))?;
                    let per_day = SECONDS_PER_DAY * ticks;
                    let (day, tick) = (value.div_euclid(per_day), value.rem_euclid(per_day));
                    out.push(self.civil(first + row, day, tick * nanoseconds)?);
                }
            }
            (ColumnReader::Int96ColumnReader(reader), DateEncoding::Julian) => {
                for (row, value) in column_values(reader, column, count)?.into_iter().enumerate() {
                    let value: Int96 = value.ok_or_else(|| missing(row))?;
                    let &[low, high, day] = value.data() else { return Err(missing(row)) };
                    let nanoseconds = (i64::from(high) << 32) | i64::from(low);
                    out.push(self.civil(first + row, i64::from(day) - JULIAN_EPOCH, nanoseconds)?);
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

    /// The date of a day since 1970-01-01.
    fn date(&self, row: usize, day: i64) -> Result<Date> {
        let Some(date) = i32::try_from(day).ok().and_then(date_of) else {
            fail!(InvalidData, "row {}, column {}: found day {day}, beyond the calendar", row + 1, self.column.name());
        };
        Ok(date)
    }

    /// The civil date of an instant, `nanoseconds` after the midnight (UTC) of a day since 1970-01-01.
    fn civil(&self, row: usize, day: i64, nanoseconds: i64) -> Result<Date> {
        let date = self.date(row, day)?;
        let Some(zone) = &self.zone else {
            if nanoseconds == 0 {
                return Ok(date);
            }
            let minutes = nanoseconds / 60_000_000_000;
            fail!(
                InvalidData,
                "row {}, column {}: found {date} {:02}:{:02}, a time of day without a time zone; allowed is midnight; \
                 store dates, or timestamps with the time zone of the exchange",
                row + 1,
                self.column.name(),
                minutes / 60,
                minutes % 60
            );
        };
        let seconds = day * SECONDS_PER_DAY + nanoseconds.div_euclid(1_000_000_000);
        match Timestamp::from_second(seconds) {
            Ok(instant) => Ok(zone.to_datetime(instant).date()),
            Err(_) => {
                fail!(
                    InvalidData,
                    "row {}, column {}: found day {day}, beyond the calendar",
                    row + 1,
                    self.column.name()
                )
            }
        }
    }
}
