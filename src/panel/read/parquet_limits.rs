//! Checks of the sizes that a Parquet file declares, before its reader allocates memory for them. The reader trusts the
//! counts in footer and page headers, so a damaged file of a kilobyte could make it request gigabytes, and a failed
//! allocation aborts the process. Footer and page headers are Thrift structs in the compact protocol
//! (<https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md>).

use std::ops::Range;

use crate::error::{Result, fail};

/// Depth of nested structs at most; the format has six levels.
const MAX_DEPTH: usize = 16;
/// Bytes of a page at most: per value, with its levels and the length of a text, and for the page itself. A number
/// takes 8 bytes and a date as text 14. The reader checks pages within this limit itself.
const MAX_BYTES: (u64, u64) = (64, 1 << 16);

/// Checks the footer of a whole file: no list, text or schema node declares more elements than the footer has bytes.
///
/// # Errors
/// `InvalidData` if one does, or if there is no footer.
pub(super) fn footer(file: &[u8]) -> Result<()> {
    let frame = file.len().checked_sub(8).filter(|_| file.ends_with(b"PAR1"));
    let length = frame.and_then(|end| Some(u32::from_le_bytes(file[end..end + 4].try_into().ok()?) as usize));
    let Some((end, start)) = frame.zip(length).and_then(|(end, length)| Some((end, end.checked_sub(length)?))) else {
        fail!(
            InvalidData,
            "the file is not a Parquet file: it does not end with a footer, the footer's length and PAR1"
        );
    };
    let footer = &file[start..end];
    // Field 2 of the file is the list of schema elements, field 5 of an element the number of its children.
    let mut is_valid = true;
    let visited = Visitor { bytes: footer, offset: 0 }.visit(STRUCT, &mut Vec::new(), &mut |path, integer| {
        is_valid &= path != [2, 5] || (0..=footer.len() as i64).contains(&integer);
    });
    if visited.is_none() || !is_valid {
        fail!(InvalidData, "the Parquet file is damaged: its footer declares more than it holds");
    }
    Ok(())
}

/// Checks the page headers in `chunk`, the bytes of a column in a row group: no page declares more values than the file
/// has `rows`, or more bytes than its values can need.
///
/// # Errors
/// `InvalidData` if one does, or if a header or page reaches beyond the chunk.
pub(super) fn pages(file: &[u8], chunk: Range<usize>, rows: usize) -> Result<()> {
    let Some(bytes) = file.get(chunk) else {
        fail!(InvalidData, "the Parquet file is damaged: a column reaches beyond the end of the file");
    };
    let mut visitor = Visitor { bytes, offset: 0 };
    while visitor.offset < bytes.len() {
        let (mut size, mut compressed, mut count) = (0, 0, 0);
        let visited = visitor.visit(STRUCT, &mut Vec::new(), &mut |path, integer| match path {
            [2] => size = integer,
            [3] => compressed = integer,
            // The number of values of a data page, a dictionary page or a data page of version 2.
            [5 | 7 | 8, 1] => count = integer,
            _ => (),
        });
        let declared = (u64::try_from(size), usize::try_from(compressed), u64::try_from(count));
        let (Some(()), (Ok(size), Ok(compressed), Ok(count))) = (visited, declared) else {
            fail!(InvalidData, "the Parquet file is damaged: a page header cannot be read");
        };
        if count > rows as u64 || size > MAX_BYTES.0 * count + MAX_BYTES.1 {
            fail!(InvalidData, "a page declares {count} values in {size} bytes, more than {rows} rows can need");
        }
        visitor.offset = visitor.offset.saturating_add(compressed);
    }
    Ok(())
}

const STRUCT: u8 = 12;

/// Visits Thrift values without allocating memory for them.
struct Visitor<'a> {
    bytes: &'a [u8],
    offset: usize,
}

