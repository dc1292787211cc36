//! Calls that no run makes, to see what a plugin does with them: hosts of other versions, buffers that are too small,
//! null where null is allowed. For the conformance suite, in a process that may end.

use std::path::Path;
use std::sync::Arc;

use walkforge_plugin_abi::{WF_ABI_MAJOR, WF_ABI_MINOR, WF_OK, wf_host, wf_plugin_api};

use crate::error::{Error, Result};
use crate::model::{Context, Factory, InputSource, Network};
use crate::panel::Past;
use crate::plugin::adapter::{Origin, Plugin};
use crate::plugin::checking::call_trace::CallTrace;
use crate::plugin::error::from_c;
use crate::plugin::library::{Candidate, Loaded};
use crate::plugin::load::{EMPTY, understand};
use crate::plugin::service::HOST;
use crate::settings::SettingValues;

/// A plugin file that was loaded and not yet initialised.
pub struct Probe {
    loaded: Loaded,
    trail: Option<Arc<CallTrace>>,
}

/// What a plugin's entry did with a host of a given version.
pub struct Negotiation {
    /// Whether it returned `WF_OK`.
    pub accepted: bool,
    /// The error that it gave.
    pub error: Option<Error>,
    /// Whether it wrote beyond the size that the table stated.
    pub wrote_beyond: bool,
    /// The size of the table that it states to have filled.
    pub filled: usize,
}

impl Probe {
    /// Loads the file, whatever it is; `trail` hears of each call into it.
    ///
    /// # Errors
    /// As for loading a plugin by its path.
    pub fn open(path: &Path, trail: Option<Arc<CallTrace>>) -> Result<Self> {
        let load = || Candidate::open(path)?.load(None);
        // Its initialisers run.
        Ok(Self { loaded: CallTrace::around(trail.as_deref(), "loading", load)?, trail })
    }

    /// The plugin, as a run gets it.
    ///
    /// # Errors
    /// As for loading a plugin by its path.
    pub fn plugin(&self) -> Result<Plugin> {
        let origin = Origin { sha256: Some(self.loaded.sha256.clone()), trail: self.trail.clone() };
        // SAFETY: the function is a plugin's entry, as its symbol says.
        unsafe { understand(self.loaded.init, &self.loaded.source, origin) }
    }

    /// Initialises it as a host of another version would: with that version, and room for `size` bytes of its table.
    pub fn negotiate(&self, major: u32, minor: u32, size: usize) -> Negotiation {
        const MARK: u8 = 0xa5;
        // A plugin may keep the table as long as the process lives.
        let host: &'static wf_host = Box::leak(Box::new(wf_host { abi_major: major, abi_minor: minor, ..HOST }));
        let whole = size_of::<wf_plugin_api>();
        // Room for a table and as much again, so that writing beyond its stated size does no harm before it is seen.
        let mut room = [EMPTY, EMPTY];
        let bytes = room.as_mut_ptr().cast::<u8>();
        let size = size.min(whole);
        let mut error = core::ptr::null_mut();
        // SAFETY: two tables of ours; the first states a size that is not larger than it is.
        let (status, wrote_beyond, filled) = unsafe {
            core::ptr::write_bytes(bytes.add(size), MARK, 2 * whole - size);
            room.as_mut_ptr().cast::<usize>().write(size);
            let call = || (self.loaded.init)(core::ptr::from_ref(host), bytes.cast(), &raw mut error);
            let status = CallTrace::around(self.trail.as_deref(), "init", call);
            let beyond = core::slice::from_raw_parts(bytes.add(size), 2 * whole - size);
            (status, beyond.iter().any(|byte| *byte != MARK), room.as_ptr().cast::<usize>().read())
        };
        // SAFETY: null, or made by our `error_new` and handed over.
        let error = unsafe { from_c(error) };
        Negotiation { accepted: status == WF_OK, error, wrote_beyond, filled }
    }

    /// The version of this host.
    pub const fn version() -> (u32, u32) {
        (WF_ABI_MAJOR, WF_ABI_MINOR)
    }
}

impl Plugin {
    /// Asks for weights, or for the computed inputs of a network, with room for one number too few, with and without a place
    /// for the error; gives what was wrong with the answer.
    ///
    /// # Errors
    /// As for making a model; and what the plugin should not have done.
    pub fn answer_into_too_little(&self, settings: &SettingValues, past: &Past) -> Result<Option<String>> {
        let model = self.instance(settings, &Context::default().checking())?;
        let assets = past.assets().len();
        let inputs = if self.is_network() { model.build(assets, past.feature_names())?.inputs } else { Vec::new() };
        for with_error in [true, false] {
            if !self.is_network()
                && let Some(fault) = model.weigh_into(past, assets - 1, with_error)?
            {
                return Ok(Some(fault));
            }
            for source in &inputs {
                let InputSource::Computed { index, shape, .. } = source else { continue };
                let count = shape.iter().map(|axis| axis.length(assets)).product::<usize>();
                if let Some(fault) = model.compute_into(*index, past, count - 1, with_error)? {
                    return Ok(Some(fault));
                }
            }
        }
        model.destroy_null();
        Ok(None)
    }
}
