//! Plugins: HRP through its plugin table equals an independent NumPy/SciPy implementation, and what a user gets wrong is
//! told.
#![allow(clippy::unwrap_used, unsafe_code)]

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Map, json};
use walkforge::error::Code;
use walkforge::model::{Context, Factory};
use walkforge::panel::{Panel, PanelKind};
use walkforge::plugin::{Plugin, PluginSearch, register};
use walkforge::settings::SettingValues;

fn hrp() -> Plugin {
    // SAFETY: the function is the plugin's own entry, linked into this test.
    unsafe { register(walkforge_hrp::wf_plugin_init_hrp, "hrp") }.unwrap()
}

fn prices() -> Panel {
    Panel::from_csv(PanelKind::Prices, Path::new("examples/data/sp500_20_prices.csv")).unwrap()
}

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
    let (plugin, panel) = (hrp(), prices());
    let golden = std::fs::read_to_string("tests/golden/hrp.csv").unwrap();
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
    let (plugin, panel) = (hrp(), prices());
    let text = std::fs::read_to_string("examples/data/sp500_20_prices.csv").unwrap();
    let table: Vec<Vec<&str>> = text.lines().take(1000).map(|line| line.split(',').collect()).collect();
    let dates = panel.dates()[..table.len() - 1].to_vec();
    let reference = weights(&plugin, &panel, dates.len() - 1);
    let columns = table[0].len() - 1;
    let mut order: Vec<usize> = (1..=columns).collect();
    let mut state = 12_345_u64;
    for _ in 0..100 {
        for place in (1..columns).rev() {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            order.swap(place, (state >> 33) as usize % (place + 1));
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
fn a_plugins_settings_are_checked_and_its_own_refusal_is_passed_on() {
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
fn a_plugin_that_is_not_there_or_is_none_is_told() {
    let search = PluginSearch::folders(vec!["tests".into()]);
    let error = search.load("hrp").err().unwrap();
    assert_eq!(error.code(), Code::NotFound);
    assert!(error.to_string().contains("no libwalkforge_hrp.so, libhrp.so, hrp.so in tests"), "{error}");
    let error = search.load("tests/plugins.rs").err().unwrap();
    assert_eq!(error.code(), Code::PluginAbi);
    assert!(error.to_string().contains("is not a shared library"), "{error}");
}

#[test]
fn the_built_plugin_loads_by_path_and_by_name() {
    // Cargo leaves the plugin beside the test program, where it built it as a dependency.
    let program = std::env::current_exe().unwrap();
    let beside = program.parent().unwrap();
    let plugin = PluginSearch::folders(vec![beside.to_owned()]).load("hrp").unwrap();
    assert_eq!(plugin.name(), "hrp");
    let path = beside.join("libwalkforge_hrp.so");
    let again = PluginSearch::folders(Vec::new()).load(path.to_str().unwrap()).unwrap();
    let panel = prices();
    assert_eq!(weights(&plugin, &panel, 1000), weights(&again, &panel, 1000));
}
