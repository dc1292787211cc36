//! Damage: a good input, broken in ways that files are broken by accident or on purpose. The same seed and index give
//! the same bytes on every machine.

use serde_json::{Map, Value as Json, json};

/// A sequence of draws (splitmix64: Steele, Lea and Flood 2014).
pub(super) struct Draws(u64);

impl Draws {
    /// The draws of the input with this index.
    pub(super) fn new(seed: u64, index: u64) -> Self {
        let mut draws = Self(seed ^ index.wrapping_mul(0xd134_2543_de82_ef95));
        draws.next();
        draws
    }

    /// Any integer.
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// An integer below `limit`, or 0 if that is 0.
    pub(super) fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit.max(1) as u64) as usize
    }

    /// One of them.
    pub(super) fn of<'a, T>(&mut self, list: &'a [T]) -> &'a T {
        &list[self.below(list.len())]
    }
}

/// Cells that a parser of numbers, dates and names may trip over.
const CELLS: [&str; 58] = [
    "",
    " ",
    "NaN",
    "nan",
    "NA",
    "-nan",
    "inf",
    "-inf",
    "+Infinity",
    "1e308",
    "1e309",
    "-1e309",
    "1e-320",
    "1e-400",
    "0",
    "-0",
    "-1",
    "-1.0000000001",
    "1_000",
    "1,5",
    "0x10",
    "1e",
    "e1",
    ".",
    ".5",
    "5.",
    "+5",
    "١٢",
    "½",
    "1e999999999999",
    "99999999999999999999999999999999999999",
    "18446744073709551616",
    "9223372036854775808",
    "-9223372036854775809",
    "2020-01-02",
    "2020-1-2",
    "2020-02-30",
    "0000-00-00",
    "-9999-01-01",
    "9999-12-31",
    "10000-01-01",
    "2020-01-02T00:00",
    "20200102",
    "02/01/2020",
    "2020-W01-2",
    "AAA",
    "aaa",
    "\"",
    "\"\"",
    "\"a\nb\"",
    "'",
    "#",
    "=",
    "[",
    "\u{feff}",
    "\0",
    "\u{202e}x",
    "𝔸\u{301}",
];

/// Pieces of TOML and JSON to insert anywhere.
const PIECES: [&str; 30] = [
    "[windows]\n",
    "[[models]]\n",
    "[windows",
    "[a.b.c]\n",
    "x = 1\n",
    "train_months = -1\n",
    "train_months = 1e400\n",
    "= 1\n",
    "\"\"\"",
    "'''",
    "seed = 99999999999999999999\n",
    "seed = 0x7fffffffffffffff\n",
    "top_k = inf\n",
    "max_weight = nan\n",
    "a.b.c.d = 1\n",
    "start = 1979-05-27T07:32:00Z\n",
    "start = \"2020-13-01\"\n",
    "{}",
    "[]",
    "{\"a\":",
    "null",
    "true",
    ",",
    ":",
    "\\u0000",
    "\\ud800",
    "\"plugin\": \"../../x\"",
    "groups = {a = {assets = [\"AAA\"], min = 0.5, max = 0.1}}\n",
    "[portfolio.groups.\"\"]\nassets = [\"\"]\n",
    "[data.features]\n\"a b\" = \"x\"\n",
];

/// Breaks a text a few times.
pub(super) fn text(good: &[u8], others: &[&[u8]], draws: &mut Draws) -> Vec<u8> {
    let mut bytes = good.to_vec();
    let times = 1 + draws.below(4);
    for _ in 0..times {
        match draws.below(24) {
            0..=4 => raw(&mut bytes, draws),
            5..=10 => cells(&mut bytes, draws),
            11..=14 => lines(&mut bytes, draws),
            15 => bytes = replaced(&bytes, "\n", "\r\n"),
            16 => bytes = replaced(&bytes, "\n", "\r"),
            17 => bytes.splice(0..0, "\u{feff}".bytes()).for_each(drop),
            18..=20 => insert(&mut bytes, draws.of(&PIECES).as_bytes(), draws),
            21 => {
                // The front of one file and the back of another.
                let other = *draws.of(others);
                let (at, from) = (draws.below(bytes.len() + 1), draws.below(other.len() + 1));
                bytes.truncate(at);
                bytes.extend_from_slice(&other[from..]);
            }
            22 => numbers(&mut bytes, draws),
            _ => large(&mut bytes, draws),
        }
    }
    bytes
}

