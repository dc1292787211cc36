//! The Sharpe ratio of the batch's portfolio returns, negated.

pub(super) mod cpu;

pub use cpu::sharpe;

use super::{Head, LabelKind};

pub(super) const HEAD: Head = Head::Weights;
pub(super) const LABEL: LabelKind = LabelKind::Held;
pub(super) const CHARGES_TURNOVER: bool = true;
/// A standard deviation needs two returns.
pub(super) const FEWEST_SAMPLES: usize = 2;
pub(super) const DOC: &str = "-mean / standard deviation of the portfolio returns of an optimiser step";

/// Elements of both buffers of [`super::LossWorkspace`].
pub(super) fn workspace(rows: usize, assets: usize, turnover: bool) -> [usize; 2] {
    [rows, if turnover { 2 * rows * assets } else { 0 }]
}
