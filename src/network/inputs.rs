//! What a network is fed: tables by date and asset, scored once, from which the inputs of a date are gathered.

use std::collections::BTreeMap;
use std::ops::Range;

use super::{AssetSlots, BoundNetwork, ZScore};
use crate::error::Result;
use crate::model::{Axis, InputSource, Network, Plane};
use crate::panel::{Panel, Past};

/// The scores' means and deviations, fitted on the train span of one window.
#[derive(Clone, Debug, PartialEq)]
pub struct Normalizer {
    /// Of returns.
    pub returns: ZScore,
    /// Of feature planes.
    pub features: Vec<ZScore>,
    /// Of computed inputs that are scored, by place of the last axis; empty for others.
    pub computed: Vec<Vec<ZScore>>,
    /// Of labels.
    pub label: ZScore,
}

/// Tables `[rows, columns]`.
#[derive(Debug, Default)]
pub struct Tables {
    columns: usize,
    returns: Vec<f32>,
    known: Vec<f32>,
    members: Vec<f32>,
    features: Vec<Vec<f32>>,
    /// By computed input and as-of row, for the assets that are shown there.
    computed: BTreeMap<(usize, usize), Vec<f32>>,
}

/// The columns of a cell table that are members and whose rows lie in a range.
fn of_members<'a>(
    panel: &'a Panel,
    rows: Range<usize>,
    value: impl Fn(usize, usize) -> f64 + Clone + 'a,
) -> impl Iterator<Item = f64> + Clone + 'a {
    rows.flat_map(move |row| {
        let value = value.clone();
        panel.members(row).iter().enumerate().filter(|(_, member)| **member).map(move |(column, _)| value(row, column))
    })
}

impl Normalizer {
    /// Fits returns and features on the rows of the train span, over members; labels and computed inputs follow.
    pub fn of_planes(panel: &Panel, train: &Range<usize>) -> Self {
        let columns = panel.assets().len();
        let features = panel
            .features()
            .iter()
            .map(|feature| {
                ZScore::of(of_members(panel, train.clone(), move |row, column| feature.values[row * columns + column]))
            })
            .collect();
        Self {
            returns: ZScore::of(of_members(panel, train.clone(), move |row, column| panel.returns(row)[column])),
            features,
            computed: Vec::new(),
            label: ZScore::NONE,
        }
    }
}

impl Tables {
    /// Tables of a whole panel, without computed inputs.
    pub fn of_panel(panel: &Panel, normalizer: &Normalizer) -> Self {
        let rows = 0..panel.dates().len();
        let returns: Vec<f64> = rows.clone().flat_map(|row| panel.returns(row).iter().copied()).collect();
        let members: Vec<bool> = rows.flat_map(|row| panel.members(row).iter().copied()).collect();
        let features = panel.features().iter().map(|feature| feature.values.as_slice());
        let mut out = Self::default();
        out.set(panel.assets().len(), &returns, &members, features, normalizer);
        out
    }

    /// Makes them the tables of a past, whose columns are its assets, without computed inputs, in the memory that they have.
    pub fn show(&mut self, past: &Past, normalizer: &Normalizer) {
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
        fn fill<T: Copy>(table: &mut Vec<f32>, from: &[T], number: impl Fn(T) -> f32) {
            table.clear();
            table.extend(from.iter().map(|value| number(*value)));
        }
        self.columns = columns;
        fill(&mut self.returns, returns, |value| normalizer.returns.standardise(value));
        fill(&mut self.known, returns, |value| f32::from(u8::from(value.is_finite())));
        fill(&mut self.members, members, |member| f32::from(u8::from(member)));
        self.features.resize_with(features.len().min(normalizer.features.len()), Vec::new);
        for (table, (values, scale)) in self.features.iter_mut().zip(features.zip(&normalizer.features)) {
            fill(table, values, |value| scale.standardise(value));
        }
        self.computed.clear();
    }

