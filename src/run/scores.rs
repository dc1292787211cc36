//! Scores of a finished walk: metrics of each model over each span of each window, what the constraints changed there,
//! and the gaps that a path went through.

use std::ops::Range;

use jiff::civil::Date;

use crate::error::{Code, Result, fail};
use crate::evaluate::{Inputs, METRICS, MetricValue, Overfitting, SpanSharpes, evaluate, overfitting};
use crate::job::decide;
use crate::model::EqualWeight;
use crate::panel::{Panel, PanelKind};
use crate::portfolio::{ConstraintChange, Decision, Path, SimulatedPath};
use crate::run::runner::Run;
use crate::windows::fit_rows;

/// The scores of a run.
#[derive(Clone, Debug)]
pub struct Scores {
    /// By model and window.
    pub windows: Vec<Vec<WindowScores>>,
    /// Of the out-of-sample path, by model.
    pub total: Vec<Scored>,
    /// What the out-of-sample path went through, by model.
    pub gaps: Vec<PriceGaps>,
    /// The overfitting monitor, by model; `None` of one that fits nothing.
    pub overfitting: Vec<Option<Overfitting>>,
}

/// The scores of one model in one window.
#[derive(Clone, Debug)]
pub struct WindowScores {
    /// Over the train span; undefined where the model fits nothing.
    pub train: Scored,
    /// Over the validation span.
    pub validation: Scored,
    /// Over the test span.
    pub test: Scored,
}

/// One path, scored.
#[derive(Clone, Debug)]
pub struct Scored {
    /// Every metric, in the order of the table.
    pub metrics: Vec<MetricValue>,
    /// What constraints changed, with the decision row.
    pub changes: Vec<(usize, ConstraintChange)>,
}

/// Days on which something was held that had no price.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PriceGaps {
    /// Days times assets held without a price; each earned 0.
    pub days_without_price: usize,
    /// Moves since the last price before a gap, earned on the day the price came back. None are known from returns:
    /// what a file of returns says of the day after a gap is taken as that day's own.
    pub moves_after_gap: usize,
}

/// Scores a computed run.
///
/// # Errors
/// `Infeasible` and `InvalidData` as the books and constraints give them, with the decision's date.
pub fn scores(run: &Run) -> Result<Scores> {
    let mut windows: Vec<Vec<WindowScores>> = run.models.iter().map(|_| Vec::new()).collect();
    for (place, window) in run.windows.iter().enumerate() {
        let lag = run.execution.lag;
        let validation_rows = fit_rows(&window.validation.rows, lag);
        let (mut validation_benchmark, mut test_benchmark) = (None, None);
        for (model, scored) in windows.iter_mut().enumerate() {
            let result = &run.results[model][place];
            let validation = score(run, &result.validation, validation_rows.clone(), &mut validation_benchmark)?;
            let test = score(run, &result.test, window.test.rows.clone(), &mut test_benchmark)?;
            let train = match &result.train {
                Some(decided) => train(run, decided, fit_rows(&window.train.rows, lag))?,
                None => Scored::undefined("the model fits nothing"),
            };
            scored.push(WindowScores { train, validation, test });
        }
    }
    let total = run
        .paths
        .iter()
        .zip(&run.changes)
        .map(|(path, changes)| Scored { metrics: metrics(&run.panel, path, &run.paths[0]), changes: changes.clone() })
        .collect();
    let gaps = (0..run.models.len()).map(|model| gaps(run, model)).collect();
    let overfitting = (0..run.models.len()).map(|model| monitored(run, model, &windows[model])).collect();
    Ok(Scores { windows, total, gaps, overfitting })
}

impl Run {
    /// A metric of a model's out-of-sample path so far, by its name in [`METRICS`]; the benchmark is equal weight.
    ///
    /// # Errors
    /// `InvalidArgument` where the table has no such metric.
    pub fn metric(&self, model: usize, name: &str) -> Result<MetricValue> {
        let Some(index) = METRICS.iter().position(|metric| metric.name == name) else {
            let known: Vec<&str> = METRICS.iter().map(|metric| metric.name).collect();
            fail!(InvalidArgument, "metric '{name}' is unknown; known are {}", known.join(", "));
        };
        Ok(metrics(&self.panel, &self.paths[model], &self.paths[0])[index])
    }
}

