//! The plugins of this repository, in Rust, C and C++, pass every check that `walkforge plugin check` makes.

use std::time::Instant;

use crate::common::compilers::{COMPILERS, examples};
use crate::common::library;
use crate::common::process::{stdout, walkforge};

#[test]
fn the_plugins_of_this_repository_pass() {
    let scratch = tempfile::tempdir().unwrap();
    examples(COMPILERS[0], &[], scratch.path());
    let example = |name: &str| scratch.path().join(format!("libwalkforge_{name}.so"));
    let of_networks = ["program", "gradient", "compute"];
    for (file, skipped) in [
        (library("hrp"), &of_networks[..]),
        (example("momentum"), &of_networks),
        (example("min_variance"), &of_networks),
        (example("mlp"), &[]),
        (library("lstm"), &["compute"]),
    ] {
        let started = Instant::now();
        let output = walkforge(&["plugin", "check"]).arg(&file).output().unwrap();
        println!("{}: {:.1} s", file.display(), started.elapsed().as_secs_f64());
        let report = stdout(&output);
        assert!(output.status.success(), "{}:\n{report}", file.display());
        for check in walkforge::internals::conformance::CHECKS {
            let outcome = if skipped.contains(&check.name) { "skipped" } else { "passed" };
            let expected = format!("\n{},{outcome},", check.name);
            assert!(report.contains(&expected), "{}: {expected}\n{report}", file.display());
        }
    }
}
