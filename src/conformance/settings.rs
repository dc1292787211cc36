//! Settings at their bounds and in random combinations: each gives a model or a refusal that says why.

use serde_json::{Map, Value as Json, json};

use super::data::{DataRandom, fit, panel_for, past_at};
use super::network::as_estimator;
use super::{CheckOutcome, Subject, is_refusal};
use crate::error::{Error, Result};
use crate::model::{Context, Factory, Model, Network};
use crate::plugin::Plugin;
use crate::program::Purpose;
use crate::settings::{Setting, SettingType, SettingValues};

/// The number of random combinations.
const COMBINATIONS: usize = 40;

pub(super) fn every_setting(subject: &Subject) -> Result<CheckOutcome> {
    let plugin = subject.plugin()?;
    let declared = plugin.settings().to_vec();
    let mut cases = vec![(String::from("all defaults"), Map::new())];
    for setting in &declared {
        for value in extremes(setting) {
            let name = format!("{} = {value}", setting.name);
            cases.push((name, Map::from_iter([(setting.name.clone(), value)])));
        }
    }
    let mut draws = DataRandom(1);
    for _ in 0..COMBINATIONS {
        let mut combination = Map::new();
        for setting in &declared {
            let choices = extremes(setting);
            let pick = (f64::midpoint(draws.next(), 1.0) * (choices.len() + 1) as f64) as usize;
            if let Some(value) = choices.get(pick) {
                combination.insert(setting.name.clone(), value.clone());
            }
        }
        cases.push((Json::Object(combination.clone()).to_string(), combination));
    }
    let (mut created, mut refused, mut first) = (0, 0, String::new());
    for (name, values) in &cases {
        match try_settings(&plugin, values) {
            Ok(()) => created += 1,
            Err(error) if is_refusal(&error) && created > 0 => {
                if refused == 0 {
                    first = format!(", the first with {name:.200}: {:.400}", error.to_string());
                }
                refused += 1;
            }
            Err(error) if is_refusal(&error) => {
                return Ok(CheckOutcome::Failed(format!(
                    "with {name}: the defaults must give a model, found: {error}"
                )));
            }
            Err(error) => {
                return Ok(CheckOutcome::Failed(format!(
                    "with {name}: {error}; an error needs a message that says why"
                )));
            }
        }
    }
    Ok(CheckOutcome::Passed(format!(
        "{} combinations of settings: {created} models, {refused} refusals with a message{first}",
        cases.len()
    )))
}

/// Values of a setting at which code tends to fail.
fn extremes(setting: &Setting) -> Vec<Json> {
    match &setting.kind {
        // Huge values would only exhaust memory, so they are left out.
        SettingType::Integer(low, high) => [*low, low.saturating_add(1), 2, 7, 60, *high]
            .into_iter()
            .filter(|value| (low..=high).contains(&value) && value.abs() <= 100_000)
            .map(|value| json!(value))
            .collect(),
        SettingType::Real(low, high) => [*low, low / 2.0 + high / 2.0, *high, 0.0, 1e-9, 1.0]
            .into_iter()
            .filter(|value| (low..=high).contains(&value) && value.is_finite())
            .map(|value| json!(value))
            .collect(),
        SettingType::Boolean => vec![json!(true), json!(false)],
        SettingType::Text => vec![json!(""), json!("é\u{1f4c8}"), json!("x".repeat(10_000))],
        SettingType::Choice(words) => words.iter().map(|word| json!(word)).collect(),
        SettingType::Date => vec![json!("0001-01-01"), json!("9999-12-31")],
    }
}

/// The largest [`size`] at which a network is trained with settings other than the defaults. A larger network is only
/// built and planned.
const MAX_TRAINED_SIZE: usize = 120_000;

/// Bytes of a network's parameters and of the buffers of one sample.
fn size(network: &dyn Network) -> Result<usize> {
    let bound = super::program::bind(network, 8)?;
    let parameters = bound.program.parameter_count() * size_of::<f32>();
    Ok(parameters + bound.program.plan(Purpose::Train, 1).bytes())
}

/// Creates a model with these settings, and fits and calls it unless that would take too long.
fn try_settings(plugin: &Plugin, given: &Map<String, Json>) -> Result<(), Error> {
    let values = SettingValues::check("settings", plugin.settings(), given)?;
    let context = Context::default().checking();
    let model = plugin.create(&values, &context)?;
    if let Model::Network(network) = &model
        && !given.is_empty()
        && size(&**network)? > MAX_TRAINED_SIZE
    {
        return Ok(());
    }
    let mut model = as_estimator(model, &context);
    if let Some(panel) = panel_for(&*model)? {
        fit(&panel, &mut *model)?;
        if let Some(past) = past_at(&panel, &*model, panel.dates().len() - 1)? {
            model.weights(&past)?;
            model.scores(&past)?;
        }
    }
    Ok(())
}
