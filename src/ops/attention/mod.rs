//! Scaled dot-product attention with any number of heads (Vaswani et al. 2017, section 3.2), fused: no scores are kept
//! between its products, and no head is copied to memory of its own.

#[cfg(test)]
pub(super) mod cases;
mod cpu;

use super::{Attribute, Attributes, Named, Operand, Rule, Uses};

/// Attention. Operands: query `[…, queries, width]`, key `[…, keys, width]`, value `[…, keys, values]`, with equal
/// leading axes, and optionally a mask `[keys]` or `[queries, keys]`. Output `[…, queries, values]`. The width and the
/// values are split into equal parts, one per head; a head gives softmax(query keyᵀ / √(its width)) value.
///
/// Keys whose mask is 0 have exactly no weight; a query without other keys gets 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attention {
    /// Number of heads; a divisor of the width and of the values.
    pub heads: usize,
}

impl Rule for Attention {
    fn name(&self) -> &'static str {
        "attention"
    }

    fn attributes(&self) -> Vec<(&'static str, Attribute)> {
        if self.heads == 1 { Vec::new() } else { vec![("heads", Attribute::Index(self.heads))] }
    }

    fn shape(&self, operands: &[Operand]) -> Result<Vec<usize>, String> {
        let [query, key, value, masks @ ..] = operands else {
            return Err(format!("takes query, key, value and optionally a mask, found {} operands", operands.len()));
        };
        if masks.len() > 1 {
            return Err(format!("takes query, key, value and optionally a mask, found {} operands", operands.len()));
        }
        let error = || {
            format!(
                "takes query […, queries, width], key […, keys, width] and value […, keys, values] with equal leading \
                 axes, found {:?}, {:?} and {:?}",
                query.shape, key.shape, value.shape
            )
        };
        let (
            [leading @ .., queries, width],
            [key_leading @ .., keys, key_width],
            [value_leading @ .., value_keys, values],
        ) = (query.shape.as_slice(), key.shape.as_slice(), value.shape.as_slice())
        else {
            return Err(error());
        };
        if leading != key_leading || leading != value_leading || width != key_width || keys != value_keys {
            return Err(error());
        }
        if self.heads == 0 || !width.is_multiple_of(self.heads) || !values.is_multiple_of(self.heads) {
            return Err(format!(
                "has heads={}, allowed is a divisor of the width {width} and of the values {values}",
                self.heads
            ));
        }
        if let Some(mask) = masks.first()
            && mask.shape != [*keys]
            && mask.shape != [*queries, *keys]
        {
            return Err(format!(
                "takes a mask [{keys}] or [{queries}, {keys}], the keys of all queries or of each, found {:?}",
                mask.shape
            ));
        }
        Ok([leading, &[*queries, *values]].concat())
    }

    fn uses(&self) -> Uses {
        Uses::of([0, 1, 2, 3])
    }
}

impl Named for Attention {
    const NAMES: &'static [&'static str] = &["attention"];

    fn read(_name: &str, unread: &mut Attributes) -> Result<Self, String> {
        Ok(Self { heads: if unread.has("heads") { unread.index("heads")? } else { 1 } })
    }
}
