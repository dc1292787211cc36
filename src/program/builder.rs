//! Builds a program op by op. Shape errors name the op, the shapes that were found and what is allowed.

use super::{
    ALIGNMENT, Dtype, GraphNode, Init, Input, InputSource, Parameter, Program, ValueId, ValueInfo, ValueSource,
};
use crate::error::{Result, fail};
use crate::ops::{
    Activation, Arithmetic, Attention, Concat, Dropout, LayerNorm, Linear, Lstm, MOST_OPERANDS, Op, Operand, Reduce,
    Reduction, Reshape, Scale, Slice, Softmax, from_name,
};

/// A program under construction.
#[derive(Debug, Default)]
pub struct Builder {
    values: Vec<ValueInfo>,
    nodes: Vec<GraphNode>,
    inputs: Vec<Input>,
    parameters: Vec<Parameter>,
    /// Elements of all values for one sample.
    elements: usize,
}

/// Most elements that all values together may have for one sample: more than the memory of any suitable machine, and
/// far from an overflow of sizes.
const MOST_ELEMENTS: usize = 1 << 34;

/// Most axes of a value; more than any network needs.
pub(crate) const MOST_AXES: usize = 8;

impl Builder {
    /// An empty program.
    pub fn new() -> Self {
        Self::default()
    }

    fn push_value(&mut self, operand: Operand, source: ValueSource, requires_grad: bool) -> ValueId {
        self.values.push(ValueInfo { operand, dtype: Dtype::F32, source, requires_grad });
        ValueId(self.values.len() - 1)
    }

