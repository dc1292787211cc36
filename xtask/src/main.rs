//! Chores of this repository: `cargo xtask headers` writes the C headers anew from the Rust declarations, and `cargo
//! xtask settings` the reference of settings.

use std::path::PathBuf;
use std::process::ExitCode;

mod headers;
mod settings;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let outcome = match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["headers"] => headers::write(&root()),
        ["settings"] => settings::write(&root()),
        _ => Err("usage: cargo xtask headers|settings".to_owned()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("xtask: {message}");
            ExitCode::from(2)
        }
    }
}

/// The root of the repository.
fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..")
}
