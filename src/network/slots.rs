//! Which asset fills which slot of a network's asset axis.

use jiff::civil::Date;

use crate::error::{Code, Error};

/// For each slot of a network's asset axis the column of the asset in it; `None` for a slot that is masked out.
pub(crate) type AssetSlots = Vec<Option<usize>>;

/// Assigns the eligible `columns` to slots. With `fixed`, each of its columns has a slot of its own, masked if the
/// column is not eligible. Otherwise the columns fill the first slots, in order, and the rest up to `slots` is masked.
pub(crate) fn assign(columns: &[usize], fixed: Option<&[usize]>, slots: usize) -> AssetSlots {
    if let Some(fixed) = fixed {
        return fixed.iter().map(|column| columns.contains(column).then_some(*column)).collect();
    }
    let mut out: AssetSlots = columns.iter().map(|column| Some(*column)).collect();
    out.resize(slots.max(columns.len()), None);
    out
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
