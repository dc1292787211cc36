//! Compilers, folders and processes for the gates.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Once;

/// A pair of compilers of one vendor.
#[derive(Clone, Copy)]
pub struct Compilers {
    pub c: &'static str,
    pub cpp: &'static str,
}

/// Every gate that compiles does so with each of them.
pub const COMPILERS: [Compilers; 2] = [Compilers { c: "gcc", cpp: "g++" }, Compilers { c: "clang", cpp: "clang++" }];

pub const STRICT: [&str; 4] = ["-Wall", "-Wextra", "-Wpedantic", "-Werror"];

/// What `ASan` and `UBSan` are asked for: the first fault ends the program. Checks of virtual tables need a C++ run-time
/// library, which a plugin in C++ would miss in a host program in C.
pub const SANITIZE: [&str; 5] =
    ["-g", "-O1", "-fsanitize=address,undefined", "-fno-sanitize=vptr", "-fno-sanitize-recover=all"];

pub fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// An empty folder of this gate's own.
pub fn folder(gate: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("capi").join(gate);
    if path.exists() {
        fs::remove_dir_all(&path).unwrap();
    }
    fs::create_dir_all(&path).unwrap();
    path
}

/// Where cargo put the libraries and plugins that it built for these tests.
pub fn built() -> PathBuf {
    std::env::current_exe().unwrap().parent().unwrap().to_owned()
}

/// The name under which programs look for the shared library when they start.
pub fn soname() -> String {
    format!("libwalkforge.so.{}.{}", env!("CARGO_PKG_VERSION_MAJOR"), env!("CARGO_PKG_VERSION_MINOR"))
}

/// A folder with the shared library under its own name and its soname, and the plugins that ship.
pub fn libraries() -> PathBuf {
    static ONCE: Once = Once::new();
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("capi/lib");
    ONCE.call_once(|| {
        let path = folder("lib");
        for name in ["libwalkforge.so".to_owned(), soname()] {
            std::os::unix::fs::symlink(built().join("libwalkforge.so"), path.join(name)).unwrap();
        }
        for plugin in ["libwalkforge_hrp.so", "libwalkforge_lstm.so"] {
            std::os::unix::fs::symlink(built().join(plugin), path.join(plugin)).unwrap();
        }
    });
    path
}

/// A command that must succeed; its output.
pub fn run(command: &mut Command) -> Output {
    let output = command.output().unwrap_or_else(|error| {
        panic!("{command:?} cannot be started: {error}; `make tools` installs what the tests need")
    });
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command:?}: {}\n{out}\n{err}", output.status);
    output
}

pub fn text(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// The last line that a program printed, where the gates' programs put their counts.
pub fn last_line(output: &Output) -> String {
    text(output).lines().last().unwrap_or_default().to_owned()
}

/// Writes what a generator of this folder prints.
pub fn generate(script: &str, arguments: &[PathBuf], to: &Path) {
    let mut command = Command::new("python3");
    command.arg("-B").arg(root().join("tests/capi").join(script)).args(arguments);
    fs::write(to, run(&mut command).stdout).unwrap();
}

pub fn header(name: &str) -> PathBuf {
    root().join("include").join(name)
}

/// A compiler with warnings as errors, the headers and this folder to include from.
pub fn compiler(name: &str) -> Command {
    let mut command = Command::new(name);
    command.args(STRICT).arg("-I").arg(root().join("include")).arg("-I").arg(root().join("bindings/cpp/include"));
    command.arg("-I").arg(root().join("tests/capi"));
    command
}

/// Builds a program against the shared library.
pub fn build(name: &str, flags: &[&str], source: impl AsRef<OsStr>, program: &Path) {
    let mut command = compiler(name);
    command.args(flags).arg(source.as_ref()).arg("-o").arg(program);
    command.arg("-L").arg(libraries()).arg(format!("-Wl,-rpath,{}", libraries().display()));
    run(command.args(["-lwalkforge", "-pthread", "-lm"]));
}

/// Names of symbols that `nm` prints with the given options, sorted.
pub fn symbols(options: &[&str], file: &Path) -> Vec<String> {
    let output = run(Command::new("nm").args(options).arg(file));
    let mut out: Vec<String> =
        text(&output).lines().filter_map(|line| line.split(' ').nth(2).map(str::to_owned)).collect();
    out.sort();
    out
}