    fn check_declaration(&self, name: &str, shape: &[usize]) -> Result<()> {
        let is_allowed = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '_' | '.');
        if name.split('.').any(str::is_empty) || !name.chars().all(is_allowed) {
            fail!(
                InvalidArgument,
                "a value is named \"{name}\"; allowed are letters, digits and _, with . between words"
            );
        }
        if self.is_taken(name) {
            fail!(InvalidArgument, "the name '{name}' is taken; every input and parameter needs a different one");
        }
        if shape.contains(&0) {
            fail!(InvalidArgument, "'{name}' has the shape {shape:?}; every axis must be at least 1");
        }
        Ok(())
    }

    /// Adds the elements of a value to the total, if it stays within the limits. Errors call the value `subject`.
    fn count_elements(&mut self, subject: &str, shape: &[usize]) -> Result<()> {
        if shape.len() > MOST_AXES {
            fail!(InvalidArgument, "{subject} has {} axes; allowed are at most {MOST_AXES}", shape.len());
        }
        let count = shape.iter().try_fold(1_usize, |count, axis| count.checked_mul(*axis));
        let total = count.and_then(|count| count.checked_add(self.elements)).filter(|total| *total <= MOST_ELEMENTS);
        let Some(total) = total else {
            fail!(
                InvalidArgument,
                "{subject} has the shape {shape:?}; all values of a network together may have {MOST_ELEMENTS} elements"
            );
        };
        self.elements = total;
        Ok(())
    }

    /// Declares an input with this shape per sample that is handed over with every batch.
    ///
    /// # Errors
    /// `InvalidArgument` if the name is taken or not allowed, an axis is 0, or there are too many axes or elements.
    pub fn input(&mut self, name: &str, shape: &[usize]) -> Result<ValueId> {
        self.input_from(name, shape, InputSource::Given)
    }

    /// Declares an input with this shape per sample, and where its values come from.
    ///
    /// # Errors
    /// As for [`Builder::input`].
    pub fn input_from(&mut self, name: &str, shape: &[usize], source: InputSource) -> Result<ValueId> {
        self.check_declaration(name, shape)?;
        self.count_elements(&format!("input '{name}'"), shape)?;
        let value = self.push_value(Operand::batched(shape), ValueSource::Input(self.inputs.len()), false);
        self.inputs.push(Input { name: name.to_owned(), shape: shape.to_vec(), source, value });
        Ok(value)
    }

    /// The inputs so far.
    pub fn inputs(&self) -> &[Input] {
        &self.inputs
    }

    /// The value of the first input from this source.
    pub fn value_of(&self, source: &InputSource) -> Option<ValueId> {
        self.inputs.iter().find(|input| input.source == *source).map(|input| input.value)
    }

    /// Whether an input or parameter has this name.
    pub fn is_taken(&self, name: &str) -> bool {
        let inputs = self.inputs.iter().map(|input| &input.name);
        inputs.chain(self.parameters.iter().map(|known| &known.name)).any(|known| known == name)
    }

    /// Declares a parameter.
    ///
    /// # Errors
    /// As for [`Builder::input`].
    pub fn parameter(&mut self, name: &str, shape: &[usize], init: Init) -> Result<ValueId> {
        self.check_declaration(name, shape)?;
        self.count_elements(&format!("parameter '{name}'"), shape)?;
        let (Init::Uniform(number) | Init::Constant(number)) = init;
        if !number.is_finite() {
            fail!(InvalidArgument, "parameter '{name}' begins at {number}; allowed are finite bounds and values");
        }
        let value = self.push_value(Operand::shared(shape), ValueSource::Parameter(self.parameters.len()), true);
        let offset = self.parameters.last().map_or(0, |last| (last.offset + last.count()).next_multiple_of(ALIGNMENT));
        self.parameters.push(Parameter { name: name.to_owned(), shape: shape.to_vec(), init, offset, value });
        Ok(value)
    }

    /// Applies an op.
    ///
    /// # Errors
    /// `InvalidArgument` if the op refuses its attributes or operands, or if its output is too large.
    pub fn op(&mut self, op: impl Into<Op>, inputs: &[ValueId]) -> Result<ValueId> {
        self.push_node(op.into(), inputs)
    }

    /// Applies an op given by its name and attributes, as they stand in the text of a program.
    ///
    /// # Errors
    /// As for [`Builder::op`], and if the op is unknown or its attributes cannot be read.
    pub fn op_by_name(&mut self, name: &str, attributes: &str, inputs: &[ValueId]) -> Result<ValueId> {
        match from_name(name, attributes) {
            Ok(op) => self.push_node(op, inputs),
            Err(message) => fail!(InvalidArgument, "op '{name}' {message}"),
        }
    }

    fn push_node(&mut self, op: Op, inputs: &[ValueId]) -> Result<ValueId> {
        if let (Op::Concat(concat), true) = (&op, inputs.len() > MOST_OPERANDS) {
            // Neighbours first, then what they make.
            let groups: Result<Vec<ValueId>> = inputs
                .chunks(MOST_OPERANDS)
                .map(|group| if let [one] = group { Ok(*one) } else { self.op(*concat, group) })
                .collect();
            return self.op(*concat, &groups?);
        }
        // A repeated operand is copied, so that each operand has a gradient buffer of its own.
        let mut distinct = inputs.to_vec();
        for index in 1..distinct.len() {
            if distinct[..index].contains(&distinct[index]) {
                distinct[index] = self.op(Scale { factor: 1.0, offset: 0.0 }, &[distinct[index]])?;
            }
        }
        let inputs = distinct.as_slice();
        if inputs.is_empty() || inputs.len() > MOST_OPERANDS {
            fail!(InvalidArgument, "op '{}' takes 1 to {MOST_OPERANDS} operands, found {}", op.name(), inputs.len());
        }
        if let Some(unknown) = inputs.iter().find(|input| input.0 >= self.values.len()) {
            fail!(InvalidArgument, "op '{}': there is no value {}", op.name(), unknown.0);
        }
        let operands: Vec<Operand> = inputs.iter().map(|input| self.values[input.0].operand.clone()).collect();
        let shape = match op.rule().shape(&operands) {
            Ok(shape) => shape,
            Err(message) => fail!(InvalidArgument, "op '{}' {message}", op.name()),
        };
        self.count_elements(&format!("the output of op '{}'", op.name()), &shape)?;
        let batched = operands.iter().any(|operand| operand.batched);
        let requires_grad = inputs.iter().any(|input| self.values[input.0].requires_grad);
        let output = self.push_value(Operand { shape, batched }, ValueSource::Node(self.nodes.len()), requires_grad);
        self.nodes.push(GraphNode { op, inputs: inputs.to_vec(), output });
        Ok(output)
    }

    /// How many values there are so far.
    pub fn value_count(&self) -> usize {
        self.values.len()
    }

    /// The shape of one sample of a value; empty for an unknown one.
    pub fn shape(&self, value: ValueId) -> &[usize] {
        self.values.get(value.0).map_or(&[], |value| &value.operand.shape)
    }

    /// A linear layer, x Wᵀ + b, with new parameters `name.weight` and `name.bias`, which are initialised as in
    /// PyTorch: uniform within 1/√inputs. x is `[…, inputs]`, the output `[…, outputs]`.
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

    /// An LSTM layer over x `[…, steps, inputs]` with new parameters named as in PyTorch (`name.weight_ih`, …), uniform
    /// within 1/√hidden. The output is `[…, steps, hidden]`.
    ///
    /// # Errors
    /// As for [`Builder::op`].
    pub fn lstm(&mut self, name: &str, x: ValueId, hidden: usize) -> Result<ValueId> {
        let inputs = self.shape(x).last().copied().unwrap_or(0);
        let bound = Init::Uniform(1.0 / (hidden as f32).sqrt());
        let gates = hidden.saturating_mul(4);
        let weight_ih = self.parameter(&format!("{name}.weight_ih"), &[gates, inputs], bound)?;
        let weight_hh = self.parameter(&format!("{name}.weight_hh"), &[gates, hidden], bound)?;
        let bias_ih = self.parameter(&format!("{name}.bias_ih"), &[gates], bound)?;
        let bias_hh = self.parameter(&format!("{name}.bias_hh"), &[gates], bound)?;
        self.op(Lstm, &[x, weight_ih, weight_hh, bias_ih, bias_hh])
    }

    /// Layer normalisation of the last axis, with new parameters `name.scale` (1 at first) and `name.shift` (0).
    ///
    /// # Errors
    /// As for [`Builder::op`].
    pub fn layer_norm(&mut self, name: &str, x: ValueId) -> Result<ValueId> {
        let width = self.shape(x).last().copied().unwrap_or(0);
        let scale = self.parameter(&format!("{name}.scale"), &[width], Init::Constant(1.0))?;
        let shift = self.parameter(&format!("{name}.shift"), &[width], Init::Constant(0.0))?;
        self.op(LayerNorm { epsilon: 1e-5 }, &[x, scale, shift])
    }

    /// Multi-head self-attention over the steps of x `[…, steps, width]` (Vaswani et al. 2017, section 3.2.2): new linear
    /// layers `name.query`, `name.key` and `name.value`, the op `attention`, and a linear layer `name.output`.
    ///
    /// # Errors
    /// As for [`Builder::op`], and if `heads` does not divide the width.
    pub fn attention(&mut self, name: &str, x: ValueId, heads: usize) -> Result<ValueId> {
        let shape = self.shape(x).to_vec();
        let [.., _, width] = shape.as_slice() else {
            fail!(InvalidArgument, "attention '{name}' takes x […, steps, width], found {shape:?}");
        };
        let width = *width;
        if heads == 0 || !width.is_multiple_of(heads) {
            fail!(
                InvalidArgument,
                "attention '{name}' of width {width}: found {heads} heads, allowed is a divisor of the width"
            );
        }
        let mut project = |part: &str| self.linear(&format!("{name}.{part}"), x, width);
        let (query, key, value) = (project("query")?, project("key")?, project("value")?);
        let context = self.op(Attention { heads }, &[query, key, value])?;
        self.linear(&format!("{name}.output"), context, width)
    }

    /// The last step of a sequence: `[…]` of `[steps, …]`.
    ///
    /// # Errors
    /// As for [`Builder::op`].
    pub fn last(&mut self, x: ValueId) -> Result<ValueId> {
        let shape = self.shape(x).to_vec();
        let steps = shape.first().copied().unwrap_or(0);
        let last = self.op(Slice { axis: 0, start: steps.saturating_sub(1), length: 1 }, &[x])?;
        self.op(Reshape { shape: shape.get(1..).unwrap_or_default().to_vec() }, &[last])
    }

    /// Dropout with probability `share`.
    ///
    /// # Errors
    /// As for [`Builder::op`].
    pub fn dropout(&mut self, x: ValueId, share: f32) -> Result<ValueId> {
        self.op(Dropout { share }, &[x])
    }

    /// An activation function of each element.
    ///
    /// # Errors
    /// As for [`Builder::op`].
    pub fn activation(&mut self, x: ValueId, activation: Activation) -> Result<ValueId> {
        self.op(activation, &[x])
    }

    /// Elementwise addition, subtraction or multiplication.
    ///
    /// # Errors
    /// As for [`Builder::op`].
    pub fn arithmetic(&mut self, kind: Arithmetic, left: ValueId, right: ValueId) -> Result<ValueId> {
        self.op(kind, &[left, right])
    }

    /// Concatenation along an axis.
    ///
    /// # Errors
    /// As for [`Builder::op`].
    pub fn concat(&mut self, axis: usize, values: &[ValueId]) -> Result<ValueId> {
        self.op(Concat { axis }, values)
    }

    /// Sum or mean over an axis, which is removed.
    ///
    /// # Errors
    /// As for [`Builder::op`].
    pub fn reduce(&mut self, kind: Reduction, axis: usize, x: ValueId) -> Result<ValueId> {
        self.op(Reduce { kind, axis }, &[x])
    }

    /// Softmax over the last axis of the elements whose mask is not 0.
    ///
    /// # Errors
    /// As for [`Builder::op`].
    pub fn masked_softmax(&mut self, x: ValueId, mask: ValueId) -> Result<ValueId> {
        self.op(Softmax, &[x, mask])
    }

    /// Checks that a program with this output can be finished. Returns, per value, whether the output depends on it.
    ///
    /// # Errors
    /// As for [`Builder::finish`].
    pub fn used(&self, output: ValueId) -> Result<Vec<bool>> {
        let Some(value) = self.values.get(output.0) else {
            fail!(InvalidArgument, "the output is value {}, which does not exist", output.0);
        };
        if !value.operand.batched {
            fail!(InvalidArgument, "the output depends on no input");
        }
        if !value.requires_grad {
            fail!(InvalidArgument, "the output depends on no parameter");
        }
        let mut used = vec![false; self.values.len()];
        used[output.0] = true;
        for node in self.nodes.iter().rev() {
            if used[node.output.0] {
                node.inputs.iter().for_each(|input| used[input.0] = true);
            }
        }
        if let Some(unused) = self.parameters.iter().find(|parameter| !used[parameter.value.0]) {
            fail!(InvalidArgument, "the output does not depend on parameter '{}'", unused.name);
        }
        Ok(used)
    }

    /// Finishes the program. Ops that `output` does not depend on are removed.
    ///
    /// # Errors
    /// `InvalidArgument` if the output depends on no input, on no parameter, or not on every parameter.
    pub fn finish(mut self, output: ValueId) -> Result<Program> {
        let used = self.used(output)?;
        self.nodes.retain(|node| used[node.output.0]);
        let nodes = self.nodes;
        let mut values = self.values;
        for (index, node) in nodes.iter().enumerate() {
            values[node.output.0].source = ValueSource::Node(index);
        }
        Ok(Program { values, nodes, inputs: self.inputs, parameters: self.parameters, output, scores: None })
    }
}

