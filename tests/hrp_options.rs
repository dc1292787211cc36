//! Options of HRP and mistakes in them: contradictory and misspelt settings, assets that do not vary, missing returns,
//! risks that cannot be inverted.

use serde_json::{Value as Json, json};
use walkforge::internals::model::{Estimator, Factory};
use walkforge::internals::settings::{SettingType, SettingValues};
use walkforge::{Code, Error, Panel, PanelKind, Past, Result};

use crate::common::hrp;
use crate::common::panels::{Noise, letters, weekdays};

const NAN: f64 = f64::NAN;

/// The model with these settings, from 2 returns on.
fn model(settings: &Json) -> Result<Box<dyn Estimator>> {
    let plugin = hrp();
    let mut settings = settings.clone();
    settings.as_object_mut().unwrap().entry("min_history").or_insert(2.into());
    let values = SettingValues::check("models.hrp.settings", plugin.settings(), settings.as_object().unwrap())?;
    plugin.create(&values, &walkforge::internals::model::Context::default())?.estimator()
}

fn refused(settings: &Json) -> Error {
    model(settings).err().unwrap()
}

/// A past of all rows of returns `[rows, assets]`; assets are called A, B, C and so on.
fn past(returns: &[f64], assets: usize) -> Past {
    let rows = returns.len() / assets;
    let dates = weekdays(jiff::civil::date(2020, 1, 1)).take(rows).collect();
    let panel = Panel::from_arrays(PanelKind::Returns, dates, &letters(assets), returns).unwrap();
    panel.past(0..rows, &(0..assets).collect::<Vec<_>>()).unwrap()
}

fn noise(rows: usize, assets: usize) -> Vec<f64> {
    let mut noise = Noise(3);
    (0..rows * assets).map(|_| ((noise.next() >> 11) as f64 / (1_u64 << 53) as f64 - 0.5) / 50.0).collect()
}

#[test]
fn contradictory_settings_are_refused_by_name() {
    for (settings, expected) in [
        (
            json!({"covariance": "ledoit_wolf", "missing": "pairwise"}),
            "setting 'covariance': found ledoit_wolf with missing = pairwise, allowed is sample",
        ),
        (
            json!({"risk": "cvar", "missing": "pairwise"}),
            "setting 'risk': found cvar with missing = pairwise, allowed is variance or std",
        ),
        (
            json!({"risk": "mad", "covariance": "ledoit_wolf"}),
            "setting 'covariance': found ledoit_wolf with risk = mad, which uses no covariance, allowed is sample, or one \
             of the risks variance and std",
        ),
        (
            json!({"lookback": 10, "min_history": 11}),
            "setting 'min_history': found 11, allowed is at most the lookback of 10",
        ),
    ] {
        let error = refused(&settings);
        assert_eq!(error.code(), Code::InvalidSetting);
        assert_eq!(error.to_string(), format!("plugin 'hrp' failed in create: {expected}"));
    }
}

#[test]
fn a_misspelt_choice_or_name_is_refused_with_what_is_allowed() {
    let error = refused(&json!({"linkage": "wards"}));
    assert_eq!(
        error.to_string(),
        "setting 'models.hrp.settings.linkage': found \"wards\", allowed is one of single, complete, average, ward"
    );
    let error = refused(&json!({"optimal_leaf_ordering": true}));
    assert!(error.to_string().contains("did you mean 'optimal_leaf_order'?"), "{error}");
    let error = refused(&json!({"optimal_leaf_order": "yes"}));
    assert!(error.to_string().contains("found \"yes\", allowed is true or false"), "{error}");
}

#[test]
fn every_declared_choice_gives_a_working_model() {
    let shown = past(&noise(60, 6), 6);
    let mut words = 0;
    for setting in hrp().settings() {
        let SettingType::Choice(choices) = &setting.kind else { continue };
        for word in choices {
            words += 1;
            let weights = model(&json!({setting.name.as_str(): word})).unwrap().weights(&shown).unwrap();
            assert!((weights.iter().sum::<f64>() - 1.0).abs() < 1e-12, "{} = {word}", setting.name);
        }
    }
    assert_eq!(words, 24);
}

#[test]
fn an_explicit_option_overrides_the_variant() {
    let shown = past(&noise(80, 12), 12);
    let weights = |settings: Json| model(&settings).unwrap().weights(&shown).unwrap();
    let spelt =
        json!({"variant": "skfolio", "distance": "lopez_de_prado", "linkage": "single", "optimal_leaf_order": false});
    assert_eq!(weights(spelt), weights(json!({})));
    assert_ne!(weights(json!({"variant": "skfolio"})), weights(json!({})));
}

