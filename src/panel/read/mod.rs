//! Readers of panels and feature planes from CSV and Parquet files.

#[cfg(feature = "parquet")]
mod arrow_schema;
mod column_names;
mod csv;
mod csv_records;
mod file_kind;
#[cfg(feature = "parquet")]
mod parquet;
#[cfg(feature = "parquet")]
mod parquet_dates;
#[cfg(feature = "parquet")]
mod parquet_limits;
mod raw;

use std::path::Path;

pub(super) use csv_records::{calendar_date, read_csv, value as number};
pub(super) use file_kind::text_bytes;
pub(super) use raw::RawTable;

use crate::error::{Error, Result};

/// Reads a table of values by date and column from a Parquet file, or a CSV file, gzipped or not. The file is read once:
/// what is checked is what is used.
pub(super) fn read_table(path: &Path) -> Result<RawTable> {
    let bytes = std::fs::read(path).map_err(|error| Error::io("read", path, &error))?;
    table(bytes, path).map_err(|error| error.context(format!("cannot use {}", path.display())))
}

fn table(bytes: Vec<u8>, path: &Path) -> Result<RawTable> {
    if file_kind::is_parquet(&bytes, path) {
        #[cfg(feature = "parquet")]
        return parquet::table(bytes);
        #[cfg(not(feature = "parquet"))]
        crate::error::fail!(InvalidData, "this build was made without Parquet support; convert the file to CSV");
    }
    csv::table(&file_kind::text_bytes(bytes)?)
}
