//! Numbers of control state in a document: a number where it is finite, which reads back to the same bits, else its name.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A number, or the name of one that a document has no number for.
#[derive(Deserialize, Serialize)]
#[serde(untagged)]
enum Written {
    Number(f64),
    Name(String),
}

/// Writes a number.
#[allow(clippy::trivially_copy_pass_by_ref)] // serde hands over a reference
pub(super) fn serialize<S: Serializer>(value: &f64, serializer: S) -> Result<S::Ok, S::Error> {
    let written = if value.is_finite() { Written::Number(*value) } else { Written::Name(value.to_string()) };
    written.serialize(serializer)
}

/// Reads a number.
///
/// # Errors
/// If it is neither a number nor `NaN`, `inf` or `-inf`.
pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    match Written::deserialize(deserializer)? {
        Written::Number(number) => Ok(number),
        Written::Name(name) => match name.as_str() {
            "NaN" => Ok(f64::NAN),
            "inf" => Ok(f64::INFINITY),
            "-inf" => Ok(f64::NEG_INFINITY),
            _ => Err(D::Error::custom(format!("found \"{name}\", allowed are numbers, NaN, inf and -inf"))),
        },
    }
}

/// A number in a list or an option.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
#[serde(transparent)]
pub(super) struct Exact(#[serde(with = "crate::train::exact")] pub(super) f64);

#[cfg(test)]
mod tests {
    use super::Exact;

    #[test]
    fn every_number_reads_back_to_its_bits_and_nothing_else_is_read() {
        let numbers = [0.1, -0.0, 1e-308, 5e-324, f64::MAX, f64::INFINITY, f64::NEG_INFINITY, 2.0 / 3.0];
        for number in numbers {
            let text = serde_json::to_string(&Exact(number)).unwrap();
            assert_eq!(serde_json::from_str::<Exact>(&text).unwrap().0.to_bits(), number.to_bits(), "{text}");
        }
        assert!(serde_json::from_str::<Exact>(&serde_json::to_string(&Exact(f64::NAN)).unwrap()).unwrap().0.is_nan());
        for text in ["null", "\"nan\"", "true", "\"1\""] {
            assert!(serde_json::from_str::<Exact>(text).is_err(), "{text}");
        }
    }
}
