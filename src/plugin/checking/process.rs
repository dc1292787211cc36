//! What can be asked of the process itself, to see whether a plugin changed it, and how a process that runs checks is
//! prepared for its end.

use std::collections::BTreeMap;
use std::ffi::{CStr, OsString};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// The handler of each signal from 1 to 31, as a number; that of a signal that cannot be asked for is 0.
fn signal_handlers() -> Vec<usize> {
    (1..=31)
        .map(|signal| {
            let mut action = std::mem::MaybeUninit::<libc::sigaction>::zeroed();
            // SAFETY: asks only; `action` is zeroed, and so may be read whatever the call did.
            unsafe {
                libc::sigaction(signal, core::ptr::null(), action.as_mut_ptr());
                action.assume_init().sa_sigaction
            }
        })
        .collect()
}

/// Bytes that are allocated from the C library, which Rust, C and C++ share.
pub fn allocated_bytes() -> usize {
    // SAFETY: asks for numbers.
    let info = unsafe { libc::mallinfo2() };
    info.uordblks + info.hblkhd
}

/// What belongs to the host program, as it is at one moment.
pub struct Surroundings {
    handlers: Vec<usize>,
    folder: Option<PathBuf>,
    environment: BTreeMap<OsString, OsString>,
    locale: String,
    umask: Option<String>,
    blocked: Option<String>,
    threads: usize,
    rounding: [u64; 4],
}

/// How long a thread that was ended may take to be gone.
const GONE: Duration = Duration::from_millis(200);

impl Surroundings {
    /// As they are now.
    pub fn now() -> Self {
        // SAFETY: asks only; the text is copied before anything can change it.
        let locale = unsafe {
            let name = libc::setlocale(libc::LC_ALL, core::ptr::null());
            if name.is_null() { String::new() } else { CStr::from_ptr(name).to_string_lossy().into_owned() }
        };
        let parts = |numerator: f64, denominator: f64| {
            (std::hint::black_box(numerator) / std::hint::black_box(denominator)).to_bits()
        };
        Self {
            handlers: signal_handlers(),
            folder: std::env::current_dir().ok(),
            environment: std::env::vars_os().collect(),
            locale,
            umask: status("Umask"),
            blocked: status("SigBlk"),
            threads: threads(),
            // Each way of rounding gives other last digits of one of these.
            rounding: [parts(1.0, 3.0), parts(-1.0, 3.0), parts(1.0, 10.0), parts(-1.0, 10.0)],
        }
    }

    /// What is no longer as it was, in words.
    pub fn changes(&self) -> Vec<String> {
        let (mut now, started) = (Self::now(), Instant::now());
        while now.threads > self.threads && started.elapsed() < GONE {
            std::thread::sleep(Duration::from_millis(5));
            now.threads = threads();
        }
        let mut out = Vec::new();
        if let Some(signal) = (0..now.handlers.len()).find(|&place| now.handlers[place] != self.handlers[place]) {
            out.push(format!("the handler of signal {} was changed", signal + 1));
        }
        if now.blocked != self.blocked {
            out.push("signals were blocked or unblocked".to_owned());
        }
        if now.folder != self.folder {
            let folder = now.folder.map_or("one that cannot be read".into(), |folder| folder.display().to_string());
            out.push(format!("the working directory was changed to {folder}"));
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
            out.push("numbers are rounded another way".to_owned());
        }
        if std::hint::black_box(f64::MIN_POSITIVE) / std::hint::black_box(4.0) == 0.0 {
            out.push(
                "the smallest numbers now round to 0: the plugin was linked with -ffast-math or sets the floating-point \
                 mode; build it without"
                    .to_owned(),
            );
        }
        out
    }
}

/// A line of what Linux says of this process, by its name.
fn status(name: &str) -> Option<String> {
    let text = std::fs::read_to_string("/proc/self/status").ok()?;
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(|value| value.trim().to_owned())
}

fn threads() -> usize {
    status("Threads").and_then(|count| count.parse().ok()).unwrap_or(1)
}

/// Prepares this process for a plugin that ends it: no file with its memory is left behind, and it goes when the process
/// that started it goes.
pub fn prepare_to_end() {
    let none = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: both calls change this process only. Where the system refuses, something is left behind, and nothing else.
    unsafe {
        libc::setrlimit(libc::RLIMIT_CORE, &raw const none);
        libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
    }
}

/// Ends every process of a group, named by the process that leads it; whether there was any.
pub fn end_group(leader: u32) -> bool {
    // SAFETY: sends a signal. The group is that of a child that was started for it.
    i32::try_from(leader).is_ok_and(|leader| leader > 1 && unsafe { libc::kill(-leader, libc::SIGKILL) } == 0)
}
