//! Every function of the header with every kind of unusable argument, one at a time and mixed at random.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::common::compilers::{COMPILERS, SANITIZE, build, generate, header};
use crate::common::folder;
use crate::common::process::{last_line, run};

/// Random calls of the long run; those under the sanitizers are fewer.
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
    // A panic inside would be an error of code WF_E_INTERNAL, which the program does not let pass.
    last_line(&run(command.args([calls, SEED]).current_dir(folder)))
}

#[test]
fn no_argument_crashes_a_function_or_gets_past_it_unchecked() {
    let folder = folder("capi/abuse");
    let program = folder.join("abuse");
    build("gcc", &["-std=c11", "-O1", "-D_POSIX_C_SOURCE=200809L"], source(&folder), &program);
    println!("abuse: {}", abuse(&program, &folder, CALLS));
}

#[test]
fn abuse_writes_and_reads_nothing_that_it_was_not_given() {
    for compilers in COMPILERS {
        let folder = folder(&format!("capi/abuse-{}", compilers.c));
        let program = folder.join("abuse");
        let flags = [&["-std=c11", "-D_POSIX_C_SOURCE=200809L"], SANITIZE.as_slice()].concat();
        build(compilers.c, &flags, source(&folder), &program);
        println!("abuse, sanitized by {}: {}", compilers.c, abuse(&program, &folder, SANITIZED_CALLS));
    }
}
