//! `[portfolio]`: rebalancing, execution, costs, and the constraints on the target weights of every model.

use std::ops::Range;

use jiff::civil::Date;
use serde_json::{Map, Value as Json, json};

use crate::error::{Result, fail};
use crate::panel::{AssetGroups, Panel};
use crate::portfolio::Constraints;
use crate::portfolio::constraints::{Infeasible, TopBy};
use crate::portfolio::group_settings::GroupTable;
use crate::settings::{Choice as _, Setting, SettingType, SettingValues, number_or_file};
use crate::windows::{Rebalance, RebalanceSchedule};

/// The declarations of `[portfolio]`; `[portfolio.groups.NAME]` is declared by `group_settings`.
pub fn portfolio_settings() -> Vec<Setting> {
    let constraints = Constraints::default();
    vec![
        Setting::new(
            "rebalance",
            SettingType::Text,
            "monthly",
            "daily, weekly, monthly or quarterly: decisions on the last row of each period; or a number of rows from one \
             decision to the next, counted from the first decision of the experiment; a new window takes over at the \
             first such row",
        ),
        Setting::new(
            "execution_lag",
            SettingType::Integer(0, 20),
            0,
            "rows between decision and execution: 0 holds the new weights from the next row, 1 from the row after that",
        ),
        Setting::new(
            "cost_bps",
            SettingType::Real(0.0, 10_000.0),
            10.0,
            "trading cost in basis points of the sum of |w - w before|",
        ),
        Setting::new(
            "asset_costs",
            SettingType::Text,
            Json::Null,
            "CSV file with the columns ticker and bps: trading costs by asset; one that it does not name costs cost_bps",
        ),
        Setting::new(
            "borrow_rate",
            SettingType::Text,
            "0",
            "annual cost of short positions as a fraction of their size, such as 0.01, or a CSV file with the columns \
             ticker and rate",
        ),
        Setting::new(
            "cash_return",
            SettingType::Text,
            "0",
            "annual return of cash as a fraction, a file (CSV or Parquet) with the columns date and rate, or risk_free",
        ),
        Setting::new(
            "long_only",
            SettingType::Boolean,
            constraints.long_only,
            "true: weights are at least 0; false: weights are at least -max_weight",
        ),
        Setting::new("max_weight", SettingType::Real(1e-6, 1.0), constraints.max_weight, "largest weight of one asset"),
        Setting::new(
            "min_weight",
            SettingType::Real(0.0, 1.0),
            constraints.min_weight,
            "smallest absolute weight that is held; smaller weights become 0",
        ),
        Setting::new(
            "top_k",
            SettingType::Integer(1, 1_000_000),
            Json::Null,
            "largest number of assets held; no limit if left out",
        ),
        Setting::choice(
            "top_k_by",
            constraints.top_by,
            "rank the assets for top_k by the model's weights or by its scores",
        ),
        Setting::new(
            "budget",
            SettingType::Real(-10.0, 10.0),
            constraints.budget,
            "sum of the weights of every target; what is left of 1 is cash, and what is above 1 is borrowed",
        ),
        Setting::new(
            "max_gross",
            SettingType::Real(0.0, 20.0),
            Json::Null,
            "largest sum of absolute weights, at least the budget; no limit if left out",
        ),
        Setting::choice(
            "excess",
            constraints.excess,
            "what takes the weight that bounds cut off: the assets that the model holds, in proportion to their weights, \
             or all assets, so that the portfolio is the nearest one",
        ),
        Setting::new(
            "asset_groups",
            SettingType::Text,
            Json::Null,
            "CSV file with the columns ticker and group, and start and end (both days included) where assets change their \
             group: the assets of each [portfolio.groups.NAME] that has no list of its own; [portfolio.groups.\"*\"] stands \
             for all groups of the file without a table",
        ),
        Setting::choice(
            "infeasible",
            constraints.infeasible,
            "error: a run is refused if at some decision no portfolio of the eligible assets satisfies the constraints; \
             relax: at such a decision min_weight, top_k, the minima of groups, their maxima and max_weight are relaxed in \
             this order until there is one, and each is listed",
        ),
        Setting::new(
            "max_turnover",
            SettingType::Real(0.0, 2.0),
            Json::Null,
            "largest turnover of a rebalance, half of the sum of |w - w before|, except for the first purchase; no \
             limit if left out",
        ),
    ]
}

