//! HRP equals its peers: every named variant, linkage, leaf order, correlation, covariance and risk against golden
//! values that `tests/golden/hrp_peers.py` made with the peers themselves.

use std::collections::BTreeMap;

use serde_json::{Value as Json, json};
use walkforge::internals::model::Factory;
use walkforge::internals::settings::SettingValues;
use walkforge::internals::statistics::{Coefficient, Missing, Sample};
use walkforge::{Panel, PanelKind, Past, Plugin};
use walkforge_hrp::leaf_order::optimal_leaf_order;
use walkforge_hrp::linkage::{Linkage, cluster, leaf_order};

use crate::common::panels::{Noise, stocks};
use crate::common::{self, hrp};

const LOOKBACK: usize = 756;
/// No case needs an optimiser, so that differences come from the order of sums only.
const TOLERANCE: f64 = 1e-10;

/// Case, key, label, value.
type Golden = BTreeMap<String, BTreeMap<String, Vec<(String, f64)>>>;

fn golden() -> Golden {
    let mut out = Golden::new();
    for line in common::golden("hrp_peers.csv").lines().skip(2) {
        let cells: Vec<&str> = line.split(',').collect();
        let keys = out.entry(cells[0].to_owned()).or_default();
        keys.entry(cells[1].to_owned()).or_default().push((cells[2].to_owned(), cells[3].parse().unwrap()));
    }
    out
}

/// A draw of the generator of the Python script: 31 bits.
fn draw(noise: &mut Noise) -> u64 {
    noise.next() >> 33
}

/// The lookback that ends at a date.
fn past(panel: &Panel, date: &str) -> Past {
    let row = panel.dates().iter().position(|day| day.to_string() == date).unwrap();
    let assets: Vec<usize> = (0..panel.assets().len()).collect();
    panel.past(row + 1 - LOOKBACK..row + 1, &assets).unwrap()
}

/// The returns of a past with one in eight missing.
fn with_gaps(past: &Past) -> Vec<f64> {
    let mut noise = Noise(99);
    past.returns().iter().map(|value| if draw(&mut noise).is_multiple_of(8) { f64::NAN } else { *value }).collect()
}

fn weights(plugin: &Plugin, past: &Past, settings: &Json) -> Vec<f64> {
    let settings = SettingValues::check("settings", plugin.settings(), settings.as_object().unwrap()).unwrap();
    plugin
        .create(&settings, &walkforge::internals::model::Context::default())
        .unwrap()
        .estimator()
        .unwrap()
        .weights(past)
        .unwrap()
}

/// The settings that reproduce a case.
fn settings(case: &str) -> Json {
    let (peer, rest) = case.split_once(' ').unwrap_or((case, ""));
    match (peer, rest) {
        (variant, "") => json!({"variant": variant}),
        ("skfolio", "single") => json!({"variant": "skfolio", "linkage": "single"}),
        ("skfolio" | "scipy", "ledoit_wolf") => {
            let variant = if peer == "skfolio" { "skfolio" } else { "lopez_de_prado" };
            json!({"variant": variant, "covariance": "ledoit_wolf"})
        }
        ("skfolio", risk) => json!({"variant": "skfolio", "risk": risk}),
        ("riskfolio", risk) => match risk.strip_suffix(" unturned") {
            Some(risk) => json!({"variant": "riskfolio", "risk": risk, "optimal_leaf_order": false}),
            None => json!({"variant": "riskfolio", "risk": risk}),
        },
        ("scipy", "spearman" | "kendall") => json!({"correlation": rest}),
        ("scipy", "complete" | "average" | "ward") => json!({"linkage": rest, "optimal_leaf_order": true}),
        ("scipy", "pairwise") => json!({"missing": "pairwise"}),
        ("scipy", "pairwise short") => json!({"missing": "pairwise", "lookback": 30}),
        _ => panic!("no settings for case {case}"),
    }
}

#[test]
fn weights_equal_those_of_every_peer() {
    let (plugin, panel, mut cases) = (hrp(), stocks(), 0);
    for (case, dates) in golden() {
        let peer = case.split(' ').next().unwrap();
        if !["pyportfolioopt", "skfolio", "riskfolio", "scipy"].contains(&peer) {
            continue;
        }
        cases += 1;
        assert_eq!(dates.len(), 3, "{case}");
        let mut worst = 0.0_f64;
        for (date, expected) in dates {
            let mut shown = past(&panel, &date);
            if case.contains("pairwise") {
                let rows = if case.ends_with("short") { 30 } else { LOOKBACK };
                let returns = with_gaps(&shown);
                let returns = &returns[(LOOKBACK - rows) * shown.names().len()..];
                let gaps = Panel::from_arrays(
                    PanelKind::Returns,
                    shown.dates()[LOOKBACK - rows..].to_vec(),
                    shown.names(),
                    returns,
                );
                shown = gaps.unwrap().past(0..rows, shown.assets()).unwrap();
            }
            let ours = weights(&plugin, &shown, &settings(&case));
            assert_eq!(ours.len(), expected.len());
            for ((name, ours), (asset, weight)) in shown.names().iter().zip(ours).zip(expected) {
                assert_eq!(*name, asset);
                worst = worst.max((ours - weight).abs());
            }
        }
        println!("{case}: largest difference {worst:.1e}");
        assert!(worst <= TOLERANCE, "{case}: {worst:e}");
    }
    assert_eq!(cases, 26);
}

