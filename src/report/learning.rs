//! Learning curves of networks, as a panel per window or, if there are many windows, as a table; and facts about
//! training.

use std::fmt::Write as _;

use super::axis::ticks;
use super::chart::{COLOURS, WIDTH, downsample, path};
use super::tables::month_range;
use super::{ModelValues, ReportValues, TrainingValues, WindowSpan, benchmark_last, escape};

/// The most windows that are shown as panels.
const MAX_PANELS: usize = 12;
const HEIGHT: f64 = 3_000.0;
const ONE_UNIT: &str = "Sharpe ratios a year per epoch, on one axis: the thin line is the mean over the batches of training \
                        days, with dropout, before costs but for train.turnover_bps; the thick line is the validation span, \
                        net. What lies between \
                        them is what was learnt and does not carry over.";
const TWO_UNITS: &str = "Training loss and net Sharpe ratio on the validation span, per epoch. The loss is no Sharpe ratio, \
                         so each line has a scale of its own.";
/// Buckets that a sparkline is downsampled to.
const BUCKETS: usize = 120;

/// One section per network.
pub(super) fn learning_curves(values: &ReportValues) -> String {
    let mut out = String::new();
    for (index, model) in benchmark_last(&values.models).filter(|(_, model)| !model.training.is_empty()) {
        let _ = write!(
            out,
            "<section><h2>Learning curves of {}</h2><p>{} The dot marks the epoch whose parameters were kept.</p>\n{}",
            escape(&model.name),
            if model.training.iter().all(|training| training.train_sharpe.is_some()) { ONE_UNIT } else { TWO_UNITS },
            facts(model)
        );
        let epochs = model.training.iter().map(|training| training.loss.len()).max().unwrap_or(1);
        let windows = || values.windows.iter().zip(&model.training);
        if model.training.len() <= MAX_PANELS {
            out += "<div class=\"panels\">\n";
            for (span, training) in windows() {
                out += &panel(index, span, training, epochs);
            }
            out += "</div>\n";
        } else {
            out += &table(index, windows(), epochs);
        }
        out += "</section>\n";
    }
    out
}

/// A warning that the run depends on the clock, if a time limit ended training.
pub(super) fn stopped_by_clock(model: &ModelValues) -> Option<String> {
    let ended = model.training.iter().filter(|training| training.by_clock).count();
    (ended > 0).then(|| {
        format!(
            "max_seconds ended the training of {} in {ended} of {} windows: the same run on another machine or day \
             may stop after a different epoch and give different weights",
            escape(&model.name),
            model.training.len()
        )
    })
}

/// Facts about training, over all windows.
fn facts(model: &ModelValues) -> String {
    let min_max = |field: fn(&TrainingValues) -> usize| {
        let all = model.training.iter().map(field);
        (all.clone().min().unwrap_or(0), all.max().unwrap_or(0))
    };
    let range = |field: fn(&TrainingValues) -> usize| match min_max(field) {
        (min, max) if min == max => group_digits(min),
        (min, max) => format!("{} to {}", group_digits(min), group_digits(max)),
    };
    let mut ends: Vec<(&str, usize)> = Vec::new();
    for training in &model.training {
        match ends.iter_mut().find(|(ended, _)| *ended == training.ended) {
            Some((_, count)) => *count += 1,
            None => ends.push((training.ended, 1)),
        }
    }
    let ends: Vec<String> = ends.into_iter().map(|(ended, count)| format!("{ended} in {count}")).collect();
    let windows = model.training.len();
    let mut out = String::from("<dl class=\"facts\">\n");
    let mut fact = |name: &str, value: String| {
        let _ = writeln!(out, "<div><dt>{name}</dt><dd>{value}</dd></div>");
    };
    fact("Parameters", range(|training| training.parameters));
    fact("Training samples per window", range(|training| training.samples));
    let (batch, micro) = (range(|training| training.batch), range(|training| training.micro_batch));
    let recompute =
        if model.training.iter().any(|training| training.recompute) { ", activations recomputed" } else { "" };
    fact("Batch", format!("{batch} samples, micro-batch {micro}{recompute}"));
    if let Some(seeds) = seeds(model) {
        fact("Seeds per window", seeds);
    }
    if model.training.iter().any(|training| training.loss_scale.is_some()) {
        let scales = model.training.iter().filter_map(|training| training.loss_scale);
        let (min, max) = scales.fold((f64::MAX, 0.0_f64), |(min, max), scale| (min.min(scale), max.max(scale)));
        let skipped: usize = model.training.iter().map(|training| training.skipped).sum();
        fact("Half precision", format!("final loss scale {min} to {max}, {skipped} steps skipped"));
    }
    fact("Epochs run", range(|training| training.loss.len()));
    fact("Best epoch", range(|training| training.best_epoch));
    fact(
        &format!("End of training, over {windows} {}", if windows == 1 { "window" } else { "windows" }),
        ends.join(", "),
    );
    let (planned, measured) =
        (min_max(|training| training.planned_bytes).1, min_max(|training| training.measured_bytes).1);
    fact("Peak memory per window", format!("{} planned, {} measured", mebibytes(planned), mebibytes(measured)));
    out += "</dl>\n";
    out
}