/// The checked settings of `[portfolio]`.
#[derive(Clone, Debug)]
pub struct PortfolioSettings {
    /// The rebalance schedule.
    pub rebalance: Rebalance,
    /// Rows between decision and execution.
    pub execution_lag: usize,
    /// Trading cost in basis points of Σ|w − w⁻|.
    pub cost_bps: f64,
    /// The path of a file of trading costs by asset.
    pub(crate) asset_costs: Option<String>,
    /// The annual cost of short positions, or the path of a file.
    pub(crate) borrow_rate: String,
    /// The annual return of cash, the path of a file, or `risk_free`.
    pub(crate) cash_return: String,
    constraints: Constraints,
    /// The path of a file that names the assets of groups.
    pub(crate) asset_groups: Option<String>,
    groups: Vec<GroupTable>,
    values: SettingValues,
}

impl PortfolioSettings {
    /// Checks `[portfolio]`.
    ///
    /// # Errors
    /// `InvalidSetting` that names the setting.
    pub fn from_section(mut section: Map<String, Json>) -> Result<Self> {
        let tables = section.remove("groups");
        // A number of rows may be given as a number instead of a text.
        if let Some(rebalance) = section.get_mut("rebalance").filter(|rebalance| rebalance.is_u64()) {
            *rebalance = json!(rebalance.to_string());
        }
        let values = SettingValues::check("portfolio", &portfolio_settings(), &section)?;
        let constraints = Constraints {
            long_only: values.boolean("long_only")?,
            max_weight: values.real("max_weight")?,
            min_weight: values.real("min_weight")?,
            top_k: values.get("top_k").map(|_| values.count("top_k")).transpose()?,
            top_by: values.choice("top_k_by")?,
            max_turnover: values.get("max_turnover").map(|_| values.real("max_turnover")).transpose()?,
            groups: Vec::new(),
            dated_groups: Vec::new(),
            budget: values.real("budget")?,
            max_gross: values.get("max_gross").map(|_| values.real("max_gross")).transpose()?,
            excess: values.choice("excess")?,
            infeasible: values.choice("infeasible")?,
        };
        if constraints.long_only && constraints.budget < 0.0 {
            fail!(
                InvalidSetting,
                "setting 'portfolio.budget': found {}, allowed is at least 0 with portfolio.long_only = true",
                constraints.budget
            );
        }
        if let Some(gross) = constraints.max_gross.filter(|gross| *gross < constraints.budget.abs()) {
            fail!(
                InvalidSetting,
                "setting 'portfolio.max_gross': found {gross}, allowed is at least portfolio.budget = {}",
                constraints.budget.abs()
            );
        }
        if constraints.min_weight > constraints.max_weight {
            fail!(
                InvalidSetting,
                "setting 'portfolio.min_weight': found {}, allowed is at most portfolio.max_weight = {}",
                constraints.min_weight,
                constraints.max_weight
            );
        }
        let rate = |name: &str| number_or_file(&format!("portfolio.{name}"), values.text(name)?, &(-1.0..=1.0));
        Ok(Self {
            rebalance: Rebalance::parse(values.text("rebalance")?)?,
            execution_lag: values.count("execution_lag")?,
            cost_bps: values.real("cost_bps")?,
            asset_costs: values.text("asset_costs").ok().map(str::to_owned),
            borrow_rate: rate("borrow_rate")?,
            cash_return: rate("cash_return")?,
            groups: GroupTable::read_all(tables, values.get("asset_groups").is_some())?,
            asset_groups: values.text("asset_groups").ok().map(str::to_owned),
            constraints,
            values,
        })
    }

