//! `[benchmark]`: what models are compared with.

use std::path::PathBuf;

use serde_json::{Map, Value as Json, json};

use super::model_spec::{ModelSpec, check_name};
use crate::error::{Result, fail};
use crate::model::EQUAL_WEIGHT;
use crate::settings::{Setting, SettingType, SettingValues};

/// What models are compared with.
#[derive(Clone, Debug, PartialEq)]
pub struct Benchmark {
    /// The name in results.
    pub name: String,
    /// What it holds.
    pub source: BenchmarkSource,
}

/// What a benchmark holds. None of them is held to the constraints of the models.
#[derive(Clone, Debug, PartialEq)]
pub enum BenchmarkSource {
    /// Equal weights of the members.
    EqualWeight,
    /// What a model of the experiment decides, by its index there.
    Model(usize),
    /// One asset of the data.
    Asset(String),
    /// An index from a file, without costs.
    File(PathBuf),
}

/// The declarations of `[benchmark]`.
pub fn benchmark_settings() -> Vec<Setting> {
    vec![
        Setting::new(
            "model",
            SettingType::Text,
            Json::Null,
            "name of a model of the experiment: it is walked once more, held to no constraint but membership",
        ),
        Setting::new(
            "asset",
            SettingType::Text,
            Json::Null,
            "an asset of the data, bought at the first decision and held",
        ),
        Setting::new(
            "file",
            SettingType::Text,
            Json::Null,
            "file (CSV or Parquet) with the columns date and price, or date and return: an index without costs, whose last \
             value up to each date is at most 10 days old",
        ),
        Setting::new("name", SettingType::Text, "benchmark", "name in results, if one of the above is given"),
    ]
}

impl Benchmark {
    /// Reads and checks `[benchmark]`.
    pub(super) fn from_section(section: &Map<String, Json>, models: &[ModelSpec]) -> Result<Self> {
        let values = SettingValues::check("benchmark", &benchmark_settings(), section)?;
        let given: Vec<&str> =
            ["model", "asset", "file"].into_iter().filter(|setting| values.get(setting).is_some()).collect();
        let source = match given[..] {
            [] if section.contains_key("name") => fail!(
                InvalidSetting,
                "setting 'benchmark.name' is given without a benchmark; set one of benchmark.model, benchmark.asset and \
                 benchmark.file"
            ),
            [] => return Ok(Self { name: EQUAL_WEIGHT.to_owned(), source: BenchmarkSource::EqualWeight }),
            ["model"] => {
                let wanted = values.text("model")?;
                let Some(index) = models.iter().position(|model| model.name == wanted) else {
                    let known: Vec<&str> = models.iter().map(|model| model.name.as_str()).collect();
                    fail!(
                        InvalidSetting,
                        "setting 'benchmark.model': found \"{wanted}\", allowed is a model of the experiment: {}",
                        if known.is_empty() { "there is none".to_owned() } else { known.join(", ") }
                    );
                };
                BenchmarkSource::Model(index)
            }
            ["asset"] => BenchmarkSource::Asset(values.text("asset")?.to_owned()),
            ["file"] => BenchmarkSource::File(PathBuf::from(values.text("file")?)),
            _ => {
                let paths: Vec<String> = given.iter().map(|setting| format!("'benchmark.{setting}'")).collect();
                fail!(InvalidSetting, "settings {} are given; one is allowed", paths.join(" and "))
            }
        };
        let name = values.text("name")?.to_owned();
        check_name("benchmark", &name)?;
        if models.iter().any(|model| model.name == name) {
            fail!(
                InvalidSetting,
                "setting 'benchmark.name': found \"{name}\", which is the name of a model; choose another"
            );
        }
        Ok(Self { name, source })
    }

    /// As `run.json` records it.
    pub(super) fn effective(&self, models: &[ModelSpec]) -> Json {
        match &self.source {
            BenchmarkSource::EqualWeight => json!({"name": self.name}),
            BenchmarkSource::Model(index) => json!({"name": self.name, "model": models[*index].name}),
            BenchmarkSource::Asset(asset) => json!({"name": self.name, "asset": asset}),
            BenchmarkSource::File(file) => json!({"name": self.name, "file": file}),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::BenchmarkSource;
    use crate::experiment::Experiment;

    #[test]
    fn a_benchmark_is_equal_weight_a_model_an_asset_or_a_file() {
        let read = |section: &str| {
            let text = format!("{section}\n[[models]]\nname = \"one\"\n[[models]]\nname = \"two\"\n");
            Experiment::from_toml(&text, "".into(), &[]).map(|experiment| experiment.benchmark)
        };
        for (section, name, source) in [
            ("", "equal_weight", BenchmarkSource::EqualWeight),
            ("[benchmark]\nmodel = \"two\"", "benchmark", BenchmarkSource::Model(1)),
            ("[benchmark]\nasset = \"SPY\"\nname = \"index\"", "index", BenchmarkSource::Asset("SPY".into())),
            ("[benchmark]\nfile = \"a.csv\"", "benchmark", BenchmarkSource::File("a.csv".into())),
        ] {
            let benchmark = read(section).unwrap();
            assert_eq!((benchmark.name.as_str(), benchmark.source), (name, source));
        }
        for (section, expected) in [
            (
                "[benchmark]\nmodel = \"three\"",
                "'benchmark.model': found \"three\", allowed is a model of the experiment: one, two",
            ),
            (
                "[benchmark]\nmodel = \"one\"\nfile = \"a\"",
                "settings 'benchmark.model' and 'benchmark.file' are given; one is",
            ),
            (
                "[benchmark]\nasset = \"SPY\"\nname = \"one\"",
                "'benchmark.name': found \"one\", which is the name of a model",
            ),
            ("[benchmark]\nasset = \"SPY\"\nname = \"equal_weight\"", "'benchmark.name': found \"equal_weight\""),
            ("[benchmark]\nasset = \"SPY\"\nname = \"a/b\"", "'benchmark.name': found \"a/b\", allowed are letters"),
            ("[benchmark]\nname = \"index\"", "'benchmark.name' is given without a benchmark"),
            ("[benchmark]\nassets = \"SPY\"", "did you mean 'asset'?"),
        ] {
            let message = read(section).unwrap_err().to_string();
            assert!(message.contains(expected), "{message}");
        }
    }
}
