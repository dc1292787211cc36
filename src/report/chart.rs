//! Line charts. The lines are an SVG that stretches with its box; labels are HTML positioned in percent, so that text
//! keeps its size from a phone to a wide screen. Colours are CSS variables of the page, for light and dark mode.

use std::fmt::Write as _;

use jiff::civil::Date;

use super::axis::{DateAxis, day_number, ticks};
use super::{benchmark_last, escape};

/// Size of a drawing in SVG units, so fine that integer coordinates are precise enough; they keep paths short.
pub(super) const WIDTH: f64 = 10_000.0;
const HEIGHT: f64 = 3_000.0;
/// A line is downsampled to the lowest and highest value in each of this many buckets.
const BUCKETS: usize = 600;
/// With more windows than this, shading would be mere stripes and is left out.
pub(super) const MAX_BANDS: usize = 80;
/// A gap of more days than this, and of more than [`MAX_GAP_ROWS`], interrupts a line.
const MAX_GAP_DAYS: f64 = 20.0;
/// See [`MAX_GAP_DAYS`]: with a row per month a gap begins where a month is left out.
const MAX_GAP_ROWS: f64 = 1.6;
/// Number of line colours. Further lines use the same colours, dotted.
pub(super) const COLOURS: usize = 7;

/// A named series with one value per day; NaN leaves a gap.
pub(super) struct Line {
    pub(super) name: String,
    pub(super) values: Vec<f64>,
}

/// A chart of lines over days.
pub(super) struct Chart<'a> {
    pub(super) title: &'a str,
    pub(super) note: &'a str,
    pub(super) periods_per_year: f64,
    pub(super) days: &'a [Date],
    pub(super) bands: &'a [(Date, Date)],
    pub(super) logarithmic: bool,
    pub(super) percent: bool,
    pub(super) lines: Vec<Line>,
}

impl Chart<'_> {
    /// The chart as an HTML section.
    pub(super) fn html(&self) -> String {
        let scale = |value: f64| if self.logarithmic { value.ln() } else { value };
        let values = self.lines.iter().flat_map(|line| &line.values).map(|value| scale(*value));
        let (mut low, mut high) =
            values.filter(|v| v.is_finite()).fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), v| (l.min(v), h.max(v)));
        let mut out = format!("<section class=\"chart\"><h2>{}</h2><p>{}</p>", self.title, self.note);
        if low > high {
            out += "<p>There are too few days for this chart.</p></section>\n";
            return out;
        }
        let margin = ((high - low) * 0.02).max(1e-9);
        (low, high) = (low - margin, if self.percent && high == 0.0 { 0.0 } else { high + margin });
        let down = |value: f64| (high - value) / (high - low);
        let axis = DateAxis::new(self.days);
        out += &self.key();
        let _ = write!(
            out,
            "<div class=\"plot\" role=\"img\" aria-label=\"{}\"><svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" \
             preserveAspectRatio=\"none\">",
            self.alternative()
        );
        if self.bands.len() <= MAX_BANDS {
            for (start, end) in self.bands.iter().step_by(2) {
                let (left, right) = (axis.position(*start) * WIDTH, axis.position(*end) * WIDTH);
                let width = (right - left).max(0.0);
                let _ = write!(
                    out,
                    "<rect class=\"band\" x=\"{left:.0}\" y=\"0\" width=\"{width:.0}\" height=\"{HEIGHT}\"/>"
                );
            }
        }
        let ticks = ticks(low, high, self.logarithmic, self.percent);
        for (tick, _) in &ticks {
            let y = down(scale(*tick)) * HEIGHT;
            let class = if *tick == 0.0 && !self.logarithmic { "zero" } else { "rule" };
            let _ = write!(out, "<path class=\"{class}\" d=\"M0 {y:.0}H{WIDTH}\"/>");
        }
        // The benchmark is drawn last: lines under it show through its dashes.
        for (model, line) in benchmark_last(&self.lines) {
            let points = self.days.iter().zip(&line.values).map(|(day, value)| (*day, scale(*value)));
            let points = downsample(&points.collect::<Vec<_>>(), BUCKETS, |one, two| self.is_gap(one, two));
            let path = path(&points, |day, value| (axis.position(day) * WIDTH, down(value) * HEIGHT));
            let _ = write!(out, "<path class=\"{}\" d=\"{path}\"/>", line_class(model));
        }
        out += "</svg>";
        for (tick, label) in &ticks {
            let _ = write!(out, "<span class=\"y\" style=\"top:{:.1}%\">{label}</span>", down(scale(*tick)) * 100.0);
        }
        out += &labels_below(axis, self.days);
        out += "</div></section>\n";
        out
    }

    fn is_gap(&self, one: Date, two: Date) -> bool {
        is_gap(one, two, self.periods_per_year)
    }

    /// The legend: swatch, name and last value of each line.
    fn key(&self) -> String {
        let mut out = String::from("<ul class=\"key\">");
        for (model, line) in benchmark_last(&self.lines) {
            let _ = write!(out, "<li>{} {} <b>{}</b></li>", swatch(model), escape(&line.name), self.last(line));
        }
        out + "</ul>"
    }

    /// The last value of a line, as text.
    fn last(&self, line: &Line) -> String {
        let last = match line.values.iter().rev().find(|value| value.is_finite()) {
            Some(value) if self.percent => format!("{:.1}\u{a0}%", value * 100.0),
            Some(value) => format!("{value:.2}"),
            None => "–".to_owned(),
        };
        last.replace('-', "−")
    }

    /// The chart in words, for those who do not see it: its title, days, and the range and last value of each line.
    fn alternative(&self) -> String {
        let mut out = self.title.to_owned();
        if let (Some(first), Some(last)) = (self.days.first(), self.days.last()) {
            let _ = write!(out, ", {first} to {last}");
        }
        for (_, line) in benchmark_last(&self.lines) {
            let _ = write!(out, "; {} {} at the end", escape(&line.name), self.last(line));
        }
        out
    }
}

