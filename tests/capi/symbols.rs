//! The libraries export the committed list of symbols and nothing else.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::common::compilers::{COMPILERS, build, compiler, header, soname, symbols};
use crate::common::process::{last_line, run, stdout};
use crate::common::{built, folder, library, root};

/// `include/symbols.txt`, which `cargo xtask headers` generates.
fn listed() -> Vec<String> {
    fs::read_to_string(header("symbols.txt")).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn the_shared_library_exports_the_committed_list() {
    let exported = symbols(&["-D", "--defined-only"], &built().join("libwalkforge.so"));
    assert_eq!(exported, listed());
    println!("{} exported functions", exported.len());
}

#[test]
fn a_plugin_exports_its_init_function_alone() {
    let exported = symbols(&["-D", "--defined-only"], &library("hrp"));
    assert_eq!(exported, ["wf_plugin_init_hrp"]);
}

/// The static library as `make install` makes it.
fn archive(folder: &Path) -> std::path::PathBuf {
    let out = folder.join("libwalkforge.a");
    let mut command = Command::new("sh");
    command.arg(root().join("bindings/cpp/static.sh")).arg(built().join("libwalkforge.a"));
    run(command.arg(header("symbols.txt")).arg(&out));
    out
}

#[test]
fn the_static_library_exports_the_same_list_and_works_in_c_and_with_other_rust_code() {
    let folder = folder("capi/static");
    let archive = archive(&folder);
    assert_eq!(symbols(&["-g", "--defined-only"], &archive), listed());

    for compilers in COMPILERS {
        let program = folder.join(compilers.c);
        let mut command = compiler(compilers.c);
        command.args(["-std=c11", "-D_POSIX_C_SOURCE=200809L"]).arg(root().join("tests/capi/exercise.c")).arg(&archive);
        run(command.args(["-lgcc_s", "-lutil", "-lrt", "-lpthread", "-lm", "-ldl", "-o"]).arg(&program));
        let needed = run(Command::new("readelf").arg("-d").arg(&program));
        assert!(!stdout(&needed).contains("libwalkforge"));
        println!("static, {}: {}", compilers.c, last_line(&run(Command::new(&program).current_dir(&folder))));
    }

    // A Rust program has its own copies of the standard library and of crates that the archive contains too.
    let program = folder.join("guest");
    let mut command = Command::new("rustc");
    command.args(["--edition", "2024", "-O"]).arg(root().join("tests/capi/guest.rs")).arg("-o").arg(&program);
    command.arg("-L").arg(&folder);
    run(command.args(["-l", "static:-bundle=walkforge"]));
    assert_eq!(last_line(&run(&mut Command::new(&program))), format!("walkforge {}", env!("CARGO_PKG_VERSION")));
}

#[test]
fn a_program_needs_the_library_under_its_soname() {
    let folder = folder("capi/soname");
    let source = folder.join("version.c");
    fs::write(&source, "#include \"walkforge.h\"\nint main(void) { return wf_abi_version() >> 16 != WF_ABI_MAJOR; }\n")
        .unwrap();
    let program = folder.join("version");
    build("gcc", &["-std=c11"], &source, &program);
    let needed = run(Command::new("readelf").arg("-d").arg(&program));
    assert!(stdout(&needed).contains(&format!("[{}]", soname())));
    run(&mut Command::new(&program));
}
