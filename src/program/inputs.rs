//! Where the inputs of a program come from: planes of the panel, the eligible assets, or values that the network
//! computes. An engine fills them from planes and tables that are resident; nothing is handed over per batch.

/// A `[dates, assets]` plane of which a trailing input takes the last rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Plane {
    /// Returns, standardised with mean and standard deviation of the train span; 0 where missing.
    Returns,
    /// 1 where the return is finite, else 0.
    Known,
    /// 1 where the asset may be held after a decision at that row, else 0.
    Members,
    /// A feature plane, by its index among those of the panel; standardised as returns are.
    Feature(usize),
}

/// An axis of a computed input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Axis {
    /// As long as there are assets.
    Assets,
    /// Of this length.
    Fixed(usize),
}

impl Axis {
    /// The length of the axis for this number of assets.
    pub fn length(self, assets: usize) -> usize {
        match self {
            Self::Assets => assets,
            Self::Fixed(length) => length,
        }
    }
}

/// Where the values of an input come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InputSource {
    /// Handed over with every batch, as tests and benches do.
    Given,
    /// The last rows of a plane up to and including the as-of row, `[rows, assets]`.
    Trailing {
        /// The plane.
        plane: Plane,
        /// The number of rows.
        rows: usize,
    },
    /// 1 where the asset is eligible at the as-of row, else 0, `[assets]`.
    Mask,
    /// Filled by the network, date by date, from what was known there.
    Computed {
        /// The index among the computed inputs.
        index: usize,
        /// The shape.
        shape: Vec<Axis>,
        /// Whether each component of the last axis is standardised with its mean and standard deviation over the train
        /// span.
        normalise: bool,
    },
}