/// The CSS classes of a model's line: its colour; dashed for the benchmark, dotted when colours repeat.
fn line_class(model: usize) -> String {
    let dashes = if model == 0 {
        " dashed"
    } else if model >= COLOURS {
        " dotted"
    } else {
        ""
    };
    format!("line s{}{dashes}", model % COLOURS)
}

/// A short piece of a model's line, shown beside its name.
pub(super) fn swatch(model: usize) -> String {
    let class = line_class(model);
    format!(
        "<svg class=\"swatch\" viewBox=\"0 0 24 8\" aria-hidden=\"true\"><path class=\"{class}\" d=\"M0 4H24\"/></svg>"
    )
}

/// The date labels below a chart.
pub(super) fn labels_below(axis: DateAxis, days: &[Date]) -> String {
    let mut out = String::new();
    for (position, label) in axis.labels(days) {
        let _ = write!(out, "<span class=\"x\" style=\"left:{:.1}%\">{label}</span>", position * 100.0);
    }
    out
}

/// Whether a line is interrupted between two days.
fn is_gap(one: Date, two: Date, periods_per_year: f64) -> bool {
    day_number(two) - day_number(one) > MAX_GAP_DAYS.max(MAX_GAP_ROWS * 365.25 / periods_per_year)
}

/// Downsamples a line to the lowest and highest point of each bucket, in order, and the last point, so that no extreme
/// is lost. `None` interrupts the line.
pub(super) fn downsample<X: Copy>(
    points: &[(X, f64)],
    buckets: usize,
    is_gap: impl Fn(X, X) -> bool,
) -> Vec<Option<(X, f64)>> {
    let mut out: Vec<Option<(X, f64)>> = Vec::new();
    let mut previous: Option<X> = None;
    for bucket in points.chunks(points.len().div_ceil(buckets).max(1)) {
        let follows_gap = |x: X| previous.is_some_and(|previous| is_gap(previous, x));
        if bucket.first().is_some_and(|(x, value)| follows_gap(*x) || !value.is_finite()) {
            out.push(None);
        }
        previous = bucket.last().map(|(x, _)| *x);
        let finite = || bucket.iter().enumerate().filter(|(_, (_, value))| value.is_finite());
        let by_value = |one: &(usize, &(X, f64)), two: &(usize, &(X, f64))| one.1.1.total_cmp(&two.1.1);
        let (low, high) = (finite().min_by(by_value), finite().max_by(by_value));
        if let (Some((low, _)), Some((high, _))) = (low, high) {
            out.push(Some(bucket[low.min(high)]));
            if low != high {
                out.push(Some(bucket[low.max(high)]));
            }
        }
    }
    if let Some(last) = points.last().filter(|(_, value)| value.is_finite()) {
        out.push(Some(*last));
    }
    out
}

