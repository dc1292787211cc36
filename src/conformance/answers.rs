//! Checks of a plugin's answers: on ordinary and bad data, with small buffers, in repeated calls and from many threads.

use std::ops::Range;
use std::sync::Mutex;

use super::data::{DataRandom, fit, panel_for, past_at, weekdays};
use super::{CheckOutcome, Subject, is_refusal};
use crate::error::{Code, Error, Result};
use crate::model::{Estimator, Factory};
use crate::panel::{Panel, PanelKind, Past};

/// A fitted model, and pasts to call it with.
type FittedModel = (Box<dyn Estimator>, Vec<Past>);

/// A fitted model with default settings; otherwise the outcome of a check that cannot have one.
fn fitted_model(subject: &Subject) -> Result<Result<FittedModel, CheckOutcome>> {
    let plugin = subject.plugin()?;
    let mut model = Subject::model(&plugin)?;
    let Some(panel) = panel_for(&*model)? else {
        let rows = model.requirements().lookback;
        return Ok(Err(CheckOutcome::Skipped(format!(
            "with default settings it needs {rows} rows, more than the synthetic data have"
        ))));
    };
    let first = fit(&panel, &mut *model)?;
    let mut pasts = Vec::new();
    for row in (first..panel.dates().len()).step_by(7) {
        pasts.extend(past_at(&panel, &*model, row)?);
    }
    if pasts.is_empty() {
        let requirements = model.requirements();
        return Ok(Err(CheckOutcome::Failed(format!(
            "no asset of the ordinary data has a min_history of {} in {} rows, so there is nothing to decide",
            requirements.min_history, requirements.lookback
        ))));
    }
    Ok(Ok((model, pasts)))
}

pub(super) fn weights(subject: &Subject) -> Result<CheckOutcome> {
    let (model, pasts) = match fitted_model(subject)? {
        Ok(fitted) => fitted,
        Err(outcome) => return Ok(outcome),
    };
    for past in &pasts {
        model.weights(past)?;
        model.scores(past)?;
    }
    Ok(CheckOutcome::Passed(format!(
        "{} decisions; each array that it was lent ended at an unreadable page",
        pasts.len()
    )))
}

