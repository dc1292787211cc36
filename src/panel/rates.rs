//! Annual rates by date, such as a risk-free rate: one number for all dates, or a file.

use std::path::Path;
use std::sync::Arc;

use jiff::civil::Date;

use super::read::read_table;
use crate::error::{Error, Result, fail};

/// A rate that is older than this many days counts as missing.
const OLDEST_DAYS: i32 = 100;

/// Annual simple rates as fractions.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Rates {
    /// The same on all dates.
    Constant(f64),
    /// By date, in the order of dates.
    ByDate(Vec<(Date, f64)>),
}

impl Rates {
    /// Reads a file with the columns date and rate, CSV or Parquet.
    ///
    /// # Errors
    /// `NotFound` or `Io` if the file cannot be read; `InvalidData` with file, row and column if it has other columns,
    /// or dates that do not increase.
    pub(crate) fn from_file(path: &Path) -> Result<Self> {
        let table = read_table(path)?;
        let parsed = || {
            let [name] = table.names.as_slice() else {
                fail!(InvalidData, "found {} columns beside the date, allowed is one, rate", table.names.len());
            };
            if !name.eq_ignore_ascii_case("rate") {
                fail!(InvalidData, "row 1, column 2: found '{name}', allowed is rate");
            }
            if table.dates.is_empty() {
                fail!(InvalidData, "the file has no row below its header");
            }
            let row = |index: usize| table.lines.as_ref().map_or(index as u64 + 1, |lines| lines[index]);
            for (index, dates) in table.dates.windows(2).enumerate() {
                if dates[1] <= dates[0] {
                    let line = row(index + 1);
                    fail!(InvalidData, "row {line}: date {} is not after {}; dates must increase", dates[1], dates[0]);
                }
            }
            for (index, rate) in table.values.iter().enumerate() {
                if rate.is_infinite() || rate.abs() > 1.0 {
                    let line = row(index);
                    fail!(
                        InvalidData,
                        "row {line}, column rate: found {rate}, allowed is a fraction from -1 to 1, such as 0.03 for 3 %"
                    );
                }
            }
            // A date without a rate is as good as none.
            let known = |(_, rate): &(Date, f64)| rate.is_finite();
            Ok(Self::ByDate(table.dates.iter().copied().zip(table.values.iter().copied()).filter(known).collect()))
        };
        parsed().map_err(|error: Error| error.context(format!("cannot use {}", path.display())))
    }

    /// What a rate earns over each row from `first` on, `[dates]`: the rate that was known when the row began, per
    /// period. NaN before; empty if it is 0 on all dates.
    ///
    /// # Errors
    /// Errors of [`Rates::known_at`].
    pub(crate) fn per_row(&self, dates: &[Date], first: usize, periods_per_year: f64) -> Result<Arc<[f64]>> {
        if *self == Self::Constant(0.0) {
            return Ok(Arc::default());
        }
        let mut out = vec![f64::NAN; dates.len()];
        for (row, value) in out.iter_mut().enumerate().skip(first) {
            *value = self.known_at(dates[row - 1])? / periods_per_year;
        }
        Ok(out.into())
    }

    /// The rate that is known at the close of `date`: the last one dated up to it.
    ///
    /// # Errors
    /// `InvalidData` if there is none, or if it is more than 100 days old.
    pub(crate) fn known_at(&self, date: Date) -> Result<f64> {
        let rates = match self {
            Self::Constant(rate) => return Ok(*rate),
            Self::ByDate(rates) => rates,
        };
        let after = rates.partition_point(|(dated, _)| *dated <= date);
        let Some((dated, rate)) = after.checked_sub(1).map(|index| rates[index]) else {
            fail!(
                InvalidData,
                "no rate is dated on or before {date}; the first is of {}: give earlier rates, or let the windows \
                 start later",
                rates.first().map_or_else(|| "no date".to_owned(), |(first, _)| first.to_string())
            );
        };
        let age = dated.until(date).map_or(i32::MAX, |span| span.get_days());
        if age > OLDEST_DAYS {
            fail!(
                InvalidData,
                "the last rate before {date} is of {dated}, {age} days older, allowed are {OLDEST_DAYS}; give later rates"
            );
        }
        Ok(rate)
    }
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;

    use super::Rates;
    use crate::error::Result;

    fn rates(text: &str) -> Result<Rates> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rates.csv");
        std::fs::write(&path, text).unwrap();
        Rates::from_file(&path)
    }

    #[test]
    fn a_rate_holds_from_its_date_until_it_is_100_days_old() {
        let rates = rates("date,rate\n2020-01-31,0.03\n2020-02-15,\n2020-02-29,0.01\n").unwrap();
        assert_eq!(rates.known_at(date(2020, 1, 31)).unwrap(), 0.03);
        assert_eq!(rates.known_at(date(2020, 2, 28)).unwrap(), 0.03);
        assert_eq!(rates.known_at(date(2020, 6, 8)).unwrap(), 0.01);
        let message = rates.known_at(date(2020, 6, 9)).unwrap_err().to_string();
        assert!(message.contains("is of 2020-02-29, 101 days older"), "{message}");
        let message = rates.known_at(date(2020, 1, 30)).unwrap_err().to_string();
        assert!(message.contains("no rate is dated on or before 2020-01-30; the first is of 2020-01-31"), "{message}");
        assert_eq!(Rates::Constant(0.02).known_at(date(1900, 1, 1)).unwrap(), 0.02);
    }

    #[test]
    fn errors_name_file_row_and_column() {
        for (text, expected) in [
            ("date,yield\n2020-01-31,0.03\n", "row 1, column 2: found 'yield', allowed is rate"),
            ("date,rate,more\n2020-01-31,0.03,1\n", "found 2 columns beside the date"),
            ("date,rate\n2020-01-31,3.0\n", "row 2, column rate: found 3, allowed is a fraction"),
            ("date,rate\n2020-01-31,0.1\n2020-01-31,0.1\n", "row 3: date 2020-01-31 is not after 2020-01-31"),
            ("date,rate\n", "the file has no row below its header"),
        ] {
            let message = rates(text).unwrap_err().to_string();
            assert!(message.contains(expected) && message.contains("rates.csv"), "{message}");
        }
    }
}
