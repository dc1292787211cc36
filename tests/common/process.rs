//! Processes: the command, other programs, and a test in a process of its own.

use std::ffi::OsStr;
use std::path::Path;
use std::process::{Command, Output};

use super::{built, root};

/// A program that is started in the root of the repository and finds the plugins that ship.
pub(crate) fn command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    command.current_dir(root()).env("WALKFORGE_PLUGIN_PATH", built()).env_remove("WALKFORGE_PLUGIN_SHA256");
    command
}

/// The walkforge command.
pub(crate) fn walkforge(arguments: &[&str]) -> Command {
    let mut command = command(env!("CARGO_BIN_EXE_walkforge"));
    command.args(arguments);
    command
}

/// Runs a command that must succeed.
#[track_caller]
pub(crate) fn run(command: &mut Command) -> Output {
    let output = command.output().unwrap_or_else(|error| {
        panic!("{command:?} cannot be started: {error}; `make tools` installs what the tests need")
    });
    assert!(output.status.success(), "{command:?}: {}\n{}\n{}", output.status, stdout(&output), stderr(&output));
    output
}

/// Copies a program. Written by this process it could not be started while a child of another test has the file open.
pub(crate) fn copy_program(from: &Path, to: &Path) {
    run(Command::new("cp").args([from, to]));
}

/// Runs a command that must be refused with exit code 2 and a message that contains `expected`, and prints
/// no result.
#[track_caller]
pub(crate) fn refused(command: &mut Command, expected: &str) {
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{command:?}: {}", stderr(&output));
    assert!(stderr(&output).contains(expected), "{command:?}: {}", stderr(&output));
    assert!(output.stdout.is_empty(), "{command:?}: {}", stdout(&output));
}

pub(crate) fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The last line that a program printed, where the programs of these tests put their counts.
pub(crate) fn last_line(output: &Output) -> String {
    stdout(output).lines().last().unwrap_or_default().to_owned()
}

/// Set in the process of a test that runs alone.
const ALONE: &str = "WALKFORGE_TEST_ALONE";

/// Runs a test in a process of its own: for a test that limits its memory, replaces the panic hook or may crash. The
/// test calls this with its own name. It returns the command that starts the test program a second time for this test
/// alone, after the shell command `setup`. In that process it runs `body` and returns nothing.
pub(crate) fn alone(test: &str, setup: &str, body: impl FnOnce()) -> Option<Command> {
    if std::env::var_os(ALONE).is_some() {
        body();
        return None;
    }
    let mut shell = Command::new("sh");
    shell.args(["-c", &format!("{setup}\nexec \"$0\" --exact --nocapture {test}")]);
    shell.arg(std::env::current_exe().unwrap()).env(ALONE, "1");
    Some(shell)
}

/// Whether a test that ran alone was found and passed.
pub(crate) fn passed_alone(output: &Output) -> bool {
    output.status.success() && stdout(output).contains("test result: ok. 1 passed")
}
