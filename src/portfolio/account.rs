//! The account of a portfolio. A step per row executes due orders where there are prices, earns the returns of the row,
//! charges costs and lets the weights drift.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;
use std::sync::Arc;

use super::record::{BlockedTrade, Delisted, Relisted, TradingRecord};
use super::terms::Terms;
use crate::panel::{Panel, PanelKind};

/// A weight, or a share of wealth, that is nothing but rounding.
const SMALLEST: f64 = 1e-12;

/// A return path, one element per row.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Path {
    /// Rows of the panel.
    pub rows: Vec<usize>,
    /// Return before costs.
    pub gross: Vec<f64>,
    /// Cost as a fraction of wealth.
    pub cost: Vec<f64>,
    /// Return after costs.
    pub net: Vec<f64>,
    /// ½ Σ|w − w⁻| of the trades executed at the close before the row.
    pub turnover: Vec<f64>,
}

impl Path {
    /// The path over `rows` of what earns `index`, `[dates]`, and is never traded.
    pub(super) fn without_costs(rows: Range<usize>, index: &[f64]) -> Self {
        let (earned, nothing) = (index[rows.clone()].to_vec(), vec![0.0; rows.len()]);
        Self { rows: rows.collect(), gross: earned.clone(), cost: nothing.clone(), net: earned, turnover: nothing }
    }

    /// Appends the rows of `later`.
    pub fn append(&mut self, later: Path) {
        self.rows.extend(later.rows);
        self.gross.extend(later.gross);
        self.cost.extend(later.cost);
        self.net.extend(later.net);
        self.turnover.extend(later.turnover);
    }

    /// The part of the path over `rows` of the panel.
    #[must_use]
    pub fn within(&self, rows: &Range<usize>) -> Self {
        let before = |bound: usize| self.rows.partition_point(|row| *row < bound);
        let part = before(rows.start)..before(rows.end);
        Self {
            rows: self.rows[part.clone()].to_vec(),
            gross: self.gross[part.clone()].to_vec(),
            cost: self.cost[part.clone()].to_vec(),
            net: self.net[part.clone()].to_vec(),
            turnover: self.turnover[part].to_vec(),
        }
    }
}

/// A target that was decided and is not yet executed.
#[derive(Clone, Debug)]
struct Order {
    /// The decision row.
    decided: usize,
    /// Weights, `[assets]`.
    target: Vec<f64>,
    /// The turnover limit that it was planned under; `None` for none.
    limit: Option<f64>,
}

/// An execution that the constraints want to know of.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Execution {
    /// The decision row.
    pub(super) decided: usize,
    /// Weights after it, `[assets]`.
    pub(super) weights: Vec<f64>,
    /// ½ Σ|w − w⁻|.
    pub(super) turnover: f64,
    /// The limit on it that the target was planned under.
    pub(super) limit: Option<f64>,
    /// Whether a trade was blocked.
    pub(super) is_blocked: bool,
}

/// The last execution of an account.
#[derive(Clone, Debug, PartialEq)]
pub struct Rebalance {
    /// The decision row.
    pub decided: usize,
    /// The row at whose close it was executed.
    pub row: usize,
    /// Weights before it, `[assets]`.
    pub before: Vec<f64>,
    /// Weights after it, `[assets]`.
    pub after: Vec<f64>,
}

/// The state of a portfolio between rows.
#[derive(Clone, Debug)]
pub struct Account {
    terms: Arc<Terms>,
    lag: usize,
    /// Σw of a target.
    budget: f64,
    /// Weights held, `[assets]`.
    weights: Vec<f64>,
    orders: VecDeque<Order>,
    /// The last order.
    last: Option<Order>,
    /// The last `lag` + 1 rows with the weights after their drift and their executions, oldest first.
    history: VecDeque<(usize, Vec<f64>)>,
    /// Cost and Σ|w − w⁻| of executions that the next row is charged with.
    due: (f64, f64),
    /// Delisted assets, with the row and the weight that was held.
    delisted: BTreeMap<usize, (usize, f64)>,
    /// The last execution.
    rebalance: Option<Rebalance>,
    record: TradingRecord,
}

impl Account {
    /// An account in cash. A decision at row t is executed at the close of row t + `lag` and held from the next row on.
    pub(super) fn new(assets: usize, terms: Arc<Terms>, lag: usize, budget: f64) -> Self {
        Self {
            terms,
            lag,
            budget,
            weights: vec![0.0; assets],
            orders: VecDeque::new(),
            last: None,
            history: VecDeque::new(),
            due: (0.0, 0.0),
            delisted: BTreeMap::new(),
            rebalance: None,
            record: TradingRecord::default(),
        }
    }

