//! Faulty plugins in C and C++, with one fault each: `walkforge plugin check` names the fault, exits with 1, and
//! neither hangs nor crashes. A file that is not a plugin has a clear outcome too.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::common::prices;
use crate::common::process::{command, run, stderr, stdout, walkforge};

/// Compiles a source of `tests/hostile` to a plugin.
fn built(folder: &Path, source: &str, fault: &str) -> PathBuf {
    let out = folder.join(format!("lib{}.so", fault.to_ascii_lowercase()));
    let (compiler, standard) = if source == "throws.cpp" { ("c++", "-std=c++17") } else { ("cc", "-std=gnu11") };
    let mut command = command(compiler);
    command.args([standard, "-O1", "-g", "-shared", "-fPIC", "-Iinclude", "-Itests/hostile"]);
    command.args(["-Wall", "-Wextra", "-Wno-infinite-recursion", "-Wno-unused-variable"]);
    if fault == "FAST_MATH" {
        command.arg("-ffast-math");
    }
    command.arg(format!("-DFAULT_{fault}")).arg(Path::new("tests/hostile").join(source)).arg("-o").arg(&out);
    run(command.args(["-pthread", "-lm"]));
    out
}

fn check(file: &Path, arguments: &[&str]) -> Output {
    walkforge(&["plugin", "check"]).arg(file).args(arguments).output().unwrap()
}

/// Outcome and detail of each check.
fn findings(output: &Output) -> BTreeMap<String, (String, String)> {
    let table = stdout(output);
    let mut lines = table.lines();
    assert_eq!(lines.next(), Some("check,outcome,detail"));
    lines
        .map(|line| {
            let mut cells = line.splitn(3, ',').map(str::to_owned);
            let mut next = || cells.next().unwrap();
            (next(), (next(), next()))
        })
        .collect()
}

/// Time limit of a check, in seconds.
const PATIENCE: &str = "20";

/// A fault, the check that must find it, and parts of its message.
const FAULTS: &[(&str, &str, &[&str])] = &[
    ("ABORT", "weights", &["SIGABRT (6) in its weights", "or it called abort"]),
    ("EXIT", "weights", &["exited with code 0 in its weights", "may not call exit"]),
    ("QUICK_EXIT", "weights", &["exited with code 3 in its weights", "may not call exit"]),
    ("WRITES_AFTER", "weights", &["SIGSEGV (11) in its weights", "beyond an array that it was lent"]),
    ("WRITES_BEFORE", "weights", &["plugin 'hostile' wrote before the first weight of the buffer"]),
    ("WRITES_INPUT", "weights", &["SIGSEGV (11) in its weights", "wrote to one that it may only read"]),
    ("KEEPS_POINTERS", "weights", &["SIGSEGV (11) in its weights", "used one after its call"]),
    ("TINY_TABLE", "load", &["fills a table of 8 bytes; at least"]),
    ("HUGE_TABLE", "version", &["went back with 18446744073709551615"]),
    ("NO_DESCRIBE", "load", &["leaves required functions null: describe"]),
    ("EMPTY_DESCRIPTION", "load", &["returned WF_OK from describe without a text"]),
    ("HUGE_DESCRIPTION", "load", &["has a description of 52428800 bytes; allowed are at most 1048576"]),
    ("ENDLESS_DESCRIPTION", "load", &["has a description of 18446744073709551615 bytes"]),
    ("STDOUT", "weights", &["wrote to stdout, which belongs to the host program", "weights of 8 assets"]),
    ("SIGNAL_HANDLER", "host", &["the handler of signal 11 was changed"]),
    ("BLOCKED_SIGNALS", "host", &["signals were blocked"]),
    ("FAST_MATH", "host", &["linked with -ffast-math"]),
    ("ROUNDS_UP", "host", &["the rounding mode was changed"]),
    ("LEAK", "leaks", &["memory grew by", "no call may keep what it allocates"]),
    ("THREAD", "host", &["threads were started and left running: 1"]),
    ("DIVIDES", "weights", &["SIGFPE (8) in its weights", "divided an integer by zero"]),
    ("RECURSES", "weights", &["in its weights", "its stack overflowed: it calls itself without end"]),
    ("FOLDER", "host", &["the working directory was changed to /"]),
    ("ENVIRONMENT", "host", &["the environment variable HOSTILE was changed"]),
    ("LOCALE", "host", &["the locale was changed from C to C.UTF-8"]),
    ("UMASK", "host", &["the umask was changed"]),
    ("FORK", "weights", &["started a process and left it running"]),
    ("UNDEFINED", "load", &["cannot be loaded", "undefined symbol: nowhere_to_be_found"]),
    ("DIES_ON_LOAD", "load", &["SIGABRT (6) while its library was loaded"]),
    ("DIES_AT_EXIT", "load", &["after the check the process died of SIGABRT"]),
    ("COUNTS_CALLS", "determinism", &["a model must keep nothing between calls"]),
    ("SILENT", "weights", &["plugin 'hostile' failed in weights with code 6 and no message"]),
    ("NO_ENTRY", "load", &["has no entry: it exports neither wf_plugin_init_no_entry nor wf_plugin_init"]),
    ("NET_ABORTS", "program", &["SIGABRT (6) in its build"]),
    ("NET_CHANGES", "program", &["build described another network when called again", "hidden.weight [3, 1]"]),
    ("NET_BY_ASSETS", "program", &["plugin 'hostile' has other parameters for 2 assets than for 8", "WF_ASSETS_FIXED"]),
    ("NET_KINK", "gradient", &["the gradient of parameter 'gate' is 0", "is not differentiable there"]),
    ("NET_NO_OUTPUT", "weights", &["the network of plugin 'hostile' cannot be used", "named no output"]),
    ("NET_WRITES_AFTER", "compute", &["SIGSEGV (11) in its compute", "beyond an array that it was lent"]),
    ("NET_WRITES_BEFORE", "compute", &["plugin 'hostile' wrote before the first element of computed input 0"]),
    ("NET_WRITES_INPUT", "weights", &["SIGSEGV (11) in its compute", "wrote to one that it may only read"]),
    ("NET_KEEPS_POINTERS", "compute", &["SIGSEGV (11) in its compute", "used one after its call"]),
    ("NET_COUNTS_CALLS", "compute", &["compute wrote other values at row", "keep nothing between calls"]),
    ("NET_IGNORES_CAPACITY", "errors", &["compute returned WF_OK with a buffer of 6 elements; 7 are needed"]),
    ("NET_DIVIDES", "weights", &["SIGFPE (8) in its compute", "divided an integer by zero"]),
    ("NET_LEAK", "leaks", &["memory grew by", "no call may keep what it allocates"]),
    ("FREES_TWICE", "weights", &["SIGABRT (6) in its destroy", "it said: ", "double free"]),
];