#[cfg(test)]
mod tests {
    use super::{Builder, Init};
    use crate::ops::{Activation, Concat, Linear, Lstm};

    #[test]
    fn shape_errors_name_the_op_and_the_shapes() {
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
    fn an_op_with_a_wrong_attribute_is_refused_however_it_is_added() {
        let mut builder = Builder::new();
        let x = builder.input("x", &[4]).unwrap();
        let expected = "op 'leaky_relu' takes a finite slope of at least 0, found -0.5";
        let activation = Activation::LeakyRelu { slope: -0.5 };
        assert_eq!(builder.op(activation, &[x]).unwrap_err().to_string(), expected);
        assert_eq!(builder.activation(x, activation).unwrap_err().to_string(), expected);
        assert_eq!(builder.op_by_name("leaky_relu", "slope=-0.5", &[x]).unwrap_err().to_string(), expected);
        assert!(builder.activation(x, Activation::LeakyRelu { slope: 0.0 }).is_ok());
    }

    #[test]
    fn sizes_are_bounded_before_they_overflow() {
        let mut builder = Builder::new();
        for shape in [vec![usize::MAX; 2], vec![1 << 35], vec![1 << 60, 1 << 60], vec![1; 9]] {
            assert!(
                builder.input("x", &shape).is_err() && builder.parameter("x", &shape, Init::Constant(0.0)).is_err()
            );
        }
        // Refused values do not count.
        assert!(builder.input("x", &[1 << 33]).is_ok() && builder.input("y", &[1 << 33]).is_ok());
        let message = builder.input("z", &[1]).unwrap_err().to_string();
        assert_eq!(
            message,
            "input 'z' has the shape [1]; all values of a network together may have 17179869184 elements"
        );
        for name in ["", ".", ".weight", "a.", "a..b", "a b"] {
            assert!(builder.input(name, &[1]).unwrap_err().to_string().starts_with("a value is named"), "{name}");
        }
    }

    #[test]
    fn a_program_with_an_unused_parameter_or_without_parameters_is_refused() {
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
    fn ops_that_the_output_does_not_depend_on_are_removed() {
        let mut builder = Builder::new();
        let x = builder.input("x", &[4]).unwrap();
        let y = builder.linear("head", x, 2).unwrap();
        builder.dropout(y, 0.5).unwrap();
        let program = builder.finish(y).unwrap();
        assert_eq!((program.nodes.len(), program.output_shape()), (1, &[2][..]));
        assert_eq!(program.parameter_count(), 32);
    }

    #[test]
    fn a_parameter_that_begins_at_a_non_finite_value_is_refused() {
        for init in [Init::Uniform(f32::NAN), Init::Constant(f32::INFINITY)] {
            let error = Builder::new().parameter("w", &[2], init).unwrap_err().to_string();
            assert!(error.contains("parameter 'w' begins at ") && error.contains("allowed are finite"), "{error}");
        }
    }

    #[test]
    fn any_number_of_values_is_concatenated_in_order() {
        let mut builder = Builder::new();
        let parts: Vec<_> =
            (0..19).map(|index| builder.input(&format!("x{index}"), &[index + 1, 2]).unwrap()).collect();
        let joined = builder.op(Concat { axis: 0 }, &parts).unwrap();
        let y = builder.linear("head", joined, 1).unwrap();
        let program = builder.finish(y).unwrap();
        let lengths: Vec<(usize, usize)> = program
            .nodes()
            .filter(|node| node.op.name() == "concat")
            .map(|node| (node.operands.len(), node.output.shape[0]))
            .collect();
        // 1 to 8, 9 to 16, 17 to 19, and the three together.
        assert_eq!(lengths, [(8, 36), (8, 100), (3, 54), (3, 190)]);
    }
}
