//! Networks: models that describe themselves and that the host differentiates, trains and runs.

use core::ffi::c_void;

use walkforge_plugin_abi::{
    WF_ABI_MAJOR, WF_ABI_MINOR, WF_ASSETS_BY_DATE, WF_ASSETS_FIXED, WF_AXIS_ASSETS, WF_NO_VALUE, wf_context, wf_error,
    wf_host, wf_network_shape, wf_past, wf_plugin_api, wf_program, wf_program_service, wf_requirements, wf_settings,
    wf_string, wf_value,
};

use crate::boundary::{
    borrow_model, create_model, destroy_model, exchange_tables, guard, read_string, service, string, with_past,
    write_description, write_requirements,
};
use crate::{Context, Error, Past, Requirements, Settings};

/// Which assets a network sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AssetSet {
    /// The assets that are eligible at each date. Parameters must not depend on their number.
    ByDate,
    /// One fixed list of assets throughout a window: those eligible at the first decision of its validation span. At a
    /// date on which one of them is not eligible, it is masked out and its inputs are 0.
    Fixed,
}

/// A neural network that the host trains.
///
/// [`Network::build`] describes inputs, layers and output. The host differentiates the network, trains it on the
/// objective that the user chose, and turns its output into weights.
///
/// # Example
/// A whole plugin: one hidden layer, with parameters shared by all assets, scores each asset by its own past.
///
/// ```
/// use walkforge_plugin::{
///     AssetSet, Axis, Context, Error, Network, Past, Program, Requirements, Settings, Shape, export_network,
/// };
///
/// const LOOKBACK: usize = 60;
///
/// pub struct Mlp {
///     hidden: usize,
/// }
///
/// impl Network for Mlp {
///     const DESCRIPTION: &'static str = r#"{"name": "mlp", "version": "1.0.0", "kind": "network",
///         "doc": "a multilayer perceptron over the past of each asset",
///         "settings": [{"name": "hidden_size", "type": "integer", "minimum": 1, "maximum": 4096, "default": 32,
///                       "doc": "units of the hidden layer"}]}"#;
///     const COMPUTES: bool = true;
///
///     fn create(settings: &Settings, _context: Context) -> Result<Self, Error> {
///         let hidden = settings.count("hidden_size").ok_or_else(|| Error::new("setting 'hidden_size' is missing"))?;
///         Ok(Self { hidden })
///     }
///
///     fn requirements(&self) -> Requirements {
///         Requirements { lookback: LOOKBACK, min_history: LOOKBACK / 2 }
///     }
///
///     fn asset_set(&self) -> AssetSet {
///         AssetSet::ByDate
///     }
///
///     fn build(&self, shape: &Shape, program: &mut Program) -> Result<(), Error> {
///         let returns = program.trailing("returns", LOOKBACK); // [60, assets]
///         let returns = program.transpose(returns, &[1, 0]); // [assets, 60]
///         let momentum = program.computed("momentum", &[Axis::Assets, Axis::Fixed(1)], true); // [assets, 1]
///         let x = program.concat(&[returns, momentum], 1); // [assets, 61]
///         let x = program.linear("hidden", x, self.hidden);
///         let x = program.op("relu", &[x], "");
///         let x = program.linear("head", x, 1); // [assets, 1]
///         let scores = program.reshape(x, &[shape.assets]);
///         program.output_scores(scores);
///         Ok(())
///     }
///
///     // The growth of each asset over the lookback, `[assets, 1]`.
///     fn compute(&self, _input: usize, past: &Past, out: &mut [f32]) -> Result<(), Error> {
///         let assets = past.names.len();
///         for (asset, value) in out.iter_mut().enumerate() {
///             let returns = past.returns.iter().skip(asset).step_by(assets).filter(|value| !value.is_nan());
///             *value = (returns.map(|value| 1.0 + value).product::<f64>() - 1.0) as f32;
///         }
///         Ok(())
///     }
/// }
///
/// export_network!(wf_plugin_init_mlp, Mlp);
///
/// // Computed inputs can be tested without a host.
/// let past = Past {
///     dates: &[19_358, 19_359],
///     names: &["A", "B"],
///     returns: &[0.5, 0.0, 0.5, f64::NAN],
///     members: &[1; 4],
///     features: &[],
///     constant_within: &[1e-12; 2],
///     context: Context::DETACHED,
/// };
/// let mut momentum = [0.0; 2];
/// Mlp { hidden: 32 }.compute(0, &past, &mut momentum)?;
/// assert_eq!(momentum, [1.25, 0.0]);
/// # Ok::<(), Error>(())
/// ```
pub trait Network: Sized + Send + Sync {
    /// A JSON object with `name`, `version`, `kind` (`network`), `doc` and `settings`. Each setting has `name`, `type`,
    /// `default` and `doc`; numbers also have `minimum` and `maximum`, a choice has `choices`.
    const DESCRIPTION: &'static str;

