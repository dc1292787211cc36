//! Walk-forward windows: train, validation and test spans over a calendar of dates. Index arithmetic only.

mod calendar;
mod lookback;
mod purge;
mod schedule;

use std::ops::Range;

use jiff::ToSpan;
use jiff::civil::Date;
use serde_json::Value as Json;

pub use calendar::{Rebalance, add_months, rows_between};
pub use lookback::lookback_rows;
pub use purge::{SampleRule, train_samples, validation_rows};
pub use schedule::{decisions, fit_rows, stitch};

use crate::error::{Code, Error, Result, fail};
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
    /// Rolling or expanding.
    pub scheme: Scheme,
    /// Length of the train span, at least 1.
    pub train_months: u32,
    /// Length of the validation span; 0 for none.
    pub validation_months: u32,
    /// Length of the test span, at least 1.
    pub test_months: u32,
    /// Months from one window to the next, at least 1.
    pub step_months: u32,
    /// First day of the first train span; by default the first day of the month of the first date.
    pub start: Option<Date>,
    /// Whether a last window is kept whose test span the data do not cover to its end.
    pub partial_test: bool,
    /// Calendar days at the start of the validation span that are left out of the score that chooses a network's epoch.
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
                "whether the train span moves with the window or always starts at the first one's start",
            ),
            Setting::new("train_months", months(1), 36, "length of the train span in calendar months"),
            Setting::new("validation_months", months(0), 12, "length of the validation span in calendar months"),
            Setting::new("test_months", months(1), 12, "length of the test span in calendar months"),
            Setting::new("step_months", months(1), 12, "calendar months from one window to the next"),
            Setting::new(
                "start",
                SettingType::Date,
                Json::Null,
                "first day of the first train span; the first day of the first date's month if left out",
            ),
            Setting::new("partial_test", SettingType::Boolean, false, "whether a last, shorter test span is kept"),
            Setting::new(
                "embargo_days",
                SettingType::Integer(0, 3650),
                0,
                "calendar days at the start of the validation span that are left out of the score that chooses a network's epoch; \
                 reported scores, other models and the test span are not affected",
            ),
        ]
    }

    /// From checked values of `[windows]`.
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

/// A date interval and the rows that lie in it, both half-open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    /// First day of the interval.
    pub start: Date,
    /// The day after its last.
    pub end: Date,
    /// Rows of the panel.
    pub rows: Range<usize>,
}

/// One walk-forward window.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Window {
    /// Its number, from 0.
    pub index: usize,
    /// Where models are fitted.
    pub train: Span,
    /// Where they are chosen; empty where `validation_months` is 0.
    pub validation: Span,
    /// Where they are reported.
    pub test: Span,
}

impl Window {
    /// The window whose test span is to begin after the last date: validation the last `validation_months` up to it, train
    /// the `train_months` before that, as far as there are dates.
    ///
    /// # Errors
    /// `InvalidData` where train or validation hold no date.
    pub fn before(dates: &[Date], settings: &WindowSettings) -> Result<Self> {
        let Some(last) = dates.last() else { fail!(InvalidData, "windows need dates, found none") };
        let end = last.saturating_add(1.day());
        let ago = |months: u32| end.saturating_sub(i64::from(months).months());
        let span = |start, end| Span { start, end, rows: rows_between(dates, start, end) };
        let middle = ago(settings.validation_months);
        let out = Self {
            index: 0,
            train: span(ago(settings.validation_months.saturating_add(settings.train_months)), middle),
            validation: span(middle, end),
            test: span(end, end),
        };
        for (name, span, wanted) in
            [("train", &out.train, true), ("validation", &out.validation, settings.validation_months > 0)]
        {
            if wanted && span.rows.is_empty() {
                fail!(
                    InvalidData,
                    "there is no date in the {name} span from {} to {}, as counted back from {last}; give more data, or shorter                      spans in windows.train_months and windows.validation_months",
                    span.start,
                    span.end.saturating_sub(1.day())
                );
            }
        }
        Ok(out)
    }
}

/// All windows of a calendar; at least one.
///
/// # Errors
/// `InvalidSetting` where not one window fits, saying what there is and what is needed; `InvalidData` where a span that
/// should hold dates holds none.
pub fn windows(dates: &[Date], settings: &WindowSettings) -> Result<Vec<Window>> {
    let (Some(&first), Some(&last)) = (dates.first(), dates.last()) else {
        fail!(InvalidData, "windows need dates, found none");
    };
    let origin = match settings.start {
        Some(start) => start,
        None => first.first_of_month(),
    };
    if origin > last {
        fail!(InvalidSetting, "setting 'windows.start': found {origin}, allowed is a date up to the last one, {last}");
    }
    let mut out: Vec<Window> = Vec::new();
    loop {
        let shift = months(out.len() as u64 * u64::from(settings.step_months))?;
        let to_validation = months(u64::from(shift) + u64::from(settings.train_months))?;
        let to_test = months(u64::from(to_validation) + u64::from(settings.validation_months))?;
        let to_end = months(u64::from(to_test) + u64::from(settings.test_months))?;
        let train_start = match settings.scheme {
            Scheme::Rolling => add_months(origin, shift)?,
            Scheme::Expanding => origin,
        };
        let bounds = [train_start, add_months(origin, to_validation)?, add_months(origin, to_test)?];
        let end = add_months(origin, to_end)?;
        let covered = last >= add_months(origin, to_end - 1)?;
        let kept = covered || (settings.partial_test && last >= bounds[2]);
        if !kept {
            break;
        }
        let span = |start, end| Span { start, end, rows: rows_between(dates, start, end) };
        let window = Window {
            index: out.len(),
            train: span(bounds[0], bounds[1]),
            validation: span(bounds[1], bounds[2]),
            test: span(bounds[2], end),
        };
        require_dates(&window, settings)?;
        out.push(window);
        if !covered {
            break;
        }
    }
    if out.is_empty() {
        fail!(
            InvalidSetting,
            "no window fits: the data run from {first} to {last}; one window of windows.train_months = {}, \
             validation_months = {}, test_months = {} from {origin} needs dates to the month before {}",
            settings.train_months,
            settings.validation_months,
            settings.test_months,
            add_months(origin, settings.train_months + settings.validation_months + settings.test_months)?
        );
    }
    Ok(out)
}

fn months(count: u64) -> Result<u32> {
    u32::try_from(count)
        .map_err(|_| Error::new(Code::InvalidSetting, format!("a window {count} months long is beyond the calendar")))
}

fn require_dates(window: &Window, settings: &WindowSettings) -> Result<()> {
    for (name, span, wanted) in [
        ("train", &window.train, true),
        ("validation", &window.validation, settings.validation_months > 0),
        ("test", &window.test, true),
    ] {
        if wanted && span.rows.is_empty() {
            fail!(
                InvalidData,
                "window {}: no date lies in its {name} span, {} up to before {}; windows.start or other lengths avoid it",
                window.index,
                span.start,
                span.end
            );
        }
    }
    Ok(())
}
