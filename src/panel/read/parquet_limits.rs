//! What a Parquet file claims, checked before its reader makes room for it. The reader takes counts from the file's
//! footer and page headers at their word; a damaged one of a kilobyte would have it ask for gigabytes, and where those
//! are refused the whole process ends. Both are Thrift structs in the compact protocol
//! (<https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md>).

use std::ops::Range;

use crate::error::{Result, fail};

/// Structs in structs: the format has six.
const DEEPEST: usize = 16;
/// Bytes of a page for each of its values, levels and the length of a text included, and for the page itself: a number
/// takes 8 and a date as text 14. A page of which no more than this is true is left to the reader.
const MOST_BYTES: (u64, u64) = (64, 1 << 16);

/// Checks the footer of a whole file: no list, text or node of the schema claims more parts than the footer has bytes.
///
/// # Errors
/// `InvalidData` where it does, or where there is no footer.
pub(super) fn footer(file: &[u8]) -> Result<()> {
    let frame = file.len().checked_sub(8).filter(|_| file.ends_with(b"PAR1"));
    let length = frame.and_then(|end| Some(u32::from_le_bytes(file[end..end + 4].try_into().ok()?) as usize));
    let Some((end, start)) = frame.zip(length).and_then(|(end, length)| Some((end, end.checked_sub(length)?))) else {
        fail!(InvalidData, "it is no Parquet file: it does not end in a footer, its length and PAR1");
    };
    let footer = &file[start..end];
    // Field 2 of the file is the list of schema elements, field 5 of those the number of children.
    let mut fits = true;
    let walked = Walker { bytes: footer, at: 0 }.walk(STRUCT, &mut Vec::new(), &mut |path, number| {
        fits &= path != [2, 5] || (0..=footer.len() as i64).contains(&number);
    });
    if walked.is_none() || !fits {
        fail!(InvalidData, "it is a damaged Parquet file: its footer claims more than it holds");
    }
    Ok(())
}

/// Checks the headers of the pages in `chunk`, a column's bytes in a row group: none holds more values than the file has
/// `rows`, or more bytes than its values can need.
///
/// # Errors
/// `InvalidData` where one does, or where a header or page reaches beyond the chunk.
pub(super) fn pages(file: &[u8], chunk: Range<usize>, rows: usize) -> Result<()> {
    let Some(bytes) = file.get(chunk) else {
        fail!(InvalidData, "it is a damaged Parquet file: a column is said to lie beyond its end");
    };
    let mut walker = Walker { bytes, at: 0 };
    while walker.at < bytes.len() {
        let (mut whole, mut packed, mut count) = (0, 0, 0);
        let walked = walker.walk(STRUCT, &mut Vec::new(), &mut |path, number| match path {
            [2] => whole = number,
            [3] => packed = number,
            // The number of values of a data page, a dictionary, a data page of version 2.
            [5 | 7 | 8, 1] => count = number,
            _ => (),
        });
        let claims = (u64::try_from(whole), usize::try_from(packed), u64::try_from(count));
        let (Some(()), (Ok(whole), Ok(packed), Ok(count))) = (walked, claims) else {
            fail!(InvalidData, "it is a damaged Parquet file: a page has no header that can be read");
        };
        if count > rows as u64 || whole > MOST_BYTES.0 * count + MOST_BYTES.1 {
            fail!(InvalidData, "a page claims {count} values in {whole} bytes, more than {rows} rows can need");
        }
        walker.at = walker.at.saturating_add(packed);
    }
    Ok(())
}

const STRUCT: u8 = 12;

