//! Runs each check in a child process and reports how it ended.

use std::fs::File;
use std::io::Read;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::{CHECKS, CheckOutcome, find_check};
use crate::error::{Error, Result, fail};
use crate::plugin::CallTrace;
use crate::plugin::checking::process;

/// How the checks are run.
#[derive(Clone, Debug)]
pub struct CheckOptions {
    /// The program that runs one check: it is started with `arguments FILE CHECK REPORT`.
    pub program: PathBuf,
    /// Its first arguments.
    pub arguments: Vec<String>,
    /// The time limit of one check.
    pub timeout: Duration,
    /// The checks to run after `load`; all of them if empty.
    pub only: Vec<String>,
}

/// A check and its outcome.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The check's name.
    pub check: &'static str,
    /// What it demands of a plugin.
    pub demand: &'static str,
    /// How it ended.
    pub outcome: CheckOutcome,
}

/// Runs the checks on a plugin file and calls `on_finding` as each one ends. If the file cannot be loaded the other
/// checks are skipped.
///
/// # Errors
/// `NotFound` if there is no such file; `InvalidArgument` if it is a folder or a device, or if `only` names an unknown
/// check; `Io` if a process cannot be started.
pub fn check(file: &Path, options: &CheckOptions, on_finding: &mut dyn FnMut(&Finding)) -> Result<Vec<Finding>> {
    let found = std::fs::metadata(file).map_err(|error| Error::io("read", file, &error))?;
    if !found.is_file() {
        let what = if found.is_dir() { "a folder" } else { "not a regular file" };
        fail!(InvalidArgument, "{} is {what}; name the plugin's library, such as libwalkforge_NAME.so", file.display());
    }
    for name in &options.only {
        find_check(name)?;
    }
    let is_selected = |name: &str| options.only.is_empty() || options.only.iter().any(|only| only == name);
    let mut out: Vec<Finding> = Vec::new();
    for (index, check) in CHECKS.iter().enumerate().filter(|(index, check)| *index == 0 || is_selected(check.name)) {
        let loads = index == 0 || matches!(out[0].outcome, CheckOutcome::Passed(_));
        let outcome = if loads {
            run_check(file, check.name, options)?
        } else {
            CheckOutcome::Skipped("the file cannot be loaded".to_owned())
        };
        let finding = Finding { check: check.name, demand: check.doc, outcome };
        on_finding(&finding);
        out.push(finding);
    }
    Ok(out)
}

/// How a child process ended, and what it printed.
struct ChildResult {
    /// `None` if it was stopped at the time limit.
    status: Option<ExitStatus>,
    stdout: String,
    stderr: String,
    /// Whether it left processes running.
    left_processes: bool,
}

/// Runs one check in a child process.
fn run_check(file: &Path, name: &str, options: &CheckOptions) -> Result<CheckOutcome> {
    let report = temporary_file(name)?;
    let mut command = Command::new(&options.program);
    command.args(&options.arguments).arg(file).arg(name).arg(&report.0);
    if name == "leaks" {
        // Memory in glibc's per-thread caches would count as used.
        command.env("GLIBC_TUNABLES", "glibc.malloc.tcache_count=0");
    }
    let child = run(command, options)?;
    let last_line = child.stderr.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default();
    let printed = if last_line.is_empty() { String::new() } else { format!("; it said: {last_line}") };
    let written = std::fs::read_to_string(&report.0).unwrap_or_default();
    let (outcome, text) = written.split_once('\n').unwrap_or_default();
    let text = text.trim_end();
    // If the process ended during a call into the plugin, the report names the call.
    let during = match (outcome == CallTrace::CALLING, text) {
        (true, "") | (false, _) => String::new(),
        (true, "loading") => " while its library was loaded".to_owned(),
        (true, call) => format!(" in its {call}"),
    };
    let Some(status) = child.status else {
        return Ok(CheckOutcome::Failed(format!(
            "it did not end within {} s, and was stopped{during}; a call must return, or poll the service \
             'cancel'{printed}",
            options.timeout.as_secs()
        )));
    };
    let Some(outcome) = CheckOutcome::from_name(outcome, text.to_owned()) else {
        return Ok(CheckOutcome::Failed(format!("{}{printed}", describe_end(status, &during, &child.stderr))));
    };
    if !child.stdout.is_empty() {
        let start: String = child.stdout.chars().take(60).collect();
        return Ok(CheckOutcome::Failed(format!(
            "it wrote to stdout, which belongs to the host program: {start:?}; use the service 'log'"
        )));
    }
    if child.left_processes {
        return Ok(CheckOutcome::Failed(
            "it started a process and left it running; a plugin must not outlive its host".to_owned(),
        ));
    }
    Ok(match outcome {
        CheckOutcome::Failed(_) => outcome,
        CheckOutcome::Passed(_) | CheckOutcome::Skipped(_) if status.success() => outcome,
        // The check ended well but the process did not: a destructor, a thread or an exit handler is at fault.
        CheckOutcome::Passed(_) | CheckOutcome::Skipped(_) => {
            CheckOutcome::Failed(format!("after the check {}{printed}", describe_end(status, "", &child.stderr)))
        }
    })
}

