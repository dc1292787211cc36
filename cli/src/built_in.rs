//! The plugins that are part of the command.

use walkforge::{PluginSearch, Result, register};

/// Makes them known by name. A file that the user names by path, or puts in a folder of `WALKFORGE_PLUGIN_PATH`, comes
/// before them. Like the rest of the executable they are not subject to `WALKFORGE_PLUGIN_SHA256`, which lists files.
pub(crate) fn add(search: &mut PluginSearch) -> Result<()> {
    // SAFETY: both functions are the entries of plugins that are linked into this program.
    let (hrp, lstm) = unsafe {
        (register(walkforge_hrp::wf_plugin_init_hrp, "hrp")?, register(walkforge_lstm::wf_plugin_init_lstm, "lstm")?)
    };
    search.add_built_in("hrp", hrp)?;
    search.add_built_in("lstm", lstm)
}
