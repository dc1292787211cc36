//! The example engine, the example plugins, HRP and the C test programs under `AddressSanitizer` with
//! `UndefinedBehaviorSanitizer`, and under valgrind. The sanitizers do not instrument the Rust side, for which nightly
//! Rust is needed (`make sanitize-rust`), but they track its allocations; valgrind sees every instruction of both.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::common::compilers::{COMPILERS, Compilers, SANITIZE, build, examples, generate, header, libraries};
use crate::common::process::{last_line, run};
use crate::common::{folder, prices, root};

/// Six years of six assets: two windows, so that it stays fast under valgrind.
fn short_prices(folder: &Path) -> PathBuf {
    let text = std::fs::read_to_string(prices()).unwrap();
    let short: Vec<String> =
        text.lines().take(1560).map(|line| line.split(',').take(7).collect::<Vec<_>>().join(",")).collect();
    let path = folder.join("short.csv");
    std::fs::write(&path, short.join("\n") + "\n").unwrap();
    path
}

/// Builds all programs and the example plugins; returns each program with its arguments. The engine trains its LSTM for
/// `epochs` epochs.
fn programs(compilers: Compilers, flags: &[&str], folder: &Path, epochs: &str) -> Vec<(PathBuf, Vec<PathBuf>)> {
    let prices = short_prices(folder);
    let c = [&["-std=c11", "-D_POSIX_C_SOURCE=200809L"], flags].concat();
    let cpp = [&["-std=c++17"], flags].concat();
    examples(compilers, flags, folder);
    let abuse = folder.join("abuse.c");
    generate("abuse.py", &[header("walkforge.h")], &abuse);
    let plugins = PathBuf::from(format!("{}:{}", folder.display(), libraries().display()));
    let made = [
        (compilers.c, &c, root().join("tests/capi/exercise.c"), vec![]),
        (
            compilers.cpp,
            &cpp,
            root().join("bindings/cpp/examples/engine.cpp"),
            vec![prices.clone(), libraries().to_owned(), folder.join("engine-out"), epochs.into()],
        ),
        (
            compilers.c,
            &c,
            root().join("tests/abi/v1.0/host.c"),
            vec![prices.clone(), plugins.clone(), "momentum".into(), "min_variance".into(), "hrp".into()],
        ),
        (compilers.c, &c, root().join("tests/abi/v1.1/host.c"), vec![prices, plugins, "mlp".into()]),
        (compilers.c, &c, abuse, vec!["300".into(), "1".into()]),
    ];
    made.into_iter()
        .enumerate()
        .map(|(index, (compiler, flags, source, arguments))| {
            let program = folder.join(format!("{}-{index}", source.file_stem().unwrap().display()));
            build(compiler, flags, &source, &program);
            (program, arguments)
        })
        .collect()
}

#[test]
fn nothing_is_lost_or_misused_under_asan_and_ubsan() {
    for compilers in COMPILERS {
        let folder = folder(&format!("capi/sanitizers-{}", compilers.c));
        // A check of clang whose runtime library is for C++ programs only; a plugin is loaded with all symbols
        // resolved.
        let own: &[&str] = if compilers.c == "clang" { &["-fno-sanitize=function"] } else { &[] };
        for (program, arguments) in programs(compilers, &[&SANITIZE, own].concat(), &folder, "1") {
            let mut command = Command::new(&program);
            command.env("ASAN_OPTIONS", "detect_leaks=1").current_dir(&folder).args(arguments);
            println!("{}, sanitized: {}", compilers.c, last_line(&run(&mut command)));
        }
    }
}

#[test]
fn nothing_is_lost_or_misused_under_valgrind() {
    for compilers in COMPILERS {
        let folder = folder(&format!("capi/valgrind-{}", compilers.c));
        // Without the LSTM, which takes minutes here; the programs of ABI 1.1 train a network.
        for (program, arguments) in programs(compilers, &["-g", "-O1"], &folder, "0") {
            let mut command = Command::new("valgrind");
            command.args(["--quiet", "--error-exitcode=99", "--leak-check=full"]);
            command.args(["--errors-for-leak-kinds=definite,indirect", "--show-leak-kinds=definite,indirect"]);
            command.arg(&program).args(arguments).current_dir(&folder);
            println!("{}, valgrind: {}", compilers.c, last_line(&run(&mut command)));
        }
    }
}
