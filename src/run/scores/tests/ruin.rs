//! A run in which one model loses everything and the benchmark goes on.

use super::{Fixed, ROWS, finish, scores, with_model_on};
use crate::panel::PanelKind;

/// The row on which the first asset loses everything.
const LOST: usize = 130;

#[test]
fn a_ruined_model_ends_there_and_the_others_go_on() {
    let mut values = vec![0.001; ROWS * 3];
    values[LOST * 3] = -1.0;
    let mut run = with_model_on(&values, PanelKind::Returns, &["portfolio.cost_bps=0"]);
    run.models[1].factory = Box::new(Fixed([1.0, 0.0, 0.0]));
    let run = finish(run);
    let (benchmark, ruined) = (&run.paths[0], &run.paths[1]);
    assert_eq!(run.accounts[1].record().ruined, Some(LOST));
    assert_eq!((ruined.rows.last(), ruined.net.last()), (Some(&LOST), Some(&-1.0)));
    assert!(run.targets[1].iter().all(|target| target.row < LOST) && !run.targets[1].is_empty());
    // Equal weight loses a third of its wealth, and its last decision is later.
    assert_eq!(run.accounts[0].record().ruined, None);
    assert_eq!(benchmark.rows.last(), run.stitched.rows.last().map(|rows| rows.end - 1).as_ref());
    let at = benchmark.rows.iter().position(|row| *row == LOST).unwrap();
    assert!((-0.34..-0.33).contains(&benchmark.net[at]), "{}", benchmark.net[at]);
    assert!(run.targets[0].last().unwrap().row > LOST);
    // Its figures end with that row, and there is no comparison with the benchmark's longer path.
    let scores = scores(&run).unwrap();
    let total = crate::evaluate::METRICS.iter().position(|metric| metric.name == "total_return").unwrap();
    assert_eq!(scores.total[1].metrics[total], crate::evaluate::MetricValue::Number(-1.0));
    let reasons: Vec<_> = crate::run::comparison::comparisons(&run).into_iter().flatten().collect();
    assert_eq!(reasons[0].difference.err(), Some("one of the two paths ends early"));
}
