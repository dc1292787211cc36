//! Readers of panels and feature planes from CSV and Parquet files.

mod csv;
mod csv_records;
#[cfg(feature = "parquet")]
mod parquet;
#[cfg(feature = "parquet")]
mod parquet_limits;
mod raw;

use std::path::Path;

pub(super) use csv_records::{calendar_date, read_csv};
pub(super) use raw::RawTable;

use crate::error::{Error, Result};

/// Reads a table of values by date and column: Parquet if the file's name ends in `.parquet` or `.pq`, else CSV.
pub(super) fn read_table(path: &Path) -> Result<RawTable> {
    let context = |error: Error| error.context(format!("cannot use {}", path.display()));
    if path.extension().is_some_and(|ending| ending == "parquet" || ending == "pq") {
        #[cfg(feature = "parquet")]
        return parquet::table(path).map_err(context);
        #[cfg(not(feature = "parquet"))]
        crate::error::fail!(
            InvalidData,
            "cannot use {}: this build was made without Parquet support; convert the file to CSV",
            path.display()
        );
    }
    let bytes = std::fs::read(path).map_err(|error| Error::io("read", path, &error))?;
    csv::table(&bytes).map_err(context)
}
