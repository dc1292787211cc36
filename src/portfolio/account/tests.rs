//! Hand-worked books: drift, costs, lag, trades without a price, series that end, ruin.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::ToSpan;
use jiff::civil::{Date, date};

use super::{Account, Path};
use crate::panel::{Panel, PanelKind};
use crate::portfolio::record::{BlockedTrade, Delisted, Relisted};
use crate::portfolio::{Delisting, PerAsset, Terms};

fn panel(kind: PanelKind, assets: usize, values: &[f64]) -> Panel {
    let dates: Vec<Date> = (0..values.len() / assets).map(|row| date(2020, 1, 1) + (row as i64).days()).collect();
    let names: Vec<String> = ["A", "B", "C"][..assets].iter().map(|&name| name.to_owned()).collect();
    Panel::from_arrays(kind, dates, &names, values).unwrap()
}

/// Returns of two assets over four rows; row 0 is only a decision row.
fn moving() -> Panel {
    panel(PanelKind::Returns, 2, &[0.0, 0.0, 0.1, 0.0, 0.0, 0.2, 0.5, -0.5])
}

/// The account and its path after these decisions, in rows 1 to the last.
fn walk(panel: &Panel, terms: Terms, lag: usize, decisions: &[(usize, &[f64])]) -> (Account, Path) {
    let mut account = Account::new(panel.assets().len(), Arc::new(terms), lag, 1.0);
    let mut path = Path::default();
    for row in 1..panel.dates().len() {
        for (decided, target) in decisions.iter().filter(|(decided, _)| *decided + 1 == row) {
            account.order(*decided, target.to_vec(), None);
        }
        if !account.is_ruined() {
            account.advance(row, panel, &mut path);
        }
    }
    (account, path)
}

#[track_caller]
fn assert_near(found: &[f64], expected: &[f64]) {
    assert_eq!(found.len(), expected.len());
    assert!(found.iter().zip(expected).all(|(one, two)| (one - two).abs() < 1e-15), "{found:?} {expected:?}");
}

#[test]
fn drift_turnover_and_cost_match_their_formulas() {
    let (_, path) = walk(&moving(), Terms::costs(10.0), 0, &[(0, &[0.5, 0.5]), (2, &[1.0, 0.0])]);
    // After row 1 the weights are 0.55/1.05 and 0.5/1.05; after row 2 0.55/1.15 and 0.6/1.15.
    assert_near(&path.gross, &[0.05, 0.2 * 0.5 / 1.05, 0.5]);
    assert_near(&path.turnover, &[0.5, 0.0, 0.6 / 1.15]);
    assert_near(&path.cost, &[1e-3, 0.0, 1e-3 * 1.2 / 1.15]);
    assert_near(&path.net, &[0.049, 0.1 / 1.05, 0.5 - 1e-3 * 1.2 / 1.15]);
}

#[test]
fn a_lag_of_one_row_trades_one_row_later_from_the_drifted_weights() {
    let (_, path) = walk(&moving(), Terms::costs(10.0), 1, &[(0, &[0.5, 0.5]), (1, &[0.5, 0.5])]);
    assert_near(&path.gross, &[0.0, 0.1, 0.0]);
    assert_near(&path.turnover, &[0.0, 0.5, 0.5 * (0.6 / 1.1 - 0.5 + 0.5 - 0.5 / 1.1)]);
}

#[test]
fn the_book_is_the_last_target_until_it_is_executed() {
    let panel = moving();
    let mut account = Account::new(2, Arc::new(Terms::costs(0.0)), 1, 1.0);
    let mut path = Path::default();
    let book = |account: &mut Account, row| account.book(row, &panel).0;
    assert_eq!(book(&mut account, 0), [0.0, 0.0]);
    account.order(0, vec![0.5, 0.5], None);
    // Decided at row 0 and due at the close of row 1.
    assert_eq!(book(&mut account, 0), [0.5, 0.5]);
    account.advance(1, &panel, &mut path);
    // At the close of row 1 it is executed: before, everything was cash.
    assert_eq!(book(&mut account, 1), [0.5, 0.5]);
    account.order(1, vec![0.25, 0.75], None);
    account.advance(2, &panel, &mut path);
    assert_eq!(path.turnover, [0.0, 0.5]);
    // The order of row 1 is due at the close of row 2, where the drifted weights were 0.5/1.1 and 0.6/1.1.
    assert_eq!(book(&mut account, 2), [0.25, 0.75]);
    account.advance(3, &panel, &mut path);
    assert_near(&[path.turnover[2]], &[0.5 * (0.5 / 1.1 - 0.25 + 0.75 - 0.6 / 1.1)]);
    let gross = 0.25 * 0.5 - 0.75 * 0.5;
    assert_near(&book(&mut account, 3), &[0.25 * 1.5 / (1.0 + gross), 0.75 * 0.5 / (1.0 + gross)]);
    // Decisions of the last two rows may still be asked for.
    assert_eq!(book(&mut account, 2), [0.25, 0.75]);
}

