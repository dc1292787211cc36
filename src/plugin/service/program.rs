//! Service `program`: a plugin's `build` describes its network through it.
//!
//! The arguments are checked, no panic leaves, and the first failure is kept for the caller of `build`.

use std::panic::{AssertUnwindSafe, catch_unwind};

use walkforge_plugin_abi::{WF_AXIS_ASSETS, WF_NO_VALUE, wf_program, wf_program_service, wf_string, wf_value};

use crate::device::in_default_environment;
use crate::error::{Code, Error, Result, fail, panic_message};
use crate::model::{NetworkSpec, Output};
use crate::panel::OWN_PLANES;
use crate::plugin::error::text;
use crate::program::{Axis, Builder, Init, InputSource, MOST_AXES, Plane, ValueId};

/// Most operands that `op` takes: those of a concatenation.
const MOST_CONCATENATED: usize = 4096;

/// Service `program`, version 1.
pub(in crate::plugin) static PROGRAM: wf_program_service = wf_program_service {
    struct_size: size_of::<wf_program_service>(),
    trailing,
    mask,
    computed,
    parameter,
    linear,
    lstm,
    layer_norm,
    attention,
    dropout,
    op,
    shape,
    output_scores,
    output_weights,
};

/// Maximum number of values of a network. The plan compares them pairwise.
const MAX_VALUES: usize = 1 << 14;

/// The state of a call of `build`, behind the plugin's pointer to `wf_program`.
pub(in crate::plugin) struct BuildState {
    builder: Builder,
    output: Option<(ValueId, Output)>,
    /// The first failure.
    failure: Option<Error>,
    assets: usize,
    lookback: usize,
    features: Vec<String>,
}

impl BuildState {
    /// Starts an empty network for `assets` assets.
    pub(in crate::plugin) fn new(assets: usize, lookback: usize, features: &[String]) -> Self {
        Self { builder: Builder::new(), output: None, failure: None, assets, lookback, features: features.to_vec() }
    }

    /// Whether a function of the service has failed.
    pub(in crate::plugin) fn has_failed(&self) -> bool {
        self.failure.is_some()
    }

    /// Returns the network, or the first failure.
    pub(in crate::plugin) fn finish(self) -> Result<NetworkSpec> {
        if let Some(failure) = self.failure {
            return Err(failure);
        }
        let Some((output, kind)) = self.output else {
            fail!(Plugin, "build returned WF_OK and named no output");
        };
        self.builder.used(output)?;
        Ok(NetworkSpec { builder: self.builder, output, kind })
    }

    /// Adds an input, or returns the existing value of the same source.
    fn input(&mut self, name: &str, shape: &[usize], source: InputSource) -> Result<ValueId> {
        match self.builder.value_of(&source) {
            Some(value) => Ok(value),
            None => self.builder.input_from(name, shape, source),
        }
    }

    fn trailing(&mut self, name: &str, rows: usize) -> Result<ValueId> {
        let plane = match name {
            "returns" => Plane::Returns,
            "known" => Plane::Known,
            "members" => Plane::Members,
            name => {
                let Some(index) = self.features.iter().position(|feature| feature == name) else {
                    let planes = OWN_PLANES.into_iter();
                    let planes: Vec<&str> = planes.chain(self.features.iter().map(String::as_str)).collect();
                    fail!(
                        Plugin,
                        "an input reads the plane \"{name}\", which does not exist; there are {}",
                        planes.join(", ")
                    );
                };
                Plane::Feature(index)
            }
        };
        if rows == 0 || rows > self.lookback {
            fail!(
                Plugin,
                "an input takes the last {rows} rows of '{name}'; allowed are 1 to {}, the lookback of the \
                 requirements",
                self.lookback
            );
        }
        // The first input of a plane is named after it, one with another number of rows after both.
        let has_other_rows = |known: &InputSource| match known {
            InputSource::Trailing { plane: of, rows: n } => *of == plane && *n != rows,
            _ => false,
        };
        let is_taken = self.builder.inputs().iter().any(|input| has_other_rows(&input.source));
        let input_name = if is_taken { format!("{name}.{rows}") } else { name.to_owned() };
        let shape = [rows, self.assets];
        self.input(&input_name, &shape, InputSource::Trailing { plane, rows })
    }

