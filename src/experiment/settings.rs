//! The declarations of `[data]` and of the settings outside all sections.

use serde_json::Value as Json;

use crate::device::cpu::SimdLevel;
use crate::settings::{Setting, SettingType};

/// The declarations of `[data]`.
pub fn data_settings() -> Vec<Setting> {
    vec![
        Setting::new(
            "prices",
            SettingType::Text,
            Json::Null,
            "file of prices (CSV or Parquet), relative to the experiment file",
        ),
        Setting::new("returns", SettingType::Text, Json::Null, "file of simple returns, instead of prices"),
        Setting::new(
            "membership",
            SettingType::Text,
            Json::Null,
            "CSV file with the columns ticker, start and end (both days included) that says when each asset may be \
             held; without it an asset may be held while it has a price",
        ),
        Setting::new(
            "stale_rows",
            SettingType::Integer(0, 100_000),
            Json::Null,
            "rows after its last price for which an asset may still be held; if left out, a week of rows (4 for daily \
             data, 1 for weekly, 0 for monthly)",
        ),
        Setting::new(
            "delist_rows",
            SettingType::Integer(1, 100_000),
            Json::Null,
            "rows without a price after which an asset that is held counts as delisted: its weight becomes cash; if left \
             out, a month of rows, at least 2",
        ),
        Setting::new(
            "delisting_return",
            SettingType::Text,
            "0",
            "return that a delisted asset earns on its last row, as a fraction from -1, or a CSV file with the columns \
             ticker and return, and date where it is known: the asset is then delisted on the first row on or after it",
        ),
        Setting::new(
            "periods_per_year",
            SettingType::Real(0.1, 1e6),
            Json::Null,
            "rows per year, which every annualised figure is computed with; if left out it is read from the dates of \
             the first train span: 252, 365, 52, 12, 4 or 1",
        ),
        Setting::new(
            "risk_free",
            SettingType::Text,
            "0",
            "annual risk-free rate as a fraction, such as 0.03, or a file (CSV or Parquet) with the columns date and \
             rate; the rate of the last date up to the day before is taken off in Sharpe ratios, those that choose an \
             epoch included",
        ),
    ]
}

/// The declarations of the settings outside all sections.
pub fn top_settings() -> Vec<Setting> {
    vec![
        Setting::new(
            "seed",
            SettingType::Integer(0, i64::MAX),
            0,
            "seed of all random numbers; the same seed gives the same results",
        ),
        Setting::new("threads", SettingType::Integer(0, 4096), 0, "number of threads; 0 for one per core"),
        Setting::new(
            "device",
            SettingType::Text,
            "auto",
            "device that models run on: auto or cpu; this build has no CUDA",
        ),
        Setting::choice(
            "simd",
            SimdLevel::Auto,
            "instruction level of the CPU kernels, one per process; results are the same bits on all machines at one \
             level; auto is the best level of the machine",
        ),
    ]
}
