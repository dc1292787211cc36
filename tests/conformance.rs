//! The plugins of this repository, in Rust, C and C++, pass every check that `walkforge plugin check` makes.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Compiles an example plugin.
fn built(folder: &Path, compiler: &str, standard: &str, source: &str) -> PathBuf {
    let name = Path::new(source).file_stem().unwrap().to_string_lossy().into_owned();
    let out = folder.join(format!("libwalkforge_{name}.so"));
    let mut command = Command::new(compiler);
    command.args([standard, "-O2", "-shared", "-fPIC", "-Iinclude"]).arg(Path::new("plugins/examples").join(source));
    command.args(["-Wl,--version-script=plugins/examples/plugin.map", "-lm", "-o"]).arg(&out);
    assert!(command.status().unwrap().success());
    out
}

#[test]
fn our_own_plugins_pass() {
    let scratch = tempfile::tempdir().unwrap();
    let beside = std::env::current_exe().unwrap().parent().unwrap().to_owned();
    for file in [
        beside.join("libwalkforge_hrp.so"),
        built(scratch.path(), "cc", "-std=c11", "momentum.c"),
        built(scratch.path(), "c++", "-std=c++17", "min_variance.cpp"),
    ] {
        let output =
            Command::new(env!("CARGO_BIN_EXE_walkforge")).args(["plugin", "check"]).arg(&file).output().unwrap();
        let report = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{}:\n{report}", file.display());
        let passed = report.lines().filter(|line| line.contains(",passed,")).count();
        assert_eq!(passed, walkforge::conformance::CHECKS.len(), "{}:\n{report}", file.display());
    }
}
