//! Calls that no run makes, for the conformance suite: hosts of other versions, buffers that are too small, null where
//! null is allowed. They belong in a child process, as the plugin may end it.

use std::path::Path;
use std::sync::Arc;

use walkforge_plugin_abi::{WF_ABI_MAJOR, WF_ABI_MINOR, WF_OK, wf_host, wf_plugin_api};

use crate::error::{Error, Result};
use crate::model::{Context, Factory, Network};
use crate::panel::Past;
use crate::plugin::adapter::{Origin, Plugin};
use crate::plugin::checking::call_trace::CallTrace;
use crate::plugin::error::from_c;
use crate::plugin::library::{Candidate, Loaded};
use crate::plugin::load::{EMPTY_TABLE, initialise};
use crate::plugin::service::HOST;
use crate::program::InputSource;
use crate::settings::SettingValues;

/// A plugin file that was loaded but not initialised.
pub(crate) struct Probe {
    loaded: Loaded,
    trace: Option<Arc<CallTrace>>,
}

/// The reaction of a plugin's init function to a host of another version.
pub(crate) struct Negotiation {
    /// Whether it returned `WF_OK`.
    pub accepted: bool,
    /// The error that it stored.
    pub error: Option<Error>,
    /// Whether it wrote beyond the stated size of the table.
    pub wrote_beyond: bool,
    /// The size of the table that it returned, in bytes.
    pub filled: usize,
}

impl Probe {
    /// Loads the file without an allow-list; `trace` records each call into it.
    ///
    /// # Errors
    /// As for [`PluginSearch::load`](crate::plugin::PluginSearch::load) with a path.
    pub(crate) fn open(path: &Path, trace: Option<Arc<CallTrace>>) -> Result<Self> {
        let load = || Candidate::open(path)?.load(None);
        // Loading is traced as it runs the library's initialisers.
        Ok(Self { loaded: CallTrace::around(trace.as_deref(), "loading", load).0?, trace })
    }

    /// Initialises the plugin as a run does.
    ///
    /// # Errors
    /// As for [`PluginSearch::load`](crate::plugin::PluginSearch::load) with a path.
    pub(crate) fn plugin(&self) -> Result<Plugin> {
        let origin = Origin { sha256: Some(self.loaded.sha256.clone()), trace: self.trace.clone() };
        // SAFETY: the function has the symbol of an init function, which keeps the contract of `wf_plugin_entry`.
        unsafe { initialise(self.loaded.init, &self.loaded.source, origin) }
    }

    /// Initialises the plugin as a host of another version does: with that version and a table of `size` bytes.
    pub(crate) fn negotiate(&self, major: u32, minor: u32, size: usize) -> Negotiation {
        const MARK: u8 = 0xa5;
        // A plugin may keep the host's table until the process ends.
        let host: &'static wf_host = Box::leak(Box::new(wf_host { abi_major: major, abi_minor: minor, ..HOST }));
        let whole = size_of::<wf_plugin_api>();
        // A second table, so that writing beyond the stated size does no harm before it is noticed.
        let mut tables = [EMPTY_TABLE, EMPTY_TABLE];
        let bytes = tables.as_mut_ptr().cast::<u8>();
        let size = size.min(whole);
        let mut error = core::ptr::null_mut();
        // SAFETY: all reads and writes lie within `tables`, and the first table states a size that is not too large.
        let (code, wrote_beyond, filled) = unsafe {
            core::ptr::write_bytes(bytes.add(size), MARK, 2 * whole - size);
            tables.as_mut_ptr().cast::<usize>().write(size);
            let call = || (self.loaded.init)(core::ptr::from_ref(host), bytes.cast(), &raw mut error);
            let (code, _) = CallTrace::around(self.trace.as_deref(), "init", call);
            let beyond = core::slice::from_raw_parts(bytes.add(size), 2 * whole - size);
            (code, beyond.iter().any(|byte| *byte != MARK), tables.as_ptr().cast::<usize>().read())
        };
        // SAFETY: the plugin stores nothing but an error of `error_new`, and hands it over, by the ABI.
        let error = unsafe { from_c(error) };
        Negotiation { accepted: code == WF_OK, error, wrote_beyond, filled }
    }

    /// The ABI version of this host, major and minor.
    pub(crate) const fn version() -> (u32, u32) {
        (WF_ABI_MAJOR, WF_ABI_MINOR)
    }
}

impl Plugin {
    /// Requests weights, or the computed inputs of a network, with a buffer that is one element too small, with and
    /// without an error pointer. Returns what was wrong with the way in which the plugin failed, if anything.
    ///
    /// # Errors
    /// If the model cannot be created, or its network not be built.
    pub fn probe_small_buffers(&self, settings: &SettingValues, past: &Past) -> Result<Option<String>> {
        let model = self.instance(settings, &Context::default().checking())?;
        let assets = past.assets().len();
        let inputs: Vec<InputSource> = if self.is_network() {
            let builder = model.build(assets, past.feature_names())?.builder;
            builder.inputs().iter().map(|input| input.source.clone()).collect()
        } else {
            Vec::new()
        };
        for with_error in [true, false] {
            if !self.is_network()
                && let Some(fault) = model.probe_weights(past, assets - 1, with_error)?
            {
                return Ok(Some(fault));
            }
            for source in &inputs {
                let InputSource::Computed { index, shape, .. } = source else { continue };
                let count = shape.iter().map(|axis| axis.length(assets)).product::<usize>();
                if let Some(fault) = model.probe_compute(*index, past, count - 1, with_error)? {
                    return Ok(Some(fault));
                }
            }
        }
        model.destroy_null();
        Ok(None)
    }
}
