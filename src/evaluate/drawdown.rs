//! Wealth, growth over the days held, and drawdowns.

use jiff::civil::Date;

use super::Inputs;
use super::moments::MetricResult;

/// A fall of wealth below its highest value so far, until wealth is as high again.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Drawdown {
    /// Lowest wealth over highest before it, minus 1.
    pub depth: f64,
    /// The day of the highest wealth.
    pub peak: Date,
    /// The day of the lowest wealth.
    pub trough: Date,
    /// The first day with wealth as high as at the peak; `None` if there is none.
    pub recovery: Option<Date>,
    /// Rows held from the day after the peak to the recovery, or to the end.
    pub rows: usize,
    /// Those of them with wealth below the peak.
    pub under_water: usize,
}

pub(super) fn wealth(net: &[f64]) -> f64 {
    net.iter().fold(1.0, |wealth, value| wealth * (1.0 + value))
}

/// The annual growth of wealth over the calendar days in which something could be held: gaps between test spans do not
/// count.
pub(super) fn growth(inputs: &Inputs) -> MetricResult {
    if inputs.dates.is_empty() {
        return Err("there are no returns");
    }
    let ends = inputs.spans.iter().skip(1).map(|(first, _)| *first).chain([inputs.dates.len()]);
    let length = |((_, before), end): (&(usize, Date), usize)| {
        before.duration_until(inputs.dates[end - 1]).as_secs_f64() / 86_400.0
    };
    let days: f64 = inputs.spans.iter().zip(ends).map(length).sum();
    if days <= 0.0 {
        return Err("no calendar day passes");
    }
    Ok(wealth(inputs.net).powf(365.25 / days) - 1.0)
}

/// All drawdowns in the order of time. Wealth starts at 1 on the day before the first return.
pub(crate) fn drawdowns(inputs: &Inputs) -> Result<Vec<Drawdown>, &'static str> {
    let Some((_, start)) = inputs.spans.first() else { return Err("there are no returns") };
    let (mut wealth, mut peak, mut peak_day) = (1.0, 1.0, *start);
    let (mut out, mut open): (Vec<Drawdown>, Option<Drawdown>) = (Vec::new(), None);
    for (value, day) in inputs.net.iter().zip(inputs.dates) {
        wealth *= 1.0 + value;
        if wealth >= peak {
            if let Some(mut fall) = open.take() {
                fall.recovery = Some(*day);
                fall.rows += 1;
                out.push(fall);
            }
            // Of equal highs the first is the peak.
            if wealth > peak {
                (peak, peak_day) = (wealth, *day);
            }
            continue;
        }
        let fall = open.get_or_insert(Drawdown {
            depth: 0.0,
            peak: peak_day,
            trough: *day,
            recovery: None,
            rows: 0,
            under_water: 0,
        });
        fall.rows += 1;
        fall.under_water += 1;
        if wealth / peak - 1.0 < fall.depth {
            (fall.depth, fall.trough) = (wealth / peak - 1.0, *day);
        }
    }
    out.extend(open);
    Ok(out)
}

/// The deepest drawdowns, deepest first.
pub(crate) fn worst_drawdowns(inputs: &Inputs, count: usize) -> Vec<Drawdown> {
    let mut all = drawdowns(inputs).unwrap_or_default();
    all.sort_by(|one, two| one.depth.total_cmp(&two.depth));
    all.truncate(count);
    all
}
