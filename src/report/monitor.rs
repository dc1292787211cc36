//! The overfitting monitor: train, validation and test scores of each window, and a verdict.

use std::fmt::Write as _;

use jiff::civil::Date;

use super::axis::{DateAxis, ticks};
use super::chart::{COLOURS, WIDTH, labels_below, swatch};
use super::tables::{formatted, month_range, number};
use super::{ModelValues, ReportValues, WindowSpan, benchmark_last, escape};
use crate::evaluate::{MetricValue, Overfitting, SpanScore, Unit, WindowScore};

const HEIGHT: f64 = 3_000.0;

/// How the verdict is reached.
const RULES: &str = "Excess is the model’s Sharpe ratio minus the benchmark’s over the same days, so that the market of a \
    span is in neither train nor test. The gap is train excess minus test excess. Its standard error is taken from the \
    influence of each day on the mean gap, summed over the spans that hold the day. The first rule that applies gives the \
    verdict. No verdict: fewer than 5 windows with non-overlapping test spans have both scores, or the model holds what \
    the benchmark holds. Nothing learned: the mean train excess is not above 0. Overfit: the gap is above two standard \
    errors, and test keeps less than half of the train excess. Some overfitting: the gap is above two standard errors. No \
    overfitting found: the gap plus two standard errors is below half of the train excess. Otherwise there is no evidence \
    either way. Generalisation is Spearman’s rank correlation between validation and test excess over the windows, with \
    its 95 % interval: where the interval holds 0, validation may say nothing about test.";

/// Verdict, chart and table of each fitted model; empty if there is none.
pub(super) fn monitor(values: &ReportValues) -> String {
    let mut out = String::new();
    for (index, model) in benchmark_last(&values.models) {
        let Some(found) = &model.overfitting else { continue };
        if out.is_empty() {
            out += "<section><h2>Overfitting</h2><p>Net Sharpe ratios per window minus the benchmark’s: on the train span that the model \
                    was fitted on, on the validation span that chose it, and on the test span that had no part in \
                    either. So that the three compare, each span is a backtest of its own that starts in cash; what was \
                    held from one window to the next is under Window by window.</p>\n";
        }
        let _ = write!(
            out,
            "<h3>{} {}</h3>\n<p class=\"verdict\"><b>{}</b>: {}. Generalisation, the rank correlation of \
             validation and test: {} ({} to {}).</p>\n",
            swatch(index),
            escape(&model.name),
            found.verdict.label(),
            escape(&found.reason).replace('-', "−"),
            formatted(Some(&found.generalisation), Unit::Ratio, 1),
            formatted(Some(&found.generalisation_interval[0]), Unit::Ratio, 1),
            formatted(Some(&found.generalisation_interval[1]), Unit::Ratio, 1)
        );
        for finding in &found.findings {
            let mut letters = finding.text.chars();
            let first: String = letters.next().into_iter().flat_map(char::to_uppercase).collect();
            let _ = writeln!(out, "<p class=\"verdict\">{first}{}.</p>", escape(letters.as_str()).replace('-', "−"));
        }
        out += &chart(index, &values.windows, found);
        out += &table(&values.windows, model, found);
    }
    if !out.is_empty() {
        let _ =
            writeln!(out, "<details><summary>How the verdict is reached</summary><p>{RULES}</p></details></section>");
    }
    out
}

/// Per window a line from train (open dot) to test (filled dot), and validation as a small dot.
fn chart(model: usize, spans: &[WindowSpan], found: &Overfitting) -> String {
    let scores = found
        .windows
        .iter()
        .flat_map(|window| [&window.train, &window.validation, &window.test].map(SpanScore::excess));
    let (low, high) = scores.filter_map(number).fold((0.0_f64, 0.0_f64), |(low, high), v| (low.min(v), high.max(v)));
    let margin = ((high - low) * 0.05).max(0.1);
    let (low, high) = (low - margin, high + margin);
    let down = |value: f64| (high - value) / (high - low) * HEIGHT;
    let days: Vec<Date> =
        spans.first().into_iter().chain(spans.last()).flat_map(|span| [span.test.0, span.test.1]).collect();
    let axis = DateAxis::new(&days);
    let colour = model % COLOURS;
    let mut out = format!(
        "<ul class=\"key\"><li>{} train</li><li>{} validation</li><li>{} test</li></ul>\
         <div class=\"plot\" role=\"img\" aria-label=\"Excess Sharpe ratios by window\"><svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" \
         preserveAspectRatio=\"none\">",
        mark(&format!("<path class=\"dot s{colour}\" d=\"M12 4h0\"/><path class=\"hole\" d=\"M12 4h0\"/>")),
        mark("<path class=\"speck\" d=\"M12 4h0\"/>"),
        mark(&format!("<path class=\"dot s{colour}\" d=\"M12 4h0\"/>"))
    );
    let marks = ticks(low, high, false, false);
    for (tick, _) in &marks {
        let class = if *tick == 0.0 { "zero" } else { "rule" };
        let _ = write!(out, "<path class=\"{class}\" d=\"M0 {:.0}H{WIDTH}\"/>", down(*tick));
    }
    // Dots are smaller if there are many windows.
    let many = if found.windows.len() > 60 { " many" } else { "" };
    let _ = write!(out, "<g class=\"scores{many}\">");
    for (span, window) in spans.iter().zip(&found.windows) {
        let [of_train, of_validation, of_test] =
            [&window.train, &window.validation, &window.test].map(SpanScore::excess);
        let x = f64::midpoint(axis.position(span.test.0), axis.position(span.test.1)) * WIDTH;
        if let (Some(train), Some(test)) = (number(of_train), number(of_test)) {
            let (train, test) = (down(train), down(test));
            let _ = write!(out, "<path class=\"rod s{colour}\" d=\"M{x:.0} {train:.0}V{test:.0}\"/>");
        }
        let mut dot = |class: &str, value: MetricValue| {
            if let Some(value) = number(value) {
                let _ = write!(out, "<path class=\"{class}\" d=\"M{x:.0} {:.0}h0\"/>", down(value));
            }
        };
        dot(&format!("dot s{colour}"), of_train);
        dot("hole", of_train);
        dot(&format!("dot s{colour}"), of_test);
        dot("speck", of_validation);
    }
    out += "</g></svg>";
    for (tick, label) in &marks {
        let _ = write!(out, "<span class=\"y\" style=\"top:{:.1}%\">{label}</span>", down(*tick) / HEIGHT * 100.0);
    }
    out += &labels_below(axis, &days);
    out + "</div>\n"
}

