//! The identity of a program: a digest of everything that its results depend on.

use sha2::{Digest, Sha256};

use super::inputs::{Axis, InputSource, Plane};
use super::{Dtype, Init, Program, ValueSource};
use crate::ops::Attribute;

/// Writes the canonical bytes of a program. A number is 8 bytes, the lowest first; a text or list is its length and then
/// its bytes or elements; a kind is one byte.
struct Canonical(Sha256);

impl Canonical {
    fn kind(&mut self, kind: u8) {
        self.0.update([kind]);
    }

    fn number(&mut self, number: usize) {
        self.0.update((number as u64).to_le_bytes());
    }

    fn real(&mut self, real: f32) {
        self.0.update(real.to_bits().to_le_bytes());
    }

    fn text(&mut self, text: &str) {
        self.number(text.len());
        self.0.update(text);
    }

    fn list(&mut self, list: &[usize]) {
        self.number(list.len());
        for number in list {
            self.number(*number);
        }
    }

    fn source(&mut self, source: &InputSource) {
        match source {
            InputSource::Given => self.kind(0),
            InputSource::Trailing { plane, rows } => {
                self.kind(1);
                match plane {
                    Plane::Returns => self.kind(0),
                    Plane::Known => self.kind(1),
                    Plane::Members => self.kind(2),
                    Plane::Feature(index) => {
                        self.kind(3);
                        self.number(*index);
                    }
                }
                self.number(*rows);
            }
            InputSource::Mask => self.kind(2),
            InputSource::Computed { index, shape, normalise } => {
                self.kind(3);
                self.number(*index);
                self.number(shape.len());
                for axis in shape {
                    match axis {
                        Axis::Assets => self.kind(0),
                        Axis::Fixed(length) => {
                            self.kind(1);
                            self.number(*length);
                        }
                    }
                }
                self.kind(u8::from(*normalise));
            }
        }
    }

    fn attribute(&mut self, name: &str, value: &Attribute) {
        self.text(name);
        match value {
            Attribute::Flag(flag) => {
                self.kind(0);
                self.kind(u8::from(*flag));
            }
            Attribute::Real(real) => {
                self.kind(1);
                self.real(*real);
            }
            Attribute::Index(index) => {
                self.kind(2);
                self.number(*index);
            }
            Attribute::List(list) => {
                self.kind(3);
                self.list(list);
            }
        }
    }
}

impl Program {
    /// SHA-256 of the program in canonical bytes: inputs, parameters, ops with their attributes and operands, the
    /// precision of each value, the output. Equal digests mean equal results from equal parameters and data; names of
    /// inputs and parameters count, since checkpoints know tensors by them.
    pub fn digest(&self) -> [u8; 32] {
        self.digest_with(true)
    }

    /// The digest without what replicas of one shape may differ in: programs with equal ones can train on one engine.
    pub fn shape_digest(&self) -> [u8; 32] {
        self.digest_with(false)
    }

