//! Hierarchical risk parity (López de Prado 2016, "Building Diversified Portfolios that Outperform Out of Sample").
//!
//! Correlation distance, distance between its columns, single linkage, leaf order, recursive bisection.

mod bisection;
mod linkage;
mod statistics;

use walkforge_plugin::{Context, Error, Estimator, Past, Requirements, Settings, export_estimator};

/// The HRP model: it has nothing to fit, and weighs from its lookback alone.
pub struct Hrp {
    requirements: Requirements,
}

impl Estimator for Hrp {
    const DESCRIPTION: &'static str = concat!(
        r#"{"name": "hrp", "kind": "estimator", "version": ""#,
        env!("CARGO_PKG_VERSION"),
        r#"", "doc": "Hierarchical risk parity (Lopez de Prado 2016)", "settings": ["#,
        r#"{"name": "lookback", "type": "integer", "minimum": 2, "maximum": 100000, "default": 756, "#,
        r#""doc": "returns (rows) that correlations and variances are taken from"},"#,
        r#"{"name": "min_history", "type": "integer", "minimum": 2, "maximum": 100000, "default": null, "#,
        r#""doc": "finite returns an asset needs in the lookback to be weighed; half of the lookback if left out"}]}"#
    );

    const FITS: bool = false;

    fn create(settings: &Settings, _context: Context) -> Result<Self, Error> {
        let lookback = settings.count("lookback").ok_or_else(|| Error::new("setting 'lookback' is missing"))?;
        let min_history = settings.count("min_history").unwrap_or(lookback.div_ceil(2).max(2));
        if min_history > lookback {
            return Err(Error::data(format!(
                "setting 'min_history': found {min_history}, allowed is at most the lookback of {lookback}"
            )));
        }
        Ok(Self { requirements: Requirements { lookback, min_history } })
    }

    fn requirements(&self) -> Requirements {
        self.requirements
    }

    fn weights(&self, past: &Past, out: &mut [f64]) -> Result<(), Error> {
        out.copy_from_slice(&hrp_weights(past.returns, past.names)?);
        Ok(())
    }
}

export_estimator!(wf_plugin_init_hrp, Hrp);

/// HRP weights of returns `[rows, assets]`, row-major; rows with a missing return are left out.
///
/// # Errors
/// Where fewer than two rows are complete, and where an asset has no variance: its name.
pub fn hrp_weights(returns: &[f64], names: &[&str]) -> Result<Vec<f64>, Error> {
    let assets = names.len();
    if assets == 1 {
        return Ok(vec![1.0]);
    }
    let columns = statistics::complete_columns(returns, assets);
    let rows = columns.len() / assets;
    if rows < 2 {
        return Err(Error::data(format!(
            "{rows} of {} rows have a return for each of {assets} assets; at least 2 are needed",
            returns.len() / assets
        )));
    }
    let covariance = statistics::covariance(&columns, assets);
    if let Some(flat) = (0..assets).find(|asset| covariance[asset * assets + asset] <= 0.0) {
        return Err(Error::data(format!("the returns of {} do not vary over {rows} rows", names[flat])));
    }
    let distance = statistics::correlation_distance(&covariance, assets);
    let order = linkage::leaf_order(&linkage::single(&statistics::column_distance(&distance, assets), assets), assets);
    Ok(bisection::weights(&covariance, assets, &order))
}
