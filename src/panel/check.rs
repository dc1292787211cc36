//! The data check: what in a panel is likely a fault of its source. Nothing is changed; each finding names row and column.

use jiff::civil::Date;

use super::{Panel, PanelKind};

/// A return counts as large above this, for daily data.
const LARGE_DAILY: f64 = 0.4;
/// A large return is a finding above this many median absolute deviations of its asset.
const LARGE_DEVIATIONS: f64 = 12.0;
/// Returns with a larger median size are no fractions.
const LARGEST_MEDIAN: f64 = 0.1;
/// t statistics above this are no luck.
const BEYOND_LUCK: f64 = 4.0;
/// Fewer dates or values than this say nothing.
const FEWEST: usize = 20;
/// A universe of fewer assets or years may well have lost none.
const SURVIVORS: (usize, f64) = (5, 3.0);
/// Names of fields of a security, in lower case.
const FIELDS: [&str; 8] = ["open", "high", "low", "close", "adj close", "adjusted close", "volume", "open interest"];

crate::settings::choices! {
    /// What the data check looks for.
    pub enum FindingKind {
        /// A row without any value was left out.
        EmptyRow = "empty_row",
        /// A return that is large, and far outside what its asset has otherwise.
        LargeMove = "large_move",
        /// Returns move no more than the prices are rounded.
        Rounding = "rounding",
        /// Percentages taken for fractions.
        Percent = "percent",
        /// Prices taken for returns.
        Prices = "prices",
        /// A column named like a field of a security.
        FieldName = "field_name",
        /// A column that never changes.
        Constant = "constant",
        /// A column without any value.
        NoValue = "no_value",
        /// A series that ends before the panel does.
        SeriesEnd = "series_end",
        /// A long run of one price.
        SamePrice = "same_price",
        /// No asset ever left the universe.
        SurvivorsOnly = "survivors_only",
        /// A feature, or joining the universe, that foretells the next return.
        LookAhead = "look_ahead",
    }
}

/// A finding of the data check.
#[derive(Clone, Debug, PartialEq)]
pub struct DataFinding {
    /// What was found.
    pub kind: FindingKind,
    /// The number of the row in the source, where the finding is about one.
    pub row: Option<u64>,
    /// Its date.
    pub date: Option<Date>,
    /// The asset or feature, where the finding is about one.
    pub column: Option<String>,
    /// What was found and what to do.
    pub text: String,
}

impl std::fmt::Display for DataFinding {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let (Some(row), Some(date)) = (self.row, self.date) {
            write!(out, "row {row} ({date})")?;
            out.write_str(if self.column.is_some() { ", " } else { ": " })?;
        }
        if let Some(column) = &self.column {
            write!(out, "column {column}: ")?;
        }
        out.write_str(&self.text)
    }
}

impl Panel {
    /// Looks for what is likely a fault of the data: kinds in their order of declaration, then assets in canonical
    /// order, then rows.
    pub fn check(&self) -> Vec<DataFinding> {
        let mut out: Vec<DataFinding> = self
            .empty_rows
            .iter()
            .map(|(row, date)| DataFinding {
                kind: FindingKind::EmptyRow,
                row: Some(*row),
                date: Some(*date),
                column: None,
                text: "no column has a value: the row is no trading date and was left out".to_owned(),
            })
            .collect();
        self.check_empty_rows(&mut out);
        let periods = self.rows_per_year();
        for column in 0..self.assets.len() {
            self.check_asset(column, periods, &mut out);
        }
        self.check_survivors(&mut out);
        for feature in &self.features {
            self.check_plane(&feature.name, &feature.values, &mut out);
        }
        if let Some(joined) = self.joined(periods) {
            self.check_plane("members", &joined, &mut out);
        }
        out.sort_by_key(|finding| finding.kind as u8);
        out
    }

    /// Rows without a value that are still there: those of arrays, whose caller counts rows.
    fn check_empty_rows(&self, out: &mut Vec<DataFinding>) {
        for (row, present) in self.present.chunks_exact(self.assets.len()).enumerate() {
            if !present.contains(&true) {
                out.push(DataFinding {
                    kind: FindingKind::EmptyRow,
                    row: Some(self.row_numbers[row]),
                    date: Some(self.dates[row]),
                    column: None,
                    text:
                        "no column has a value, so nothing trades in this row and every asset misses a return; leave \
                           out rows that are no trading date"
                            .to_owned(),
                });
            }
        }
    }

