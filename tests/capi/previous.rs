//! Plugins and host programs built with earlier headers of the same major version still work.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::common::compilers::{COMPILERS, STRICT, libraries};
use crate::common::process::{last_line, run};
use crate::common::{folder, prices, root};

fn versions() -> Vec<PathBuf> {
    let mut out: Vec<PathBuf> = std::fs::read_dir(root().join("tests/abi"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_dir())
        .collect();
    out.sort();
    assert!(!out.is_empty());
    out
}

/// A compiler that sees the old headers only.
fn compiler(name: &str, version: &Path) -> Command {
    let mut command = Command::new(name);
    command.arg("-std=c11").args(STRICT).arg("-I").arg(version);
    command
}

#[test]
fn old_hosts_and_old_plugins_work_with_the_library_of_today() {
    for version in versions() {
        let name = version.file_name().unwrap().to_str().unwrap().to_owned();
        for compilers in COMPILERS {
            let folder = folder(&format!("capi/previous-{name}-{}", compilers.c));
            let plugin = folder.join("libwalkforge_old.so");
            let mut command = compiler(compilers.c, &version);
            command.args(["-shared", "-fPIC", "-fvisibility=hidden"]).arg(version.join("plugin.c"));
            run(command.arg("-o").arg(&plugin));
            let host = folder.join("host");
            let mut command = compiler(compilers.c, &version);
            command.arg(version.join("host.c")).arg("-o").arg(&host).arg("-L").arg(libraries());
            run(command.arg(format!("-Wl,-rpath,{}", libraries().display())).args(["-lwalkforge", "-lm"]));
            // The old host with the old plugin, and with a plugin of today.
            let plugins = format!("{}:{}", folder.display(), libraries().display());
            let output = run(Command::new(&host).arg(prices()).arg(&plugins).args(["old", "hrp"]));
            println!("{name}, {}: {}", compilers.c, last_line(&output));
        }
    }
}

#[test]
fn a_plugin_of_today_reads_no_field_that_the_struct_of_an_old_host_lacks() {
    for version in versions() {
        let folder = folder(&format!("capi/plugin-host-{}", version.file_name().unwrap().to_str().unwrap()));
        for compilers in COMPILERS {
            let host = folder.join(compilers.c);
            let mut command = compiler(compilers.c, &version);
            // A struct that the header of this version made longer is filled up with zeros.
            command.arg("-Wno-missing-field-initializers").arg("-D_GNU_SOURCE");
            command.arg(root().join("tests/abi/plugin_host.c")).arg("-o").arg(&host);
            run(command.args(["-lm", "-ldl"]));
            let output = run(Command::new(&host).arg(libraries().join("libwalkforge_hrp.so")).arg("hrp"));
            println!("{}: {}", compilers.c, last_line(&output));
        }
    }
}
