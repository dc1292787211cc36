//! How decisions become holdings in a run: the constraints, and the files of costs, rates and delistings.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::sync::Arc;

use jiff::civil::Date;

use super::{BenchmarkSource, Experiment};
use crate::error::{Error, Result, fail};
use crate::evaluate::Conventions;
use crate::panel::{AssetTable, IndexSeries, Panel, Rates, read_asset_groups, read_asset_table};
use crate::portfolio::{Constraints, Delisting, ExecutionModel, PerAsset, Terms};
use crate::windows::Window;

/// Annual rates.
pub(super) const RATES: RangeInclusive<f64> = -1.0..=1.0;
/// Returns of delisted assets.
pub(super) const DELISTING_RETURNS: RangeInclusive<f64> = -1.0..=10.0;
/// Trading costs in basis points.
const COSTS: RangeInclusive<f64> = 0.0..=10_000.0;
/// The value of `portfolio.cash_return` with which cash earns the risk-free rate.
const RISK_FREE: &str = "risk_free";

impl Experiment {
    /// The execution model of a run.
    ///
    /// # Errors
    /// `InvalidSetting` if a group names an asset that the panel does not have; errors of reading files, with their
    /// setting.
    pub(crate) fn execution(&self, panel: &Panel, conventions: &Conventions) -> Result<ExecutionModel> {
        let (portfolio, periods) = (&self.portfolio, conventions.periods_per_year);
        let cost_bps = match &portfolio.asset_costs {
            None => PerAsset::Same(portfolio.cost_bps),
            Some(file) => {
                let table = read_asset_table(&self.file(file), "bps", &COSTS, false).map_err(of("asset_costs"))?;
                PerAsset::Each(column(panel, &table, portfolio.cost_bps).into())
            }
        };
        let terms = Terms {
            cost_bps,
            borrow: self.borrow(panel, periods)?,
            cash: self.cash(panel, conventions)?,
            delisting: self.delisting(panel, periods)?,
        };
        Ok(ExecutionModel {
            constraints: self.constraints(panel)?,
            lag: portfolio.execution_lag,
            terms: Arc::new(terms),
            index: None,
        })
    }

    /// The constraints on every target.
    ///
    /// # Errors
    /// `InvalidSetting` if a group names an asset that the panel does not have, or is not in its file; errors of reading
    /// that file.
    pub fn constraints(&self, panel: &Panel) -> Result<Constraints> {
        let read = |name: &String| read_asset_groups(&self.file(name)).map_err(of("asset_groups"));
        let groups = self.portfolio.asset_groups.as_ref().map(read).transpose()?;
        self.portfolio.constraints(panel, groups.as_ref())
    }

    /// How the decisions of the benchmark become holdings, beside models that are executed as `execution` says.
    ///
    /// # Errors
    /// `InvalidSetting` if its asset is not in the data; errors of reading its file, and `InvalidData` if the file does
    /// not cover the validation and test spans.
    pub(crate) fn benchmark_execution(
        &self,
        execution: &ExecutionModel,
        panel: &Panel,
        windows: &[Window],
    ) -> Result<ExecutionModel> {
        let mut out = execution.without_constraints();
        match &self.benchmark.source {
            BenchmarkSource::Asset(asset) if !panel.assets().contains(asset) => fail!(
                InvalidSetting,
                "setting 'benchmark.asset': found \"{asset}\", which is not an asset of the data; benchmark.file takes an \
                 index from a file of its own"
            ),
            BenchmarkSource::File(file) => {
                let (Some(first), Some(last)) = (windows.first(), windows.last()) else { return Ok(out) };
                let spans = [&first.validation, &first.test];
                let start = spans.iter().filter(|span| !span.rows.is_empty()).map(|span| span.rows.start).min();
                let needed = start.unwrap_or(first.test.rows.start)..last.test.rows.end;
                let series = IndexSeries::from_file(&self.folder.join(file))
                    .and_then(|series| series.per_row(panel.dates(), needed))
                    .map_err(|error| error.context(format!("setting 'benchmark.file': {}", file.display())))?;
                out.index = Some(series);
            }
            _ => (),
        }
        Ok(out)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// The cost of short positions per row.
    fn borrow(&self, panel: &Panel, periods: f64) -> Result<PerAsset> {
        let setting = &self.portfolio.borrow_rate;
        if let Ok(rate) = setting.parse::<f64>() {
            return Ok(PerAsset::Same(rate / periods));
        }
        let table = read_asset_table(&self.file(setting), "rate", &RATES, false).map_err(of("borrow_rate"))?;
        let missing = panel.assets().iter().find(|asset| !table.contains_key(*asset));
        if let Some(asset) = missing.filter(|_| !self.portfolio.long_only()) {
            fail!(
                InvalidSetting,
                "setting 'portfolio.borrow_rate': {setting} has no row for {asset}, which may be sold short; add one, or \
                 set portfolio.long_only = true"
            );
        }
        Ok(PerAsset::Each(column(panel, &table, 0.0).iter().map(|rate| rate / periods).collect()))
    }

    /// What cash earns per row; empty for nothing.
    fn cash(&self, panel: &Panel, conventions: &Conventions) -> Result<Arc<[f64]>> {
        let setting = &self.portfolio.cash_return;
        if setting == RISK_FREE {
            return Ok(Arc::clone(&conventions.risk_free));
        }
        // No path holds a row before the first that the risk-free rate must cover either.
        let rates = match setting.parse::<f64>() {
            Ok(rate) => Rates::Constant(rate),
            Err(_) => Rates::from_file(&self.file(setting)).map_err(of("cash_return"))?,
        };
        rates.per_row(panel.dates(), conventions.first_row, conventions.periods_per_year).map_err(of("cash_return"))
    }

    /// What becomes of series that end.
    fn delisting(&self, panel: &Panel, periods: f64) -> Result<Delisting> {
        let rows = self.delist_rows.unwrap_or_else(|| ((periods / 12.0).ceil() as usize).max(2));
        let setting = &self.delisting_return;
        if let Ok(earned) = setting.parse::<f64>() {
            return Ok(Delisting { rows, earned: PerAsset::Same(earned), dates: BTreeMap::new() });
        }
        let in_setting = |error: Error| error.context("setting 'data.delisting_return'");
        let table = read_asset_table(&self.file(setting), "return", &DELISTING_RETURNS, true).map_err(in_setting)?;
        let dated = |(asset, name): (usize, &String)| Some((asset, table.get(name)?.1?));
        let dates: BTreeMap<usize, Date> = panel.assets().iter().enumerate().filter_map(dated).collect();
        Ok(Delisting { rows, earned: PerAsset::Each(column(panel, &table, 0.0).into()), dates })
    }
}

/// The number of each asset of the panel, or another where the table has none.
fn column(panel: &Panel, table: &AssetTable, other: f64) -> Vec<f64> {
    panel.assets().iter().map(|asset| table.get(asset).map_or(other, |(value, _)| *value)).collect()
}

/// Adds to an error a setting of `[portfolio]`.
fn of(setting: &'static str) -> impl Fn(Error) -> Error {
    move |error| error.context(format!("setting 'portfolio.{setting}'"))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use jiff::ToSpan;
    use jiff::civil::{Date, date};

    use super::Experiment;
    use crate::error::Result;
    use crate::evaluate::Conventions;
    use crate::panel::{Panel, PanelKind};
    use crate::portfolio::{ExecutionModel, PerAsset};

    /// The execution model of two assets over ten days, 12 rows a year.
    fn execution(folder: &Path, overrides: &[&str]) -> Result<ExecutionModel> {
        let overrides: Vec<String> = overrides.iter().map(|&entry| entry.to_owned()).collect();
        let experiment = Experiment::from_toml("", folder.to_owned(), &overrides)?;
        let dates: Vec<Date> = (0..10).map(|day| date(2020, 1, 1) + i64::from(day).days()).collect();
        let panel = Panel::from_arrays(PanelKind::Prices, dates, &["A".into(), "B".into()], &[1.0; 20])?;
        experiment.execution(&panel, &Conventions { periods_per_year: 12.0, ..Conventions::per_row() })
    }

    fn folder() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
        write("costs.csv", "ticker,bps\nB,30\n");
        write("bad.csv", "ticker,bps\nB,-30\n");
        write("borrow.csv", "ticker,rate\nA,0.12\n");
        write("cash.csv", "date,rate\n2019-12-31,0.012\n2020-01-05,0.024\n");
        write("gone.csv", "ticker,return,date\nB,-0.5,2020-01-04\n");
        folder
    }

