//! The time zones of columns in an Arrow schema, as Parquet files keep it under the key `ARROW:schema`: a Flatbuffers
//! message in base64 (<https://arrow.apache.org/docs/format/Columnar.html>). Bytes that are not such a message give no
//! time zone.

/// The tag of a timestamp in the union of types.
const TIMESTAMP: u8 = 10;

/// The name of the time zone of `column`, a column of the top level.
pub(super) fn time_zone(schema: &str, column: &str) -> Option<String> {
    let bytes = base64(schema)?;
    // The message begins after its length, before which new writers put four bytes of ones.
    let start = if bytes.starts_with(&[0xff; 4]) { 8 } else { 4 };
    let message = Table::at(bytes.get(start..)?, 0)?;
    let fields = message.table(2)?.vector(1)?;
    let fields = Table { position: fields, ..message };
    for index in 0..fields.u32(fields.position)? as usize {
        let field = Table::at(fields.bytes, fields.position + 4 + 4 * index)?;
        if field.text(0)? == column {
            let kind = *field.bytes.get(field.slot(2)?)?;
            return if kind == TIMESTAMP { field.table(3)?.text(1) } else { None };
        }
    }
    None
}

/// A Flatbuffers table; every read is checked against the bytes.
#[derive(Clone, Copy)]
struct Table<'a> {
    bytes: &'a [u8],
    position: usize,
}

impl<'a> Table<'a> {
    /// The table that the offset at `position` leads to.
    fn at(bytes: &'a [u8], position: usize) -> Option<Self> {
        let table = Self { bytes, position: 0 };
        Some(Self { position: position.checked_add(table.u32(position)? as usize)?, ..table })
    }

    fn u32(&self, position: usize) -> Option<u32> {
        Some(u32::from_le_bytes(self.bytes.get(position..position.checked_add(4)?)?.try_into().ok()?))
    }

    fn u16(&self, position: usize) -> Option<usize> {
        Some(u16::from_le_bytes(self.bytes.get(position..position.checked_add(2)?)?.try_into().ok()?).into())
    }

    /// The position of a field; `None` if the table lacks it.
    fn slot(&self, field: usize) -> Option<usize> {
        let back = i64::from(self.u32(self.position)?.cast_signed());
        let layout = usize::try_from(self.position as i64 - back).ok()?;
        let entry = 4 + 2 * field;
        let offset = if entry < self.u16(layout)? { self.u16(layout + entry)? } else { 0 };
        (offset > 0).then_some(self.position + offset)
    }

    fn table(&self, field: usize) -> Option<Self> {
        Self::at(self.bytes, self.slot(field)?)
    }

    /// The position of a vector's length.
    fn vector(&self, field: usize) -> Option<usize> {
        Some(self.table(field)?.position)
    }

    fn text(&self, field: usize) -> Option<String> {
        let start = self.vector(field)?;
        let length = self.u32(start)? as usize;
        let bytes = self.bytes.get(start + 4..(start + 4).checked_add(length)?)?;
        std::str::from_utf8(bytes).ok().map(str::to_owned)
    }
}

fn base64(text: &str) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len() / 4 * 3);
    let (mut bits, mut count) = (0_u32, 0);
    for byte in text.trim_end_matches('=').bytes() {
        let digit = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = (bits << 6) | u32::from(digit);
        count += 6;
        if count >= 8 {
            count -= 8;
            out.push((bits >> count) as u8);
        }
    }
    Some(out)
}
