//! The run directory: a run killed at any time can be completed and then equals an uninterrupted one, two processes
//! never share a directory, a failed write leaves no partial file, and an unusable directory is refused before
//! computing.

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use walkforge::internals::run::write_directory;
use walkforge::{Code, Experiment, Run, Runtime};

use crate::common::process::{self, refused, stderr, walkforge};
use crate::common::{finish, prices, search};

const EXPERIMENT: &str = "examples/experiments/hrp.toml";
const FILES: [&str; 4] = ["report.html", "returns.csv", "run.json", "weights.csv"];

/// `walkforge run` into `out` with one thread and changed settings.
fn run(out: &Path, set: &[&str]) -> Command {
    let mut command = walkforge(&["run", EXPERIMENT, "--out", out.to_str().unwrap(), "--set", "threads=1"]);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    for entry in set {
        command.args(["--set", entry]);
    }
    command
}

#[track_caller]
fn good(command: &mut Command) -> String {
    let output = process::run(command);
    assert!(output.stdout.is_empty(), "{output:?}");
    stderr(&output)
}

fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// All files of a finished directory, without the section `machine`.
fn content(folder: &Path) -> Vec<String> {
    assert_eq!(names(folder), FILES);
    let read = |name: &str| std::fs::read_to_string(folder.join(name)).unwrap();
    let without_machine = |text: String| {
        let mut document: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert!(document.as_object_mut().unwrap().remove("machine").is_some());
        document.to_string()
    };
    FILES.iter().map(|name| if *name == "run.json" { without_machine(read(name)) } else { read(name) }).collect()
}

/// Starts a run and waits until it has claimed its directory.
fn started(out: &Path, set: &[&str]) -> Child {
    let mut command = run(out, set);
    // A shell makes background jobs ignore SIGINT, and these tests may run in such a job; the program shall behave as
    // in a terminal. SAFETY: signal() is async-signal-safe, as functions between fork and exec must be.
    unsafe {
        command.pre_exec(|| {
            libc::signal(libc::SIGINT, libc::SIG_DFL);
            Ok(())
        });
    }
    let mut child = command.spawn().unwrap();
    let patience = Instant::now();
    while !out.join(".lock").exists() {
        assert!(child.try_wait().unwrap().is_none() && patience.elapsed() < Duration::from_secs(30));
        std::thread::sleep(Duration::from_millis(1));
    }
    child
}

#[test]
fn a_run_that_was_killed_is_completed_and_equals_one_that_was_not() {
    let scratch = tempfile::tempdir().unwrap();
    let (whole, cut) = (scratch.path().join("whole"), scratch.path().join("cut"));
    let set = ["windows.step_months=1"];
    good(&mut run(&whole, &set));
    // Ctrl-C, then the signal that cannot be caught, each in the middle of the run.
    for signal in ["INT", "KILL"] {
        let mut child = started(&cut, &set);
        std::thread::sleep(Duration::from_millis(10));
        assert!(Command::new("sh").args(["-c", &format!("kill -{signal} {}", child.id())]).status().unwrap().success());
        assert_eq!(child.wait().unwrap().code(), None, "ended before it was killed");
        assert_eq!(names(&cut), [".lock"]);
    }
    let messages = good(&mut run(&cut, &set));
    assert!(messages.contains("net Sharpe") && messages.contains("report.html"), "{messages}");
    assert!(content(&cut) == content(&whole));
    // Killed while writing: some files are complete, one is partial under its temporary name.
    std::fs::remove_file(cut.join("run.json")).unwrap();
    std::fs::remove_file(cut.join("report.html")).unwrap();
    std::fs::write(cut.join("report.html.partial"), "<!doctype html>").unwrap();
    std::fs::write(cut.join("weights.csv"), "of an earlier, other run").unwrap();
    std::fs::write(cut.join(".lock"), "").unwrap();
    good(&mut run(&cut, &set));
    assert!(content(&cut) == content(&whole));
}

#[test]
fn two_processes_never_share_a_directory() {
    let scratch = tempfile::tempdir().unwrap();
    let out = scratch.path().join("run");
    let set = ["windows.step_months=1"];
    let first = started(&out, &set);
    refused(&mut run(&out, &set), "is being written by another process");
    let first = first.wait_with_output().unwrap();
    assert!(first.status.success(), "{first:?}");
    content(&out);
}

#[test]
fn an_unusable_directory_is_refused_before_anything_is_computed() {
    let scratch = tempfile::tempdir().unwrap();
    let out = scratch.path().join("run");
    // With bounds that no decision can meet a run is refused before there is a directory; without validation the windows
    // are others, so this is another run.
    let impossible = "portfolio.max_weight=0.01";
    refused(&mut run(&out, &[impossible]), "cannot add up to 1");
    assert!(!out.exists());
    let other = "windows.validation_months=0";
    good(&mut run(&out, &[]));
    let before = std::fs::read(out.join("run.json")).unwrap();
    refused(&mut run(&out, &[other]), "holds another run (run.json differs in settings)");
    let messages = good(&mut run(&out, &[]));
    assert!(messages.contains("already holds this run; nothing was computed or changed"), "{messages}");
    assert_eq!(std::fs::read(out.join("run.json")).unwrap(), before);
    assert_eq!(names(&out), FILES);
    let foreign = scratch.path().join("foreign");
    std::fs::create_dir(&foreign).unwrap();
    std::fs::write(foreign.join("thesis.doc"), "").unwrap();
    refused(&mut run(&foreign, &[other]), "holds thesis.doc, so it is not a run directory");
    assert_eq!(names(&foreign), ["thesis.doc"]);
    let file = scratch.path().join("file");
    std::fs::write(&file, "").unwrap();
    refused(&mut run(&file, &[other]), "file");
}

#[test]
fn a_failed_write_names_the_file_and_leaves_no_partial_file() {
    let scratch = tempfile::tempdir().unwrap();
    let out = scratch.path().join("run");
    // A limit of 1 MiB per file, like a full disk: weights.csv fits, returns.csv does not.
    let limited = |blocks: usize| {
        let mut limited = process::command("sh");
        let script = format!("trap '' XFSZ; ulimit -f {blocks}; exec \"$0\" run {EXPERIMENT} --out \"$1\"");
        limited.args(["-c", &script, env!("CARGO_BIN_EXE_walkforge"), out.to_str().unwrap()]);
        limited
    };
    refused(&mut limited(2), "run/weights.csv: ");
    assert!(!out.exists());
    refused(&mut limited(2048), "run/returns.csv: ");
    assert_eq!(names(&out), ["weights.csv"]);
    good(&mut run(&out, &[]));
    content(&out);
}

#[test]
fn an_unfinished_run_is_not_written() {
    let scratch = tempfile::tempdir().unwrap();
    let out = scratch.path().join("run");
    let text = format!("[data]\nprices = \"{}\"\n", prices().display());
    let experiment = Experiment::from_toml(&text, "".into(), &[]).unwrap();
    let panel = experiment.panel().unwrap();
    let mut run = Run::new(experiment, panel, &Runtime::new(search([]), 1).unwrap()).unwrap();
    run.step().unwrap();
    let error = write_directory(&run, &out, 0.0).unwrap_err();
    assert_eq!(error.code(), Code::NotReady);
    assert!(error.to_string().contains("1 of 29 windows are computed"), "{error}");
    assert!(!out.exists());
    finish(&mut run);
    write_directory(&run, &out, 0.0).unwrap();
    content(&out);
}
