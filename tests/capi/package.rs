//! The files of `make install` work for projects outside of the tree, with `CMake` and with pkg-config, shared and
//! static, also after the tree was moved.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::common::compilers::{COMPILERS, examples, soname};
use crate::common::process::{copy_program, last_line, run, stdout};
use crate::common::{built, prices, root};

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Installs for one prefix, then moves the tree to another.
fn installed(folder: &Path) -> PathBuf {
    let stage = folder.join("stage");
    let mut command = Command::new("sh");
    command.arg(root().join("bindings/cpp/install.sh")).arg(built()).arg(env!("CARGO_BIN_EXE_walkforge"));
    let output = run(command.arg("/opt/walkforge").env("DESTDIR", &stage));
    assert!(stdout(&output).contains(&format!("installed walkforge {VERSION} with ")), "{}", stdout(&output));
    let prefix = folder.join("moved");
    fs::rename(stage.join("opt/walkforge"), &prefix).unwrap();
    assert_eq!(fs::read_dir(stage.join("opt")).unwrap().count(), 0, "something was installed beside the prefix");
    prefix
}

/// Runs a program outside of this repository without environment variables; its last line must start with `expected`.
fn run_outside(program: &Path, folder: &Path, expected: &str) {
    let mut command = Command::new(program);
    let output = run(command.env_clear().current_dir(folder));
    let line = last_line(&output);
    assert!(line.starts_with(expected), "{}: {line}", program.display());
    println!("{}: {line}", program.file_name().unwrap().display());
}

/// The shared library that a program loads; none if it is linked statically.
fn loaded_library(program: &Path) -> Option<String> {
    let output = stdout(&run(Command::new("ldd").arg(program).env_clear().env("PATH", "/usr/bin:/bin")));
    let line = output.lines().find(|line| line.contains("libwalkforge"))?.to_owned();
    line.split(" => ").nth(1).map(|rest| rest.split(" (").next().unwrap_or_default().to_owned())
}

#[test]
fn projects_outside_of_the_tree_build_and_run_with_cmake_and_pkg_config() {
    let outside = tempfile::tempdir().unwrap();
    let outside = fs::canonicalize(outside.path()).unwrap();
    let prefix = installed(&outside);
    let project = outside.join("project");
    fs::create_dir(&project).unwrap();
    for file in ["CMakeLists.txt", "main.cpp", "version.c"] {
        fs::copy(root().join("tests/package").join(file), project.join(file)).unwrap();
    }
    let greeting = format!("walkforge {VERSION}: ");
    let library = prefix.join("lib").join(soname()).display().to_string();
    let exact = prefix.join(format!("lib/libwalkforge.so.{VERSION}")).display().to_string();

    let build = outside.join("build");
    let mut command = Command::new("cmake");
    command.arg("-S").arg(&project).arg("-B").arg(&build).arg(format!("-DCMAKE_PREFIX_PATH={}", prefix.display()));
    run(&mut command);
    run(Command::new("cmake").arg("--build").arg(&build));
    let shared = build.join("cmake_shared");
    let loaded = loaded_library(&shared).unwrap();
    assert!(loaded == library || loaded == exact, "{loaded}");
    run_outside(&shared, &outside, &greeting);
    run_outside(
        &build.join("cmake_c"),
        &outside,
        &format!("walkforge {VERSION} from C, plugins in {}", prefix.display()),
    );
    // A statically linked program finds plugins relative to its own folder.
    let inside = prefix.join("bin/cmake_static");
    copy_program(&build.join("cmake_static"), &inside);
    assert_eq!(loaded_library(&inside), None);
    run_outside(&inside, &outside, &greeting);

    // Incompatible versions are refused.
    for wrong in ["0.2", "1.0", "0.0"] {
        let project = outside.join(format!("wrong-{wrong}"));
        fs::create_dir(&project).unwrap();
        let lines = fs::read_to_string(root().join("tests/package/CMakeLists.txt")).unwrap();
        fs::write(project.join("CMakeLists.txt"), lines.replace("walkforge 0.1 ", &format!("walkforge {wrong} ")))
            .unwrap();
        let mut command = Command::new("cmake");
        command.arg("-S").arg(&project).arg("-B").arg(project.join("build"));
        let output = command.arg(format!("-DCMAKE_PREFIX_PATH={}", prefix.display())).output().unwrap();
        assert!(!output.status.success(), "version {wrong} was accepted");
        assert!(String::from_utf8_lossy(&output.stderr).contains(&format!("version: {VERSION}")));
    }

    for package in ["walkforge", "walkforge-static"] {
        let ask = |what: &str| {
            let mut command = Command::new("pkg-config");
            command.env("PKG_CONFIG_PATH", prefix.join("lib/pkgconfig")).arg(what).arg(package);
            stdout(&run(&mut command)).trim().to_owned()
        };
        assert_eq!(ask("--modversion"), VERSION);
        assert!(Path::new(&ask("--variable=plugindir")).join("libwalkforge_hrp.so").is_file());
        let program = if package == "walkforge" { project.join("pkg_shared") } else { prefix.join("bin/pkg_static") };
        let mut command = Command::new("g++");
        command.args(["-std=c++17", "main.cpp", "-o"]).arg(&program).current_dir(&project);
        command.args(ask("--cflags").split(' ')).args(ask("--libs").split(' '));
        if package == "walkforge" {
            command.arg(format!("-Wl,-rpath,{}", fs::canonicalize(ask("--variable=libdir")).unwrap().display()));
        }
        run(&mut command);
        assert_eq!(loaded_library(&program).is_some(), package == "walkforge");
        run_outside(&program, &outside, &greeting);
    }

    // The command finds the plugins of its own tree too; this one is not part of the command.
    examples(COMPILERS[0], &[], &prefix.join("lib/walkforge/plugins"));
    let mut command = Command::new(prefix.join("bin/walkforge"));
    command.env_clear().current_dir(&outside).args(["weights", "--model", "momentum", "--data"]);
    let output = run(command.arg(prices()));
    assert_eq!(stdout(&output).lines().count(), 21);
}
