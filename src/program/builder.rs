//! Making a program, op by op. A shape that does not fit is told with op, shapes and what is allowed.

use super::{ALIGNMENT, Dtype, Init, Input, Node, Parameter, Program, Source, Value, ValueId};
use crate::error::{Result, fail};
use crate::ops::{
    Activation, Arithmetic, Concat, Dropout, LayerNorm, Linear, Lstm, MOST_OPERANDS, MatMul, Op, Operand, Reduce,
    Reduction, Reshape, Scale, Slice, Softmax, Transpose, from_name,
};

/// A program under construction.
#[derive(Debug, Default)]
pub struct Builder {
    values: Vec<Value>,
    nodes: Vec<Node>,
    inputs: Vec<Input>,
    parameters: Vec<Parameter>,
    /// Numbers of one sample of all values.
    numbers: usize,
}

/// Numbers that all values together may have for one sample: more than fits any memory that a network is for, and far from where
/// sizes overflow.
const MOST_NUMBERS: usize = 1 << 34;

/// Axes that a value may have; more than any network needs.
pub const MOST_AXES: usize = 8;

impl Builder {
    /// Nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    fn value(&mut self, operand: Operand, source: Source, trained: bool) -> ValueId {
        self.values.push(Value { operand, dtype: Dtype::F32, source, trained });
        ValueId(self.values.len() - 1)
    }

    fn name(&self, name: &str, shape: &[usize]) -> Result<()> {
        let plain = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '_' | '.');
        if name.split('.').any(str::is_empty) || !name.chars().all(plain) {
            fail!(
                InvalidArgument,
                "a value is named \"{name}\"; allowed are letters, digits and _, with . between words"
            );
        }
        if self.is_taken(name) {
            fail!(InvalidArgument, "the name '{name}' is taken; each input and parameter needs one of its own");
        }
        if shape.contains(&0) {
            fail!(InvalidArgument, "'{name}' has the shape {shape:?}; every axis must be at least 1");
        }
        Ok(())
    }

    /// Counts the numbers of a further value; `who` is what messages call it.
    fn take(&mut self, who: &str, shape: &[usize]) -> Result<()> {
        if shape.len() > MOST_AXES {
            fail!(InvalidArgument, "{who} has {} axes; allowed are {MOST_AXES}", shape.len());
        }
        let all = shape.iter().try_fold(1_usize, |all, axis| all.checked_mul(*axis));
        let all = all.and_then(|count| count.checked_add(self.numbers)).filter(|all| *all <= MOST_NUMBERS);
        let Some(all) = all else {
            fail!(
                InvalidArgument,
                "{who} has the shape {shape:?}; all values of a network together may have {MOST_NUMBERS} numbers"
            );
        };
        self.numbers = all;
        Ok(())
    }

    /// An input of this shape for each sample.
    ///
    /// # Errors
    /// `InvalidArgument` where the name is taken or the shape is empty.
    pub fn input(&mut self, name: &str, shape: &[usize]) -> Result<ValueId> {
        self.name(name, shape)?;
        self.take(&format!("input '{name}'"), shape)?;
        let value = self.value(Operand::batched(shape), Source::Input(self.inputs.len()), false);
        self.inputs.push(Input { name: name.to_owned(), shape: shape.to_vec(), value });
        Ok(value)
    }

    /// The value of an input, by its place among the inputs.
    ///
    /// # Panics
    /// Where there is no such input: a fault of the caller.
    pub fn input_value(&self, place: usize) -> ValueId {
        self.inputs[place].value
    }

    /// Whether an input or parameter has this name.
    pub fn is_taken(&self, name: &str) -> bool {
        let inputs = self.inputs.iter().map(|input| &input.name);
        inputs.chain(self.parameters.iter().map(|known| &known.name)).any(|known| known == name)
    }

    /// A parameter.
    ///
    /// # Errors
    /// As for [`Builder::input`].
    pub fn parameter(&mut self, name: &str, shape: &[usize], init: Init) -> Result<ValueId> {
        self.name(name, shape)?;
        self.take(&format!("parameter '{name}'"), shape)?;
        let value = self.value(Operand::shared(shape), Source::Parameter(self.parameters.len()), true);
        let offset = self.parameters.last().map_or(0, |last| (last.offset + last.count()).next_multiple_of(ALIGNMENT));
        self.parameters.push(Parameter { name: name.to_owned(), shape: shape.to_vec(), init, offset, value });
        Ok(value)
    }

    /// Any op.
    ///
    /// # Errors
    /// `InvalidArgument` with the op and the shapes where they do not fit.
    pub fn op(&mut self, op: impl Op + 'static, inputs: &[ValueId]) -> Result<ValueId> {
        self.push(Box::new(op), inputs)
    }

    /// An op by its name and attributes, as a program's text shows them.
    ///
    /// # Errors
    /// As for [`Builder::op`]; and where there is no such op, or its attributes cannot be read.
    pub fn op_by_name(&mut self, name: &str, attributes: &str, inputs: &[ValueId]) -> Result<ValueId> {
        match from_name(name, attributes) {
            Ok(op) => self.push(op, inputs),
            Err(text) => fail!(InvalidArgument, "op '{name}' {text}"),
        }
    }

    fn push(&mut self, op: Box<dyn Op>, inputs: &[ValueId]) -> Result<ValueId> {
        // An operand that is there twice is copied, so that each place has a gradient of its own to add to.
        let mut apart = inputs.to_vec();
        for place in 1..apart.len() {
            if apart[..place].contains(&apart[place]) {
                apart[place] = self.op(Scale { factor: 1.0, offset: 0.0 }, &[apart[place]])?;
            }
        }
        let inputs = apart.as_slice();
        if inputs.is_empty() || inputs.len() > MOST_OPERANDS {
            fail!(InvalidArgument, "op '{}' takes 1 to {MOST_OPERANDS} operands, found {}", op.name(), inputs.len());
        }
        if let Some(stranger) = inputs.iter().find(|input| input.0 >= self.values.len()) {
            fail!(InvalidArgument, "op '{}': there is no value {}", op.name(), stranger.0);
        }
        let operands: Vec<Operand> = inputs.iter().map(|input| self.values[input.0].operand.clone()).collect();
        let shape = match op.shape(&operands) {
            Ok(shape) => shape,
            Err(text) => fail!(InvalidArgument, "op '{}' {text}", op.name()),
        };
        self.take(&format!("what op '{}' gives", op.name()), &shape)?;
        let batched = operands.iter().any(|operand| operand.batched);
        let trained = inputs.iter().any(|input| self.values[input.0].trained);
        let output = self.value(Operand { shape, batched }, Source::Node(self.nodes.len()), trained);
        self.nodes.push(Node { op, inputs: inputs.to_vec(), output });
        Ok(output)
    }

    /// How many values there are.
    pub fn count(&self) -> usize {
        self.values.len()
    }

    /// The shape of one sample of a value.
    pub fn shape(&self, value: ValueId) -> &[usize] {
        self.values.get(value.0).map_or(&[], |value| &value.operand.shape)
    }

    /// x Wᵀ + b with new parameters `name.weight` and `name.bias`, which begin as PyTorch's: uniform within 1/√inputs.
    ///
    /// # Errors
    /// As for [`Builder::op`].
    pub fn linear(&mut self, name: &str, x: ValueId, outputs: usize) -> Result<ValueId> {
        let inputs = self.shape(x).last().copied().unwrap_or(0);
        let bound = Init::Uniform(1.0 / (inputs as f32).sqrt());
        let weight = self.parameter(&format!("{name}.weight"), &[outputs, inputs], bound)?;
        let bias = self.parameter(&format!("{name}.bias"), &[outputs], bound)?;
        self.op(Linear, &[x, weight, bias])
    }

    /// An LSTM layer over x `[steps, inputs]`, with new parameters named as PyTorch's (`name.weight_ih`, …), uniform within
    /// 1/√hidden.
    ///
    /// # Errors
    /// As for [`Builder::op`].
    pub fn lstm(&mut self, name: &str, x: ValueId, hidden: usize) -> Result<ValueId> {
        let inputs = self.shape(x).last().copied().unwrap_or(0);
        let bound = Init::Uniform(1.0 / (hidden as f32).sqrt());
        let wide = hidden.saturating_mul(4);
        let input = self.parameter(&format!("{name}.weight_ih"), &[wide, inputs], bound)?;
        let state = self.parameter(&format!("{name}.weight_hh"), &[wide, hidden], bound)?;
        let first = self.parameter(&format!("{name}.bias_ih"), &[wide], bound)?;
        let second = self.parameter(&format!("{name}.bias_hh"), &[wide], bound)?;
        self.op(Lstm, &[x, input, state, first, second])
    }

    /// Layer normalisation with new parameters `name.scale` (1) and `name.shift` (0).
    ///
    /// # Errors
    /// As for [`Builder::op`].
    pub fn layer_norm(&mut self, name: &str, x: ValueId) -> Result<ValueId> {
        let width = self.shape(x).last().copied().unwrap_or(0);
        let scale = self.parameter(&format!("{name}.scale"), &[width], Init::Constant(1.0))?;
        let shift = self.parameter(&format!("{name}.shift"), &[width], Init::Constant(0.0))?;
        self.op(LayerNorm { epsilon: 1e-5 }, &[x, scale, shift])
    }

    /// Multi-head attention of sequences x `[…, steps, width]` each to itself (Vaswani et al. 2017, section 3.2.2), made of
    /// products and a softmax: parameters `name.query`, `name.key`, `name.value` and `name.output`, each a linear layer.
    ///
    /// # Errors
    /// As for [`Builder::op`]; and where `heads` does not divide the width.
    pub fn attention(&mut self, name: &str, x: ValueId, heads: usize) -> Result<ValueId> {
        let whole = self.shape(x).to_vec();
        let [before @ .., steps, width] = whole.as_slice() else {
            fail!(InvalidArgument, "attention '{name}' takes x […, steps, width], found {whole:?}");
        };
        let (steps, width) = (*steps, *width);
        if heads == 0 || !width.is_multiple_of(heads) {
            fail!(
                InvalidArgument,
                "attention '{name}' of width {width}: found {heads} heads, allowed is a divisor of it"
            );
        }
        let each = width / heads;
        let split_shape = [before, &[steps, heads, each]].concat();
        // Heads stand before the steps, as sequences of their own.
        let axes = before.len();
        let order: Vec<usize> = (0..axes).chain([axes + 1, axes, axes + 2]).collect();
        let mut split = |part: &str| -> Result<ValueId> {
            let whole = self.linear(&format!("{name}.{part}"), x, width)?;
            let parts = self.op(Reshape { shape: split_shape.clone() }, &[whole])?;
            self.op(Transpose { order: order.clone() }, &[parts])
        };
        let (query, key, value) = (split("query")?, split("key")?, split("value")?);
        let scores = self.op(MatMul { transpose_right: true }, &[query, key])?;
        let scores = self.op(Scale { factor: 1.0 / (each as f32).sqrt(), offset: 0.0 }, &[scores])?;
        let shares = self.op(Softmax, &[scores])?;
        let mixed = self.op(MatMul { transpose_right: false }, &[shares, value])?;
        let mixed = self.op(Transpose { order }, &[mixed])?;
        let mixed = self.op(Reshape { shape: whole.clone() }, &[mixed])?;
        self.linear(&format!("{name}.output"), mixed, width)
    }

    /// The last step of a sequence `[steps, …]`, `[…]`.
    ///
    /// # Errors
    /// As for [`Builder::op`].
    pub fn last(&mut self, x: ValueId) -> Result<ValueId> {
        let shape = self.shape(x).to_vec();
        let steps = shape.first().copied().unwrap_or(0);
        let part = self.op(Slice { axis: 0, start: steps.saturating_sub(1), length: 1 }, &[x])?;
        self.op(Reshape { shape: shape.get(1..).unwrap_or_default().to_vec() }, &[part])
    }

    /// Dropout of a share.
    ///
    /// # Errors
    /// As for [`Builder::op`].
    pub fn dropout(&mut self, x: ValueId, share: f32) -> Result<ValueId> {
        self.op(Dropout { share }, &[x])
    }

    /// A function of each number.
    ///
    /// # Errors
    /// As for [`Builder::op`].
    pub fn activation(&mut self, x: ValueId, activation: Activation) -> Result<ValueId> {
        self.op(activation, &[x])
    }

    /// Element by element.
    ///
    /// # Errors
    /// As for [`Builder::op`].
    pub fn arithmetic(&mut self, kind: Arithmetic, left: ValueId, right: ValueId) -> Result<ValueId> {
        self.op(kind, &[left, right])
    }

    /// One after the other along an axis.
    ///
    /// # Errors
    /// As for [`Builder::op`].
    pub fn concat(&mut self, axis: usize, parts: &[ValueId]) -> Result<ValueId> {
        self.op(Concat { axis }, parts)
    }

    /// Sum or mean over an axis.
    ///
    /// # Errors
    /// As for [`Builder::op`].
    pub fn reduce(&mut self, kind: Reduction, axis: usize, x: ValueId) -> Result<ValueId> {
        self.op(Reduce { kind, axis }, &[x])
    }

    /// Softmax over the last axis of what a mask leaves in.
    ///
    /// # Errors
    /// As for [`Builder::op`].
    pub fn masked_softmax(&mut self, x: ValueId, mask: ValueId) -> Result<ValueId> {
        self.op(Softmax, &[x, mask])
    }

    /// Whether a program with this output can be finished; which values it depends on.
    ///
    /// # Errors
    /// As for [`Builder::finish`].
    pub fn used(&self, output: ValueId) -> Result<Vec<bool>> {
        let Some(value) = self.values.get(output.0) else {
            fail!(InvalidArgument, "the output is value {}, which is not there", output.0);
        };
        if !value.operand.batched {
            fail!(InvalidArgument, "the output depends on no input");
        }
        if !value.trained {
            fail!(InvalidArgument, "the output depends on no parameter");
        }
        let mut used = vec![false; self.values.len()];
        used[output.0] = true;
        for node in self.nodes.iter().rev() {
            if used[node.output.0] {
                node.inputs.iter().for_each(|input| used[input.0] = true);
            }
        }
        if let Some(idle) = self.parameters.iter().find(|parameter| !used[parameter.value.0]) {
            fail!(InvalidArgument, "the output does not depend on parameter '{}'", idle.name);
        }
        Ok(used)
    }

    /// The finished program, whose output is `output`. What the output does not depend on is left out.
    ///
    /// # Errors
    /// `InvalidArgument` where the output is not batched, depends on no parameter, or a parameter is of no use.
    pub fn finish(mut self, output: ValueId) -> Result<Program> {
        let used = self.used(output)?;
        self.nodes.retain(|node| used[node.output.0]);
        let nodes = self.nodes;
        let mut values = self.values;
        for (place, node) in nodes.iter().enumerate() {
            values[node.output.0].source = Source::Node(place);
        }
        Ok(Program { values, nodes, inputs: self.inputs, parameters: self.parameters, output })
    }
}

