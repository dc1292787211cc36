//! What any plugin must pass, and why: `walkforge plugin check FILE`. Each check runs in a process of its own, so that a
//! plugin that crashes, hangs or exits is told like any other fault.

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
    /// As it must; with what was seen.
    Passed(String),
    /// Otherwise; with what was found, what is allowed and what to look at.
    Failed(String),
    /// It does not apply, for this reason.
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

    /// The outcome of this name, with its text.
    fn from_name(name: &str, text: String) -> Option<Self> {
        match name {
            Self::PASSED => Some(Self::Passed(text)),
            Self::FAILED => Some(Self::Failed(text)),
            Self::SKIPPED => Some(Self::Skipped(text)),
            _ => None,
        }
    }

    /// What it says.
    pub fn text(&self) -> &str {
        match self {
            Self::Passed(text) | Self::Failed(text) | Self::Skipped(text) => text,
        }
    }
}

/// A check: its name, what it demands of a plugin, and how.
pub struct Check {
    /// Its name.
    pub name: &'static str,
    /// What it demands.
    pub doc: &'static str,
    run: fn(&Subject) -> Result<CheckOutcome>,
}

/// Every check, in the order in which a plugin author would mend faults.
pub static CHECKS: &[Check] = &[
    Check {
        name: "load",
        doc: "the file loads, its entry is found, and its description can be used",
        run: loading::description,
    },
    Check {
        name: "version",
        doc: "a host of another major version is refused with an error, one of a later minor version is accepted",
        run: loading::versions,
    },
    Check {
        name: "host",
        doc: "what belongs to the host program is left alone: signals, floating-point mode, folder, environment, locale, \
              umask, threads, stdout",
        run: host::untouched,
    },
    Check {
        name: "settings",
        doc: "every setting at its default, at its bounds and at random gives a model or an error with a message",
        run: settings::every_setting,
    },
    Check {
        name: "weights",
        doc: "weights are finite, one an asset, and sum to 1; nothing is read beyond what is lent",
        run: answers::weights,
    },
    Check {
        name: "bad_data",
        doc: "flat, equal, extreme and missing returns give weights or an error with a message",
        run: answers::bad_data,
    },
    Check {
        name: "errors",
        doc: "a buffer that is too small is refused, a null error pointer and a null model are accepted",
        run: answers::errors,
    },
    Check {
        name: "determinism",
        doc: "the same inputs give the same bits, whatever was asked before",
        run: answers::determinism,
    },
    Check {
        name: "program",
        doc: "a network describes itself the same way each time, with the same parameters for any number of assets",
        run: program::repeatable,
    },
    Check {
        name: "gradient",
        doc: "a network's gradients are the slopes of its output, as it begins",
        run: program::gradient,
    },
    Check {
        name: "compute",
        doc: "a network writes every number of its computed inputs, the same each time, and nothing beyond them",
        run: program::compute,
    },
    Check { name: "threads", doc: "many threads may ask one model at once", run: answers::threads },
    Check { name: "look_ahead", doc: "no decision depends on rows after it", run: future::look_ahead },
    Check { name: "cancel", doc: "a call whose caller cancelled returns soon", run: future::cancel },
    Check { name: "leaks", doc: "models give back what they take", run: host::leaks },
];

/// The plugin that is checked.
struct Subject<'a> {
    path: &'a Path,
    trail: Option<Arc<CallTrace>>,
}

impl Subject<'_> {
    fn probe(&self) -> Result<Probe> {
        Probe::open(self.path, self.trail.clone())
    }

    fn plugin(&self) -> Result<Plugin> {
        self.probe()?.plugin()
    }

    /// Settings at their defaults.
    fn defaults(plugin: &Plugin) -> Result<SettingValues> {
        SettingValues::check("settings", plugin.settings(), &serde_json::Map::new())
    }

    /// A model with default settings, in checking mode.
    fn model(plugin: &Plugin) -> Result<Box<dyn Estimator>> {
        let context = Context::default().checking();
        Ok(as_estimator(plugin.create(&Self::defaults(plugin)?, &context)?, &context))
    }
}

/// Runs one check in this process, which may end by it: it is prepared for that, and is of no use for anything else.
/// Before each call into the plugin its name is written to `report`, a file that is there.
///
/// # Errors
/// `InvalidArgument` where there is no such check.
pub fn run_here(path: &Path, name: &str, report: &Path) -> Result<CheckOutcome> {
    let check = named(name)?;
    process::prepare_to_end();
    let subject = Subject { path, trail: CallTrace::begin(report).map(Arc::new) };
    Ok((check.run)(&subject).unwrap_or_else(|error| CheckOutcome::Failed(error.to_string())))
}

/// The check of a name.
fn named(name: &str) -> Result<&'static Check> {
    let known = || CHECKS.iter().map(|check| check.name).collect::<Vec<_>>().join(", ");
    let found = CHECKS.iter().find(|check| check.name == name);
    found.ok_or_else(|| Error::new(Code::InvalidArgument, format!("there is no check '{name}'; there are {}", known())))
}

/// Whether an error is one that a plugin may give for data or settings that it cannot use.
fn is_refusal(error: &Error) -> bool {
    let mut last = error;
    while let Some(cause) = last.cause() {
        last = cause;
    }
    // What failed on our own side is none.
    !matches!(error.code(), Code::Io | Code::Internal)
        && !last.message().trim().is_empty()
        && !error.to_string().contains("no message")
}
