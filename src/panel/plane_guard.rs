//! Whether the values of a panel are still those that a run began with. A plugin is native code, which can write to any
//! memory of the process; what it changes here would move the results of every model.

use std::time::{Duration, Instant};

use super::Panel;
use crate::error::{Result, fail};

/// Between two checks that are not forced at least this many times the length of one passes.
const SPACING: u32 = 100;

/// Knows the values of a panel by a checksum.
#[derive(Debug)]
pub(crate) struct PlaneGuard {
    checksum: u64,
    /// The first window that may have been computed from other values.
    since: usize,
    /// A check failed.
    is_broken: bool,
    checked: Instant,
    cost: Duration,
}

impl PlaneGuard {
    /// Takes the values as they are.
    pub(crate) fn new(panel: &Panel) -> Self {
        let started = Instant::now();
        let checksum = panel.checksum();
        let checked = Instant::now();
        Self { checksum, since: 0, is_broken: false, checked, cost: checked - started }
    }

    /// Checks the values before `window` is closed: where enough time has passed since the last check, or in any case
    /// if `force`.
    ///
    /// # Errors
    /// `Plugin` if a value is another, now and ever after.
    pub(crate) fn check(&mut self, panel: &Panel, window: usize, force: bool) -> Result<()> {
        if !self.is_broken && !force && self.checked.elapsed() < self.cost * SPACING {
            return Ok(());
        }
        let started = Instant::now();
        self.is_broken |= panel.checksum() != self.checksum;
        if self.is_broken {
            fail!(
                Plugin,
                "the data of this run were changed in memory while windows {} to {window} were computed: a plugin wrote to \
                 what it was not lent, so no result of this run holds; check each plugin with walkforge plugin check, \
                 and run the models one by one to find which it is",
                self.since
            );
        }
        self.checked = Instant::now();
        self.cost = self.checked - started;
        self.since = window + 1;
        Ok(())
    }
}

/// A checksum in four lanes, so that it reads as fast as memory gives.
struct Checksum {
    lanes: [u64; 4],
    next: usize,
}

impl Checksum {
    fn add(&mut self, words: impl Iterator<Item = u64>) {
        for word in words {
            let lane = &mut self.lanes[self.next];
            // Odd, so that each step is one to one in the lane and in the word.
            *lane = (*lane ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29);
            self.next = (self.next + 1) % 4;
        }
    }
}

impl Panel {
    /// A checksum of returns, held returns, presence, membership and features. Any single value that changes changes it.
    fn checksum(&self) -> u64 {
        let mut sum = Checksum { lanes: [1, 2, 3, 4], next: 0 };
        let flags = |flags: &[bool], sum: &mut Checksum| {
            sum.add(flags.chunks(8).map(|part| part.iter().fold(1, |word, &flag| word << 8 | u64::from(flag))));
        };
        sum.add(self.returns.iter().map(|value| value.to_bits()));
        sum.add(self.held.iter().map(|value| value.to_bits()));
        flags(&self.present, &mut sum);
        flags(&self.members, &mut sum);
        for feature in &self.features {
            sum.add(feature.values.iter().map(|value| value.to_bits()));
        }
        sum.lanes.iter().fold(0, |all, lane| (all ^ lane).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29))
    }
}

#[cfg(test)]
mod tests {
    use super::PlaneGuard;
    use crate::panel::{Panel, PanelKind, date_of};

    fn panel(change: Option<usize>) -> Panel {
        let dates = (0..10).map(|day| date_of(18_000 + day).unwrap()).collect();
        let mut values: Vec<f64> = (0..30).map(|cell| f64::from(cell) / 100.0).collect();
        if let Some(cell) = change {
            values[cell] = f64::from_bits(values[cell].to_bits() ^ 1);
        }
        Panel::from_arrays(PanelKind::Returns, dates, &["A".into(), "B".into(), "C".into()], &values).unwrap()
    }

    #[test]
    fn one_bit_of_any_value_is_noticed_and_the_windows_since_the_last_check_are_named() {
        for cell in 0..30 {
            let mut guard = PlaneGuard::new(&panel(None));
            guard.check(&panel(None), 2, true).unwrap();
            let message = guard.check(&panel(Some(cell)), 5, true).unwrap_err().to_string();
            assert!(message.contains("while windows 3 to 5 were computed"), "{message}");
            // The values may be back when it is looked at again; what was computed from them is not.
            assert!(guard.check(&panel(None), 6, false).is_err());
        }
    }

    #[test]
    fn membership_and_missing_values_count_too() {
        let whole = panel(None);
        let mut guard = PlaneGuard::new(&whole);
        let mut members = whole.clone();
        members.members =
            whole.members.iter().enumerate().map(|(cell, member)| *member && cell != 17).collect::<Vec<_>>().into();
        assert!(guard.check(&members, 0, true).is_err());
        let mut guard = PlaneGuard::new(&whole);
        let mut present = whole.clone();
        present.present =
            whole.present.iter().enumerate().map(|(cell, one)| *one && cell != 29).collect::<Vec<_>>().into();
        assert!(guard.check(&present, 0, true).is_err());
        PlaneGuard::new(&whole).check(&whole.clone(), 0, true).unwrap();
    }
}
