//! `walkforge plugin show`: a plugin's description, and a network's program and memory.

use std::process::Output;

use walkforge::PluginSearch;
use walkforge::internals::engine::{StepSettings, Stepper};
use walkforge::internals::model::{Context, Factory, Model};
use walkforge::internals::network::BoundNetwork;
use walkforge::internals::objective::Head;
use walkforge::internals::program::Precision;
use walkforge::internals::settings::SettingValues;

use crate::common::process::{stderr, stdout, walkforge};
use crate::common::{library, root};

fn show(file: &str, arguments: &[&str]) -> Output {
    walkforge(&["plugin", "show", file]).args(arguments).output().unwrap()
}

/// The output of a call that succeeds and prints no message.
fn shown(name: &str, arguments: &[&str]) -> String {
    let output = show(library(name).to_str().unwrap(), arguments);
    assert!(output.status.success() && output.stderr.is_empty(), "{}", stderr(&output));
    stdout(&output)
}

#[test]
fn a_network_is_shown_with_its_program_and_its_memory() {
    let file = library("lstm");
    let arguments =
        ["--assets", "7", "--set", "hidden_size=16", "--set", "arrangement=per_asset", "--feature", "volume"];
    let text = shown("lstm", &arguments);
    let plugin = PluginSearch::default().load(file.to_str().unwrap()).unwrap();
    let given = serde_json::json!({"hidden_size": 16, "arrangement": "per_asset"});
    let values = SettingValues::check("settings", plugin.settings(), given.as_object().unwrap()).unwrap();
    let Model::Network(network) = plugin.create(&values, &Context::default()).unwrap() else { panic!() };
    let features = ["volume".to_owned()];
    let bound = BoundNetwork::new(&*network, 7, &features, Head::Weights, Precision::Fp32).unwrap().unwrap();
    assert!(text.contains(&bound.program.to_string()), "{text}");
    let squeezed = text.split_whitespace().collect::<Vec<_>>().join(" ");
    for (micro_batch, recompute, label) in
        [(128, false, "128"), (128, true, "128, gates recomputed"), (32, false, "32"), (1, false, "1")]
    {
        let bytes = Stepper::planned_bytes(&bound.program, &StepSettings::default(), 128, micro_batch, recompute);
        let expected = format!("training, batch of 128 dates, micro-batch of {label} {bytes} bytes");
        assert!(squeezed.contains(&expected), "{expected}\n{text}");
    }
    for expected in [
        "lstm 0.1.0, network",
        "hidden_size a whole number from 1 to 4096 16, default 128",
        "lookback a whole number from 2 to 10000 default 60",
        "min_history a whole number from 0 to 10000 default none",
        "A decision uses the last 60 rows and the assets with at least 30 returns in them.",
        "Its assets are the eligible assets of each date. Network for 7 assets",
        "4 inputs, 0 of them computed by the plugin; 3537 parameters in 10 tensors",
        "prediction, one date",
    ] {
        assert!(squeezed.contains(expected), "{expected}\n{text}");
    }
    assert!(shown("lstm", &[]).contains("Its assets are the same for all dates of a window.\n\nNetwork for 20 assets"));
}

#[test]
fn an_estimator_is_shown_with_its_settings() {
    let text = shown("hrp", &[]);
    assert!(text.starts_with("hrp 0.1.0, estimator\n") && text.contains("uses the last 756 rows"), "{text}");
    assert!(text.contains("one of lopez_de_prado") && !text.contains("Network"), "{text}");
}

#[test]
fn a_plugin_that_cannot_be_shown_is_refused_with_2_and_the_reason() {
    let lstm = library("lstm");
    let (lstm, manifest) = (lstm.to_str().unwrap(), root().join("Cargo.toml"));
    for (file, arguments, words) in [
        ("tests/no_such_file.so", &[][..], "no_such_file.so"),
        ("Cargo.toml", &[], "Cargo.toml"),
        (manifest.to_str().unwrap(), &[], "is not a shared library"),
        ("tests", &[], "plugin 'tests' was not found"),
        (lstm, &["--set", "hiden_size=3"], "did you mean 'hidden_size'?"),
        (lstm, &["--set", "hidden_size"], "setting 'hidden_size' needs a value: hidden_size=value"),
        (lstm, &["--set", "attention=true", "--set", "attention_heads=7"], "a divisor of hidden_size = 128"),
        (lstm, &["--assets", "0"], "0 is not in 1..=100000"),
        (
            lstm,
            &["--assets", "100000", "--set", "arrangement=per_asset", "--set", "lookback=10000"],
            "all values of a network",
        ),
    ] {
        let output = show(file, arguments);
        let message = stderr(&output);
        assert_eq!((output.status.code(), message.contains(words)), (Some(2), true), "{file} {arguments:?}: {message}");
        assert!(output.stdout.is_empty());
    }
}
