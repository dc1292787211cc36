//! Networks: a model that describes itself once and is trained, differentiated and run by the host.

use core::ffi::c_void;

use walkforge_plugin_abi::{
    WF_ABI_MAJOR, WF_ABI_MINOR, WF_AXIS_ASSETS, WF_NO_VALUE, WF_UNIVERSE_BY_DATE, WF_UNIVERSE_FIXED, wf_error, wf_host,
    wf_network_shape, wf_past, wf_plugin_api, wf_program, wf_program_service, wf_value,
};

use crate::boundary::{
    create_model, describe_as, destroy_model, entered, guard, read_string, require, service, string, with_past,
};
use crate::{Context, Error, Past, Requirements, Settings};

/// Which assets a network sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AssetSet {
    /// Those that may be weighed at each date; its parameters do not depend on how many there are.
    ByDate,
    /// The same assets in the same places throughout a window.
    Fixed,
}

/// A model that the host trains.
pub trait Network: Sized + Send + Sync {
    /// JSON: `name`, `version`, `kind` (`network`), `doc` and `settings`, each with `name`, `type`, `default`, `doc` and, for
    /// numbers, `minimum` and `maximum`.
    const DESCRIPTION: &'static str;

    /// Whether [`Network::compute`] fills any input.
    const COMPUTES: bool = false;

    /// Makes a model from settings that the host has checked against the description.
    fn create(settings: &Settings, context: Context) -> Result<Self, Error>;

    /// What the model needs to be shown.
    fn requirements(&self) -> Requirements;

    /// Which assets it sees.
    fn universe(&self) -> AssetSet {
        AssetSet::ByDate
    }

    /// Describes the network: inputs, layers, output. A failure of the builder is told by the host, with op and shapes; nothing
    /// need be checked here.
    fn build(&self, shape: &Shape, program: &mut Program) -> Result<(), Error>;

    /// Fills the computed input of this number (from 0, in the order of their declaration) for the as-of row of `past`: row-major,
    /// with the assets of `past` in place of [`Axis::Assets`], NaN where there is no number.
    fn compute(&self, _input: usize, _past: &Past, _out: &mut [f32]) -> Result<(), Error> {
        Err(Error::new("the network computes no input"))
    }
}

/// What a network is described for.
#[derive(Clone, Copy, Debug)]
pub struct Shape<'a> {
    /// Assets that it has places for.
    pub assets: usize,
    /// Names of the feature planes that the data have, sorted.
    pub features: &'a [&'a str],
}

/// An input, a parameter or what an op gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Value(wf_value);

/// An axis of a computed input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Axis {
    /// As many as there are assets.
    Assets,
    /// A number.
    Of(usize),
}

/// A network under description. Shapes are those of one sample, a date.
pub struct Program {
    program: *mut wf_program,
    service: &'static wf_program_service,
}

impl Program {
    /// The last `rows` rows of a plane, `[rows, assets]`: `returns` or a feature plane, scored; `known` or `members`, 1 or 0.
    pub fn trailing(&mut self, plane: &str, rows: usize) -> Value {
        // SAFETY: the program is the host's and valid during `build`, here as in every function below; texts live.
        Value(unsafe { (self.service.trailing)(self.program, string(plane), rows) })
    }

    /// 1 where the asset may be weighed, else 0, `[assets]`.
    pub fn mask(&mut self) -> Value {
        // SAFETY: as in `trailing`.
        Value(unsafe { (self.service.mask)(self.program) })
    }

    /// An input that [`Network::compute`] fills. With `normalise`, each place of the last axis is scored with mean and
    /// deviation of the train span.
    pub fn computed(&mut self, name: &str, shape: &[Axis], normalise: bool) -> Value {
        let axis = |axis: &Axis| if let Axis::Of(length) = axis { *length } else { WF_AXIS_ASSETS };
        let axes: Vec<usize> = shape.iter().map(axis).collect();
        let normalise = i32::from(normalise);
        // SAFETY: as in `trailing`; there are as many axes as are said.
        Value(unsafe { (self.service.computed)(self.program, string(name), axes.as_ptr(), axes.len(), normalise) })
    }

    /// A parameter that begins uniform in [-bound, bound).
    pub fn parameter(&mut self, name: &str, shape: &[usize], bound: f32) -> Value {
        // SAFETY: as in `computed`.
        Value(unsafe { (self.service.parameter)(self.program, string(name), shape.as_ptr(), shape.len(), bound, 0.0) })
    }

