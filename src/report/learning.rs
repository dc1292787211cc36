//! Learning curves of networks: for few windows a panel each, for many a row each; and how the training went.

use std::fmt::Write as _;

use super::axis::ticks;
use super::chart::{COLOURS, WIDTH, path, thinned};
use super::tables::months;
use super::{Curves, ModelValues, ReportValues, WindowSpan, escape, ordered};

/// Windows that have a panel each; more have a row each.
const MOST_PANELS: usize = 12;
const HEIGHT: f64 = 3_000.0;
/// Spans that a small line is thinned to.
const SPANS: usize = 120;

/// A section a network.
pub(super) fn learning(values: &ReportValues) -> String {
    let mut out = String::new();
    for (place, model) in ordered(&values.models).filter(|(_, model)| !model.training.is_empty()) {
        let _ = write!(
            out,
            "<section><h2>Learning curves of {}</h2><p>Train loss and the net Sharpe ratio on the validation span, by epoch; \
             each line has its own scale. The dot is the epoch whose weights were kept.</p>\n{}",
            escape(&model.name),
            facts(model)
        );
        let epochs = model.training.iter().map(|curves| curves.loss.len()).max().unwrap_or(1);
        let windows = || values.windows.iter().zip(&model.training);
        if model.training.len() <= MOST_PANELS {
            out += "<div class=\"panels\">\n";
            for (span, curves) in windows() {
                out += &panel(place, span, curves, epochs);
            }
            out += "</div>\n";
        } else {
            out += &rows(place, windows(), epochs);
        }
        out += "</section>\n";
    }
    out
}

/// That the run depends on the clock, where training was ended by it.
pub(super) fn by_clock(model: &ModelValues) -> Option<String> {
    let ended = model.training.iter().filter(|curves| curves.by_clock).count();
    (ended > 0).then(|| {
        format!(
            "max_seconds ended the training of {} in {ended} of {} windows: the same run on another machine or day may end \
             after other epochs, with other weights",
            escape(&model.name),
            model.training.len()
        )
    })
}

/// How the training went, over the windows.
fn facts(model: &ModelValues) -> String {
    let of = |what: fn(&Curves) -> usize| {
        let all = model.training.iter().map(what);
        (all.clone().min().unwrap_or(0), all.max().unwrap_or(0))
    };
    let range = |what: fn(&Curves) -> usize| match of(what) {
        (least, most) if least == most => grouped(least),
        (least, most) => format!("{} to {}", grouped(least), grouped(most)),
    };
    let mut ends: Vec<(&str, usize)> = Vec::new();
    for curves in &model.training {
        match ends.iter_mut().find(|(ended, _)| *ended == curves.ended) {
            Some((_, count)) => *count += 1,
            None => ends.push((curves.ended, 1)),
        }
    }
    let ends: Vec<String> = ends.into_iter().map(|(ended, count)| format!("{ended} in {count}")).collect();
    let windows = model.training.len();
    let mut out = String::from("<dl class=\"facts\">\n");
    let mut fact = |name: &str, value: String| {
        let _ = writeln!(out, "<div><dt>{name}</dt><dd>{value}</dd></div>");
    };
    fact("Parameters", range(|curves| curves.parameters));
    fact("Train samples a window", range(|curves| curves.samples));
    let (batch, micro) = (range(|curves| curves.batch), range(|curves| curves.micro_batch));
    let again = if model.training.iter().any(|curves| curves.recompute) { ", gates computed again" } else { "" };
    fact("Batch", format!("{batch} samples, micro-batch {micro}{again}"));
    if let Some(seeds) = seeds(model) {
        fact("Seeds a window", seeds);
    }
    if model.training.iter().any(|curves| curves.loss_scale.is_some()) {
        let scales = model.training.iter().filter_map(|curves| curves.loss_scale);
        let (least, most) = scales.fold((f64::MAX, 0.0_f64), |(least, most), one| (least.min(one), most.max(one)));
        let skipped: usize = model.training.iter().map(|curves| curves.skipped).sum();
        fact("Half precision", format!("loss scale {least} to {most} at the end, {skipped} steps skipped"));
    }
    fact("Epochs run", range(|curves| curves.loss.len()));
    fact("Best epoch", range(|curves| curves.best_epoch));
    fact(&format!("Ended by, of {windows} {}", if windows == 1 { "window" } else { "windows" }), ends.join(", "));
    let (planned, measured) = (of(|curves| curves.planned_bytes).1, of(|curves| curves.measured_bytes).1);
    fact("Memory of a window, at most", format!("{} planned, {} measured", mebibytes(planned), mebibytes(measured)));
    out += "</dl>\n";
    if let Some(said) = by_clock(model) {
        let _ = writeln!(out, "<p><b>This run depends on the clock:</b> {said}.</p>");
    }
    out
}

