//! Service `program`: a plugin's `build` describes its network through it. What it passes is checked, no panic leaves, and the
//! first failure is kept for whoever called `build`.

use std::panic::{AssertUnwindSafe, catch_unwind};

use walkforge_plugin_abi::{WF_AXIS_ASSETS, WF_NO_VALUE, wf_program, wf_program_service, wf_string, wf_value};

use crate::error::{Code, Error, Result, fail, panic_message};
use crate::model::{Axis, InputSource, NetworkSpec, Output, Plane};
use crate::panel::OWN_PLANES;
use crate::plugin::error::text;
use crate::program::{Builder, Init, MOST_AXES, ValueId};

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

/// SettingValues that a program may have: the plan compares them in pairs.
const MOST_VALUES: usize = 1 << 14;

/// A network under description.
pub(in crate::plugin) struct BuildState {
    builder: Builder,
    inputs: Vec<InputSource>,
    values: Vec<ValueId>,
    output: Option<(ValueId, Output)>,
    failed: Option<Error>,
    assets: usize,
    lookback: usize,
    features: Vec<String>,
}

impl BuildState {
    /// Nothing yet, for so many assets.
    pub(in crate::plugin) fn new(assets: usize, lookback: usize, features: &[String]) -> Self {
        Self {
            builder: Builder::new(),
            inputs: Vec::new(),
            values: Vec::new(),
            output: None,
            failed: None,
            assets,
            lookback,
            features: features.to_vec(),
        }
    }

    /// Whether a call of the service failed.
    pub(in crate::plugin) fn has_failed(&self) -> bool {
        self.failed.is_some()
    }

    /// What was described.
    pub(in crate::plugin) fn finish(self) -> Result<NetworkSpec> {
        if let Some(failed) = self.failed {
            return Err(failed);
        }
        let Some((output, kind)) = self.output else {
            fail!(Plugin, "build returned WF_OK and named no output");
        };
        self.builder.used(output)?;
        Ok(NetworkSpec { builder: self.builder, inputs: self.inputs, output, kind })
    }

    /// An input, which is there already where it was asked for before.
    fn input(&mut self, name: &str, shape: &[usize], source: InputSource) -> Result<ValueId> {
        if let Some(known) = self.inputs.iter().position(|known| *known == source) {
            return Ok(self.values[known]);
        }
        let value = self.builder.input(name, shape)?;
        self.inputs.push(source);
        self.values.push(value);
        Ok(value)
    }

    fn trailing(&mut self, name: &str, rows: usize) -> Result<ValueId> {
        let plane = match name {
            "returns" => Plane::Returns,
            "known" => Plane::Known,
            "members" => Plane::Members,
            name => {
                let Some(place) = self.features.iter().position(|feature| feature == name) else {
                    let planes = OWN_PLANES.into_iter();
                    let planes: Vec<&str> = planes.chain(self.features.iter().map(String::as_str)).collect();
                    fail!(
                        Plugin,
                        "an input looks into the plane \"{name}\", which is not there; there are {}",
                        planes.join(", ")
                    );
                };
                Plane::Feature(place)
            }
        };
        if rows == 0 || rows > self.lookback {
            fail!(
                Plugin,
                "an input takes the last {rows} rows of '{name}'; allowed are 1 to {}, the lookback of the requirements",
                self.lookback
            );
        }
        let other = |known: &InputSource| matches!(known, InputSource::Trailing { plane: of, rows: n } if *of == plane && *n != rows);
        let called = if self.inputs.iter().any(other) { format!("{name}.{rows}") } else { name.to_owned() };
        let shape = [rows, self.assets];
        self.input(&called, &shape, InputSource::Trailing { plane, rows })
    }

    fn computed(&mut self, name: &str, shape: &[usize], normalise: bool) -> Result<ValueId> {
        let axes: Vec<Axis> =
            shape.iter().map(|&axis| if axis == WF_AXIS_ASSETS { Axis::Assets } else { Axis::Fixed(axis) }).collect();
        let shape: Vec<usize> = axes.iter().map(|axis| axis.length(self.assets)).collect();
        let index = self.inputs.iter().filter(|input| matches!(input, InputSource::Computed { .. })).count();
        self.input(name, &shape, InputSource::Computed { index, shape: axes, normalise })
    }

