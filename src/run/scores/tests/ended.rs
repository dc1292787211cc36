//! A run in which the choice of one model leaves no portfolio, and the benchmark goes on.

use super::{Fixed, finish, prices, scores, with_model_on};
use crate::error::Code;
use crate::evaluate::MetricValue;
use crate::panel::PanelKind;
use crate::portfolio::group;
use crate::run::Run;
use crate::run::output::report_values::report_values;
use crate::run::output::run_json::run_document;
use crate::run::scores::ENDED;

/// A run of three windows whose second model holds the first asset alone.
fn prepared() -> Run {
    let mut run = with_model_on(&prices(), PanelKind::Prices, &["portfolio.top_k=1"]);
    run.models[1].factory = Box::new(Fixed([1.0, 0.0, 0.0]));
    run
}

/// From now on the third asset, which `top_k` closes, must be held.
fn require_the_third(run: &mut Run) {
    run.execution.constraints.groups = vec![group("third", vec![2], 0.2, 1.0)];
}

#[test]
fn a_model_without_a_portfolio_ends_before_the_window_and_the_others_go_on() {
    let whole = finish(prepared());
    let mut run = prepared();
    while run.progress().done == 0 {
        run.step().unwrap();
    }
    require_the_third(&mut run);
    let run = finish(run);
    assert_eq!(run.results[0].len(), run.windows.len());
    let ended = run.ended[1].as_ref().unwrap();
    assert!(ended.window == 1 && run.ended[0].is_none(), "{ended:?}");
    assert_eq!(ended.error.code(), Code::Infeasible);
    let text = ended.error.to_string();
    assert!(text.contains("model 'second', window 1") && text.contains("group 'third' has 0 assets"), "{text}");
    assert!(run.warnings.iter().any(|warning| warning.contains("model 'second' ends before window 1")));
    // The path is that of the first window, and the benchmark's is as it would have been.
    assert_eq!(run.paths[1].rows, run.stitched.rows[0].clone().collect::<Vec<_>>());
    assert_eq!(
        (&run.paths[1].net[..], &run.paths[0]),
        (&whole.paths[1].net[..run.paths[1].net.len()], &whole.paths[0])
    );
    let first = run.stitched.rows[1].start - 1;
    assert!(run.target(1, first - 1).is_ok() && run.target(0, first).is_ok());
    let error = run.target(1, first).unwrap_err();
    assert!(error.code() == Code::Infeasible && error.to_string().contains("ended before window 1"), "{error}");
    // Its figures are those of its path; later windows have none.
    let scores = scores(&run).unwrap();
    assert!(matches!(scores.total[1].metrics[0], MetricValue::Number(_)));
    assert_eq!(scores.windows[1][1].test.metrics[0], MetricValue::Undefined(ENDED));
    assert!(matches!(scores.windows[0][1].test.metrics[0], MetricValue::Number(_)));
    // Its lines in the report end with it.
    let shown = &report_values(&run, &scores).models[1].net;
    let held = run.paths[1].net.len();
    assert!(
        shown[..held] == run.paths[1].net[..] && shown.len() > held && shown[held..].iter().all(|net| net.is_nan())
    );
    let document = run_document(&run, &scores);
    let entry = &document["summary"]["second"];
    assert_eq!(entry["ended"]["window"], 1);
    assert!(entry["ended"]["reason"].as_str().unwrap().contains("group 'third'") && entry.get("current").is_none());
    let models = |window: usize| document["windows"][window]["models"].as_object().unwrap().len();
    assert_eq!((models(0), models(1)), (2, 1));
}

#[test]
fn a_span_alone_without_a_portfolio_has_no_score() {
    let mut run = finish(prepared());
    require_the_third(&mut run);
    let scores = scores(&run).unwrap();
    let reason = "infeasible: no portfolio satisfies the constraints on a decision row of the span";
    let window = &scores.windows[1][0];
    assert_eq!(
        (window.validation.metrics[0], window.test.metrics[0]),
        (MetricValue::Undefined(reason), MetricValue::Undefined(reason))
    );
    assert!(matches!(window.held[0], MetricValue::Number(_)));
}
