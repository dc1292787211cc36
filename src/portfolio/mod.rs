//! From target weights to a net return path: constraints that apply to every model alike, drift, turnover and costs.

mod account;
mod constraints;
mod execution;
mod settings;

pub use account::{Account, Path};
pub use constraints::{ConstraintChange, ConstraintContext, Constraints, Group, TopBy};
pub use execution::{Decision, ExecutionModel, SimulatedPath};
pub use settings::{PortfolioSettings, group_settings, portfolio_settings};