/// The size of an ensemble and the spread of its validation scores; `None` if there is only one seed.
fn seeds(model: &ModelValues) -> Option<String> {
    let count = model.training.iter().map(|training| training.seeds.len()).max().filter(|count| *count > 1)?;
    // Per window, the standard deviation over seeds, and the distance from the worst to the best.
    let spread = |training: &TrainingValues| {
        let scores: Vec<f64> = training.seeds.iter().flatten().copied().collect();
        let mean = scores.iter().sum::<f64>() / scores.len() as f64;
        let squares: f64 = scores.iter().map(|score| (score - mean).powi(2)).sum();
        let (low, high) =
            scores.iter().fold((f64::MAX, f64::MIN), |(low, high), score| (low.min(*score), high.max(*score)));
        (scores.len() > 1).then(|| ((squares / (scores.len() - 1) as f64).sqrt(), high - low))
    };
    let spreads: Vec<(f64, f64)> = model.training.iter().filter_map(spread).collect();
    let stack = model.training.iter().map(|training| training.stack).min().unwrap_or(1);
    let spread = if spreads.is_empty() {
        String::new()
    } else {
        let mean = |part: fn(&(f64, f64)) -> f64| spreads.iter().map(part).sum::<f64>() / spreads.len() as f64;
        format!(
            "; within a window their validation Sharpe ratios have a standard deviation of {:.2} on average, and the best \
             and the worst lie {:.2} apart",
            mean(|spread| spread.0),
            mean(|spread| spread.1)
        )
    };
    Some(format!("{count}, at least {stack} trained at the same time{spread}"))
}

fn mebibytes(bytes: usize) -> String {
    format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))
}

/// An integer with its digits in groups of three.
fn group_digits(value: usize) -> String {
    let digits = value.to_string();
    let mut out = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push('\u{a0}');
        }
        out.push(digit);
    }
    out
}

/// Lines over epochs on one axis.
struct Curves {
    /// Whether a line is of training, and its values.
    lines: Vec<(bool, Vec<(usize, f64)>)>,
    low: f64,
    high: f64,
    epochs: usize,
}

impl Curves {
    /// Lines over the first of `epochs` epochs; `None` if no value is finite.
    fn new(lines: Vec<(bool, Vec<f64>)>, epochs: usize) -> Option<Self> {
        let finite = lines.iter().flat_map(|(_, values)| values).filter(|value| value.is_finite());
        let (low, high) = finite.fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), v| (l.min(*v), h.max(*v)));
        if low > high {
            return None;
        }
        let margin = ((high - low) * 0.1).max(high.abs() * 1e-3).max(1e-9);
        let lines = lines.into_iter().map(|(is_train, values)| (is_train, values.into_iter().enumerate().collect()));
        Some(Self { lines: lines.collect(), low: low - margin, high: high + margin, epochs })
    }

    /// The vertical position of a value, from 0 at the top to 1.
    fn down(&self, value: f64) -> f64 {
        (self.high - value) / (self.high - self.low)
    }

    /// The horizontal position of an epoch, from 0 to 1.
    fn across(&self, epoch: usize) -> f64 {
        if self.epochs > 1 { epoch as f64 / (self.epochs - 1) as f64 } else { 0.5 }
    }

    /// The lines in the colour of a model, each with a dot at the epoch `best`, counted from 1.
    fn draw(&self, model: usize, best: usize) -> String {
        let coordinates = |epoch: usize, value: f64| (self.across(epoch) * WIDTH, self.down(value) * HEIGHT);
        let colour = model % COLOURS;
        let mut out = String::new();
        for (is_train, points) in &self.lines {
            let line = path(&downsample(points, BUCKETS, |_, _| false), coordinates);
            let thin = if *is_train && self.lines.len() > 1 { " thin" } else { "" };
            let _ = write!(out, "<path class=\"line s{colour}{thin}\" d=\"{line}\"/>");
            if let Some((epoch, value)) = points.get(best.wrapping_sub(1)).filter(|(_, value)| value.is_finite()) {
                let (x, y) = coordinates(*epoch, *value);
                let _ = write!(out, "<path class=\"dot s{colour}\" d=\"M{x:.0} {y:.0}h0\"/>");
            }
        }
        out
    }
}

