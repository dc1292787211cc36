//! Which asset fills which slot of a network's asset axis.

use jiff::civil::Date;

use crate::engine::EMPTY_SLOT;
use crate::error::{Code, Error};

/// For each slot of a network's asset axis the column of the asset in it; [`EMPTY_SLOT`] for one that is masked out.
pub(crate) type AssetSlots = Vec<i32>;

/// Assigns the eligible `columns` to slots. With `fixed`, each of its columns has a slot of its own, masked if the
/// column is not eligible. Otherwise the columns fill the first slots, in order, and the rest up to `slots` is masked.
pub(crate) fn assign(columns: &[usize], fixed: Option<&[usize]>, slots: usize) -> AssetSlots {
    if let Some(fixed) = fixed {
        let slot = |column: &usize| if columns.contains(column) { *column as i32 } else { EMPTY_SLOT };
        return fixed.iter().map(slot).collect();
    }
    let mut out: AssetSlots = columns.iter().map(|column| *column as i32).collect();
    out.resize(slots.max(columns.len()), EMPTY_SLOT);
    out
}

/// The columns in the filled slots, in the order of the slots.
pub(crate) fn filled(slots: &[i32]) -> impl Iterator<Item = usize> + '_ {
    slots.iter().filter(|column| **column != EMPTY_SLOT).map(|column| *column as usize)
}

/// The error for a date on which none of the assets of a network with a fixed asset set is eligible.
pub(crate) fn none_eligible(date: Date) -> Error {
    Error::new(
        Code::InvalidData,
        format!(
            "no asset is eligible on {date}: the network is fixed to the assets of the first validation decision of \
             its window, and none of them can be held"
        ),
    )
}