    fn computed(&mut self, name: &str, shape: &[usize], normalise: bool) -> Result<ValueId> {
        let axes: Vec<Axis> =
            shape.iter().map(|&axis| if axis == WF_AXIS_ASSETS { Axis::Assets } else { Axis::Fixed(axis) }).collect();
        let shape: Vec<usize> = axes.iter().map(|axis| axis.length(self.assets)).collect();
        let inputs = self.builder.inputs().iter();
        let index = inputs.filter(|input| matches!(input.source, InputSource::Computed { .. })).count();
        self.input(name, &shape, InputSource::Computed { index, shape: axes, normalise })
    }

    fn parameter(&mut self, name: &str, shape: &[usize], bound: f32, constant: f32) -> Result<ValueId> {
        if !(bound.is_finite() && bound >= 0.0 && constant.is_finite()) || bound > 0.0 && constant != 0.0 {
            fail!(
                Plugin,
                "parameter '{name}' is initialised with bound {bound} and constant {constant}; allowed is a bound above \
                 0 with a constant of 0, or a bound of 0 with a finite constant"
            );
        }
        let init = if bound > 0.0 { Init::Uniform(bound) } else { Init::Constant(constant) };
        self.builder.parameter(name, shape, init)
    }

    /// Looks up a value that the plugin passes. `WF_NO_VALUE` is unknown too: no call has failed that could return it.
    fn id(&self, value: wf_value) -> Result<ValueId> {
        let count = self.builder.value_count();
        match usize::try_from(value) {
            Ok(index) if index < count => Ok(ValueId(index)),
            _ => fail!(Plugin, "the network has no value {value}; so far it has {count}"),
        }
    }

    fn set_output(&mut self, value: wf_value, kind: Output) -> Result<()> {
        let value = self.id(value)?;
        if self.output.is_some() {
            fail!(Plugin, "the network has two outputs; one is allowed");
        }
        let shape = self.builder.shape(value);
        let is_allowed = matches!(*shape, [assets] if assets == self.assets)
            || matches!(*shape, [rows, assets] if assets == self.assets && rows <= self.lookback);
        if !is_allowed {
            fail!(
                Plugin,
                "the output has the shape {shape:?}; allowed is [assets] or [rows, assets], here [{}] or [1 to {}, {}]",
                self.assets,
                self.lookback,
                self.assets
            );
        }
        self.output = Some((value, kind));
        Ok(())
    }
}

/// Runs `body` on the state behind `program`, unless an earlier call failed. Keeps its failure; returns `None` for it.
///
/// # Safety
/// `program` is null, or the pointer that `build` received and has not returned from. The plugin's contract says so of
/// every function of the service, and makes each string and array among its arguments valid.
unsafe fn with_state<R>(program: *mut wf_program, body: impl FnOnce(&mut BuildState) -> Result<R>) -> Option<R> {
    // SAFETY: the caller vouches for the pointer; a program is used by one thread.
    let state = unsafe { program.cast::<BuildState>().as_mut() }?;
    if state.has_failed() {
        return None;
    }
    let failure = match in_default_environment(|| catch_unwind(AssertUnwindSafe(|| body(state)))) {
        Ok(Ok(value)) => return Some(value),
        Ok(Err(failure)) => failure,
        Err(payload) => Error::new(Code::Internal, panic_message(payload)),
    };
    state.failure = Some(failure);
    None
}

/// Runs `body`, which adds a value, and returns that value or `WF_NO_VALUE`.
///
/// # Safety
/// As for [`with_state`].
unsafe fn add_value(program: *mut wf_program, body: impl FnOnce(&mut BuildState) -> Result<ValueId>) -> wf_value {
    let add = |state: &mut BuildState| {
        let ValueId(index) = body(state)?;
        if index >= MAX_VALUES {
            fail!(Plugin, "the network has more than {MAX_VALUES} values");
        }
        Ok(index as wf_value)
    };
    // SAFETY: the contract is the same.
    unsafe { with_state(program, add) }.unwrap_or(WF_NO_VALUE)
}

