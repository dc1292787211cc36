//! Finds an op by its name and attributes, as they stand in the text of a program and as plugins pass them.

use std::str::FromStr;

use super::{
    Activation, Arithmetic, Concat, Dropout, LayerNorm, Linear, Lstm, MatMul, Op, Reduce, Reduction, Reshape, Scale,
    Slice, Softmax, Transpose,
};

/// The attributes of an op that have not been read yet: `name=value`, separated by spaces. A value is a number, `true`,
/// `false` or a list such as `[1, 2]`. Only the syntax is checked here; [`Op::shape`] checks the ranges.
struct Attributes<'a>(Vec<(&'a str, &'a str)>);

impl<'a> Attributes<'a> {
    fn parse(text: &'a str) -> Result<Self, String> {
        let mut out: Vec<(&str, &str)> = Vec::new();
        let mut rest = text.trim();
        while !rest.is_empty() {
            let (name, behind) =
                rest.split_once('=').ok_or_else(|| format!("takes attributes as name=value, found \"{rest}\""))?;
            let behind = behind.trim_start();
            let end = match behind.strip_prefix('[') {
                Some(list) => list.find(']').map(|end| end + 2).ok_or("has a list without a closing ]")?,
                None => behind.find(char::is_whitespace).unwrap_or(behind.len()),
            };
            let name = name.trim();
            if out.iter().any(|(known, _)| *known == name) {
                return Err(format!("has the attribute '{name}' twice"));
            }
            out.push((name, &behind[..end]));
            rest = behind[end..].trim_start();
        }
        Ok(Self(out))
    }

    fn take(&mut self, name: &str) -> Result<&'a str, String> {
        let index = self.0.iter().position(|(known, _)| *known == name);
        index.map(|index| self.0.remove(index).1).ok_or_else(|| format!("needs the attribute '{name}'"))
    }

    fn value<T: FromStr>(&mut self, name: &str, allowed: &str) -> Result<T, String> {
        let text = self.take(name)?;
        text.parse().map_err(|_| format!("has {name}={text}, allowed is {allowed}"))
    }

    /// A flag; an attribute that is left out is false.
    fn flag(&mut self, name: &str) -> Result<bool, String> {
        if self.0.iter().any(|(known, _)| *known == name) { self.value(name, "true or false") } else { Ok(false) }
    }

    fn real(&mut self, name: &str) -> Result<f32, String> {
        self.value(name, "a number")
    }

    fn index(&mut self, name: &str) -> Result<usize, String> {
        self.value(name, "a whole number of at least 0")
    }

    fn list(&mut self, name: &str) -> Result<Vec<usize>, String> {
        let text = self.take(name)?;
        let inside = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
        let items = inside.split(',').map(str::trim).filter(|item| !item.is_empty());
        let error = |_| format!("has {name}={text}, allowed is a list of whole numbers of at least 0");
        items.map(|item| item.parse().map_err(error)).collect()
    }
}

/// The names that [`from_name`] knows.
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

