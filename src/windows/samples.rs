//! Samples of a span: as-of rows whose labels lie wholly inside it, so that no label crosses a boundary.

use std::ops::Range;

use jiff::ToSpan;
use jiff::civil::Date;

use super::{Window, decisions::fit_rows};

/// What a sample reaches over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SampleRule {
    /// Rows of input up to and with the as-of row.
    pub lookback: usize,
    /// Rows of the label.
    pub horizon: usize,
    /// Execution lag in rows.
    pub lag: usize,
    /// Days after the start of validation and test in which no label may start.
    pub embargo_days: u32,
}

/// The part of a window that samples are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Inputs and labels inside the train span.
    Train,
    /// Labels inside the validation span; inputs may reach back.
    Validation,
    /// Labels inside the test span; inputs may reach back.
    Test,
}

/// The as-of rows t of a role's samples: a label over rows t+1+lag … t+horizon+lag inside the span (train and
/// validation spans end `lag` rows earlier), inputs from rows t−lookback+1 … t, inside the train span for train.
pub fn samples(dates: &[Date], window: &Window, role: Role, rule: &SampleRule) -> Range<usize> {
    let (span, held) = match role {
        Role::Train => (&window.train, fit_rows(&window.train.rows, rule.lag)),
        Role::Validation => (&window.validation, fit_rows(&window.validation.rows, rule.lag)),
        Role::Test => (&window.test, window.test.rows.clone()),
    };
    let mut first_label = held.start;
    if role != Role::Train && rule.embargo_days > 0 {
        let open = span.start.saturating_add(i64::from(rule.embargo_days).days());
        first_label = first_label.max(dates.partition_point(|date| *date < open));
    }
    let mut first = first_label.saturating_sub(1 + rule.lag).max(rule.lookback.saturating_sub(1));
    if role == Role::Train {
        first = first.max(held.start + rule.lookback.saturating_sub(1));
    }
    // The last label row is t + horizon + lag; it must be below the span's end.
    let end = held.end.saturating_sub(rule.horizon + rule.lag);
    first..end.max(first)
}
