//! Ways to misuse the service `program`, as C sees it, each with the code and a part of the message of its error.
#![allow(clippy::undocumented_unsafe_blocks)] // Each block does on purpose what it may not.

use std::ffi::c_char;

use walkforge::Code;
use walkforge_plugin::abi::{WF_AXIS_ASSETS, WF_NO_VALUE, wf_program, wf_program_service, wf_string, wf_value};

/// The look-back of the networks.
pub(super) const LOOKBACK: usize = 20;

pub(super) fn string(bytes: &[u8]) -> wf_string {
    wf_string { data: bytes.as_ptr().cast::<c_char>(), length: bytes.len() }
}

/// The service as a plugin in C uses it.
#[derive(Clone, Copy)]
pub(super) struct Net {
    pub service: &'static wf_program_service,
    pub program: *mut wf_program,
    pub assets: usize,
}

// SAFETY of all calls below: the program is the host's, or null; invalid pointers are those that the host detects.
impl Net {
    fn trailing(self, plane: &str, rows: usize) -> wf_value {
        unsafe { (self.service.trailing)(self.program, string(plane.as_bytes()), rows) }
    }

    pub(super) fn op(self, name: &str, operands: &[wf_value], attributes: &str) -> wf_value {
        let (name, attributes) = (string(name.as_bytes()), string(attributes.as_bytes()));
        unsafe { (self.service.op)(self.program, name, operands.as_ptr(), operands.len(), attributes) }
    }

    fn linear(self, name: &str, x: wf_value, outputs: usize) -> wf_value {
        unsafe { (self.service.linear)(self.program, string(name.as_bytes()), x, outputs) }
    }

    fn parameter(self, name: &str, shape: &[usize], bound: f32, middle: f32) -> wf_value {
        let name = string(name.as_bytes());
        unsafe { (self.service.parameter)(self.program, name, shape.as_ptr(), shape.len(), bound, middle) }
    }

    fn computed(self, name: &str, shape: &[usize]) -> wf_value {
        unsafe { (self.service.computed)(self.program, string(name.as_bytes()), shape.as_ptr(), shape.len(), 0) }
    }

    fn dropout(self, x: wf_value, share: f32) -> wf_value {
        unsafe { (self.service.dropout)(self.program, x, share) }
    }

    pub(super) fn scores(self, value: wf_value) {
        unsafe { (self.service.output_scores)(self.program, value) }
    }

    fn weights(self, value: wf_value) {
        unsafe { (self.service.output_weights)(self.program, value) }
    }

    /// One row per asset, `[assets, LOOKBACK]`.
    pub(super) fn rows(self) -> wf_value {
        self.op("transpose", &[self.trailing("returns", LOOKBACK)], "order=[1, 0]")
    }

    /// From one row per asset, one score per asset.
    pub(super) fn score(self, rows: wf_value) -> wf_value {
        self.op("reshape", &[self.linear("head", rows, 1)], &format!("shape=[{}]", self.assets))
    }

    /// Honest scores.
    pub(super) fn honest(self) -> wf_value {
        self.score(self.rows())
    }
}

pub(super) type Harm = fn(Net);