/// Checks that a fault was named by its check, and by an exit code of 1.
fn named(output: &Output, check: &str, words: &[&str]) -> Result<(), String> {
    let findings = findings(output);
    let details = || format!("{findings:#?}\n{}", stderr(output));
    if output.status.code() != Some(1) {
        return Err(format!("ended with {}\n{}", output.status, details()));
    }
    let (outcome, detail) = &findings[check];
    if outcome != "failed" {
        return Err(format!("'{check}' {outcome}\n{}", details()));
    }
    match words.iter().find(|word| !detail.contains(**word)) {
        Some(word) => Err(format!("'{check}' does not say \"{word}\"\n{}", details())),
        None => Ok(()),
    }
}

#[test]
fn each_fault_is_named() {
    let scratch = tempfile::tempdir().unwrap();
    let mut faults: Vec<_> = FAULTS.iter().map(|&(fault, check, words)| ("faults.c", fault, check, words)).collect();
    faults.push((
        "throws.cpp",
        "THROWS",
        "weights",
        &["SIGABRT (6)", "an exception left one of its functions; catch everything in each"],
    ));
    if cfg!(target_arch = "x86_64") {
        faults.push(("faults.c", "FLUSH_TO_ZERO", "host", &["subnormal numbers are now flushed to 0"]));
    }
    let (left, wrong) = (Mutex::new(faults.into_iter()), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let Some((source, fault, name, words)) = left.lock().unwrap().next() else { break };
                    let file = built(scratch.path(), source, fault);
                    let output = check(&file, &["--seconds", PATIENCE, "--only", name]);
                    if let Err(details) = named(&output, name, words) {
                        wrong.lock().unwrap().push(format!("{fault}: {details}"));
                    }
                }
            });
        }
    });
    let wrong = wrong.into_inner().unwrap();
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

