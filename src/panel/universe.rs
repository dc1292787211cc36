//! The universe: which assets may be held at each date. It comes from membership intervals or a mask, and from the
//! dates on which an asset has a value. It is point in time: membership at a row depends on no later row.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;

use ::csv::StringRecord;
use jiff::civil::Date;

use super::Panel;
use super::read::{calendar_date, read_csv, text_bytes};
use crate::error::{Error, Result, fail};

/// The intervals of days on which each asset belongs to a universe; first and last day are both inside.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Membership {
    intervals: BTreeMap<String, Vec<(Date, Date)>>,
}

impl Membership {
    /// Reads a CSV file with the columns `ticker`, `start` and `end`; further columns are ignored. Both days are
    /// inside; an empty `end` is a membership that has not ended.
    ///
    /// # Errors
    /// `NotFound` or `Io` if the file cannot be read; `InvalidData` with file, row and column if its content is not
    /// valid.
    pub fn from_csv(path: &Path) -> Result<Self> {
        let bytes = std::fs::read(path).map_err(|error| Error::io("read", path, &error))?;
        text_bytes(bytes)
            .and_then(|bytes| Self::parse(&bytes))
            .map_err(|error| error.context(format!("cannot use {}", path.display())))
    }

    fn parse(bytes: &[u8]) -> Result<Self> {
        let mut out = Self::default();
        let columns = Cell::new([0; 3]);
        let header = |header: &StringRecord| {
            let mut found = [0; 3];
            for (index, name) in found.iter_mut().zip(["ticker", "start", "end"]) {
                let names = || header.iter().collect::<Vec<_>>().join(", ");
                match header.iter().position(|cell| cell == name) {
                    Some(column) => *index = column,
                    None => fail!(
                        InvalidData,
                        "row 1 has no column '{name}'; needed are ticker, start and end, found {}",
                        names()
                    ),
                }
            }
            columns.set(found);
            Ok(())
        };
        read_csv(bytes, header, |line, cells| {
            let [ticker, start, end] = columns.get().map(|column| &cells[column]);
            if ticker.is_empty() {
                fail!(InvalidData, "row {line}, column ticker: the cell is empty");
            }
            let first = calendar_date(start, line, "start")?;
            let last = if end.is_empty() { Date::MAX } else { calendar_date(end, line, "end")? };
            if last < first {
                fail!(InvalidData, "row {line}: the end {last} is before the start {first}");
            }
            out.add(ticker, first, last);
            Ok(())
        })?;
        if out.intervals.is_empty() {
            fail!(InvalidData, "the file has no row below its header");
        }
        Ok(out)
    }

    /// Adds an interval; first and last day are both inside.
    pub fn add(&mut self, asset: &str, first: Date, last: Date) {
        self.intervals.entry(asset.to_owned()).or_default().push((first, last));
    }

    /// Whether the asset belongs to the universe on that day.
    pub fn contains(&self, asset: &str, day: Date) -> bool {
        self.intervals.get(asset).is_some_and(|list| list.iter().any(|(first, last)| (*first..=*last).contains(&day)))
    }

    /// The assets with at least one interval, sorted by name.
    pub fn assets(&self) -> impl Iterator<Item = &str> {
        self.intervals.keys().map(String::as_str)
    }
}

/// Where a panel's membership comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UniverseSource {
    /// From values alone: an asset with a value is a member.
    #[default]
    Values,
    /// From a mask that the caller gave.
    Mask,
    /// From membership intervals.
    Intervals {
        /// Number of assets with at least one interval.
        assets: usize,
        /// Number of their intervals.
        intervals: usize,
        /// Number of these assets that are columns of the panel.
        assets_used: usize,
        /// Number of intervals of those.
        intervals_used: usize,
    },
}

/// The rules of membership in a panel.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Universe {
    /// Number of rows after its last value for which an asset may be held; `None` where it was not set.
    pub(super) stale_rows: Option<usize>,
    pub(super) source: UniverseSource,
    /// Whether intervals or mask allow membership, `[dates, assets]`; `None` if there are neither.
    pub(super) allowed: Option<Vec<bool>>,
}

impl Universe {
    /// Membership, `[dates, assets]`: the asset is allowed and `present` has a value at the row or at most `stale_rows`
    /// before it.
    pub(super) fn members(&self, present: &[bool], assets: usize) -> Vec<bool> {
        let mut age = vec![usize::MAX; assets];
        let mut out = Vec::with_capacity(present.len());
        for row in present.chunks_exact(assets) {
            for (age, present) in age.iter_mut().zip(row) {
                *age = if *present { 0 } else { age.saturating_add(1) };
                out.push(*age <= self.stale_rows.unwrap_or(0));
            }
        }
        if let Some(allowed) = &self.allowed {
            for (member, allowed) in out.iter_mut().zip(allowed) {
                *member &= allowed;
            }
        }
        out
    }
}

