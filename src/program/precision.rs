//! The precision of each value of a program, after Micikevicius et al. 2018, "Mixed Precision Training". Activations
//! and the parameters of products are in half precision. Master parameters and their gradients, sums, norms and their
//! parameters, cell states and the output of the program stay in single precision.

use super::{Dtype, Program};
use crate::settings::choices;

choices! {
    /// The precision in which a network computes.
    pub enum Precision {
        /// Single precision.
        Fp32 = "fp32",
        /// Mixed precision: half precision where it suffices.
        Fp16 = "fp16",
    }
}

impl Program {
    /// Sets the precision of the program.
    #[must_use]
    pub fn with_precision(mut self, precision: Precision) -> Self {
        let reduced = match precision {
            Precision::Fp32 => Dtype::F32,
            Precision::Fp16 => Dtype::F16,
        };
        let mut single = vec![false; self.values.len()];
        single[self.output.0] = true;
        if let Some(scores) = self.scores {
            single[scores.0] = true;
        }
        for node in self.nodes.iter().filter(|node| node.op.rule().single_precision_parameters()) {
            for input in &node.inputs {
                single[input.0] |= self.parameter_index(*input).is_some();
            }
        }
        for (value, single) in self.values.iter_mut().zip(single) {
            value.dtype = if single { Dtype::F32 } else { reduced };
        }
        self
    }

    /// Whether any value is in half precision.
    pub fn is_half(&self) -> bool {
        self.values.iter().any(|value| value.dtype == Dtype::F16)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Builder, Precision};

    #[test]
    fn products_are_in_half_precision_but_norms_and_the_output_are_not() {
        let mut builder = Builder::new();
        let x = builder.input("x", &[4]).unwrap();
        let y = builder.linear("body", x, 3).unwrap();
        let y = builder.layer_norm("norm", y).unwrap();
        let y = builder.linear("head", y, 2).unwrap();
        let text = builder.finish(y).unwrap().with_precision(Precision::Fp16).to_string();
        for line in ["input x [4] f16", "body.weight [3, 4] f16", "norm.scale [3] f32", "head.bias [2] f16"] {
            assert!(text.contains(line), "{line}: {text}");
        }
        assert!(text.contains("%1 [3] f16 = layer_norm") && text.contains("%2 [2] = linear"), "{text}");
    }
}
