//! The allow-list of plugin files: other files are refused before any of their code runs, in Rust and on the command
//! line; plugins linked into the program need no digest; and a run records the digests of its plugins.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value as Json;
use walkforge::internals::model::Factory;
use walkforge::{Code, PluginSearch};

use crate::common::compilers::{COMPILERS, build};
use crate::common::process::{self, stderr, stdout};
use crate::common::{hrp, library, root};

/// The digest as another program computes it.
fn digest(file: &Path) -> String {
    let output = Command::new("sha256sum").arg(file).output().unwrap();
    String::from_utf8(output.stdout).unwrap().split(' ').next().unwrap().to_owned()
}

/// A folder with a copy of the HRP plugin, and a copy with one more byte.
fn copies() -> (tempfile::TempDir, PathBuf, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("changed")).unwrap();
    let name = "libwalkforge_hrp.so";
    let (honest, changed) = (folder.path().join(name), folder.path().join("changed").join(name));
    std::fs::copy(library("hrp"), &honest).unwrap();
    let mut bytes = std::fs::read(&honest).unwrap();
    bytes.push(0);
    std::fs::write(&changed, bytes).unwrap();
    (folder, honest, changed)
}

#[test]
fn a_file_that_is_not_on_the_list_is_refused_with_its_digest() {
    let (folder, honest, changed) = copies();
    let other = "00".repeat(32);
    let list = format!("{}, {other}", digest(&honest).to_ascii_uppercase());
    let search = PluginSearch::folders(vec![folder.path().to_owned()]).allow_only(&list).unwrap();
    let plugin = search.load("hrp").unwrap();
    assert_eq!((plugin.name(), plugin.sha256()), ("hrp", Some(digest(&honest).as_str())));
    let error = search.load(changed.to_str().unwrap()).err().unwrap();
    let expected = format!(
        "plugin file {} may not be loaded: its SHA-256 is {}, which is none of the 2 that are allowed",
        changed.display(),
        digest(&changed)
    );
    assert_eq!((error.code(), error.to_string()), (Code::PluginAbi, expected));
    // A file that replaces a loaded and allowed one is checked too.
    std::fs::rename(&changed, &honest).unwrap();
    assert!(search.load("hrp").err().unwrap().to_string().contains("may not be loaded"));
    assert!(PluginSearch::folders(vec![folder.path().to_owned()]).load("hrp").is_ok());
}

#[test]
fn none_of_the_code_of_a_refused_file_runs() {
    let folder = tempfile::tempdir().unwrap();
    let (source, file, mark) =
        (folder.path().join("mark.c"), folder.path().join("libmark.so"), folder.path().join("it ran"));
    let text = format!(
        "#include <stdio.h>\n__attribute__((constructor)) static void on_load(void) {{ fclose(fopen(\"{}\", \"w\")); }}\n\
         int wf_plugin_init(void) {{ return 6; }}\n",
        mark.display()
    );
    std::fs::write(&source, text).unwrap();
    assert!(Command::new("cc").args(["-shared", "-fPIC", "-o"]).arg(&file).arg(&source).status().unwrap().success());
    let search = PluginSearch::folders(vec![folder.path().to_owned()]);
    assert!(search.clone().allow_only(&"11".repeat(32)).unwrap().load("mark").is_err() && !mark.exists());
    // Without a list the code runs, so this test can fail.
    assert!(search.load("mark").is_err() && mark.exists());
}

#[test]
fn the_library_takes_the_list_from_the_environment_unless_the_host_gives_one() {
    let (folder, honest, changed) = copies();
    let program = folder.path().join("allow");
    build(COMPILERS[0].c, &["-std=c11"], root().join("tests/capi/allow.c"), &program);
    let attempt = |variable: Option<&str>, option: &str| {
        let mut command = Command::new(&program);
        command.env_remove("WALKFORGE_PLUGIN_SHA256").arg(folder.path()).arg(option);
        if let Some(list) = variable {
            command.env("WALKFORGE_PLUGIN_SHA256", list);
        }
        stdout(&command.output().unwrap()).trim().to_owned()
    };
    let refused = "may not be loaded: its SHA-256 is";
    assert_eq!(attempt(None, ""), "loaded");
    assert!(attempt(Some(&digest(&changed)), "").contains(refused));
    assert_eq!(attempt(Some(&digest(&honest)), ""), "loaded");
    assert_eq!(attempt(Some(&digest(&changed)), &digest(&honest)), "loaded");
    assert!(attempt(Some("none"), "").contains("variable WALKFORGE_PLUGIN_SHA256"));
}

#[test]
fn a_plugin_linked_into_the_program_needs_no_digest() {
    let mut search = PluginSearch::folders(Vec::new()).allow_only(&"22".repeat(32)).unwrap();
    search.add("linked", hrp()).unwrap();
    assert_eq!(search.load("linked").unwrap().sha256(), None);
}

fn walkforge(folder: &Path, list: Option<&str>, arguments: &[&str]) -> Output {
    let mut command = process::walkforge(arguments);
    command.env("WALKFORGE_PLUGIN_PATH", folder);
    if let Some(list) = list {
        command.env("WALKFORGE_PLUGIN_SHA256", list);
    }
    command.output().unwrap()
}

#[test]
fn the_command_takes_the_list_from_the_environment_and_a_run_records_the_digest() {
    let (folder, honest, changed) = copies();
    let out = folder.path().join("out");
    let arguments = ["run", "examples/experiments/hrp.toml", "--out", out.to_str().unwrap()];
    for (list, expected) in [
        (digest(&changed), "which is none of the 1 that are allowed"),
        (String::new(), "variable WALKFORGE_PLUGIN_SHA256: the list of allowed plugins has \"\""),
    ] {
        let output = walkforge(folder.path(), Some(&list), &arguments);
        let message = stderr(&output);
        assert_eq!((output.status.code(), message.contains(expected)), (Some(2), true), "{message}");
        assert!(!out.exists());
    }
    let models = |out: &Path| -> Json {
        let text = std::fs::read_to_string(out.join("run.json")).unwrap();
        serde_json::from_str::<Json>(&text).unwrap()["models"].clone()
    };
    assert!(walkforge(folder.path(), Some(&digest(&honest)), &arguments).status.success());
    let models = models(&out);
    assert_eq!((&models[0]["sha256"], &models[1]["sha256"]), (&Json::Null, &digest(&honest).into()));
    // Another file of the same version makes another run.
    std::fs::rename(&changed, &honest).unwrap();
    let output = walkforge(folder.path(), None, &arguments);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
}