impl Visitor<'_> {
    /// Visits a value of type `kind` and calls `on_integer` with every integer in it and the field ids that lead to it;
    /// the elements of a list have the path of the list. `None` if the bytes end, nest too deeply or have an unknown
    /// type.
    fn visit(&mut self, kind: u8, path: &mut Vec<i64>, on_integer: &mut dyn FnMut(&[i64], i64)) -> Option<()> {
        match kind {
            // The value of a boolean field is its type.
            1 | 2 => Some(()),
            3 => self.skip(1),
            4..=6 => {
                let integer = self.zigzag()?;
                on_integer(path, integer);
                Some(())
            }
            7 => self.skip(8),
            8 => {
                let length = self.varint()?;
                self.skip(length)
            }
            9 | 10 => {
                let head = self.byte()?;
                let count = if head >> 4 == 15 { self.varint()? } else { u64::from(head >> 4) };
                self.elements(count, &[head & 15], path, on_integer)
            }
            11 => match self.varint()? {
                0 => Some(()),
                count => {
                    let kinds = self.byte()?;
                    self.elements(count, &[kinds >> 4, kinds & 15], path, on_integer)
                }
            },
            STRUCT if path.len() < MAX_DEPTH => {
                let mut field = 0_i64;
                loop {
                    let head = self.byte()?;
                    if head == 0 {
                        return Some(());
                    }
                    field = if head >> 4 == 0 { self.zigzag()? } else { field.checked_add(i64::from(head >> 4))? };
                    path.push(field);
                    self.visit(head & 15, path, on_integer)?;
                    path.pop();
                }
            }
            13 => self.skip(16),
            _ => None,
        }
    }

    /// Visits the elements of a list or map. Each takes at least a byte, so there cannot be more than bytes left.
    fn elements(
        &mut self,
        count: u64,
        kinds: &[u8],
        path: &mut Vec<i64>,
        on_integer: &mut dyn FnMut(&[i64], i64),
    ) -> Option<()> {
        if count > (self.bytes.len() - self.offset) as u64 {
            return None;
        }
        for _ in 0..count {
            for &kind in kinds {
                // A list in a list counts as a level, as a struct in a struct does.
                if path.len() >= MAX_DEPTH {
                    return None;
                }
                match kind {
                    1 | 2 => self.skip(1)?,
                    9..=11 => {
                        path.push(0);
                        self.visit(kind, path, on_integer)?;
                        path.pop();
                    }
                    _ => self.visit(kind, path, on_integer)?,
                }
            }
        }
        Some(())
    }

    fn byte(&mut self) -> Option<u8> {
        let byte = *self.bytes.get(self.offset)?;
        self.offset += 1;
        Some(byte)
    }

    fn skip(&mut self, count: u64) -> Option<()> {
        let offset = self.offset.checked_add(usize::try_from(count).ok()?)?;
        self.offset = (offset <= self.bytes.len()).then_some(offset)?;
        Some(())
    }

    /// A signed integer in zigzag encoding.
    fn zigzag(&mut self) -> Option<i64> {
        let code = self.varint()?;
        Some((code >> 1) as i64 ^ -((code & 1) as i64))
    }

    /// An unsigned integer, seven bits per byte, lowest bits first.
    fn varint(&mut self) -> Option<u64> {
        let mut out = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            out |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Some(out);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::{footer, pages};

    fn file(name: &str) -> Vec<u8> {
        std::fs::read(format!("tests/golden/panel_{name}.parquet")).unwrap()
    }

    #[test]
    fn valid_files_pass() {
        for name in ["pandas", "groups", "text", "undated", "flags", "nested"] {
            footer(&file(name)).unwrap();
        }
        assert!(footer(b"PAR1").is_err() && footer(b"\xff\xff\xff\xffPAR1").is_err());
    }

    #[test]
    fn a_schema_that_declares_more_children_than_the_footer_has_bytes_is_refused() {
        // A footer: version 1, then a schema of one element with this many children in field 5; 0 ends each struct.
        let file_with = |children: &[u8]| {
            let mut bytes = vec![0x15, 2, 0x19, 0x1c, 0x55];
            bytes.extend_from_slice(children);
            bytes.extend_from_slice(&[0, 0]);
            let length = bytes.len() as u32;
            bytes.extend_from_slice(&length.to_le_bytes());
            bytes.extend_from_slice(b"PAR1");
            bytes
        };
        footer(&file_with(&[4])).unwrap();
        assert!(footer(&file_with(&[0x80, 0x80, 0x80, 0x80, 8])).is_err(), "2^30 children");
        assert!(footer(&file_with(&[3])).is_err(), "-2 children");
    }

    #[test]
    fn a_page_that_declares_more_than_the_rows_can_need_is_refused() {
        // Type 0, this size, 2 bytes compressed, a data page (field 5) of this many values; then the 2 bytes.
        let page = |values: u8, size: &[u8]| {
            let mut bytes = vec![0x15, 0, 0x15];
            bytes.extend_from_slice(size);
            bytes.extend_from_slice(&[0x15, 4, 0x2c, 0x15, values * 2, 0, 0, 7, 7]);
            bytes
        };
        let good = page(3, &[50]);
        pages(&good, 0..good.len(), 3).unwrap();
        assert!(pages(&good, 0..good.len(), 2).is_err());
        assert!(pages(&good, 0..good.len() + 1, 3).is_err());
        assert!(pages(&good, 0..good.len() - 4, 3).is_err());
        let large = page(3, &[0xfe, 0xff, 0xff, 0xff, 0x0f]);
        assert!(pages(&large, 0..large.len(), 3).is_err());
    }
}
