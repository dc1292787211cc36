//! An experiment as TOML, and the same text as JSON.
#![cfg_attr(fuzzing, no_main)]

mod shared;

fn feed(bytes: &[u8]) -> shared::Outcome {
    shared::experiment_json(bytes, shared::shared_panel());
    shared::experiment(&String::from_utf8_lossy(bytes), &[], shared::shared_panel())
}

target!(feed);