    fn digest_with(&self, scalars: bool) -> [u8; 32] {
        let mut out = Canonical(Sha256::new());
        out.text("walkforge program 1");
        out.number(self.inputs.len());
        for input in &self.inputs {
            out.text(&input.name);
            out.list(&input.shape);
            out.source(&input.source);
        }
        out.number(self.parameters.len());
        for parameter in &self.parameters {
            out.text(&parameter.name);
            out.list(&parameter.shape);
            let (kind, value) = match parameter.init {
                Init::Uniform(bound) => (0, bound),
                Init::Constant(value) => (1, value),
            };
            out.kind(kind);
            out.real(value);
        }
        out.number(self.nodes.len());
        for node in &self.nodes {
            out.text(node.op.name());
            let attributes = node.op.typed_attributes();
            out.number(attributes.len());
            let scalar = node.op.rule().scalar().filter(|_| !scalars);
            for (name, value) in &attributes {
                if scalar.is_none_or(|(scalar, _)| scalar != *name) {
                    out.attribute(name, value);
                }
            }
            out.number(node.inputs.len());
            for input in &node.inputs {
                out.number(input.0);
            }
            out.number(node.output.0);
        }
        out.number(self.values.len());
        for value in &self.values {
            let (kind, index) = match value.source {
                ValueSource::Input(index) => (0, index),
                ValueSource::Parameter(index) => (1, index),
                ValueSource::Node(index) => (2, index),
            };
            out.kind(kind);
            out.number(index);
            out.kind(match value.dtype {
                Dtype::F32 => 0,
                Dtype::F16 => 1,
            });
        }
        out.number(self.output.0);
        out.number(self.scores.map_or(usize::MAX, |scores| scores.0));
        out.0.finalize().into()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::{Axis, Builder, InputSource, Plane, Precision, Program};
    use crate::ops::Activation;

    fn network(name: &str, source: InputSource, slope: f32, hidden: usize) -> Program {
        let mut builder = Builder::new();
        let x = builder.input_from(name, &[4, 3], source).unwrap();
        let states = builder.lstm("lstm", x, hidden).unwrap();
        let last = builder.last(states).unwrap();
        let y = builder.activation(last, Activation::LeakyRelu { slope }).unwrap();
        builder.finish(y).unwrap()
    }

    fn hex(digest: [u8; 32]) -> String {
        digest
            .iter()
            .flat_map(|byte| [byte >> 4, byte & 15])
            .filter_map(|digit| char::from_digit(digit.into(), 16))
            .collect()
    }

    #[test]
    fn a_digest_stays_as_it_is_and_sees_every_difference() {
        let trailing = |plane, rows| InputSource::Trailing { plane, rows };
        let base = || network("x", trailing(Plane::Returns, 4), 0.2, 5);
        assert_eq!(hex(base().digest()), "321e629e47fef5f1a58578e6055d517cffd5f1547559669b0dd59b052fd7d9c6");
        assert_eq!(base().digest(), base().digest());
        let computed = |index, shape, normalise| InputSource::Computed { index, shape, normalise };
        let shape = || vec![Axis::Fixed(4), Axis::Assets];
        let others = [
            base(),
            base().with_precision(Precision::Fp16),
            network("y", trailing(Plane::Returns, 4), 0.2, 5),
            network("x", trailing(Plane::Returns, 4), 0.1, 5),
            network("x", trailing(Plane::Returns, 4), 0.2, 6),
            network("x", trailing(Plane::Returns, 5), 0.2, 5),
            network("x", trailing(Plane::Known, 4), 0.2, 5),
            network("x", trailing(Plane::Members, 4), 0.2, 5),
            network("x", trailing(Plane::Feature(0), 4), 0.2, 5),
            network("x", trailing(Plane::Feature(1), 4), 0.2, 5),
            network("x", InputSource::Mask, 0.2, 5),
            network("x", InputSource::Given, 0.2, 5),
            network("x", computed(0, shape(), false), 0.2, 5),
            network("x", computed(1, shape(), false), 0.2, 5),
            network("x", computed(0, shape(), true), 0.2, 5),
            network("x", computed(0, vec![Axis::Fixed(4), Axis::Fixed(3)], true), 0.2, 5),
        ];
        for digest in [Program::digest, Program::shape_digest] {
            let digests: BTreeSet<[u8; 32]> = others.iter().map(digest).collect();
            assert_eq!(digests.len(), others.len());
        }
    }

    #[test]
    fn programs_that_differ_in_scalars_alone_have_one_shape() {
        let dropout = |shares: [f32; 2]| {
            let mut builder = Builder::new();
            let x = builder.input("x", &[3]).unwrap();
            let x = builder.dropout(x, shares[0]).unwrap();
            let x = builder.linear("head", x, 2).unwrap();
            let x = builder.dropout(x, shares[1]).unwrap();
            builder.finish(x).unwrap()
        };
        let (one, two) = (dropout([0.1, 0.2]), dropout([0.1, 0.3]));
        assert_eq!((&one.scalars()[..], &two.scalars()[..]), (&[0.1, 0.0, 0.2][..], &[0.1, 0.0, 0.3][..]));
        assert_ne!(one.digest(), two.digest());
        assert_eq!(one.shape_digest(), two.shape_digest());
    }
}
