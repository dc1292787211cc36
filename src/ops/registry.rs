//! Ops by their name and attributes, as a program's text shows them: how plugins ask for an op.

use super::{
    Activation, Arithmetic, Concat, Dropout, LayerNorm, Linear, Lstm, MatMul, Op, Reduce, Reduction, Reshape, Scale,
    Slice, Softmax, Transpose,
};

/// Attributes of an op that are being read: `name=value` with spaces between them; a value is a number, `true`, `false` or
/// a list as `[1, 2]`.
struct Attributes<'a>(Vec<(&'a str, &'a str)>);

impl<'a> Attributes<'a> {
    fn read(text: &'a str) -> Result<Self, String> {
        let mut out: Vec<(&str, &str)> = Vec::new();
        let mut rest = text.trim();
        while !rest.is_empty() {
            let (name, behind) = rest.split_once('=').ok_or_else(|| format!("takes name=value, found \"{rest}\""))?;
            let behind = behind.trim_start();
            let end = match behind.strip_prefix('[') {
                Some(list) => list.find(']').map(|at| at + 2).ok_or("has a list without its end")?,
                None => behind.find(char::is_whitespace).unwrap_or(behind.len()),
            };
            let name = name.trim();
            if out.iter().any(|(known, _)| *known == name) {
                return Err(format!("has '{name}' twice"));
            }
            out.push((name, &behind[..end]));
            rest = behind[end..].trim_start();
        }
        Ok(Self(out))
    }

    fn take(&mut self, name: &str) -> Result<&'a str, String> {
        let place = self.0.iter().position(|(known, _)| *known == name);
        place.map(|place| self.0.remove(place).1).ok_or_else(|| format!("needs the attribute '{name}'"))
    }

    fn value<T: std::str::FromStr>(&mut self, name: &str) -> Result<T, String> {
        let text = self.take(name)?;
        text.parse().map_err(|_| format!("has {name}={text}, which cannot be"))
    }

    /// Whether it is set; an attribute that is left out is not.
    fn flag(&mut self, name: &str) -> Result<bool, String> {
        if self.0.iter().any(|(known, _)| *known == name) { self.value(name) } else { Ok(false) }
    }

    /// A finite number.
    fn number(&mut self, name: &str) -> Result<f32, String> {
        let value: f32 = self.value(name)?;
        if value.is_finite() { Ok(value) } else { Err(format!("has {name}={value}, allowed is a finite number")) }
    }

    fn list(&mut self, name: &str) -> Result<Vec<usize>, String> {
        let text = self.take(name)?;
        let inside = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
        let parts = inside.split(',').map(str::trim).filter(|part| !part.is_empty());
        parts.map(|part| part.parse().map_err(|_| format!("has {name}={text}, allowed is a list of counts"))).collect()
    }
}

/// Names of every op that [`named`] knows.
pub const NAMES: &[&str] = &[
    "add",
    "concat",
    "dropout",
    "elu",
    "layer_norm",
    "leaky_relu",
    "linear",
    "lstm",
    "matmul",
    "mean",
    "multiply",
    "relu",
    "reshape",
    "scale",
    "sigmoid",
    "slice",
    "softmax",
    "subtract",
    "sum",
    "tanh",
    "transpose",
];

/// The op of this name with these attributes, such as `slice` and `axis=0 start=59 length=1`.
///
/// # Errors
/// What is wrong with name or attributes, in words that follow the op's name.
pub fn from_name(name: &str, attributes: &str) -> Result<Box<dyn Op>, String> {
    let mut with = Attributes::read(attributes)?;
    let op: Box<dyn Op> = match name {
        "add" => Box::new(Arithmetic::Add),
        "subtract" => Box::new(Arithmetic::Subtract),
        "multiply" => Box::new(Arithmetic::Multiply),
        "scale" => Box::new(Scale { factor: with.number("factor")?, offset: with.number("offset")? }),
        "tanh" => Box::new(Activation::Tanh),
        "sigmoid" => Box::new(Activation::Sigmoid),
        "relu" => Box::new(Activation::Relu),
        "leaky_relu" => Box::new(Activation::LeakyRelu { slope: with.number("slope")? }),
        "elu" => Box::new(Activation::Elu),
        "softmax" => Box::new(Softmax),
        "sum" => Box::new(Reduce { kind: Reduction::Sum, axis: with.value("axis")? }),
        "mean" => Box::new(Reduce { kind: Reduction::Mean, axis: with.value("axis")? }),
        "layer_norm" => Box::new(LayerNorm { epsilon: with.number("epsilon")? }),
        "dropout" => Box::new(Dropout { share: with.number("share")? }),
        "linear" => Box::new(Linear),
        "lstm" => Box::new(Lstm),
        "matmul" => Box::new(MatMul { transpose_right: with.flag("transpose_right")? }),
        "reshape" => Box::new(Reshape { shape: with.list("shape")? }),
        "transpose" => Box::new(Transpose { order: with.list("order")? }),
        "slice" => {
            let (axis, start, length) = (with.value("axis")?, with.value("start")?, with.value("length")?);
            Box::new(Slice { axis, start, length })
        }
        "concat" => Box::new(Concat { axis: with.value("axis")? }),
        _ => return Err(format!("is unknown; known are {}", NAMES.join(", "))),
    };
    match with.0.first() {
        Some((name, _)) => Err(format!("knows no attribute '{name}'")),
        None => Ok(op),
    }
}

#[cfg(test)]
mod tests {
    use super::super::cases::TABLE;
    use super::{NAMES, from_name};

    #[test]
    fn every_op_is_found_by_what_its_text_says() {
        let mut seen = std::collections::BTreeSet::new();
        for (_, made) in TABLE {
            for case in made() {
                let (name, attributes) = (case.op.name(), case.op.attributes());
                let again = from_name(name, &attributes).unwrap_or_else(|text| panic!("op '{name}' {text}"));
                assert_eq!((again.name(), again.attributes()), (name, attributes));
                seen.insert(name);
            }
        }
        assert!(NAMES.iter().all(|name| seen.contains(name)), "{seen:?}");
    }

    #[test]
    fn what_cannot_be_read_is_told() {
        let told = |name: &str, attributes: &str| from_name(name, attributes).unwrap_err();
        assert!(told("gelu", "").starts_with("is unknown; known are add, concat"));
        assert_eq!(told("slice", "axis=0 start=1"), "needs the attribute 'length'");
        assert_eq!(told("slice", "axis=0 start=-1 length=2"), "has start=-1, which cannot be");
        assert_eq!(told("reshape", "shape=[2, x]"), "has shape=[2, x], allowed is a list of counts");
        assert_eq!(told("reshape", "shape=[2"), "has a list without its end");
        assert_eq!(told("relu", "slope=1"), "knows no attribute 'slope'");
        assert_eq!(told("scale", "factor=inf offset=0"), "has factor=inf, allowed is a finite number");
        assert_eq!(told("concat", "axis=0 axis=1"), "has 'axis' twice");
        assert_eq!(told("concat", "axis"), "takes name=value, found \"axis\"");
    }
}
