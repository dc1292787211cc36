//! The inputs of a network: tables by date and asset, standardised once, from which the input of an as-of row is
//! gathered.

use std::collections::BTreeMap;
use std::ops::Range;

use super::{AssetSlots, BoundNetwork, Normalizer, ZScore};
use crate::error::Result;
use crate::model::{Axis, InputSource, Network, Plane};
use crate::panel::{Panel, Past};

/// Standardised planes `[rows, columns]`, and computed inputs by as-of row.
#[derive(Debug, Default)]
pub(crate) struct Tables {
    columns: usize,
    returns: Vec<f32>,
    /// 1 where the return is finite, else 0.
    known: Vec<f32>,
    members: Vec<f32>,
    features: Vec<Vec<f32>>,
    /// Keyed by index of the computed input and as-of row; of the assets that the network was shown there.
    computed: BTreeMap<(usize, usize), Vec<f32>>,
}

impl Tables {
    /// The tables of a whole panel, without computed inputs.
    pub(crate) fn from_panel(panel: &Panel, normalizer: &Normalizer) -> Self {
        let rows = 0..panel.dates().len();
        let returns: Vec<f64> = rows.clone().flat_map(|row| panel.returns(row).iter().copied()).collect();
        let members: Vec<bool> = rows.flat_map(|row| panel.members(row).iter().copied()).collect();
        let features = panel.features().iter().map(|feature| feature.values.as_slice());
        let mut out = Self::default();
        out.set(panel.assets().len(), &returns, &members, features, normalizer);
        out
    }

    /// Replaces the tables by those of a past, whose columns are its assets, without computed inputs. Reuses the
    /// memory.
    pub(crate) fn load(&mut self, past: &Past, normalizer: &Normalizer) {
        let features = past.features().iter().map(Vec::as_slice);
        self.set(past.assets().len(), past.returns(), past.members(), features, normalizer);
    }

