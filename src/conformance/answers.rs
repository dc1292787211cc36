//! What a plugin answers: to ordinary data, to bad data, to small buffers, again, and from many threads.

use std::ops::Range;
use std::sync::Mutex;

use super::data::{DataRandom, fit, for_model, past_at, weekdays};
use super::{CheckOutcome, Subject, is_refusal};
use crate::error::{Code, Error, Result};
use crate::model::{Estimator, Factory};
use crate::panel::{Panel, PanelKind, Past};

/// A fitted model and pasts to ask it with.
type Asked = (Box<dyn Estimator>, Vec<Past>);

/// Something to ask; else how the check ends for want of it.
fn asked(subject: &Subject) -> Result<Result<Asked, CheckOutcome>> {
    let plugin = subject.plugin()?;
    let mut model = Subject::model(&plugin)?;
    let Some(panel) = for_model(&*model)? else {
        let rows = model.requirements().lookback;
        return Ok(Err(CheckOutcome::Skipped(format!(
            "with default settings it asks for {rows} rows, more than are made here"
        ))));
    };
    let first = fit(&panel, &mut *model)?;
    let mut pasts = Vec::new();
    for row in (first..panel.dates().len()).step_by(7) {
        pasts.extend(past_at(&panel, &*model, row)?);
    }
    if pasts.is_empty() {
        let needs = model.requirements();
        return Ok(Err(CheckOutcome::Failed(format!(
            "a min_history of {} in {} rows left no asset of ordinary data to weigh",
            needs.min_history, needs.lookback
        ))));
    }
    Ok(Ok((model, pasts)))
}

pub(super) fn weights(subject: &Subject) -> Result<CheckOutcome> {
    let (model, pasts) = match asked(subject)? {
        Ok(asked) => asked,
        Err(outcome) => return Ok(outcome),
    };
    for past in &pasts {
        model.weights(past)?;
        model.scores(past)?;
    }
    Ok(CheckOutcome::Passed(format!("{} decisions; every array it was lent ended at an unreadable page", pasts.len())))
}

/// Returns that are hard on arithmetic, `[rows, 3]`.
fn hard(rows: usize) -> Vec<(&'static str, Vec<f64>)> {
    let fill = |cell: &mut dyn FnMut(usize, usize) -> f64| -> Vec<f64> {
        (0..rows).flat_map(|row| [cell(row, 0), cell(row, 1), cell(row, 2)]).collect()
    };
    let mut draws = DataRandom(7);
    vec![
        ("an asset that never moves", fill(&mut |_, asset| if asset == 1 { 0.0 } else { draws.next() * 0.01 })),
        ("nothing moves", fill(&mut |_, _| 0.0)),
        ("all assets move alike", {
            let mut draws = DataRandom(8);
            let common: Vec<f64> = (0..rows).map(|_| draws.next() * 0.01).collect();
            fill(&mut |row, _| common[row])
        }),
        ("an asset is another's mirror", {
            let mut draws = DataRandom(9);
            let common: Vec<f64> = (0..rows).map(|_| draws.next() * 0.01).collect();
            fill(&mut |row, asset| if asset == 1 { -common[row] } else { common[row] })
        }),
        ("moves of a million", fill(&mut |row, asset| if (row + asset) % 5 == 0 { 1e6 } else { -0.5 })),
        ("moves too small to square", {
            let mut draws = DataRandom(10);
            fill(&mut |_, _| draws.next() * 1e-170)
        }),
        ("moves too large to square", {
            let mut draws = DataRandom(11);
            fill(&mut |_, _| draws.next().abs() * 1e200)
        }),
        ("everything is lost on the last day", {
            let mut draws = DataRandom(12);
            fill(&mut |row, _| if row + 1 == rows { -1.0 } else { draws.next() * 0.01 })
        }),
        ("half of the returns are missing", {
            let mut draws = DataRandom(13);
            fill(&mut |row, asset| if (row + asset) % 2 == 0 { f64::NAN } else { draws.next() * 0.01 })
        }),
        ("no two assets trade on one day", {
            let mut draws = DataRandom(14);
            fill(&mut |row, asset| if row % 3 == asset { draws.next() * 0.01 } else { f64::NAN })
        }),
    ]
}

pub(super) fn bad_data(subject: &Subject) -> Result<CheckOutcome> {
    let plugin = subject.plugin()?;
    let (mut answered, mut refused) = (0, 0);
    let mut needed = Subject::model(&plugin)?.requirements().lookback.min(1500);
    if plugin.is_network() {
        // Half of the rows are trained on, and a sample reaches back over the lookback.
        needed = 2 * needed + 40;
    }
    let names = ["A", "B", "C"].map(str::to_owned);
    for (name, values) in hard(needed.max(30)) {
        let rows = values.len() / 3;
        let panel = Panel::from_arrays(PanelKind::Returns, weekdays(rows), &names, &values)?;
        // A network is trained once on each kind of data, as that takes its time.
        let trained = if plugin.is_network() { Some(fitted(subject, &panel)) } else { None };
        let everything: Vec<usize> = (0..3).collect();
        // Whole, one asset alone, a single row, and a row more than that.
        let shapes: [(Range<usize>, &[usize]); 4] =
            [(0..rows, &everything), (0..rows, &[0]), (rows - 1..rows, &everything), (rows - 2..rows, &everything)];
        for (shape, assets) in shapes {
            let past = panel.past(shape, assets)?;
            let outcome = match &trained {
                Some(Ok(model)) => ask(&**model, &past),
                Some(Err(error)) if is_wrong_answer(error) || !is_refusal(error) => Err(copy(error)),
                Some(Err(_)) => {
                    refused += 1;
                    continue;
                }
                None => fitted(subject, &panel).and_then(|model| ask(&*model, &past)),
            };
            match outcome {
                Ok(()) => answered += 1,
                Err(error) if is_refusal(&error) && !is_wrong_answer(&error) => refused += 1,
                Err(error) => {
                    return Ok(CheckOutcome::Failed(format!(
                        "{name}, {} rows of {} assets: {error}; allowed are weights, or an error with a message",
                        past.rows().len(),
                        assets.len()
                    )));
                }
            }
        }
    }
    Ok(CheckOutcome::Passed(format!("{answered} answers and {refused} refusals with a message")))
}