    /// Whether the network implements [`Network::compute`].
    const COMPUTES: bool = false;

    /// Creates a model from settings that the host has validated against the description.
    ///
    /// # Errors
    /// [`Error::setting`] for a combination of settings that the description cannot exclude.
    fn create(settings: &Settings, context: Context) -> Result<Self, Error>;

    /// Returns the data that the network needs at a date.
    fn requirements(&self) -> Requirements;

    /// Returns which assets the network sees, by default [`AssetSet::ByDate`].
    fn asset_set(&self) -> AssetSet {
        AssetSet::ByDate
    }

    /// Describes inputs, layers and output to `program`.
    ///
    /// Called several times for one model, with different numbers of assets. The host reports the first call of
    /// `program` that failed, with the op and its shapes, so nothing needs to be checked here.
    ///
    /// # Errors
    /// For a reason of the plugin's own.
    fn build(&self, shape: &Shape, program: &mut Program) -> Result<(), Error>;

    /// Fills computed input `input` for the as-of row of `past`.
    ///
    /// Inputs are counted from 0 in the order in which [`Network::build`] declares them. `out` is row-major, with the
    /// number of assets of `past` for each [`Axis::Assets`]; every element must be written, NaN where the value is
    /// missing.
    ///
    /// # Errors
    /// [`Error::data`] if the input cannot be computed from `past`. The default implementation always fails.
    fn compute(&self, _input: usize, _past: &Past, _out: &mut [f32]) -> Result<(), Error> {
        Err(Error::new("the network computes no input"))
    }
}

/// The sizes for which [`Network::build`] describes a network.
#[derive(Clone, Copy, Debug)]
pub struct Shape<'a> {
    /// Number of assets, at least 1.
    pub assets: usize,
    /// Names of the feature planes in the data, sorted.
    pub features: &'a [&'a str],
}

/// A tensor of a network: an input, a parameter or the output of an op.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Value(wf_value);

/// One axis of a computed input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Axis {
    /// The axis of the assets, as long as their number.
    Assets,
    /// An axis of this length.
    Fixed(usize),
}

/// The network that [`Network::build`] describes.
///
/// Shapes are those of one sample, a date; the host adds the batch axis. A method that fails returns a value without
/// shape, and every use of such a value fails too; the host reports the first failure when `build` returns.
///
/// ```
/// use walkforge_plugin::{Context, Error, Network, Program, Requirements, Settings, Shape, export_network};
///
/// struct Recurrent;
///
/// impl Network for Recurrent {
/// #   const DESCRIPTION: &'static str = r#"{"name": "recurrent", "version": "1.0.0", "kind": "network"}"#;
/// #   fn create(_settings: &Settings, _context: Context) -> Result<Self, Error> { Ok(Self) }
/// #   fn requirements(&self) -> Requirements { Requirements { lookback: 60, min_history: 30 } }
///     fn build(&self, shape: &Shape, program: &mut Program) -> Result<(), Error> {
///         let returns = program.trailing("returns", 60);
///         let states = program.lstm("lstm.0", returns, 32);
///         let last = program.slice(states, 0, 59, 1);
///         let last = program.reshape(last, &[32]);
///         let scores = program.linear("head", last, shape.assets);
///         program.output_scores(scores);
///         // For three assets:
///         assert_eq!(program.shape(returns), [60, 3]);
///         assert_eq!(program.shape(states), [60, 32]);
///         assert_eq!(program.shape(scores), [3]);
///         Ok(())
///     }
///     // …
/// }
/// # use walkforge::internals::model::{Factory as _, Model};
/// # export_network!(wf_plugin_init_recurrent, Recurrent);
/// # let plugin = unsafe { walkforge::register(wf_plugin_init_recurrent, "recurrent") }.unwrap();
/// # let settings = walkforge::internals::settings::SettingValues::check("model", &[], &serde_json::Map::new()).unwrap();
/// # let model = plugin.create(&settings, &walkforge::internals::model::Context::default()).unwrap();
/// # let Model::Network(network) = model else { panic!("a network is one") };
/// # network.build(3, &[]).unwrap();
/// ```
pub struct Program {
    program: *mut wf_program,
    service: &'static wf_program_service,
}

/// Calls a function of the service `program` with the program of `$self` as first argument.
macro_rules! call {
    ($self:ident.$function:ident($($argument:expr),*)) => {{
        // SAFETY: `build` received the program and outlives `self`; strings and arrays among the arguments are borrowed
        // during the call and have the lengths passed with them.
        unsafe { ($self.service.$function)($self.program, $($argument),*) }
    }};
}

