//! `[windows]`: how windows are cut.

use jiff::civil::Date;
use serde_json::Value as Json;

use crate::error::Result;
use crate::settings::{Setting, SettingType, SettingValues, choices};

choices! {
    /// How the train span moves.
    pub enum Scheme {
        /// The train span keeps its length and moves with the window.
        Rolling = "rolling",
        /// The train span always starts at the first window's start.
        Expanding = "expanding",
    }
}

/// How windows are cut, in calendar months.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WindowSettings {
    /// How the train span moves.
    pub scheme: Scheme,
    /// Length of the train span, at least 1.
    pub train_months: u32,
    /// Length of the validation span; 0 for none.
    pub validation_months: u32,
    /// Length of the test span, at least 1.
    pub test_months: u32,
    /// Months from one window to the next, at least 1.
    pub step_months: u32,
    /// First day of the first train span, not before the month of the first date; `None` for the first day of that month.
    pub start: Option<Date>,
    /// Whether to keep a last window whose test span the data reach without reaching its last month.
    pub partial_test: bool,
    /// Calendar days before the next span over which train and validation spans are used for nothing.
    pub embargo_days: u32,
}

impl WindowSettings {
    /// The declarations of `[windows]`.
    pub fn declared() -> Vec<Setting> {
        let months = |low| SettingType::Integer(low, 1200);
        vec![
            Setting::choice(
                "scheme",
                Scheme::Rolling,
                "rolling: the train span moves with the window; expanding: it always starts at the start of the first \
                 window",
            ),
            Setting::new("train_months", months(1), 36, "length of the train span in calendar months"),
            Setting::new("validation_months", months(0), 12, "length of the validation span in calendar months"),
            Setting::new("test_months", months(1), 12, "length of the test span in calendar months"),
            Setting::new("step_months", months(1), 12, "calendar months from one window to the next"),
            Setting::new(
                "start",
                SettingType::Date,
                Json::Null,
                "first day of the first train span, not before the month of the first date; if left out, the first day of \
                 that month",
            ),
            Setting::new(
                "partial_test",
                SettingType::Boolean,
                false,
                "whether to keep a last window whose test span the data reach without reaching its last month; once they \
                 reach that month it is kept anyway",
            ),
            Setting::new(
                "embargo_days",
                SettingType::Integer(0, 3650),
                0,
                "calendar days before the next span over which the rows of train and validation spans are used for \
                 nothing: no sample, label or score, for any model; the test span stays whole",
            ),
        ]
    }

    /// Converts checked values of `[windows]`.
    pub fn from_values(values: &SettingValues) -> Result<Self> {
        let months = |name| values.count(name).map(|count| count as u32);
        Ok(Self {
            scheme: values.choice("scheme")?,
            train_months: months("train_months")?,
            validation_months: months("validation_months")?,
            test_months: months("test_months")?,
            step_months: months("step_months")?,
            start: values.date("start"),
            partial_test: values.boolean("partial_test")?,
            embargo_days: months("embargo_days")?,
        })
    }
}
