//! The verdict of the overfitting monitor and its findings.

use super::{Gap, MonitorInputs, TOO_FEW};

/// Number of windows without overlap that a verdict and a rank correlation need at least.
pub(crate) const MIN_WINDOWS: f64 = 5.0;
/// A mean is clear above this many of its standard errors.
const CLEAR: f64 = 2.0;
/// With a clear gap, a model is overfit if its test excess is below this share of its train excess.
const OVERFIT_BELOW: f64 = 0.5;
/// A Sharpe ratio that is clearly above this after costs is beyond belief.
const BEYOND_BELIEF: f64 = 3.0;

/// The verdict of the monitor: the first of these that applies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Fewer than [`MIN_WINDOWS`] windows, or no error.
    Undefined,
    /// The mean train excess is not above 0.
    NothingLearned,
    /// The gap is clear, and the test excess is less than half of the train excess.
    Overfit,
    /// The gap is clear.
    SomeOverfitting,
    /// The gap is clearly below half of the train excess.
    NoneFound,
    /// Neither found nor excluded.
    NoEvidence,
}

impl Verdict {
    /// The name in `run.json`.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Undefined => "undefined",
            Self::NothingLearned => "nothing_learned",
            Self::Overfit => "overfit",
            Self::SomeOverfitting => "some_overfitting",
            Self::NoneFound => "none_found",
            Self::NoEvidence => "no_evidence",
        }
    }

    /// The name in the report.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::Undefined => "No verdict",
            Self::NothingLearned => "Nothing learned",
            Self::Overfit => "Overfit",
            Self::SomeOverfitting => "Some overfitting",
            Self::NoneFound => "No overfitting found",
            Self::NoEvidence => "No evidence either way",
        }
    }
}

/// Something that stands out beside the verdict.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    /// The name in `run.json`.
    pub name: &'static str,
    /// A sentence with the figures.
    pub text: String,
}

/// The verdict on the gap between train and test, and its reason.
pub(super) fn judge(gap: &Gap) -> (Verdict, String) {
    let (Ok(train), Ok(test), Ok(mean)) = (gap.first, gap.second, gap.mean) else {
        return (Verdict::Undefined, TOO_FEW.to_owned());
    };
    if gap.effective < MIN_WINDOWS {
        return (Verdict::Undefined, TOO_FEW.to_owned());
    }
    let error = match gap.error {
        Ok(error) => error,
        Err(reason) => return (Verdict::Undefined, reason.to_owned()),
    };
    let means = format!(
        "over {} windows the Sharpe ratio minus that of the benchmark is {train:.2} on train and {test:.2} on test on \
         average",
        gap.windows
    );
    let gap = format!("the gap of {mean:.2} has a standard error of {error:.2}");
    if train <= 0.0 {
        (Verdict::NothingLearned, format!("{means}; train is not above 0, so there is nothing to lose"))
    } else if mean > CLEAR * error && test < OVERFIT_BELOW * train {
        (Verdict::Overfit, format!("{means}; {gap}, so it is clear, and test keeps less than half"))
    } else if mean > CLEAR * error {
        (Verdict::SomeOverfitting, format!("{means}; {gap}, so it is clear, and test keeps half or more"))
    } else if mean + CLEAR * error < OVERFIT_BELOW * train {
        (Verdict::NoneFound, format!("{means}; {gap}, so more than half of the train excess is kept"))
    } else {
        (Verdict::NoEvidence, format!("{means}; {gap}, so overfitting is neither found nor excluded"))
    }
}

/// What else stands out.
pub(super) fn findings(inputs: &MonitorInputs, validation: &Gap) -> Vec<Finding> {
    let mut out = Vec::new();
    if let (Ok(gap), Ok(error)) = (validation.mean, validation.error)
        && validation.effective >= MIN_WINDOWS
        && gap > CLEAR * error
    {
        let text = format!(
            "validation is better than test by a Sharpe ratio of {gap:.2} (standard error {error:.2}): the choice by \
             validation may have been too wide"
        );
        out.push(Finding { name: "validation_gap", text });
    }
    if let Some((sharpe, error)) = inputs.out_of_sample
        && sharpe - CLEAR * error > BEYOND_BELIEF
    {
        let text = format!(
            "a net Sharpe ratio of {sharpe:.2} (standard error {error:.2}) out of sample is beyond belief: look for \
             data that were not known at the decision, and for prices at which nobody could trade"
        );
        out.push(Finding { name: "beyond_belief", text });
    }
    let count = |holds: &dyn Fn(&(u32, u32)) -> bool| inputs.epochs.iter().filter(|epochs| holds(epochs)).count();
    let (windows, first, last) =
        (inputs.epochs.len(), count(&|(best, _)| *best == 1), count(&|(best, most)| best == most));
    if 3 * first > windows {
        let text =
            format!("the first epoch was the best in {first} of {windows} windows: training gained nothing there");
        out.push(Finding { name: "first_epoch_best", text });
    }
    if 5 * last > windows {
        let text = format!(
            "the last allowed epoch was the best in {last} of {windows} windows: training had not converged; raise \
             train.max_epochs"
        );
        out.push(Finding { name: "last_epoch_best", text });
    }
    out
}
