//! Checks of loading: the entry function, the description, and hosts of other versions.

use serde_json::Value as Json;
use walkforge_plugin_abi::wf_plugin_api;

use super::{CheckOutcome, Subject};
use crate::error::Result;
use crate::model::Factory;
use crate::plugin::Probe;

pub(super) fn description(subject: &Subject) -> Result<CheckOutcome> {
    let (one, two) = (subject.plugin()?, subject.plugin()?);
    if one.description() != two.description() {
        return Ok(CheckOutcome::Failed("describe returned another text when it was called again".to_owned()));
    }
    let name = one.name();
    let plain = |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '_';
    if name.is_empty() || !name.chars().all(plain) {
        return Ok(CheckOutcome::Failed(format!(
            "the plugin names itself \"{name}\"; allowed are lower-case letters, digits and _"
        )));
    }
    let described: Json = serde_json::from_str(one.description()).unwrap_or_default();
    if described["doc"].as_str().is_none_or(|doc| doc.trim().is_empty()) {
        return Ok(CheckOutcome::Failed(
            "the description needs a text 'doc': one line that says what the model is".to_owned(),
        ));
    }
    if let Some(undocumented) = one.settings().iter().find(|setting| setting.doc.trim().is_empty()) {
        return Ok(CheckOutcome::Failed(format!("setting '{}' has an empty 'doc'", undocumented.name)));
    }
    let sha256 = one.sha256().unwrap_or_default();
    Ok(CheckOutcome::Passed(format!("{name} {}, {} settings, SHA-256 {sha256}", one.version(), one.settings().len())))
}

/// Size of the first version of a plugin's table, which ends with `weights`, in bytes.
const FIRST_TABLE: usize = core::mem::offset_of!(wf_plugin_api, scores);

pub(super) fn versions(subject: &Subject) -> Result<CheckOutcome> {
    let (major, minor) = Probe::version();
    let full_size = usize::MAX;
    let fail = |text: String| Ok(CheckOutcome::Failed(text));
    let probe = subject.probe()?;
    let other_major = probe.negotiate(major + 1, 0, full_size);
    if other_major.accepted {
        return fail(format!(
            "a host with ABI {}.0 was accepted; compare host->abi_major with WF_ABI_MAJOR and return an error",
            major + 1
        ));
    }
    if other_major.error.is_none_or(|error| error.message().is_empty()) {
        return fail(format!(
            "a host with ABI {}.0 was refused without an error; its slot error_new never moves, so call it",
            major + 1
        ));
    }
    let later = probe.negotiate(major, minor + 1, full_size);
    if !later.accepted {
        return fail(format!(
            "a host with ABI {major}.{} was refused; accept it, as later minor versions only add to the table",
            minor + 1
        ));
    }
    let first = probe.negotiate(major, 0, FIRST_TABLE);
    if first.wrote_beyond {
        return fail(
            "the table was written beyond the struct_size that the host passed; write no more than that".to_owned(),
        );
    }
    if !first.accepted {
        return fail("a host with a shorter table was refused; fill the fields that it has".to_owned());
    }
    for (size, filled) in [(FIRST_TABLE, first.filled), (size_of::<wf_plugin_api>(), later.filled)] {
        if filled > size || filled < FIRST_TABLE {
            return fail(format!(
                "the host passed a struct_size of {size} and it went back with {filled}; leave it unchanged, or lower \
                 it to the size of the filled fields, at least {FIRST_TABLE}"
            ));
        }
    }
    Ok(CheckOutcome::Passed(format!("refuses {}.0, accepts {major}.{} and a shorter table", major + 1, minor + 1)))
}
