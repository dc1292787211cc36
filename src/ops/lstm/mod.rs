//! An LSTM layer over a sequence (Hochreiter and Schmidhuber 1997, with the forget gate of Gers et al. 2000), with
//! PyTorch's gate order i, f, g, o and its two biases.

#[cfg(test)]
pub(super) mod cases;
mod cpu;

pub(crate) use cpu::LstmPackedWeights;

use super::{Attributes, Named, Operand, Rule, Uses, check_operand_count};

/// An LSTM layer. Operands: x `[…, steps, inputs]`, and shared input weights `[4 hidden, inputs]`, recurrent weights
/// `[4 hidden, hidden]`, input bias and recurrent bias, both `[4 hidden]`. Output: the hidden state at every step,
/// `[…, steps, hidden]`. States begin at 0. The axes before the steps are independent sequences, such as one per asset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lstm;

impl Rule for Lstm {
    fn name(&self) -> &'static str {
        "lstm"
    }

    fn shape(&self, operands: &[Operand]) -> Result<Vec<usize>, String> {
        check_operand_count(operands, 5)?;
        let shapes: Vec<&[usize]> = operands.iter().map(|operand| operand.shape.as_slice()).collect();
        let hidden = shapes[2].get(1).copied().unwrap_or(0);
        let agree = shapes[0].len() >= 2
            && hidden > 0
            && shapes[1] == [4 * hidden, operands[0].last_axis()]
            && shapes[2] == [4 * hidden, hidden]
            && shapes[3] == [4 * hidden]
            && shapes[4] == [4 * hidden]
            && operands[1..].iter().all(|operand| !operand.batched);
        if !agree {
            return Err(format!(
                "takes x […, steps, inputs] and shared weights [4 hidden, inputs], [4 hidden, hidden], [4 hidden] and \
                 [4 hidden], found {shapes:?}"
            ));
        }
        let mut out = operands[0].shape.clone();
        out.pop();
        out.push(hidden);
        Ok(out)
    }

    fn uses(&self) -> Uses {
        // The biases are read if gates are recomputed. Naming them costs no memory, as parameters are kept anyway.
        Uses { output: true, ..Uses::of([0, 1, 2, 3, 4]) }
    }
}

impl Named for Lstm {
    const NAMES: &'static [&'static str] = &["lstm"];

    fn read(_name: &str, _unread: &mut Attributes) -> Result<Self, String> {
        Ok(Self)
    }
}