/// Flips, inserts, deletes, repeats bytes.
fn raw(bytes: &mut Vec<u8>, draws: &mut Draws) {
    let at = draws.below(bytes.len());
    let length = 1 + draws.below(8);
    match draws.below(6) {
        0 if !bytes.is_empty() => bytes[at] ^= 1 << draws.below(8),
        1 if !bytes.is_empty() => bytes[at] = draws.next() as u8,
        2 => insert(bytes, &draws.next().to_le_bytes()[..length], draws),
        3 => drop(bytes.drain(at..(at + length).min(bytes.len()))),
        4 => {
            let piece = bytes[at..(at + length).min(bytes.len())].to_vec();
            insert(bytes, &piece, draws);
        }
        _ => bytes.truncate(at),
    }
}

fn insert(bytes: &mut Vec<u8>, piece: &[u8], draws: &mut Draws) {
    let at = draws.below(bytes.len() + 1);
    bytes.splice(at..at, piece.iter().copied());
}

fn replaced(bytes: &[u8], from: &str, to: &str) -> Vec<u8> {
    String::from_utf8_lossy(bytes).replace(from, to).into_bytes()
}

/// Replaces, swaps, adds and removes cells between commas and line ends.
fn cells(bytes: &mut Vec<u8>, draws: &mut Draws) {
    let mut ends = vec![0];
    ends.extend((0..bytes.len()).filter(|&at| matches!(bytes[at], b',' | b'\n' | b'=')).flat_map(|at| [at, at + 1]));
    ends.push(bytes.len());
    let pairs = ends.len() / 2;
    let cell = |index: usize| ends[2 * index]..ends[2 * index + 1];
    let one = draws.below(pairs);
    match draws.below(5) {
        0..=2 => drop(bytes.splice(cell(one), draws.of(&CELLS).bytes())),
        3 => {
            let other = draws.below(pairs);
            let (first, second) = (one.min(other), one.max(other));
            let (early, late) = (bytes[cell(first)].to_vec(), bytes[cell(second)].to_vec());
            bytes.splice(cell(second), early);
            bytes.splice(cell(first), late);
        }
        _ => drop(bytes.splice(cell(one), (0..draws.below(4)).flat_map(|_| *b",1"))),
    }
}

