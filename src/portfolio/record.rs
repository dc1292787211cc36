//! What happened to a portfolio that its weights and returns do not show.

/// A trade that was ordered and not done, as the asset had no price.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BlockedTrade {
    /// The row on which it was due.
    pub row: usize,
    /// The column of the asset.
    pub asset: usize,
    /// The weight that was not bought; below 0 for one that was not sold.
    pub weight: f64,
}

/// A series that ended while it was held.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Delisted {
    /// The row on which its weight became cash.
    pub row: usize,
    /// The column of the asset.
    pub asset: usize,
    /// The weight before that row.
    pub weight: f64,
    /// What it earned on the row.
    pub earned: f64,
}

/// A delisted series that had a price again.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Relisted {
    /// The row of its first price.
    pub row: usize,
    /// The column of the asset.
    pub asset: usize,
    /// Its move since its last price, times the weight that was held.
    pub missed: f64,
}

/// What happened to a portfolio.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TradingRecord {
    /// Trades that were ordered and not done.
    pub blocked: Vec<BlockedTrade>,
    /// Rows of execution, with the share of wealth that was to be bought and stayed in cash.
    pub uninvested: Vec<(usize, f64)>,
    /// Series that ended.
    pub delisted: Vec<Delisted>,
    /// Delisted series that had a price again.
    pub relisted: Vec<Relisted>,
    /// Row, column and weight of what was sold before a gap at its last price, as it had none there.
    pub sold_without_price: Vec<(usize, usize, f64)>,
    /// Asset-days held without a price; each has a return of 0.
    pub days_without_price: usize,
    /// Price moves across a gap, earned on the day the price came back. Always 0 for a panel of returns: the return of
    /// the day after a gap counts as that day's own.
    pub moves_after_gap: usize,
    /// The row on which everything was lost.
    pub ruined: Option<usize>,
}
