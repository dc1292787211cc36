//! Snapshots of the process state, to detect what a plugin changed, and preparation of a process that may be killed.

use std::collections::BTreeMap;
use std::ffi::{CStr, OsString};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Returns the address of the handler of each signal from 1 to 31; 0 for a signal that cannot be queried.
fn signal_handlers() -> Vec<usize> {
    (1..=31)
        .map(|signal| {
            let mut action = std::mem::MaybeUninit::<libc::sigaction>::zeroed();
            // SAFETY: the call changes no handler; `action` is zeroed, so it may be read even if the call failed.
            unsafe {
                libc::sigaction(signal, core::ptr::null(), action.as_mut_ptr());
                action.assume_init().sa_sigaction
            }
        })
        .collect()
}

/// Returns the bytes allocated from the C library, which Rust, C and C++ share.
pub(crate) fn allocated_bytes() -> usize {
    // SAFETY: the call only reads counters of the allocator.
    let info = unsafe { libc::mallinfo2() };
    info.uordblks + info.hblkhd
}

/// A snapshot of the process state that belongs to the host program.
pub(crate) struct ProcessState {
    handlers: Vec<usize>,
    directory: Option<PathBuf>,
    environment: BTreeMap<OsString, OsString>,
    locale: String,
    umask: Option<String>,
    blocked_signals: Option<String>,
    threads: usize,
    /// Bits of quotients that differ between the rounding modes.
    rounding: [u64; 4],
}

/// How long a thread that has ended may still be listed.
const THREAD_EXIT: Duration = Duration::from_millis(200);

impl ProcessState {
    /// Takes a snapshot.
    pub(crate) fn now() -> Self {
        // SAFETY: the call changes nothing with a null argument; the text is copied before anything can change it.
        let locale = unsafe {
            let name = libc::setlocale(libc::LC_ALL, core::ptr::null());
            if name.is_null() { String::new() } else { CStr::from_ptr(name).to_string_lossy().into_owned() }
        };
        let quotient = |numerator: f64, denominator: f64| {
            (std::hint::black_box(numerator) / std::hint::black_box(denominator)).to_bits()
        };
        Self {
            handlers: signal_handlers(),
            directory: std::env::current_dir().ok(),
            environment: std::env::vars_os().collect(),
            locale,
            umask: status("Umask"),
            blocked_signals: status("SigBlk"),
            threads: threads(),
            rounding: [quotient(1.0, 3.0), quotient(-1.0, 3.0), quotient(1.0, 10.0), quotient(-1.0, 10.0)],
        }
    }

    /// Describes each difference between this snapshot and the present state.
    pub(crate) fn changes(&self) -> Vec<String> {
        let (mut now, started) = (Self::now(), Instant::now());
        while now.threads > self.threads && started.elapsed() < THREAD_EXIT {
            std::thread::sleep(Duration::from_millis(5));
            now.threads = threads();
        }
        let mut out = Vec::new();
        if let Some(signal) = (0..now.handlers.len()).find(|&index| now.handlers[index] != self.handlers[index]) {
            out.push(format!("the handler of signal {} was changed", signal + 1));
        }
        if now.blocked_signals != self.blocked_signals {
            out.push("signals were blocked or unblocked".to_owned());
        }
        if now.directory != self.directory {
            let directory = now.directory.map_or("one that cannot be read".into(), |path| path.display().to_string());
            out.push(format!("the working directory was changed to {directory}"));
        }
        let names = now.environment.keys().chain(self.environment.keys());
        if let Some(name) = names.into_iter().find(|name| now.environment.get(*name) != self.environment.get(*name)) {
            out.push(format!("the environment variable {} was changed", name.to_string_lossy()));
        }
        if now.locale != self.locale {
            out.push(format!("the locale was changed from {} to {}", self.locale, now.locale));
        }
        if now.umask != self.umask {
            out.push("the umask was changed".to_owned());
        }
        if now.threads > self.threads {
            out.push(format!("threads were started and left running: {}", now.threads - self.threads));
        }
        if now.rounding != self.rounding {
            out.push("the rounding mode was changed".to_owned());
        }
        if std::hint::black_box(f64::MIN_POSITIVE) / std::hint::black_box(4.0) == 0.0 {
            out.push(
                "subnormal numbers are now flushed to 0: the plugin was linked with -ffast-math or sets the \
                 floating-point mode; build it without"
                    .to_owned(),
            );
        }
        out
    }
}

/// Returns a field of `/proc/self/status` by its name.
fn status(name: &str) -> Option<String> {
    let text = std::fs::read_to_string("/proc/self/status").ok()?;
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(|value| value.trim().to_owned())
}

fn threads() -> usize {
    status("Threads").and_then(|count| count.parse().ok()).unwrap_or(1)
}

/// Prepares this process to be ended by a plugin: it leaves no core file, and it is killed when its parent ends.
pub(crate) fn prepare_to_end() {
    let no_core = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: both calls change limits of this process only. If the system refuses, a file or a process is left behind.
    unsafe {
        libc::setrlimit(libc::RLIMIT_CORE, &raw const no_core);
        libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
    }
}

/// Kills every process of the group that `leader` leads. Returns whether there was one.
pub(crate) fn kill_group(leader: u32) -> bool {
    // SAFETY: the call only sends a signal; the group is that of a child process that leads its own group.
    i32::try_from(leader).is_ok_and(|leader| leader > 1 && unsafe { libc::kill(-leader, libc::SIGKILL) } == 0)
}
