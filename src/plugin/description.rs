//! What a plugin says of itself: JSON that is checked before anyone uses it.

use serde_json::Value as Json;
use walkforge_plugin_abi::{wf_plugin_api, wf_string};

use super::error::check;
use crate::error::{Code, Error, Result, fail};
use crate::plugin::checking::call_trace::CallTrace;
use crate::settings::Setting;

/// Bytes that a description may have.
const MOST_BYTES: usize = 1 << 20;

/// Letters that the name and the version of a plugin may have.
const LONGEST_NAME: usize = 64;

/// What a plugin's models are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ModelKind {
    /// They train themselves, or have nothing to train.
    Estimator,
    /// The core trains them.
    Network,
}

/// A description that can be used.
pub(super) struct Description {
    pub(super) name: String,
    pub(super) version: String,
    pub(super) kind: ModelKind,
    pub(super) settings: Vec<Setting>,
    /// All of it, as the plugin wrote it.
    pub(super) text: String,
}

impl Description {
    /// Asks a plugin; `source` is what messages call it.
    pub(super) fn read(api: &wf_plugin_api, source: &str, trail: Option<&CallTrace>) -> Result<Self> {
        let text = told(api, source, trail)?;
        let tree: Json = serde_json::from_str(&text).map_err(|error| {
            Error::new(Code::PluginAbi, format!("the description of plugin {source} is not JSON: {error}"))
        })?;
        let field = |name: &str| {
            tree[name].as_str().map(str::to_owned).ok_or_else(|| {
                Error::new(Code::PluginAbi, format!("the description of plugin {source} needs a text '{name}'"))
            })
        };
        let kind = match field("kind")?.as_str() {
            "estimator" => ModelKind::Estimator,
            "network" => ModelKind::Network,
            kind => {
                fail!(
                    PluginAbi,
                    "plugin {source} is of kind {kind:.60?}; this version knows \"estimator\" and \"network\""
                )
            }
        };
        let (name, version) = (field("name")?, field("version")?);
        for (what, found) in [("name", &name), ("version", &version)] {
            let graphic = |letter: char| letter.is_ascii_graphic();
            if found.is_empty() || found.len() > LONGEST_NAME || !found.chars().all(graphic) {
                fail!(
                    PluginAbi,
                    "the description of plugin {source} has a {what} of {found:.60?}; allowed are 1 to {LONGEST_NAME} ASCII \
                     letters, digits and signs"
                );
            }
        }
        let settings = Setting::list_from_json(&tree["settings"])
            .map_err(|error| error.context(format!("the description of plugin {source} cannot be used")))?;
        Ok(Self { name, version, kind, settings, text })
    }
}

/// The text of a description.
fn told(api: &wf_plugin_api, source: &str, trail: Option<&CallTrace>) -> Result<String> {
    let Some(describe) = api.describe else { fail!(PluginAbi, "plugin {source} has no function describe") };
    let mut told = wf_string { data: core::ptr::null(), length: 0 };
    let mut error = core::ptr::null_mut();
    // SAFETY: the function is the plugin's; both out-parameters are ours.
    unsafe {
        let status = CallTrace::around(trail, "describe", || describe(&raw mut told, &raw mut error));
        check(source, "describe", status, error)?;
    }
    if told.data.is_null() || told.length == 0 {
        fail!(PluginAbi, "plugin {source} returned WF_OK from describe and gave no text");
    }
    if told.length > MOST_BYTES {
        fail!(PluginAbi, "plugin {source} describes itself in {} bytes; allowed are at most {MOST_BYTES}", told.length);
    }
    // SAFETY: not null, and as long as it says, by the ABI; it lives as long as the process.
    let bytes = unsafe { core::slice::from_raw_parts(told.data.cast::<u8>(), told.length) };
    let text = core::str::from_utf8(bytes).map_err(|error| {
        Error::new(Code::PluginAbi, format!("the description of plugin {source} is not UTF-8: {error}"))
    })?;
    Ok(text.to_owned())
}
