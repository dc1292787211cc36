//! A model of an experiment whose plugin is loaded.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use serde_json::{Map, Value as Json};

use super::Runtime;
use crate::error::{Result, fail};
use crate::experiment::{Benchmark, BenchmarkSource, Experiment, ModelSpec};
use crate::model::{Context, EQUAL_WEIGHT, EqualWeight, Factory, HeldAsset, NoPortfolio};
use crate::settings::SettingValues;
use crate::train::TrainSettings;

/// A model of an experiment whose plugin is loaded and whose settings are checked.
pub struct LoadedModel {
    /// The name in results.
    pub name: String,
    /// The name that random numbers are drawn for: that of the model which a benchmark repeats.
    pub(crate) seed_name: String,
    pub(crate) factory: Box<dyn Factory>,
    pub(crate) settings: SettingValues,
    /// Only used if the model is a network.
    pub(crate) train: TrainSettings,
    pub(crate) context: Context,
}

impl LoadedModel {
    /// Loads the benchmark and then every model of an experiment, in the order of the results.
    ///
    /// # Errors
    /// Errors of loading a plugin; `InvalidSetting` if a setting does not match the plugin's declaration.
    pub(crate) fn load_all(experiment: &Experiment, runtime: &Runtime, cancel: &Arc<AtomicBool>) -> Result<Vec<Self>> {
        let context = Context::new(runtime.log.clone(), Arc::clone(cancel));
        let mut out = vec![Self::benchmark(experiment, runtime, &context)?];
        for spec in &experiment.models {
            out.push(Self::new(spec, Self::factory(spec, runtime)?, experiment, context.for_model(&spec.name))?);
        }
        Ok(out)
    }

    fn benchmark(experiment: &Experiment, runtime: &Runtime, context: &Context) -> Result<Self> {
        let Benchmark { name, source } = &experiment.benchmark;
        let context = context.for_model(name);
        let factory: Box<dyn Factory> = match source {
            BenchmarkSource::EqualWeight => Box::new(EqualWeight),
            BenchmarkSource::Asset(asset) => Box::new(HeldAsset(asset.clone())),
            BenchmarkSource::File(_) => Box::new(NoPortfolio),
            BenchmarkSource::Model(index) => {
                let spec = &experiment.models[*index];
                let model = Self::new(spec, Self::factory(spec, runtime)?, experiment, context)?;
                return Ok(Self { name: name.clone(), ..model });
            }
        };
        Ok(Self {
            name: name.clone(),
            seed_name: name.clone(),
            factory,
            settings: SettingValues::check(name, &[], &Map::new())?,
            train: experiment.train_settings(None)?,
            context,
        })
    }

    fn factory(spec: &ModelSpec, runtime: &Runtime) -> Result<Box<dyn Factory>> {
        Ok(match spec.plugin.as_str() {
            // Equal weight within the constraints, unlike the benchmark.
            EQUAL_WEIGHT => Box::new(EqualWeight),
            plugin => Box::new(runtime.search.load(plugin)?),
        })
    }

    fn new(spec: &ModelSpec, factory: Box<dyn Factory>, experiment: &Experiment, context: Context) -> Result<Self> {
        let section = format!("models.{}.settings", spec.name);
        let settings = SettingValues::check(&section, factory.settings(), &spec.settings)?;
        if !factory.is_network() && !spec.train.is_empty() {
            fail!(
                InvalidSetting,
                "section 'models.{}.train' is given, but plugin '{}' fits itself; leave the section out",
                spec.name,
                factory.name()
            );
        }
        let train = experiment.train_settings(Some(spec))?;
        Ok(Self { name: spec.name.clone(), seed_name: spec.name.clone(), factory, settings, train, context })
    }

    /// The plugin's name.
    pub fn plugin(&self) -> &str {
        self.factory.name()
    }

    /// The plugin's version.
    pub fn version(&self) -> &str {
        self.factory.version()
    }

    /// SHA-256 of the plugin's file; `None` if the plugin is linked into the program.
    pub fn sha256(&self) -> Option<&str> {
        self.factory.sha256()
    }

    /// The model's settings, with defaults filled in.
    pub fn settings(&self) -> Json {
        self.settings.to_json()
    }

    /// The train settings, with defaults filled in; `None` if the model is not a network.
    pub fn train_settings(&self) -> Option<Json> {
        self.factory.is_network().then(|| self.train.to_json())
    }
}
