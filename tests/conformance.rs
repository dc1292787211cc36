//! The plugins of this repository, in Rust, C and C++, pass every check that `walkforge plugin check` makes.
#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

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
    let of_networks = ["program", "gradient", "compute"];
    for (file, skipped) in [
        (beside.join("libwalkforge_hrp.so"), &of_networks[..]),
        (built(scratch.path(), "cc", "-std=c11", "momentum.c"), &of_networks),
        (built(scratch.path(), "c++", "-std=c++17", "min_variance.cpp"), &of_networks),
        (built(scratch.path(), "cc", "-std=c11", "mlp.c"), &[]),
        (beside.join("libwalkforge_lstm.so"), &["compute"]),
    ] {
        let started = Instant::now();
        let output =
            Command::new(env!("CARGO_BIN_EXE_walkforge")).args(["plugin", "check"]).arg(&file).output().unwrap();
        println!("{}: {:.1} s", file.display(), started.elapsed().as_secs_f64());
        let report = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{}:\n{report}", file.display());
        for check in walkforge::conformance::CHECKS {
            let outcome = if skipped.contains(&check.name) { "skipped" } else { "passed" };
            let expected = format!("\n{},{outcome},", check.name);
            assert!(report.contains(&expected), "{}: {expected}\n{report}", file.display());
        }
    }
}