/// How many seeds an ensemble has, and how far their kept validation scores lie apart; `None` where there is one.
fn seeds(model: &ModelValues) -> Option<String> {
    let count = model.training.iter().map(|curves| curves.seeds.len()).max().filter(|count| *count > 1)?;
    let spread = |curves: &Curves| {
        let scores: Vec<f64> = curves.seeds.iter().flatten().copied().collect();
        let mean = scores.iter().sum::<f64>() / scores.len() as f64;
        let squares: f64 = scores.iter().map(|score| (score - mean).powi(2)).sum();
        (scores.len() > 1).then(|| (squares / (scores.len() - 1) as f64).sqrt())
    };
    let spreads: Vec<f64> = model.training.iter().filter_map(spread).collect();
    let stack = model.training.iter().map(|curves| curves.stack).min().unwrap_or(1);
    let spread = if spreads.is_empty() {
        String::new()
    } else {
        let mean = spreads.iter().sum::<f64>() / spreads.len() as f64;
        format!("; their validation Sharpe ratios have a deviation of {mean:.2} in a window, on average")
    };
    Some(format!("{count}, at least {stack} at a time{spread}"))
}

fn mebibytes(bytes: usize) -> String {
    format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))
}

/// A whole number, its digits in groups of three.
fn grouped(number: usize) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            out.push('\u{a0}');
        }
        out.push(digit);
    }
    out
}

/// A line over epochs with its own scale, and the place of the kept epoch on it.
struct Small {
    points: Vec<(usize, f64)>,
    low: f64,
    high: f64,
    epochs: usize,
}

impl Small {
    /// `None` where nothing can be drawn.
    fn new(values: impl Iterator<Item = f64>, epochs: usize) -> Option<Self> {
        let points: Vec<(usize, f64)> = values.enumerate().collect();
        let finite = points.iter().map(|(_, value)| *value).filter(|value| value.is_finite());
        let (low, high) = finite.fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), v| (l.min(v), h.max(v)));
        if low > high {
            return None;
        }
        let room = ((high - low) * 0.1).max(high.abs() * 1e-3).max(1e-9);
        Some(Self { points, low: low - room, high: high + room, epochs })
    }

    fn down(&self, value: f64) -> f64 {
        (self.high - value) / (self.high - self.low)
    }

    fn across(&self, epoch: usize) -> f64 {
        if self.epochs > 1 { epoch as f64 / (self.epochs - 1) as f64 } else { 0.5 }
    }

    /// Line and dot. `best` counts from 1.
    fn drawn(&self, place: usize, best: usize) -> String {
        let at = |epoch: usize, value: f64| (self.across(epoch) * WIDTH, self.down(value) * HEIGHT);
        let line = path(&thinned(&self.points, SPANS, |_, _| false), at);
        let colour = place % COLOURS;
        let mut out = format!("<path class=\"line s{colour}\" d=\"{line}\"/>");
        if let Some((epoch, value)) = self.points.get(best.wrapping_sub(1)).filter(|(_, value)| value.is_finite()) {
            let (x, y) = at(*epoch, *value);
            let _ = write!(out, "<path class=\"dot s{colour}\" d=\"M{x:.0} {y:.0}h0\"/>");
        }
        out
    }
}

