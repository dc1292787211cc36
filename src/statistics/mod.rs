//! Covariance, correlation and distance matrices of returns.
//!
//! Every sum runs in one fixed order, so equal inputs give equal bits on every machine and at every thread count (there
//! are no threads here). Matrices are `[assets, assets]`, row-major and symmetric to the bit.

mod distance;
mod kendall;
mod kernel;
mod moments;
mod ranks;
mod repair;
mod sample;

pub use distance::{all_finite, distances, distances_into};
pub use repair::repair;
pub use sample::{Missing, Sample};

/// A coefficient of correlation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coefficient {
    /// Of the values.
    Pearson,
    /// Of the ranks, equal values sharing the mean of theirs (Spearman 1904), as pandas and SciPy have it.
    Spearman,
    /// τ-b: concordant less discordant pairs, corrected for ties on either side (Kendall 1945), as pandas and SciPy have
    /// it.
    Kendall,
}