impl Program {
    /// Adds an input: the last `rows` rows of a plane up to and including the as-of row, `[rows, assets]`, oldest
    /// first.
    ///
    /// `plane` is `returns` or the name of a feature plane, standardised with the mean and the standard deviation of
    /// the train span, 0 where missing; or `known`, 1 where the return is present, else 0; or `members`, 1 where the
    /// asset may be held after a decision at that row, else 0. `rows` is at most the lookback of the requirements.
    pub fn trailing(&mut self, plane: &str, rows: usize) -> Value {
        Value(call!(self.trailing(string(plane), rows)))
    }

    /// Adds an input `[assets]`: 1 if the asset is eligible at the as-of row, else 0.
    pub fn mask(&mut self) -> Value {
        Value(call!(self.mask()))
    }

    /// Adds an input that [`Network::compute`] fills, with at most 8 axes.
    ///
    /// If `normalise` is true, each index of the last axis is standardised with its mean and standard deviation over
    /// the train span. NaN becomes 0 either way.
    pub fn computed(&mut self, name: &str, shape: &[Axis], normalise: bool) -> Value {
        let axis = |axis: &Axis| if let Axis::Fixed(length) = axis { *length } else { WF_AXIS_ASSETS };
        let axes: Vec<usize> = shape.iter().map(axis).collect();
        Value(call!(self.computed(string(name), axes.as_ptr(), axes.len(), i32::from(normalise))))
    }

    /// Adds a parameter that is initialised uniformly in [-bound, bound).
    pub fn parameter(&mut self, name: &str, shape: &[usize], bound: f32) -> Value {
        Value(call!(self.parameter(string(name), shape.as_ptr(), shape.len(), bound, 0.0)))
    }

    /// Adds a parameter of which every element is initialised to `value`.
    pub fn constant(&mut self, name: &str, shape: &[usize], value: f32) -> Value {
        Value(call!(self.parameter(string(name), shape.as_ptr(), shape.len(), 0.0, value)))
    }

    /// Adds a linear layer, x Wᵀ + b, that maps `[…, inputs]` to `[…, outputs]`, with the parameters `name.weight`,
    /// `[outputs, inputs]`, and `name.bias`, `[outputs]`.
    pub fn linear(&mut self, name: &str, x: Value, outputs: usize) -> Value {
        Value(call!(self.linear(string(name), x.0, outputs)))
    }

    /// Adds an LSTM layer that maps sequences `[…, steps, inputs]` to their hidden states, `[…, steps, hidden]`.
    /// Parameters, gate order and initialisation are PyTorch's.
    pub fn lstm(&mut self, name: &str, x: Value, hidden: usize) -> Value {
        Value(call!(self.lstm(string(name), x.0, hidden)))
    }

    /// Adds a causal convolution over time that maps sequences `[…, steps, channels]` to `[…, steps, filters]`: each step
    /// sees itself and the `kernel` − 1 steps before it that are multiples of `dilation` away. Parameters `name.weight`,
    /// `[filters, channels, kernel]`, and `name.bias`, `[filters]`, and their initialisation are PyTorch's.
    pub fn causal_conv1d(&mut self, name: &str, x: Value, filters: usize, kernel: usize, dilation: usize) -> Value {
        let channels = self.shape(x).last().copied().unwrap_or(1);
        let bound = 1.0 / ((channels * kernel) as f32).sqrt();
        let weight = self.parameter(&format!("{name}.weight"), &[filters, channels, kernel], bound);
        let bias = self.parameter(&format!("{name}.bias"), &[filters], bound);
        self.op("conv1d", &[x, weight, bias], &format!("dilation={dilation} causal=true"))
    }

    /// Adds layer normalisation over the last axis, with the parameters `name.scale` and `name.shift`.
    pub fn layer_norm(&mut self, name: &str, x: Value) -> Value {
        Value(call!(self.layer_norm(string(name), x.0)))
    }

    /// Adds multi-head self-attention over a sequence `[steps, width]`; `heads` must divide `width`.
    pub fn attention(&mut self, name: &str, x: Value, heads: usize) -> Value {
        Value(call!(self.attention(string(name), x.0, heads)))
    }

    /// Adds dropout: in training each element is zeroed with probability `share` and otherwise divided by 1 − `share`.
    pub fn dropout(&mut self, x: Value, share: f32) -> Value {
        Value(call!(self.dropout(x.0, share)))
    }

    /// Adds any op by its name, such as `slice` with the attributes `axis=0 start=59 length=1`. The plugin guide lists
    /// all ops.
    pub fn op(&mut self, name: &str, operands: &[Value], attributes: &str) -> Value {
        let operands: Vec<wf_value> = operands.iter().map(|operand| operand.0).collect();
        Value(call!(self.op(string(name), operands.as_ptr(), operands.len(), string(attributes))))
    }