/// A mark of the legend.
fn mark(drawn: &str) -> String {
    format!("<svg class=\"swatch\" viewBox=\"0 0 24 8\" aria-hidden=\"true\">{drawn}</svg>")
}

/// The excess of each window, and the means. The column of validation is there only where something was validated.
fn table(spans: &[WindowSpan], model: &ModelValues, found: &Overfitting) -> String {
    let validated = found.windows.iter().any(|window| number(window.validation.excess()).is_some());
    let head = |text: &str| format!("<th scope=\"col\">{text}</th>");
    let mut out = format!(
        "<details><summary>Each window</summary><div class=\"scroll\"><table><thead><tr>{}{}{}{}{}{}</tr></thead><tbody>\n",
        head("Test span"),
        head("Gap, train − test"),
        head("Excess, train"),
        if validated { head("validation") } else { String::new() },
        head("test"),
        if model.training.is_empty() { String::new() } else { head("Best epoch") },
    );
    let text = |value: MetricValue| formatted(Some(&value), Unit::Ratio, 1);
    for (index, (span, window)) in spans.iter().zip(&found.windows).enumerate() {
        let (start, end) = span.test;
        let WindowScore { train, validation, test } = *window;
        let cells = [
            Some(text(window.gap())),
            Some(text(train.excess())),
            validated.then(|| text(validation.excess())),
            Some(text(test.excess())),
            model.training.get(index).map(|training| training.best_epoch.to_string()),
        ];
        let cells: Vec<String> = cells.into_iter().flatten().collect();
        let _ = writeln!(
            out,
            "<tr><th scope=\"row\" title=\"{start} to {end}\">{}</th><td>{}</td></tr>",
            month_range(start, end),
            cells.join("</td><td>")
        );
    }
    let _ = writeln!(
        out,
        "</tbody><tfoot><tr><th scope=\"row\">Mean</th><td>{} ± {}</td><td>{} ± {}</td>{}<td>{}</td>{}</tr></tfoot>\
         </table></div></details>",
        text(found.gap),
        text(found.gap_error),
        text(found.train_excess),
        text(found.train_error),
        if validated { "<td></td>" } else { "" },
        text(found.test_excess),
        if model.training.is_empty() { "" } else { "<td></td>" },
    );
    out
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;

    use super::chart;
    use crate::evaluate::{MetricValue, MonitorInputs, Overfitting, SpanScore, WindowScore, overfitting};
    use crate::report::WindowSpan;

    #[test]
    fn a_window_is_a_line_from_train_to_test_and_an_undefined_score_has_no_mark() {
        let test = |year: i16| (date(year, 1, 1), date(year, 12, 31));
        let spans = [2020, 2021].map(|year| WindowSpan { stitched: test(year), test: test(year) });
        let undefined = SpanScore {
            model: MetricValue::Undefined("the model fits nothing"),
            benchmark: MetricValue::Undefined("the model fits nothing"),
        };
        let span = |model: f64| SpanScore { model: MetricValue::Number(model), benchmark: MetricValue::Number(1.0) };
        let complete = WindowScore { train: span(4.0), validation: span(3.0), test: span(0.0) };
        let inputs = MonitorInputs {
            windows: &[],
            periods_per_year: 252.0,
            step_months: 12,
            test_months: 12,
            out_of_sample: None,
            epochs: &[],
        };
        let found = Overfitting {
            windows: vec![complete, WindowScore { train: undefined, ..complete }],
            ..overfitting(&inputs)
        };
        let html = chart(1, &spans, &found);
        // The axis goes from −1.2 to 3.2: train is 0.2 of 4.4 below the top, test as far above the bottom.
        assert!(html.contains("<path class=\"rod s1\" d=\"M2500 136V2864\"/>"), "{html}");
        assert_eq!(html.matches("class=\"rod").count(), 1);
        // Besides the legend's marks: two dots in the first window and one in the second, one hole, two of validation.
        let count = |class: &str| html.matches(&format!("class=\"{class}\"")).count();
        assert_eq!((count("dot s1"), count("hole"), count("speck")), (2 + 3, 1 + 1, 1 + 2));
    }
}
