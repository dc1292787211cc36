//! A plugin's description of itself: reads and validates the JSON that `describe` returns.

use serde_json::Value as Json;
use walkforge_plugin_abi::{WF_ASSETS_BY_DATE, WF_ASSETS_FIXED, wf_plugin_api, wf_string};

use super::error::check;
use crate::error::{Code, Error, Result, fail};
use crate::model::AssetSet;
use crate::plugin::checking::call_trace::CallTrace;
use crate::settings::Setting;

/// Maximum size of a description in bytes.
const MAX_BYTES: usize = 1 << 20;

/// Maximum length of a plugin's name and of its version, in characters.
const MAX_NAME_LENGTH: usize = 64;

/// The kind of a plugin's models.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ModelKind {
    /// They fit themselves, or have nothing to fit.
    Estimator,
    /// Networks, which the core trains.
    Network,
}

/// A valid description.
pub(super) struct Description {
    pub(super) name: String,
    pub(super) version: String,
    pub(super) kind: ModelKind,
    pub(super) settings: Vec<Setting>,
    /// The JSON as the plugin wrote it.
    pub(super) text: String,
}

impl Description {
    /// Reads the description of a plugin; `source` names the plugin in messages.
    pub(super) fn read(api: &wf_plugin_api, source: &str, trace: Option<&CallTrace>) -> Result<Self> {
        let text = call_describe(api, source, trace)?;
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
            if found.is_empty()
                || found.len() > MAX_NAME_LENGTH
                || !found.chars().all(|letter| letter.is_ascii_graphic())
            {
                fail!(
                    PluginAbi,
                    "the description of plugin {source} has a {what} of {found:.60?}; allowed are 1 to {MAX_NAME_LENGTH} \
                     printable ASCII characters without spaces"
                );
            }
        }
        let settings = Setting::list_from_json(&tree["settings"])
            .map_err(|error| error.context(format!("the description of plugin {source} cannot be used")))?;
        Ok(Self { name, version, kind, settings, text })
    }
}

fn call_describe(api: &wf_plugin_api, source: &str, trace: Option<&CallTrace>) -> Result<String> {
    let Some(describe) = api.describe else { fail!(PluginAbi, "plugin {source} has no function describe") };
    let mut text = wf_string { data: core::ptr::null(), length: 0 };
    let mut error = core::ptr::null_mut();
    // SAFETY: both out-parameters are local variables; the plugin stores nothing but an error of `error_new` in
    // `error`.
    unsafe {
        let (code, _) = CallTrace::around(trace, "describe", || describe(&raw mut text, &raw mut error));
        check(source, "describe", code, error)?;
    }
    if text.data.is_null() || text.length == 0 {
        fail!(PluginAbi, "plugin {source} returned WF_OK from describe without a text");
    }
    if text.length > MAX_BYTES {
        fail!(PluginAbi, "plugin {source} has a description of {} bytes; allowed are at most {MAX_BYTES}", text.length);
    }
    // SAFETY: the pointer is not null, and by the ABI the text has the stated length and lives until the process ends.
    let bytes = unsafe { core::slice::from_raw_parts(text.data.cast::<u8>(), text.length) };
    let text = core::str::from_utf8(bytes).map_err(|error| {
        Error::new(Code::PluginAbi, format!("the description of plugin {source} is not UTF-8: {error}"))
    })?;
    Ok(text.to_owned())
}

/// Converts the field `universe` of a plugin's requirements.
pub(super) fn asset_set(plugin: &str, code: i32) -> Result<AssetSet> {
    match code {
        WF_ASSETS_BY_DATE => Ok(AssetSet::ByDate),
        WF_ASSETS_FIXED => Ok(AssetSet::Fixed),
        other => fail!(
            Plugin,
            "plugin '{plugin}' sets the universe of its requirements to {other}; allowed are WF_ASSETS_BY_DATE (0) and \
             WF_ASSETS_FIXED (1)"
        ),
    }
}
