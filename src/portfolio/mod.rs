//! From target weights to a net return path: constraints that apply to every model alike, drift, turnover and costs.

mod account;
mod constraints;
mod execution;
mod record;
mod settings;
mod terms;

pub(crate) use account::Account;
pub use account::Path;
pub use constraints::Constraints;
pub(crate) use constraints::{ConstraintChange, ConstraintContext, Group};
pub(crate) use execution::SimulatedPath;
pub use execution::{Decision, ExecutionModel};
pub use settings::{PortfolioSettings, group_settings, portfolio_settings};
pub(crate) use terms::{Delisting, PerAsset, Terms};