fn validation(curves: &Curves) -> impl Iterator<Item = f64> {
    curves.validation.iter().map(|score| score.unwrap_or(f64::NAN))
}

/// The two curves of a window, one above the other.
fn panel(place: usize, span: &WindowSpan, curves: &Curves, epochs: usize) -> String {
    let (start, end) = span.test;
    let mut out = format!(
        "<figure class=\"panel\"><figcaption>{}<span>best epoch {} of {}, {}</span></figcaption>\n",
        months(start, end),
        curves.best_epoch,
        curves.loss.len(),
        curves.ended
    );
    for (title, line) in [
        ("Train loss", Small::new(curves.loss.iter().copied(), epochs)),
        ("Validation Sharpe", Small::new(validation(curves), epochs)),
    ] {
        let Some(line) = line else {
            let _ = write!(out, "<p>{title}: no epoch has a value.</p>");
            continue;
        };
        let marks = ticks(line.low, line.high, false, false);
        // Two or three are enough for a small line.
        let marks: Vec<_> = marks.iter().step_by(if marks.len() > 3 { 2 } else { 1 }).collect();
        let _ = write!(
            out,
            "<h4>{title}</h4><div class=\"plot small\" role=\"img\" aria-label=\"{title} by epoch\"><svg \
             viewBox=\"0 0 {WIDTH} {HEIGHT}\" preserveAspectRatio=\"none\">"
        );
        for (mark, _) in &marks {
            let class = if *mark == 0.0 { "zero" } else { "rule" };
            let _ = write!(out, "<path class=\"{class}\" d=\"M0 {:.0}H{WIDTH}\"/>", line.down(*mark) * HEIGHT);
        }
        out += &line.drawn(place, curves.best_epoch);
        out += "</svg>";
        for (mark, label) in &marks {
            let _ = write!(out, "<span class=\"y\" style=\"top:{:.1}%\">{label}</span>", line.down(*mark) * 100.0);
        }
        for epoch in [1, epochs].into_iter().take(epochs.min(2)) {
            let left = line.across(epoch - 1) * 100.0;
            let _ = write!(out, "<span class=\"x\" style=\"left:{left:.1}%\">{epoch}</span>");
        }
        out += "</div>";
    }
    out + "</figure>\n"
}

