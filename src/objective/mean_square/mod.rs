//! The mean squared error of scores against returns that are standardised over the train span.

pub(super) mod cpu;

use super::{Head, LabelKind};

pub(super) const HEAD: Head = Head::Scores;
pub(super) const LABEL: LabelKind = LabelKind::Observed;
pub(super) const CHARGES_TURNOVER: bool = false;
pub(super) const FEWEST_SAMPLES: usize = 1;
pub(super) const DOC: &str = "mean squared error of scores against returns standardised over the train span";
