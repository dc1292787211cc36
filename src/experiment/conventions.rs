//! The conventions that figures are computed with, from the settings and the dates.

use std::sync::Arc;

use super::Experiment;
use crate::error::Result;
use crate::evaluate::Conventions;
use crate::panel::Panel;
use crate::windows::{Window, periods_per_year};

impl Experiment {
    /// The conventions of a run over these windows; without windows those of all rows. Also returns a warning where
    /// later dates have another spacing.
    ///
    /// # Errors
    /// `InvalidSetting` where the number of rows per year is not set and cannot be read from the dates.
    pub(crate) fn conventions(&self, panel: &Panel, windows: &[Window]) -> Result<(Conventions, Option<String>)> {
        let (periods_per_year, warning) = match self.periods_per_year {
            Some(periods) => (periods, None),
            None => periods_per_year(panel.dates(), windows)?,
        };
        Ok((Conventions { periods_per_year, risk_free: Arc::default() }, warning))
    }
}