    /// Changes the shape and keeps the elements in row-major order.
    pub fn reshape(&mut self, x: Value, shape: &[usize]) -> Value {
        self.op("reshape", &[x], &format!("shape={shape:?}"))
    }

    /// Permutes the axes: axis `i` of the result is axis `order[i]` of `x`.
    pub fn transpose(&mut self, x: Value, order: &[usize]) -> Value {
        self.op("transpose", &[x], &format!("order={order:?}"))
    }

    /// Concatenates values along an axis.
    pub fn concat(&mut self, parts: &[Value], axis: usize) -> Value {
        self.op("concat", parts, &format!("axis={axis}"))
    }

    /// Takes the indices `start` to `start + length`, exclusive, of an axis.
    pub fn slice(&mut self, x: Value, axis: usize, start: usize, length: usize) -> Value {
        self.op("slice", &[x], &format!("axis={axis} start={start} length={length}"))
    }

    /// Returns the shape of a value; empty for the result of a method that failed.
    pub fn shape(&self, x: Value) -> Vec<usize> {
        let mut axes = [0; 8];
        if x.0 == WF_NO_VALUE {
            return Vec::new();
        }
        let count = call!(self.shape(x.0, axes.as_mut_ptr(), axes.len()));
        axes[..count.min(axes.len())].to_vec()
    }

    /// Sets the output of the network to scores, higher is better: `[assets]`, or `[rows, assets]` for the last `rows`
    /// dates.
    pub fn output_scores(&mut self, value: Value) {
        call!(self.output_scores(value.0));
    }

    /// Sets the output of the network to weights, `[assets]` or `[rows, assets]`, that sum to 1 over the assets of each
    /// date and are 0 where [`Program::mask`] is 0.
    pub fn output_weights(&mut self, value: Value) {
        call!(self.output_weights(value.0));
    }
}

/// Initialises a plugin of the network `N`.
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
    // SAFETY: the caller keeps the contract of `wf_plugin_entry`.
    unsafe { exchange_tables(host, out, error, &api) }
}

// The functions of the table. The host calls them by the contract in `boundary`.

unsafe extern "C" fn describe<N: Network>(out: *mut wf_string, error: *mut *mut wf_error) -> i32 {
    // SAFETY: `out` is writable by the host's contract.
    unsafe { write_description(N::DESCRIPTION, out, error) }
}

unsafe extern "C" fn create<N: Network>(
    context: *const wf_context,
    settings: *const wf_settings,
    model: *mut *mut c_void,
    error: *mut *mut wf_error,
) -> i32 {
    // SAFETY: context, settings and `model` are as the host's contract says.
    unsafe { create_model(context, settings, model, error, N::create) }
}

unsafe extern "C" fn requirements<N: Network>(
    model: *const c_void,
    out: *mut wf_requirements,
    error: *mut *mut wf_error,
) -> i32 {
    guard(error, || {
        // SAFETY: model and `out` are as the host's contract says.
        unsafe {
            let model = borrow_model::<N>(model);
            let assets = match model.asset_set() {
                AssetSet::ByDate => WF_ASSETS_BY_DATE,
                AssetSet::Fixed => WF_ASSETS_FIXED,
            };
            write_requirements(model.requirements(), assets, 0, out);
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
        // SAFETY: model, shape and program are as the host's contract says. The names of features are read only if
        // there are any, as their pointer may be null otherwise. The ABI defines `wf_program_service` for this service.
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
            borrow_model::<N>(model).build(&shape, &mut Program { program, service })
        }
    })
}

/// The C function `compute`: [`Network::compute`] writes every element of the computed input `input` to `out`.
unsafe extern "C" fn compute<N: Network>(
    model: *const c_void,
    input: usize,
    past: *const wf_past,
    out: *mut f32,
    capacity: usize,
    error: *mut *mut wf_error,
) -> i32 {
    guard(error, || {
        // SAFETY: by the contract of `wf_plugin_api` model and past are valid, and `out` is not null and points to
        // `capacity` initialised elements, as many as the input has.
        unsafe {
            let out = core::slice::from_raw_parts_mut(out, capacity);
            with_past(past, |past| borrow_model::<N>(model).compute(input, past, out))
        }
    })
}

/// Exports a [`Network`] as the init function of a plugin: `export_network!(wf_plugin_init_lstm, Lstm);`
#[macro_export]
macro_rules! export_network {
    ($symbol:ident, $model:ty) => {
        /// The init function of the plugin.
        ///
        /// # Safety
        /// The contract of `wf_plugin_entry`.
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $symbol(
            host: *const $crate::abi::wf_host,
            out: *mut $crate::abi::wf_plugin_api,
            error: *mut *mut $crate::abi::wf_error,
        ) -> i32 {
            // SAFETY: both functions have the contract of `wf_plugin_entry`.
            unsafe { $crate::initialise_network::<$model>(host, out, error) }
        }
    };
}
