//! The conventions that figures are computed with, from the settings and the dates.

use std::sync::Arc;

use super::Experiment;
use crate::error::{Error, Result};
use crate::evaluate::Conventions;
use crate::panel::{Panel, Rates};
use crate::windows::{Window, periods_per_year};

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
        let risk_free = match rates {
            Rates::Constant(0.0) => Arc::default(),
            rates => {
                // No path holds the first row, nor a row before the first train span.
                let first = windows.first().map_or(1, |window| window.train.rows.start.max(1));
                let mut out = vec![f64::NAN; panel.dates().len()];
                for (row, value) in out.iter_mut().enumerate().skip(first) {
                    // What a day earns was known when it began.
                    let rate = rates.known_at(panel.dates()[row - 1]).map_err(in_setting)?;
                    *value = rate / periods_per_year;
                }
                out.into()
            }
        };
        Ok((Conventions { periods_per_year, risk_free }, warning))
    }
}

fn in_setting(error: Error) -> Error {
    error.context("setting 'data.risk_free'")
}
