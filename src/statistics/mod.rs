//! Covariance, correlation and distance matrices of returns.
//!
//! Every sum runs in a fixed order on one thread, so equal inputs give equal bits on every machine. Matrices are
//! `[assets, assets]`, row-major and symmetric to the bit.

mod distance;
mod kendall;
mod kernel;
mod moments;
mod ranks;
mod repair;
mod sample;
mod spectrum;

pub(crate) use distance::{all_finite, distances_into};
pub(crate) use repair::repair;
pub use sample::{Missing, Sample};

/// A correlation coefficient.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coefficient {
    /// Correlation of the values.
    Pearson,
    /// Correlation of the ranks, where equal values share their mean rank (Spearman 1904), as in pandas and SciPy.
    Spearman,
    /// τ-b: concordant minus discordant pairs, corrected for ties on either side (Kendall 1945), as in pandas and
    /// SciPy.
    Kendall,
}