    /// Findings as warnings: the first few of each kind, and how many more there are.
    pub(crate) fn warnings(&self) -> Vec<String> {
        const NAMED: usize = 3;
        let (mut out, findings) = (Vec::new(), self.check());
        for same in findings.chunk_by(|one, two| one.kind == two.kind) {
            out.extend(same.iter().take(NAMED).map(ToString::to_string));
            if same.len() > NAMED {
                out.push(format!(
                    "{} more findings of the kind '{}'; walkforge data check lists them",
                    same.len() - NAMED,
                    crate::settings::Choice::name(same[0].kind)
                ));
            }
        }
        out
    }

    fn finding(&self, kind: FindingKind, row: Option<usize>, column: &str, text: String) -> DataFinding {
        DataFinding {
            kind,
            row: row.map(|row| self.row_numbers[row]),
            date: row.map(|row| self.dates[row]),
            column: Some(column.to_owned()),
            text,
        }
    }

    /// Rows per year by the median days of five rows; daily where there are fewer.
    fn rows_per_year(&self) -> f64 {
        let days: Vec<f64> =
            self.dates.iter().zip(self.dates.iter().skip(5)).map(|(from, to)| days_between(*from, *to)).collect();
        median(days).map_or(252.0, |days| 5.0 * 365.25 / days)
    }

    fn check_asset(&self, column: usize, periods: f64, out: &mut Vec<DataFinding>) {
        let (rows, columns, name) = (self.dates.len(), self.assets.len(), &self.assets[column]);
        let mut report = |kind, row, text| out.push(self.finding(kind, row, name, text));
        if FIELDS.contains(&name.to_lowercase().as_str()) {
            let text = "is named like a field of a security; a column is taken for an asset: name it by its ticker";
            report(FindingKind::FieldName, None, text.to_owned());
        }
        let present: Vec<usize> = (0..rows).filter(|row| self.present[row * columns + column]).collect();
        let Some(&last) = present.last() else {
            report(FindingKind::NoValue, None, "has no value; the asset is never held".to_owned());
            return;
        };
        let returns: Vec<(usize, f64)> = (0..rows)
            .map(|row| (row, self.returns[row * columns + column]))
            .filter(|(_, value)| !value.is_nan())
            .collect();
        let sizes = || returns.iter().map(|(_, value)| value.abs()).collect::<Vec<f64>>();
        if self.kind == PanelKind::Returns && returns.len() >= FEWEST {
            let size = median(sizes()).unwrap_or(0.0);
            if size > LARGEST_MEDIAN && returns.iter().all(|(_, value)| *value >= 0.0) {
                let text = format!(
                    "has a median of {size:.4} and no negative value: prices, taken for returns; set data.prices"
                );
                report(FindingKind::Prices, None, text);
            } else if size > LARGEST_MEDIAN {
                let text = format!(
                    "has a median size of {size:.4}, {:.0} % a row: percentages? Returns are fractions, 0.01 is 1 %; divide by 100",
                    size * 100.0
                );
                report(FindingKind::Percent, None, text);
            }
        }
        let first = returns.first().map_or(0.0, |(_, value)| *value);
        let unchanged = if self.kind == PanelKind::Prices { 0.0 } else { first };
        if returns.len() >= FEWEST && returns.iter().all(|(_, value)| *value == unchanged) {
            report(FindingKind::Constant, None, format!("never changes in {} rows", present.len()));
        } else {
            self.check_moves(column, &returns, periods, out);
        }
        if last + 1 < rows {
            let text = format!("ends here, {} rows before the data do", rows - 1 - last);
            out.push(self.finding(FindingKind::SeriesEnd, Some(last), name, text));
        }
    }

