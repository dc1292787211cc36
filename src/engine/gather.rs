//! Fills inputs for an as-of row from raw planes and computed tables. Z-scores are taken here, in double precision, so
//! that every device gives a network the same bits.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::normalizer::Normalizer;
use super::planes::{EMPTY_SLOT, PlaneView};
use crate::program::{Axis, InputSource, Plane};

/// Computed inputs by index and as-of row, as the network wrote them: of the assets that it was shown there. What
/// depends on the row alone is shared by all windows.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tables {
    values: BTreeMap<(usize, usize), Arc<[f32]>>,
}

impl Tables {
    /// Adds the values of a computed input at an as-of row.
    pub(crate) fn insert(&mut self, input: usize, row: usize, values: Arc<[f32]>) {
        self.values.insert((input, row), values);
    }

    /// The values of a computed input at an as-of row.
    pub(crate) fn get(&self, input: usize, row: usize) -> Option<&Arc<[f32]>> {
        self.values.get(&(input, row))
    }

    /// Removes all values.
    pub(crate) fn clear(&mut self) {
        self.values.clear();
    }

    /// Bytes of its values.
    pub(crate) fn bytes(&self) -> usize {
        self.values.values().map(|values| size_of_val(&**values)).sum()
    }
}

/// Where the inputs of a network come from.
#[derive(Clone, Debug)]
pub(crate) struct InputData<'a> {
    pub(crate) planes: PlaneView<'a>,
    pub(crate) normalizer: &'a Normalizer,
    pub(crate) tables: &'a Tables,
    /// Rows at or behind it do not exist.
    pub(crate) end: usize,
}

impl InputData<'_> {
    /// Fills an input `[shape]` for an as-of row, with the columns of `slots`.
    ///
    /// # Panics
    /// If the row lies at or behind the end, or the input is handed over with every batch.
    pub(crate) fn fill(&self, source: &InputSource, row: usize, slots: &[i32], out: &mut [f32]) {
        assert!(row < self.end, "an input reads a row beyond the end of its window");
        match source {
            InputSource::Given => unreachable!("an input that is handed over is not gathered"),
            InputSource::Mask => {
                for (out, slot) in out.iter_mut().zip(slots) {
                    *out = f32::from(u8::from(*slot != EMPTY_SLOT));
                }
            }
            InputSource::Trailing { plane, rows } => {
                for (step, line) in out.chunks_exact_mut(slots.len()).enumerate() {
                    // Rows before the first one are 0.
                    match (row + step + 1).checked_sub(*rows) {
                        Some(from) => self.fill_row(plane, from, slots, line),
                        None => line.fill(0.0),
                    }
                }
            }
            InputSource::Computed { index, shape, .. } => {
                out.fill(0.0);
                if let Some(values) = self.tables.get(*index, row) {
                    let scores = self.normalizer.computed.get(*index).map_or(&[][..], Vec::as_slice);
                    let standardise = |position: usize, value: f32| {
                        if scores.is_empty() {
                            // Not standardised: only NaN becomes 0.
                            if value.is_nan() { 0.0 } else { value }
                        } else {
                            scores[position % scores.len()].standardise(f64::from(value))
                        }
                    };
                    scatter(values, shape, slots, standardise, out);
                }
            }
        }
    }

    /// Fills one row of a plane, `[slots]`.
    pub(crate) fn fill_row(&self, plane: &Plane, row: usize, slots: &[i32], out: &mut [f32]) {
        let cells = row * self.planes.columns..(row + 1) * self.planes.columns;
        match plane {
            Plane::Returns => {
                let z_score = self.normalizer.returns;
                pick(&self.planes.returns[cells], slots, out, |value| z_score.standardise(value));
            }
            Plane::Known => {
                pick(&self.planes.returns[cells], slots, out, |value| f32::from(u8::from(value.is_finite())));
            }
            Plane::Members => pick(&self.planes.members[cells], slots, out, |member| f32::from(u8::from(member))),
            Plane::Feature(index) => {
                let z_score = self.normalizer.features[*index];
                pick(&self.planes.features[*index][cells], slots, out, |value| z_score.standardise(value));
            }
        }
    }
}

/// Writes the converted value of the column in each slot; 0 for an empty slot.
fn pick<T: Copy>(values: &[T], slots: &[i32], out: &mut [f32], convert: impl Fn(T) -> f32) {
    for (out, &column) in out.iter_mut().zip(slots) {
        *out = if column == EMPTY_SLOT { 0.0 } else { convert(values[column as usize]) };
    }
}

