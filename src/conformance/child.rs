//! The checks from outside: each in a child process, whose end is watched.

use std::fs::File;
use std::io::Read;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::{CHECKS, CheckOutcome, named};
use crate::error::{Error, Result, fail};
use crate::plugin::CallTrace;
use crate::plugin::checking::process;

/// How the checks are run.
#[derive(Clone, Debug)]
pub struct CheckOptions {
    /// The program that runs one check in its own process when called with `arguments FILE CHECK REPORT`.
    pub program: PathBuf,
    /// Its first arguments.
    pub arguments: Vec<String>,
    /// How long a check may take.
    pub patience: Duration,
    /// The checks that are run, after `load`; all of them if empty.
    pub only: Vec<String>,
}

/// A check and how it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The check's name.
    pub check: &'static str,
    /// What it demands.
    pub demand: &'static str,
    /// How it ended.
    pub outcome: CheckOutcome,
}

/// Runs the checks on a plugin file; `heard` is told of each as it ends. Where the file cannot be loaded the rest is
/// skipped.
///
/// # Errors
/// `NotFound` where there is no such file; `InvalidArgument` where it is a folder or a device, or where `only` names no
/// check; `Io` where a process cannot be started.
pub fn check(file: &Path, options: &CheckOptions, heard: &mut dyn FnMut(&Finding)) -> Result<Vec<Finding>> {
    let found = std::fs::metadata(file).map_err(|error| Error::io("read", file, &error))?;
    if !found.is_file() {
        let what = if found.is_dir() { "a folder" } else { "no ordinary file" };
        fail!(InvalidArgument, "{} is {what}; name the plugin's library, such as libwalkforge_NAME.so", file.display());
    }
    for name in &options.only {
        named(name)?;
    }
    let is_wanted = |name: &str| options.only.is_empty() || options.only.iter().any(|only| only == name);
    let mut out: Vec<Finding> = Vec::new();
    for (place, check) in CHECKS.iter().enumerate().filter(|(place, check)| *place == 0 || is_wanted(check.name)) {
        let loads = place == 0 || matches!(out[0].outcome, CheckOutcome::Passed(_));
        let outcome = if loads {
            watched(file, check.name, options)?
        } else {
            CheckOutcome::Skipped("it does not load".to_owned())
        };
        let finding = Finding { check: check.name, demand: check.doc, outcome };
        heard(&finding);
        out.push(finding);
    }
    Ok(out)
}

/// What a child process came to.
struct Ended {
    /// None where it was stopped for having taken too long.
    status: Option<ExitStatus>,
    stdout: String,
    stderr: String,
    /// Whether processes that it started outlived it.
    left_processes: bool,
}

fn watched(file: &Path, name: &str, options: &CheckOptions) -> Result<CheckOutcome> {
    let report = tempfile(name)?;
    let mut command = Command::new(&options.program);
    command.args(&options.arguments).arg(file).arg(name).arg(&report.0);
    if name == "leaks" {
        // What the C library keeps for each thread to hand out again would count as memory in use.
        command.env("GLIBC_TUNABLES", "glibc.malloc.tcache_count=0");
    }
    let ended = run(command, options)?;
    let last_words = ended.stderr.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default();
    let told = if last_words.is_empty() { String::new() } else { format!("; it said: {last_words}") };
    let written = std::fs::read_to_string(&report.0).unwrap_or_default();
    let (outcome, text) = written.split_once('\n').unwrap_or_default();
    let text = text.trim_end();
    // While it was inside, the report names the call.
    let place = match (outcome == CallTrace::CALLING, text) {
        (true, "") | (false, _) => String::new(),
        (true, "loading") => " while its library was loaded".to_owned(),
        (true, call) => format!(" in its {call}"),
    };
    let Some(status) = ended.status else {
        return Ok(CheckOutcome::Failed(format!(
            "it did not end within {} s, and was stopped{place}; a call has to end, or to ask the service 'cancel'{told}",
            options.patience.as_secs()
        )));
    };
    let Some(outcome) = CheckOutcome::from_name(outcome, text.to_owned()) else {
        return Ok(CheckOutcome::Failed(format!("{}{told}", how(status, &place, &ended.stderr))));
    };
    if !ended.stdout.is_empty() {
        let start: String = ended.stdout.chars().take(60).collect();
        return Ok(CheckOutcome::Failed(format!(
            "it wrote to stdout, which belongs to the host program: {start:?}; use the service 'log'"
        )));
    }
    if ended.left_processes {
        return Ok(CheckOutcome::Failed(
            "it started a process and left it running; a plugin may not outlive its host".to_owned(),
        ));
    }
    Ok(match outcome {
        CheckOutcome::Failed(_) => outcome,
        CheckOutcome::Passed(_) | CheckOutcome::Skipped(_) if status.success() => outcome,
        // It answered, and then ended otherwise: a destructor, a thread of its own, an exit handler.
        CheckOutcome::Passed(_) | CheckOutcome::Skipped(_) => {
            CheckOutcome::Failed(format!("after the check {}{told}", how(status, "", &ended.stderr)))
        }
    })
}

