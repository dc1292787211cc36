//! Charts as inline SVG whose colours are the page's variables, so that they follow light and dark.

use std::fmt::Write as _;

use jiff::civil::Date;

use super::escape;

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 260.0;
const LEFT: f64 = 52.0;
const BOTTOM: f64 = 22.0;
const TOP: f64 = 8.0;
/// More points than this a line cannot be told apart on a page.
const MOST_POINTS: usize = 1400;

/// A shaded span of days.
pub(super) struct Band {
    pub(super) start: Date,
    pub(super) end: Date,
}

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
    pub(super) bands: &'a [Band],
    pub(super) logarithmic: bool,
    pub(super) percent: bool,
    pub(super) lines: Vec<Line>,
}

fn number(day: Date) -> f64 {
    Date::new(1970, 1, 1).map_or(0.0, |epoch| epoch.duration_until(day).as_secs_f64() / 86_400.0)
}

/// Places days from left to right.
struct Across {
    first: f64,
    last: f64,
}

impl Across {
    fn new(days: &[Date]) -> Self {
        let first = days.first().map_or(0.0, |day| number(*day));
        Self { first, last: days.last().map_or(1.0, |day| number(*day)).max(first + 1.0) }
    }

    fn x(&self, day: Date) -> f64 {
        LEFT + (number(day) - self.first) / (self.last - self.first) * (WIDTH - LEFT - 4.0)
    }

    /// Years under the axis, at most about eight.
    fn axis(&self, days: &[Date]) -> String {
        let (Some(first), Some(last)) = (days.first(), days.last()) else { return String::new() };
        let step = ((last.year() - first.year()) / 8 + 1).max(1);
        let mut out = String::new();
        for year in (first.year()..=last.year()).filter(|year| year % step == 0) {
            let Ok(day) = Date::new(year, 1, 1) else { continue };
            let x = self.x(day);
            if (LEFT..WIDTH - 24.0).contains(&x) {
                let _ = write!(out, "<text x={x:.0} y={:.0} text-anchor=middle>{year}</text>", HEIGHT - 4.0);
            }
        }
        out
    }
}

impl Chart<'_> {
    pub(super) fn svg(&self) -> String {
        let scale = |value: f64| if self.logarithmic { value.ln() } else { value };
        let finite =
            || self.lines.iter().flat_map(|line| &line.values).map(|value| scale(*value)).filter(|v| v.is_finite());
        let (mut low, mut high) = finite().fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), v| (l.min(v), h.max(v)));
        if low > high {
            (low, high) = (0.0, 1.0);
        }
        if high - low < 1e-9 {
            (low, high) = (low - 0.5, high + 0.5);
        }
        let y = |value: f64| TOP + (high - value) / (high - low) * (HEIGHT - TOP - BOTTOM);
        let across = Across::new(self.days);
        let mut out = format!(
            "<section><h2>{}</h2><p>{}</p><svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=img aria-label=\"{}\">",
            self.title, self.note, self.title
        );
        for band in self.bands.iter().step_by(2) {
            let (left, right) = (across.x(band.start).max(LEFT), across.x(band.end).min(WIDTH - 4.0));
            let (width, height) = ((right - left).max(0.0), HEIGHT - TOP - BOTTOM);
            let _ = write!(out, "<rect x={left:.1} y={TOP} width={width:.1} height={height} fill=\"var(--band)\"/>");
        }
        for tick in ticks(low, high, self.logarithmic) {
            let (place, label) =
                (y(scale(tick)), if self.percent { format!("{:.0} %", tick * 100.0) } else { trim(tick) });
            let _ = write!(
                out,
                "<line x1={LEFT} x2={WIDTH} y1={place:.1} y2={place:.1} stroke=\"var(--rule)\"/>\
                 <text x={:.0} y={:.1} text-anchor=end>{label}</text>",
                LEFT - 6.0,
                place + 4.0
            );
        }
        let stride = self.days.len().div_ceil(MOST_POINTS).max(1);
        for (place, line) in self.lines.iter().enumerate() {
            let (mut path, mut pen_up) = (String::new(), true);
            let last = self.days.len().saturating_sub(1);
            for (at, (day, value)) in self.days.iter().zip(&line.values).enumerate() {
                let value = scale(*value);
                if !value.is_finite() {
                    pen_up = true;
                } else if at % stride == 0 || at == last {
                    let _ = write!(path, "{}{:.1} {:.1}", if pen_up { 'M' } else { 'L' }, across.x(*day), y(value));
                    pen_up = false;
                }
            }
            let _ = write!(out, "<path d=\"{path}\" fill=none stroke=\"var(--s{})\" stroke-width=1.5 />", place % 6);
        }
        out += &across.axis(self.days);
        out += "</svg><div class=key>";
        for (place, line) in self.lines.iter().enumerate() {
            let _ =
                write!(out, "<span><i style=\"background:var(--s{})\"></i>{}</span>", place % 6, escape(&line.name));
        }
        out += "</div></section>";
        out
    }
}

