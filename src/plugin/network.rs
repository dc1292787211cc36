//! A plugin's network: described through the builder, its computed inputs filled and checked.

use walkforge_plugin_abi::{WF_UNIVERSE_BY_DATE, WF_UNIVERSE_FIXED, wf_network_shape};

use super::adapter::{Instance, PastView};
use super::error::{check, string};
use crate::error::{Code, Error, Result, fail};
use crate::model::{AssetSet, Network, NetworkSpec, Requirements};
use crate::panel::Past;
use crate::plugin::checking::guarded_memory::Guarded;
use crate::plugin::service::program::BuildState;

/// The universe by its number in the ABI.
pub(super) fn universe(plugin: &str, number: i32) -> Result<AssetSet> {
    match number {
        WF_UNIVERSE_BY_DATE => Ok(AssetSet::ByDate),
        WF_UNIVERSE_FIXED => Ok(AssetSet::Fixed),
        other => fail!(
            Plugin,
            "plugin '{plugin}' asks for universe {other}; allowed are WF_UNIVERSE_BY_DATE (0) and WF_UNIVERSE_FIXED (1)"
        ),
    }
}

impl Network for Instance {
    fn name(&self) -> &str {
        &self.table.name
    }

    fn requirements(&self) -> Requirements {
        self.needs
    }

    fn asset_set(&self) -> AssetSet {
        self.universe
    }

    fn build(&self, assets: usize, features: &[String]) -> Result<NetworkSpec> {
        let name = &self.table.name;
        let Some(build) = self.table.api.build else { fail!(PluginAbi, "plugin '{name}' has no function build") };
        let names: Vec<_> = features.iter().map(|feature| string(feature)).collect();
        let shape = wf_network_shape {
            struct_size: size_of::<wf_network_shape>(),
            assets,
            feature_count: names.len(),
            features: names.as_ptr(),
        };
        let mut under = BuildState::new(assets, self.needs.lookback, features);
        let mut error = core::ptr::null_mut();
        // SAFETY: the instance is the plugin's own; shape and program live during the call, the program is ours alone.
        let told = unsafe {
            let program = (&raw mut under).cast();
            let status = self.table.calling("build", || build(self.handle, &raw const shape, program, &raw mut error));
            check(name, "build", status, error)
        };
        // A build that looks at what it gets fails too where a call failed, and cannot know why.
        if !under.has_failed() {
            told?;
        }
        under.finish().map_err(|error| {
            let code = if error.code() == Code::Internal { Code::Internal } else { Code::Plugin };
            Error::new(code, format!("the network of plugin '{name}' cannot be used")).caused_by(error)
        })
    }

    fn compute(&self, input: usize, past: &Past, out: &mut [f32]) -> Result<()> {
        let name = &self.table.name;
        let Some(compute) = self.table.api.compute else {
            fail!(PluginAbi, "plugin '{name}' declares a computed input and has no function compute");
        };
        // What is not written is told from what was written as missing by this pattern, a NaN that no arithmetic makes.
        out.fill(f32::from_bits(UNWRITTEN));
        let mut guarded = if self.context.is_checking() { Some(Guarded::new(out)?) } else { None };
        let room = guarded.as_mut().map_or(out.as_mut_ptr(), Guarded::as_mut_ptr);
        let shown = PastView::new(past, &self.context)?;
        let view = shown.as_c()?;
        let mut error = core::ptr::null_mut();
        // SAFETY: the past lives during the call, and there is room for as many numbers as are said.
        unsafe {
            let count = out.len();
            let status = self
                .table
                .calling("compute", || compute(self.handle, input, view.as_ptr(), room, count, &raw mut error));
            check(name, "compute", status, error)?;
        }
        if let Some(guarded) = &guarded {
            if !guarded.is_intact_before() {
                fail!(Plugin, "plugin '{name}' wrote before the first number of the input that it was to compute");
            }
            out.copy_from_slice(&guarded.to_vec());
        }
        let bad = |value: &f32| value.is_infinite() || value.to_bits() == UNWRITTEN;
        if let Some(at) = out.iter().position(bad) {
            let found = if out[at].is_infinite() { "an infinite number" } else { "nothing" };
            fail!(
                Plugin,
                "plugin '{name}' wrote {found} at place {at} of computed input {input}; every number must be written, NaN \
                 where there is none"
            );
        }
        Ok(())
    }
}

/// Bits of a quiet NaN with a payload of its own.
const UNWRITTEN: u32 = 0x7fd5_7a11;
