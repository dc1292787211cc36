//! The checks from outside: each in a child process, whose end is watched.

use std::fs::File;
use std::io::Read;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use super::{CHECKS, Outcome};
use crate::error::{Error, Result};

/// How the checks are run.
#[derive(Clone, Debug)]
pub struct Options {
    /// The program that runs one check in its own process when called with `arguments FILE CHECK REPORT`.
    pub program: PathBuf,
    /// Its first arguments.
    pub arguments: Vec<String>,
    /// How long a check may take.
    pub patience: Duration,
}

/// A check and how it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The check's name.
    pub check: &'static str,
    /// What it demands.
    pub demand: &'static str,
    /// How it ended.
    pub outcome: Outcome,
}

/// Runs every check on a plugin file; `heard` is told of each as it ends. Where the file cannot be loaded the rest is
/// skipped.
///
/// # Errors
/// `NotFound` where there is no such file; `Io` where a process cannot be started.
pub fn check(file: &Path, options: &Options, heard: &mut dyn FnMut(&Finding)) -> Result<Vec<Finding>> {
    if !file.is_file() {
        let missing = std::io::Error::from(std::io::ErrorKind::NotFound);
        return Err(Error::io("read", file, &missing));
    }
    let mut out: Vec<Finding> = Vec::new();
    for check in CHECKS {
        let loads = out.first().is_none_or(|first| matches!(first.outcome, Outcome::Passed(_)));
        let outcome =
            if loads { watched(file, check.name, options)? } else { Outcome::Skipped("it does not load".to_owned()) };
        let finding = Finding { check: check.name, demand: check.doc, outcome };
        heard(&finding);
        out.push(finding);
    }
    Ok(out)
}

fn watched(file: &Path, name: &str, options: &Options) -> Result<Outcome> {
    let report = tempfile(name)?;
    let mut child = Command::new(&options.program)
        .args(&options.arguments)
        .arg(file)
        .arg(name)
        .arg(&report.0)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| Error::io("start", &options.program, &error))?;
    let (stdout, stderr) = (drain(child.stdout.take()), drain(child.stderr.take()));
    let status = wait(&mut child, options.patience);
    let (stdout, stderr) = (stdout.join().unwrap_or_default(), stderr.join().unwrap_or_default());
    let last_words = stderr.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default();
    let told = if last_words.is_empty() { String::new() } else { format!("; it said: {last_words}") };
    let Some(status) = status.map_err(|error| Error::io("watch", &options.program, &error))? else {
        return Ok(Outcome::Failed(format!(
            "it did not end within {} s and was stopped{told}",
            options.patience.as_secs()
        )));
    };
    let written = std::fs::read_to_string(&report.0).unwrap_or_default();
    let Some((outcome, text)) = written.split_once('\n') else {
        return Ok(Outcome::Failed(format!("{}{told}", ended(status))));
    };
    let text = text.trim_end().to_owned();
    if !stdout.is_empty() {
        let start: String = stdout.chars().take(60).collect();
        return Ok(Outcome::Failed(format!(
            "it wrote to stdout, which belongs to the host program: {start:?}; use the service 'log'"
        )));
    }
    Ok(match outcome {
        "passed" if status.success() => Outcome::Passed(text),
        "skipped" => Outcome::Skipped(text),
        "failed" => Outcome::Failed(text),
        // It answered, and then ended otherwise: a destructor, a thread of its own, an exit handler.
        _ => Outcome::Failed(format!("after the check {}{told}", ended(status))),
    })
}

/// How a process ended that said nothing more.
fn ended(status: ExitStatus) -> String {
    match (status.signal(), status.code()) {
        (Some(signal), _) => {
            let (name, hint) = match signal {
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
            format!("the process died of {name} ({signal}): {hint}")
        }
        (_, Some(code)) => format!("the process exited with code {code}: a plugin may not call exit"),
        _ => "the process ended".to_owned(),
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

/// Reads a stream to its end, the first 64 KiB of it.
fn drain(stream: Option<impl Read + Send + 'static>) -> std::thread::JoinHandle<String> {
    std::thread::spawn(move || {
        let mut kept = Vec::new();
        if let Some(mut stream) = stream {
            let mut buffer = [0; 4096];
            while let Ok(count @ 1..) = stream.read(&mut buffer) {
                if kept.len() < 65_536 {
                    kept.extend_from_slice(&buffer[..count]);
                }
            }
        }
        String::from_utf8_lossy(&kept).into_owned()
    })
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