/// The op with this name and these attributes, such as `slice` and `axis=0 start=59 length=1`. The range of attributes
/// is checked when the op is added to a program.
///
/// # Errors
/// What is wrong with the name or the attributes, as text that follows the name of the op.
pub fn from_name(name: &str, attributes: &str) -> Result<Box<dyn Op>, String> {
    let mut unread = Attributes::parse(attributes)?;
    let op: Box<dyn Op> = match name {
        "add" => Box::new(Arithmetic::Add),
        "subtract" => Box::new(Arithmetic::Subtract),
        "multiply" => Box::new(Arithmetic::Multiply),
        "scale" => Box::new(Scale { factor: unread.real("factor")?, offset: unread.real("offset")? }),
        "tanh" => Box::new(Activation::Tanh),
        "sigmoid" => Box::new(Activation::Sigmoid),
        "relu" => Box::new(Activation::Relu),
        "leaky_relu" => Box::new(Activation::LeakyRelu { slope: unread.real("slope")? }),
        "elu" => Box::new(Activation::Elu),
        "softmax" => Box::new(Softmax),
        "sum" => Box::new(Reduce { kind: Reduction::Sum, axis: unread.index("axis")? }),
        "mean" => Box::new(Reduce { kind: Reduction::Mean, axis: unread.index("axis")? }),
        "layer_norm" => Box::new(LayerNorm { epsilon: unread.real("epsilon")? }),
        "dropout" => Box::new(Dropout { share: unread.real("share")? }),
        "linear" => Box::new(Linear),
        "lstm" => Box::new(Lstm),
        "matmul" => Box::new(MatMul { transpose_right: unread.flag("transpose_right")? }),
        "reshape" => Box::new(Reshape { shape: unread.list("shape")? }),
        "transpose" => Box::new(Transpose { order: unread.list("order")? }),
        "slice" => {
            let (axis, start, length) = (unread.index("axis")?, unread.index("start")?, unread.index("length")?);
            Box::new(Slice { axis, start, length })
        }
        "concat" => Box::new(Concat { axis: unread.index("axis")? }),
        _ => return Err(format!("is unknown; known are {}", NAMES.join(", "))),
    };
    match unread.0.first() {
        Some((name, _)) => Err(format!("has no attribute '{name}'")),
        None => Ok(op),
    }
}

#[cfg(test)]
type Cases = fn() -> Vec<super::case::Case>;

/// The test cases of every op, by file.
#[cfg(test)]
pub(super) static TABLE: &[(&str, Cases)] = &[
    ("activation", super::activation::cases::all),
    ("arithmetic", super::arithmetic::cases::all),
    ("dropout", super::dropout::cases::all),
    ("linear", super::linear::cases::all),
    ("lstm", super::lstm::cases::all),
    ("matmul", super::matmul::cases::all),
    ("movement", super::movement::cases::all),
    ("normalization", super::normalization::cases::all),
    ("reduction", super::reduction::cases::all),
    ("softmax", super::softmax::cases::all),
];

#[cfg(test)]
mod tests {
    use super::{NAMES, TABLE, from_name};

    #[test]
    fn every_op_is_found_by_its_name_and_attributes() {
        let mut seen = std::collections::BTreeSet::new();
        for (_, cases) in TABLE {
            for case in cases() {
                let (name, attributes) = (case.op.name(), case.op.attributes());
                let found = from_name(name, &attributes).unwrap_or_else(|error| panic!("op '{name}' {error}"));
                assert_eq!((found.name(), found.attributes()), (name, attributes));
                seen.insert(name);
            }
        }
        assert!(NAMES.iter().all(|name| seen.contains(name)), "{seen:?}");
    }

    #[test]
    fn unreadable_names_and_attributes_are_refused_with_what_is_allowed() {
        let error = |name: &str, attributes: &str| from_name(name, attributes).unwrap_err();
        assert!(error("gelu", "").starts_with("is unknown; known are add, concat"));
        assert_eq!(error("slice", "axis=0 start=1"), "needs the attribute 'length'");
        assert_eq!(error("slice", "axis=0 start=-1 length=2"), "has start=-1, allowed is a whole number of at least 0");
        assert_eq!(
            error("reshape", "shape=[2, x]"),
            "has shape=[2, x], allowed is a list of whole numbers of at least 0"
        );
        assert_eq!(error("reshape", "shape=[2"), "has a list without a closing ]");
        assert_eq!(error("relu", "slope=1"), "has no attribute 'slope'");
        assert_eq!(error("scale", "factor=two offset=0"), "has factor=two, allowed is a number");
        assert_eq!(error("matmul", "transpose_right=1"), "has transpose_right=1, allowed is true or false");
        assert_eq!(error("concat", "axis=0 axis=1"), "has the attribute 'axis' twice");
        assert_eq!(error("concat", "axis"), "takes attributes as name=value, found \"axis\"");
    }
}
