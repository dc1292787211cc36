//! A model of an experiment with its plugin loaded.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use serde_json::{Map, Value as Json};

use super::Runtime;
use crate::error::{Result, fail};
use crate::experiment::{Experiment, ModelSpec};
use crate::model::{Context, EQUAL_WEIGHT, EqualWeight, Factory};
use crate::settings::SettingValues;
use crate::train::TrainSettings;

/// A model of an experiment with its plugin loaded and its settings checked.
pub struct LoadedModel {
    /// Its name in results.
    pub name: String,
    pub(crate) factory: Box<dyn Factory>,
    pub(crate) settings: SettingValues,
    /// Used where the model is a network.
    pub(crate) train: TrainSettings,
    pub(crate) context: Context,
}

impl LoadedModel {
    /// The benchmark and every model of an experiment, in the order of the results: equal weight comes first.
    ///
    /// # Errors
    /// Errors of loading plugins; `InvalidSetting` where settings do not pass the plugin's declaration.
    pub(crate) fn load_all(experiment: &Experiment, runtime: &Runtime, cancel: &Arc<AtomicBool>) -> Result<Vec<Self>> {
        let context = Context::new(runtime.log.clone(), Arc::clone(cancel));
        let none = SettingValues::check(EQUAL_WEIGHT, &[], &Map::new())?;
        let mut out = vec![Self {
            name: EQUAL_WEIGHT.to_owned(),
            factory: Box::new(EqualWeight),
            settings: none,
            train: experiment.train_settings(None)?,
            context: context.for_model(EQUAL_WEIGHT),
        }];
        for spec in &experiment.models {
            let factory: Box<dyn Factory> = Box::new(runtime.search.load(&spec.plugin)?);
            out.push(Self::new(spec, factory, experiment, context.for_model(&spec.name))?);
        }
        Ok(out)
    }

    fn new(spec: &ModelSpec, factory: Box<dyn Factory>, experiment: &Experiment, context: Context) -> Result<Self> {
        let section = format!("models.{}.settings", spec.name);
        let settings = SettingValues::check(&section, factory.settings(), &spec.settings)?;
        if !factory.is_network() && !spec.train.is_empty() {
            fail!(
                InvalidSetting,
                "section 'models.{}.train' is given, but plugin '{}' trains itself; leave it out",
                spec.name,
                factory.name()
            );
        }
        let train = experiment.train_settings(Some(spec))?;
        Ok(Self { name: spec.name.clone(), factory, settings, train, context })
    }

    /// The name of its plugin.
    pub fn plugin(&self) -> &str {
        self.factory.name()
    }

    /// The plugin's version.
    pub fn version(&self) -> &str {
        self.factory.version()
    }

    /// SHA-256 of the plugin's file; `None` where the plugin is linked into the program.
    pub fn sha256(&self) -> Option<&str> {
        self.factory.sha256()
    }

    /// The model's settings with defaults filled in.
    pub fn settings(&self) -> Json {
        self.settings.to_json()
    }

    /// The train settings with defaults filled in, where the model is a network.
    pub fn train_settings(&self) -> Option<Json> {
        self.factory.is_network().then(|| self.train.to_json())
    }
}
