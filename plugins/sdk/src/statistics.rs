//! The host's service `statistics`: covariance, correlation and distance matrices.

use walkforge_plugin_abi::{
    WF_CORRELATION_KENDALL, WF_CORRELATION_PEARSON, WF_CORRELATION_SPEARMAN, WF_COVARIANCE_LEDOIT_WOLF,
    WF_COVARIANCE_SAMPLE, WF_MISSING_COMPLETE, WF_MISSING_PAIRWISE, WF_OK, wf_statistics_service,
};

use crate::boundary::service;
use crate::{Error, code};

/// A covariance estimator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Covariance {
    /// The sample covariance, divisor rows − 1.
    Sample,
    /// Shrinkage toward the identity times the mean variance, divisor rows (Ledoit and Wolf 2004). Requires
    /// [`Missing::Complete`] or returns without a missing value.
    LedoitWolf,
}

/// A correlation coefficient.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coefficient {
    /// Pearson's correlation.
    Pearson,
    /// Spearman's rank correlation.
    Spearman,
    /// Kendall's τ-b.
    Kendall,
}

/// Which rows are used if returns are missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missing {
    /// The rows in which every asset has a return.
    Complete,
    /// For each pair of assets, the rows in which both have a return.
    Pairwise,
}

impl Missing {
    fn constant(self) -> i32 {
        match self {
            Self::Complete => WF_MISSING_COMPLETE,
            Self::Pairwise => WF_MISSING_PAIRWISE,
        }
    }
}