    #[test]
    fn files_give_costs_by_asset_rates_per_row_and_delistings() {
        let folder = folder();
        let overrides = [
            "portfolio.asset_costs=costs.csv",
            "portfolio.borrow_rate=borrow.csv",
            "portfolio.cash_return=cash.csv",
            "data.delisting_return=gone.csv",
        ];
        let terms = execution(folder.path(), &overrides).unwrap().terms;
        // An asset that the file does not name costs `cost_bps`.
        assert_eq!((terms.cost_bps.of(0), terms.cost_bps.of(1)), (10.0, 30.0));
        assert!((terms.borrow.of(0) - 0.01).abs() < 1e-15 && terms.borrow.of(1) == 0.0);
        // A row earns the rate that was known when it began.
        assert!(
            terms.cash[0].is_nan() && (terms.cash[5] - 0.002).abs() < 1e-15 && (terms.cash[4] - 0.001).abs() < 1e-15
        );
        assert_eq!((terms.delisting.earned.of(0), terms.delisting.earned.of(1)), (0.0, -0.5));
        assert_eq!(terms.delisting.dates.get(&1), Some(&date(2020, 1, 4)));
        let plain = execution(folder.path(), &["portfolio.cash_return=risk_free"]).unwrap().terms;
        assert_eq!((&plain.cost_bps, plain.cash.len()), (&PerAsset::Same(10.0), 0));
        // A month of rows, at least 2.
        assert_eq!(plain.delisting.rows, 2);
    }

    #[test]
    fn errors_name_the_setting_and_the_file() {
        let folder = folder();
        for (overrides, expected) in [
            (
                &["portfolio.asset_costs=bad.csv"][..],
                ["'portfolio.asset_costs'", "bad.csv", "row 2, column bps: found -30"],
            ),
            (&["portfolio.asset_costs=none.csv"], ["'portfolio.asset_costs'", "none.csv", ""]),
            (&["portfolio.borrow_rate=2"], ["'portfolio.borrow_rate': found 2", "-1 to 1", "or a file"]),
            (
                &["portfolio.borrow_rate=borrow.csv", "portfolio.long_only=false"],
                ["'portfolio.borrow_rate'", "borrow.csv has no row for B", "long_only = true"],
            ),
            (&["portfolio.cash_return=costs.csv"], ["'portfolio.cash_return'", "costs.csv", "row 2"]),
            (&["data.delisting_return=-1.5"], ["'data.delisting_return': found -1.5", "-1 to 10", "or a file"]),
            (&["data.delisting_return=borrow.csv"], ["'data.delisting_return'", "borrow.csv", "no column 'return'"]),
        ] {
            let message = execution(folder.path(), overrides).err().unwrap().to_string();
            assert!(expected.iter().all(|part| message.contains(part)), "{message}");
        }
    }
}
