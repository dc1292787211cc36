//! All functions of the header are called with all kinds of unusable arguments, one at a time and in random mixtures.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::common::compilers::{COMPILERS, SANITIZE, build, generate, header};
use crate::common::folder;
use crate::common::process::{last_line, run};

/// Number of random calls; fewer under the sanitizers.
const CALLS: &str = "120000";
const SANITIZED_CALLS: &str = "5000";
const SEED: &str = "20261124";

fn source(folder: &Path) -> PathBuf {
    let source = folder.join("abuse.c");
    generate("abuse.py", &[header("walkforge.h")], &source);
    source
}

fn abuse(program: &Path, folder: &Path, calls: &str) -> String {
    let mut command = Command::new(program);
    // A panic inside would be an error with code WF_E_INTERNAL, with which the program fails.
    last_line(&run(command.args([calls, SEED]).current_dir(folder)))
}

#[test]
fn no_argument_crashes_a_function_or_is_left_unchecked() {
    let folder = folder("capi/abuse");
    let program = folder.join("abuse");
    build("gcc", &["-std=c11", "-O1", "-D_POSIX_C_SOURCE=200809L"], source(&folder), &program);
    println!("abuse: {}", abuse(&program, &folder, CALLS));
}

#[test]
fn no_argument_makes_a_function_access_other_memory() {
    for compilers in COMPILERS {
        let folder = folder(&format!("capi/abuse-{}", compilers.c));
        let program = folder.join("abuse");
        let flags = [&["-std=c11", "-D_POSIX_C_SOURCE=200809L"], SANITIZE.as_slice()].concat();
        build(compilers.c, &flags, source(&folder), &program);
        println!("abuse, sanitized by {}: {}", compilers.c, abuse(&program, &folder, SANITIZED_CALLS));
    }
}