    /// The constraints for the assets of a panel, with the groups of the file, if there is one.
    ///
    /// # Errors
    /// `InvalidSetting` if a group names an asset that the panel does not have, or is not in the file.
    pub(crate) fn constraints(&self, panel: &Panel, file: Option<&AssetGroups>) -> Result<Constraints> {
        let mut out = self.constraints.clone();
        out.groups = GroupTable::listed(&self.groups, panel.assets())?;
        if let Some(file) = file {
            out.dated_groups = GroupTable::dated(&self.groups, file, panel)?;
        }
        Ok(out)
    }

    /// Whether a decision at which no portfolio satisfies the constraints is an error.
    pub(crate) fn refuses_infeasible(&self) -> bool {
        self.constraints.infeasible == Infeasible::Error
    }

    /// Whether assets are ranked by their scores for `top_k`.
    pub(crate) fn ranks_by_score(&self) -> bool {
        self.constraints.top_k.is_some() && self.constraints.top_by == TopBy::Score
    }

    /// Whether weights are at least 0.
    pub(crate) fn long_only(&self) -> bool {
        self.constraints.long_only
    }

    /// The schedule over the calendar `dates`, of an experiment whose first decision is at the row `first`, and whose
    /// first window trains on the rows `train`.
    pub fn schedule(&self, dates: &[Date], first: usize, train: Range<usize>) -> RebalanceSchedule {
        RebalanceSchedule::new(self.rebalance, dates, first, train)
    }

    /// The rebalance schedule as written in the settings.
    pub fn rebalance_text(&self) -> &str {
        self.values.text("rebalance").unwrap_or_default()
    }

    /// The constraints that differ from their defaults, as label and text, for the report.
    pub fn describe(&self) -> Vec<(&'static str, String)> {
        let (constraints, mut out) = (&self.constraints, Vec::new());
        let percent = |share: f64| format!("{} %", share * 100.0);
        if !constraints.long_only {
            out.push(("Short positions", format!("down to -{}", percent(constraints.max_weight))));
        }
        if constraints.max_weight < 1.0 {
            out.push(("Largest weight", format!("{} of one asset", percent(constraints.max_weight))));
        }
        if constraints.min_weight > 0.0 {
            out.push(("Smallest weight", percent(constraints.min_weight)));
        }
        if let Some(top) = constraints.top_k {
            out.push(("Assets held", format!("at most {top}, by {}", constraints.top_by.name())));
        }
        if let Some(limit) = constraints.max_turnover {
            out.push(("Turnover", format!("at most {} per rebalance", percent(limit))));
        }
        if constraints.budget != 1.0 {
            out.push(("Budget", format!("weights sum to {}", percent(constraints.budget))));
        }
        if let Some(gross) = constraints.max_gross {
            out.push(("Gross exposure", format!("at most {}", percent(gross))));
        }
        out.extend(self.groups.iter().map(|group| ("Group", group.describe())));
        if constraints.infeasible == Infeasible::Relax {
            out.push(("Where nothing satisfies them", "constraints are relaxed one after the other".to_owned()));
        }
        out
    }

    /// The settings as `run.json` records them, with defaults filled in.
    pub fn effective(&self) -> Json {
        let mut out = self.values.to_json();
        out["groups"] = self.groups.iter().map(GroupTable::effective).collect::<Map<String, Json>>().into();
        out
    }
}

#[cfg(test)]
mod tests {
    use super::PortfolioSettings;
    use serde_json::json;

    fn settings(section: &serde_json::Value) -> crate::error::Result<PortfolioSettings> {
        PortfolioSettings::from_section(section.as_object().cloned().unwrap_or_default())
    }

    #[test]
    fn contradictory_settings_are_errors() {
        for (section, expected) in [
            (json!({"min_weight": 0.5, "max_weight": 0.4}), "'portfolio.min_weight': found 0.5, allowed is at most"),
            (json!({"top_k": 0}), "'portfolio.top_k': found 0"),
            (json!({"top_k_by": "rank"}), "allowed is one of weight, score"),
            (json!({"max_turnover": -1}), "'portfolio.max_turnover': found -1"),
        ] {
            let message = settings(&section).unwrap_err().to_string();
            assert!(message.contains(expected), "{message}");
        }
    }
}
