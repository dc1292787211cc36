//! The command brings the plugins `hrp` and `lstm` along; a file that the user names comes before them.

use std::path::Path;
use std::process::Command;

use serde_json::Value as Json;

use crate::common::process::{copy_program, refused, run, stdout, walkforge};
use crate::common::{library, prices};

const EXPERIMENT: &str = "examples/experiments/hrp.toml";

/// The second model of a run that is written to `out`; the first is equal weight.
fn second_model(arguments: &[&str], plugins: &Path, out: &Path) -> Json {
    let arguments = [&["run", EXPERIMENT, "--out", out.to_str().unwrap()], arguments].concat();
    run(walkforge(&arguments).env("WALKFORGE_PLUGIN_PATH", plugins));
    let text = std::fs::read_to_string(out.join("run.json")).unwrap();
    serde_json::from_str::<Json>(&text).unwrap()["models"][1].clone()
}

#[test]
fn a_command_on_its_own_has_hrp_and_lstm() {
    let folder = tempfile::tempdir().unwrap();
    let alone = folder.path().join("walkforge");
    copy_program(Path::new(env!("CARGO_BIN_EXE_walkforge")), &alone);
    let mut command = Command::new(&alone);
    let output =
        run(command.env_clear().current_dir(&folder).args(["weights", "--model", "hrp", "--data"]).arg(prices()));
    assert_eq!(stdout(&output).lines().count(), 21);
    for plugin in ["hrp", "lstm"] {
        let mut command = Command::new(&alone);
        let output = run(command.env_clear().current_dir(&folder).args(["plugin", "show", plugin]));
        let shown = stdout(&output);
        assert!(shown.starts_with(&format!("{plugin} ")) && !shown.contains("SHA-256"), "{shown}");
    }
}

#[test]
fn a_file_that_the_user_names_comes_before_a_built_in_plugin() {
    let scratch = tempfile::tempdir().unwrap();
    let (none, plugins) = (scratch.path().join("none"), scratch.path().join("plugins"));
    std::fs::create_dir_all(&plugins).unwrap();
    let file = plugins.join("libwalkforge_hrp.so");
    std::fs::copy(library("hrp"), &file).unwrap();
    let digest = stdout(&run(Command::new("sha256sum").arg(&file)));
    let digest = Json::from(digest.split(' ').next().unwrap());
    // A built-in plugin is part of the command and has no file to record the digest of.
    assert_eq!(second_model(&[], &none, &scratch.path().join("built-in"))["sha256"], Json::Null);
    assert_eq!(second_model(&[], &plugins, &scratch.path().join("folder"))["sha256"], digest);
    let path = format!("models.hrp.plugin={:?}", file.to_str().unwrap());
    assert_eq!(second_model(&["--set", &path], &none, &scratch.path().join("path"))["sha256"], digest);
    for file in ["weights.csv", "returns.csv"] {
        let read = |run: &str| std::fs::read(scratch.path().join(run).join(file)).unwrap();
        assert!(read("built-in") == read("folder") && read("built-in") == read("path"), "{file} differs");
    }
}

#[test]
fn the_allow_list_applies_to_files_and_a_refused_file_is_not_replaced_by_a_built_in_plugin() {
    let scratch = tempfile::tempdir().unwrap();
    let list = "00".repeat(32);
    let data = prices();
    let weights = ["weights", "--model", "hrp", "--data", data.to_str().unwrap()];
    // The default of `walkforge` names a folder with a file that is not on the list.
    refused(walkforge(&weights).env("WALKFORGE_PLUGIN_SHA256", &list), "which is none of the 1 that are allowed");
    let mut built_in = walkforge(&weights);
    run(built_in.env("WALKFORGE_PLUGIN_SHA256", &list).env("WALKFORGE_PLUGIN_PATH", scratch.path()));
}
