//! Which values of a program are in half precision, after Micikevicius et al. 2018, "Mixed Precision Training": what flows between
//! ops and what products are made with. Single precision are the master weights, the gradients of weights, sums, norms, cell
//! states, the parameters of norms, and the program's output.

use super::{Dtype, Program};
use crate::settings::choices;

choices! {
    /// How a network computes.
    pub enum Precision {
        /// All in single precision.
        Fp32 = "fp32",
        /// Half precision where it is enough.
        Fp16 = "fp16",
    }
}

impl Program {
    /// The same program with this precision.
    #[must_use]
    pub fn with_precision(mut self, precision: Precision) -> Self {
        let reduced = match precision {
            Precision::Fp32 => Dtype::F32,
            Precision::Fp16 => Dtype::F16,
        };
        let mut single = vec![false; self.values.len()];
        single[self.output.0] = true;
        for node in self.nodes.iter().filter(|node| node.op.single_parameters()) {
            for input in &node.inputs {
                single[input.0] |= self.is_parameter(*input).is_some();
            }
        }
        for (value, single) in self.values.iter_mut().zip(single) {
            value.dtype = if single { Dtype::F32 } else { reduced };
        }
        self
    }

    /// Whether anything in it is in half precision.
    pub fn is_half(&self) -> bool {
        self.values.iter().any(|value| value.dtype == Dtype::F16)
    }

    /// Parameters as products use them: rounded where they are in half precision.
    pub fn cast_parameters(&self, master: &[f32], out: &mut [f32]) {
        out.copy_from_slice(master);
        for parameter in &self.parameters {
            if self.values[parameter.value.0].dtype == Dtype::F16 {
                crate::device::cpu::round_to_half(&mut out[parameter.offset..][..parameter.count()]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Builder, Precision};

    #[test]
    fn products_are_halved_and_norms_and_the_output_are_not() {
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
