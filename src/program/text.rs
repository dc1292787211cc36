//! A program as readable text: inputs, parameters, then one line per op.

use std::fmt;

use super::{Dtype, Init, Program, ValueId, ValueSource};

impl Program {
    fn label(&self, value: ValueId) -> String {
        match self.values[value.0].source {
            ValueSource::Input(index) => self.inputs[index].name.clone(),
            ValueSource::Parameter(index) => self.parameters[index].name.clone(),
            ValueSource::Node(index) => format!("%{index}"),
        }
    }
}

impl fmt::Display for Program {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for input in &self.inputs {
            writeln!(out, "input {} {:?} {}", input.name, input.shape, self.values[input.value.0].dtype)?;
        }
        for parameter in &self.parameters {
            let init = match parameter.init {
                Init::Uniform(bound) => format!("uniform ±{bound:.4}"),
                Init::Constant(value) => format!("constant {value}"),
            };
            let dtype = self.values[parameter.value.0].dtype;
            writeln!(out, "parameter {} {:?} {dtype}, {init}", parameter.name, parameter.shape)?;
        }
        for (index, node) in self.nodes.iter().enumerate() {
            let inputs: Vec<String> = node.inputs.iter().map(|input| self.label(*input)).collect();
            let attributes = node.op.attributes();
            let space = if attributes.is_empty() { "" } else { " " };
            let value = &self.values[node.output.0];
            let (shape, name) = (&value.operand.shape, node.op.name());
            // Single precision is the default and is left out.
            let dtype = if value.dtype == Dtype::F32 { String::new() } else { format!(" {}", value.dtype) };
            writeln!(out, "%{index} {shape:?}{dtype} = {name}({}){space}{attributes}", inputs.join(", "))?;
        }
        let count: usize = self.parameters.iter().map(super::Parameter::count).sum();
        writeln!(out, "output {}, {count} parameter elements", self.label(self.output))
    }
}

#[cfg(test)]
mod tests {
    use super::super::Builder;
    use crate::ops::Activation;

    #[test]
    fn the_text_of_a_program_lists_inputs_parameters_and_ops() {
        let mut builder = Builder::new();
        let (x, mask) = (builder.input("returns", &[60, 20]).unwrap(), builder.input("mask", &[20]).unwrap());
        let states = builder.lstm("lstm.0", x, 16).unwrap();
        let last = builder.last(states).unwrap();
        let activated = builder.activation(last, Activation::LeakyRelu { slope: 0.2 }).unwrap();
        let logits = builder.linear("head", activated, 20).unwrap();
        let weights = builder.masked_softmax(logits, mask).unwrap();
        let text = builder.finish(weights).unwrap().to_string();
        let expected = "\
input returns [60, 20] f32
input mask [20] f32
parameter lstm.0.weight_ih [64, 20] f32, uniform ±0.2500
parameter lstm.0.weight_hh [64, 16] f32, uniform ±0.2500
parameter lstm.0.bias_ih [64] f32, uniform ±0.2500
parameter lstm.0.bias_hh [64] f32, uniform ±0.2500
parameter head.weight [20, 16] f32, uniform ±0.2500
parameter head.bias [20] f32, uniform ±0.2500
%0 [60, 16] = lstm(returns, lstm.0.weight_ih, lstm.0.weight_hh, lstm.0.bias_ih, lstm.0.bias_hh)
%1 [1, 16] = slice(%0) axis=0 start=59 length=1
%2 [16] = reshape(%1) shape=[16]
%3 [16] = leaky_relu(%2) slope=0.2
%4 [20] = linear(%3, head.weight, head.bias)
%5 [20] = softmax(%4, mask)
output %5, 2772 parameter elements
";
        assert_eq!(text, expected);
    }
}