#[test]
fn matrices_equal_those_of_pandas_and_scikit_learn() {
    let (panel, mut cases) = (stocks(), 0);
    for (case, dates) in golden() {
        let coefficient = match case.split(' ').next_back().unwrap() {
            "pearson" => Some(Coefficient::Pearson),
            "spearman" => Some(Coefficient::Spearman),
            "kendall" => Some(Coefficient::Kendall),
            "ledoit_wolf" | "covariance" => None,
            _ => continue,
        };
        if ["scipy", "skfolio"].contains(&case.split(' ').next().unwrap()) {
            continue;
        }
        cases += 1;
        let (date, expected) = dates.first_key_value().unwrap();
        let shown = past(&panel, date);
        let pairwise = case.starts_with("pairwise");
        let mut returns = if pairwise { with_gaps(&shown) } else { shown.returns().to_vec() };
        if case.contains("tied") {
            for value in &mut returns {
                *value = (*value * 100.0).round_ties_even() / 100.0;
            }
        }
        let (assets, all) = (8, shown.names().len());
        let few: Vec<f64> = returns.chunks_exact(all).flat_map(|row| row[..assets].to_vec()).collect();
        let missing = if pairwise { Missing::Pairwise } else { Missing::Complete };
        let sample = Sample::new(&few, assets, missing).unwrap();
        let (ours, tolerance) = match (coefficient, case.as_str()) {
            (Some(coefficient), _) => (sample.correlation(coefficient), 1e-12),
            (None, "ledoit_wolf") => (sample.ledoit_wolf().unwrap().0, 1e-15),
            (None, _) => (sample.covariance(), 1e-15),
        };
        assert_eq!(expected.len(), assets * (assets + 1) / 2);
        let mut worst = 0.0_f64;
        for (label, value) in expected {
            let (i, j) = label.split_once(' ').unwrap();
            let index = i.parse::<usize>().unwrap() * assets + j.parse::<usize>().unwrap();
            worst = worst.max((ours[index] - value).abs());
        }
        println!("{case}: largest difference {worst:.1e}");
        assert!(worst <= tolerance, "{case}: {worst:e}");
    }
    assert_eq!(cases, 11);
}

/// The distances of a case, as in the Python script.
fn square(name: &str) -> (usize, Vec<f64>) {
    let (n, kinds, seed) = match name {
        "tied 12" => (12, Some(3), 1),
        "tied 40" => (40, Some(9), 2),
        "spread 25" => (25, None, 3),
        "spread 60" => (60, None, 4),
        "spread 300" => (300, None, 5),
        _ => panic!("no distances for case {name}"),
    };
    let (mut noise, mut out) = (Noise(seed), vec![0.0; n * n]);
    if let Some(kinds) = kinds {
        for i in 0..n {
            for j in 0..i {
                let distance = (draw(&mut noise) % kinds + 1) as f64;
                out[i * n + j] = distance;
                out[j * n + i] = distance;
            }
        }
    } else {
        let points: Vec<[f64; 2]> =
            (0..n).map(|_| [0; 2].map(|_: i32| draw(&mut noise) as f64 / f64::from(1 << 30) / 2.0)).collect();
        for (i, left) in points.iter().enumerate() {
            for (j, right) in points.iter().enumerate() {
                let (across, up) = (left[0] - right[0], left[1] - right[1]);
                out[i * n + j] = (across * across + up * up).sqrt();
            }
        }
    }
    (n, out)
}

#[test]
fn trees_and_leaf_orders_equal_those_of_scipy_ties_included() {
    let mut cases = 0;
    for (case, keys) in golden() {
        if !case.starts_with("tied") && !case.starts_with("spread") {
            continue;
        }
        cases += 1;
        let words: Vec<&str> = case.split(' ').collect();
        let (n, distances) = square(&words[..2].join(" "));
        let linkage = match words[2] {
            "single" => Linkage::Single,
            "complete" => Linkage::Complete,
            "average" => Linkage::Average,
            "ward" => Linkage::Ward,
            other => panic!("no linkage {other}"),
        };
        let mut tree = cluster(&distances, n, linkage);
        let turn = words.len() == 4;
        if turn {
            tree = optimal_leaf_order(&tree, &distances, n);
        }
        let column = |key: &str| keys[key].iter().map(|(_, value)| *value).collect::<Vec<f64>>();
        let whole = |key: &str| column(key).into_iter().map(|value| value as usize).collect::<Vec<usize>>();
        assert_eq!(leaf_order(&tree, n), whole("leaf"), "{case}");
        if n < 300 {
            assert_eq!(tree.iter().map(|merge| merge.first).collect::<Vec<_>>(), whole("first"), "{case}");
            assert_eq!(tree.iter().map(|merge| merge.second).collect::<Vec<_>>(), whole("second"), "{case}");
        }
        if !turn {
            let worst = tree
                .iter()
                .zip(column("height"))
                .map(|(merge, height)| (merge.height - height).abs())
                .fold(0.0, f64::max);
            println!("{case}: largest difference of heights {worst:.1e}");
            assert!(worst <= 1e-12, "{case}: {worst:e}");
        }
    }
    assert_eq!(cases, 34);
}