#[test]
fn an_asset_that_does_not_vary_is_refused_or_excluded() {
    let (rows, assets) = (40, 5);
    let mut returns = noise(rows, assets);
    let without: Vec<f64> =
        returns.iter().enumerate().filter(|(at, _)| at % assets != 2).map(|(_, value)| *value).collect();
    returns.iter_mut().skip(2).step_by(assets).for_each(|value| *value = 0.1);
    let shown = past(&returns, assets);
    let error = model(&json!({})).unwrap().weights(&shown).unwrap_err();
    assert_eq!(error.code(), Code::InvalidData);
    assert!(error.to_string().contains("the returns of C do not vary over 40 rows"), "{error}");
    let exclude = model(&json!({"zero_variance": "exclude"})).unwrap();
    let mut weights = exclude.weights(&shown).unwrap();
    assert_eq!(weights.remove(2), 0.0);
    assert_eq!(weights, model(&json!({})).unwrap().weights(&past(&without, assets - 1)).unwrap());
    // A single remaining asset gets all weight; none is an error.
    let one = past(&[0.0, 1.0, 0.0, 2.0, 0.0, 4.0], 2);
    assert_eq!(exclude.weights(&one).unwrap(), [0.0, 1.0]);
    let none = exclude.weights(&past(&[0.0; 6], 2)).unwrap_err();
    assert!(none.to_string().contains("none of 2 assets vary over 3 rows"), "{none}");
}

#[test]
fn missing_returns_are_left_out_by_row_or_by_pair() {
    let (rows, assets) = (60, 4);
    let mut returns = noise(rows, assets);
    let whole = past(&returns, assets);
    let [complete, pairwise] = ["complete", "pairwise"].map(|missing| model(&json!({"missing": missing})).unwrap());
    assert_eq!(complete.weights(&whole).unwrap(), pairwise.weights(&whole).unwrap());
    for row in 0..10 {
        returns[row * assets + 1] = NAN;
    }
    let holed = past(&returns, assets);
    let later = past(&returns[10 * assets..], assets);
    assert_eq!(complete.weights(&holed).unwrap(), complete.weights(&later).unwrap());
    assert_ne!(pairwise.weights(&holed).unwrap(), pairwise.weights(&later).unwrap());
    // A and B have no date in common.
    for row in 0..rows {
        returns[row * assets + row % 2] = NAN;
    }
    let apart = past(&returns, assets);
    let error = complete.weights(&apart).unwrap_err().to_string();
    assert!(error.contains("0 of 60 rows have a return for each of 4 assets; at least min_history = 2 are needed, or missing = \"pairwise\""), "{error}");
    let error = pairwise.weights(&apart).unwrap_err().to_string();
    assert!(error.contains("A and B have fewer than 2 returns in common"), "{error}");
}

#[test]
fn a_risk_that_cannot_be_inverted_names_its_asset() {
    let mut returns = noise(60, 3);
    returns.iter_mut().skip(1).step_by(3).for_each(|value| *value += 1.0);
    let error = model(&json!({"risk": "cvar"})).unwrap().weights(&past(&returns, 3)).unwrap_err();
    assert_eq!(error.code(), Code::InvalidData);
    assert!(error.to_string().contains("the cvar of B is -0.99"), "{error}");
}

#[test]
fn returns_too_large_to_be_squared_are_refused() {
    let mut returns = noise(20, 3);
    for (_, value) in returns.iter_mut().enumerate().filter(|(index, _)| index % 3 > 0) {
        *value = value.abs() * 1e200;
    }
    for variant in ["lopez_de_prado", "skfolio"] {
        let error = model(&json!({"variant": variant})).unwrap().weights(&past(&returns, 3)).unwrap_err();
        assert_eq!(error.code(), Code::InvalidData);
        assert!(
            error.to_string().contains("correlation of B and C is not finite; their returns may be too large"),
            "{error}"
        );
    }
}

#[test]
fn a_model_gives_the_same_bits_from_many_threads_and_after_other_sizes() {
    let model = model(&json!({"variant": "skfolio"})).unwrap();
    let pasts: Vec<Past> = [30, 7, 19].map(|assets| past(&noise(90, assets), assets)).into();
    let expected: Vec<Vec<f64>> = pasts.iter().map(|past| model.weights(past).unwrap()).collect();
    std::thread::scope(|scope| {
        for start in 0..4 {
            let (model, pasts, expected) = (&model, &pasts, &expected);
            scope.spawn(move || {
                for at in (start..start + 30).map(|at| at % pasts.len()) {
                    assert_eq!(model.weights(&pasts[at]).unwrap(), expected[at]);
                }
            });
        }
    });
}
