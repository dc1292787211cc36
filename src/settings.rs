//! Declarations of settings: name, type, range, default and documentation, each in one place. The checks, the error
//! messages and the reference come from the declaration. Plugins declare their settings in the same terms, as JSON.

use std::collections::BTreeMap;
use std::fmt;

use jiff::civil::Date;
use serde_json::{Map, Value as Json, json};

use crate::error::{Code, Error, Result, fail};

/// The type of a setting and its allowed values.
#[derive(Clone, Debug, PartialEq)]
pub enum SettingType {
    /// A whole number between the bounds, inclusive.
    Integer(i64, i64),
    /// A finite number between the bounds, inclusive.
    Real(f64, f64),
    /// `true` or `false`.
    Boolean,
    /// Any text.
    Text,
    /// One of these names.
    Choice(Vec<String>),
    /// A calendar date, `YYYY-MM-DD`.
    Date,
}

/// The allowed values, as error messages and the reference show them.
impl fmt::Display for SettingType {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SettingType::Integer(low, i64::MAX) => write!(out, "a whole number of at least {low}"),
            SettingType::Integer(low, high) => write!(out, "a whole number from {low} to {high}"),
            SettingType::Real(low, high) if *high == f64::MAX => write!(out, "a number of at least {low}"),
            SettingType::Real(low, high) => write!(out, "a number from {low} to {high}"),
            SettingType::Boolean => out.write_str("true or false"),
            SettingType::Text => out.write_str("a text"),
            SettingType::Choice(names) => write!(out, "one of {}", names.join(", ")),
            SettingType::Date => out.write_str("a date as YYYY-MM-DD"),
        }
    }
}

/// An enum without fields whose variants have names, used in settings, messages and output files. `choices!` declares
/// such an enum.
pub trait Choice: Copy + 'static {
    /// Every variant, in the order in which users see the names.
    const ALL: &'static [Self];

    /// The name of the variant.
    fn name(self) -> &'static str;

    /// The variant of that name.
    fn from_name(name: &str) -> Option<Self>;

    /// All names with commas between them, for messages.
    fn list() -> String {
        Self::ALL.iter().map(|choice| choice.name()).collect::<Vec<_>>().join(", ")
    }
}

