//! The host's service `statistics`: covariance, correlation and distance matrices.

use walkforge_plugin_abi::{
    WF_CORRELATION_KENDALL, WF_CORRELATION_PEARSON, WF_CORRELATION_SPEARMAN, WF_COVARIANCE_LEDOIT_WOLF,
    WF_COVARIANCE_SAMPLE, WF_MISSING_COMPLETE, WF_MISSING_PAIRWISE, WF_OK, wf_statistics_service,
};

use crate::boundary::service;
use crate::{Error, code};

/// An estimator of the covariance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Covariance {
    /// Divisor rows − 1.
    Sample,
    /// Shrunk towards the identity times the mean variance, divisor rows (Ledoit and Wolf 2004); complete rows only.
    LedoitWolf,
}

/// A coefficient of correlation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coefficient {
    /// Of the values.
    Pearson,
    /// Of the ranks.
    Spearman,
    /// τ-b.
    Kendall,
}

/// What to do about missing returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missing {
    /// Use the rows in which every asset has a return.
    Complete,
    /// Use, for every pair of assets, the rows in which both have one.
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

/// The service. Equal inputs give equal bits on every machine. Matrices are `[assets, assets]`, row-major; each is written
/// over what `out` held, whose memory is used again, and is of no use where a call fails.
#[derive(Clone, Copy)]
pub struct Statistics(&'static wf_statistics_service);

impl Statistics {
    /// Asks the host for version 1 of the service.
    ///
    /// # Errors
    /// Where the plugin was not loaded by a host, or that has no such service.
    pub fn of_host() -> Result<Self, Error> {
        // SAFETY: this is the type that the ABI gives the service of this name.
        unsafe { service("statistics", 1) }.map(Self)
    }

    /// Covariance of returns `[rows, assets]`, row-major, not finite where missing. NaN for a pair with fewer than two
    /// rows in common; exactly 0 for the variance of one repeated return.
    ///
    /// # Errors
    /// Where the length is not rows of `assets`, and where fewer than two rows can be used.
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
        let rows = rows(returns, assets)?;
        square(assets, out, |out, capacity| {
            let returns = returns.as_ptr();
            // SAFETY: rows x assets numbers are there; `out` has room for `capacity`.
            unsafe { (self.0.covariance)(returns, rows, assets, estimator, missing.constant(), out, capacity) }
        })
    }

    /// Correlation of returns `[rows, assets]`, with a diagonal of 1. NaN for a pair with fewer than two rows in common,
    /// or with a side that does not vary over them.
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
        let rows = rows(returns, assets)?;
        square(assets, out, |out, capacity| {
            let returns = returns.as_ptr();
            // SAFETY: as in `covariance`.
            unsafe { (self.0.correlation)(returns, rows, assets, coefficient, missing.constant(), out, capacity) }
        })
    }

    /// Makes a symmetric matrix of `count` rows positive semi-definite in place, its diagonal kept, and says whether it
    /// had to be changed.
    ///
    /// # Errors
    /// Where the matrix is of another size, has a number that is not finite, or a diagonal that is not positive.
    pub fn repair(self, matrix: &mut [f64], count: usize) -> Result<bool, Error> {
        if count.checked_mul(count) != Some(matrix.len()) {
            return Err(Error::new(format!("{} numbers are no matrix of {count} rows", matrix.len())));
        }
        let mut changed = 0;
        // SAFETY: the matrix has count x count numbers; `changed` is ours.
        let status = unsafe { (self.0.repair)(matrix.as_mut_ptr(), count, &raw mut changed) };
        taken(status).map(|()| changed != 0)
    }

    /// Euclidean distance between every two of `count` points, `[count, dimensions]`, row-major: `[count, count]`.
    ///
    /// # Errors
    /// Where the length is not `count` points, and where a number is not finite.
    pub fn distances(self, points: &[f64], count: usize, out: &mut Vec<f64>) -> Result<(), Error> {
        let dimensions = rows(points, count)?;
        square(count, out, |out, capacity| {
            // SAFETY: count x dimensions numbers are there; `out` has room for `capacity`.
            unsafe { (self.0.distances)(points.as_ptr(), count, dimensions, out, capacity) }
        })
    }
}

/// The length of one side of a table of `numbers` whose other side is `side`.
fn rows(numbers: &[f64], side: usize) -> Result<usize, Error> {
    match numbers.len().checked_rem(side) {
        Some(0) => Ok(numbers.len() / side),
        _ => Err(Error::new(format!("{} numbers are no table with a side of {side}", numbers.len()))),
    }
}

/// Makes room for a square matrix that `fill` writes.
fn square(count: usize, out: &mut Vec<f64>, fill: impl FnOnce(*mut f64, usize) -> i32) -> Result<(), Error> {
    let cells = count.checked_mul(count).filter(|cells| *cells > 0);
    let cells = cells.ok_or_else(|| Error::new(format!("a matrix of {count} rows cannot be")))?;
    out.resize(cells, 0.0);
    taken(fill(out.as_mut_ptr(), cells))
}

/// An error of what the service answered.
fn taken(status: i32) -> Result<(), Error> {
    match status {
        WF_OK => Ok(()),
        code::INVALID_DATA => Err(Error::data("the returns or the matrix cannot be used by the service 'statistics'")),
        other => Err(Error::new(format!("the service 'statistics' failed with code {other}"))),
    }
}