/// Round values between the bounds; on a logarithmic scale the bounds are logarithms and the values are 1, 2 and 5
/// times powers of ten.
fn ticks(low: f64, high: f64, logarithmic: bool) -> Vec<f64> {
    if logarithmic {
        let all = (-12..=12).flat_map(|power| [1.0, 2.0, 5.0].map(|step| step * 10.0_f64.powi(power)));
        return all.filter(|tick| (low..=high).contains(&tick.ln())).collect();
    }
    let rough = (high - low) / 5.0;
    let power = 10.0_f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].map(|step| step * power).into_iter().find(|step| *step >= rough).unwrap_or(rough);
    let first = (low / step).ceil() as i64;
    (first..=(high / step).floor() as i64).map(|count| count as f64 * step).collect()
}

fn trim(value: f64) -> String {
    let text = format!("{value:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Stacked weights at each rebalance, the largest assets on average first, the rest in one shade.
pub(super) fn shares(title: &str, days: &[Date], weights: &[&[f64]], assets: &[String]) -> String {
    const SHOWN: usize = 12;
    let across = Across::new(days);
    let mut order: Vec<usize> = (0..assets.len()).collect();
    let total = |asset: &usize| weights.iter().map(|row| row[*asset]).sum::<f64>();
    order.sort_by(|one, two| total(two).total_cmp(&total(one)));
    let groups: Vec<(String, Vec<usize>)> = order
        .iter()
        .take(SHOWN)
        .map(|&asset| (assets[asset].clone(), vec![asset]))
        .chain((order.len() > SHOWN).then(|| (format!("{} others", order.len() - SHOWN), order[SHOWN..].to_vec())))
        .collect();
    let mut out = format!(
        "<section><h2>{title}</h2><p>Targets at each rebalance.</p>\
         <svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=img aria-label=\"{title}\">"
    );
    let mut base = vec![0.0; weights.len()];
    let y = |share: f64| TOP + (1.0 - share) * (HEIGHT - TOP - BOTTOM);
    for (place, (_, members)) in groups.iter().enumerate() {
        let under = base.clone();
        for (sum, row) in base.iter_mut().zip(weights) {
            *sum += members.iter().map(|asset| row[*asset]).sum::<f64>();
        }
        let mut path = String::new();
        for (at, day) in days.iter().enumerate() {
            let _ = write!(path, "{}{:.1} {:.1}", if at == 0 { 'M' } else { 'L' }, across.x(*day), y(base[at]));
        }
        for (at, day) in days.iter().enumerate().rev() {
            let _ = write!(path, "L{:.1} {:.1}", across.x(*day), y(under[at]));
        }
        let _ = write!(out, "<path d=\"{path}Z\" fill=\"{}\"/>", shade(place));
    }
    for share in [0.0, 0.5, 1.0] {
        let _ = write!(
            out,
            "<text x={:.0} y={:.1} text-anchor=end>{:.0} %</text>",
            LEFT - 6.0,
            y(share) + 4.0,
            share * 100.0
        );
    }
    out += &across.axis(days);
    out += "</svg><div class=key>";
    for (place, (name, _)) in groups.iter().enumerate() {
        let _ = write!(out, "<span><i style=\"background:{}\"></i>{}</span>", shade(place), escape(name));
    }
    out += "</div></section>";
    out
}

/// Neighbouring shades differ in hue and lightness, so that they can be told apart without colour vision.
fn shade(place: usize) -> String {
    format!("hsl({} 45% {}%)", place * 137 % 360, 42 + place % 3 * 12)
}

#[cfg(test)]
mod tests {
    use super::{ticks, trim};

    #[test]
    fn ticks_are_round_and_inside() {
        assert_eq!(ticks(-0.5, 0.0, false).len(), 6);
        assert_eq!(ticks(0.5_f64.ln(), 60.0_f64.ln(), true), [0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0]);
        assert_eq!((trim(2.50), trim(10.0)), ("2.5".to_owned(), "10".to_owned()));
    }
}