/// Returns on which arithmetic tends to fail, `[rows, 3]`.
fn difficult_returns(rows: usize) -> Vec<(&'static str, Vec<f64>)> {
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
        ("two assets are mirror images", {
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
        ("no two assets trade on the same day", {
            let mut draws = DataRandom(14);
            fill(&mut |row, asset| if row % 3 == asset { draws.next() * 0.01 } else { f64::NAN })
        }),
    ]
}

pub(super) fn bad_data(subject: &Subject) -> Result<CheckOutcome> {
    let plugin = subject.plugin()?;
    let (mut answered, mut refused) = (0, 0);
    let mut rows_needed = Subject::model(&plugin)?.requirements().lookback.min(1500);
    if plugin.is_network() {
        // Half of the rows are for training, and each sample needs a whole lookback.
        rows_needed = 2 * rows_needed + 40;
    }
    let names = ["A", "B", "C"].map(str::to_owned);
    for (name, values) in difficult_returns(rows_needed.max(30)) {
        let rows = values.len() / 3;
        let panel = Panel::from_arrays(PanelKind::Returns, weekdays(rows), &names, &values)?;
        // A network is trained only once per kind of data, because training is slow.
        let trained = if plugin.is_network() { Some(fitted(subject, &panel)) } else { None };
        let all: Vec<usize> = (0..3).collect();
        // All data, one asset, one row and two rows.
        let shapes: [(Range<usize>, &[usize]); 4] =
            [(0..rows, &all), (0..rows, &[0]), (rows - 1..rows, &all), (rows - 2..rows, &all)];
        for (shown, assets) in shapes {
            let past = panel.past(shown, assets)?;
            let outcome = match &trained {
                Some(Ok(model)) => call(&**model, &past),
                Some(Err(error)) if is_invalid_answer(error) || !is_refusal(error) => Err(copy(error)),
                Some(Err(_)) => {
                    refused += 1;
                    continue;
                }
                None => fitted(subject, &panel).and_then(|model| call(&*model, &past)),
            };
            match outcome {
                Ok(()) => answered += 1,
                Err(error) if is_refusal(&error) && !is_invalid_answer(&error) => refused += 1,
                Err(error) => {
                    return Ok(CheckOutcome::Failed(format!(
                        "{name}, {} rows of {} assets: {error}; return valid weights, or an error with a message",
                        past.rows().len(),
                        assets.len()
                    )));
                }
            }
        }
    }
    Ok(CheckOutcome::Passed(format!("{answered} answers and {refused} refusals with a message")))
}

/// A copy of an error that is reported more than once.
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

/// Calls `weights` and `scores`.
fn call(model: &dyn Estimator, past: &Past) -> Result<()> {
    model.weights(past)?;
    model.scores(past).map(|_| ())
}

/// Whether the host rejected the plugin's answer, rather than the plugin returning an error.
fn is_invalid_answer(error: &Error) -> bool {
    error.code() == Code::Plugin && error.cause().is_none()
}

pub(super) fn errors(subject: &Subject) -> Result<CheckOutcome> {
    let plugin = subject.plugin()?;
    let model = Subject::model(&plugin)?;
    let Some(panel) = panel_for(&*model)? else {
        return Ok(CheckOutcome::Skipped("its default lookback is longer than the synthetic data".to_owned()));
    };
    let row = panel.dates().len() - 1;
    let Some(past) = past_at(&panel, &*model, row)?.filter(|past| past.assets().len() > 1) else {
        return Ok(CheckOutcome::Skipped("fewer than two assets of the ordinary data have enough history".to_owned()));
    };
    Ok(match plugin.probe_small_buffers(&Subject::defaults(&plugin)?, &past)? {
        Some(fault) => CheckOutcome::Failed(format!(
            "{fault}; compare `capacity` with the number of elements to write before anything else"
        )),
        None => CheckOutcome::Passed("a small buffer is refused, with and without an error pointer".to_owned()),
    })
}

pub(super) fn determinism(subject: &Subject) -> Result<CheckOutcome> {
    let ((one, pasts), (two, _)) = match (fitted_model(subject)?, fitted_model(subject)?) {
        (Ok(one), Ok(two)) => (one, two),
        (Err(outcome), _) | (_, Err(outcome)) => return Ok(outcome),
    };
    let bits = |model: &dyn Estimator, past: &Past| -> Result<Vec<u64>> {
        let scores = model.scores(past)?.unwrap_or_default();
        Ok(model.weights(past)?.iter().chain(&scores).map(|value| value.to_bits()).collect())
    };
    let expected = pasts.iter().map(|past| bits(&*one, past)).collect::<Result<Vec<_>>>()?;
    for (past, expected) in pasts.iter().zip(&expected).rev() {
        for (model, which) in [(&one, "the same model, called in another order,"), (&two, "another model")] {
            if bits(&**model, past)? != *expected {
                return Ok(CheckOutcome::Failed(format!(
                    "{which} gave other weights at row {}; a model must keep nothing between calls and must sum in a \
                     fixed order",
                    past.rows().end - 1
                )));
            }
        }
    }
    Ok(CheckOutcome::Passed(format!("{} decisions, made three times, equal bit for bit", pasts.len())))
}

pub(super) fn threads(subject: &Subject) -> Result<CheckOutcome> {
    let (model, pasts) = match fitted_model(subject)? {
        Ok(fitted) => fitted,
        Err(outcome) => return Ok(outcome),
    };
    let expected = pasts.iter().map(|past| model.weights(past)).collect::<Result<Vec<_>>>()?;
    let faults = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let (model, pasts, expected, faults) = (&*model, &pasts, &expected, &faults);
            scope.spawn(move || {
                for round in 0..3 {
                    for step in 0..pasts.len() {
                        let index = (step + thread * 3 + round) % pasts.len();
                        let fault = match model.weights(&pasts[index]) {
                            Ok(weights) if weights == expected[index] => continue,
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
            "{} of {} calls from four threads failed, the first with: {fault}; `weights` takes a const model and must \
             not write to data that calls share",
            faults.len(),
            12 * pasts.len()
        )),
        None => CheckOutcome::Passed(format!("{} calls from four threads", 12 * pasts.len())),
    })
}