/// Goes through Thrift values without making room for any.
struct Walker<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Walker<'_> {
    /// Goes through a value of a type; tells each whole number with the numbers of the fields that lead to it, those of a
    /// list's elements being the list's. `None` where the bytes end, nest too deeply or are of no known type.
    fn walk(&mut self, kind: u8, path: &mut Vec<i64>, tell: &mut dyn FnMut(&[i64], i64)) -> Option<()> {
        match kind {
            // As a field's a truth value lies in its type.
            1 | 2 => Some(()),
            3 => self.skip(1),
            4..=6 => {
                let number = self.number()?;
                tell(path, (number >> 1) as i64 ^ -((number & 1) as i64));
                Some(())
            }
            7 => self.skip(8),
            8 => {
                let length = self.number()?;
                self.skip(length)
            }
            9 | 10 => {
                let head = self.byte()?;
                let count = if head >> 4 == 15 { self.number()? } else { u64::from(head >> 4) };
                self.parts(count, &[head & 15], path, tell)
            }
            11 => match self.number()? {
                0 => Some(()),
                count => {
                    let kinds = self.byte()?;
                    self.parts(count, &[kinds >> 4, kinds & 15], path, tell)
                }
            },
            STRUCT if path.len() < DEEPEST => {
                let mut field = 0_i64;
                loop {
                    let head = self.byte()?;
                    if head == 0 {
                        return Some(());
                    }
                    if head >> 4 == 0 {
                        let number = self.number()?;
                        field = (number >> 1) as i64 ^ -((number & 1) as i64);
                    } else {
                        field = field.checked_add(i64::from(head >> 4))?;
                    }
                    path.push(field);
                    self.walk(head & 15, path, tell)?;
                    path.pop();
                }
            }
            13 => self.skip(16),
            _ => None,
        }
    }

    /// The parts of a list or map; each takes at least a byte, so that there are no more than bytes left.
    fn parts(
        &mut self,
        count: u64,
        kinds: &[u8],
        path: &mut Vec<i64>,
        tell: &mut dyn FnMut(&[i64], i64),
    ) -> Option<()> {
        if count > (self.bytes.len() - self.at) as u64 {
            return None;
        }
        for _ in 0..count {
            for &kind in kinds {
                // Lists in lists are as deep as structs in structs.
                if path.len() >= DEEPEST {
                    return None;
                }
                match kind {
                    1 | 2 => self.skip(1)?,
                    9..=11 => {
                        path.push(0);
                        self.walk(kind, path, tell)?;
                        path.pop();
                    }
                    _ => self.walk(kind, path, tell)?,
                }
            }
        }
        Some(())
    }

    fn byte(&mut self) -> Option<u8> {
        let byte = *self.bytes.get(self.at)?;
        self.at += 1;
        Some(byte)
    }

    fn skip(&mut self, count: u64) -> Option<()> {
        let at = self.at.checked_add(usize::try_from(count).ok()?)?;
        self.at = (at <= self.bytes.len()).then_some(at)?;
        Some(())
    }

    /// An unsigned number, seven bits a byte, the lowest first.
    fn number(&mut self) -> Option<u64> {
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
    fn good_files_claim_what_they_hold() {
        for name in ["pandas", "groups", "text", "undated", "flags", "nested"] {
            footer(&file(name)).unwrap();
        }
        assert!(footer(b"PAR1").is_err() && footer(b"\xff\xff\xff\xffPAR1").is_err());
    }

    #[test]
    fn a_schema_of_more_children_than_the_footer_has_bytes_is_refused() {
        // A footer of its own: version 1; a schema of one element whose field 5 is 2^30 children; 0 ends each struct.
        let made = |children: &[u8]| {
            let mut bytes = vec![0x15, 2, 0x19, 0x1c, 0x55];
            bytes.extend_from_slice(children);
            bytes.extend_from_slice(&[0, 0]);
            let length = bytes.len() as u32;
            bytes.extend_from_slice(&length.to_le_bytes());
            bytes.extend_from_slice(b"PAR1");
            bytes
        };
        footer(&made(&[4])).unwrap();
        assert!(footer(&made(&[0x80, 0x80, 0x80, 0x80, 8])).is_err());
        assert!(footer(&made(&[3])).is_err(), "less than none");
    }

    #[test]
    fn pages_claim_no_more_than_rows_can_need() {
        // Type 0, 25 bytes, packed in 2, a data page (field 5) of 3 values; then those 2 bytes.
        let page = |values: u8, whole: &[u8]| {
            let mut bytes = vec![0x15, 0, 0x15];
            bytes.extend_from_slice(whole);
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