    /// Turns everything to cash at the close of the last row of `path`, which bears cost and turnover. What has no price
    /// there is sold at its last one and recorded. Nothing but the record is left.
    pub fn sell_all(&mut self, panel: &Panel, path: &mut Path) {
        let Some(last) = path.rows.len().checked_sub(1).filter(|_| !self.is_ruined()) else { return };
        let row = path.rows[last];
        for (asset, weight) in self.weights.iter().enumerate() {
            if *weight != 0.0 && !panel.has_value(row)[asset] {
                self.record.sold_without_price.push((row, asset, *weight));
            }
        }
        let traded: Vec<f64> = self.weights.iter().map(|weight| weight.abs()).collect();
        path.cost[last] += self.terms.cost(&traded);
        path.turnover[last] += 0.5 * traded.iter().sum::<f64>();
        let net = path.gross[last] - path.cost[last];
        path.net[last] = if is_lost(net) { -1.0 } else { net };
        let in_cash = Self::new(traded.len(), Arc::clone(&self.terms), self.lag, self.budget);
        let mut record = std::mem::take(&mut self.record);
        record.ruined = is_lost(net).then_some(row);
        *self = Self { record, ..in_cash };
    }

    /// The weights held, `[assets]`.
    pub fn weights(&self) -> &[f64] {
        &self.weights
    }

    /// The last execution; `None` before the first.
    pub fn rebalance(&self) -> Option<&Rebalance> {
        self.rebalance.as_ref()
    }

    /// What happened so far.
    pub fn record(&self) -> &TradingRecord {
        &self.record
    }

    /// Whether everything is lost.
    pub fn is_ruined(&self) -> bool {
        self.record.ruined.is_some()
    }

    /// What constraints take for the book at the close of `row`, `[assets]`, one of the last `lag` + 1 rows: the last
    /// target where it is to be executed later, else the weights after the drift and the execution of the row. All 0
    /// before the first purchase.
    pub(super) fn book(&mut self, row: usize, panel: &Panel) -> (Vec<f64>, Vec<Execution>) {
        let executions = if self.history.back().is_none_or(|(last, _)| *last <= row) {
            self.execute(row, panel)
        } else {
            Vec::new()
        };
        let mut book = match &self.last {
            Some(order) if order.decided + self.lag > row => order.target.clone(),
            _ => {
                let past = self.history.iter().find(|(past, _)| *past >= row);
                past.map_or_else(|| self.weights.clone(), |(_, weights)| weights.clone())
            }
        };
        for (asset, (since, _)) in &self.delisted {
            if *since <= row {
                book[*asset] = 0.0;
            }
        }
        (book, executions)
    }

    /// Orders a target `[assets]` decided at the close of `row` under a turnover limit. Orders must come in the order of
    /// their rows.
    pub fn order(&mut self, row: usize, target: Vec<f64>, limit: Option<f64>) {
        let order = Order { decided: row, target, limit };
        self.last = Some(order.clone());
        self.orders.push_back(order);
    }

    /// Executes the orders that are due at the close of `row`. An asset without a price there is not traded: its weight
    /// stays, and where that leaves too little cash every purchase is scaled down by one factor.
    pub(super) fn execute(&mut self, row: usize, panel: &Panel) -> Vec<Execution> {
        let mut out = Vec::new();
        while self.orders.front().is_some_and(|order| order.decided + self.lag <= row) {
            let Some(Order { decided, target, limit }) = self.orders.pop_front() else { break };
            let (weights, is_blocked) = self.fill(row, target, panel.has_value(row));
            let traded: Vec<f64> = self.weights.iter().zip(&weights).map(|(old, new)| (new - old).abs()).collect();
            let total: f64 = traded.iter().sum();
            self.due = (self.due.0 + self.terms.cost(&traded), self.due.1 + total);
            out.push(Execution { decided, weights: weights.clone(), turnover: 0.5 * total, limit, is_blocked });
            let before = std::mem::replace(&mut self.weights, weights);
            self.rebalance = Some(Rebalance { decided, row, before, after: self.weights.clone() });
        }
        if !out.is_empty()
            && let Some((_, after)) = self.history.back_mut().filter(|(last, _)| *last == row)
        {
            after.clone_from(&self.weights);
        }
        out
    }

