//! What happened to a portfolio that its weights and returns do not show, as `run.json` lists it.

use sha2::{Digest as _, Sha256};

use crate::panel::hex;
use crate::portfolio::{ExecutionModel, PerAsset, Terms};
use crate::run::document::{AssetEvent, DelistedEntry, HeldAtEnd, TradingEntry};
use crate::run::runner::Run;

/// The trading record of a model's out-of-sample path.
pub(super) fn trading(run: &Run, model: usize) -> TradingEntry {
    let (panel, account) = (&run.panel, &run.accounts[model]);
    let record = account.record();
    let day = |row: usize| panel.dates()[row].to_string();
    let name = |asset: usize| panel.assets()[asset].clone();
    let event = |row, asset, weight| AssetEvent { date: day(row), asset: name(asset), weight };
    let delisted = record.delisted.iter().map(|gone| DelistedEntry {
        date: day(gone.row),
        asset: name(gone.asset),
        weight: gone.weight,
        earned: gone.earned,
    });
    TradingEntry {
        days_without_price: record.days_without_price,
        moves_after_gap: record.moves_after_gap,
        blocked: record.blocked.iter().map(|trade| event(trade.row, trade.asset, trade.weight)).collect(),
        uninvested: record.uninvested.iter().map(|(row, share)| (day(*row), *share)).collect(),
        delisted: delisted.collect(),
        relisted: record.relisted.iter().map(|back| event(back.row, back.asset, back.missed)).collect(),
        sold_without_price: record.sold_without_price.iter().map(|sold| event(sold.0, sold.1, sold.2)).collect(),
        without_price_at_end: without_price_at_end(run, model),
        ruined: record.ruined.map(day),
    }
}

/// What is held at the end of the path without a price there.
fn without_price_at_end(run: &Run, model: usize) -> Vec<HeldAtEnd> {
    let panel = &run.panel;
    let Some(&last) = run.paths[model].rows.last() else { return Vec::new() };
    let held = run.accounts[model].weights().iter().enumerate();
    held.filter(|(asset, weight)| **weight != 0.0 && !panel.has_value(last)[*asset])
        .map(|(asset, weight)| {
            let priced = (0..last).rev().find(|row| panel.has_value(*row)[asset]);
            HeldAtEnd {
                asset: panel.assets()[asset].clone(),
                weight: *weight,
                last_price: priced.map(|row| panel.dates()[row].to_string()),
            }
        })
        .collect()
}

/// The digest of costs, rates, delisting returns and groups as they were read, as a file may change; `None` where no file is
/// read and cash earns nothing.
pub(super) fn terms_digest(execution: &ExecutionModel) -> Option<String> {
    let Terms { cost_bps, borrow, cash, delisting } = &*execution.terms;
    let groups = &execution.constraints.dated_groups;
    let of_files: Vec<&PerAsset> =
        [cost_bps, borrow, &delisting.earned].into_iter().filter(|of| matches!(of, PerAsset::Each(_))).collect();
    if of_files.is_empty() && cash.is_empty() && groups.is_empty() {
        return None;
    }
    let mut hash = Sha256::new();
    for of in [cost_bps, borrow, &delisting.earned] {
        match of {
            PerAsset::Same(value) => hash.update(value.to_le_bytes()),
            PerAsset::Each(values) => values.iter().for_each(|value| hash.update(value.to_le_bytes())),
        }
    }
    cash.iter().for_each(|value| hash.update(value.to_le_bytes()));
    for (asset, date) in &delisting.dates {
        hash.update((*asset as u64).to_le_bytes());
        hash.update(date.to_string());
    }
    for group in groups {
        hash.update(&group.name);
        for (asset, rows) in &group.members {
            for number in [*asset, rows.start, rows.end] {
                hash.update((number as u64).to_le_bytes());
            }
        }
    }
    Some(hex(&hash.finalize()))
}
