//! Convolution over time, with PyTorch's layout of the weights.

#[cfg(test)]
pub(super) mod cases;
mod cpu;

use super::{Attribute, Attributes, Named, Operand, Rule, Uses, check_operand_count};

/// A convolution over time. Operands: x `[…, steps, channels]`, and shared weights `[filters, channels, kernel]` and bias
/// `[filters]`. Output `[…, steps', filters]`: element t is the bias plus the weights times the rows t·stride +
/// k·dilation of x, for k below the kernel size. The axes before the steps are independent sequences.
///
/// A causal convolution puts (kernel − 1)·dilation rows of zeros before x: output t then reads the rows of x up to
/// t·stride and none behind, and with a stride of 1 there are as many steps as before (van den Oord et al. 2016).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conv1d {
    /// Steps from one output to the next; at least 1.
    pub stride: usize,
    /// Steps between the rows that one output reads; at least 1.
    pub dilation: usize,
    /// Whether zeros stand before x.
    pub causal: bool,
}

impl Conv1d {
    /// Rows of zeros before x.
    fn padding(self, kernel: usize) -> usize {
        if self.causal { (kernel - 1) * self.dilation } else { 0 }
    }
}

impl Rule for Conv1d {
    fn name(&self) -> &'static str {
        "conv1d"
    }

    fn attributes(&self) -> Vec<(&'static str, Attribute)> {
        let mut out = Vec::new();
        if self.stride != 1 {
            out.push(("stride", Attribute::Index(self.stride)));
        }
        if self.dilation != 1 {
            out.push(("dilation", Attribute::Index(self.dilation)));
        }
        if self.causal {
            out.push(("causal", Attribute::Flag(true)));
        }
        out
    }

    fn shape(&self, operands: &[Operand]) -> Result<Vec<usize>, String> {
        check_operand_count(operands, 3)?;
        if self.stride == 0 || self.dilation == 0 {
            return Err(format!(
                "takes a stride and a dilation of at least 1, found {} and {}",
                self.stride, self.dilation
            ));
        }
        let shapes: Vec<&[usize]> = operands.iter().map(|operand| operand.shape.as_slice()).collect();
        let error = || {
            format!(
                "takes x […, steps, channels] and shared weights [filters, channels, kernel] and [filters], found {shapes:?}"
            )
        };
        let ([.., steps, channels], [filters, of, kernel]) = (shapes[0], shapes[1]) else { return Err(error()) };
        if of != channels || shapes[2] != [*filters] || operands[1].batched || operands[2].batched || *kernel == 0 {
            return Err(error());
        }
        let span = (kernel - 1).checked_mul(self.dilation).and_then(|span| span.checked_add(1));
        let Some(span) = span.filter(|span| self.causal || *span <= *steps) else {
            return Err(format!(
                "reads {kernel} rows {} steps apart, but x has {steps} steps; allowed are kernels inside x, or causal=true",
                self.dilation
            ));
        };
        let positions = if self.causal { *steps } else { steps - span + 1 };
        let mut out = operands[0].shape.clone();
        let axes = out.len();
        (out[axes - 2], out[axes - 1]) = (positions.div_ceil(self.stride), *filters);
        Ok(out)
    }

    fn uses(&self) -> Uses {
        Uses::of([0, 1])
    }
}

impl Named for Conv1d {
    const NAMES: &'static [&'static str] = &["conv1d"];

    fn read(_name: &str, unread: &mut Attributes) -> Result<Self, String> {
        let mut index = |name| if unread.has(name) { unread.index(name) } else { Ok(1) };
        Ok(Self { stride: index("stride")?, dilation: index("dilation")?, causal: unread.flag("causal")? })
    }
}