    /// A value as a plugin names it. `WF_NO_VALUE` that came of no failure is none.
    fn id(&self, value: wf_value) -> Result<ValueId> {
        let count = self.builder.value_count();
        match usize::try_from(value) {
            Ok(place) if place < count => Ok(ValueId(place)),
            _ => fail!(Plugin, "the network has no value {value}; so far it has {count}"),
        }
    }

    fn output(&mut self, value: ValueId, kind: Output) -> Result<()> {
        if self.output.is_some() {
            fail!(Plugin, "the network has two outputs; one is allowed");
        }
        let shape = self.builder.shape(value);
        let fits = matches!(*shape, [assets] if assets == self.assets)
            || matches!(*shape, [rows, assets] if assets == self.assets && rows <= self.lookback);
        if !fits {
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

/// Runs `body` on a program under description; its first failure is kept.
///
/// # Safety
/// `program` is null, or what `build` was given and nobody else uses.
unsafe fn with<R>(program: *mut wf_program, or: R, body: impl FnOnce(&mut BuildState) -> Result<R>) -> R {
    // SAFETY: as demanded of the caller.
    let Some(under) = (unsafe { program.cast::<BuildState>().as_mut() }) else { return or };
    let failed = match catch_unwind(AssertUnwindSafe(|| body(under))) {
        Ok(Ok(given)) => return given,
        Ok(Err(failed)) => failed,
        Err(panic) => Error::new(Code::Internal, panic_message(panic)),
    };
    under.failed.get_or_insert(failed);
    or
}

/// The same for what gives a value. After a failure nothing is looked at any more.
///
/// # Safety
/// As for [`with`].
unsafe fn value(program: *mut wf_program, body: impl FnOnce(&mut BuildState) -> Result<ValueId>) -> wf_value {
    let given = |under: &mut BuildState| {
        if under.failed.is_some() {
            return Ok(WF_NO_VALUE);
        }
        let ValueId(place) = body(under)?;
        if place >= MOST_VALUES {
            fail!(Plugin, "the network has more than {MOST_VALUES} values");
        }
        Ok(place as wf_value)
    };
    // SAFETY: as demanded of the caller.
    unsafe { with(program, WF_NO_VALUE, given) }
}

/// Numbers that a plugin passes.
///
/// # Safety
/// `data` is null or points to `count` of them.
unsafe fn list<'a, T>(data: *const T, count: usize, most: usize, what: &str) -> Result<&'a [T]> {
    if count == 0 {
        return Ok(&[]);
    }
    if data.is_null() || !data.is_aligned() || count > most {
        fail!(Plugin, "{count} {what} were passed, or none; allowed are at most {most}, aligned and not null");
    }
    // SAFETY: not null, aligned and as many as it says, by the contract of this function.
    Ok(unsafe { core::slice::from_raw_parts(data, count) })
}

unsafe extern "C" fn trailing(program: *mut wf_program, plane: wf_string, rows: usize) -> wf_value {
    // SAFETY: the plugin passes what `build` was given, and text as the ABI demands.
    unsafe { value(program, |under| under.trailing(&text(plane), rows)) }
}

unsafe extern "C" fn mask(program: *mut wf_program) -> wf_value {
    // SAFETY: as in `trailing`.
    unsafe { value(program, |under| under.input("mask", &[under.assets], InputSource::Mask)) }
}

unsafe extern "C" fn computed(
    program: *mut wf_program,
    name: wf_string,
    shape: *const usize,
    axes: usize,
    normalise: i32,
) -> wf_value {
    // SAFETY: as in `trailing`; the shape has as many axes as are said.
    unsafe {
        value(program, |under| under.computed(&text(name), list(shape, axes, MOST_AXES, "axes")?, normalise != 0))
    }
}

unsafe extern "C" fn parameter(
    program: *mut wf_program,
    name: wf_string,
    shape: *const usize,
    axes: usize,
    bound: f32,
    middle: f32,
) -> wf_value {
    let body = |under: &mut BuildState| {
        // SAFETY: as in `computed`.
        let (name, shape) = unsafe { (text(name), list(shape, axes, MOST_AXES, "axes")?) };
        if !(bound.is_finite() && bound >= 0.0 && middle.is_finite()) || bound > 0.0 && middle != 0.0 {
            fail!(
                Plugin,
                "parameter '{name}' begins within {bound} of {middle}; allowed is a bound above 0 around 0, or a bound of 0 \
                 and a finite number"
            );
        }
        let init = if bound > 0.0 { Init::Uniform(bound) } else { Init::Constant(middle) };
        under.builder.parameter(&name, shape, init)
    };
    // SAFETY: as in `trailing`.
    unsafe { value(program, body) }
}

unsafe extern "C" fn linear(program: *mut wf_program, name: wf_string, x: wf_value, outputs: usize) -> wf_value {
    // SAFETY: as in `trailing`.
    unsafe {
        value(program, |under| {
            let x = under.id(x)?;
            under.builder.linear(&text(name), x, outputs)
        })
    }
}

unsafe extern "C" fn lstm(program: *mut wf_program, name: wf_string, x: wf_value, hidden: usize) -> wf_value {
    // SAFETY: as in `trailing`.
    unsafe {
        value(program, |under| {
            let x = under.id(x)?;
            under.builder.lstm(&text(name), x, hidden)
        })
    }
}

unsafe extern "C" fn layer_norm(program: *mut wf_program, name: wf_string, x: wf_value) -> wf_value {
    // SAFETY: as in `trailing`.
    unsafe {
        value(program, |under| {
            let x = under.id(x)?;
            under.builder.layer_norm(&text(name), x)
        })
    }
}

unsafe extern "C" fn attention(program: *mut wf_program, name: wf_string, x: wf_value, heads: usize) -> wf_value {
    // SAFETY: as in `trailing`.
    unsafe {
        value(program, |under| {
            let x = under.id(x)?;
            under.builder.attention(&text(name), x, heads)
        })
    }
}

unsafe extern "C" fn dropout(program: *mut wf_program, x: wf_value, share: f32) -> wf_value {
    // SAFETY: as in `trailing`.
    unsafe {
        value(program, |under| {
            let x = under.id(x)?;
            under.builder.dropout(x, share)
        })
    }
}

unsafe extern "C" fn op(
    program: *mut wf_program,
    name: wf_string,
    operands: *const wf_value,
    count: usize,
    attributes: wf_string,
) -> wf_value {
    let body = |under: &mut BuildState| {
        // SAFETY: as in `trailing`; there are as many operands as are said.
        let (name, attributes, operands) =
            unsafe { (text(name), text(attributes), list(operands, count, MOST_AXES, "operands")?) };
        let operands = operands.iter().map(|operand| under.id(*operand)).collect::<Result<Vec<_>>>()?;
        under.builder.op_by_name(&name, &attributes, &operands)
    };
    // SAFETY: as in `trailing`.
    unsafe { value(program, body) }
}

unsafe extern "C" fn shape(program: *const wf_program, value: wf_value, axes: *mut usize, capacity: usize) -> usize {
    // SAFETY: the plugin passes what `build` was given.
    let Some(under) = (unsafe { program.cast::<BuildState>().as_ref() }) else { return 0 };
    let Ok(value) = under.id(value) else { return 0 };
    let shape = under.builder.shape(value);
    if !axes.is_null() && axes.is_aligned() {
        for (place, axis) in shape.iter().take(capacity).enumerate() {
            // SAFETY: not null, aligned, and room for `capacity` numbers by the ABI.
            unsafe { axes.add(place).write(*axis) };
        }
    }
    shape.len()
}

unsafe extern "C" fn output_scores(program: *mut wf_program, value: wf_value) {
    // SAFETY: as in `trailing`.
    unsafe { output(program, value, Output::Scores) }
}

unsafe extern "C" fn output_weights(program: *mut wf_program, value: wf_value) {
    // SAFETY: as in `trailing`.
    unsafe { output(program, value, Output::Weights) }
}

/// # Safety
/// As for [`with`].
unsafe fn output(program: *mut wf_program, value: wf_value, kind: Output) {
    // SAFETY: as demanded of the caller.
    unsafe {
        with(program, (), |under| {
            if under.failed.is_some() {
                return Ok(());
            }
            let value = under.id(value)?;
            under.output(value, kind)
        });
    }
}