    /// Large moves, long runs of one price, and moves below the rounding of prices.
    fn check_moves(&self, column: usize, returns: &[(usize, f64)], periods: f64, out: &mut Vec<DataFinding>) {
        let name = &self.assets[column];
        let values = || returns.iter().map(|(_, value)| *value).collect::<Vec<f64>>();
        let centre = median(values()).unwrap_or(0.0);
        let deviation = median(values().iter().map(|value| (value - centre).abs()).collect()).unwrap_or(0.0);
        let large = LARGE_DAILY * (252.0 / periods).sqrt();
        for &(row, value) in returns {
            if value.abs() > large && (value - centre).abs() > LARGE_DEVIATIONS * deviation {
                let text = format!(
                    "the return is {:.1} %; a split that the prices lack, or a wrong price? Check it against another source",
                    value * 100.0
                );
                out.push(self.finding(FindingKind::LargeMove, Some(row), name, text));
            }
        }
        let mean = values().iter().sum::<f64>() / returns.len().max(1) as f64;
        let most = returns.iter().map(|(_, value)| (value - mean).abs()).fold(0.0, f64::max);
        if returns.len() >= FEWEST && most <= self.rounding[column] {
            let text = format!(
                "moves no more than its rounding: the largest deviation of a return is {most:.2e}, two units of the last \
                 decimal place are {:.2e}; give more decimal places, or leave it out",
                self.rounding[column]
            );
            out.push(self.finding(FindingKind::Rounding, None, name, text));
        }
        // A month of one price, and at least five rows.
        let longest = ((periods / 12.0).ceil() as usize).max(5);
        if self.kind == PanelKind::Prices {
            for run in returns.chunk_by(|one, two| one.1 == 0.0 && two.1 == 0.0 && one.0 + 1 == two.0) {
                if run[0].1 == 0.0 && run.len() >= longest {
                    let text = format!("one price in {} rows from here on; filled forward?", run.len() + 1);
                    out.push(self.finding(FindingKind::SamePrice, Some(run[0].0 - 1), name, text));
                }
            }
        }
    }

    /// Whether every asset that has a value has one in the last row, though some began later or years have passed.
    fn check_survivors(&self, out: &mut Vec<DataFinding>) {
        let (rows, columns) = (self.dates.len(), self.assets.len());
        let years = days_between(self.dates[0], self.dates[rows - 1]) / 365.25;
        let alive = |row: usize| self.has_value(row).iter().filter(|present| **present).count();
        let (first, last) = (alive(0), alive(rows - 1));
        if columns >= SURVIVORS.0 && years >= SURVIVORS.1 && last == columns {
            out.push(DataFinding {
                kind: FindingKind::SurvivorsOnly,
                row: None,
                date: None,
                column: None,
                text: format!(
                    "all {columns} columns have a value on the last row ({first} on the first), after {years:.1} years: a \
                     universe of survivors, whose returns are too good; add those that left, and data.membership"
                ),
            });
        }
    }

    /// For each cell 1 where the asset has become a member within a month; `None` where nobody joins later.
    fn joined(&self, periods: f64) -> Option<Vec<f64>> {
        let columns = self.assets.len();
        let month = ((periods / 12.0).round() as usize).max(1);
        let mut age = vec![usize::MAX; columns];
        let mut out = vec![0.0; self.members.len()];
        for row in 1..self.dates.len() {
            for column in 0..columns {
                let now = self.members[row * columns + column];
                let before = self.members[(row - 1) * columns + column];
                age[column] = if now && !before { 0 } else { age[column].saturating_add(1) };
                out[row * columns + column] = f64::from(u8::from(now && age[column] < month));
            }
        }
        out.contains(&1.0).then_some(out)
    }

    /// Whether a plane foretells the next return: the mean rank correlation over dates, against its error.
    fn check_plane(&self, name: &str, plane: &[f64], out: &mut Vec<DataFinding>) {
        let columns = self.assets.len();
        let mut correlations = Vec::new();
        for row in 0..self.dates.len().saturating_sub(1) {
            let pairs = (0..columns).map(|column| (plane[row * columns + column], self.returns(row + 1)[column]));
            let (values, returns): (Vec<f64>, Vec<f64>) =
                pairs.filter(|(value, next)| !value.is_nan() && !next.is_nan()).unzip();
            correlations.extend(rank_correlation(&values, &returns));
        }
        let Some((mean, t)) = mean_and_t(&correlations) else { return };
        if t.abs() > BEYOND_LUCK {
            let text = format!(
                "foretells the next return: mean rank correlation {mean:.3}, t = {t:.1} over {} dates; is it known only \
                 later than its date?",
                correlations.len()
            );
            out.push(self.finding(FindingKind::LookAhead, None, name, text));
        }
    }
}

fn days_between(from: Date, to: Date) -> f64 {
    f64::from(super::days_of(to) - super::days_of(from))
}

fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_unstable_by(f64::total_cmp);
    let middle = values.len() / 2;
    let upper = *values.get(middle)?;
    Some(if values.len() % 2 == 1 { upper } else { f64::midpoint(values[middle - 1], upper) })
}

