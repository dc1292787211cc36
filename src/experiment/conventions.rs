//! The conventions that figures are computed with, from the settings and the dates.

use super::Experiment;
use crate::error::{Error, Result};
use crate::evaluate::Conventions;
use crate::panel::{Panel, Rates};
use crate::windows::{Window, periods_per_year, windows};

impl Experiment {
    /// The conventions of a run over these windows; without windows those of all rows. Also returns a warning where
    /// later dates have another spacing.
    ///
    /// # Errors
    /// `InvalidSetting` where the number of rows per year is not set and cannot be read from the dates; errors of
    /// reading the risk-free rates, and `InvalidData` where they do not cover the windows.
    pub(crate) fn conventions(&self, panel: &Panel, windows: &[Window]) -> Result<(Conventions, Option<String>)> {
        let (periods_per_year, warning) = match self.periods_per_year {
            Some(periods) => (periods, None),
            None => periods_per_year(panel.dates(), windows)?,
        };
        let rates = match self.risk_free.parse::<f64>() {
            Ok(rate) => Rates::Constant(rate),
            Err(_) => Rates::from_file(&self.folder.join(&self.risk_free))?,
        };
        // No path holds the first row, nor a row before the first train span.
        let first_row = windows.first().map_or(1, |window| window.train.rows.start.max(1));
        let risk_free = rates.per_row(panel.dates(), first_row, periods_per_year).map_err(in_setting)?;
        Ok((Conventions { periods_per_year, risk_free, first_row }, warning))
    }

    /// A panel outside a run, with the stale rows that a run over it has; none where the rows per year are unknown.
    pub(crate) fn usual_stale_rows(&self, panel: &Panel) -> Panel {
        let read = || periods_per_year(panel.dates(), &windows(panel.dates(), &self.windows).unwrap_or_default());
        match self.periods_per_year.or_else(|| read().ok().map(|(periods, _)| periods)) {
            Some(periods) => panel.clone().with_usual_stale_rows(periods),
            None => panel.clone(),
        }
    }
}

fn in_setting(error: Error) -> Error {
    error.context("setting 'data.risk_free'")
}