#[cfg(test)]
mod tests {
    use super::{Builder, Init};
    use crate::ops::{Linear, Lstm};

    #[test]
    fn shapes_that_do_not_fit_name_op_and_shapes() {
        let mut builder = Builder::new();
        let x = builder.input("x", &[60, 20]).unwrap();
        let weight = builder.parameter("w", &[8, 21], Init::Constant(0.0)).unwrap();
        let bias = builder.parameter("b", &[8], Init::Constant(0.0)).unwrap();
        let message = builder.op(Linear, &[x, weight, bias]).unwrap_err().to_string();
        assert!(
            message.contains("op 'linear' takes x […, inputs]") && message.contains("[60, 20], [8, 21]"),
            "{message}"
        );
        let message = builder.op(Lstm, &[x]).unwrap_err().to_string();
        assert_eq!(message, "op 'lstm' takes 5 operands, found 1");
        let message = builder.input("x", &[1]).unwrap_err().to_string();
        assert!(message.contains("the name 'x' is taken"), "{message}");
        assert!(builder.input("y", &[0]).is_err() && builder.input("", &[1]).is_err());
        assert!(builder.attention("a", x, 3).unwrap_err().to_string().contains("found 3 heads"));
    }

    #[test]
    fn sizes_are_bounded_before_they_overflow() {
        let mut builder = Builder::new();
        for shape in [vec![usize::MAX; 2], vec![1 << 35], vec![1 << 60, 1 << 60], vec![1; 9]] {
            assert!(
                builder.input("x", &shape).is_err() && builder.parameter("x", &shape, Init::Constant(0.0)).is_err()
            );
        }
        // Refused values count for nothing.
        assert!(builder.input("x", &[1 << 33]).is_ok() && builder.input("y", &[1 << 33]).is_ok());
        let message = builder.input("z", &[1]).unwrap_err().to_string();
        assert_eq!(
            message,
            "input 'z' has the shape [1]; all values of a network together may have 17179869184 numbers"
        );
        for name in ["", ".", ".weight", "a.", "a..b", "a b"] {
            assert!(builder.input(name, &[1]).unwrap_err().to_string().starts_with("a value is named"), "{name}");
        }
    }

    #[test]
    fn a_program_without_use_is_refused() {
        let mut builder = Builder::new();
        let x = builder.input("x", &[4]).unwrap();
        let y = builder.linear("head", x, 2).unwrap();
        builder.parameter("idle", &[3], Init::Constant(0.0)).unwrap();
        assert!(builder.finish(y).unwrap_err().to_string().contains("does not depend on parameter 'idle'"));
        let mut builder = Builder::new();
        let x = builder.input("x", &[4]).unwrap();
        assert!(builder.finish(x).unwrap_err().to_string().contains("depends on no parameter"));
    }

    #[test]
    fn what_the_output_does_not_need_is_left_out() {
        let mut builder = Builder::new();
        let x = builder.input("x", &[4]).unwrap();
        let y = builder.linear("head", x, 2).unwrap();
        builder.dropout(y, 0.5).unwrap();
        let program = builder.finish(y).unwrap();
        assert_eq!((program.nodes.len(), program.output_shape()), (1, &[2][..]));
        assert_eq!(program.parameter_count(), 32);
    }
}
