//! Plugins: HRP through its plugin table equals an independent NumPy/SciPy implementation, and mistakes of a user are
//! clear errors.

use std::collections::BTreeMap;

use serde_json::{Map, json};
use walkforge::internals::model::{Context, Factory};
use walkforge::internals::settings::SettingValues;
use walkforge::{Code, Panel, PanelKind, Plugin, PluginSearch};

use crate::common::panels::{Noise, stocks};
use crate::common::{self, built, hrp, library, prices, root};

fn weights(plugin: &Plugin, panel: &Panel, row: usize) -> BTreeMap<String, f64> {
    let settings = SettingValues::check("models.hrp.settings", plugin.settings(), &Map::new()).unwrap();
    let model = plugin.create(&settings, &Context::default()).unwrap().estimator().unwrap();
    let needs = model.requirements();
    assert_eq!((needs.lookback, needs.min_history), (756, 378));
    assert!(!model.needs_fit());
    let rows = (row + 1).saturating_sub(needs.lookback)..row + 1;
    let past = panel.past(rows.clone(), &panel.eligible(rows, needs.min_history)).unwrap();
    past.names().iter().cloned().zip(model.weights(&past).unwrap()).collect()
}

#[test]
fn hrp_equals_numpy_and_scipy_on_twenty_dates() {
    let (plugin, panel) = (hrp(), stocks());
    let golden = common::golden("hrp.csv");
    let mut expected: BTreeMap<&str, Vec<(&str, f64)>> = BTreeMap::new();
    for line in golden.lines().skip(1) {
        let cells: Vec<&str> = line.split(',').collect();
        expected.entry(cells[0]).or_default().push((cells[1], cells[2].parse().unwrap()));
    }
    assert_eq!(expected.len(), 20);
    let mut worst = 0.0_f64;
    for (date, golden) in expected {
        let row = panel.dates().iter().position(|day| day.to_string() == date).unwrap();
        let ours = weights(&plugin, &panel, row);
        assert_eq!(ours.len(), golden.len());
        for (asset, weight) in golden {
            worst = worst.max((ours[asset] - weight).abs());
        }
    }
    println!("largest difference: {worst:e}");
    assert!(worst <= 1e-6, "{worst:e}");
}

#[test]
fn a_hundred_column_orders_give_the_same_bytes() {
    let (plugin, panel) = (hrp(), stocks());
    let text = std::fs::read_to_string(prices()).unwrap();
    let table: Vec<Vec<&str>> = text.lines().take(1000).map(|line| line.split(',').collect()).collect();
    let dates = panel.dates()[..table.len() - 1].to_vec();
    let reference = weights(&plugin, &panel, dates.len() - 1);
    let columns = table[0].len() - 1;
    let mut order: Vec<usize> = (1..=columns).collect();
    let mut noise = Noise(12_345);
    for _ in 0..100 {
        for index in (1..columns).rev() {
            order.swap(index, (noise.next() >> 33) as usize % (index + 1));
        }
        let names: Vec<String> = order.iter().map(|&column| table[0][column].to_owned()).collect();
        let values: Vec<f64> =
            table[1..].iter().flat_map(|row| order.iter().map(|&column| row[column].parse().unwrap())).collect();
        let shuffled = Panel::from_arrays(PanelKind::Prices, dates.clone(), &names, &values).unwrap();
        let ours = weights(&plugin, &shuffled, dates.len() - 1);
        for (asset, weight) in &reference {
            assert_eq!(ours[asset].to_bits(), weight.to_bits(), "{asset} under {names:?}");
        }
    }
}

#[test]
fn an_asset_that_does_not_move_is_named() {
    let plugin = hrp();
    let settings = json!({"lookback": 3});
    let settings =
        SettingValues::check("models.hrp.settings", plugin.settings(), settings.as_object().unwrap()).unwrap();
    let model = plugin.create(&settings, &Context::default()).unwrap().estimator().unwrap();
    let dates: Vec<_> = (1..=4).map(|day| jiff::civil::date(2020, 1, day)).collect();
    let values = [1.0, 5.0, 2.0, 5.0, 3.0, 5.0, 1.0, 5.0];
    let panel = Panel::from_arrays(PanelKind::Prices, dates, &["UP".into(), "FLAT".into()], &values).unwrap();
    let error = model.weights(&panel.past(1..4, &[0, 1]).unwrap()).unwrap_err();
    assert_eq!(error.code(), Code::InvalidData);
    assert_eq!(error.to_string(), "plugin 'hrp' failed in weights: the returns of FLAT do not vary over 3 rows");
}

#[test]
fn settings_of_a_plugin_are_checked_and_its_own_errors_are_passed_on() {
    let plugin = hrp();
    let typo = json!({"lookbak": 3});
    let error = SettingValues::check("models.hrp.settings", plugin.settings(), typo.as_object().unwrap()).unwrap_err();
    assert!(error.to_string().contains("did you mean 'lookback'?"), "{error}");
    let too_much = json!({"lookback": 10, "min_history": 11});
    let settings =
        SettingValues::check("models.hrp.settings", plugin.settings(), too_much.as_object().unwrap()).unwrap();
    let error = plugin.create(&settings, &Context::default()).err().unwrap();
    assert!(error.to_string().contains("found 11, allowed is at most the lookback of 10"), "{error}");
}

#[test]
fn a_missing_plugin_and_a_file_that_is_not_a_plugin_are_errors() {
    let tests = root().join("tests");
    let search = PluginSearch::folders(vec![tests.clone()]);
    let error = search.load("hrp").err().unwrap();
    assert_eq!(error.code(), Code::NotFound);
    assert!(error.to_string().contains("no libwalkforge_hrp.so, libhrp.so, hrp.so in "), "{error}");
    assert!(error.to_string().contains(tests.to_str().unwrap()), "{error}");
    let error = search.load(tests.join("plugins.rs").to_str().unwrap()).err().unwrap();
    assert_eq!(error.code(), Code::PluginAbi);
    assert!(error.to_string().contains("is not a shared library"), "{error}");
}

#[test]
fn the_built_plugin_loads_by_path_and_by_name() {
    let plugin = PluginSearch::folders(vec![built()]).load("hrp").unwrap();
    assert_eq!(plugin.name(), "hrp");
    let by_path = PluginSearch::folders(Vec::new()).load(library("hrp").to_str().unwrap()).unwrap();
    let panel = stocks();
    assert_eq!(weights(&plugin, &panel, 1000), weights(&by_path, &panel, 1000));
}
