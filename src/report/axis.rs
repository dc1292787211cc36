//! Axes of charts: positions and labels of round values and of calendar dates.

use jiff::civil::Date;

/// Days since 1970-01-01.
pub(super) fn day_number(day: Date) -> f64 {
    Date::new(1970, 1, 1).map_or(0.0, |epoch| epoch.duration_until(day).as_secs_f64() / 86_400.0)
}

/// The horizontal axis of a chart: maps dates to positions from 0 to 1.
#[derive(Clone, Copy)]
pub(super) struct DateAxis {
    first: f64,
    last: f64,
}

impl DateAxis {
    /// An axis from the first to the last of `days`.
    pub(super) fn new(days: &[Date]) -> Self {
        let first = days.first().map_or(0.0, |day| day_number(*day));
        Self { first, last: days.last().map_or(1.0, |day| day_number(*day)).max(first + 1.0) }
    }

    /// The position of a day.
    pub(super) fn position(self, day: Date) -> f64 {
        (day_number(day) - self.first) / (self.last - self.first)
    }

    /// Positions and texts of the labels below the axis: at most eight years, or five months on a short axis.
    pub(super) fn labels(self, days: &[Date]) -> Vec<(f64, String)> {
        let (Some(first), Some(last)) = (days.first(), days.last()) else { return Vec::new() };
        let months = |day: &Date| i64::from(day.year()) * 12 + i64::from(day.month()) - 1;
        for step in [1, 2, 3, 6, 12, 24, 36, 60, 120, 240, 600, 1200] {
            let labels: Vec<(f64, String)> = (months(first).div_euclid(step)..=months(last).div_euclid(step))
                .filter_map(|count| {
                    let month = count * step;
                    let (year, month) = (month.div_euclid(12), month.rem_euclid(12) + 1);
                    let position = self.position(Date::new(year as i16, month as i8, 1).ok()?);
                    let label = if step < 12 { format!("{year}-{month:02}") } else { year.to_string() };
                    // Labels are centred on their position, so at the very ends they would be cut off.
                    (0.02..=0.97).contains(&position).then_some((position, label))
                })
                .collect();
            if labels.len() <= if step < 12 { 5 } else { 8 } {
                return labels;
            }
        }
        Vec::new()
    }
}

/// Round values between the bounds, and their labels. On a logarithmic scale the bounds are logarithms, and the values
/// are 1, 2 and 5 times powers of ten if enough of those lie between the bounds.
pub(super) fn ticks(low: f64, high: f64, logarithmic: bool, percent: bool) -> Vec<(f64, String)> {
    if logarithmic {
        for steps in [&[1.0, 2.0, 5.0][..], &[1.0]] {
            let powers = (-12..=12).flat_map(|power| steps.iter().map(move |step| step * 10.0_f64.powi(power)));
            let found: Vec<f64> = powers.filter(|tick| (low..=high).contains(&tick.ln())).collect();
            if (3..=8).contains(&found.len()) {
                return found.into_iter().map(|tick| (tick, label(tick, tick, percent))).collect();
            }
        }
    }
    let (low, high) = if logarithmic { (low.exp(), high.exp()) } else { (low, high) };
    let rough = (high - low) / 5.0;
    let power = 10.0_f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].map(|step| step * power).into_iter().find(|step| *step >= rough).unwrap_or(rough);
    let (first, last) = ((low / step - 1e-9).ceil() as i64, (high / step + 1e-9).floor() as i64);
    (first..=last).map(|count| count as f64 * step).map(|tick| (tick, label(tick, step, percent))).collect()
}

/// A value with as many decimals as the step between values needs.
fn label(value: f64, step: f64, percent: bool) -> String {
    let (value, step) = if percent { (value * 100.0, step * 100.0) } else { (value, step) };
    let digits = (-(step.abs() * (1.0 + 1e-9)).log10().floor()).clamp(0.0, 9.0) as usize;
    let text = format!("{value:.digits$}").replace('-', "−");
    if percent { format!("{text}\u{a0}%") } else { text }
}

#[cfg(test)]
mod tests {
    use super::{DateAxis, ticks};
    use jiff::civil::{Date, date};

    fn texts(low: f64, high: f64, logarithmic: bool, percent: bool) -> Vec<String> {
        ticks(low, high, logarithmic, percent).into_iter().map(|(_, text)| text).collect()
    }

    #[test]
    fn ticks_are_round_values_inside_the_bounds() {
        let expected = ["−50\u{a0}%", "−40\u{a0}%", "−30\u{a0}%", "−20\u{a0}%", "−10\u{a0}%", "0\u{a0}%"];
        assert_eq!(texts(-0.5, 0.0, false, true), expected);
        assert_eq!(texts(0.5_f64.ln(), 60.0_f64.ln(), true, false), ["0.5", "1", "2", "5", "10", "20", "50"]);
        assert_eq!(texts(0.5_f64.ln(), 6000.0_f64.ln(), true, false), ["1", "10", "100", "1000"]);
        // The bounds are too close for powers of ten: steps are linear.
        assert_eq!(texts(0.98_f64.ln(), 1.05_f64.ln(), true, false), ["0.98", "1.00", "1.02", "1.04"]);
        assert_eq!(texts(-0.1, 0.1, false, false), ["−0.10", "−0.05", "0.00", "0.05", "0.10"]);
    }

    fn labels(first: Date, last: Date) -> Vec<String> {
        DateAxis::new(&[first, last]).labels(&[first, last]).into_iter().map(|(_, text)| text).collect()
    }

    #[test]
    fn an_axis_of_any_length_has_few_labels() {
        assert_eq!(labels(date(1994, 1, 3), date(2022, 12, 28)).first().unwrap(), "1995");
        assert!(labels(date(1800, 1, 1), date(2022, 12, 28)).len() <= 8);
        let year = labels(date(2020, 1, 2), date(2020, 12, 31));
        assert_eq!(year, ["2020-03", "2020-05", "2020-07", "2020-09", "2020-11"]);
        assert!(labels(date(2020, 1, 2), date(2020, 1, 3)).is_empty());
    }
}