    /// A parameter that begins at `middle`.
    pub fn constant(&mut self, name: &str, shape: &[usize], middle: f32) -> Value {
        // SAFETY: as in `computed`.
        Value(unsafe { (self.service.parameter)(self.program, string(name), shape.as_ptr(), shape.len(), 0.0, middle) })
    }

    /// x Wᵀ + b with parameters `name.weight` and `name.bias`.
    pub fn linear(&mut self, name: &str, x: Value, outputs: usize) -> Value {
        // SAFETY: as in `trailing`.
        Value(unsafe { (self.service.linear)(self.program, string(name), x.0, outputs) })
    }

    /// An LSTM layer, `[…, steps, hidden]` of `[…, steps, inputs]`.
    pub fn lstm(&mut self, name: &str, x: Value, hidden: usize) -> Value {
        // SAFETY: as in `trailing`.
        Value(unsafe { (self.service.lstm)(self.program, string(name), x.0, hidden) })
    }

    /// Layer normalisation over the last axis.
    pub fn layer_norm(&mut self, name: &str, x: Value) -> Value {
        // SAFETY: as in `trailing`.
        Value(unsafe { (self.service.layer_norm)(self.program, string(name), x.0) })
    }

    /// Multi-head attention of a sequence `[steps, width]` to itself.
    pub fn attention(&mut self, name: &str, x: Value, heads: usize) -> Value {
        // SAFETY: as in `trailing`.
        Value(unsafe { (self.service.attention)(self.program, string(name), x.0, heads) })
    }

    /// Dropout of a share, in training alone.
    pub fn dropout(&mut self, x: Value, share: f32) -> Value {
        // SAFETY: as in `trailing`.
        Value(unsafe { (self.service.dropout)(self.program, x.0, share) })
    }

    /// Any op by its name, such as `slice` with `axis=0 start=59 length=1`.
    pub fn op(&mut self, name: &str, operands: &[Value], attributes: &str) -> Value {
        let operands: Vec<wf_value> = operands.iter().map(|operand| operand.0).collect();
        let (count, attributes) = (operands.len(), string(attributes));
        // SAFETY: as in `trailing`; there are as many operands as are said.
        Value(unsafe { (self.service.op)(self.program, string(name), operands.as_ptr(), count, attributes) })
    }

    /// The same numbers in another shape.
    pub fn reshape(&mut self, x: Value, shape: &[usize]) -> Value {
        self.op("reshape", &[x], &format!("shape={shape:?}"))
    }

    /// The axes in another order.
    pub fn transpose(&mut self, x: Value, order: &[usize]) -> Value {
        self.op("transpose", &[x], &format!("order={order:?}"))
    }

    /// Several values side by side along an axis.
    pub fn concat(&mut self, parts: &[Value], axis: usize) -> Value {
        self.op("concat", parts, &format!("axis={axis}"))
    }

    /// Places `start` to `start + length` of an axis.
    pub fn slice(&mut self, x: Value, axis: usize, start: usize, length: usize) -> Value {
        self.op("slice", &[x], &format!("axis={axis} start={start} length={length}"))
    }

    /// The shape of a value; empty for one that is none.
    pub fn shape(&self, x: Value) -> Vec<usize> {
        let mut axes = [0; 8];
        if x.0 == WF_NO_VALUE {
            return Vec::new();
        }
        // SAFETY: as in `trailing`; there is room for as many axes as are said.
        let count = unsafe { (self.service.shape)(self.program, x.0, axes.as_mut_ptr(), axes.len()) };
        axes[..count.min(axes.len())].to_vec()
    }

    /// What the network gives: scores `[assets]`, or `[rows, assets]` for the last rows.
    pub fn output_scores(&mut self, value: Value) {
        // SAFETY: as in `trailing`.
        unsafe { (self.service.output_scores)(self.program, value.0) }
    }

    /// What the network gives: weights of the same shapes, which sum to 1 over the assets.
    pub fn output_weights(&mut self, value: Value) {
        // SAFETY: as in `trailing`.
        unsafe { (self.service.output_weights)(self.program, value.0) }
    }
}

