//! The conformance suite finds nothing against HRP, and finds what is wrong with a plugin that remembers, writes beyond its
//! buffer's room and has no message for what it refuses.

use std::path::Path;
use std::process::Command;

/// Exit code, and outcome and detail by check.
fn checked(file: &Path) -> (Option<i32>, Vec<(String, String, String)>, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_walkforge")).args(["plugin", "check"]).arg(file).output().unwrap();
    let told = String::from_utf8(output.stdout).unwrap();
    let lines = told.lines().skip(1).map(|line| {
        let cells: Vec<&str> = line.splitn(3, ',').collect();
        (cells[0].to_owned(), cells[1].to_owned(), cells[2].to_owned())
    });
    (output.status.code(), lines.collect(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn hrp_conforms() {
    let plugin = std::env::current_exe().unwrap().with_file_name("libwalkforge_hrp.so");
    let (code, checks, told) = checked(&plugin);
    assert!(code == Some(0) && checks.len() >= 12, "{checks:?} {told}");
    assert!(checks.iter().all(|(_, outcome, detail)| outcome == "passed" && detail.len() > 2), "{checks:?}");
}

#[test]
fn a_plugin_that_breaks_the_rules_is_told_which() {
    let folder = tempfile::tempdir().unwrap();
    let plugin = folder.path().join("libwalkforge_careless.so");
    let built = Command::new("cc")
        .args(["-std=c11", "-shared", "-fPIC", "-I", "include", "tests/conformance/careless.c", "-o"])
        .arg(&plugin)
        .status()
        .expect("a C compiler is needed");
    assert!(built.success());
    let (code, checks, told) = checked(&plugin);
    assert_eq!(code, Some(1), "{told}");
    let outcome = |name: &str| &checks.iter().find(|(check, ..)| check == name).unwrap().1;
    assert_eq!(outcome("load"), "passed", "{checks:?}");
    for failing in ["errors", "determinism"] {
        assert_eq!(outcome(failing), "failed", "{failing}: {checks:?}");
    }
    assert!(told.contains("checks failed; the first, '"), "{told}");
}

#[test]
fn what_is_no_plugin_fails_at_its_first_check() {
    let (code, checks, _) = checked(Path::new("Cargo.toml"));
    assert_eq!((code, checks[0].0.as_str(), checks[0].1.as_str()), (Some(1), "load", "failed"));
    assert!(checks[1..].iter().all(|(_, outcome, _)| outcome == "skipped"), "{checks:?}");
    let (code, checks, told) = checked(Path::new("nope.so"));
    assert!(code == Some(2) && checks.is_empty() && told.contains("nope.so"), "{told}");
}
