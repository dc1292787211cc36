//! What a data file is, by its first bytes: Parquet, CSV, gzipped CSV, or a kind that is named and refused.

use std::io::Read as _;
use std::path::Path;

use flate2::read::MultiGzDecoder;

use crate::error::{Code, Error, Result, fail};

/// Bytes of an unpacked file at most, because a small damaged one may unpack to any size.
const MAX_UNPACKED: u64 = 1 << 32;

/// First bytes of files that are often given instead of CSV, and what to do with such a file.
const OTHERS: [(&[u8], &str); 11] = [
    (b"PK\x03\x04", "an Excel workbook (.xlsx) or another ZIP archive; save the sheet as CSV (UTF-8)"),
    (b"\xd0\xcf\x11\xe0", "an Excel workbook (.xls); save the sheet as CSV (UTF-8)"),
    (b"ARROW1", "an Arrow file (Feather version 2); write it as Parquet or CSV"),
    (b"FEA1", "a Feather file (version 1); write it as Parquet or CSV"),
    (b"\xff\xff\xff\xff", "an Arrow stream; write it as Parquet or CSV"),
    (b"\xff\xfe", "text in UTF-16; save it as UTF-8"),
    (b"\xfe\xff", "text in UTF-16; save it as UTF-8"),
    (b"\x89HDF", "an HDF5 file; write it as Parquet or CSV"),
    (b"\x28\xb5\x2f\xfd", "compressed with zstd; unpack it, or compress it with gzip"),
    (b"BZh", "compressed with bzip2; unpack it, or compress it with gzip"),
    (b"\xfd7zXZ", "compressed with xz; unpack it, or compress it with gzip"),
];

/// Whether the content or the name is that of a Parquet file.
pub(super) fn is_parquet(bytes: &[u8], path: &Path) -> bool {
    let ending = path.extension().map(std::ffi::OsStr::to_ascii_lowercase);
    bytes.starts_with(b"PAR1") || ending.is_some_and(|ending| ending == "parquet" || ending == "pq")
}

/// The bytes of a text file, unpacked if it is gzipped.
///
/// # Errors
/// `InvalidData` that says what the file is if it is no text, or that it cannot be unpacked.
pub(in crate::panel) fn text_bytes(bytes: Vec<u8>) -> Result<Vec<u8>> {
    let bytes = if bytes.starts_with(b"\x1f\x8b") { unpacked(&bytes)? } else { bytes };
    for (start, what) in OTHERS {
        if bytes.starts_with(start) {
            fail!(InvalidData, "the file is {what}");
        }
    }
    Ok(bytes)
}

fn unpacked(bytes: &[u8]) -> Result<Vec<u8>> {
    let mut out = Vec::new();
    MultiGzDecoder::new(bytes).take(MAX_UNPACKED + 1).read_to_end(&mut out).map_err(|error| {
        Error::new(Code::InvalidData, format!("the file is gzipped and cannot be unpacked: {error}"))
    })?;
    if out.len() as u64 > MAX_UNPACKED {
        fail!(InvalidData, "the file unpacks to more than {MAX_UNPACKED} bytes; write it as Parquet");
    }
    Ok(out)
}
