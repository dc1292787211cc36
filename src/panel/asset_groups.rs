//! Groups of assets from a file, such as sectors, each with the days on which an asset belongs to it.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::path::Path;

use ::csv::StringRecord;
use jiff::civil::Date;

use super::Membership;
use super::read::{calendar_date, read_csv, text_bytes};
use crate::error::{Error, Result, fail};

/// The members of each group, by its name.
pub(crate) type AssetGroups = BTreeMap<String, Membership>;

/// Reads a CSV file with the columns `ticker` and `group`, and `start` and `end` where assets change their group; both
/// days are inside, an empty cell is no limit, and further columns are ignored.
///
/// # Errors
/// `NotFound` or `Io` if the file cannot be read; `InvalidData` with file, row and column if its content is not valid.
pub(crate) fn read_asset_groups(path: &Path) -> Result<AssetGroups> {
    let bytes = std::fs::read(path).map_err(|error| Error::io("read", path, &error))?;
    text_bytes(bytes)
        .and_then(|bytes| parse(&bytes))
        .map_err(|error| error.context(format!("cannot use {}", path.display())))
}

fn parse(bytes: &[u8]) -> Result<AssetGroups> {
    let mut out = AssetGroups::new();
    let columns = Cell::new((0, 0, None, None));
    let header = |header: &StringRecord| {
        let find = |name: &str| header.iter().position(|cell| cell.eq_ignore_ascii_case(name));
        let needed = |name: &str| match find(name) {
            Some(index) => Ok(index),
            None => fail!(
                InvalidData,
                "row 1 has no column '{name}'; needed are ticker and group, found {}",
                header.iter().collect::<Vec<_>>().join(", ")
            ),
        };
        columns.set((needed("ticker")?, needed("group")?, find("start"), find("end")));
        Ok(())
    };
    read_csv(bytes, header, |line, cells| {
        let (ticker, group, start, end) = columns.get();
        for (column, cell) in [("ticker", &cells[ticker]), ("group", &cells[group])] {
            if cell.is_empty() {
                fail!(InvalidData, "row {line}, column {column}: the cell is empty");
            }
        }
        let day = |column: Option<usize>, name: &str, unlimited: Date| match column.map(|column| &cells[column]) {
            None | Some("") => Ok(unlimited),
            Some(cell) => calendar_date(cell, line, name),
        };
        let (first, last) = (day(start, "start", Date::MIN)?, day(end, "end", Date::MAX)?);
        if last < first {
            fail!(InvalidData, "row {line}: the end {last} is before the start {first}");
        }
        out.entry(cells[group].to_owned()).or_default().add(&cells[ticker], first, last);
        Ok(())
    })?;
    if out.is_empty() {
        fail!(InvalidData, "the file has no row below its header");
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;

    use super::parse;

    #[test]
    fn an_asset_is_in_a_group_on_the_days_of_its_rows() {
        let text =
            "start,Ticker,name,group,end\n,A,Ay,tech,2020-01-31\n2020-02-01,A,Ay,media,\n,B,\"Bee, Inc\",tech,\n";
        let groups = parse(text.as_bytes()).unwrap();
        assert_eq!(groups.keys().collect::<Vec<_>>(), ["media", "tech"]);
        let within = |group: &str, asset, day| groups[group].contains(asset, date(2020, 1, day));
        assert!(within("tech", "A", 31) && !within("media", "A", 31) && within("tech", "B", 1));
        assert!(groups["media"].contains("A", date(2020, 2, 1)) && !groups["tech"].contains("A", date(2020, 2, 1)));
        let always = parse(b"ticker,group\nA,tech\n").unwrap();
        assert!(always["tech"].contains("A", date(1900, 1, 1)));
    }

    #[test]
    fn errors_name_row_and_column() {
        for (text, expected) in [
            ("ticker,sector\nA,x\n", "row 1 has no column 'group'; needed are ticker and group, found ticker, sector"),
            ("ticker,group\n,x\n", "row 2, column ticker: the cell is empty"),
            ("ticker,group\nA,x\nB,\n", "row 3, column group: the cell is empty"),
            ("ticker,group,start\nA,x,soon\n", "row 2, column start: found 'soon'"),
            (
                "ticker,group,start,end\nA,x,2020-02-01,2020-01-01\n",
                "row 2: the end 2020-01-01 is before the start 2020-02-01",
            ),
            ("ticker,group\n", "the file has no row below its header"),
        ] {
            let message = parse(text.as_bytes()).unwrap_err().to_string();
            assert!(message.contains(expected), "{message}");
        }
    }
}