/// What is drawn of a training: both curves on one axis where they have one unit, else each on its own.
fn plots(training: &TrainingValues, epochs: usize) -> Vec<(&'static str, Option<Curves>)> {
    let validation: Vec<f64> = training.validation.iter().map(|score| score.unwrap_or(f64::NAN)).collect();
    match &training.train_sharpe {
        Some(train) => {
            vec![("Sharpe ratio a year", Curves::new(vec![(true, train.clone()), (false, validation)], epochs))]
        }
        None => vec![
            ("Training loss", Curves::new(vec![(true, training.loss.clone())], epochs)),
            ("Validation Sharpe", Curves::new(vec![(false, validation)], epochs)),
        ],
    }
}

/// The curves of a window.
fn panel(model: usize, span: &WindowSpan, training: &TrainingValues, epochs: usize) -> String {
    let (start, end) = span.test;
    let mut out = format!(
        "<figure class=\"panel\"><figcaption>{}<span>best epoch {} of {}, {}</span></figcaption>\n",
        month_range(start, end),
        training.best_epoch,
        training.loss.len(),
        training.ended
    );
    for (title, curves) in plots(training, epochs) {
        let Some(curves) = curves else {
            let _ = write!(out, "<p>{title}: no epoch has a value.</p>");
            continue;
        };
        let marks = ticks(curves.low, curves.high, false, false);
        // Two or three ticks are enough for a small chart.
        let marks: Vec<_> = marks.iter().step_by(if marks.len() > 3 { 2 } else { 1 }).collect();
        let _ = write!(
            out,
            "<h4>{title}</h4><div class=\"plot small\" role=\"img\" aria-label=\"{title} by epoch\"><svg \
             viewBox=\"0 0 {WIDTH} {HEIGHT}\" preserveAspectRatio=\"none\">"
        );
        for (mark, _) in &marks {
            let class = if *mark == 0.0 { "zero" } else { "rule" };
            let _ = write!(out, "<path class=\"{class}\" d=\"M0 {:.0}H{WIDTH}\"/>", curves.down(*mark) * HEIGHT);
        }
        out += &curves.draw(model, training.best_epoch);
        out += "</svg>";
        for (mark, label) in &marks {
            let _ = write!(out, "<span class=\"y\" style=\"top:{:.1}%\">{label}</span>", curves.down(*mark) * 100.0);
        }
        for epoch in [1, epochs].into_iter().take(epochs.min(2)) {
            let left = curves.across(epoch - 1) * 100.0;
            let _ = write!(out, "<span class=\"x\" style=\"left:{left:.1}%\">{epoch}</span>");
        }
        out += "</div>";
    }
    out + "</figure>\n"
}