/// The ranks of values; equal ones share their mean.
fn average_ranks(values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|&one, &two| values[one].total_cmp(&values[two]));
    let (mut ranks, mut first) = (vec![0.0; values.len()], 0);
    for same in order.chunk_by(|&one, &two| values[one] == values[two]) {
        let rank = first as f64 + (same.len() + 1) as f64 / 2.0;
        for &index in same {
            ranks[index] = rank;
        }
        first += same.len();
    }
    ranks
}

/// Spearman's correlation; `None` for fewer than three values or where all are equal.
fn rank_correlation(one: &[f64], two: &[f64]) -> Option<f64> {
    if one.len() < 3 {
        return None;
    }
    let (one, two) = (average_ranks(one), average_ranks(two));
    let mean = (one.len() + 1) as f64 / 2.0;
    let product = |left: &[f64], right: &[f64]| -> f64 {
        left.iter().zip(right).map(|(left, right)| (left - mean) * (right - mean)).sum()
    };
    let scale = (product(&one, &one) * product(&two, &two)).sqrt();
    (scale > 0.0).then(|| product(&one, &two) / scale)
}

/// The mean of a series and its t statistic with the error of Newey and West; `None` for short series.
fn mean_and_t(values: &[f64]) -> Option<(f64, f64)> {
    let count = values.len();
    if count < FEWEST {
        return None;
    }
    let mean = values.iter().sum::<f64>() / count as f64;
    let covariance = |lag: usize| -> f64 {
        values.iter().zip(&values[lag..]).map(|(one, two)| (one - mean) * (two - mean)).sum::<f64>() / count as f64
    };
    let lags = (4.0 * (count as f64 / 100.0).powf(2.0 / 9.0)).floor() as usize;
    let weighted = (1..=lags).map(|lag| (1.0 - lag as f64 / (lags + 1) as f64) * covariance(lag)).sum::<f64>();
    let error = ((covariance(0) + 2.0 * weighted) / count as f64).sqrt();
    // A plane that is always right has no error at all.
    (mean != 0.0).then(|| (mean, if error > 0.0 { mean / error } else { f64::INFINITY.copysign(mean) }))
}

#[cfg(test)]
mod tests {
    use super::{FindingKind, mean_and_t, rank_correlation};
    use crate::panel::{Panel, PanelKind, date_of};
    use crate::settings::Choice as _;
    use jiff::civil::Date;

    /// Weekdays from 2015-01-01 on.
    fn days(count: usize) -> Vec<Date> {
        let weekdays = (16436..).filter(|day| (day + 4) % 7 != 0 && (day + 4) % 7 != 6);
        weekdays.take(count).map(|day| date_of(day).unwrap()).collect()
    }

    /// A return of about one percent that depends on row and column.
    fn noise(row: usize, column: usize) -> f64 {
        let mut hash = ((row * 64 + column + 1) as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb) >> 40;
        (hash as f64 / f64::from(1 << 24) - 0.5) * 0.03
    }

    fn returns(rows: usize, names: &[&str], value: impl Fn(usize, usize) -> f64) -> Panel {
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let values: Vec<f64> =
            (0..rows * names.len()).map(|cell| value(cell / names.len(), cell % names.len())).collect();
        Panel::from_arrays(PanelKind::Returns, days(rows), &names, &values).unwrap()
    }

    fn found(panel: &Panel) -> Vec<(&'static str, String)> {
        panel.check().iter().map(|finding| (finding.kind.name(), finding.to_string())).collect()
    }

    fn only(panel: &Panel, kind: FindingKind) -> String {
        let found = found(panel);
        assert_eq!(found.iter().map(|(name, _)| *name).collect::<Vec<_>>(), [kind.name()], "{found:?}");
        found[0].1.clone()
    }

    #[test]
    fn a_row_of_arrays_without_a_value_is_found_where_it_is() {
        let panel = returns(300, &["A", "B"], |row, column| if row == 9 { f64::NAN } else { noise(row, column) });
        assert_eq!(panel.dates().len(), 300);
        let text = only(&panel, FindingKind::EmptyRow);
        assert!(text.starts_with("row 10 (2015-01-14): no column has a value"), "{text}");
    }

    #[test]
    fn plain_returns_have_no_finding() {
        assert_eq!(found(&returns(300, &["A", "B", "C"], noise)), []);
    }

