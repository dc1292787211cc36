//! Line charts. Lines are an SVG that is stretched to its box; texts are HTML at places given in percent, so that they
//! keep their size from a phone to a wide screen. Colours are the page's variables and follow light and dark.

use std::fmt::Write as _;

use jiff::civil::Date;

use super::axis::{Across, number, ticks};
use super::{escape, ordered};

/// Units of the drawing; whole numbers keep paths short.
pub(super) const WIDTH: f64 = 10_000.0;
const HEIGHT: f64 = 3_000.0;
/// A line is drawn from the lowest and highest value of each of so many spans.
const SPANS: usize = 600;
/// More windows than this make stripes, not shades.
pub(super) const MOST_BANDS: usize = 80;
/// Days without a test date that part a line.
const PARTED: f64 = 20.0;
/// Colours of lines; after the last, they come again, dashed.
pub(super) const COLOURS: usize = 7;

/// A named series, one value a day; NaN leaves a gap.
pub(super) struct Line {
    pub(super) name: String,
    pub(super) values: Vec<f64>,
}

/// A chart of lines over days.
pub(super) struct Chart<'a> {
    pub(super) title: &'a str,
    pub(super) note: &'a str,
    pub(super) days: &'a [Date],
    pub(super) bands: &'a [(Date, Date)],
    pub(super) logarithmic: bool,
    pub(super) percent: bool,
    pub(super) lines: Vec<Line>,
}

impl Chart<'_> {
    pub(super) fn html(&self) -> String {
        let scale = |value: f64| if self.logarithmic { value.ln() } else { value };
        let all = self.lines.iter().flat_map(|line| &line.values).map(|value| scale(*value));
        let (mut low, mut high) =
            all.filter(|v| v.is_finite()).fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), v| (l.min(v), h.max(v)));
        let mut out = format!("<section class=\"chart\"><h2>{}</h2><p>{}</p>", self.title, self.note);
        if low > high {
            out += "<p>There are too few days to show it.</p></section>\n";
            return out;
        }
        let room = ((high - low) * 0.02).max(1e-9);
        (low, high) = (low - room, if self.percent && high == 0.0 { 0.0 } else { high + room });
        let down = |value: f64| (high - value) / (high - low);
        let across = Across::new(self.days);
        out += &self.key();
        let _ = write!(
            out,
            "<div class=\"plot\" role=\"img\" aria-label=\"{}\"><svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" \
             preserveAspectRatio=\"none\">",
            self.title
        );
        if self.bands.len() <= MOST_BANDS {
            for (start, end) in self.bands.iter().step_by(2) {
                let (left, right) = (across.place(*start) * WIDTH, across.place(*end) * WIDTH);
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
        // The benchmark comes last: through its dashes a line under it still shows.
        for (place, line) in ordered(&self.lines) {
            let points = self.days.iter().zip(&line.values).map(|(day, value)| (*day, scale(*value)));
            let thin = thinned(&points.collect::<Vec<_>>(), SPANS, parted);
            let path = path(&thin, |day, value| (across.place(day) * WIDTH, down(value) * HEIGHT));
            let _ = write!(out, "<path class=\"{}\" d=\"{path}\"/>", line_class(place));
        }
        out += "</svg>";
        for (tick, label) in &ticks {
            let _ = write!(out, "<span class=\"y\" style=\"top:{:.1}%\">{label}</span>", down(scale(*tick)) * 100.0);
        }
        out += &labels_below(across, self.days);
        out += "</div></section>\n";
        out
    }

    /// Name, look and last value of each line.
    fn key(&self) -> String {
        let mut out = String::from("<ul class=\"key\">");
        for (place, line) in ordered(&self.lines) {
            let last = match line.values.iter().rev().find(|value| value.is_finite()) {
                Some(value) if self.percent => format!("{:.1}\u{a0}%", value * 100.0),
                Some(value) => format!("{value:.2}"),
                None => "–".to_owned(),
            };
            let _ = write!(out, "<li>{} {} <b>{}</b></li>", swatch(place), escape(&line.name), last.replace('-', "−"));
        }
        out + "</ul>"
    }
}

/// The class of a line: its colour, and dashes for the benchmark and once colours come again.
fn line_class(place: usize) -> String {
    let dashes = if place == 0 {
        " dashed"
    } else if place >= COLOURS {
        " dotted"
    } else {
        ""
    };
    format!("line s{}{dashes}", place % COLOURS)
}

/// A piece of a model's line, to stand beside its name.
pub(super) fn swatch(place: usize) -> String {
    let class = line_class(place);
    format!(
        "<svg class=\"swatch\" viewBox=\"0 0 24 8\" aria-hidden=\"true\"><path class=\"{class}\" d=\"M0 4H24\"/></svg>"
    )
}

pub(super) fn labels_below(across: Across, days: &[Date]) -> String {
    let mut out = String::new();
    for (place, label) in across.labels(days) {
        let _ = write!(out, "<span class=\"x\" style=\"left:{:.1}%\">{label}</span>", place * 100.0);
    }
    out
}