/// Declares an enum together with the names of its variants, and implements [`Choice`] for it. A variant without a name
/// does not compile, and the compiler warns if two variants share a name.
///
/// ```text
/// choices! {
///     /// How the train span moves.
///     pub enum Scheme {
///         /// It keeps its length and moves with the window.
///         Rolling = "rolling",
///         /// It always starts at the first window's start.
///         Expanding = "expanding",
///     }
/// }
/// ```
macro_rules! choices {
    (
        $(#[$attribute:meta])*
        $visibility:vis enum $type:ident {
            $($(#[$variant_attribute:meta])* $variant:ident = $name:literal,)+
        }
    ) => {
        $(#[$attribute])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        $visibility enum $type {
            $($(#[$variant_attribute])* $variant,)+
        }

        impl $crate::settings::Choice for $type {
            const ALL: &'static [Self] = &[$(Self::$variant),+];

            fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)+
                }
            }

            fn from_name(name: &str) -> Option<Self> {
                match name {
                    $($name => Some(Self::$variant),)+
                    _ => None,
                }
            }
        }
    };
}
pub(crate) use choices;

/// Parses TOML. A date without quotes is the text of that date.
///
/// # Errors
/// The parser's error.
pub fn parse_toml(text: &str) -> std::result::Result<Json, toml::de::Error> {
    fn dates_to_text(value: &mut Json) {
        match value {
            // The form in which the parser hands dates to a reader of JSON values.
            Json::Object(table) if table.len() == 1 && table.contains_key("$__toml_private_datetime") => {
                *value = table["$__toml_private_datetime"].take();
            }
            Json::Object(table) => table.values_mut().for_each(dates_to_text),
            Json::Array(list) => list.iter_mut().for_each(dates_to_text),
            _ => (),
        }
    }
    let mut tree: Json = toml::from_str(text)?;
    dates_to_text(&mut tree);
    Ok(tree)
}

/// The declaration of one setting.
#[derive(Clone, Debug, PartialEq)]
pub struct Setting {
    /// The name within its section.
    pub name: String,
    /// The type and range.
    pub kind: SettingType,
    /// The default; null if there is none, and `doc` says what leaving the setting out means.
    pub default: Json,
    /// The meaning, with the unit.
    pub doc: String,
}

impl Setting {
    /// Declares a setting. With a default of null it may be left out.
    pub fn new(name: &str, kind: SettingType, default: impl Into<Json>, doc: &str) -> Self {
        Self { name: name.to_owned(), kind, default: default.into(), doc: doc.to_owned() }
    }

    /// Declares a setting that names one of the variants of `T`.
    pub fn choice<T: Choice>(name: &str, default: T, doc: &str) -> Self {
        let names = T::ALL.iter().map(|choice| choice.name().to_owned()).collect();
        Self::new(name, SettingType::Choice(names), default.name(), doc)
    }

    fn accepts(&self, value: &Json) -> bool {
        match &self.kind {
            SettingType::Integer(low, high) => value.as_i64().is_some_and(|value| (*low..=*high).contains(&value)),
            SettingType::Real(low, high) => value.as_f64().is_some_and(|value| (*low..=*high).contains(&value)),
            SettingType::Boolean => value.is_boolean(),
            SettingType::Text => value.is_string(),
            SettingType::Choice(names) => value.as_str().is_some_and(|text| names.iter().any(|name| name == text)),
            SettingType::Date => value.as_str().is_some_and(|text| text.len() == 10 && text.parse::<Date>().is_ok()),
        }
    }

    /// Reads the list of declarations from the JSON of a plugin's `describe()`; null is an empty list.
    ///
    /// # Errors
    /// `PluginAbi` with the setting and what is wrong with it.
    pub fn list_from_json(list: &Json) -> Result<Vec<Self>> {
        let list = match list {
            Json::Null => return Ok(Vec::new()),
            Json::Array(list) => list,
            _ => fail!(PluginAbi, "'settings' must be a list"),
        };
        let mut out: Vec<Self> = Vec::with_capacity(list.len());
        for declaration in list {
            let setting = Self::from_json(declaration)?;
            if out.iter().any(|other| other.name == setting.name) {
                fail!(PluginAbi, "setting '{}' is declared twice", setting.name);
            }
            out.push(setting);
        }
        Ok(out)
    }

    /// Reads a declaration from the JSON of a plugin's `describe()`.
    ///
    /// # Errors
    /// `PluginAbi` with the field that is missing or wrong.
    pub fn from_json(declaration: &Json) -> Result<Self> {
        let label = declaration["name"].as_str().map_or_else(|| declaration.to_string(), str::to_owned);
        let label: String = label.chars().take(80).collect();
        let text = |field: &str| {
            declaration[field].as_str().map(str::to_owned).ok_or_else(|| {
                Error::new(Code::PluginAbi, format!("field '{field}' of setting '{label}' must be a text"))
            })
        };
        let name = text("name")?;
        let is_allowed = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '_' | '-');
        if name.is_empty() || name.len() > 80 || !name.chars().all(is_allowed) {
            fail!(PluginAbi, "setting '{label}': a name has 1 to 80 letters, digits, _ and -");
        }
        let kind = match text("type")?.as_str() {
            "integer" => {
                let (low, high) = bounds(declaration, &name, "a whole number", Json::as_i64)?;
                SettingType::Integer(low.unwrap_or(i64::MIN), high.unwrap_or(i64::MAX))
            }
            "real" => {
                let (low, high) = bounds(declaration, &name, "a number", Json::as_f64)?;
                SettingType::Real(low.unwrap_or(f64::MIN), high.unwrap_or(f64::MAX))
            }
            "boolean" => SettingType::Boolean,
            "text" => SettingType::Text,
            "choice" => {
                let names = declaration["choices"].as_array().map(Vec::as_slice).unwrap_or_default();
                let names: Option<Vec<String>> = names.iter().map(|name| name.as_str().map(str::to_owned)).collect();
                match names {
                    Some(names) if !names.is_empty() => SettingType::Choice(names),
                    _ => fail!(PluginAbi, "field 'choices' of setting '{name}' must be a list of at least one text"),
                }
            }
            "date" => SettingType::Date,
            other => fail!(
                PluginAbi,
                "setting '{name}' is of type {other:.80?}; allowed are integer, real, boolean, text, choice, date"
            ),
        };
        let setting = Self { kind, default: declaration["default"].clone(), doc: text("doc")?, name };
        if !setting.default.is_null() && !setting.accepts(&setting.default) {
            fail!(PluginAbi, "the default {} of setting '{}' is not {}", setting.default, setting.name, setting.kind);
        }
        Ok(setting)
    }
}

/// The bounds in the declaration of a numeric setting; each may be left out.
fn bounds<T: PartialOrd>(
    declaration: &Json,
    name: &str,
    expected: &str,
    read: impl Fn(&Json) -> Option<T>,
) -> Result<(Option<T>, Option<T>)> {
    let bound = |field: &str| match &declaration[field] {
        Json::Null => Ok(None),
        value => match read(value) {
            Some(bound) => Ok(Some(bound)),
            None => fail!(PluginAbi, "field '{field}' of setting '{name}' must be {expected}"),
        },
    };
    let (low, high) = (bound("minimum")?, bound("maximum")?);
    if low.as_ref().zip(high.as_ref()).is_some_and(|(low, high)| low > high) {
        fail!(PluginAbi, "setting '{name}' has a minimum above its maximum");
    }
    Ok((low, high))
}

/// The checked values of one section, with defaults filled in.
#[derive(Clone, Debug, PartialEq)]
pub struct SettingValues {
    section: String,
    values: BTreeMap<String, Json>,
}

impl SettingValues {
    /// Checks `given` against the declarations and fills in defaults. Messages name the section as `section`, for
    /// instance `windows` or `models.hrp.settings`.
    ///
    /// # Errors
    /// `InvalidSetting` with the setting, what was found and what is allowed; for an unknown key, with the nearest
    /// setting.
    pub fn check(section: &str, declared: &[Setting], given: &Map<String, Json>) -> Result<Self> {
        let names: Vec<&str> = declared.iter().map(|setting| setting.name.as_str()).collect();
        for key in given.keys() {
            if !names.contains(&key.as_str()) {
                return Err(unknown(&join(section, key), key, &names));
            }
        }
        let mut values = BTreeMap::new();
        for setting in declared {
            let value = match given.get(&setting.name) {
                None => setting.default.clone(),
                Some(value) if setting.accepts(value) => value.clone(),
                Some(value) => fail!(
                    InvalidSetting,
                    "setting '{}': found {value}, allowed is {}",
                    join(section, &setting.name),
                    setting.kind
                ),
            };
            values.insert(setting.name.clone(), value);
        }
        Ok(Self { section: section.to_owned(), values })
    }

    /// The value of a setting; `None` if it was left out and has no default.
    pub fn get(&self, name: &str) -> Option<&Json> {
        self.values.get(name).filter(|value| !value.is_null())
    }

    /// The whole number of an [`SettingType::Integer`] setting.
    pub fn integer(&self, name: &str) -> Result<i64> {
        self.get(name).and_then(Json::as_i64).ok_or_else(|| self.absent(name, "a whole number"))
    }

    /// The whole number of a setting whose lower bound is at least 0.
    pub fn count(&self, name: &str) -> Result<usize> {
        usize::try_from(self.integer(name)?).map_err(|_| self.absent(name, "a count"))
    }

    /// The number of a [`SettingType::Real`] setting.
    pub fn real(&self, name: &str) -> Result<f64> {
        self.get(name).and_then(Json::as_f64).ok_or_else(|| self.absent(name, "a number"))
    }

    /// The value of a [`SettingType::Boolean`] setting.
    pub fn boolean(&self, name: &str) -> Result<bool> {
        self.get(name).and_then(Json::as_bool).ok_or_else(|| self.absent(name, "true or false"))
    }

    /// The text of a [`SettingType::Text`] or [`SettingType::Choice`] setting.
    pub fn text(&self, name: &str) -> Result<&str> {
        self.get(name).and_then(Json::as_str).ok_or_else(|| self.absent(name, "a text"))
    }

    /// The variant of `T` that a setting declared by [`Setting::choice`] names.
    pub fn choice<T: Choice>(&self, name: &str) -> Result<T> {
        T::from_name(self.text(name)?).ok_or_else(|| self.absent(name, &format!("one of {}", T::list())))
    }

    /// The date of a [`SettingType::Date`] setting; `None` if it was left out.
    pub fn date(&self, name: &str) -> Option<Date> {
        self.get(name).and_then(Json::as_str).and_then(|text| text.parse().ok())
    }

    /// All values as a JSON object, sorted by name.
    pub fn to_json(&self) -> Json {
        json!(self.values)
    }

    fn absent(&self, name: &str, expected: &str) -> Error {
        Error::new(Code::InvalidSetting, format!("setting '{}' must be {expected}", join(&self.section, name)))
    }
}

/// The error for a key that is not declared; it names the nearest allowed key, or all of them if none is near.
pub(crate) fn unknown(path: &str, key: &str, allowed: &[&str]) -> Error {
    // Time and memory of a distance grow with the length of the key, and no setting is near a long key.
    let nearest = allowed
        .iter()
        .filter(|name| key.len() <= 3 * name.len().max(16))
        .map(|name| (strsim::damerau_levenshtein(key, name), *name))
        .min()
        .filter(|(distance, name)| *distance <= name.len().max(key.len()).div_ceil(2));
    let hint = match nearest {
        Some((_, name)) => format!("did you mean '{name}'?"),
        None => format!("allowed are {}", allowed.join(", ")),
    };
    Error::new(Code::InvalidSetting, format!("setting '{path}' is unknown; {hint}"))
}

fn join(section: &str, name: &str) -> String {
    if section.is_empty() { name.to_owned() } else { format!("{section}.{name}") }
}

/// Checks a setting that is a number or names a file.
///
/// # Errors
/// `InvalidSetting` if it is a number that is not allowed.
pub(crate) fn number_or_file(name: &str, text: &str, allowed: &std::ops::RangeInclusive<f64>) -> Result<String> {
    match text.parse::<f64>() {
        Ok(value) if !allowed.contains(&value) => fail!(
            InvalidSetting,
            "setting '{name}': found {text}, allowed is a fraction from {} to {}, such as 0.03 for 3 %, or a file",
            allowed.start(),
            allowed.end()
        ),
        _ => Ok(text.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::{Choice, Setting, SettingType, SettingValues};
    use serde_json::{Map, Value as Json, json};

    choices! {
        enum Scheme {
            Rolling = "rolling",
            Expanding = "expanding",
        }
    }

    fn declared() -> Vec<Setting> {
        vec![
            Setting::new("train_months", SettingType::Integer(1, 1200), 36, "months"),
            Setting::new("cost_bps", SettingType::Real(0.0, f64::MAX), 10.0, "basis points"),
            Setting::new("start", SettingType::Date, Json::Null, "first date"),
            Setting::choice("scheme", Scheme::Rolling, "scheme"),
        ]
    }

    fn check(given: &Json) -> crate::error::Result<SettingValues> {
        SettingValues::check("windows", &declared(), given.as_object().unwrap_or(&Map::new()))
    }

    #[track_caller]
    fn refused(given: &Json, message: &str) {
        assert_eq!(check(given).unwrap_err().to_string(), message);
    }

    #[test]
    fn a_setting_that_is_left_out_has_its_default() {
        let values = check(&json!({"cost_bps": 5})).unwrap();
        assert_eq!((values.count("train_months").unwrap(), values.real("cost_bps").unwrap()), (36, 5.0));
        assert_eq!((values.date("start"), values.text("scheme").unwrap()), (None, "rolling"));
    }

    #[test]
    fn an_invalid_value_is_reported_with_name_value_and_range() {
        refused(
            &json!({"train_months": 0}),
            "setting 'windows.train_months': found 0, allowed is a whole number from 1 to 1200",
        );
        refused(&json!({"cost_bps": -1}), "setting 'windows.cost_bps': found -1, allowed is a number of at least 0");
        refused(
            &json!({"start": "2020-02-30"}),
            "setting 'windows.start': found \"2020-02-30\", allowed is a date as YYYY-MM-DD",
        );
        refused(
            &json!({"scheme": "roling"}),
            "setting 'windows.scheme': found \"roling\", allowed is one of rolling, expanding",
        );
    }

    #[test]
    fn an_unknown_key_is_reported_with_the_nearest_setting() {
        refused(&json!({"train_month": 1}), "setting 'windows.train_month' is unknown; did you mean 'train_months'?");
        refused(
            &json!({"zzzzzzzzzzzz": 1}),
            "setting 'windows.zzzzzzzzzzzz' is unknown; allowed are train_months, cost_bps, start, scheme",
        );
    }

    #[test]
    fn a_choice_is_listed_parsed_and_printed_from_one_declaration() {
        let scheme = Setting::choice("scheme", Scheme::Expanding, "");
        assert_eq!(scheme.kind, SettingType::Choice(vec!["rolling".to_owned(), "expanding".to_owned()]));
        assert_eq!(scheme.default, "expanding");
        for &choice in Scheme::ALL {
            assert_eq!(check(&json!({"scheme": choice.name()})).unwrap().choice::<Scheme>("scheme").unwrap(), choice);
        }
        assert_eq!(check(&json!({})).unwrap().choice::<Scheme>("scheme").unwrap(), Scheme::Rolling);
        assert_eq!(Scheme::from_name("Rolling"), None);
    }

    #[test]
    fn a_declared_name_that_the_enum_lacks_is_an_error() {
        let kind = SettingType::Choice(vec!["rolling".to_owned(), "anchored".to_owned()]);
        let declared = [Setting::new("scheme", kind, "rolling", "")];
        let given = json!({"scheme": "anchored"});
        let values = SettingValues::check("windows", &declared, given.as_object().unwrap()).unwrap();
        let message = values.choice::<Scheme>("scheme").unwrap_err().to_string();
        assert_eq!(message, "setting 'windows.scheme' must be one of rolling, expanding");
    }

    #[test]
    fn the_declaration_of_a_plugin_is_checked() {
        let good = json!({"name": "lookback", "type": "integer", "minimum": 2, "default": 756, "doc": "returns"});
        assert_eq!(Setting::from_json(&good).unwrap().kind, SettingType::Integer(2, i64::MAX));
        let bad = json!({"name": "lookback", "type": "integer", "minimum": 2, "default": 1, "doc": "returns"});
        assert!(Setting::from_json(&bad).unwrap_err().to_string().contains("the default 1 of setting 'lookback'"));
        for (wrong, message) in [
            (json!({"type": "colour"}), "setting 'x' is of type \"colour\"; allowed are integer"),
            (json!({"type": "integer", "minimum": 3, "maximum": 2}), "a minimum above its maximum"),
            (json!({"type": "integer", "maximum": 2.5}), "'maximum' of setting 'x' must be a whole number"),
            (json!({"type": "real", "minimum": "0"}), "'minimum' of setting 'x' must be a number"),
            (json!({"type": "choice"}), "'choices' of setting 'x' must be a list"),
            (json!({"type": "choice", "choices": ["a", 1]}), "'choices' of setting 'x' must be a list"),
            (json!({"type": "choice", "choices": ["a"], "default": "b"}), "the default \"b\" of setting 'x'"),
            (json!({"type": "text", "doc": 1}), "'doc' of setting 'x' must be a text"),
            (json!({"type": "text", "name": "a.b"}), "setting 'a.b': a name has"),
            (json!({"type": "text", "name": ""}), "setting '': a name has"),
        ] {
            let mut declaration = json!({"name": "x", "doc": "", "default": null});
            declaration.as_object_mut().unwrap().extend(wrong.as_object().unwrap().clone());
            let error = Setting::from_json(&declaration).unwrap_err();
            assert!(error.to_string().contains(message), "{error}");
        }
        let twice = json!([{"name": "x", "type": "text", "doc": ""}, {"name": "x", "type": "text", "doc": ""}]);
        assert!(Setting::list_from_json(&twice).unwrap_err().to_string().contains("'x' is declared twice"));
        assert!(Setting::list_from_json(&json!({})).is_err());
    }
}