/// A misuse, the code of its error, and a part of the message.
pub(super) const HARMS: &[(&str, Harm, Code, &str)] = &[
    ("no output", |net| _ = net.honest(), Code::Plugin, "build returned WF_OK and named no output"),
    (
        "two outputs",
        |net| {
            let scores = net.honest();
            net.scores(scores);
            net.weights(scores);
        },
        Code::Plugin,
        "the network has two outputs; one is allowed",
    ),
    (
        "an output of the wrong shape",
        |net| net.scores(net.linear("head", net.rows(), 4)),
        Code::Plugin,
        "the output has the shape [5, 4]; allowed is [assets] or [rows, assets]",
    ),
    (
        "an output of more rows than there are",
        |net| {
            let wide = net.linear("head", net.rows(), 21);
            net.scores(net.op("transpose", &[wide], "order=[1, 0]"));
        },
        Code::Plugin,
        "the output has the shape [21, 5]",
    ),
    (
        "an output that is an input",
        |net| net.scores(net.trailing("returns", LOOKBACK)),
        Code::Plugin,
        "the output depends on no parameter",
    ),
    (
        "an output that is a parameter",
        |net| net.scores(net.parameter("p", &[net.assets], 1.0, 0.0)),
        Code::Plugin,
        "the output depends on no input",
    ),
    (
        "an idle parameter",
        |net| {
            net.parameter("idle", &[3], 1.0, 0.0);
            net.scores(net.honest());
        },
        Code::Plugin,
        "the output does not depend on parameter 'idle'",
    ),
    (
        "axes of SIZE_MAX",
        |net| _ = net.parameter("p", &[usize::MAX, usize::MAX], 1.0, 0.0),
        Code::Plugin,
        "parameter 'p' has the shape [18446744073709551615, 18446744073709551615]; all values",
    ),
    (
        "a computed input of SIZE_MAX",
        |net| _ = net.computed("x", &[WF_AXIS_ASSETS, usize::MAX - 1]),
        Code::Plugin,
        "input 'x' has the shape [5, 18446744073709551614]; all values",
    ),
    (
        "2^60 hidden units",
        |net| net.scores(net.score(net.linear("hidden", net.rows(), 1 << 60))),
        Code::Plugin,
        "parameter 'hidden.weight' has the shape [1152921504606846976, 20]",
    ),
    (
        "2^62 states",
        |net| {
            let x = net.trailing("returns", LOOKBACK);
            _ = unsafe { (net.service.lstm)(net.program, string(b"lstm"), x, 1 << 62) };
        },
        Code::Plugin,
        "parameter 'lstm.weight_ih' has the shape [18446744073709551615, 5]",
    ),
    (
        "no hidden units",
        |net| net.scores(net.score(net.linear("hidden", net.rows(), 0))),
        Code::Plugin,
        "'hidden.weight' has the shape [0, 20]; every axis must be at least 1",
    ),
    (
        "many large values",
        |net| {
            let mut x = net.computed("x", &[1 << 30]);
            for _ in 0..20 {
                x = net.op("tanh", &[x], "");
            }
        },
        Code::Plugin,
        "the output of op 'tanh' has the shape [1073741824]; all values of a network together may have 17179869184 elements",
    ),
    (
        "values without end",
        |net| {
            let mut x = net.rows();
            while x != WF_NO_VALUE {
                x = net.op("tanh", &[x], "");
            }
        },
        Code::Plugin,
        "the network has more than 16384 values",
    ),
    (
        "a reshape that overflows",
        |net| _ = net.op("reshape", &[net.rows()], "shape=[4294967296, 4294967296, 100]"),
        Code::Plugin,
        "op 'reshape' cannot make [4294967296, 4294967296, 100] of the 100 elements of [5, 20]",
    ),
    (
        "a thousand axes",
        |net| _ = net.op("reshape", &[net.rows()], &format!("shape=[100{}]", ", 1".repeat(999))),
        Code::Plugin,
        "the output of op 'reshape' has 1000 axes; allowed are at most 8",
    ),
    (
        "a slice that overflows",
        |net| _ = net.op("slice", &[net.rows()], "axis=0 start=18446744073709551615 length=2"),
        Code::Plugin,
        "op 'slice' has length=",
    ),
    (
        "an axis that is not there",
        |net| _ = net.op("mean", &[net.rows()], "axis=2"),
        Code::Plugin,
        "op 'mean' takes an axis below 2, found 2",
    ),
    ("an unknown op", |net| _ = net.op("gelu", &[net.rows()], ""), Code::Plugin, "op 'gelu' is unknown; known are abs"),
    (
        "an unknown attribute",
        |net| _ = net.op("relu", &[net.rows()], "slope=1"),
        Code::Plugin,
        "op 'relu' has no attribute 'slope'",
    ),
    (
        "an unknown plane",
        |net| _ = net.trailing("volume", LOOKBACK),
        Code::Plugin,
        "reads the plane \"volume\", which does not exist; there are returns, known, members",
    ),
    (
        "rows above the lookback",
        |net| _ = net.trailing("returns", LOOKBACK + 1),
        Code::Plugin,
        "takes the last 21 rows of 'returns'; allowed are 1 to 20",
    ),
    ("no rows", |net| _ = net.trailing("returns", 0), Code::Plugin, "takes the last 0 rows"),
    (
        "SIZE_MAX rows",
        |net| _ = net.trailing("known", usize::MAX),
        Code::Plugin,
        "takes the last 18446744073709551615 rows of 'known'",
    ),
    (
        "no value as an operand",
        |net| _ = net.linear("head", WF_NO_VALUE, 1),
        Code::Plugin,
        "the network has no value -1; so far it has 0",
    ),
    ("no value as the output", |net| net.scores(WF_NO_VALUE), Code::Plugin, "the network has no value -1"),
    (
        "a negative value",
        |net| _ = net.op("add", &[net.rows(), i32::MIN], ""),
        Code::Plugin,
        "the network has no value -2147483648; so far it has 2",
    ),
    (
        "a value that is not there yet",
        |net| _ = net.op("add", &[net.rows(), 2], ""),
        Code::Plugin,
        "the network has no value 2; so far it has 2",
    ),
    (
        "a huge value",
        |net| {
            net.rows();
            net.weights(i32::MAX);
        },
        Code::Plugin,
        "the network has no value 2147483647",
    ),
    (
        "no shape",
        |net| _ = unsafe { (net.service.parameter)(net.program, string(b"p"), std::ptr::null(), 2, 1.0, 0.0) },
        Code::Plugin,
        "2 axes were passed; allowed are at most 8, by an aligned pointer that is not null",
    ),
    (
        "a shape that is not aligned",
        |net| {
            let shape = [1_usize; 3];
            let odd = shape.as_ptr().wrapping_byte_add(1);
            _ = unsafe { (net.service.computed)(net.program, string(b"x"), odd, 2, 0) };
        },
        Code::Plugin,
        "2 axes were passed; allowed are at most 8, by an aligned pointer that is not null",
    ),
    (
        "SIZE_MAX axes",
        |net| {
            let shape = [1_usize; 3];
            _ = unsafe { (net.service.computed)(net.program, string(b"x"), shape.as_ptr(), usize::MAX, 0) };
        },
        Code::Plugin,
        "18446744073709551615 axes were passed",
    ),
    ("no operands", |net| _ = net.op("relu", &[], ""), Code::Plugin, "op 'relu' takes 1 to 8 operands, found 0"),
    (
        "operands at null",
        |net| _ = unsafe { (net.service.op)(net.program, string(b"relu"), std::ptr::null(), 1, string(b"")) },
        Code::Plugin,
        "1 operands were passed; allowed are at most",
    ),
    (
        "SIZE_MAX operands",
        |net| {
            let x = net.rows();
            _ = unsafe { (net.service.op)(net.program, string(b"relu"), &raw const x, usize::MAX, string(b"")) };
        },
        Code::Plugin,
        "18446744073709551615 operands were passed",
    ),
    (
        "nine operands",
        |net| _ = net.op("softmax", &[net.rows(); 9], ""),
        Code::Plugin,
        "op 'softmax' takes 1 to 8 operands, found 9",
    ),
    (
        "a name at null",
        |net| {
            let name = wf_string { data: std::ptr::null(), length: 7 };
            _ = unsafe { (net.service.linear)(net.program, name, net.rows(), 1) };
        },
        Code::Plugin,
        "a value is named \".weight\"",
    ),
    (
        "a name of SIZE_MAX bytes",
        |net| {
            let name = wf_string { length: usize::MAX, ..string(b"relu") };
            _ = unsafe { (net.service.op)(net.program, name, &raw const CONSTANT, 1, string(b"")) };
        },
        Code::Plugin,
        "the network has no value 0",
    ),
    (
        "a name of no letters",
        |net| _ = net.parameter("p\u{e9}", &[1], 1.0, 0.0),
        Code::Plugin,
        "a value is named \"p\u{e9}\"",
    ),
    (
        "a name of a megabyte",
        |net| _ = net.op(&"x".repeat(1 << 20), &[net.rows()], ""),
        Code::Plugin,
        " bytes left out ",
    ),
    (
        "a name twice",
        |net| net.scores(net.score(net.linear("head", net.rows(), 3))),
        Code::Plugin,
        "the name 'head.weight' is taken",
    ),
    (
        "a parameter that begins nowhere",
        |net| _ = net.parameter("p", &[1], f32::NAN, 0.0),
        Code::Plugin,
        "parameter 'p' is initialised with bound NaN and constant 0",
    ),
    (
        "a parameter that begins at infinity",
        |net| _ = net.parameter("p", &[1], 0.0, f32::INFINITY),
        Code::Plugin,
        "parameter 'p' is initialised with bound 0 and constant inf",
    ),
    ("dropout of all", |net| _ = net.dropout(net.rows(), 1.0), Code::Plugin, "op 'dropout' takes a share from 0"),
    ("dropout of NaN", |net| _ = net.dropout(net.rows(), f32::NAN), Code::Plugin, "op 'dropout' takes a share from 0"),
    (
        "a negative slope",
        |net| _ = net.op("leaky_relu", &[net.rows()], "slope=-0.5"),
        Code::Plugin,
        "op 'leaky_relu' takes a finite slope of at least 0, found -0.5",
    ),
    (
        "no heads",
        |net| _ = unsafe { (net.service.attention)(net.program, string(b"a"), net.rows(), 0) },
        Code::Plugin,
        "attention 'a' of width 20: found 0 heads",
    ),
    (
        "a norm of one number",
        |net| {
            let one = net.op("reshape", &[net.trailing("returns", 1)], "shape=[5]");
            let one = net.op("mean", &[one], "axis=0");
            _ = unsafe { (net.service.layer_norm)(net.program, string(b"norm"), one) };
        },
        Code::Plugin,
        "'norm.scale' has the shape [0]",
    ),
    (
        "a program at null",
        |net| Net { program: std::ptr::null_mut(), ..net }.scores(0),
        Code::Plugin,
        "build returned WF_OK and named no output",
    ),
    (
        "parameters by the number of assets",
        |net| {
            let own = net.parameter("own", &[net.assets], 1.0, 0.0);
            net.scores(net.op("multiply", &[net.honest(), own], ""));
        },
        Code::Plugin,
        "the network of plugin 'hostile' has other parameters for 6 assets than for 5",
    ),
    (
        "weights that do not sum to 1",
        |net| net.weights(net.op("sigmoid", &[net.honest()], "")),
        Code::Plugin,
        "epoch 1: the decision of 2018-12-31: the weights of the network of plugin 'hostile' sum to ",
    ),
    (
        "scores that are no number",
        |net| {
            let mut x = net.honest();
            for _ in 0..3 {
                x = net.op("scale", &[x], "factor=1e20 offset=1");
            }
            net.scores(net.op("subtract", &[x, x], ""));
        },
        Code::InvalidData,
        "the network of plugin 'hostile', epoch 1, batch 1: the loss is NaN; op 'scale' (%4) gave ",
    ),
    (
        "more than the memory budget",
        |net| net.scores(net.score(net.linear("hidden", net.rows(), 1 << 27))),
        Code::InvalidSetting,
        "setting 'train.memory_budget': found 4294967296 bytes, but training takes at least ",
    ),
];

static CONSTANT: wf_value = 0;
