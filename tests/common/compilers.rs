//! Compilers for C and C++, and programs and plugins that they build.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use super::process::{run, stdout};
use super::{built, folder, root};

/// A pair of compilers of one vendor.
#[derive(Clone, Copy)]
pub(crate) struct Compilers {
    pub c: &'static str,
    pub cpp: &'static str,
}

/// Every gate that compiles does so with each of them.
pub(crate) const COMPILERS: [Compilers; 2] =
    [Compilers { c: "gcc", cpp: "g++" }, Compilers { c: "clang", cpp: "clang++" }];

pub(crate) const STRICT: [&str; 4] = ["-Wall", "-Wextra", "-Wpedantic", "-Werror"];

/// What `ASan` and `UBSan` are asked for: the first fault ends the program. Checks of virtual tables need a C++
/// run-time library, which a plugin in C++ would miss in a host program in C.
pub(crate) const SANITIZE: [&str; 5] =
    ["-g", "-O1", "-fsanitize=address,undefined", "-fno-sanitize=vptr", "-fno-sanitize-recover=all"];

/// The name under which programs look for the shared library when they start.
pub(crate) fn soname() -> String {
    format!("libwalkforge.so.{}.{}", env!("CARGO_PKG_VERSION_MAJOR"), env!("CARGO_PKG_VERSION_MINOR"))
}

/// A folder with the shared library under its own name and its soname, and the plugins that ship.
pub(crate) fn libraries() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let path = folder("libraries");
        for name in ["libwalkforge.so".to_owned(), soname()] {
            std::os::unix::fs::symlink(built().join("libwalkforge.so"), path.join(name)).unwrap();
        }
        for plugin in ["libwalkforge_hrp.so", "libwalkforge_lstm.so"] {
            std::os::unix::fs::symlink(built().join(plugin), path.join(plugin)).unwrap();
        }
        path
    })
}

/// Writes what a script of `tests/capi` prints.
pub(crate) fn generate(script: &str, arguments: &[PathBuf], to: &Path) {
    let mut command = Command::new("python3");
    command.arg("-B").arg(root().join("tests/capi").join(script)).args(arguments);
    fs::write(to, run(&mut command).stdout).unwrap();
}

pub(crate) fn header(name: &str) -> PathBuf {
    root().join("include").join(name)
}

/// A compiler with warnings as errors, and the headers and `tests/capi` to include from.
pub(crate) fn compiler(name: &str) -> Command {
    let mut command = Command::new(name);
    command.args(STRICT).arg("-I").arg(root().join("include")).arg("-I").arg(root().join("bindings/cpp/include"));
    command.arg("-I").arg(root().join("tests/capi"));
    command
}

/// Builds a program against the shared library.
pub(crate) fn build(name: &str, flags: &[&str], source: impl AsRef<OsStr>, program: &Path) {
    let mut command = compiler(name);
    command.args(flags).arg(source.as_ref()).arg("-o").arg(program);
    command.arg("-L").arg(libraries()).arg(format!("-Wl,-rpath,{}", libraries().display()));
    run(command.args(["-lwalkforge", "-pthread", "-lm"]));
}

/// Names of symbols that `nm` prints with the given options, sorted.
pub(crate) fn symbols(options: &[&str], file: &Path) -> Vec<String> {
    let output = run(Command::new("nm").args(options).arg(file));
    let mut out: Vec<String> =
        stdout(&output).lines().filter_map(|line| line.split(' ').nth(2).map(str::to_owned)).collect();
    out.sort();
    out
}

/// Builds the example plugins into `folder`, from the plugin header and nothing else.
pub(crate) fn examples(compilers: Compilers, flags: &[&str], folder: &Path) {
    let include = folder.join("include");
    fs::create_dir_all(&include).unwrap();
    fs::copy(header("walkforge_plugin.h"), include.join("walkforge_plugin.h")).unwrap();
    for (name, file, compiler, standard) in [
        ("momentum", "momentum.c", compilers.c, "-std=c11"),
        ("min_variance", "min_variance.cpp", compilers.cpp, "-std=c++17"),
        ("mlp", "mlp.c", compilers.c, "-std=c11"),
    ] {
        let plugin = folder.join(format!("libwalkforge_{name}.so"));
        let mut command = Command::new(compiler);
        command.args([standard, "-O2", "-shared", "-fPIC"]).args(STRICT).args(flags);
        command.arg(format!("-Wl,--version-script={}", root().join("plugins/examples/plugin.map").display()));
        command.arg("-I").arg(&include).arg(root().join("plugins/examples").join(file));
        run(command.arg("-o").arg(&plugin).arg("-lm"));
        assert_eq!(symbols(&["-D", "--defined-only"], &plugin), [format!("wf_plugin_init_{name}")]);
    }
}