/// Fills the host's table with the functions of `N`.
///
/// # Safety
/// As for [`crate::initialise`].
pub unsafe fn initialise_network<N: Network>(
    host: *const wf_host,
    out: *mut wf_plugin_api,
    error: *mut *mut wf_error,
) -> i32 {
    let api = wf_plugin_api {
        struct_size: size_of::<wf_plugin_api>(),
        abi_major: WF_ABI_MAJOR,
        abi_minor: WF_ABI_MINOR,
        describe: Some(describe::<N>),
        create: Some(create::<N>),
        destroy: Some(destroy_model::<N>),
        requirements: Some(requirements::<N>),
        fit: None,
        weights: None,
        scores: None,
        build: Some(build::<N>),
        compute: if N::COMPUTES { Some(compute::<N>) } else { None },
    };
    // SAFETY: as demanded of the caller.
    unsafe { entered(host, out, error, &api) }
}

unsafe extern "C" fn describe<N: Network>(out: *mut walkforge_plugin_abi::wf_string, error: *mut *mut wf_error) -> i32 {
    // SAFETY: the host passes room for one string.
    unsafe { describe_as(N::DESCRIPTION, out, error) }
}

unsafe extern "C" fn create<N: Network>(
    context: *const walkforge_plugin_abi::wf_context,
    settings: *const walkforge_plugin_abi::wf_settings,
    model: *mut *mut c_void,
    error: *mut *mut wf_error,
) -> i32 {
    // SAFETY: the host passes its context and settings, and room for one pointer.
    unsafe { create_model(context, settings, model, error, N::create) }
}

unsafe extern "C" fn requirements<N: Network>(
    model: *const c_void,
    out: *mut walkforge_plugin_abi::wf_requirements,
    error: *mut *mut wf_error,
) -> i32 {
    guard(error, || {
        // SAFETY: `model` was made by `create::<N>`; `out` is the host's room for one struct of the size it says.
        unsafe {
            let model = &*model.cast::<N>();
            let universe = match model.universe() {
                AssetSet::ByDate => WF_UNIVERSE_BY_DATE,
                AssetSet::Fixed => WF_UNIVERSE_FIXED,
            };
            require(model.requirements(), universe, out);
        }
        Ok(())
    })
}

unsafe extern "C" fn build<N: Network>(
    model: *const c_void,
    shape: *const wf_network_shape,
    program: *mut wf_program,
    error: *mut *mut wf_error,
) -> i32 {
    guard(error, || {
        // SAFETY: `model` was made by `create::<N>`; shape and program are the host's and valid during the call.
        unsafe {
            let shape = &*shape;
            let features: Vec<&str> = if shape.feature_count == 0 {
                Vec::new()
            } else {
                core::slice::from_raw_parts(shape.features, shape.feature_count)
                    .iter()
                    .map(|name| read_string(name))
                    .collect()
            };
            let service = service::<wf_program_service>("program", 1)?;
            let shape = Shape { assets: shape.assets, features: &features };
            (*model.cast::<N>()).build(&shape, &mut Program { program, service })
        }
    })
}

unsafe extern "C" fn compute<N: Network>(
    model: *const c_void,
    input: usize,
    past: *const wf_past,
    out: *mut f32,
    capacity: usize,
    error: *mut *mut wf_error,
) -> i32 {
    guard(error, || {
        // SAFETY: `model` was made by `create::<N>`; the past is valid; `out` has room for `capacity` numbers, all of them set.
        unsafe {
            let out = core::slice::from_raw_parts_mut(out, capacity);
            with_past(past, |past| (*model.cast::<N>()).compute(input, past, out))
        }
    })
}

/// Exports a [`Network`] under its init symbol: `export_network!(wf_plugin_init_lstm, Lstm);`
#[macro_export]
macro_rules! export_network {
    ($symbol:ident, $model:ty) => {
        /// The plugin's entry.
        ///
        /// # Safety
        /// The host passes its table and room for ours, as `wf_plugin_entry` demands.
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $symbol(
            host: *const $crate::abi::wf_host,
            out: *mut $crate::abi::wf_plugin_api,
            error: *mut *mut $crate::abi::wf_error,
        ) -> i32 {
            // SAFETY: the host keeps the promises of `wf_plugin_entry`, which are those of `initialise_network`.
            unsafe { $crate::initialise_network::<$model>(host, out, error) }
        }
    };
}