    #[test]
    fn a_split_is_a_large_move_and_a_move_usual_for_its_asset_is_not() {
        let split =
            returns(100, &["A", "B"], |row, column| if (row, column) == (50, 1) { -0.95 } else { noise(row, column) });
        assert!(
            only(&split, FindingKind::LargeMove).starts_with("row 51 (2015-03-12), column B: the return is -95.0 %")
        );
        let wild = returns(100, &["A"], |row, _| if row == 50 { 0.6 } else { noise(row, 0) * 12.0 });
        assert_eq!(found(&wild), []);
    }

    #[test]
    fn percentages_and_prices_are_not_taken_for_returns_without_a_word() {
        let percent = returns(100, &["A"], |row, _| noise(row, 0) * 30.0);
        assert!(only(&percent, FindingKind::Percent).contains("column A: has a median size of 0."));
        let prices = returns(100, &["A"], |row, _| 100.0 + noise(row, 0));
        assert!(found(&prices).iter().any(|(kind, text)| *kind == "prices" && text.contains("set data.prices")));
    }

    #[test]
    fn series_that_end_stand_still_or_have_the_name_of_a_field_are_named() {
        let ends = returns(
            100,
            &["A", "B"],
            |row, column| if column == 1 && row > 89 { f64::NAN } else { noise(row, column) },
        );
        assert_eq!(
            only(&ends, FindingKind::SeriesEnd),
            "row 90 (2015-05-06), column B: ends here, 10 rows before the data do"
        );
        only(
            &returns(100, &["A", "B"], |row, column| if column == 1 { 0.001 } else { noise(row, column) }),
            FindingKind::Constant,
        );
        only(&returns(100, &["A", "Volume"], noise), FindingKind::FieldName);
        only(
            &returns(100, &["A", "B"], |row, column| if column == 1 { f64::NAN } else { noise(row, column) }),
            FindingKind::NoValue,
        );
        let mut price = 100.0;
        let values: Vec<f64> = (0..100)
            .map(|row| {
                price *= if (40..70).contains(&row) { 1.0 } else { 1.0 + noise(row, 0) };
                price
            })
            .collect();
        let still = Panel::from_arrays(PanelKind::Prices, days(100), &["A".into()], &values).unwrap();
        assert!(
            only(&still, FindingKind::SamePrice).starts_with("row 40 (2015-02-25), column A: one price in 31 rows")
        );
    }

    #[test]
    fn a_universe_without_exits_is_said_to_be_of_survivors() {
        let names = ["A", "B", "C", "D", "E"];
        let text = only(&returns(900, &names, noise), FindingKind::SurvivorsOnly);
        assert!(
            text.contains("all 5 columns have a value on the last row (5 on the first), after 3.4 years"),
            "{text}"
        );
        let exits =
            returns(900, &names, |row, column| if column == 4 && row > 500 { f64::NAN } else { noise(row, column) });
        only(&exits, FindingKind::SeriesEnd);
    }

    #[test]
    fn a_feature_that_foretells_the_next_return_is_found() {
        let names = ["A", "B", "C", "D"];
        let panel = || returns(200, &names, noise);
        let plane = |lead: usize| -> Vec<f64> { (0..800).map(|cell| noise(cell / 4 + lead, cell % 4)).collect() };
        let text = only(&panel().with_feature("tomorrow", &plane(1)).unwrap(), FindingKind::LookAhead);
        assert!(text.starts_with("column tomorrow: foretells the next return: mean rank correlation 1.000"), "{text}");
        assert_eq!(found(&panel().with_feature("other", &plane(5000)).unwrap()), []);
    }

    #[test]
    fn correlation_and_its_error_are_the_ones_of_the_textbook() {
        assert_eq!(rank_correlation(&[1.0, 2.0, 3.0, 4.0], &[10.0, 30.0, 20.0, 40.0]), Some(0.8));
        // Without lags, of 20 to 99 values q is 2 or 3: an alternating series has a negative first covariance.
        let values: Vec<f64> = (0..40).map(|row| 0.1 + if row % 2 == 0 { 0.05 } else { -0.05 }).collect();
        let (mean, t) = mean_and_t(&values).unwrap();
        // Covariances 0.0025·(1, −39/40, 38/40, −37/40), weights 3/4, 1/2, 1/4 of q = 3.
        let variance: f64 = 0.0025 * (1.0 + 2.0 * (-0.75 * 39.0 + 0.5 * 38.0 - 0.25 * 37.0) / 40.0) / 40.0;
        assert!((mean - 0.1).abs() < 1e-12 && (t - 0.1 / variance.sqrt()).abs() < 1e-9, "{t}");
    }
}
