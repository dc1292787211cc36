//! What training one network of one window starts from: the rows up to the end of its validation span and no row more, and which
//! of them are samples and decisions.

use std::ops::Range;

use crate::error::Result;
use crate::model::{AssetSet, Network, eligible, none_eligible};
use crate::network::{AssetSlots, assign, none_eligible as none_of_fixed};
use crate::panel::{Panel, Past};
use crate::portfolio::ExecutionModel;
use crate::windows::lookback_rows;

/// Rows are those of `panel`, which ends with the validation span, or with the train span where there is none.
pub struct TrainingSpan {
    /// All that training can see.
    pub panel: Panel,
    /// The train span's rows.
    pub train: Range<usize>,
    /// As-of rows of the train samples.
    pub samples: Range<usize>,
    /// Decision rows of the validation path, the first of which fixes the assets of a fixed universe; where there is no
    /// validation span, one row alone, at which nothing is scored.
    pub decisions: Vec<usize>,
    /// Rows of the validation path; empty where there is no validation span.
    pub validation: Range<usize>,
    /// What validation portfolios are held to, and what trading costs.
    pub execution: ExecutionModel,
}

/// One as-of row: the assets that the network is shown, by place.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Sample {
    pub(super) row: usize,
    pub(super) slots: AssetSlots,
}

/// The samples of a span: those of the train span, and the validation decisions.
pub(super) struct Samples {
    pub(super) train: Vec<Sample>,
    pub(super) validation: Vec<Sample>,
    /// Slots for assets.
    pub(super) slots: usize,
    /// The columns of a fixed universe.
    pub(super) fixed: Option<Vec<usize>>,
}

impl TrainingSpan {
    /// Which assets the network is shown at each as-of row. A train row at which there is none is no sample.
    pub(super) fn samples(&self, network: &dyn Network) -> Result<Samples> {
        let needs = network.requirements();
        let eligible = |row: usize, start: usize| eligible(&self.panel, needs, start, row);
        let day = |row: usize| self.panel.dates()[row];
        let mut validation = Vec::new();
        for &row in &self.decisions {
            let columns = eligible(row, 0);
            if columns.is_empty() {
                let rows = lookback_rows(needs.lookback, 0, row).len();
                return Err(none_eligible(day(row), needs, rows));
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
        let most = train.iter().chain(&validation).map(|(_, columns)| columns.len()).max().unwrap_or(0);
        let slots = fixed.as_ref().map_or(most, Vec::len);
        let place =
            |(row, columns): (usize, Vec<usize>)| Sample { row, slots: assign(&columns, fixed.as_deref(), slots) };
        let there = |sample: &Sample| sample.slots.iter().any(Option::is_some);
        let train: Vec<Sample> = train.into_iter().map(place).filter(there).collect();
        let validation: Vec<Sample> = validation.into_iter().map(place).collect();
        if let Some(empty) = validation.iter().find(|sample| !there(sample)) {
            return Err(none_of_fixed(day(empty.row)));
        }
        Ok(Samples { train, validation, slots, fixed })
    }

    /// What a network is shown at an as-of row, for its computed inputs.
    pub(super) fn past(&self, network: &dyn Network, sample: &Sample, start: usize) -> Result<Past> {
        let rows = lookback_rows(network.requirements().lookback, start, sample.row);
        let columns: Vec<usize> = sample.slots.iter().flatten().copied().collect();
        self.panel.past(rows, &columns)
    }
}
