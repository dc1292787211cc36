//! The account of a portfolio. A step per row executes due orders, earns the returns of the row, charges costs and lets
//! the weights drift.

use std::collections::VecDeque;

use crate::error::{Result, fail};
use crate::panel::Panel;

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
    /// Appends the rows of `later`.
    pub fn append(&mut self, later: Path) {
        self.rows.extend(later.rows);
        self.gross.extend(later.gross);
        self.cost.extend(later.cost);
        self.net.extend(later.net);
        self.turnover.extend(later.turnover);
    }
}

/// The state of a portfolio between rows.
#[derive(Clone, Debug)]
pub struct Account {
    /// Weights held, `[assets]`.
    weights: Vec<f64>,
    /// Decision rows and targets not yet executed.
    orders: VecDeque<(usize, Vec<f64>)>,
    /// The last `lag` + 1 rows with the weights after their drift, oldest first.
    history: VecDeque<(usize, Vec<f64>)>,
    cost_bps: f64,
    lag: usize,
}

impl Account {
    /// An account in cash. Trading costs `cost_bps` basis points of Σ|w − w⁻|. A decision at row t is executed at the
    /// close of row t + `lag` and held from the next row on.
    pub fn new(assets: usize, cost_bps: f64, lag: usize) -> Self {
        Self { weights: vec![0.0; assets], orders: VecDeque::new(), history: VecDeque::new(), cost_bps, lag }
    }

    /// The weights `[assets]` after the drift of `row`, one of the last `lag` + 1 rows; all 0 before the first
    /// purchase.
    pub fn drifted(&self, row: usize) -> &[f64] {
        let entry = self.history.iter().find(|(past, _)| *past >= row);
        entry.map_or(&self.weights, |(_, weights)| weights)
    }

    /// Orders a target `[assets]` decided at the close of `row`. Orders must come in the order of their rows.
    pub fn order(&mut self, row: usize, target: Vec<f64>) {
        self.orders.push_back((row, target));
    }

    /// Advances the account by `row` of a panel and appends the result to `path`.
    ///
    /// # Errors
    /// Errors of [`Account::advance`].
    pub fn step(&mut self, row: usize, panel: &Panel, path: &mut Path) -> Result<()> {
        let assets = panel.assets().len();
        self.advance(row, &panel.held_returns()[row * assets..][..assets], path)
    }

    /// Advances the account by one row: executes the orders that are due at the close before it, earns the returns
    /// `held` `[assets]`, which have no gaps, charges the cost and lets the weights drift. Appends the result to
    /// `path`.
    ///
    /// # Errors
    /// `InvalidData` if the portfolio loses everything.
    pub fn advance(&mut self, row: usize, held: &[f64], path: &mut Path) -> Result<()> {
        let mut traded = 0.0;
        while self.orders.front().is_some_and(|(decided, _)| decided + self.lag < row) {
            if let Some((_, target)) = self.orders.pop_front() {
                traded += self.weights.iter().zip(&target).map(|(before, after)| (after - before).abs()).sum::<f64>();
                self.weights = target;
            }
        }
        let gross: f64 = self.weights.iter().zip(held).map(|(weight, earned)| weight * earned).sum();
        if 1.0 + gross <= 0.0 {
            fail!(InvalidData, "the portfolio loses everything in row {} (a return of {gross})", row + 1);
        }
        for (weight, earned) in self.weights.iter_mut().zip(held) {
            *weight = *weight * (1.0 + earned) / (1.0 + gross);
        }
        if self.history.len() > self.lag {
            self.history.pop_front();
        }
        self.history.push_back((row, self.weights.clone()));
        let cost = self.cost_bps * 1e-4 * traded;
        path.rows.push(row);
        path.gross.push(gross);
        path.cost.push(cost);
        path.net.push(gross - cost);
        path.turnover.push(0.5 * traded);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{Account, Path};

    /// Returns of two assets over four rows; row 0 is only a decision row.
    const HELD: [[f64; 2]; 4] = [[0.0, 0.0], [0.1, 0.0], [0.0, 0.2], [0.5, -0.5]];

    fn path(lag: usize, decisions: &[(usize, [f64; 2])]) -> Path {
        let mut account = Account::new(2, 10.0, lag);
        let mut path = Path::default();
        for (row, held) in HELD.iter().enumerate().skip(1) {
            for (decided, target) in decisions.iter().filter(|(decided, _)| *decided + 1 == row) {
                account.order(*decided, target.to_vec());
            }
            account.advance(row, held, &mut path).unwrap();
        }
        path
    }

    #[track_caller]
    fn assert_near(found: &[f64], expected: &[f64]) {
        assert_eq!(found.len(), expected.len());
        assert!(found.iter().zip(expected).all(|(one, two)| (one - two).abs() < 1e-15), "{found:?} {expected:?}");
    }

    #[test]
    fn drift_turnover_and_cost_match_their_formulas() {
        let path = path(0, &[(0, [0.5, 0.5]), (2, [1.0, 0.0])]);
        // After row 1 the weights are 0.55/1.05 and 0.5/1.05; after row 2 0.55/1.15 and 0.6/1.15.
        assert_near(&path.gross, &[0.05, 0.2 * 0.5 / 1.05, 0.5]);
        assert_near(&path.turnover, &[0.5, 0.0, 0.6 / 1.15]);
        assert_near(&path.cost, &[1e-3, 0.0, 1e-3 * 1.2 / 1.15]);
        assert_near(&path.net, &[0.049, 0.1 / 1.05, 0.5 - 1e-3 * 1.2 / 1.15]);
    }

    #[test]
    fn a_lag_of_one_row_trades_one_row_later_from_the_drifted_weights() {
        let path = path(1, &[(0, [0.5, 0.5]), (1, [0.5, 0.5])]);
        assert_near(&path.gross, &[0.0, 0.1, 0.0]);
        assert_near(&path.turnover, &[0.0, 0.5, 0.5 * (0.6 / 1.1 - 0.5 + 0.5 - 0.5 / 1.1)]);
    }

    #[test]
    fn drifted_weights_are_kept_back_to_the_oldest_open_decision() {
        let (mut account, mut path) = (Account::new(2, 0.0, 1), Path::default());
        account.order(0, vec![0.5, 0.5]);
        for (row, held) in HELD.iter().enumerate().skip(1) {
            assert_eq!(account.drifted(row), if row < 3 { [0.0, 0.0] } else { [0.5 / 1.1, 0.6 / 1.1] });
            account.advance(row, held, &mut path).unwrap();
        }
        assert_near(account.drifted(2), &[0.5 / 1.1, 0.6 / 1.1]);
        assert_near(account.drifted(3), &[0.75 / 1.05, 0.3 / 1.05]);
    }

    #[test]
    fn weights_and_money_give_the_same_gross_path() {
        let path = path(0, &[(0, [0.3, 0.7]), (1, [0.6, 0.4])]);
        let (mut wealth, mut value) = (1.0, [0.3, 0.7]);
        for (row, gross) in path.gross.iter().enumerate() {
            for (held, money) in HELD[row + 1].iter().zip(&mut value) {
                *money *= 1.0 + held;
            }
            let now = value[0] + value[1];
            assert!((now / wealth - 1.0 - gross).abs() < 1e-15);
            wealth = now;
            if row == 0 {
                value = [0.6 * now, 0.4 * now];
            }
        }
    }
}
