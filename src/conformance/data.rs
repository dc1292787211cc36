//! Synthetic data for the checks, the same on every machine.

use jiff::ToSpan;
use jiff::civil::{Date, Weekday, date};

use crate::error::Result;
use crate::model::{Estimator, Requirements, eligible, past_at as model_past};
use crate::panel::{Panel, PanelKind, Past};

/// The most rows that are generated for a plugin with a long lookback.
const MAX_ROWS: usize = 4000;

/// Pseudo-random draws (splitmix64), uniform in [-1, 1).
pub(super) struct DataRandom(pub(super) u64);

impl DataRandom {
    pub(super) fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 * (2.0 / (1_u64 << 53) as f64) - 1.0
    }
}

/// The first `count` weekdays from 2010-01-01 on.
pub(super) fn weekdays(count: usize) -> Vec<Date> {
    let mut days = Vec::with_capacity(count);
    let mut day = date(2010, 1, 1);
    while days.len() < count {
        if !matches!(day.weekday(), Weekday::Saturday | Weekday::Sunday) {
            days.push(day);
        }
        day = day.saturating_add(1.day());
    }
    days
}

/// Asset names that a plugin may not expect: short, long, non-ASCII, with spaces and quotes.
fn unusual_names(assets: usize) -> Vec<String> {
    (0..assets)
        .map(|asset| match asset {
            0 => "A".to_owned(),
            1 => "Zürich \"AG\", Ltd".to_owned(),
            2 => "長".repeat(200),
            _ => format!("ASSET{asset}"),
        })
        .collect()
}

/// A panel of ordinary returns: a common factor and noise, a few gaps, an asset that joins late, one that leaves early,
/// and a feature.
pub(super) fn ordinary_panel(rows: usize, assets: usize) -> Result<Panel> {
    let mut draws = DataRandom(2026);
    let mut values = Vec::with_capacity(rows * assets);
    let mut members = Vec::with_capacity(rows * assets);
    for row in 0..rows {
        let market = 0.008 * draws.next();
        for asset in 0..assets {
            let noise = 0.01 * draws.next() * (1.0 + asset as f64 / assets as f64);
            let gap = draws.next() > 0.995;
            values.push(if gap { f64::NAN } else { 0.0003 + market + noise });
            let joined = asset != 3 || row > rows / 8;
            members.push(joined && (asset != 4 || row < rows - rows / 16));
        }
    }
    let panel = Panel::from_arrays(PanelKind::Returns, weekdays(rows), &unusual_names(assets), &values)?
        .with_members(&members)?;
    let volume: Vec<f64> = values.iter().map(|value| 1e6 * (1.0 + value.abs() * 50.0)).collect();
    panel.with_feature("volume", &volume)
}

/// An ordinary panel that is long enough for a model; `None` if that would be too long.
pub(super) fn panel_for(model: &dyn Estimator) -> Result<Option<Panel>> {
    let rows = model.requirements().lookback.saturating_add(80).max(400);
    if rows > MAX_ROWS { Ok(None) } else { ordinary_panel(rows, 8).map(Some) }
}

/// The past that a model is shown at a row; `None` if no asset has enough history.
pub(super) fn past_at(panel: &Panel, model: &dyn Estimator, row: usize) -> Result<Option<Past>> {
    past_for(panel, model.requirements(), row)
}

/// The past for these requirements at a row; `None` if no asset has enough history.
pub(super) fn past_for(panel: &Panel, requirements: Requirements, row: usize) -> Result<Option<Past>> {
    if eligible(panel, requirements, 0, row).is_empty() {
        return Ok(None);
    }
    model_past(panel, requirements, 0, row).map(Some)
}

/// Fits a model, if it is one that is fitted, on the first three quarters of a panel. Returns the next row.
pub(super) fn fit(panel: &Panel, model: &mut dyn Estimator) -> Result<usize> {
    let rows = panel.dates().len();
    let (train, validation) = (rows / 2, rows * 3 / 4);
    if model.needs_fit() {
        let all: Vec<usize> = (0..panel.assets().len()).collect();
        model.fit(&panel.past(0..train, &all)?, Some(&panel.past(train..validation, &all)?))?;
    }
    Ok(validation)
}