/// Whether a line is parted between two days.
fn parted(one: Date, two: Date) -> bool {
    number(two) - number(one) > PARTED
}

/// The lowest and highest value of each of so many spans, in order, and the last: no extreme is lost, and a page cannot
/// show more. `None` parts the line.
pub(super) fn thinned<X: Copy>(
    points: &[(X, f64)],
    spans: usize,
    parted: impl Fn(X, X) -> bool,
) -> Vec<Option<(X, f64)>> {
    let mut out: Vec<Option<(X, f64)>> = Vec::new();
    let mut previous: Option<X> = None;
    for span in points.chunks(points.len().div_ceil(spans).max(1)) {
        let parts = |place: X| previous.is_some_and(|previous| parted(previous, place));
        if span.first().is_some_and(|(place, value)| parts(*place) || !value.is_finite()) {
            out.push(None);
        }
        previous = span.last().map(|(place, _)| *place);
        let finite = || span.iter().enumerate().filter(|(_, (_, value))| value.is_finite());
        let by_value = |one: &(usize, &(X, f64)), two: &(usize, &(X, f64))| one.1.1.total_cmp(&two.1.1);
        let (low, high) = (finite().min_by(by_value), finite().max_by(by_value));
        if let (Some((low, _)), Some((high, _))) = (low, high) {
            out.push(Some(span[low.min(high)]));
            if low != high {
                out.push(Some(span[low.max(high)]));
            }
        }
    }
    if let Some(last) = points.last().filter(|(_, value)| value.is_finite()) {
        out.push(Some(*last));
    }
    out
}

/// A path of relative steps between whole numbers.
pub(super) fn path<X: Copy>(points: &[Option<(X, f64)>], place: impl Fn(X, f64) -> (f64, f64)) -> String {
    let (mut out, mut pen): (String, Option<(i64, i64)>) = (String::new(), None);
    for point in points {
        let Some((across, value)) = point else {
            pen = None;
            continue;
        };
        let (x, y) = place(*across, *value);
        let now = (x.round() as i64, y.round() as i64);
        let _ = match pen {
            None => write!(out, "M{} {}", now.0, now.1),
            Some(before) if before == now => Ok(()),
            Some(before) => write!(out, "l{} {}", now.0 - before.0, now.1 - before.1),
        };
        pen = Some(now);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::{Chart, Line, SPANS, parted, path, thinned};
    use jiff::ToSpan;
    use jiff::civil::{Date, date};

    fn days(count: usize) -> Vec<Date> {
        (0..count as i64).map(|day| date(2000, 1, 3).checked_add(day.days()).unwrap()).collect()
    }

    #[test]
    fn thinning_keeps_every_extreme_and_the_last_point() {
        let points: Vec<(Date, f64)> = days(9000)
            .into_iter()
            .enumerate()
            .map(|(at, day)| (day, if at == 4321 { -9.0 } else { at as f64 }))
            .collect();
        let thin = thinned(&points, SPANS, parted);
        assert!(thin.len() < 1300);
        assert!(thin.contains(&Some(points[4321])) && thin.contains(&Some(points[8999])));
    }

    #[test]
    fn a_line_is_parted_where_no_day_was_tested_and_where_a_value_is_missing() {
        let mut points: Vec<(Date, f64)> = days(4).into_iter().map(|day| (day, 1.0)).collect();
        points.push((date(2000, 6, 1), 1.0));
        let place = |day: Date, value: f64| (f64::from(day.day()), value);
        assert_eq!(path(&thinned(&points, SPANS, parted), place), "M3 1l1 0l1 0l1 0M1 1");
        points[1].1 = f64::NAN;
        assert_eq!(path(&thinned(&points, SPANS, parted), place), "M3 1M5 1l1 0M1 1");
    }

    #[test]
    fn a_chart_shades_every_other_window_and_ties_names_to_lines() {
        let days = days(3);
        let bands = [(days[0], days[0]), (days[1], days[1]), (days[2], days[2])];
        let line = |name: &str| Line { name: name.to_owned(), values: vec![1.0, 2.0, 3.0] };
        let chart = Chart {
            title: "Wealth",
            note: "",
            days: &days,
            bands: &bands,
            logarithmic: true,
            percent: false,
            lines: vec![line("equal"), line("a<b")],
        };
        let html = chart.html();
        assert_eq!(html.matches("class=\"band\"").count(), 2);
        assert!(html.contains("a&lt;b <b>3.00</b>") && !html.contains("a<b"));
        assert_eq!((html.matches("line s0 dashed").count(), html.matches("line s1\"").count()), (2, 2));
        let nothing = Chart { lines: vec![Line { name: "x".to_owned(), values: vec![f64::NAN; 3] }], ..chart };
        assert!(nothing.html().contains("too few days"));
    }
}