/// An SVG path of relative steps in integers; `coordinates` maps a point to the drawing.
pub(super) fn path<X: Copy>(points: &[Option<(X, f64)>], coordinates: impl Fn(X, f64) -> (f64, f64)) -> String {
    let (mut out, mut pen): (String, Option<(i64, i64)>) = (String::new(), None);
    for point in points {
        let Some((x, value)) = point else {
            pen = None;
            continue;
        };
        let (x, y) = coordinates(*x, *value);
        let next = (x.round() as i64, y.round() as i64);
        let _ = match pen {
            None => write!(out, "M{} {}", next.0, next.1),
            Some(last) if last == next => Ok(()),
            Some(last) => write!(out, "l{} {}", next.0 - last.0, next.1 - last.1),
        };
        pen = Some(next);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::{BUCKETS, Chart, Line, downsample, is_gap, path};
    use jiff::ToSpan;
    use jiff::civil::{Date, date};

    fn daily(one: Date, two: Date) -> bool {
        is_gap(one, two, 252.0)
    }

    #[test]
    fn monthly_points_are_joined_and_a_month_left_out_is_a_gap() {
        let month = |month: i8| date(2021, month, 28);
        let points = [1, 2, 3, 5].map(|number| (month(number), 1.0));
        let line = downsample(&points, BUCKETS, |one, two| is_gap(one, two, 12.0));
        assert_eq!(path(&line, |day, value| (f64::from(day.month()), value)), "M1 1l1 0l1 0M5 1");
    }

    fn days(count: usize) -> Vec<Date> {
        (0..count as i64).map(|day| date(2000, 1, 3).checked_add(day.days()).unwrap()).collect()
    }

    #[test]
    fn downsampling_keeps_every_extreme_and_the_last_point() {
        let points: Vec<(Date, f64)> = days(9000)
            .into_iter()
            .enumerate()
            .map(|(index, day)| (day, if index == 4321 { -9.0 } else { index as f64 }))
            .collect();
        let line = downsample(&points, BUCKETS, daily);
        assert!(line.len() < 1300);
        assert!(line.contains(&Some(points[4321])) && line.contains(&Some(points[8999])));
    }

    #[test]
    fn a_line_is_interrupted_by_a_gap_between_test_spans_and_by_a_missing_value() {
        let mut points: Vec<(Date, f64)> = days(4).into_iter().map(|day| (day, 1.0)).collect();
        points.push((date(2000, 6, 1), 1.0));
        let coordinates = |day: Date, value: f64| (f64::from(day.day()), value);
        assert_eq!(path(&downsample(&points, BUCKETS, daily), coordinates), "M3 1l1 0l1 0l1 0M1 1");
        points[1].1 = f64::NAN;
        assert_eq!(path(&downsample(&points, BUCKETS, daily), coordinates), "M3 1M5 1l1 0M1 1");
    }

    #[test]
    fn a_chart_shades_every_other_window_and_has_a_legend() {
        let days = days(3);
        let bands = [(days[0], days[0]), (days[1], days[1]), (days[2], days[2])];
        let line = |name: &str| Line { name: name.to_owned(), values: vec![1.0, 2.0, 3.0] };
        let chart = Chart {
            title: "Wealth",
            note: "",
            periods_per_year: 252.0,
            days: &days,
            bands: &bands,
            logarithmic: true,
            percent: false,
            lines: vec![line("equal"), line("a<b")],
        };
        let html = chart.html();
        assert_eq!(html.matches("class=\"band\"").count(), 2);
        let alternative = "aria-label=\"Wealth, 2000-01-03 to 2000-01-05; a&lt;b 3.00 at the end; equal ";
        assert!(html.contains(alternative), "{html}");
        assert!(html.contains("a&lt;b <b>3.00</b>") && !html.contains("a<b"));
        assert_eq!((html.matches("line s0 dashed").count(), html.matches("line s1\"").count()), (2, 2));
        let nothing = Chart { lines: vec![Line { name: "x".to_owned(), values: vec![f64::NAN; 3] }], ..chart };
        assert!(nothing.html().contains("too few days"));
    }
}
