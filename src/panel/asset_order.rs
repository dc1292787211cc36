//! The order of assets: columns are sorted by name, so that no sum and no tie depends on the order of a file's columns.

use std::collections::BTreeMap;

use crate::error::{Result, fail};

/// The columns in the order of their names.
///
/// # Errors
/// `InvalidData` where a name is empty or occurs twice.
pub(super) fn sorted_columns(names: &[String]) -> Result<Vec<usize>> {
    let mut columns = BTreeMap::new();
    for (column, name) in names.iter().enumerate() {
        if name.is_empty() {
            fail!(InvalidData, "asset {} has no name", column + 1);
        }
        if let Some(earlier) = columns.insert(name.as_str(), column) {
            fail!(InvalidData, "asset {name} occurs twice, as asset {} and {}", earlier + 1, column + 1);
        }
    }
    Ok(columns.into_values().collect())
}

/// For each column of the source its position among the sorted columns.
pub(super) fn output_order(sorted: &[usize]) -> Vec<usize> {
    let mut out = vec![0; sorted.len()];
    for (position, &column) in sorted.iter().enumerate() {
        out[column] = position;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::{output_order, sorted_columns};

    #[test]
    fn columns_are_sorted_by_name_and_lead_back_to_the_source() {
        let names = ["MSFT", "AAPL", "KO"].map(str::to_owned);
        let sorted = sorted_columns(&names).unwrap();
        assert_eq!((&sorted, output_order(&sorted)), (&vec![1, 2, 0], vec![2, 0, 1]));
        let message = sorted_columns(&["A".into(), "B".into(), "A".into()]).unwrap_err().to_string();
        assert_eq!(message, "asset A occurs twice, as asset 1 and 3");
        assert!(sorted_columns(&["A".into(), String::new()]).is_err());
    }
}
