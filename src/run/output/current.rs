//! The portfolio that a model holds at the end of its out-of-sample path, what its last rebalance traded, and the share
//! of risk of each asset.

use crate::run::document::{CurrentEntry, HoldingEntry};
use crate::run::runner::Run;

/// Fewer rows than this give no shares of risk.
const FEWEST_ROWS: usize = 12;

/// The current portfolio of a model; `None` if it never traded or lost everything.
pub(super) fn current(run: &Run, model: usize) -> Option<CurrentEntry> {
    let (panel, account) = (&run.panel, &run.accounts[model]);
    if account.is_ruined() || run.ended[model].is_some() {
        return None;
    }
    let (last, rebalance) = (*run.paths[model].rows.last()?, account.rebalance()?);
    let risk = risk_shares(run, rebalance.decided, &rebalance.after);
    let holding = |&asset: &usize| HoldingEntry {
        asset: panel.assets()[asset].clone(),
        weight: account.weights()[asset],
        traded: rebalance.after[asset] - rebalance.before[asset],
        risk: risk.as_ref().ok().map(|(_, shares)| shares[asset]),
    };
    let involved = |asset: &&usize| {
        [account.weights(), &rebalance.before, &rebalance.after].iter().any(|weights| weights[**asset] != 0.0)
    };
    let day = |row: usize| panel.dates()[row].to_string();
    Some(CurrentEntry {
        date: day(last),
        decided: day(rebalance.decided),
        executed: day(rebalance.row),
        risk_rows: risk.as_ref().ok().map(|(rows, _)| *rows),
        undefined: risk.as_ref().err().map(|reason| (*reason).to_owned()),
        holdings: panel.output_order().iter().filter(involved).map(holding).collect(),
    })
}

/// The share of each asset in the variance of a portfolio, `w_a (Σw)_a / w'Σw`, `[assets]`, and the number of rows behind Σ.
/// Of the longest lookback of the run's models, or a year where that is longer, they are the rows up to the decision in
/// which every asset that is held has a return. `(Σw)_a` is the covariance of the asset and the portfolio, so Σ itself is
/// not formed.
fn risk_shares(run: &Run, decided: usize, weights: &[f64]) -> Result<(usize, Vec<f64>), &'static str> {
    let lookbacks = run.results.iter().filter_map(|windows| windows.last()).map(|window| window.lookback);
    let length = lookbacks.max().unwrap_or(0).max(run.conventions.periods_per_year.round() as usize).max(FEWEST_ROWS);
    let held: Vec<usize> = (0..weights.len()).filter(|asset| weights[*asset] != 0.0).collect();
    let rows = (decided + 1).saturating_sub(length)..decided + 1;
    let rows = rows.map(|row| run.panel.returns(row));
    let rows: Vec<&[f64]> = rows.filter(|row| held.iter().all(|asset| row[*asset].is_finite())).collect();
    if rows.len() < FEWEST_ROWS {
        return Err("fewer than 12 rows of the lookback have a return of every asset that is held");
    }
    let centred = |values: Vec<f64>| {
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        values.into_iter().map(|value| value - mean).collect::<Vec<f64>>()
    };
    let portfolio =
        centred(rows.iter().map(|row| held.iter().map(|asset| weights[*asset] * row[*asset]).sum()).collect());
    let variance: f64 = portfolio.iter().map(|value| value * value).sum();
    if portfolio.iter().all(|value| value.abs() <= 1e-12) {
        return Err("the returns of the portfolio do not vary over the lookback");
    }
    let mut out = vec![0.0; weights.len()];
    for asset in held {
        let of_asset = centred(rows.iter().map(|row| row[asset]).collect());
        let shared: f64 = of_asset.iter().zip(&portfolio).map(|(one, two)| one * two).sum();
        out[asset] = weights[asset] * shared / variance;
    }
    Ok((rows.len(), out))
}