/// The host's service `statistics`. Equal inputs give the same bits on every machine.
///
/// Returns are `[rows, assets]`, row-major; a non-finite return counts as missing. Matrices are row-major and exactly
/// symmetric. Each method overwrites `out` and reuses its memory; after an error the elements of `out` are unspecified.
///
/// ```
/// use walkforge_plugin::{
///     Coefficient, Context, Covariance, Error, Estimator, Missing, Past, Requirements, Settings, Statistics,
///     export_estimator,
/// };
///
/// struct MinVariance {
///     statistics: Statistics,
/// }
///
/// impl Estimator for MinVariance {
/// #   const DESCRIPTION: &'static str = r#"{"name": "min_variance", "version": "1.0.0", "kind": "estimator"}"#;
///     fn create(_settings: &Settings, _context: Context) -> Result<Self, Error> {
///         Ok(Self { statistics: Statistics::from_host()? })
///     }
/// #   fn requirements(&self) -> Requirements { Requirements { lookback: 3, min_history: 3 } }
///
///     // The portfolio of two assets with the least variance.
///     fn weights(&self, past: &Past, out: &mut [f64]) -> Result<(), Error> {
///         let mut covariance = Vec::new();
///         self.statistics.covariance(past.returns, 2, Covariance::Sample, Missing::Complete, &mut covariance)?;
///         let [a, ab, _, b] = covariance[..] else { return Err(Error::data("there are two assets")) };
///         out[0] = (b - ab) / (a + b - 2.0 * ab);
///         out[1] = 1.0 - out[0];
///         Ok(())
///     }
///     // …
/// }
/// # use walkforge::internals::model::Factory as _;
/// # export_estimator!(wf_plugin_init_min_variance, MinVariance);
/// # let plugin = unsafe { walkforge::register(wf_plugin_init_min_variance, "min_variance") }.unwrap();
/// # let settings = walkforge::internals::settings::SettingValues::check("model", &[], &serde_json::Map::new()).unwrap();
/// # plugin.create(&settings, &walkforge::internals::model::Context::default()).unwrap();
///
/// let model = MinVariance { statistics: Statistics::from_host()? };
/// let past = Past {
///     dates: &[19_358, 19_359, 19_360],
///     names: &["A", "B"],
///     // Standard deviations of 0.5 and 1, correlation -1.
///     returns: &[0.5, -1.0, 0.0, 0.0, -0.5, 1.0],
///     members: &[1; 6],
///     features: &[],
///     constant_within: &[1e-12; 2],
///     context: Context::DETACHED,
/// };
/// let mut weights = [0.0; 2];
/// model.weights(&past, &mut weights)?;
/// assert!((weights[0] - 2.0 / 3.0).abs() < 1e-12);
///
/// let mut correlation = Vec::new();
/// model.statistics.correlation(past.returns, 2, Coefficient::Spearman, Missing::Complete, &mut correlation)?;
/// assert!((correlation[1] + 1.0).abs() < 1e-12);
/// # Ok::<(), Error>(())
/// ```
#[derive(Clone, Copy)]
pub struct Statistics(&'static wf_statistics_service);

impl Statistics {
    /// Gets the service, in version 1, from the host.
    ///
    /// # Errors
    /// If no host has loaded the plugin, or the host does not have the service.
    pub fn from_host() -> Result<Self, Error> {
        // SAFETY: the ABI defines `wf_statistics_service` for this service.
        unsafe { service("statistics", 1) }.map(Self)
    }

    /// Computes the covariance matrix of returns, `[assets, assets]`, in squared units of the returns.
    ///
    /// An element is NaN for a pair with fewer than two rows in common; the variance of a constant return is exactly 0.
    ///
    /// # Errors
    /// If the length of `returns` is not a multiple of `assets`, or if fewer than two rows can be used.
    pub fn covariance(
        self,
        returns: &[f64],
        assets: usize,
        estimator: Covariance,
        missing: Missing,
        out: &mut Vec<f64>,
    ) -> Result<(), Error> {
        let estimator = match estimator {
            Covariance::Sample => WF_COVARIANCE_SAMPLE,
            Covariance::LedoitWolf => WF_COVARIANCE_LEDOIT_WOLF,
        };
        let rows = other_axis(returns, assets)?;
        write_square(assets, out, |out, capacity| {
            let returns = returns.as_ptr();
            // SAFETY: `returns` holds rows x assets elements and `out` holds `capacity`; they do not overlap.
            unsafe { (self.0.covariance)(returns, rows, assets, estimator, missing.constant(), out, capacity) }
        })
    }

    /// Computes the correlation matrix of returns, `[assets, assets]`, with a diagonal of 1.
    ///
    /// An element is NaN for a pair with fewer than two rows in common, or if one of the two is constant over those
    /// rows.
    ///
    /// # Errors
    /// As for [`Self::covariance`].
    pub fn correlation(
        self,
        returns: &[f64],
        assets: usize,
        coefficient: Coefficient,
        missing: Missing,
        out: &mut Vec<f64>,
    ) -> Result<(), Error> {
        let coefficient = match coefficient {
            Coefficient::Pearson => WF_CORRELATION_PEARSON,
            Coefficient::Spearman => WF_CORRELATION_SPEARMAN,
            Coefficient::Kendall => WF_CORRELATION_KENDALL,
        };
        let rows = other_axis(returns, assets)?;
        write_square(assets, out, |out, capacity| {
            let returns = returns.as_ptr();
            // SAFETY: `returns` holds rows x assets elements and `out` holds `capacity`; they do not overlap.
            unsafe { (self.0.correlation)(returns, rows, assets, coefficient, missing.constant(), out, capacity) }
        })
    }

    /// Makes a symmetric matrix, `[count, count]`, positive semi-definite in place and returns whether that changed it.
    ///
    /// Negative eigenvalues become 0, then the diagonal is restored.
    ///
    /// # Errors
    /// If the matrix has another size, a non-finite element, or a diagonal element that is not positive.
    pub fn repair(self, matrix: &mut [f64], count: usize) -> Result<bool, Error> {
        if count.checked_mul(count) != Some(matrix.len()) {
            return Err(Error::new(format!("a matrix of {count} rows cannot have {} elements", matrix.len())));
        }
        let mut changed = 0;
        // SAFETY: `matrix` holds count x count elements; `changed` is a local variable.
        let status = unsafe { (self.0.repair)(matrix.as_mut_ptr(), count, &raw mut changed) };
        check(status).map(|()| changed != 0)
    }

    /// Computes the Euclidean distances between `count` points, `[count, dimensions]`, row-major, as a matrix
    /// `[count, count]`.
    ///
    /// # Errors
    /// If the length of `points` is not a multiple of `count`, or if a coordinate is non-finite.
    pub fn distances(self, points: &[f64], count: usize, out: &mut Vec<f64>) -> Result<(), Error> {
        let dimensions = other_axis(points, count)?;
        write_square(count, out, |out, capacity| {
            // SAFETY: `points` holds count x dimensions elements and `out` holds `capacity`; they do not overlap.
            unsafe { (self.0.distances)(points.as_ptr(), count, dimensions, out, capacity) }
        })
    }
}

/// Returns the length of the second axis of an array whose first axis has length `axis`, or the reverse.
fn other_axis(values: &[f64], axis: usize) -> Result<usize, Error> {
    match values.len().checked_rem(axis) {
        Some(0) => Ok(values.len() / axis),
        _ => Err(Error::new(format!("an array of {} elements cannot have an axis of length {axis}", values.len()))),
    }
}

/// Resizes `out` to a square matrix that `write` fills.
fn write_square(count: usize, out: &mut Vec<f64>, write: impl FnOnce(*mut f64, usize) -> i32) -> Result<(), Error> {
    let elements = count.checked_mul(count).filter(|elements| *elements > 0);
    let elements = elements.ok_or_else(|| Error::new(format!("a matrix of {count} rows is not possible")))?;
    out.resize(elements, 0.0);
    check(write(out.as_mut_ptr(), elements))
}

/// Converts a code of the service.
fn check(code: i32) -> Result<(), Error> {
    match code {
        WF_OK => Ok(()),
        code::INVALID_DATA => Err(Error::data("the service 'statistics' cannot use the returns or the matrix")),
        other => Err(Error::new(format!("the service 'statistics' failed with code {other}"))),
    }
}
