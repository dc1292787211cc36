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

#[cfg(test)]
mod tests {
    use jiff::civil::{Date, date};

    use super::{Drawdown, drawdowns, growth, worst_drawdowns};
    use crate::evaluate::Inputs;

    fn with<T>(net: &[f64], dates: &[Date], spans: &[(usize, Date)], figures: impl FnOnce(&Inputs) -> T) -> T {
        figures(&Inputs {
            periods_per_year: 252.0,
            spans,
            dates,
            gross: net,
            net,
            excess: net,
            turnover: net,
            benchmark: None,
            targets: &[],
            coefficients: &[],
        })
    }

    #[test]
    fn growth_counts_the_days_of_the_spans_and_not_those_between_them() {
        let dates = [date(2014, 6, 30), date(2014, 12, 31), date(2016, 12, 31)];
        let spans = [(0, date(2013, 12, 31)), (2, date(2015, 12, 31))];
        // 365 days in 2014 and 366 in 2016; nothing was held in 2015.
        let expected = (1.1_f64 * 1.1 * 1.1).powf(365.25 / 731.0) - 1.0;
        let found = with(&[0.1; 3], &dates, &spans, growth).unwrap();
        assert!((found - expected).abs() < 1e-14, "{found}");
        let without_gap = with(&[0.1; 3], &dates, &spans[..1], growth).unwrap();
        assert!((without_gap - (1.331_f64.powf(365.25 / 1096.0) - 1.0)).abs() < 1e-14);
    }

    #[test]
    fn drawdowns_have_their_days_and_lengths_and_the_deepest_come_first() {
        let day = |day: i8| date(2020, 1, day);
        let dates: Vec<Date> = (2..=10).map(day).collect();
        // Wealth 0.9, 1, 2, 1, 1.5, 2, 2.2, 2.09, 2.145.
        let wealth = [0.9, 1.0, 2.0, 1.0, 1.5, 2.0, 2.2, 2.09, 2.145];
        let before = [1.0, 0.9, 1.0, 2.0, 1.0, 1.5, 2.0, 2.2, 2.09];
        let net: Vec<f64> = wealth.iter().zip(before).map(|(after, before)| after / before - 1.0).collect();
        // Rounding must not decide whether wealth of exactly 1 and 2 is a recovery, so it is a little more.
        let net: Vec<f64> = net.iter().map(|value| value + 1e-12).collect();
        let spans = [(0, day(1))];
        let found = with(&net, &dates, &spans, |inputs| worst_drawdowns(inputs, 2));
        let depths: Vec<f64> = found.iter().map(|fall| (fall.depth * 1e9).round() / 1e9).collect();
        assert_eq!(depths, [-0.5, -0.1]);
        let of = |fall: &Drawdown| (fall.peak, fall.trough, fall.recovery, fall.rows, fall.under_water);
        assert_eq!(of(&found[0]), (day(4), day(5), Some(day(7)), 3, 2));
        assert_eq!(of(&found[1]), (day(1), day(2), Some(day(3)), 2, 1));
        let all = with(&net, &dates, &spans, drawdowns).unwrap();
        assert_eq!(of(&all[2]), (day(8), day(9), None, 2, 2));
    }
}
