//! `walkforge plugin show`: what a plugin says of itself, the program of a network, and the memory that it takes.

use std::process::Output;

use walkforge::model::{Context, Factory, Model};
use walkforge::network::{BoundNetwork, Head};
use walkforge::plugin::PluginSearch;
use walkforge::program::Precision;
use walkforge::settings::SettingValues;
use walkforge::train::{StepSettings, Stepper};

use crate::common::process::{stderr, stdout, walkforge};
use crate::common::{library, root};

fn show(file: &str, arguments: &[&str]) -> Output {
    walkforge(&["plugin", "show", file]).args(arguments).output().unwrap()
}

/// What is shown, of a call that succeeds and says nothing else.
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
    let told = shown("lstm", &arguments);
    let plugin = PluginSearch::default().load(file.to_str().unwrap()).unwrap();
    let given = serde_json::json!({"hidden_size": 16, "arrangement": "per_asset"});
    let values = SettingValues::check("settings", plugin.settings(), given.as_object().unwrap()).unwrap();
    let Model::Network(network) = plugin.create(&values, &Context::default()).unwrap() else { panic!() };
    let (features, wanted) = (["volume".to_owned()], Head::Weights);
    let form = BoundNetwork::new(&*network, 7, &features, wanted, Precision::Fp32).unwrap().unwrap();
    assert!(told.contains(&form.program.to_string()), "{told}");
    let squeezed = told.split_whitespace().collect::<Vec<_>>().join(" ");
    for (micro, again, what) in [
        (128, false, "128 at a time"),
        (128, true, "128 at a time, gates computed again"),
        (32, false, "32 at a time"),
        (1, false, "1 at a time"),
    ] {
        let bytes = Stepper::planned_bytes(&form.program, &StepSettings::default(), 128, micro, again);
        let expected = format!("training, batch of 128 dates, {what} {bytes} bytes");
        assert!(squeezed.contains(&expected), "{expected}\n{told}");
    }
    for expected in [
        "lstm 0.1.0, network",
        "hidden_size a whole number from 1 to 4096 16, default 128",
        "lookback a whole number from 2 to 10000 default 60",
        "min_history a whole number from 0 to 10000 default none",
        "shown the last 60 rows, and assets with at least 30 returns",
        "Its assets are those that may be weighed at each date. Network for 7 assets",
        "4 inputs, 0 of them computed by the plugin; 10 parameters, 3537 trained numbers",
        "prediction, one date",
    ] {
        assert!(squeezed.contains(expected), "{expected}\n{told}");
    }
    assert!(shown("lstm", &[]).contains("Its assets are the same throughout a window.\n\nNetwork for 20 assets"));
}

#[test]
fn an_estimator_is_shown_with_its_settings() {
    let told = shown("hrp", &[]);
    assert!(told.starts_with("hrp 0.1.0, estimator\n") && told.contains("shown the last 756 rows"), "{told}");
    assert!(told.contains("one of lopez_de_prado") && !told.contains("Network"), "{told}");
}

#[test]
fn what_cannot_be_shown_ends_with_2_and_the_reason() {
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
        let told = stderr(&output);
        assert_eq!((output.status.code(), told.contains(words)), (Some(2), true), "{file} {arguments:?}: {told}");
        assert!(output.stdout.is_empty());
    }
}