/// Copies values computed for the assets in the filled slots to the positions of all slots. `convert` takes the position
/// of a value among the computed ones, and the value.
fn scatter(values: &[f32], shape: &[Axis], slots: &[i32], convert: impl Fn(usize, f32) -> f32, out: &mut [f32]) {
    let filled: Vec<usize> = (0..slots.len()).filter(|&slot| slots[slot] != EMPTY_SLOT).collect();
    let mut index = vec![0; shape.len()];
    for (from, value) in values.iter().enumerate() {
        let position = shape.iter().zip(&index).fold(0, |position, (axis, &index)| match axis {
            Axis::Assets => position * slots.len() + filled[index],
            Axis::Fixed(length) => position * length + index,
        });
        out[position] = convert(from, *value);
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

    use super::{Axis, InputData, InputSource, Plane, Tables, scatter};
    use crate::engine::{EMPTY_SLOT, Normalizer, Planes, ZScore};
    use crate::panel::{Panel, PanelKind};

    /// Two assets over four dates, with a missing return in row 1 and a non-member in row 2.
    pub(in crate::engine) fn panel() -> Panel {
        let dates: Vec<Date> = (0..4).map(|day| date(2020, 1, 1).saturating_add(day.days())).collect();
        let values = [0.01, 0.03, -0.01, f64::NAN, 0.01, 0.01, 0.5, 0.5];
        let members = [true, true, true, true, true, false, true, true];
        let panel = Panel::from_arrays(PanelKind::Returns, dates, &["A".into(), "B".into()], &values).unwrap();
        panel.with_members(&members).unwrap()
    }

    /// Standard normal returns of 1 %.
    pub(in crate::engine) fn noise(rows: usize, assets: usize) -> Panel {
        let dates: Vec<Date> = (0..rows as i64).map(|day| date(2020, 1, 1).saturating_add(day.days())).collect();
        let names: Vec<String> = (0..assets).map(|asset| format!("A{asset}")).collect();
        let random = crate::random::Random::new(3, 0, 0);
        let values: Vec<f64> = (0..(rows * assets) as u64).map(|cell| 0.01 * random.normal(cell)).collect();
        Panel::from_arrays(PanelKind::Returns, dates, &names, &values).unwrap()
    }

    #[test]
    fn trailing_rows_are_gathered_by_slot_oldest_first() {
        let planes = Planes::of(&panel());
        let (normalizer, tables) = (Normalizer::fit_planes(&panel(), &(0..3)), Tables::default());
        let data = InputData { planes: planes.view(), normalizer: &normalizer, tables: &tables, end: 3 };
        let source = |plane| InputSource::Trailing { plane, rows: 3 };
        let mut out = [7.0; 9];
        data.fill(&source(Plane::Known), 1, &[1, EMPTY_SLOT, 0], &mut out);
        assert_eq!(out, [0.0, 0.0, 0.0, 1.0, 0.0, 1.0, 0.0, 0.0, 1.0]);
        data.fill(&source(Plane::Returns), 2, &[0, 1, EMPTY_SLOT], &mut out);
        let score = |value| normalizer.returns.standardise(value);
        assert_eq!(out, [score(0.01), score(0.03), 0.0, score(-0.01), 0.0, 0.0, score(0.01), score(0.01), 0.0]);
        let mut mask = [7.0; 3];
        data.fill(&InputSource::Mask, 2, &[0, 1, EMPTY_SLOT], &mut mask);
        assert_eq!(mask, [1.0, 1.0, 0.0]);
    }

    #[test]
    #[should_panic(expected = "beyond the end of its window")]
    fn no_input_reads_a_row_beyond_the_end() {
        let planes = Planes::of(&panel());
        let (normalizer, tables) = (Normalizer::fit_planes(&panel(), &(0..3)), Tables::default());
        let data = InputData { planes: planes.view(), normalizer: &normalizer, tables: &tables, end: 3 };
        data.fill(&InputSource::Mask, 3, &[0, 1], &mut [0.0; 2]);
    }

    #[test]
    fn computed_values_are_standardised_by_component_and_go_to_the_filled_slots() {
        let (planes, mut tables) = (Planes::of(&panel()), Tables::default());
        tables.insert(0, 2, vec![1.0, 2.0, 3.0, f32::NAN].into());
        let z_score = |mean| ZScore { mean, deviation: 0.5, inverse: 2.0 };
        let mut normalizer = Normalizer::fit_planes(&panel(), &(0..3));
        let shape = vec![Axis::Assets, Axis::Fixed(2)];
        let source = |normalise| InputSource::Computed { index: 0, shape: shape.clone(), normalise };
        let fill = |normalizer: &Normalizer, normalise| {
            let mut out = [7.0; 6];
            let data = InputData { planes: planes.view(), normalizer, tables: &tables, end: 3 };
            data.fill(&source(normalise), 2, &[1, EMPTY_SLOT, 0], &mut out);
            out
        };
        normalizer.computed = vec![Vec::new()];
        assert_eq!(fill(&normalizer, false), [1.0, 2.0, 0.0, 0.0, 3.0, 0.0]);
        normalizer.computed = vec![vec![z_score(1.0), z_score(2.5)]];
        assert_eq!(fill(&normalizer, true), [0.0, -1.0, 0.0, 0.0, 4.0, 0.0]);
    }

    #[test]
    fn values_of_two_asset_axes_go_to_the_filled_slots() {
        let mut square = [0.0; 9];
        let slots = [4, EMPTY_SLOT, 9];
        scatter(&[1.0, 2.0, 3.0, 4.0], &[Axis::Assets, Axis::Assets], &slots, |_, value| value, &mut square);
        assert_eq!(square, [1.0, 0.0, 2.0, 0.0, 0.0, 0.0, 3.0, 0.0, 4.0]);
    }
}