/// The overfitting monitor of a model.
fn monitored(run: &Run, model: usize, scores: &[WindowScores]) -> Option<Overfitting> {
    if run.results[model].iter().all(|window| window.train.is_none()) {
        return None;
    }
    let place = METRICS.iter().position(|metric| metric.name == "sharpe")?;
    let sharpes = |window: &WindowScores| SpanSharpes {
        train: window.train.metrics[place],
        validation: window.validation.metrics[place],
        test: window.test.metrics[place],
    };
    // How many test spans a test day lies in: what is stitched has each day once.
    let in_windows: usize = run.windows.iter().map(|window| window.test.rows.len()).sum();
    let once: usize = run.stitched.iter().map(ExactSizeIterator::len).sum();
    Some(overfitting(scores.iter().map(sharpes).collect(), in_windows as f64 / once.max(1) as f64))
}

impl Scored {
    fn undefined(reason: &'static str) -> Self {
        Self { metrics: METRICS.iter().map(|_| MetricValue::Undefined(reason)).collect(), changes: Vec::new() }
    }
}

/// Scores targets from cash over `rows`. The first model's path, equal weight's, becomes the benchmark of those after.
fn score(run: &Run, decided: &[Decision], rows: Range<usize>, benchmark: &mut Option<Path>) -> Result<Scored> {
    let SimulatedPath { path, changes, .. } = from_cash(run, decided, rows)?;
    let metrics = metrics(&run.panel, &path, benchmark.as_ref().unwrap_or(&path));
    benchmark.get_or_insert(path);
    Ok(Scored { metrics, changes })
}

/// The train span of a model that fits something: from its first decision on, against equal weight decided on the same
/// rows. Where the bounds cannot be met by the few assets of an early row the score is undefined: what the train span
/// says is told, but must not end a run.
fn train(run: &Run, decided: &[Decision], rows: Range<usize>) -> Result<Scored> {
    let Some(first) = decided.first() else {
        return Ok(Scored::undefined("no asset had enough history on a decision row of the train span"));
    };
    let rows = first.row + 1 + run.execution.lag..rows.end;
    let mut equal = Vec::with_capacity(decided.len());
    for decision in decided {
        equal.push(decide(&run.panel, &EqualWeight, 0, decision.row)?.0);
    }
    let scored =
        from_cash(run, &equal, rows.clone()).and_then(|benchmark| score(run, decided, rows, &mut Some(benchmark.path)));
    match scored {
        Err(error) if error.code() == Code::Infeasible => {
            Ok(Scored::undefined("the bounds cannot be met on a decision row of the train span"))
        }
        other => other,
    }
}

/// The path of decisions from cash over `rows`, and what constraints changed on the way.
fn from_cash(run: &Run, decided: &[Decision], rows: Range<usize>) -> Result<SimulatedPath> {
    run.execution.simulate(&run.panel, &mut run.execution.cash(&run.panel), decided, rows)
}

/// Every metric of a path against a benchmark over the same rows, in the order of the table.
pub(super) fn metrics(panel: &Panel, path: &Path, benchmark: &Path) -> Vec<MetricValue> {
    let Some(&first) = path.rows.first() else { return Scored::undefined("there are no returns").metrics };
    let dates: Vec<Date> = path.rows.iter().map(|&row| panel.dates()[row]).collect();
    let inputs = Inputs {
        start: panel.dates()[first.saturating_sub(1)],
        dates: &dates,
        gross: &path.gross,
        net: &path.net,
        turnover: &path.turnover,
        benchmark: Some(&benchmark.net),
    };
    evaluate(&inputs).into_iter().map(|(_, value)| value).collect()
}