/// Runs a command as the leader of a process group, and waits until it has ended and what it printed is read.
fn run(mut command: Command, options: &CheckOptions) -> Result<Ended> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
    let mut child = command.spawn().map_err(|error| Error::io("start", &options.program, &error))?;
    let (stdout, stderr) = (Drain::start(child.stdout.take()), Drain::start(child.stderr.take()));
    let status = wait(&mut child, options.patience).map_err(|error| Error::io("watch", &options.program, &error))?;
    let left_processes = process::kill_group(child.id());
    Ok(Ended { status, stdout: stdout.text(), stderr: stderr.text(), left_processes })
}

/// How a process ended that said nothing more.
fn how(status: ExitStatus, place: &str, stderr: &str) -> String {
    match (status.signal(), status.code()) {
        (Some(signal), _) => {
            let (name, hint) = match signal {
                libc::SIGABRT | libc::SIGSEGV if stderr.contains("overflowed its stack") => (
                    if signal == libc::SIGABRT { "SIGABRT" } else { "SIGSEGV" },
                    "its stack overflowed: it calls itself without end, or keeps large arrays in functions",
                ),
                // It tore frames down on its way up, so the place of the call is not known.
                libc::SIGABRT if stderr.contains("foreign exceptions") => (
                    "SIGABRT",
                    "an exception left one of its functions; catch everything in each function of the table, as \
                     plugins/examples/min_variance.cpp does",
                ),
                libc::SIGSEGV => (
                    "SIGSEGV",
                    "it read or wrote beyond an array that it was lent, wrote to one that it may only read, or used one \
                     after its call",
                ),
                libc::SIGBUS => ("SIGBUS", "it used memory that is not there"),
                libc::SIGABRT => (
                    "SIGABRT",
                    "an exception or a panic left the plugin, or it called abort; catch everything before it returns",
                ),
                libc::SIGFPE => ("SIGFPE", "it divided an integer by zero"),
                libc::SIGILL => ("SIGILL", "it ran an instruction that this processor lacks, or a compiler's trap"),
                libc::SIGKILL => ("SIGKILL", "somebody stopped it, perhaps for want of memory"),
                _ => ("a signal", "look at what it does there"),
            };
            format!("the process died of {name} ({signal}){place}: {hint}")
        }
        (_, Some(code)) => {
            format!("the process exited with code {code}{place}: a plugin may not call exit; return an error")
        }
        _ => format!("the process ended{place}"),
    }
}

/// Waits for a child; stops it after `patience` and gives `None`.
fn wait(child: &mut Child, patience: Duration) -> std::io::Result<Option<ExitStatus>> {
    let started = Instant::now();
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if started.elapsed() > patience {
            child.kill()?;
            child.wait()?;
            return Ok(None);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// What a stream gives until it ends, the first 64 KiB of it.
struct Drain {
    kept: Arc<Mutex<Vec<u8>>>,
    ended: Receiver<()>,
}

impl Drain {
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
            // Nobody may be listening any more.
            let _ = end.send(());
        });
        Self { kept, ended }
    }

    /// All that came. A process that outlived the child may hold the stream open, and is not waited for.
    fn text(self) -> String {
        // Either it ended, or time is up.
        let _ = self.ended.recv_timeout(Duration::from_secs(2));
        String::from_utf8_lossy(&self.kept.lock().unwrap_or_else(PoisonError::into_inner)).into_owned()
    }
}

/// A file of a name that nobody has, removed when dropped.
struct Scratch(PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        // Left behind it does no harm.
        let _ = std::fs::remove_file(&self.0);
    }
}

fn tempfile(name: &str) -> Result<Scratch> {
    for attempt in 0..1000 {
        let path = std::env::temp_dir().join(format!("walkforge-check-{}-{name}-{attempt}", std::process::id()));
        match File::options().write(true).create_new(true).open(&path) {
            Ok(_) => return Ok(Scratch(path)),
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => (),
            Err(error) => return Err(Error::io("make", &path, &error)),
        }
    }
    Err(Error::new(crate::error::Code::Io, "no free name for a temporary file"))
}
