//! The closed set of ops, one line each. A match over [`Op`] is exhaustive, so a device or an export that lacks an op is
//! found by the compiler.

use super::{Attributes, CpuKernel, Named, Rule};

/// Declares [`Op`] and what is found by its kind or name.
macro_rules! ops {
    ($($folder:ident::$kind:ident,)+) => {
        /// An op with its attributes.
        #[derive(Clone, Debug, PartialEq)]
        #[allow(missing_docs)]
        pub enum Op {
            $($kind(super::$folder::$kind),)+
        }

        $(
            impl From<super::$folder::$kind> for Op {
                fn from(op: super::$folder::$kind) -> Self {
                    Self::$kind(op)
                }
            }
        )+

        impl Op {
            /// Its rule, which knows no device.
            pub(crate) fn rule(&self) -> &dyn Rule {
                match self {
                    $(Self::$kind(op) => op,)+
                }
            }

            /// Its kernel on the CPU.
            pub(crate) fn cpu(&self) -> &dyn CpuKernel {
                match self {
                    $(Self::$kind(op) => op,)+
                }
            }
        }

        /// The names that [`from_name`] knows.
        pub fn names() -> Vec<&'static str> {
            let mut out: Vec<&str> = [$(super::$folder::$kind::NAMES),+].concat();
            out.sort_unstable();
            out
        }

        /// Reads the op of a known name; `None` if there is none.
        fn read(name: &str, unread: &mut Attributes) -> Option<Result<Op, String>> {
            $(
                if super::$folder::$kind::NAMES.contains(&name) {
                    return Some(super::$folder::$kind::read(name, unread).map(Op::from));
                }
            )+
            None
        }

        /// The test cases of every op, by folder.
        #[cfg(test)]
        pub(crate) static CASES: &[(&str, fn() -> Vec<super::case::Case>)] =
            &[$((stringify!($folder), super::$folder::cases::all)),+];
    };
}

ops! {
    activation::Activation,
    arithmetic::Arithmetic,
    attention::Attention,
    concat::Concat,
    conv1d::Conv1d,
    dropout::Dropout,
    elementwise::Elementwise,
    layer_norm::LayerNorm,
    linear::Linear,
    lstm::Lstm,
    matmul::MatMul,
    reduce::Reduce,
    reshape::Reshape,
    scale::Scale,
    slice::Slice,
    softmax::Softmax,
    transpose::Transpose,
}

/// The op with this name and these attributes, such as `slice` and `axis=0 start=59 length=1`. The range of attributes
/// is checked when the op is added to a program.
///
/// # Errors
/// What is wrong with the name or the attributes, as text that follows the name of the op.
pub fn from_name(name: &str, attributes: &str) -> Result<Op, String> {
    let mut unread = Attributes::parse(attributes)?;
    let op = read(name, &mut unread).ok_or_else(|| format!("is unknown; known are {}", names().join(", ")))??;
    unread.finish()?;
    Ok(op)
}

#[cfg(test)]
mod tests {
    use super::{CASES, from_name, names};

    #[test]
    fn every_op_is_found_by_its_name_and_attributes() {
        let mut seen = std::collections::BTreeSet::new();
        for (_, cases) in CASES {
            for case in cases() {
                let (name, attributes) = (case.op.name(), case.op.attributes());
                let found = from_name(name, &attributes).unwrap_or_else(|error| panic!("op '{name}' {error}"));
                assert_eq!(found, case.op);
                seen.insert(name);
            }
        }
        assert!(names().iter().all(|name| seen.contains(name)), "{seen:?}");
        assert!(names().is_sorted() && names().windows(2).all(|pair| pair[0] != pair[1]));
    }

    #[test]
    fn unreadable_names_and_attributes_are_refused_with_what_is_allowed() {
        let error = |name: &str, attributes: &str| from_name(name, attributes).unwrap_err();
        assert!(error("gelu", "").starts_with("is unknown; known are a"));
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