/// Counts the gaps on a model's out-of-sample path. Which assets are held changes only where a target is executed, or
/// an asset loses everything. The first row after a gap between test spans always has a target of its own.
fn gaps(run: &Run, model: usize) -> PriceGaps {
    let (panel, lag) = (&run.panel, run.execution.lag);
    let assets = panel.assets().len();
    let (mut out, mut held) = (PriceGaps::default(), vec![false; assets]);
    let mut due = run.targets[model].iter().peekable();
    for &row in &run.paths[model].rows {
        while let Some(target) = due.next_if(|target| target.row + lag < row) {
            held = target.weights.iter().map(|weight| *weight != 0.0).collect();
        }
        for (asset, held) in held.iter_mut().enumerate().filter(|(_, held)| **held) {
            if !panel.has_value(row)[asset] {
                out.days_without_price += 1;
            } else if panel.kind() == PanelKind::Prices && row > 0 && !panel.has_value(row - 1)[asset] {
                out.moves_after_gap += 1;
            }
            *held = panel.held_returns()[row * assets + asset] > -1.0;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use jiff::ToSpan;
    use jiff::civil::{Date, date};

    use super::{PriceGaps, gaps, scores};
    use crate::error::Result;
    use crate::evaluate::MetricValue;
    use crate::experiment::Experiment;
    use crate::job::Runtime;
    use crate::model::{Context, Estimator, Factory, Model, Requirements};
    use crate::panel::{Panel, PanelKind, Past};
    use crate::plugin::PluginSearch;
    use crate::portfolio::Decision;
    use crate::run::Run;
    use crate::settings::{Setting, SettingValues};

    const ROWS: usize = 200;

    fn dates() -> Vec<Date> {
        (0..ROWS as i64).map(|day| date(2020, 1, 1).checked_add(day.days()).unwrap()).collect()
    }

    /// Three assets over 200 days in windows of two months train, one validation, one test.
    fn prepared(values: &[f64], kind: PanelKind, overrides: &[&str]) -> Run {
        let text = "[windows]\ntrain_months = 2\nvalidation_months = 1\ntest_months = 1\nstep_months = 1\n";
        let overrides: Vec<String> = overrides.iter().map(|&entry| entry.to_owned()).collect();
        let experiment = Experiment::from_toml(text, PathBuf::new(), &overrides).unwrap();
        let names = ["A".to_owned(), "B".to_owned(), "C".to_owned()];
        let panel = Panel::from_arrays(kind, dates(), &names, values).unwrap();
        let runtime = Runtime::new(PluginSearch::folders(Vec::new()), 1).unwrap();
        Run::new(experiment, panel, &runtime).unwrap()
    }

    /// The same, computed.
    fn run(values: &[f64], kind: PanelKind, overrides: &[&str]) -> Run {
        done(prepared(values, kind, overrides))
    }

    fn done(mut run: Run) -> Run {
        while run.step().unwrap().done < run.windows.len() {}
        run
    }

    /// A model that always gives the same weights.
    #[derive(Clone)]
    struct Fixed([f64; 3]);

    impl Factory for Fixed {
        fn name(&self) -> &'static str {
            "fixed"
        }

        fn version(&self) -> &'static str {
            "1"
        }

        fn settings(&self) -> &[Setting] {
            &[]
        }

        fn create(&self, _settings: &SettingValues, _context: &Context) -> Result<Model> {
            Ok(Model::Estimator(Box::new(self.clone())))
        }
    }

    impl Estimator for Fixed {
        fn requirements(&self) -> Requirements {
            Requirements { lookback: 1, min_history: 0 }
        }

        fn needs_fit(&self) -> bool {
            false
        }

        fn fit(&mut self, _train: &Past, _validation: Option<&Past>) -> Result<()> {
            Ok(())
        }

        fn weights(&self, _past: &Past) -> Result<Vec<f64>> {
            Ok(self.0.to_vec())
        }
    }

    fn decision(row: usize, target: [f64; 3]) -> Decision {
        Decision { row, target: target.to_vec(), shown: vec![true; 3], scores: None }
    }

    fn prices() -> Vec<f64> {
        let day = |row: usize| [100.0 + (row as f64).sin(), 50.0 + row as f64 / 10.0, 20.0 + (row as f64 / 3.0).cos()];
        (0..ROWS).flat_map(day).collect()
    }

    #[test]
    fn gaps_count_only_what_was_held() {
        // Equal weight decides at the last row of each month: 31 March is row 90, 31 May row 151.
        let decided: Vec<usize> =
            run(&prices(), PanelKind::Prices, &[]).targets[0].iter().map(|target| target.row).collect();
        assert_eq!(decided, [90, 120, 151, 181]);
        let mut values = prices();
        let mut lose = |rows: std::ops::Range<usize>, asset: usize| {
            for row in rows {
                values[row * 3 + asset] = f64::NAN;
            }
        };
        lose(125..128, 0); // held: three days, one move
        lose(40..50, 1); // before the out-of-sample path
        lose(149..155, 2); // held to the decision of row 151, where it is no member: rows 149, 150 and 151
        let expected = PriceGaps { days_without_price: 6, moves_after_gap: 1 };
        assert_eq!(gaps(&run(&values, PanelKind::Prices, &[]), 0), expected);
        // Decided on row 150, executed on 151 and held from 152, where there is no price: one day and one move more.
        values[152 * 3] = f64::NAN;
        let later = run(&values, PanelKind::Prices, &["portfolio.execution_lag=1"]);
        assert_eq!(gaps(&later, 0), PriceGaps { days_without_price: 7, moves_after_gap: 2 });
        assert_eq!(gaps(&run(&prices(), PanelKind::Prices, &[]), 0), PriceGaps::default());
    }

    #[test]
    fn with_returns_a_gap_earns_nothing_and_no_move_is_known_to_come_back() {
        let mut values = vec![0.001; ROWS * 3];
        values[125 * 3] = f64::NAN;
        // What lost everything is no longer held.
        values[130 * 3 + 1] = -1.0;
        values[131 * 3 + 1] = f64::NAN;
        assert_eq!(
            gaps(&run(&values, PanelKind::Returns, &[]), 0),
            PriceGaps { days_without_price: 1, moves_after_gap: 0 }
        );
    }

    #[test]
    fn changes_of_the_out_of_sample_path_are_those_that_reached_it() {
        let mut run = prepared(&prices(), PanelKind::Prices, &["windows.test_months=2", "portfolio.max_weight=0.5"]);
        run.models[0].factory = Box::new(Fixed([0.7, 0.2, 0.1]));
        let run = done(run);
        let scored = scores(&run).unwrap();
        // By hand: 0.7 is cut to 0.5, and the rest is spread evenly over the other two.
        let weights = &run.targets[0][0].weights;
        assert!(weights.iter().zip([0.5, 0.3, 0.2]).all(|(one, two)| (one - two).abs() < 1e-15), "{weights:?}");
        assert!(scored.total[0].changes.iter().all(|(_, change)| (change.moved - 0.4).abs() < 1e-15));
        // Both windows decide at the end of each month of their two months; the first one's second decision is held by
        // the second window's model instead.
        let in_windows: usize = scored.windows[0].iter().map(|window| window.test.changes.len()).sum();
        let rows: Vec<usize> = scored.total[0].changes.iter().map(|(row, _)| *row).collect();
        let held: Vec<usize> = run.targets[0].iter().map(|target| target.row).collect();
        assert_eq!(rows, held);
        assert!(in_windows > held.len(), "{in_windows} {held:?}");
    }

    #[test]
    fn a_model_that_fits_nothing_has_no_score_on_the_train_span() {
        let scored = scores(&run(&prices(), PanelKind::Prices, &[])).unwrap();
        let window = &scored.windows[0][0];
        assert!(window.train.metrics.iter().all(|value| *value == MetricValue::Undefined("the model fits nothing")));
        assert!(matches!(window.validation.metrics[0], MetricValue::Number(_)));
    }

    #[test]
    fn the_train_span_is_scored_as_a_path_from_its_first_decision_on() {
        let mut run = run(&prices(), PanelKind::Prices, &["portfolio.cost_bps=0"]);
        let window = run.windows[0].train.rows.clone();
        assert_eq!(window, 0..60);
        run.results[0][0].train = Some(vec![decision(30, [0.0, 1.0, 0.0])]);
        let scored = scores(&run).unwrap().windows[0][0].train.clone();
        let total = crate::evaluate::METRICS.iter().position(|metric| metric.name == "total_return").unwrap();
        let MetricValue::Number(earned) = scored.metrics[total] else { panic!("{:?}", scored.metrics[total]) };
        assert!((earned - (55.9 / 53.0 - 1.0)).abs() < 1e-12, "{earned}");
        // Bounds that the members of an early row cannot meet leave the score undefined, and the run stands.
        run.execution.constraints.max_weight = 0.2;
        let told = super::train(&run, &[decision(30, [0.0, 1.0, 0.0])], 0..60).unwrap();
        let reason = "the bounds cannot be met on a decision row of the train span";
        assert_eq!(told.metrics[0], MetricValue::Undefined(reason));
    }
}