/// A table with one row per window: its curves on an axis of their own, and their first, best and last values.
fn table<'a>(
    model: usize,
    windows: impl Iterator<Item = (&'a WindowSpan, &'a TrainingValues)>,
    epochs: usize,
) -> String {
    let mut rows = String::new();
    let mut titles = Vec::new();
    let formatted = |value: Option<f64>| match value {
        Some(value) if value.is_finite() => format!("{value:.2}").replace('-', "−"),
        _ => "–".to_owned(),
    };
    for (span, training) in windows {
        let (start, end) = span.test;
        let _ = write!(rows, "<tr><th scope=\"row\" title=\"{start} to {end}\">{}</th>", month_range(start, end));
        let drawn = plots(training, epochs);
        titles = drawn.iter().map(|(title, _)| *title).collect();
        for (_, curves) in drawn {
            let svg = curves.map_or_else(String::new, |curves| {
                format!(
                    "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" preserveAspectRatio=\"none\" aria-hidden=\"true\">{}</svg>",
                    curves.draw(model, training.best_epoch)
                )
            });
            let _ = write!(rows, "<td class=\"curve\">{svg}</td>");
        }
        let train = training.train_sharpe.as_ref().unwrap_or(&training.loss);
        let best = training.best_epoch.wrapping_sub(1);
        let _ = writeln!(
            rows,
            "<td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{} of {}</td><td>{}</td></tr>",
            formatted(train.get(best).copied()),
            formatted(train.last().copied()),
            formatted(training.validation.get(best).copied().flatten()),
            formatted(training.validation.last().copied().flatten()),
            training.best_epoch,
            training.loss.len(),
            training.ended
        );
    }
    let mut out =
        String::from("<div class=\"scroll\"><table class=\"curves\"><thead><tr><th scope=\"col\">Test span</th>");
    for title in titles {
        let _ = write!(out, "<th scope=\"col\" class=\"curve\">{title}, epochs 1 to {epochs}</th>");
    }
    out += "<th scope=\"col\">Training, best epoch</th><th scope=\"col\">last</th>\
            <th scope=\"col\">Validation, best epoch</th><th scope=\"col\">last</th>\
            <th scope=\"col\">Best epoch</th><th scope=\"col\">Ended by</th></tr></thead><tbody>\n";
    out + &rows + "</tbody></table></div>\n"
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;

    use super::{Curves, group_digits, panel, table};
    use crate::report::{TrainingValues, WindowSpan};

    fn training() -> TrainingValues {
        TrainingValues {
            loss: vec![0.0, -1.0, -2.0],
            train_sharpe: None,
            validation: vec![Some(1.0), Some(3.0), None],
            best_epoch: 2,
            by_clock: false,
            ended: "early stopping",
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
        WindowSpan { stitched: test, test }
    }

    #[test]
    fn both_curves_have_one_axis_and_a_dot_at_the_best_epoch() {
        // From −2 to 2 with a margin of a tenth on each side, 4.8 in all: 2 is at 0.4, 0 in the middle. A window that
        // stopped after three of five epochs ends in the middle.
        let lines = vec![(true, vec![-2.0, 0.0, 2.0]), (false, vec![0.0, f64::NAN, 0.0])];
        let drawn = Curves::new(lines, 5).unwrap().draw(9, 2);
        assert_eq!(
            drawn,
            "<path class=\"line s2 thin\" d=\"M0 2750l2500 -1250l2500 -1250\"/><path class=\"dot s2\" d=\"M2500 1500h0\"/>\
             <path class=\"line s2\" d=\"M0 1500M5000 1500\"/>"
        );
        // One epoch is only a dot, and a constant value has a margin around it.
        let one = Curves::new(vec![(true, vec![0.5])], 1).unwrap().draw(1, 1);
        assert_eq!(one, "<path class=\"line s1\" d=\"M5000 1500\"/><path class=\"dot s1\" d=\"M5000 1500h0\"/>");
        assert!(Curves::new(vec![(true, vec![f64::NAN])], 1).is_none());
    }

    #[test]
    fn a_window_is_shown_as_a_panel_or_a_table_row() {
        let mut one_unit = training();
        one_unit.train_sharpe = Some(vec![0.0, 1.5, 3.0]);
        let figure = panel(1, &span(), &one_unit, 3);
        assert_eq!(
            (figure.matches("class=\"plot small\"").count(), figure.matches("class=\"dot s1\"").count()),
            (1, 2)
        );
        assert!(figure.contains("2020-01 – 2020-12<span>best epoch 2 of 3, early stopping</span>"), "{figure}");
        // A loss that is no Sharpe ratio has an axis of its own.
        let mut unscored = training();
        unscored.validation = vec![None; 3];
        let figure = panel(1, &span(), &unscored, 3);
        assert!(
            figure.contains("Validation Sharpe: no epoch has a value.") && figure.contains("<h4>Training loss</h4>")
        );
        let rows = table(1, [(&span(), &one_unit), (&span(), &one_unit)].into_iter(), 3);
        assert_eq!((rows.matches("class=\"dot s1\"").count(), rows.matches("<tr><th scope=\"row\"").count()), (4, 2));
        assert!(rows.contains("<td>1.50</td><td>3.00</td><td>3.00</td><td>–</td><td>2 of 3</td>"), "{rows}");
        let rows = table(1, [(&span(), &unscored)].into_iter(), 3);
        assert!(rows.contains("<td class=\"curve\"></td><td>−1.00</td><td>−2.00</td><td>–</td><td>–</td>"), "{rows}");
    }

    #[test]
    fn the_spread_over_seeds_is_a_deviation_and_a_distance() {
        let of = |seeds: Vec<Option<f64>>| {
            let training = vec![TrainingValues { seeds, ..training() }; 2];
            super::seeds(&crate::report::ModelValues { training, ..crate::report::page::tests::model("m") })
        };
        // The deviation of 1, 2 and 3 is 1; a seed without a score does not count.
        let text = of(vec![Some(1.0), Some(3.0), None, Some(2.0)]).unwrap();
        let end = "have a standard deviation of 1.00 on average, and the best and the worst lie 2.00 apart";
        assert!(text.starts_with("4, at least 1 trained") && text.ends_with(end), "{text}");
        assert!(of(vec![Some(1.0), None]).is_some_and(|text| !text.contains("deviation")));
        assert_eq!(of(vec![Some(1.0)]), None);
    }

    #[test]
    fn digits_are_in_groups_of_three() {
        let texts = [7, 999, 1000, 12_345, 1_234_567].map(group_digits);
        assert_eq!(texts, ["7", "999", "1\u{a0}000", "12\u{a0}345", "1\u{a0}234\u{a0}567"]);
    }
}
