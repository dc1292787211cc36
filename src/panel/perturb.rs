//! A panel with the same past and another future, which the look-ahead audit compares a run with.

use super::Panel;

/// How the rows after a cut are changed. Dates stay, because the exchange's calendar is known in advance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Perturbation {
    /// Other returns, other gaps, other members, other features.
    Altered,
    /// No returns, no members, no features.
    Removed,
}

impl Perturbation {
    /// Every perturbation.
    pub(crate) const ALL: [Self; 2] = [Self::Altered, Self::Removed];

    /// The name in reports.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Altered => "altered",
            Self::Removed => "removed",
        }
    }
}

/// A sequence of draws that is the same on every machine (splitmix64: Steele, Lea and Flood 2014).
struct PerturbationRandom(u64);

impl PerturbationRandom {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Uniform in [0, 1).
    fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 * (1.0 / (1_u64 << 53) as f64)
    }
}

impl Panel {
    /// A copy that is equal up to and including `row`, and changed in every later row. `Perturbation::Altered` draws
    /// returns from -20 % to 20 %, of which one in eight is missing, and inverts one membership in four.
    #[must_use]
    pub(crate) fn perturbed_after(&self, row: usize, perturbation: Perturbation, seed: u64) -> Self {
        let (mut returns, mut held) = (self.returns.to_vec(), self.held.to_vec());
        let (mut present, mut members) = (self.present.to_vec(), self.members.to_vec());
        let mut features: Vec<Vec<f64>> = self.features.iter().map(|feature| feature.values.to_vec()).collect();
        let first = (row + 1) * self.assets.len();
        let mut draws = PerturbationRandom(seed ^ (row as u64).rotate_left(32));
        for cell in first..self.returns.len() {
            let (value, gap, member) = (draws.unit() * 0.4 - 0.2, draws.next() >> 61 == 0, draws.next() >> 62 == 0);
            match perturbation {
                Perturbation::Altered => {
                    returns[cell] = if gap { f64::NAN } else { value };
                    held[cell] = if gap { 0.0 } else { value };
                    present[cell] = !gap;
                    members[cell] = self.members[cell] != member;
                }
                Perturbation::Removed => {
                    returns[cell] = f64::NAN;
                    held[cell] = 0.0;
                    present[cell] = false;
                    members[cell] = false;
                }
            }
            for feature in &mut features {
                feature[cell] = match perturbation {
                    Perturbation::Altered if !gap => draws.unit() * 1e6,
                    _ => f64::NAN,
                };
            }
        }
        let mut out = Self {
            returns: returns.into(),
            held: held.into(),
            present: present.into(),
            members: members.into(),
            ..self.clone()
        };
        for (feature, values) in out.features.iter_mut().zip(features) {
            feature.values = values.into();
        }
        out.fingerprint = format!("{}, {} after row {row}", self.fingerprint, perturbation.name());
        out
    }
}

#[cfg(test)]
mod tests {
    use super::Perturbation;
    use crate::panel::{Panel, PanelKind};
    use jiff::civil::{Date, date};

    #[test]
    fn rows_up_to_the_cut_keep_their_bits_and_all_later_rows_change() {
        let days: Vec<Date> = (1..=20).map(|day| date(2020, 1, day)).collect();
        let prices: Vec<f64> = (0..40).map(|cell| 1.0 + f64::from(cell % 7)).collect();
        let panel = Panel::from_arrays(PanelKind::Prices, days, &["A".into(), "B".into()], &prices).unwrap();
        let panel = panel.with_feature("volume", &prices).unwrap();
        for perturbation in Perturbation::ALL {
            let other = panel.perturbed_after(9, perturbation, 1);
            for row in 0..10 {
                assert_eq!(format!("{:?}", other.returns(row)), format!("{:?}", panel.returns(row)));
                assert_eq!(other.members(row), panel.members(row));
            }
            assert_eq!(other.held_returns()[..20], panel.held_returns()[..20]);
            assert_eq!(other.features()[0].values[..20], panel.features()[0].values[..20]);
            for row in 10..20 {
                assert!((0..2).all(|asset| other.returns(row)[asset].to_bits() != panel.returns(row)[asset].to_bits()));
                assert!(other.features()[0].values[row * 2].to_bits() != panel.features()[0].values[row * 2].to_bits());
            }
            assert!((10..20).any(|row| other.members(row) != panel.members(row)));
            assert_eq!(other.dates(), panel.dates());
        }
    }
}