/// Borrows an array that a plugin passes.
///
/// # Safety
/// `data` is null or points to `count` elements.
unsafe fn array<'a, T>(data: *const T, count: usize, most: usize, what: &str) -> Result<&'a [T]> {
    if count == 0 {
        return Ok(&[]);
    }
    if data.is_null() || !data.is_aligned() || count > most {
        fail!(Plugin, "{count} {what} were passed; allowed are at most {most}, by an aligned pointer that is not null");
    }
    // SAFETY: `data` is not null and aligned; the caller vouches for the length.
    Ok(unsafe { core::slice::from_raw_parts(data, count) })
}

/// Defines functions of the service that add a value. `$state` names the state in the body.
macro_rules! value_functions {
    ($(fn $name:ident($state:ident $(, $argument:ident: $type:ty)*) $body:block)*) => {$(
        unsafe extern "C" fn $name(program: *mut wf_program $(, $argument: $type)*) -> wf_value {
            // SAFETY: the plugin keeps the contract of `with_state`, for the program and for all arguments in `$body`.
            unsafe { add_value(program, |$state| $body) }
        }
    )*};
}

value_functions! {
    fn trailing(state, plane: wf_string, rows: usize) {
        state.trailing(&text(plane), rows)
    }

    fn mask(state) {
        state.input("mask", &[state.assets], InputSource::Mask)
    }

    fn computed(state, name: wf_string, shape: *const usize, axes: usize, normalise: i32) {
        state.computed(&text(name), array(shape, axes, MOST_AXES, "axes")?, normalise != 0)
    }

    fn parameter(state, name: wf_string, shape: *const usize, axes: usize, bound: f32, constant: f32) {
        state.parameter(&text(name), array(shape, axes, MOST_AXES, "axes")?, bound, constant)
    }

    fn linear(state, name: wf_string, x: wf_value, outputs: usize) {
        let x = state.id(x)?;
        state.builder.linear(&text(name), x, outputs)
    }

    fn lstm(state, name: wf_string, x: wf_value, hidden: usize) {
        let x = state.id(x)?;
        state.builder.lstm(&text(name), x, hidden)
    }

    fn layer_norm(state, name: wf_string, x: wf_value) {
        let x = state.id(x)?;
        state.builder.layer_norm(&text(name), x)
    }

    fn attention(state, name: wf_string, x: wf_value, heads: usize) {
        let x = state.id(x)?;
        state.builder.attention(&text(name), x, heads)
    }

    fn dropout(state, x: wf_value, share: f32) {
        let x = state.id(x)?;
        state.builder.dropout(x, share)
    }

    fn op(state, name: wf_string, operands: *const wf_value, count: usize, attributes: wf_string) {
        let operands = array(operands, count, MOST_CONCATENATED, "operands")?;
        let operands = operands.iter().map(|operand| state.id(*operand)).collect::<Result<Vec<_>>>()?;
        state.builder.op_by_name(&text(name), &text(attributes), &operands)
    }
}

unsafe extern "C" fn shape(program: *const wf_program, value: wf_value, axes: *mut usize, capacity: usize) -> usize {
    // SAFETY: the program is null or the one that `build` received, by the plugin's contract.
    let Some(state) = (unsafe { program.cast::<BuildState>().as_ref() }) else { return 0 };
    let Ok(value) = state.id(value) else { return 0 };
    let shape = state.builder.shape(value);
    if !axes.is_null() && axes.is_aligned() {
        for (index, axis) in shape.iter().take(capacity).enumerate() {
            // SAFETY: `axes` is not null and aligned, and has `capacity` elements by the plugin's contract.
            unsafe { axes.add(index).write(*axis) };
        }
    }
    shape.len()
}

unsafe extern "C" fn output_scores(program: *mut wf_program, value: wf_value) {
    // SAFETY: the plugin keeps the contract of `with_state`.
    unsafe { with_state(program, |state| state.set_output(value, Output::Scores)) };
}

unsafe extern "C" fn output_weights(program: *mut wf_program, value: wf_value) {
    // SAFETY: the plugin keeps the contract of `with_state`.
    unsafe { with_state(program, |state| state.set_output(value, Output::Weights)) };
}