/// A row a window, with its two curves and what they come to.
fn rows<'a>(place: usize, windows: impl Iterator<Item = (&'a WindowSpan, &'a Curves)>, epochs: usize) -> String {
    let mut out = format!(
        "<div class=\"scroll tall\"><table class=\"curves\"><thead><tr><th scope=\"col\">Test span</th>\
         <th scope=\"col\">Train loss, epochs 1 to {epochs}</th><th scope=\"col\">first</th><th scope=\"col\">last</th>\
         <th scope=\"col\">Validation Sharpe</th><th scope=\"col\">best</th><th scope=\"col\">last</th>\
         <th scope=\"col\">Best epoch</th><th scope=\"col\">Ended by</th></tr></thead><tbody>\n"
    );
    let number = |value: Option<f64>| match value {
        Some(value) if value.is_finite() => format!("{value:.2}").replace('-', "−"),
        _ => "–".to_owned(),
    };
    let drawn = |line: Option<Small>, best: usize| {
        line.map_or_else(String::new, |line| {
            format!(
                "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" preserveAspectRatio=\"none\" aria-hidden=\"true\">{}</svg>",
                line.drawn(place, best)
            )
        })
    };
    for (span, curves) in windows {
        let (start, end) = span.test;
        let best = curves.validation.get(curves.best_epoch.wrapping_sub(1)).copied().flatten();
        let _ = writeln!(
            out,
            "<tr><th scope=\"row\" title=\"{start} to {end}\">{}</th><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td>\
             <td>{}</td><td>{} of {}</td><td>{}</td></tr>",
            months(start, end),
            drawn(Small::new(curves.loss.iter().copied(), epochs), curves.best_epoch),
            number(curves.loss.first().copied()),
            number(curves.loss.last().copied()),
            drawn(Small::new(validation(curves), epochs), curves.best_epoch),
            number(best),
            number(curves.validation.last().copied().flatten()),
            curves.best_epoch,
            curves.loss.len(),
            curves.ended
        );
    }
    out + "</tbody></table></div>\n"
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;

    use super::{Small, grouped, panel, rows};
    use crate::report::{Curves, WindowSpan};

    fn curves() -> Curves {
        Curves {
            loss: vec![0.0, -1.0, -2.0],
            validation: vec![Some(1.0), Some(3.0), None],
            best_epoch: 2,
            by_clock: false,
            ended: "early stop",
            samples: 700,
            batch: 128,
            micro_batch: 64,
            recompute: false,
            seeds: vec![Some(3.0)],
            stack: 1,
            loss_scale: None,
            skipped: 0,
            parameters: 12_345,
            planned_bytes: 1 << 20,
            measured_bytes: 1 << 19,
        }
    }

    fn span() -> WindowSpan {
        let test = (date(2020, 1, 2), date(2020, 12, 31));
        WindowSpan { held: test, test }
    }

    #[test]
    fn a_small_line_keeps_its_scale_and_marks_the_kept_epoch() {
        // From −2 to 0 with a tenth of room on each side: 0 lies at 0.2 of 2.4, −1 in the middle. A window that stopped
        // after three of five epochs ends in the middle.
        let drawn = Small::new([0.0, -1.0, -2.0].into_iter(), 5).unwrap().drawn(9, 2);
        assert_eq!(
            drawn,
            "<path class=\"line s2\" d=\"M0 250l2500 1250l2500 1250\"/><path class=\"dot s2\" d=\"M2500 1500h0\"/>"
        );
        // One epoch is a dot alone, and a value that does not vary has room around it.
        let one = Small::new([0.5].into_iter(), 1).unwrap().drawn(1, 1);
        assert_eq!(one, "<path class=\"line s1\" d=\"M5000 1500\"/><path class=\"dot s1\" d=\"M5000 1500h0\"/>");
        assert!(Small::new([f64::NAN].into_iter(), 1).is_none());
    }

    #[test]
    fn a_window_has_a_panel_or_a_row() {
        let panel = panel(1, &span(), &curves(), 3);
        assert_eq!((panel.matches("class=\"line s1\"").count(), panel.matches("class=\"dot s1\"").count()), (2, 2));
        assert!(panel.contains("2020-01 – 2020-12<span>best epoch 2 of 3, early stop</span>"), "{panel}");
        let mut unscored = curves();
        unscored.validation = vec![None; 3];
        assert!(super::panel(1, &span(), &unscored, 3).contains("Validation Sharpe: no epoch has a value."));
        let rows = rows(1, [(&span(), &curves()), (&span(), &unscored)].into_iter(), 3);
        assert_eq!((rows.matches("class=\"dot s1\"").count(), rows.matches("<tr>").count()), (3, 3));
        assert!(
            rows.contains("<td>0.00</td><td>−2.00</td>") && rows.contains("<td>3.00</td><td>–</td><td>2 of 3</td>")
        );
        assert!(rows.contains("<td></td><td>–</td><td>–</td><td>2 of 3</td><td>early stop</td>"), "{rows}");
    }

    #[test]
    fn numbers_are_grouped() {
        let told = [7, 999, 1000, 12_345, 1_234_567].map(grouped);
        assert_eq!(told, ["7", "999", "1\u{a0}000", "12\u{a0}345", "1\u{a0}234\u{a0}567"]);
    }
}
