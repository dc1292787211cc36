//! What training may see in one window: the panel up to the end of the validation span, and which of its rows are
//! samples and decisions.

use std::ops::Range;

use crate::engine::EMPTY_SLOT;
use crate::error::Result;
use crate::model::{AssetSet, Network, eligible, none_eligible};
use crate::network::{AssetSlots, assign, filled, none_eligible as none_of_fixed};
use crate::panel::{Panel, Past};
use crate::portfolio::ExecutionModel;
use crate::windows::lookback_rows;

/// The data of one window, cut at the end of the validation span, or of the train span if there is no validation. All
/// rows are rows of `panel`.
pub struct TrainingSpan {
    /// All that training can see.
    pub panel: Panel,
    /// Rows of the train span.
    pub train: Range<usize>,
    /// As-of rows of the train samples.
    pub samples: Range<usize>,
    /// Number of rows whose compounded return is the label of a sample.
    pub horizon: usize,
    /// Decision rows of the validation path. The first one determines a fixed asset set, so without a validation span
    /// this is one row that is not scored.
    pub decisions: Vec<usize>,
    /// Rows of the validation path; empty if there is no validation span.
    pub validation: Range<usize>,
    /// Constraints, costs and execution lag of the validation path.
    pub execution: ExecutionModel,
}

/// An as-of row and the assets that the network sees there, by slot.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct TrainingSample {
    pub(super) row: usize,
    pub(super) slots: AssetSlots,
}

/// The samples of a window.
pub(super) struct Samples {
    pub(super) train: Vec<TrainingSample>,
    /// One per validation decision.
    pub(super) validation: Vec<TrainingSample>,
    /// Number of asset slots.
    pub(super) slots: usize,
    /// The columns of a fixed asset set.
    pub(super) fixed: Option<Vec<usize>>,
}

impl TrainingSpan {
    /// Finds the samples and assigns the eligible assets of each to slots. Train rows without an eligible asset are
    /// left out.
    ///
    /// # Errors
    /// `InvalidData` if no asset is eligible at a validation decision.
    pub(super) fn samples(&self, network: &dyn Network) -> Result<Samples> {
        let needs = network.requirements();
        let eligible = |row: usize, start: usize| eligible(&self.panel, needs, start, row);
        let dates = self.panel.dates();
        let mut validation = Vec::new();
        for &row in &self.decisions {
            let columns = eligible(row, 0);
            if columns.is_empty() {
                let rows = lookback_rows(needs.lookback, 0, row).len();
                return Err(none_eligible(dates[row], needs, rows));
            }
            validation.push((row, columns));
        }
        let train: Vec<(usize, Vec<usize>)> = self
            .samples
            .clone()
            .map(|row| (row, eligible(row, self.train.start)))
            .filter(|(_, columns)| !columns.is_empty())
            .collect();
        let fixed = match network.asset_set() {
            AssetSet::ByDate => None,
            AssetSet::Fixed => validation.first().map(|(_, columns)| columns.clone()),
        };
        let largest = train.iter().chain(&validation).map(|(_, columns)| columns.len()).max().unwrap_or(0);
        let slots = fixed.as_ref().map_or(largest, Vec::len);
        let sample = |(row, columns): (usize, Vec<usize>)| TrainingSample {
            row,
            slots: assign(&columns, fixed.as_deref(), slots),
        };
        let has_asset = |sample: &TrainingSample| sample.slots.iter().any(|column| *column != EMPTY_SLOT);
        let train: Vec<TrainingSample> = train.into_iter().map(sample).filter(has_asset).collect();
        let validation: Vec<TrainingSample> = validation.into_iter().map(sample).collect();
        if let Some(empty) = validation.iter().find(|sample| !has_asset(sample)) {
            return Err(none_of_fixed(dates[empty.row]));
        }
        Ok(Samples { train, validation, slots, fixed })
    }

    /// The data that the network may see at a sample, from row `start` on, for its computed inputs.
    pub(super) fn past(&self, network: &dyn Network, sample: &TrainingSample, start: usize) -> Result<Past> {
        let rows = lookback_rows(network.requirements().lookback, start, sample.row);
        let columns: Vec<usize> = filled(&sample.slots).collect();
        self.panel.past(rows, &columns)
    }
}
