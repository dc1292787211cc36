//! How decisions become holdings in a run: the constraints, and the files of costs, rates and delistings.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::sync::Arc;

use jiff::civil::Date;

use super::Experiment;
use crate::error::{Error, Result, fail};
use crate::evaluate::Conventions;
use crate::panel::{AssetTable, Panel, Rates, read_asset_table};
use crate::portfolio::{Delisting, ExecutionModel, PerAsset, Terms};

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
            constraints: portfolio.constraints(panel.assets())?,
            lag: portfolio.execution_lag,
            terms: Arc::new(terms),
        })
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
