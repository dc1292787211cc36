//! Names of columns that show that a table is not one column per asset: fields of one security, or a long format.

use crate::error::{Result, fail};

/// Fields of a table of one security, in lower case and without spaces.
const FIELDS: [&str; 8] = ["open", "high", "low", "close", "adjclose", "adjustedclose", "volume", "openinterest"];
/// Names of columns that say which security a row is about.
const IDENTIFIERS: [&str; 7] = ["permno", "permco", "ticker", "symbol", "cusip", "isin", "gvkey"];

/// Refuses a table in long format, and one of the fields of securities.
///
/// # Errors
/// `InvalidData` that names the column and what to do.
pub(super) fn check(names: &[String]) -> Result<()> {
    if let Some(name) = names.iter().find(|name| IDENTIFIERS.contains(&name.to_ascii_lowercase().as_str())) {
        fail!(
            InvalidData,
            "column {name} says which security a row is about, so the table is in long format; allowed is one row per \
             date and one column per asset: pivot the table"
        );
    }
    let field = |name: &str| FIELDS.iter().position(|field| *field == plain(name));
    let mut found: Vec<usize> = names.iter().filter_map(|name| field(name)).collect();
    found.sort_unstable();
    found.dedup();
    // LOW and OPEN are tickers as well; three fields are no coincidence.
    if found.len() >= 3 {
        let fields: Vec<&str> = found.iter().map(|&index| FIELDS[index]).collect();
        fail!(
            InvalidData,
            "columns are named {}: the fields of one security; allowed is one column per asset: keep the adjusted close \
             of each, named by its ticker",
            fields.join(", ")
        );
    }
    // pandas writes columns of two levels as the text of a tuple.
    let levels = |name: &str| name.starts_with("('") && name.split("', '").any(|part| field(part).is_some());
    if let Some(name) = names.iter().find(|name| levels(name)) {
        fail!(
            InvalidData,
            "column {name} has a field and a ticker in its name; allowed is one column per asset: keep one field, such \
             as data[\"Close\"] of the frame, before writing it"
        );
    }
    Ok(())
}

/// The letters of a name in lower case.
fn plain(name: &str) -> String {
    name.chars().filter(char::is_ascii_alphabetic).map(|letter| letter.to_ascii_lowercase()).collect()
}
