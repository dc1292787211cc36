//! The attributes of an op: one typed list, from which its text is written, read and digested.

use std::fmt;
use std::str::FromStr;

/// The value of an attribute.
#[derive(Clone, Debug, PartialEq)]
pub enum Attribute {
    /// `true` or `false`.
    Flag(bool),
    /// A number.
    Real(f32),
    /// A whole number of at least 0.
    Index(usize),
    /// Whole numbers of at least 0, such as a shape.
    List(Vec<usize>),
}

impl fmt::Display for Attribute {
    fn fmt(&self, out: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Self::Flag(flag) => write!(out, "{flag}"),
            Self::Real(real) => write!(out, "{real}"),
            Self::Index(index) => write!(out, "{index}"),
            Self::List(list) => write!(out, "{list:?}"),
        }
    }
}

/// Attributes as text: `name=value`, separated by spaces.
pub(super) fn text(attributes: &[(&'static str, Attribute)]) -> String {
    attributes.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(" ")
}

/// The attributes of an op that have not been read yet, as they stand in the text of a program and as plugins pass them:
/// `name=value`, separated by spaces. A value is a number, `true`, `false` or a list such as `[1, 2]`. Only the syntax is
/// checked here; the rule of the op checks the ranges.
pub(super) struct Attributes<'a>(Vec<(&'a str, &'a str)>);

impl<'a> Attributes<'a> {
    pub(super) fn parse(text: &'a str) -> Result<Self, String> {
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

    /// Whether the attribute is given.
    pub(super) fn has(&self, name: &str) -> bool {
        self.0.iter().any(|(known, _)| *known == name)
    }

    /// A flag; an attribute that is left out is false.
    pub(super) fn flag(&mut self, name: &str) -> Result<bool, String> {
        if self.has(name) { self.value(name, "true or false") } else { Ok(false) }
    }

    pub(super) fn real(&mut self, name: &str) -> Result<f32, String> {
        self.value(name, "a number")
    }

    pub(super) fn index(&mut self, name: &str) -> Result<usize, String> {
        self.value(name, "a whole number of at least 0")
    }

    pub(super) fn list(&mut self, name: &str) -> Result<Vec<usize>, String> {
        let text = self.take(name)?;
        let inside = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
        let items = inside.split(',').map(str::trim).filter(|item| !item.is_empty());
        let error = |_| format!("has {name}={text}, allowed is a list of whole numbers of at least 0");
        items.map(|item| item.parse().map_err(error)).collect()
    }

    /// Refuses what was not read.
    pub(super) fn finish(self) -> Result<(), String> {
        match self.0.first() {
            Some((name, _)) => Err(format!("has no attribute '{name}'")),
            None => Ok(()),
        }
    }
}
