//! Walk-forward windows: train, validation and test spans over the dates of a panel, by index arithmetic alone.

mod calendar;
mod frequency;
mod lookback;
mod purge;
mod schedule;
mod settings;

use std::ops::Range;

use jiff::ToSpan;
use jiff::civil::Date;

pub use calendar::Rebalance;
pub(crate) use calendar::{add_months, rows_between};
pub(crate) use frequency::periods_per_year;
pub(crate) use lookback::lookback_rows;
pub use purge::{SampleRule, train_samples, validation_rows};
pub use schedule::{RebalanceSchedule, StitchedPath, decisions, stitch};
pub(crate) use schedule::{first_decision, fit_rows};
pub use settings::{Scheme, WindowSettings};

use crate::error::{Code, Error, Result, fail};

/// A half-open date interval and its rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    /// First day of the interval.
    pub start: Date,
    /// The day after the last day of the interval.
    pub end: Date,
    /// The rows of the panel whose dates are in the interval.
    pub rows: Range<usize>,
}

/// One walk-forward window.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Window {
    /// Index of the window, from 0.
    pub index: usize,
    /// Models are fitted here.
    pub train: Span,
    /// Models are selected here; empty if `validation_months` is 0.
    pub validation: Span,
    /// Models are evaluated here, out of sample.
    pub test: Span,
}

impl Window {
    /// The window whose test span begins after the last date. Its validation span is the last `validation_months` up to
    /// that date, its train span the `train_months` before, as far as there are dates.
    ///
    /// # Errors
    /// `InvalidData` if the train or the validation span has no date.
    pub fn before(dates: &[Date], settings: &WindowSettings) -> Result<Self> {
        let Some(last) = dates.last() else { fail!(InvalidData, "windows need dates, found none") };
        let end = last.saturating_add(1.day());
        let months_before = |months: u32| end.saturating_sub(i64::from(months).months());
        let span = |start, end| Span { start, end, rows: rows_between(dates, start, end) };
        let train_end = months_before(settings.validation_months);
        let out = Self {
            index: 0,
            train: span(months_before(settings.validation_months.saturating_add(settings.train_months)), train_end),
            validation: span(train_end, end),
            test: span(end, end),
        };
        for (name, span, required) in
            [("train", &out.train, true), ("validation", &out.validation, settings.validation_months > 0)]
        {
            if required && span.rows.is_empty() {
                fail!(
                    InvalidData,
                    "the {name} span from {} to {}, counted back from the last date {last}, has no date; \
                     give more data, or shorter spans in windows.train_months and windows.validation_months",
                    span.start,
                    span.end.saturating_sub(1.day())
                );
            }
        }
        Ok(out)
    }
}

/// All windows over these dates, at least one.
///
/// # Errors
/// `InvalidSetting` if the data are too short for one window; `InvalidData` if a span that needs dates has none.
///
/// # Examples
/// ```
/// use walkforge::{Scheme, WindowSettings, date_of, days_of, windows};
///
/// let start = days_of("2010-01-01".parse()?);
/// let dates: Vec<_> = (0..6 * 366).filter_map(|day| date_of(start + day)).collect();
/// let settings = WindowSettings {
///     scheme: Scheme::Rolling,
///     train_months: 36,
///     validation_months: 12,
///     test_months: 12,
///     step_months: 12,
///     start: None,
///     partial_test: false,
///     embargo_days: 0,
/// };
/// let windows = windows(&dates, &settings)?;
/// assert_eq!(windows.len(), 2);
/// assert_eq!(windows[0].test.start.to_string(), "2014-01-01");
/// assert_eq!(windows[1].train.rows.start, 365);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn windows(dates: &[Date], settings: &WindowSettings) -> Result<Vec<Window>> {
    let (Some(&first), Some(&last)) = (dates.first(), dates.last()) else {
        fail!(InvalidData, "windows need dates, found none");
    };
    let origin = match settings.start {
        Some(start) => start,
        None => first.first_of_month(),
    };
    if origin > last {
        fail!(InvalidSetting, "setting 'windows.start': found {origin}, allowed is a date up to the last date, {last}");
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
             validation_months = {} and test_months = {} from {origin} needs dates into the month before {}",
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
        .map_err(|_| Error::new(Code::InvalidSetting, format!("a window of {count} months is beyond the calendar")))
}

fn require_dates(window: &Window, settings: &WindowSettings) -> Result<()> {
    for (name, span, required) in [
        ("train", &window.train, true),
        ("validation", &window.validation, settings.validation_months > 0),
        ("test", &window.test, true),
    ] {
        if required && span.rows.is_empty() {
            fail!(
                InvalidData,
                "window {}: its {name} span, from {} to before {}, has no date; change windows.start or the lengths of \
                 the spans",
                window.index,
                span.start,
                span.end
            );
        }
    }
    Ok(())
}
