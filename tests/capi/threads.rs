//! Handles shared by threads and across a fork, parallel loops of the host program, cancellation: see `threads.cpp`.

use std::process::Command;

use crate::common::compilers::{COMPILERS, SANITIZE, build, libraries};
use crate::common::process::{run, stdout};
use crate::common::{folder, prices, root};

#[test]
fn threads_loops_and_forks_of_the_host_get_answers_or_clean_errors() {
    let folder = folder("capi/threads");
    let sanitize = [&["-std=c++17"], SANITIZE.as_slice()].concat();
    for (name, compiler, flags) in
        [("plain", COMPILERS[0].cpp, ["-std=c++17", "-O1"].as_slice()), ("sanitized", COMPILERS[1].cpp, &sanitize)]
    {
        let program = folder.join(name);
        build(compiler, flags, root().join("tests/capi/threads.cpp"), &program);
        let mut command = Command::new(&program);
        let output = run(command.arg(prices()).arg(libraries()));
        println!("{name}, {compiler}:\n{}", stdout(&output).trim_end());
    }
}
