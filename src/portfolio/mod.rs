//! From target weights to a net return path: constraints that apply to every model alike, drift, turnover and costs.

mod account;
mod constraints;
mod execution;
mod group_settings;
mod record;
mod settings;
mod terms;

pub(crate) use account::Account;
pub use account::Path;
pub use constraints::Constraints;
pub(crate) use constraints::{ConstraintChange, ConstraintContext, Feasibility};
/// A group, for tests of runs.
#[cfg(test)]
pub(crate) fn group(name: &str, assets: Vec<usize>, min: f64, max: f64) -> constraints::Group {
    constraints::Group { name: name.to_owned(), assets, min, max }
}
pub(crate) use execution::SimulatedPath;
pub use execution::{Decision, ExecutionModel};
pub use group_settings::group_settings;
pub use settings::{PortfolioSettings, portfolio_settings};
pub(crate) use terms::{Delisting, PerAsset, Terms};