    /// The weights after an order, and whether a trade was blocked. Without one they are the target, bit for bit.
    fn fill(&mut self, row: usize, target: Vec<f64>, has_price: &[bool]) -> (Vec<f64>, bool) {
        let changes = || target.iter().zip(&self.weights).map(|(new, old)| new - old);
        let is_blocked = |(change, priced): (f64, &bool)| !priced && change.abs() > SMALLEST;
        if !changes().zip(has_price).any(is_blocked) {
            return (target, false);
        }
        let (mut bought, mut sold) = (0.0, 0.0);
        for (asset, change) in changes().enumerate() {
            if has_price[asset] {
                bought += change.max(0.0);
                sold += change.min(0.0);
            } else if change.abs() > SMALLEST {
                self.record.blocked.push(BlockedTrade { row, asset, weight: change });
            }
        }
        let free = self.budget - self.weights.iter().sum::<f64>() - sold;
        let share = if bought > 0.0 { (free / bought).clamp(0.0, 1.0) } else { 1.0 };
        let fill = |(change, (old, priced)): (f64, (&f64, &bool))| match priced {
            false => *old,
            true => old + if change > 0.0 { share * change } else { change },
        };
        let weights: Vec<f64> = changes().zip(self.weights.iter().zip(has_price)).map(fill).collect();
        let left = target.iter().sum::<f64>() - weights.iter().sum::<f64>();
        if left > SMALLEST {
            self.record.uninvested.push((row, left));
        }
        (weights, true)
    }

    /// Advances the account by one row: executes the orders that are due at the close before it, earns the returns of
    /// the row, charges the cost, turns delisted assets to cash and lets the weights drift. Appends the result to
    /// `path`. Where everything is lost, the row is the last of the path.
    pub(super) fn advance(&mut self, row: usize, panel: &Panel, path: &mut Path) -> Vec<Execution> {
        let executions = row.checked_sub(1).map_or_else(Vec::new, |close| self.execute(close, panel));
        let (traded_cost, traded) = std::mem::take(&mut self.due);
        let assets = self.weights.len();
        let held = &panel.held_returns()[row * assets..][..assets];
        let leaving = self.note_prices(row, panel, held);
        let earned = |asset: usize| {
            let leaves = leaving.iter().find(|(left, _)| *left == asset);
            leaves.map_or(held[asset], |(_, earned)| *earned)
        };
        let of_assets: f64 = self.weights.iter().enumerate().map(|(asset, weight)| weight * earned(asset)).sum();
        let cash = self.terms.cash_return(row);
        // Without a return of cash nothing is added, so that no bit moves.
        let gross = if cash == 0.0 { of_assets } else { of_assets + (1.0 - self.weights.iter().sum::<f64>()) * cash };
        let cost = traded_cost + self.terms.borrowed(&self.weights);
        path.rows.push(row);
        path.gross.push(gross);
        path.cost.push(cost);
        path.turnover.push(0.5 * traded);
        // Weights add up to 1 but for rounding: what is left of a total loss is not traded on.
        if is_lost(gross - cost) {
            path.net.push(-1.0);
            self.weights.fill(0.0);
            self.orders.clear();
            self.record.ruined = Some(row);
            return executions;
        }
        path.net.push(gross - cost);
        for (asset, weight) in self.weights.iter_mut().enumerate() {
            *weight = *weight * (1.0 + earned(asset)) / (1.0 + gross);
        }
        for (asset, _) in leaving {
            self.weights[asset] = 0.0;
        }
        if self.history.len() > self.lag {
            self.history.pop_front();
        }
        self.history.push_back((row, self.weights.clone()));
        executions
    }

    /// Records what is held without a price, what has one again, and what is delisted. Returns the assets that are
    /// delisted at the close of `row`, with what they earn there.
    fn note_prices(&mut self, row: usize, panel: &Panel, held: &[f64]) -> Vec<(usize, f64)> {
        let mut leaving = Vec::new();
        for (asset, weight) in self.weights.iter().enumerate().filter(|(_, weight)| **weight != 0.0) {
            let has_price = panel.has_value(row)[asset];
            if !has_price {
                self.record.days_without_price += 1;
            } else if panel.kind() == PanelKind::Prices && row > 0 && !panel.has_value(row - 1)[asset] {
                self.record.moves_after_gap += 1;
            }
            let delisting = &self.terms.delisting;
            if delisting.is_due(panel, asset, row) {
                let earned = (1.0 + held[asset]) * (1.0 + delisting.earned.of(asset)) - 1.0;
                self.record.delisted.push(Delisted { row, asset, weight: *weight, earned });
                self.delisted.insert(asset, (row, *weight));
                leaving.push((asset, earned));
            }
        }
        let listed: Vec<usize> = self.delisted.keys().copied().filter(|&asset| panel.has_value(row)[asset]).collect();
        for asset in listed.into_iter().filter(|asset| leaving.iter().all(|(left, _)| left != asset)) {
            if let Some((_, weight)) = self.delisted.remove(&asset) {
                self.record.relisted.push(Relisted { row, asset, missed: weight * held[asset] });
            }
        }
        leaving
    }
}

/// Whether a net return loses everything: rounding may leave a trace.
fn is_lost(net: f64) -> bool {
    net <= -1.0 + SMALLEST
}

#[cfg(test)]
mod tests;
