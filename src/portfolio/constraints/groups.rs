//! Groups of assets with bounds on the sum of their weights.

use std::borrow::Cow;
use std::ops::Range;

use super::Constraints;

/// Bounds on the sum of the weights of some assets.
#[derive(Clone, Debug, PartialEq)]
pub struct Group {
    /// The name, for messages.
    pub name: String,
    /// The columns of its assets, in ascending order.
    pub assets: Vec<usize>,
    /// Smallest sum; -∞ for no limit.
    pub min: f64,
    /// Largest sum; ∞ for no limit.
    pub max: f64,
}

/// A group whose assets change from row to row.
#[derive(Clone, Debug, PartialEq)]
pub struct DatedGroup {
    /// The name, for messages.
    pub name: String,
    /// Columns with the rows on which they belong to the group.
    pub members: Vec<(usize, Range<usize>)>,
    /// Smallest sum; -∞ for no limit.
    pub min: f64,
    /// Largest sum; ∞ for no limit.
    pub max: f64,
}

impl DatedGroup {
    /// The group as it is at a row.
    fn at(&self, row: usize) -> Group {
        let members = self.members.iter().filter(|(_, rows)| rows.contains(&row));
        let mut assets: Vec<usize> = members.map(|(asset, _)| *asset).collect();
        assets.sort_unstable();
        assets.dedup();
        Group { name: self.name.clone(), assets, min: self.min, max: self.max }
    }
}

impl Group {
    /// Its bounds in words.
    pub(super) fn bounds(&self) -> String {
        match (self.min.is_finite(), self.max.is_finite()) {
            (true, true) => format!("group '{}' of {} to {}", self.name, self.min, self.max),
            (true, false) => format!("group '{}' of at least {}", self.name, self.min),
            _ => format!("group '{}' of at most {}", self.name, self.max),
        }
    }
}

impl Constraints {
    /// The constraints on a decision at a row: groups have the assets that belong to them there.
    pub fn at(&self, row: usize) -> Cow<'_, Self> {
        if self.dated_groups.is_empty() {
            return Cow::Borrowed(self);
        }
        let mut out = Self { dated_groups: Vec::new(), ..self.clone() };
        out.groups.extend(self.dated_groups.iter().map(|group| group.at(row)));
        Cow::Owned(out)
    }
}