impl Panel {
    /// Takes membership from intervals: a member is inside one of them and has a value at the row or at most
    /// `stale_rows` before it. Assets that are not columns of the panel are ignored, see [`Panel::without_values`].
    #[must_use]
    pub fn with_membership(mut self, membership: &Membership) -> Self {
        let columns = self.assets.len();
        let mut allowed = vec![false; self.dates.len() * columns];
        let (mut used, mut all) = ((0, 0), (0, 0));
        self.without_values.clear();
        for (asset, intervals) in &membership.intervals {
            all = (all.0 + 1, all.1 + intervals.len());
            if self.column_of(asset).is_none() {
                self.without_values.push(asset.clone());
                continue;
            }
            used = (used.0 + 1, used.1 + intervals.len());
        }
        for (column, rows) in self.rows_within(membership) {
            rows.for_each(|row| allowed[row * columns + column] = true);
        }
        self.universe.source =
            UniverseSource::Intervals { assets: all.0, intervals: all.1, assets_used: used.0, intervals_used: used.1 };
        self.universe.allowed = Some(allowed);
        self.update_derived();
        self
    }

    /// The rows within each interval, with the column of its asset. Assets that are not columns of the panel are left
    /// out.
    pub(crate) fn rows_within(&self, membership: &Membership) -> Vec<(usize, Range<usize>)> {
        let before = |is_before: &dyn Fn(&Date) -> bool| self.dates.partition_point(is_before);
        let rows = |(first, last): &(Date, Date)| before(&|day| day < first)..before(&|day| day <= last);
        let of_asset = |(asset, intervals): (&String, &Vec<(Date, Date)>)| {
            let column = self.column_of(asset)?;
            Some(intervals.iter().map(|interval| (column, rows(interval))).collect::<Vec<_>>())
        };
        membership.intervals.iter().filter_map(of_asset).flatten().collect()
    }

    /// Takes membership from a mask: which assets may be held after a decision at each row, `[dates, assets]`,
    /// row-major, in the source's column order.
    ///
    /// # Errors
    /// `InvalidData` if the sizes do not agree.
    pub fn with_members(mut self, mask: &[bool]) -> Result<Self> {
        let (rows, columns) = (self.dates.len(), self.assets.len());
        if mask.len() != rows * columns {
            fail!(
                InvalidData,
                "a mask of {rows} dates and {columns} assets needs {rows} x {columns} values, found {}",
                mask.len()
            );
        }
        self.universe.allowed = Some(self.to_canonical(mask));
        self.universe.source = UniverseSource::Mask;
        self.without_values.clear();
        self.update_derived();
        Ok(self)
    }

    /// Lets an asset be held for up to this many rows after its last value. Where it is not said, it is 0 here, and a run
    /// takes a week of rows: ⌊rows per year / 52⌋.
    #[must_use]
    pub fn with_stale_rows(mut self, rows: usize) -> Self {
        self.universe.stale_rows = Some(rows);
        self.update_derived();
        self
    }

    /// Number of rows after its last value for which an asset may be held.
    pub fn stale_rows(&self) -> usize {
        self.universe.stale_rows.unwrap_or(0)
    }

    /// The panel of a run with so many rows per year: an asset may be held for a week after its last value, unless it was
    /// set how long.
    #[must_use]
    pub(crate) fn with_usual_stale_rows(self, periods_per_year: f64) -> Self {
        if self.universe.stale_rows.is_some() {
            return self;
        }
        self.with_stale_rows((periods_per_year / 52.0).floor() as usize)
    }

    /// Where membership comes from.
    pub fn universe_source(&self) -> UniverseSource {
        self.universe.source
    }

    /// Minimum, lower median and maximum of the number of members per row.
    pub fn member_counts(&self) -> [usize; 3] {
        let count = |row: &[bool]| row.iter().filter(|member| **member).count();
        let mut counts: Vec<usize> = self.members.chunks_exact(self.assets.len()).map(count).collect();
        counts.sort_unstable();
        [0, (counts.len() - 1) / 2, counts.len() - 1].map(|index| counts[index])
    }

