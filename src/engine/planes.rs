//! The raw planes of a run, which an engine keeps for all windows, and what a window is: rows, slots and scales.

use std::ops::Range;

use super::Normalizer;
use crate::objective::LabelKind;
use crate::panel::{Panel, SharedPlane};

/// A slot of the asset axis that is masked out.
pub(crate) const EMPTY_SLOT: i32 = -1;

/// The raw values of a panel, `[rows, columns]` each, shared with it. Nothing is standardised here: a window's scales
/// are applied where its inputs are gathered.
#[derive(Clone, Debug)]
pub(crate) struct Planes {
    pub(crate) rows: usize,
    pub(crate) columns: usize,
    pub(crate) returns: SharedPlane<f64>,
    /// Returns as a holder earns them.
    pub(crate) held: SharedPlane<f64>,
    pub(crate) members: SharedPlane<bool>,
    pub(crate) features: Vec<SharedPlane<f64>>,
}

impl Planes {
    /// The planes of a panel.
    pub(crate) fn of(panel: &Panel) -> Self {
        let (returns, held, members) = panel.planes();
        Self {
            rows: panel.dates().len(),
            columns: panel.assets().len(),
            returns: returns.clone(),
            held: held.clone(),
            members: members.clone(),
            features: panel.features().iter().map(|feature| feature.values.clone()).collect(),
        }
    }

    /// Bytes of all planes.
    pub(crate) fn bytes(&self) -> usize {
        let features: usize = self.features.iter().map(|plane| size_of_val(&**plane)).sum();
        size_of_val(&*self.returns) + size_of_val(&*self.held) + self.members.len() + features
    }

    /// The values, borrowed.
    pub(crate) fn view(&self) -> PlaneView<'_> {
        PlaneView {
            columns: self.columns,
            returns: &self.returns,
            members: &self.members,
            features: self.features.iter().map(|plane| &**plane).collect(),
        }
    }
}

/// Borrowed planes, of a panel or of a past.
#[derive(Clone, Debug)]
pub(crate) struct PlaneView<'a> {
    pub(crate) columns: usize,
    pub(crate) returns: &'a [f64],
    pub(crate) members: &'a [bool],
    pub(crate) features: Vec<&'a [f64]>,
}

/// What a label is: the return over the `horizon` rows from which a decision is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LabelRule {
    /// The returns that are compounded.
    pub kind: LabelKind,
    /// Rows over which they are compounded.
    pub horizon: usize,
    /// Rows from decision to execution.
    pub lag: usize,
}

/// One window as an engine sees it: which rows are samples, which asset fills which slot there, and the scales of the
/// train span. All rows are rows of [`Planes`].
#[derive(Clone, Debug)]
pub(crate) struct WindowView {
    /// Rows at or behind it do not exist for this window.
    end: usize,
    /// Number of slots of the asset axis.
    slots: usize,
    /// The distinct assignments of columns to slots, `[assignments, slots]`.
    assignments: Vec<i32>,
    /// Per sample, its as-of row and its assignment.
    samples: Vec<(u32, u32)>,
    /// The z-scores of inputs and labels.
    pub(crate) normalizer: Normalizer,
    pub(crate) label: LabelRule,
}

impl WindowView {
    /// A window of samples, each an as-of row with the columns of its slots, that ends before the row `end`.
    ///
    /// # Panics
    /// If a sample lies at or behind `end`, or has another number of slots.
    pub(crate) fn new<'a>(
        end: usize,
        slots: usize,
        samples: impl IntoIterator<Item = (usize, &'a [i32])>,
        normalizer: Normalizer,
        label: LabelRule,
    ) -> Self {
        let mut known = std::collections::BTreeMap::new();
        let mut assignments = Vec::new();
        let samples = samples.into_iter().map(|(row, columns)| {
            assert!(row < end && columns.len() == slots, "a sample outside its window");
            let next = known.len() as u32;
            let assignment = *known.entry(columns.to_vec()).or_insert_with(|| {
                assignments.extend_from_slice(columns);
                next
            });
            (row as u32, assignment)
        });
        let samples = samples.collect();
        Self { end, slots, assignments, samples, normalizer, label }
    }

    /// Number of samples.
    #[cfg(test)]
    pub(crate) fn sample_count(&self) -> usize {
        self.samples.len()
    }

    /// The row behind the last one that exists for this window.
    pub(crate) fn end(&self) -> usize {
        self.end
    }

    /// The as-of row of a sample.
    pub(crate) fn row(&self, sample: usize) -> usize {
        self.samples[sample].0 as usize
    }

    /// The column in each slot of a sample; [`EMPTY_SLOT`] for a slot that is masked out.
    pub(crate) fn slots_of(&self, sample: usize) -> &[i32] {
        &self.assignments[self.samples[sample].1 as usize * self.slots..][..self.slots]
    }

    /// The assignment of a sample: samples with the same one have the same columns in the same slots.
    pub(crate) fn assignment(&self, sample: usize) -> u32 {
        self.samples[sample].1
    }