    fn set<'a>(
        &mut self,
        columns: usize,
        returns: &[f64],
        members: &[bool],
        features: impl ExactSizeIterator<Item = &'a [f64]>,
        normalizer: &Normalizer,
    ) {
        fn fill<T: Copy>(table: &mut Vec<f32>, values: &[T], convert: impl Fn(T) -> f32) {
            table.clear();
            table.extend(values.iter().map(|value| convert(*value)));
        }
        self.columns = columns;
        fill(&mut self.returns, returns, |value| normalizer.returns.standardise(value));
        fill(&mut self.known, returns, |value| f32::from(u8::from(value.is_finite())));
        fill(&mut self.members, members, |member| f32::from(u8::from(member)));
        self.features.resize_with(features.len().min(normalizer.features.len()), Vec::new);
        for (table, (values, z_score)) in self.features.iter_mut().zip(features.zip(&normalizer.features)) {
            fill(table, values, |value| z_score.standardise(value));
        }
        self.computed.clear();
    }

    /// Has the network compute its inputs for an as-of row from `past`, the data that it may see there.
    ///
    /// # Errors
    /// Errors of [`Network::compute`].
    pub(crate) fn compute(
        &mut self,
        network: &dyn Network,
        bound: &BoundNetwork,
        row: usize,
        past: &Past,
    ) -> Result<()> {
        for source in &bound.inputs {
            if let InputSource::Computed { index, shape, .. } = source {
                let count = shape.iter().map(|axis| axis.length(past.assets().len())).product();
                let mut out = vec![0.0; count];
                network.compute(*index, past, &mut out)?;
                self.computed.insert((*index, row), out);
            }
        }
        Ok(())
    }

    /// Fits the z-scores of computed inputs to the as-of rows `rows`; the result is indexed as
    /// [`Normalizer::computed`].
    pub(crate) fn fit_computed(&self, bound: &BoundNetwork, rows: &Range<usize>) -> Vec<Vec<ZScore>> {
        let fit = |source: &InputSource| match source {
            InputSource::Computed { index, shape, normalise: true } => {
                let width = shape.last().map_or(1, |axis| if let Axis::Fixed(width) = axis { *width } else { 1 });
                let tables = self.computed.range((*index, rows.start)..(*index, rows.end));
                let fit_component = |component: usize| {
                    let tables = tables.clone();
                    ZScore::fit(tables.flat_map(move |(_, values)| {
                        values.iter().skip(component).step_by(width).map(|value| f64::from(*value))
                    }))
                };
                (0..width).map(fit_component).collect()
            }
            _ => Vec::new(),
        };
        let mut out = vec![Vec::new(); bound.inputs.len()];
        for source in &bound.inputs {
            if let InputSource::Computed { index, .. } = source {
                out[*index] = fit(source);
            }
        }
        out
    }

    /// Standardises the computed inputs, with 0 for non-finite values. In an input that is not standardised only NaN
    /// becomes 0.
    pub(crate) fn standardise_computed(&mut self, normalizer: &Normalizer) {
        for ((index, _), values) in &mut self.computed {
            let Some(components) = normalizer.computed.get(*index).filter(|components| !components.is_empty()) else {
                values.iter_mut().filter(|value| value.is_nan()).for_each(|value| *value = 0.0);
                continue;
            };
            for (position, value) in values.iter_mut().enumerate() {
                *value = components[position % components.len()].standardise(f64::from(*value));
            }
        }
    }

    /// Bytes of the tables.
    pub(crate) fn bytes(&self) -> usize {
        let planes = [&self.returns, &self.known, &self.members].into_iter().chain(&self.features);
        planes.chain(self.computed.values()).map(|table| size_of_val(table.as_slice())).sum()
    }

    /// The bytes that [`Tables::bytes`] will be for a panel of this size; `shown` holds, for each as-of row with
    /// computed inputs, the number of assets that the network is shown there.
    pub(crate) fn planned_bytes(
        bound: &BoundNetwork,
        rows: usize,
        columns: usize,
        features: usize,
        shown: &[usize],
    ) -> usize {
        let planes = (3 + features) * rows * columns;
        let elements = |source: &InputSource| match source {
            InputSource::Computed { shape, .. } => shown
                .iter()
                .map(|assets| shape.iter().map(|axis| axis.length(*assets)).product::<usize>())
                .sum::<usize>(),
            _ => 0,
        };
        (planes + bound.inputs.iter().map(elements).sum::<usize>()) * size_of::<f32>()
    }

    /// Gathers an input `[shape]` for an as-of row, with the assets of `slots`.
    pub(crate) fn gather(&self, source: &InputSource, row: usize, slots: &AssetSlots, out: &mut [f32]) {
        match source {
            InputSource::Mask => {
                for (out, slot) in out.iter_mut().zip(slots) {
                    *out = f32::from(u8::from(slot.is_some()));
                }
            }
            InputSource::Trailing { plane, rows } => {
                let table = match plane {
                    Plane::Returns => &self.returns,
                    Plane::Known => &self.known,
                    Plane::Members => &self.members,
                    Plane::Feature(index) => &self.features[*index],
                };
                for (step, line) in out.chunks_exact_mut(slots.len()).enumerate() {
                    // Rows before the first one are 0.
                    let Some(from) = (row + step + 1).checked_sub(*rows) else {
                        line.fill(0.0);
                        continue;
                    };
                    let values = &table[from * self.columns..][..self.columns];
                    for (out, slot) in line.iter_mut().zip(slots) {
                        *out = slot.map_or(0.0, |column| values[column]);
                    }
                }
            }
            InputSource::Computed { index, shape, .. } => {
                out.fill(0.0);
                if let Some(values) = self.computed.get(&(*index, row)) {
                    scatter(values, shape, slots, out);
                }
            }
        }
    }
}