#[test]
fn a_plugin_that_changes_floating_point_modes_moves_no_other_model_and_is_reported() {
    let scratch = tempfile::tempdir().unwrap();
    let experiment = |models: &str| {
        let text = format!(
            "threads = 1\n[data]\nprices = {:?}\n[windows]\nstep_months = 60\n{models}[[models]]\nname = \"hrp\"\n",
            prices()
        );
        let (file, out) = (scratch.path().join("experiment.toml"), scratch.path().join("out"));
        std::fs::write(&file, text).unwrap();
        let output = walkforge(&["run"]).arg(&file).arg("--out").arg(&out).output().unwrap();
        assert!(output.status.success(), "{}", stderr(&output));
        let weights = std::fs::read_to_string(out.join("weights.csv")).unwrap();
        let of_hrp: Vec<String> = weights.lines().filter(|line| line.contains(",hrp,")).map(str::to_owned).collect();
        let document = std::fs::read_to_string(out.join("run.json")).unwrap();
        let warned = document.contains("changed rounding, traps or flushing");
        assert_eq!(warned, stderr(&output).contains("the plugin of model 'hostile' changed rounding"));
        std::fs::remove_dir_all(out).unwrap();
        (of_hrp, warned)
    };
    let (clean, warned) = experiment("");
    assert!(!clean.is_empty() && !warned);
    let mut faults = vec!["ROUNDS_UP"];
    if cfg!(target_arch = "x86_64") {
        faults.extend(["FLUSH_TO_ZERO", "FAST_MATH"]);
    }
    for fault in faults {
        let file = built(scratch.path(), "faults.c", fault);
        let (beside, warned) = experiment(&format!("[[models]]\nname = \"hostile\"\nplugin = {file:?}\n"));
        assert!(warned, "{fault}");
        assert_eq!(beside, clean, "{fault}");
    }
}

#[test]
fn a_plugin_that_ignores_cancellation_is_stopped() {
    let scratch = tempfile::tempdir().unwrap();
    let started = Instant::now();
    let output = check(&built(scratch.path(), "faults.c", "LOOP"), &["--seconds", "3", "--only", "cancel"]);
    named(&output, "cancel", &["it did not end within 3 s, and was stopped in its weights", "service 'cancel'"])
        .unwrap();
    assert!(started.elapsed() < Duration::from_secs(60));
}

#[test]
fn the_network_without_a_fault_passes_every_check() {
    let scratch = tempfile::tempdir().unwrap();
    let findings = findings(&check(&built(scratch.path(), "faults.c", "NET_NONE"), &[]));
    assert_eq!(findings.len(), walkforge::internals::conformance::CHECKS.len());
    assert!(findings.values().all(|(outcome, _)| outcome == "passed"), "{findings:#?}");
}

#[test]
fn the_plugin_without_a_fault_passes_and_its_digest_is_reported() {
    let scratch = tempfile::tempdir().unwrap();
    let file = built(scratch.path(), "faults.c", "NONE");
    let output = check(&file, &[]);
    let findings = findings(&output);
    assert!(output.status.success(), "{findings:#?}");
    assert_eq!(findings.len(), walkforge::internals::conformance::CHECKS.len());
    let failed = findings.values().filter(|(outcome, _)| outcome == "failed").count();
    assert_eq!(failed, 0, "{findings:#?}");
    let sum = Command::new("sha256sum").arg(&file).output().unwrap();
    assert!(findings["load"].1.contains(stdout(&sum).split(' ').next().unwrap()), "{findings:#?}");
}

#[test]
fn the_report_continues_after_a_check_that_crashed() {
    let scratch = tempfile::tempdir().unwrap();
    let output = check(&built(scratch.path(), "faults.c", "DIVIDES"), &["--seconds", PATIENCE]);
    named(&output, "weights", &["SIGFPE"]).unwrap();
    let findings = findings(&output);
    assert_eq!(findings.len(), walkforge::internals::conformance::CHECKS.len());
    assert_eq!((findings["load"].0.as_str(), findings["version"].0.as_str()), ("passed", "passed"));
    let message = stderr(&output);
    assert!(message.contains("checks failed; the first, 'host', requires: what belongs to the host"), "{message}");
}

#[test]
fn a_file_that_is_not_a_plugin_has_a_clear_outcome() {
    let scratch = tempfile::tempdir().unwrap();
    let path = |name: &str| scratch.path().join(name);
    std::fs::write(path("empty.so"), "").unwrap();
    std::fs::write(path("text.so"), "no library at all").unwrap();
    std::fs::write(path("torn.so"), b"\x7fELF and no more").unwrap();
    for (name, words) in
        [("empty.so", "is empty"), ("text.so", "is not a shared library"), ("torn.so", "cannot be loaded: ")]
    {
        let output = check(&path(name), &[]);
        named(&output, "load", &[words]).unwrap();
        let skipped = findings(&output).values().filter(|(outcome, _)| outcome == "skipped").count();
        assert_eq!(skipped, walkforge::internals::conformance::CHECKS.len() - 1);
    }
    for (name, code, words) in [("", 2, "is a folder; name the plugin's library"), ("nothing.so", 2, "cannot read")] {
        let output = check(&path(name), &[]);
        assert_eq!((output.status.code(), stderr(&output).contains(words)), (Some(code), true), "{output:?}");
    }
    let output = check(&path("empty.so"), &["--only", "wieghts"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("there is no check 'wieghts'; there are load, version"), "{output:?}");
}