/// An error that is told more than once.
fn copy(error: &Error) -> Error {
    Error::new(error.code(), error.to_string())
}

/// A new model, fitted on the first half of a panel.
fn fitted(subject: &Subject, panel: &Panel) -> Result<Box<dyn Estimator>> {
    let plugin = subject.plugin()?;
    let mut model = Subject::model(&plugin)?;
    if model.needs_fit() {
        let (rows, all) = (panel.dates().len(), (0..panel.assets().len()).collect::<Vec<_>>());
        model.fit(&panel.past(0..rows.div_ceil(2), &all)?, None)?;
    }
    Ok(model)
}

fn ask(model: &dyn Estimator, past: &Past) -> Result<()> {
    model.weights(past)?;
    model.scores(past).map(|_| ())
}

/// Whether it was we who refused what the plugin answered.
fn is_wrong_answer(error: &Error) -> bool {
    error.code() == Code::Plugin && error.cause().is_none()
}

pub(super) fn errors(subject: &Subject) -> Result<CheckOutcome> {
    let plugin = subject.plugin()?;
    let model = Subject::model(&plugin)?;
    let Some(panel) = for_model(&*model)? else {
        return Ok(CheckOutcome::Skipped("its default lookback is longer than the data made here".to_owned()));
    };
    let row = panel.dates().len() - 1;
    let Some(past) = past_at(&panel, &*model, row)?.filter(|past| past.assets().len() > 1) else {
        return Ok(CheckOutcome::Skipped("it can weigh fewer than two assets of ordinary data".to_owned()));
    };
    Ok(match plugin.probe_small_buffers(&Subject::defaults(&plugin)?, &past)? {
        Some(fault) => CheckOutcome::Failed(format!(
            "{fault}; compare `capacity` with the numbers to be written before anything else"
        )),
        None => CheckOutcome::Passed("a small buffer is refused, with and without a place for the error".to_owned()),
    })
}

pub(super) fn determinism(subject: &Subject) -> Result<CheckOutcome> {
    let ((one, pasts), (two, _)) = match (asked(subject)?, asked(subject)?) {
        (Ok(one), Ok(two)) => (one, two),
        (Err(outcome), _) | (_, Err(outcome)) => return Ok(outcome),
    };
    let bits = |model: &dyn Estimator, past: &Past| -> Result<Vec<u64>> {
        let scores = model.scores(past)?.unwrap_or_default();
        Ok(model.weights(past)?.iter().chain(&scores).map(|value| value.to_bits()).collect())
    };
    let forward = pasts.iter().map(|past| bits(&*one, past)).collect::<Result<Vec<_>>>()?;
    for (place, past) in pasts.iter().enumerate().rev() {
        for (model, which) in [(&one, "the same model asked again, in another order"), (&two, "another model")] {
            if bits(&**model, past)? != forward[place] {
                return Ok(CheckOutcome::Failed(format!(
                    "{which} gave other weights at row {}; a model must keep nothing between calls, and what it sums must \
                     be summed in one order",
                    past.rows().end - 1
                )));
            }
        }
    }
    Ok(CheckOutcome::Passed(format!("{} decisions, asked three times, bit for bit", pasts.len())))
}

pub(super) fn threads(subject: &Subject) -> Result<CheckOutcome> {
    let (model, pasts) = match asked(subject)? {
        Ok(asked) => asked,
        Err(outcome) => return Ok(outcome),
    };
    let expected = pasts.iter().map(|past| model.weights(past)).collect::<Result<Vec<_>>>()?;
    let faults = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let (model, pasts, expected, faults) = (&*model, &pasts, &expected, &faults);
            scope.spawn(move || {
                for round in 0..3 {
                    for place in 0..pasts.len() {
                        let place = (place + thread * 3 + round) % pasts.len();
                        let fault = match model.weights(&pasts[place]) {
                            Ok(weights) if weights == expected[place] => continue,
                            Ok(_) => "other weights".to_owned(),
                            Err(error) => error.to_string(),
                        };
                        faults.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(fault);
                    }
                }
            });
        }
    });
    let faults = faults.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    Ok(match faults.first() {
        Some(fault) => CheckOutcome::Failed(format!(
            "{} of {} calls from four threads went wrong, the first with: {fault}; `weights` takes a const model and may \
             not write to anything that calls share",
            faults.len(),
            12 * pasts.len()
        )),
        None => CheckOutcome::Passed(format!("{} calls from four threads", 12 * pasts.len())),
    })
}