/// Repeats, deletes, swaps whole lines.
fn lines(bytes: &mut Vec<u8>, draws: &mut Draws) {
    let mut lines: Vec<Vec<u8>> = bytes.split_inclusive(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
    if lines.is_empty() {
        return;
    }
    let (one, other) = (draws.below(lines.len()), draws.below(lines.len()));
    match draws.below(4) {
        0 => lines.insert(other, lines[one].clone()),
        1 => drop(lines.remove(one)),
        2 => lines.swap(one, other),
        _ => lines.truncate(one),
    }
    *bytes = lines.concat();
}

/// Replaces a number by one that is huge, tiny or of another kind.
fn numbers(bytes: &mut Vec<u8>, draws: &mut Draws) {
    let digits: Vec<usize> = (0..bytes.len()).filter(|&at| bytes[at].is_ascii_digit()).collect();
    if digits.is_empty() {
        return;
    }
    let at = *draws.of(&digits);
    let more = ["000000000000000000000", "e300", "e-300", "e", ".", "-", "_", "999999", "\u{0660}"];
    bytes.splice(at..at, draws.of(&more).bytes());
}

/// Inserts long names, deep nesting, many columns or lines. Rarely, since each of them takes time.
fn large(bytes: &mut Vec<u8>, draws: &mut Draws) {
    let many = [10, 100, 1000, 20_000][if draws.below(20) == 0 { 3 } else { draws.below(3) }];
    let units = [
        "a", "é", "[", "{\"a\":", "[[", "a.", "\"", ",", "\n", "{a=", "(", "9", "x = [", ",1", "\\", "[a.", " ", "\t",
        "#",
    ];
    let unit = draws.of(&units).repeat(many);
    let piece = match draws.below(4) {
        0 => format!("{unit} = 1\n"),
        1 => format!("[{unit}b]\n"),
        2 => format!("v = {unit}\n"),
        _ => unit,
    };
    insert(bytes, piece.as_bytes(), draws);
}

/// Breaks settings that stay JSON: other values, other keys, keys gone.
pub(super) fn tree(good: &Json, draws: &mut Draws) -> Json {
    let mut tree = good.clone();
    for _ in 0..=draws.below(3) {
        let mut node = &mut tree;
        while draws.below(4) > 0 {
            let count = node.as_object().map_or(0, Map::len) + node.as_array().map_or(0, Vec::len);
            if count == 0 {
                break;
            }
            let at = draws.below(count);
            node = match node {
                Json::Object(table) => table.values_mut().nth(at).unwrap(),
                other => &mut other.as_array_mut().unwrap()[at],
            };
        }
        match node {
            Json::Object(table) if draws.below(2) == 0 => {
                let (key, value) = (any_key(table, draws), any_value(draws));
                if draws.below(3) > 0 {
                    table.insert(key, value)
                } else {
                    table.remove(&key)
                };
            }
            Json::Array(list) if draws.below(2) == 0 => list.push(any_value(draws)),
            node => *node = any_value(draws),
        }
    }
    tree
}

/// A key of the table, perhaps misspelt, or another one.
fn any_key(table: &Map<String, Json>, draws: &mut Draws) -> String {
    let known: Vec<&String> = table.keys().collect();
    let mut key = if known.is_empty() { String::new() } else { (*draws.of(&known)).clone() };
    match draws.below(6) {
        0 => key.push_str(CELLS[draws.below(CELLS.len())]),
        1 => drop(key.pop()),
        2 => CELLS[draws.below(CELLS.len())].clone_into(&mut key),
        3 => key = key.repeat(1000),
        _ => (),
    }
    key
}

fn any_value(draws: &mut Draws) -> Json {
    match draws.below(14) {
        0 => Json::Null,
        1 => json!(draws.below(2) == 0),
        2 => json!(draws.below(100)),
        3 => json!(-1),
        4 => json!(u64::MAX),
        5 => json!(i64::MIN),
        6 => json!(1e308),
        7 => json!(-0.5),
        8 => json!([]),
        9 => json!({}),
        10 => json!("x".repeat(10_000)),
        11 => (0..100).fold(json!(1), |inner, _| json!([inner])),
        12 => (0..100).fold(json!(1), |inner, _| json!({ "windows": inner })),
        _ => json!(draws.of(&CELLS)),
    }
}

/// Breaks a Parquet file: anywhere, in its footer or first page header, in its lengths.
pub(super) fn parquet(good: &[u8], others: &[&[u8]], draws: &mut Draws) -> Vec<u8> {
    let mut bytes = good.to_vec();
    let times = 1 + draws.below(3);
    for _ in 0..times {
        let (length, footer) = (bytes.len(), footer(&bytes));
        match draws.below(12) {
            0..=1 => raw(&mut bytes, draws),
            2..=4 if length > footer + 8 => {
                let at = footer + draws.below(length - 8 - footer);
                let any = draws.next() as u8;
                bytes[at] = *draws.of(&[0, 1, 0x7f, 0x80, 0xff, any, bytes[at].wrapping_add(2)]);
            }
            5..=7 if length > footer + 8 => inflate(&mut bytes, footer, draws),
            8 if length > 44 => {
                // Page headers precede the pages; the first one follows the magic number.
                let at = 4 + draws.below(40);
                let any = draws.next() as u8;
                bytes[at] = *draws.of(&[0, 1, 0x7f, 0x80, 0xff, any]);
            }
            9 if length >= 8 => {
                let any = draws.next() as u32;
                let claim: u32 = *draws.of(&[0, 1, 8, length as u32, u32::MAX, i32::MAX as u32, any]);
                bytes[length - 8..length - 4].copy_from_slice(&claim.to_le_bytes());
            }
            10 => bytes.truncate(draws.below(length + 1)),
            _ => {
                let other = *draws.of(others);
                let (at, from) = (draws.below(length + 1), draws.below(other.len() + 1));
                bytes.truncate(at);
                bytes.extend_from_slice(&other[from..]);
            }
        }
    }
    bytes
}

/// The offset of the footer, by its length.
pub(super) fn footer(bytes: &[u8]) -> usize {
    let Some(end) = bytes.len().checked_sub(8) else { return bytes.len() };
    let claim = u32::from_le_bytes([bytes[end], bytes[end + 1], bytes[end + 2], bytes[end + 3]]) as usize;
    end.saturating_sub(claim)
}

/// Replaces a byte of the footer by a huge varint, and keeps the footer's length right.
fn inflate(bytes: &mut Vec<u8>, footer: usize, draws: &mut Draws) {
    let end = bytes.len() - 8;
    let at = footer + draws.below(end - footer);
    let any = draws.next();
    let huge = varint(*draws.of(&[1 << 12, 1 << 20, 1 << 31, 1 << 33, 1 << 41, 1 << 62, u64::MAX, any]));
    bytes.splice(at..=at, huge);
    let end = bytes.len() - 8;
    let length = (end - footer) as u32;
    bytes[end..end + 4].copy_from_slice(&length.to_le_bytes());
}

/// An integer in Thrift's compact protocol.
pub(super) fn varint(mut value: u64) -> Vec<u8> {
    let mut out = Vec::new();
    while value > 0x7f {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
    out
}