    /// Assets of the membership that are not columns of the panel, sorted by name.
    pub fn without_values(&self) -> &[String] {
        &self.without_values
    }
}

#[cfg(test)]
mod tests {
    use super::{Membership, UniverseSource};
    use crate::panel::{Panel, PanelKind};
    use jiff::civil::{Date, date};

    const FILE: &str = "ticker,start,end,name\nA,2020-01-02,2020-01-03,first\nB,2020-01-01,,still\n\
                        A,2020-01-05,2020-01-05,day\nZ,2020-01-01,2020-01-02,\n";

    fn panel() -> Panel {
        let days: Vec<Date> = (1..=6).map(|day| date(2020, 1, day)).collect();
        let nan = f64::NAN;
        let prices = [10., 1., 10., 1., 10., nan, 10., nan, 10., nan, 10., 2.];
        Panel::from_arrays(PanelKind::Prices, days, &["B".into(), "A".into()], &prices).unwrap()
    }

    fn members(panel: &Panel, asset: usize) -> Vec<bool> {
        (0..6).map(|row| panel.members(row)[asset]).collect()
    }

    #[test]
    fn an_interval_includes_both_of_its_days_and_needs_a_price() {
        let membership = Membership::parse(FILE.as_bytes()).unwrap();
        let held = panel().with_membership(&membership);
        assert_eq!(members(&held, 0), [false, true, false, false, false, false]);
        assert_eq!(members(&held, 1), [true; 6]);
        assert_eq!(held.without_values(), ["Z"]);
        let source = UniverseSource::Intervals { assets: 3, intervals: 4, assets_used: 2, intervals_used: 3 };
        assert_eq!((held.universe_source(), held.member_counts()), (source, [1, 1, 2]));
        assert_eq!((panel().universe_source(), panel().member_counts()), (UniverseSource::Values, [1, 1, 2]));
        let stale = panel().with_membership(&membership).with_stale_rows(2);
        assert_eq!(members(&stale, 0), [false, true, true, false, false, false]);
        assert_eq!(members(&panel().with_stale_rows(2), 0), [true, true, true, true, false, true]);
        assert_ne!(held.fingerprint(), panel().fingerprint());
        assert_ne!(held.fingerprint(), stale.fingerprint());
    }

    #[test]
    fn a_mask_is_in_the_column_order_of_the_source() {
        let mut mask = [true; 12];
        mask[3] = false; // row 1, second column, which is A
        let held = panel().with_members(&mask).unwrap();
        assert_eq!((held.members(1), held.members(0)), (&[false, true][..], &[true, true][..]));
        assert!(panel().with_members(&mask[1..]).is_err());
    }

    #[test]
    fn days_outside_the_panel_and_names_in_another_case_do_not_match() {
        let mut membership = Membership::default();
        for (asset, first, last) in [
            ("B", date(1900, 1, 1), date(2019, 12, 31)),
            ("B", date(2019, 12, 31), date(2020, 1, 1)),
            ("B", date(2020, 1, 6), Date::MAX),
            ("B", date(2021, 1, 1), date(2022, 1, 1)),
            ("a", date(2020, 1, 1), Date::MAX),
        ] {
            membership.add(asset, first, last);
        }
        let held = panel().with_membership(&membership);
        assert_eq!(members(&held, 1), [true, false, false, false, false, true]);
        assert_eq!((members(&held, 0), held.without_values()), (vec![false; 6], &["a".to_owned()][..]));
        // A mask replaces the intervals.
        let masked = held.with_members(&[true; 12]).unwrap();
        assert_eq!((masked.universe_source(), masked.without_values()), (UniverseSource::Mask, &[][..]));
    }

    #[test]
    fn invalid_files_are_refused_with_row_and_column() {
        for (text, expected) in [
            ("", "the file is empty"),
            ("ticker,start\nA,2020-01-01\n", "row 1 has no column 'end'"),
            ("ticker,start,end\n", "no row below its header"),
            ("ticker,start,end\nA,2020-01-02,2020-01-01\n", "row 2: the end 2020-01-01 is before the start"),
            ("ticker,start,end\nA,soon,2020-01-01\n", "row 2, column start: found 'soon'"),
            ("ticker,start,end\n,2020-01-01,2020-01-01\n", "row 2, column ticker: the cell is empty"),
            ("ticker,start,end\nA,2020-01-01\n", "row 2 has 2 cells, row 1 has 3"),
        ] {
            let message = Membership::parse(text.as_bytes()).unwrap_err().to_string();
            assert!(message.contains(expected), "{message}");
        }
    }
}