#[test]
fn weights_and_money_give_the_same_gross_path() {
    let panel = moving();
    let (_, path) = walk(&panel, Terms::costs(0.0), 0, &[(0, &[0.3, 0.7]), (1, &[0.6, 0.4])]);
    let (mut wealth, mut value) = (1.0, [0.3, 0.7]);
    for (row, gross) in path.gross.iter().enumerate() {
        for (held, money) in panel.held_returns()[(row + 1) * 2..][..2].iter().zip(&mut value) {
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

#[test]
fn an_asset_without_a_price_is_not_sold_and_purchases_are_scaled_to_the_cash_that_is_there() {
    // B has no price on row 2, where it should be sold for A and C.
    let prices = [1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, f64::NAN, 1.0, 1.0, f64::NAN, 1.0, 1.0, 3.0, 1.0];
    let panel = panel(PanelKind::Prices, 3, &prices);
    let decisions: [(usize, &[f64]); 2] = [(0, &[0.2, 0.5, 0.3]), (2, &[0.6, 0.0, 0.4])];
    let (account, path) = walk(&panel, Terms::costs(10.0), 0, &decisions);
    // 0.5 is to be bought and no cash is free: nothing is bought, and nothing of B is sold.
    assert_eq!(path.turnover, [0.5, 0.0, 0.0, 0.0]);
    assert_eq!(account.record().blocked, [BlockedTrade { row: 2, asset: 1, weight: -0.5 }]);
    assert_eq!(account.record().uninvested, []);
    assert_eq!((account.record().days_without_price, account.record().moves_after_gap), (2, 1));
    // B earns the whole move when its price is back.
    assert_near(&path.gross, &[0.0, 0.0, 0.0, 1.0]);
    // Where half of C is sold too, its proceeds buy A, as far as they go.
    let decisions: [(usize, &[f64]); 2] = [(0, &[0.2, 0.5, 0.3]), (2, &[0.85, 0.0, 0.15])];
    let (_, path) = walk(&panel, Terms::costs(10.0), 0, &decisions);
    assert_near(&[path.turnover[2], path.cost[2]], &[0.15, 3e-4]);
}

#[test]
fn a_purchase_that_is_blocked_stays_in_cash() {
    let prices = [1.0, 1.0, 1.0, f64::NAN, 2.0, f64::NAN, 2.0, 1.0];
    let panel = panel(PanelKind::Prices, 2, &prices);
    let (account, path) = walk(&panel, Terms::costs(0.0), 0, &[(1, &[0.25, 0.75])]);
    assert_eq!(account.record().blocked, [BlockedTrade { row: 1, asset: 1, weight: 0.75 }]);
    assert_eq!(account.record().uninvested, [(1, 0.75)]);
    assert_near(&path.gross, &[0.0, 0.25, 0.0]);
    assert_near(account.weights(), &[0.4, 0.0]);
}

#[test]
fn a_series_that_ends_is_turned_to_cash_with_its_delisting_return() {
    // B has its last price on row 1 and another one on row 5.
    let nan = f64::NAN;
    let prices = [1.0, 1.0, 1.0, 1.0, 1.0, nan, 1.0, nan, 2.0, nan, 2.0, 3.0];
    let panel = panel(PanelKind::Prices, 2, &prices);
    let with = |rows, earned, dates| Terms { delisting: Delisting { rows, earned, dates }, ..Terms::costs(10.0) };
    let (account, path) = walk(&panel, with(2, PerAsset::Same(-0.4), BTreeMap::new()), 0, &[(0, &[0.5, 0.5])]);
    // Two rows without a price: rows 2 and 3. It costs nothing.
    assert_near(&path.gross, &[0.0, 0.0, -0.2, 0.5 / 0.8, 0.0]);
    assert_near(&path.cost, &[1e-3, 0.0, 0.0, 0.0, 0.0]);
    assert_eq!(account.record().delisted, [Delisted { row: 3, asset: 1, weight: 0.5, earned: -0.4 }]);
    assert_eq!(account.record().relisted, [Relisted { row: 5, asset: 1, missed: 0.5 * 2.0 }]);
    assert_near(account.weights(), &[1.0 / 1.3, 0.0]);
    // An order for it that waits is blocked, and it counts 0 in the book.
    let terms = with(2, PerAsset::Same(0.0), BTreeMap::new());
    let mut account = Account::new(2, Arc::new(terms), 1, 1.0);
    let mut path = Path::default();
    account.order(0, vec![0.5, 0.5], None);
    for row in 1..=3 {
        account.advance(row, &panel, &mut path);
        if row == 2 {
            account.order(2, vec![0.1, 0.9], None);
        }
    }
    assert_near(&account.book(3, &panel).0, &[0.1, 0.0]);
    assert!(account.record().blocked.contains(&BlockedTrade { row: 3, asset: 1, weight: 0.9 }));
    // Four rows never pass without a price before it is back.
    let (account, path) = walk(&panel, with(4, PerAsset::Same(-0.4), BTreeMap::new()), 0, &[(0, &[0.5, 0.5])]);
    assert_eq!(account.record().delisted, []);
    assert_near(&path.gross, &[0.0, 0.0, 0.0, 0.5, 0.5 / 1.5 * 2.0]);
    // A date: the first row on or after it, with the return of that row.
    let dates = BTreeMap::from([(0, date(2020, 1, 5))]);
    let each = PerAsset::Each(Arc::from([0.1, 0.0]));
    let (account, _) = walk(&panel, with(9, each, dates), 0, &[(0, &[0.5, 0.5])]);
    let [gone] = account.record().delisted[..] else { panic!("{:?}", account.record()) };
    assert_eq!((gone.row, gone.asset), (4, 0));
    assert_near(&[gone.earned], &[2.0 * 1.1 - 1.0]);
}

#[test]
fn a_path_ends_where_everything_is_lost() {
    let panel = panel(PanelKind::Returns, 2, &[0.0, 0.0, 0.5, 0.0, -1.0, 0.5, 0.1, 0.1]);
    // Short of B by half: row 2 loses 2.25/2 · 1 + 0.5/2... in all more than there is.
    let (mut account, mut path) = walk(&panel, Terms::costs(0.0), 0, &[(0, &[1.5, -0.5]), (2, &[0.5, 0.5])]);
    let before = 1.5 * 1.5 / 1.75;
    assert_near(&path.gross, &[0.75, -before - 0.5 / 1.75 * 0.5]);
    assert_eq!((path.net[1], path.rows.len(), account.record().ruined), (-1.0, 2, Some(2)));
    assert_eq!(account.weights(), [0.0, 0.0]);
    // A gap after it sells nothing and leaves it lost.
    let before = path.clone();
    account.sell_all(&panel, &mut path);
    assert!(account.is_ruined() && path == before);
}

#[test]
fn a_total_loss_is_ruin_although_weights_add_up_to_less_than_1_by_rounding() {
    let weight = 1.0 / 3.0 - f64::EPSILON;
    let panel = panel(PanelKind::Returns, 3, &[0.0, 0.0, 0.0, -1.0, -1.0, -1.0, 0.1, 0.1, 0.1]);
    let (account, path) = walk(&panel, Terms::costs(0.0), 0, &[(0, &[weight; 3])]);
    assert!(path.gross[0] > -1.0, "{}", path.gross[0]);
    assert_eq!((path.net.as_slice(), account.record().ruined), ([-1.0].as_slice(), Some(1)));
}

#[test]
fn costs_of_assets_short_positions_and_cash_are_charged_and_earned() {
    let terms = Terms {
        cost_bps: PerAsset::Each(Arc::from([10.0, 30.0])),
        borrow: PerAsset::Each(Arc::from([0.5, 0.01])),
        cash: Arc::from([f64::NAN, 0.001, 0.002, 0.003]),
        ..Terms::costs(0.0)
    };
    let (account, path) = walk(&moving(), terms, 0, &[(0, &[0.6, -0.2])]);
    let first = 0.6 * 0.1 + 0.6 * 0.001;
    assert_near(&path.cost[..1], &[0.6 * 10e-4 + 0.2 * 30e-4 + 0.2 * 0.01]);
    assert_near(&path.gross[..1], &[first]);
    let (one, two) = (0.6 * 1.1 / (1.0 + first), -0.2 / (1.0 + first));
    assert_near(&path.gross[1..2], &[two * 0.2 + (1.0 - one - two) * 0.002]);
    assert_near(&path.cost[1..2], &[-two * 0.01]);
    assert!(account.weights()[1] < 0.0);
}

#[test]
fn before_a_gap_everything_is_sold_and_the_row_bears_it() {
    let panel = panel(PanelKind::Prices, 2, &[100.0, 100.0, 110.0, 100.0, 121.0, f64::NAN]);
    let (mut account, mut path) = walk(&panel, Terms::costs(10.0), 0, &[(0, &[0.5, 0.5])]);
    account.sell_all(&panel, &mut path);
    // The purchase is charged on row 1; what is sold is 1 at the close of row 2.
    assert_near(&path.cost, &[1e-3, 1e-3]);
    assert_near(&path.turnover, &[0.5, 0.5]);
    assert_near(&path.net, &[0.05 - 1e-3, 0.055 / 1.05 - 1e-3]);
    assert_eq!(account.weights(), [0.0, 0.0]);
    assert_eq!(account.book(2, &panel).0, [0.0, 0.0]);
    // B has no price there.
    let sold = &account.record().sold_without_price;
    assert!(matches!(sold[..], [(2, 1, weight)] if (weight - 0.5 / 1.105).abs() < 1e-15), "{sold:?}");
}