/// Copies values computed for the assets in the filled slots to the positions of all slots.
fn scatter(values: &[f32], shape: &[Axis], slots: &AssetSlots, out: &mut [f32]) {
    let filled: Vec<usize> = (0..slots.len()).filter(|&slot| slots[slot].is_some()).collect();
    let mut index = vec![0; shape.len()];
    for value in values {
        let position = shape.iter().zip(&index).fold(0, |position, (axis, &index)| match axis {
            Axis::Assets => position * slots.len() + filled[index],
            Axis::Fixed(length) => position * length + index,
        });
        out[position] = *value;
        for axis in (0..index.len()).rev() {
            index[axis] += 1;
            if index[axis] < shape[axis].length(filled.len()) {
                break;
            }
            index[axis] = 0;
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use jiff::ToSpan;
    use jiff::civil::{Date, date};

    use super::{Axis, InputSource, Normalizer, Plane, Tables, scatter};
    use crate::panel::{Panel, PanelKind, Past};

    fn from_past(past: &Past, normalizer: &Normalizer) -> Tables {
        let mut out = Tables::default();
        out.load(past, normalizer);
        out
    }

    /// Two assets over four dates, with a missing return in row 1 and a non-member in row 2.
    pub(in crate::network) fn panel() -> Panel {
        let dates: Vec<Date> = (0..4).map(|day| date(2020, 1, 1).saturating_add(day.days())).collect();
        let values = [0.01, 0.03, -0.01, f64::NAN, 0.01, 0.01, 0.5, 0.5];
        let members = [true, true, true, true, true, false, true, true];
        let panel = Panel::from_arrays(PanelKind::Returns, dates, &["A".into(), "B".into()], &values).unwrap();
        panel.with_members(&members).unwrap()
    }

    #[test]
    fn trailing_rows_are_gathered_by_slot_oldest_first() {
        let panel = panel();
        let normalizer = Normalizer::fit_planes(&panel, &(0..3));
        let tables = Tables::from_panel(&panel, &normalizer);
        let source = |plane| InputSource::Trailing { plane, rows: 3 };
        let mut out = [7.0; 9];
        tables.gather(&source(Plane::Known), 1, &vec![Some(1), None, Some(0)], &mut out);
        assert_eq!(out, [0.0, 0.0, 0.0, 1.0, 0.0, 1.0, 0.0, 0.0, 1.0]);
        tables.gather(&source(Plane::Returns), 2, &vec![Some(0), Some(1), None], &mut out);
        let score = |value| normalizer.returns.standardise(value);
        assert_eq!(out, [score(0.01), score(0.03), 0.0, score(-0.01), 0.0, 0.0, score(0.01), score(0.01), 0.0]);
        let mut mask = [7.0; 3];
        tables.gather(&InputSource::Mask, 2, &vec![Some(0), Some(1), None], &mut mask);
        assert_eq!(mask, [1.0, 1.0, 0.0]);
    }

    #[test]
    fn a_past_and_its_panel_give_the_same_inputs() {
        let panel = panel();
        let normalizer = Normalizer::fit_planes(&panel, &(0..3));
        let (whole, past) = (Tables::from_panel(&panel, &normalizer), panel.past(1..4, &[1]).unwrap());
        let part = from_past(&past, &normalizer);
        for plane in [Plane::Returns, Plane::Known, Plane::Members] {
            let source = InputSource::Trailing { plane, rows: 3 };
            let (mut of_panel, mut of_past) = ([7.0; 6], [7.0; 6]);
            whole.gather(&source, 3, &vec![Some(1), None], &mut of_panel);
            part.gather(&source, 2, &vec![Some(0), None], &mut of_past);
            assert_eq!(of_panel, of_past);
        }
    }

    #[test]
    fn loading_a_past_leaves_nothing_of_the_one_before() {
        let panel = panel();
        let normalizer = Normalizer::fit_planes(&panel, &(0..3));
        let (long, short) = (panel.past(0..4, &[0, 1]).unwrap(), panel.past(1..3, &[1]).unwrap());
        let mut tables = from_past(&long, &normalizer);
        tables.computed.insert((0, 1), vec![1.0]);
        for past in [&short, &long] {
            tables.load(past, &normalizer);
            assert_eq!(format!("{tables:?}"), format!("{:?}", from_past(past, &normalizer)));
        }
    }

    #[test]
    fn computed_values_go_to_the_filled_slots() {
        let (mut square, mut rows) = ([0.0; 9], [0.0; 6]);
        let slots = vec![Some(4), None, Some(9)];
        scatter(&[1.0, 2.0, 3.0, 4.0], &[Axis::Assets, Axis::Assets], &slots, &mut square);
        assert_eq!(square, [1.0, 0.0, 2.0, 0.0, 0.0, 0.0, 3.0, 0.0, 4.0]);
        scatter(&[1.0, 2.0, 3.0, 4.0], &[Axis::Assets, Axis::Fixed(2)], &slots, &mut rows);
        assert_eq!(rows, [1.0, 2.0, 0.0, 0.0, 3.0, 4.0]);
    }
}