/// Runs a command as the leader of a process group, until it has ended and its output is read.
fn run(mut command: Command, options: &CheckOptions) -> Result<ChildResult> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
    let mut child = command.spawn().map_err(|error| Error::io("start", &options.program, &error))?;
    let (stdout, stderr) = (OutputReader::start(child.stdout.take()), OutputReader::start(child.stderr.take()));
    let status = wait(&mut child, options.timeout).map_err(|error| Error::io("watch", &options.program, &error))?;
    let left_processes = process::kill_group(child.id());
    Ok(ChildResult { status, stdout: stdout.text(), stderr: stderr.text(), left_processes })
}

/// How a process ended: `during` names the call into the plugin in which it did.
fn describe_end(status: ExitStatus, during: &str, stderr: &str) -> String {
    match (status.signal(), status.code()) {
        (Some(signal), _) => {
            let (name, hint) = match signal {
                libc::SIGABRT | libc::SIGSEGV if stderr.contains("overflowed its stack") => (
                    if signal == libc::SIGABRT { "SIGABRT" } else { "SIGSEGV" },
                    "its stack overflowed: it calls itself without end, or has large arrays as local variables",
                ),
                // The exception has unwound the stack, so the call is not known.
                libc::SIGABRT if stderr.contains("foreign exceptions") => (
                    "SIGABRT",
                    "an exception left one of its functions; catch everything in each function of the table, as \
                     plugins/examples/min_variance.cpp does",
                ),
                libc::SIGSEGV => (
                    "SIGSEGV",
                    "it read or wrote beyond an array that it was lent, wrote to one that it may only read, or used \
                     one after its call",
                ),
                libc::SIGBUS => ("SIGBUS", "it used memory that does not exist"),
                libc::SIGABRT => (
                    "SIGABRT",
                    "an exception or a panic left the plugin, or it called abort; catch everything before it returns",
                ),
                libc::SIGFPE => ("SIGFPE", "it divided an integer by zero"),
                libc::SIGILL => {
                    ("SIGILL", "it ran an instruction that this CPU lacks, or a trap that the compiler inserted")
                }
                libc::SIGKILL => ("SIGKILL", "it was killed from outside, perhaps because memory ran out"),
                _ => ("a signal", "find out why it raises this signal"),
            };
            format!("the process died of {name} ({signal}){during}: {hint}")
        }
        (_, Some(code)) => {
            format!("the process exited with code {code}{during}: a plugin may not call exit; return an error")
        }
        _ => format!("the process ended{during}"),
    }
}

/// Waits for a child to end; after `timeout` kills it and returns `None`.
fn wait(child: &mut Child, timeout: Duration) -> std::io::Result<Option<ExitStatus>> {
    let started = Instant::now();
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if started.elapsed() > timeout {
            child.kill()?;
            child.wait()?;
            return Ok(None);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Reads an output stream to its end in a thread, and keeps about the first 64 KiB.
struct OutputReader {
    kept: Arc<Mutex<Vec<u8>>>,
    ended: Receiver<()>,
}

impl OutputReader {
    fn start(stream: Option<impl Read + Send + 'static>) -> Self {
        let kept = Arc::new(Mutex::new(Vec::new()));
        let (end, ended) = std::sync::mpsc::channel();
        let keep = Arc::clone(&kept);
        std::thread::spawn(move || {
            if let Some(mut stream) = stream {
                let mut buffer = [0; 4096];
                while let Ok(count @ 1..) = stream.read(&mut buffer) {
                    let mut kept = keep.lock().unwrap_or_else(PoisonError::into_inner);
                    if kept.len() < 65_536 {
                        kept.extend_from_slice(&buffer[..count]);
                    }
                }
            }
            // The receiver may have been dropped.
            let _ = end.send(());
        });
        Self { kept, ended }
    }

    /// The text so far. A process that outlives the child may keep the stream open, so this waits for 2 seconds at
    /// most.
    fn text(self) -> String {
        // An error means that time is up, or that the thread is gone.
        let _ = self.ended.recv_timeout(Duration::from_secs(2));
        String::from_utf8_lossy(&self.kept.lock().unwrap_or_else(PoisonError::into_inner)).into_owned()
    }
}

/// A temporary file, removed when dropped.
struct TemporaryFile(PathBuf);

impl Drop for TemporaryFile {
    fn drop(&mut self) {
        // A file that is left behind does no harm.
        let _ = std::fs::remove_file(&self.0);
    }
}

fn temporary_file(name: &str) -> Result<TemporaryFile> {
    for attempt in 0..1000 {
        let path = std::env::temp_dir().join(format!("walkforge-check-{}-{name}-{attempt}", std::process::id()));
        match File::options().write(true).create_new(true).open(&path) {
            Ok(_) => return Ok(TemporaryFile(path)),
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => (),
            Err(error) => return Err(Error::io("create", &path, &error)),
        }
    }
    Err(Error::new(crate::error::Code::Io, "no free name for a temporary file"))
}