    /// Has the network fill its computed inputs for an as-of row; `past` is what it is shown there.
    ///
    /// # Errors
    /// What the network gives.
    pub fn compute(&mut self, network: &dyn Network, bound: &BoundNetwork, row: usize, past: &Past) -> Result<()> {
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

    /// Fits the normalizer of computed inputs on what was computed so far, `rows` those of the train span.
    pub fn fit_computed(&self, bound: &BoundNetwork, rows: &Range<usize>) -> Vec<Vec<ZScore>> {
        let of_input = |source: &InputSource| match source {
            InputSource::Computed { index, shape, normalise: true } => {
                let wide = shape.last().map_or(1, |axis| if let Axis::Fixed(wide) = axis { *wide } else { 1 });
                let tables = self.computed.range((*index, rows.start)..(*index, rows.end));
                let place = |place: usize| {
                    let tables = tables.clone();
                    ZScore::of(tables.flat_map(move |(_, values)| {
                        values.iter().skip(place).step_by(wide).map(|value| f64::from(*value))
                    }))
                };
                (0..wide).map(place).collect()
            }
            _ => Vec::new(),
        };
        let mut out = vec![Vec::new(); bound.inputs.len()];
        for source in &bound.inputs {
            if let InputSource::Computed { index, .. } = source {
                out[*index] = of_input(source);
            }
        }
        out
    }

    /// Scores what was computed; what is missing becomes 0, the mean where there is one.
    pub fn standardise_computed(&mut self, normalizer: &Normalizer) {
        for ((number, _), values) in &mut self.computed {
            let Some(normalizer) = normalizer.computed.get(*number).filter(|normalizer| !normalizer.is_empty()) else {
                values.iter_mut().filter(|value| value.is_nan()).for_each(|value| *value = 0.0);
                continue;
            };
            for (place, value) in values.iter_mut().enumerate() {
                *value = normalizer[place % normalizer.len()].standardise(f64::from(*value));
            }
        }
    }

    /// Bytes of the tables.
    pub fn bytes(&self) -> usize {
        let planes = [&self.returns, &self.known, &self.members].into_iter().chain(&self.features);
        planes.chain(self.computed.values()).map(|table| size_of_val(table.as_slice())).sum()
    }

    /// Bytes that [`Tables::bytes`] comes to, known beforehand, for so many rows of a panel and `computed` as-of rows that
    /// are each shown so many assets.
    pub fn planned_bytes(bound: &BoundNetwork, rows: usize, columns: usize, features: usize, shown: &[usize]) -> usize {
        let planes = (3 + features) * rows * columns;
        let of_input = |source: &InputSource| match source {
            InputSource::Computed { shape, .. } => shown
                .iter()
                .map(|assets| shape.iter().map(|axis| axis.length(*assets)).product::<usize>())
                .sum::<usize>(),
            _ => 0,
        };
        (planes + bound.inputs.iter().map(of_input).sum::<usize>()) * size_of::<f32>()
    }

    /// Gathers an input for an as-of row, `[shape]`, with the assets of `slots`.
    pub fn fill(&self, source: &InputSource, row: usize, slots: &AssetSlots, out: &mut [f32]) {
        match source {
            InputSource::Mask => {
                for (out, place) in out.iter_mut().zip(slots) {
                    *out = f32::from(u8::from(place.is_some()));
                }
            }
            InputSource::Trailing { plane, rows } => {
                let table = match plane {
                    Plane::Returns => &self.returns,
                    Plane::Known => &self.known,
                    Plane::Members => &self.members,
                    Plane::Feature(place) => &self.features[*place],
                };
                for (back, line) in out.chunks_exact_mut(slots.len()).enumerate() {
                    // Before the first row there is nothing.
                    let Some(from) = (row + back + 1).checked_sub(*rows) else {
                        line.fill(0.0);
                        continue;
                    };
                    let from = &table[from * self.columns..][..self.columns];
                    for (out, place) in line.iter_mut().zip(slots) {
                        *out = place.map_or(0.0, |column| from[column]);
                    }
                }
            }
            InputSource::Computed { index, shape, .. } => {
                out.fill(0.0);
                if let Some(values) = self.computed.get(&(*index, row)) {
                    spread(values, shape, slots, out);
                }
            }
        }
    }
}

/// Puts what was computed for the assets that are there into the slots of all.
fn spread(values: &[f32], shape: &[Axis], slots: &AssetSlots, out: &mut [f32]) {
    let there: Vec<usize> = (0..slots.len()).filter(|&place| slots[place].is_some()).collect();
    let mut index = vec![0; shape.len()];
    for value in values {
        let place = shape.iter().zip(&index).fold(0, |place, (axis, &at)| match axis {
            Axis::Assets => place * slots.len() + there[at],
            Axis::Fixed(length) => place * length + at,
        });
        out[place] = *value;
        for axis in (0..index.len()).rev() {
            index[axis] += 1;
            if index[axis] < shape[axis].length(there.len()) {
                break;
            }
            index[axis] = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use jiff::ToSpan;
    use jiff::civil::{Date, date};

    use super::{Axis, InputSource, Normalizer, Plane, Tables, spread};
    use crate::panel::{Panel, PanelKind, Past};

    fn of_past(past: &Past, normalizer: &Normalizer) -> Tables {
        let mut out = Tables::default();
        out.show(past, normalizer);
        out
    }

    fn panel() -> Panel {
        let dates: Vec<Date> = (0..4).map(|day| date(2020, 1, 1).saturating_add(day.days())).collect();
        let values = [0.01, 0.03, -0.01, f64::NAN, 0.01, 0.01, 0.5, 0.5];
        let members = [true, true, true, true, true, false, true, true];
        let panel = Panel::from_arrays(PanelKind::Returns, dates, &["A".into(), "B".into()], &values).unwrap();
        panel.with_members(&members).unwrap()
    }

    #[test]
    fn scores_come_from_the_members_of_the_train_span_alone() {
        let normalizer = Normalizer::of_planes(&panel(), &(0..3));
        // 0.01, 0.03, −0.01 and 0.01: the missing return, what is no member, and the last row are out.
        assert!((normalizer.returns.mean - 0.01).abs() < 1e-15);
        assert!((normalizer.returns.deviation - (2.0_f64 * 0.02 * 0.02 / 4.0).sqrt()).abs() < 1e-15);
    }

    #[test]
    fn trailing_rows_are_gathered_by_place_oldest_first() {
        let panel = panel();
        let normalizer = Normalizer::of_planes(&panel, &(0..3));
        let tables = Tables::of_panel(&panel, &normalizer);
        let source = |plane| InputSource::Trailing { plane, rows: 3 };
        let mut out = [7.0; 9];
        tables.fill(&source(Plane::Known), 1, &vec![Some(1), None, Some(0)], &mut out);
        assert_eq!(out, [0.0, 0.0, 0.0, 1.0, 0.0, 1.0, 0.0, 0.0, 1.0]);
        tables.fill(&source(Plane::Returns), 2, &vec![Some(0), Some(1), None], &mut out);
        let score = |value| normalizer.returns.standardise(value);
        assert_eq!(out, [score(0.01), score(0.03), 0.0, score(-0.01), 0.0, 0.0, score(0.01), score(0.01), 0.0]);
        let mut mask = [7.0; 3];
        tables.fill(&InputSource::Mask, 2, &vec![Some(0), Some(1), None], &mut mask);
        assert_eq!(mask, [1.0, 1.0, 0.0]);
    }

    #[test]
    fn a_past_gives_what_the_panel_gives() {
        let panel = panel();
        let normalizer = Normalizer::of_planes(&panel, &(0..3));
        let (whole, past) = (Tables::of_panel(&panel, &normalizer), panel.past(1..4, &[1]).unwrap());
        let part = of_past(&past, &normalizer);
        for plane in [Plane::Returns, Plane::Known, Plane::Members] {
            let source = InputSource::Trailing { plane, rows: 3 };
            let (mut one, mut two) = ([7.0; 6], [7.0; 6]);
            whole.fill(&source, 3, &vec![Some(1), None], &mut one);
            part.fill(&source, 2, &vec![Some(0), None], &mut two);
            assert_eq!(one, two);
        }
    }

    #[test]
    fn tables_that_showed_another_past_show_nothing_of_it() {
        let panel = panel();
        let normalizer = Normalizer::of_planes(&panel, &(0..3));
        let (long, short) = (panel.past(0..4, &[0, 1]).unwrap(), panel.past(1..3, &[1]).unwrap());
        let mut tables = of_past(&long, &normalizer);
        tables.computed.insert((0, 1), vec![1.0]);
        for past in [&short, &long] {
            tables.show(past, &normalizer);
            assert_eq!(format!("{tables:?}"), format!("{:?}", of_past(past, &normalizer)));
        }
    }

    #[test]
    fn what_was_computed_goes_to_the_slots_of_those_that_are_there() {
        let (mut square, mut rows) = ([0.0; 9], [0.0; 6]);
        let slots = vec![Some(4), None, Some(9)];
        spread(&[1.0, 2.0, 3.0, 4.0], &[Axis::Assets, Axis::Assets], &slots, &mut square);
        assert_eq!(square, [1.0, 0.0, 2.0, 0.0, 0.0, 0.0, 3.0, 0.0, 4.0]);
        spread(&[1.0, 2.0, 3.0, 4.0], &[Axis::Assets, Axis::Fixed(2)], &slots, &mut rows);
        assert_eq!(rows, [1.0, 2.0, 0.0, 0.0, 3.0, 4.0]);
    }
}