    /// The label of an asset for a decision `back` rows before the as-of row of a sample; NaN where there is none.
    ///
    /// # Panics
    /// If the label reaches a row at or behind the end of the window.
    pub(crate) fn raw_label(&self, planes: &Planes, sample: usize, back: usize, column: i32) -> f64 {
        let LabelRule { kind, horizon, lag } = self.label;
        let first = (self.row(sample) + 1 + lag).checked_sub(back);
        let (Some(first), true) = (first, column != EMPTY_SLOT) else { return f64::NAN };
        let rows: Range<usize> = first..first + horizon;
        assert!(rows.end <= self.end, "a label reaches beyond the end of its window");
        let values = match kind {
            LabelKind::Held => &planes.held,
            LabelKind::Observed => &planes.returns,
        };
        let growth: f64 = rows.map(|row| 1.0 + values[row * planes.columns + column as usize]).product();
        growth - 1.0
    }

    /// Writes the labels of a sample, `[dates, slots]`, oldest date first.
    ///
    /// # Panics
    /// As [`WindowView::raw_label`].
    pub(crate) fn labels(&self, planes: &Planes, sample: usize, out: &mut [f32]) {
        let dates = out.len() / self.slots;
        let z_score = &self.normalizer.label;
        for (date, line) in out.chunks_exact_mut(self.slots).enumerate() {
            for (out, &column) in line.iter_mut().zip(self.slots_of(sample)) {
                let label = self.raw_label(planes, sample, dates - 1 - date, column);
                *out = match self.label.kind {
                    LabelKind::Held => label as f32,
                    LabelKind::Observed if label.is_finite() => z_score.standardise(label),
                    LabelKind::Observed => f32::NAN,
                };
            }
        }
    }

    /// Bytes of samples, assignments and scales.
    pub(crate) fn bytes(&self) -> usize {
        let scales = self.normalizer.features.len() + self.normalizer.computed.iter().map(Vec::len).sum::<usize>();
        size_of_val(self.assignments.as_slice())
            + size_of_val(self.samples.as_slice())
            + scales * size_of::<super::ZScore>()
    }
}

#[cfg(test)]
mod tests {
    use super::{EMPTY_SLOT, LabelRule, Planes, WindowView};
    use crate::engine::Normalizer;
    use crate::engine::gather::tests::panel;
    use crate::objective::LabelKind;

    fn view(end: usize, kind: LabelKind, horizon: usize, lag: usize, samples: &[(usize, &[i32])]) -> WindowView {
        let normalizer = Normalizer::fit_planes(&panel(), &(0..3));
        WindowView::new(end, 2, samples.iter().copied(), normalizer, LabelRule { kind, horizon, lag })
    }

    #[test]
    fn a_label_compounds_the_rows_from_which_a_decision_is_held() {
        let planes = Planes::of(&panel());
        let held = view(4, LabelKind::Held, 2, 1, &[(0, &[0, 1]), (0, &[1, EMPTY_SLOT])]);
        // Rows 2 and 3: 0.01 and 0.5 for both assets.
        let mut out = [7.0; 2];
        held.labels(&planes, 0, &mut out);
        assert_eq!(out, [(1.01_f64 * 1.5 - 1.0) as f32; 2]);
        held.labels(&planes, 1, &mut out);
        assert!(out[0] == (1.01_f64 * 1.5 - 1.0) as f32 && out[1].is_nan());
        // A gap earns nothing; a forecast is not compared with it.
        let gap = |kind| view(4, kind, 1, 0, &[(0, &[1, 0])]).raw_label(&planes, 0, 0, 1);
        assert!(gap(LabelKind::Held) == 0.0 && gap(LabelKind::Observed).is_nan());
        // The date before the as-of row holds one row earlier; a label before the data does not exist.
        let back = view(4, LabelKind::Held, 1, 0, &[(1, &[0, 1])]);
        assert!((back.raw_label(&planes, 0, 1, 0) + 0.01).abs() < 1e-15 && back.raw_label(&planes, 0, 3, 0).is_nan());
    }

    #[test]
    #[should_panic(expected = "beyond the end of its window")]
    fn a_label_may_not_reach_beyond_the_end() {
        view(3, LabelKind::Held, 2, 0, &[(1, &[0, 1])]).raw_label(&Planes::of(&panel()), 0, 0, 0);
    }

    #[test]
    #[should_panic(expected = "outside its window")]
    fn a_sample_may_not_lie_beyond_the_end() {
        view(3, LabelKind::Held, 1, 0, &[(3, &[0, 1])]);
    }

    #[test]
    fn equal_slots_are_one_assignment() {
        let view = view(4, LabelKind::Held, 1, 0, &[(0, &[0, 1]), (1, &[1, 0]), (2, &[0, 1])]);
        assert_eq!((view.assignments.len(), view.slots_of(1), view.slots_of(2)), (4, &[1, 0][..], &[0, 1][..]));
    }
}
