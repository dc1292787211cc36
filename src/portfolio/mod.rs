//! From target weights to a net return path: constraints that hold for every model alike, drift, turnover and costs.

mod constraints;
mod market;
mod path;

pub use constraints::{Change, Constraints, Group, Known, TopBy};
pub use market::{Decision, Market, Walked};
pub use path::{Book, Path};
