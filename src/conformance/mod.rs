//! The checks that every plugin must pass: `walkforge plugin check FILE`. Each check runs in its own process, so that a
//! plugin that crashes, hangs or exits is reported like any other fault.

mod answers;
mod child;
mod data;
mod future;
mod host;
mod loading;
mod network;
mod program;
mod settings;

use std::path::Path;
use std::sync::Arc;

use crate::error::{Code, Error, Result};
use crate::model::{Context, Estimator, Factory};
use crate::plugin::checking::process;
use crate::plugin::{CallTrace, Plugin, Probe};
use crate::settings::SettingValues;
use network::as_estimator;

pub use child::{CheckOptions, Finding, check};

/// How a check ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CheckOutcome {
    /// The plugin behaves as required; with what was checked.
    Passed(String),
    /// The plugin is at fault; with what was found, what is allowed and what to do.
    Failed(String),
    /// The check does not apply; with the reason.
    Skipped(String),
}

impl CheckOutcome {
    const PASSED: &str = "passed";
    const FAILED: &str = "failed";
    const SKIPPED: &str = "skipped";

    /// `passed`, `failed` or `skipped`.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Passed(_) => Self::PASSED,
            Self::Failed(_) => Self::FAILED,
            Self::Skipped(_) => Self::SKIPPED,
        }
    }

    /// The outcome with this name and text.
    fn from_name(name: &str, text: String) -> Option<Self> {
        match name {
            Self::PASSED => Some(Self::Passed(text)),
            Self::FAILED => Some(Self::Failed(text)),
            Self::SKIPPED => Some(Self::Skipped(text)),
            _ => None,
        }
    }

    /// The text of the outcome.
    pub fn text(&self) -> &str {
        match self {
            Self::Passed(text) | Self::Failed(text) | Self::Skipped(text) => text,
        }
    }
}

/// A check: its name, its demand on a plugin, and the function that runs it.
pub struct Check {
    /// The name, as in `--only NAME`.
    pub name: &'static str,
    /// What it demands of a plugin.
    pub doc: &'static str,
    run: fn(&Subject) -> Result<CheckOutcome>,
}

/// Every check, in the order in which a plugin author would fix faults.
pub static CHECKS: &[Check] = &[
    Check {
        name: "load",
        doc: "the file loads, its entry function is found, and its description is valid",
        run: loading::description,
    },
    Check {
        name: "version",
        doc: "a host with another major version is refused with an error, one with a later minor version is accepted",
        run: loading::versions,
    },
    Check {
        name: "host",
        doc: "what belongs to the host program is left unchanged: signals, floating-point mode, working directory, \
              environment, locale, umask, threads, stdout",
        run: host::unchanged_host,
    },
    Check {
        name: "settings",
        doc: "every setting at its default, at its bounds and in random combinations gives a model or an error with a \
              message",
        run: settings::every_setting,
    },
    Check {
        name: "weights",
        doc: "weights are finite, one per asset, and sum to 1; nothing is read beyond the arrays that are lent",
        run: answers::weights,
    },
    Check {
        name: "bad_data",
        doc: "constant, equal, extreme and missing returns give weights or an error with a message",
        run: answers::bad_data,
    },
    Check {
        name: "errors",
        doc: "a buffer that is too small is refused; a null error pointer and a null model are accepted",
        run: answers::errors,
    },
    Check {
        name: "determinism",
        doc: "the same inputs give the same bits, whatever calls came before",
        run: answers::determinism,
    },
    Check {
        name: "program",
        doc: "a network builds the same program each time, with the same parameters for any number of assets",
        run: program::repeatable,
    },
    Check {
        name: "gradient",
        doc: "a network's gradients agree with finite differences at its initial parameters",
        run: program::gradient,
    },
    Check {
        name: "compute",
        doc: "a network writes every element of its computed inputs, always with the same values, and nothing beyond",
        run: program::compute,
    },
    Check { name: "threads", doc: "many threads may call one model at the same time", run: answers::threads },
    Check { name: "look_ahead", doc: "no decision depends on later rows", run: future::look_ahead },
    Check { name: "cancel", doc: "a call returns soon after its caller cancelled", run: future::cancel },
    Check { name: "leaks", doc: "models free all memory that they allocate", run: host::leaks },
];

/// The plugin under check.
struct Subject<'a> {
    path: &'a Path,
    trace: Option<Arc<CallTrace>>,
}

impl Subject<'_> {
    fn probe(&self) -> Result<Probe> {
        Probe::open(self.path, self.trace.clone())
    }

    fn plugin(&self) -> Result<Plugin> {
        self.probe()?.plugin()
    }

    /// The default settings.
    fn defaults(plugin: &Plugin) -> Result<SettingValues> {
        SettingValues::check("settings", plugin.settings(), &serde_json::Map::new())
    }

    /// A model with default settings, in checking mode.
    fn model(plugin: &Plugin) -> Result<Box<dyn Estimator>> {
        let context = Context::default().checking();
        Ok(as_estimator(plugin.create(&Self::defaults(plugin)?, &context)?, &context))
    }
}

/// Runs one check in this process. The plugin may end the process, so it must have no other use. Before each call into
/// the plugin the name of the call is written to `report`, which must exist.
///
/// # Errors
/// `InvalidArgument` if there is no such check.
pub fn run_here(path: &Path, name: &str, report: &Path) -> Result<CheckOutcome> {
    let check = find_check(name)?;
    process::prepare_to_end();
    let subject = Subject { path, trace: CallTrace::begin(report).map(Arc::new) };
    Ok((check.run)(&subject).unwrap_or_else(|error| CheckOutcome::Failed(error.to_string())))
}

/// The check with a name.
fn find_check(name: &str) -> Result<&'static Check> {
    let known = || CHECKS.iter().map(|check| check.name).collect::<Vec<_>>().join(", ");
    let found = CHECKS.iter().find(|check| check.name == name);
    found.ok_or_else(|| Error::new(Code::InvalidArgument, format!("there is no check '{name}'; there are {}", known())))
}

/// Whether an error is a proper refusal, which a plugin may give for data or settings that it cannot use.
fn is_refusal(error: &Error) -> bool {
    let mut last = error;
    while let Some(cause) = last.cause() {
        last = cause;
    }
    // Failures of the host itself are not refusals.
    !matches!(error.code(), Code::Io | Code::Internal)
        && !last.message().trim().is_empty()
        && !error.to_string().contains("no message")
}
