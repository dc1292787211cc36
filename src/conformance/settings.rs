//! Settings at their bounds, and mixed at random: each gives a model or a refusal that says why.

use serde_json::{Map, Value as Json, json};

use super::data::{DataRandom, fit, for_model, past_at};
use super::network::as_estimator;
use super::{CheckOutcome, Subject, is_refusal};
use crate::error::{Error, Result};
use crate::model::{Context, Factory, Model, Network};
use crate::plugin::Plugin;
use crate::program::Purpose;
use crate::settings::{Setting, SettingType, SettingValues};

/// Mixed choices that are tried.
const MIXES: usize = 40;

pub(super) fn every_setting(subject: &Subject) -> Result<CheckOutcome> {
    let plugin = subject.plugin()?;
    let declared = plugin.settings().to_vec();
    let mut tried = vec![(String::from("all defaults"), Map::new())];
    for setting in &declared {
        for value in extremes(setting) {
            let place = format!("{} = {value}", setting.name);
            tried.push((place, Map::from_iter([(setting.name.clone(), value)])));
        }
    }
    let mut draws = DataRandom(1);
    for _ in 0..MIXES {
        let mut mixed = Map::new();
        for setting in &declared {
            let choices = extremes(setting);
            let pick = (f64::midpoint(draws.next(), 1.0) * (choices.len() + 1) as f64) as usize;
            if let Some(value) = choices.get(pick) {
                mixed.insert(setting.name.clone(), value.clone());
            }
        }
        tried.push((Json::Object(mixed.clone()).to_string(), mixed));
    }
    let (mut made, mut refused, mut first) = (0, 0, String::new());
    for (place, given) in &tried {
        match attempt(&plugin, given) {
            Ok(()) => made += 1,
            Err(error) if is_refusal(&error) && made > 0 => {
                if refused == 0 {
                    first = format!(", the first with {place:.200}: {:.400}", error.to_string());
                }
                refused += 1;
            }
            Err(error) if is_refusal(&error) => {
                return Ok(CheckOutcome::Failed(format!(
                    "with {place}: the defaults must give a model, found: {error}"
                )));
            }
            Err(error) => {
                return Ok(CheckOutcome::Failed(format!(
                    "with {place}: {error}; an error needs a message that says why"
                )));
            }
        }
    }
    Ok(CheckOutcome::Passed(format!(
        "{} settings tried: {made} models, {refused} refusals with a message{first}",
        tried.len()
    )))
}

/// Values at which code tends to break.
fn extremes(setting: &Setting) -> Vec<Json> {
    match &setting.kind {
        // Far bounds would only ask for memory; what lies between them is what breaks.
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

/// Numbers of a network that is trained with other settings than its defaults; a larger one is described and planned.
const MOST_TRAINED: usize = 30_000;

/// Numbers that a network takes, of parameters and of one sample.
fn size(network: &dyn Network) -> Result<usize> {
    let bound = super::program::bind(network, 8)?;
    Ok(bound.program.parameter_count() + bound.program.plan(Purpose::Train, 1).elements())
}

/// A model of these settings, fitted and asked once where that takes neither long data nor long.
fn attempt(plugin: &Plugin, given: &Map<String, Json>) -> Result<(), Error> {
    let values = SettingValues::check("settings", plugin.settings(), given)?;
    let context = Context::default().checking();
    let model = plugin.create(&values, &context)?;
    if let Model::Network(network) = &model
        && !given.is_empty()
        && size(&**network)? > MOST_TRAINED
    {
        return Ok(());
    }
    let mut model = as_estimator(model, &context);
    if let Some(panel) = for_model(&*model)? {
        fit(&panel, &mut *model)?;
        if let Some(past) = past_at(&panel, &*model, panel.dates().len() - 1)? {
            model.weights(&past)?;
            model.scores(&past)?;
        }
    }
    Ok(())
}
