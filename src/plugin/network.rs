//! A plugin's network: builds it through the service `program`, and fills and checks its computed inputs.

use walkforge_plugin_abi::wf_network_shape;

use super::adapter::{Instance, PastView};
use super::error::string;
use crate::error::{Code, Error, Result, fail};
use crate::model::{AssetSet, Network, NetworkSpec, Requirements};
use crate::panel::Past;
use crate::plugin::checking::guarded_memory::OutputArray;
use crate::plugin::service::program::BuildState;

/// Bits of a quiet NaN with a payload that no arithmetic produces. It marks elements that a plugin did not write.
const UNWRITTEN: u32 = 0x7fd5_7a11;

impl Network for Instance {
    fn name(&self) -> &str {
        &self.table.name
    }

    fn requirements(&self) -> Requirements {
        self.requirements
    }

    fn asset_set(&self) -> AssetSet {
        self.asset_set
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
        let mut state = BuildState::new(assets, self.requirements.lookback, features);
        let built = self.table.call("build", |error| {
            // SAFETY: the model is alive; `shape` and `state`, which nobody else uses, live during the call.
            unsafe { build(self.handle, &raw const shape, (&raw mut state).cast(), error) }
        });
        // If a builder call failed, `build` may fail as a consequence: report the first failure, not that one.
        if !state.has_failed() {
            built?;
        }
        state.finish().map_err(|error| {
            let code = if error.code() == Code::Internal { Code::Internal } else { Code::Plugin };
            Error::new(code, format!("the network of plugin '{name}' cannot be used")).caused_by(error)
        })
    }

    fn compute(&self, input: usize, past: &Past, out: &mut [f32]) -> Result<()> {
        let name = &self.table.name;
        let Some(compute) = self.table.api.compute else {
            fail!(PluginAbi, "plugin '{name}' declares a computed input and has no function compute");
        };
        out.fill(f32::from_bits(UNWRITTEN));
        let capacity = out.len();
        let mut buffer = OutputArray::new(out, self.context.is_checking())?;
        let view = PastView::new(past, &self.context)?;
        let view = view.as_c()?;
        self.table.call("compute", |error| {
            // SAFETY: the model is alive, the past lives during the call, and the buffer has `capacity` elements.
            unsafe { compute(self.handle, input, view.as_ptr(), buffer.as_mut_ptr(), capacity, error) }
        })?;
        if !buffer.finish() {
            fail!(Plugin, "plugin '{name}' wrote before the first element of computed input {input}");
        }
        let is_invalid = |value: &f32| value.is_infinite() || value.to_bits() == UNWRITTEN;
        if let Some(index) = out.iter().position(is_invalid) {
            let found = if out[index].is_infinite() { "an infinite value" } else { "nothing" };
            fail!(
                Plugin,
                "plugin '{name}' wrote {found} to element {index} of computed input {input}; every element must be \
                 written, NaN where the value is missing"
            );
        }
        Ok(())
    }
}
