//! A membership file.
#![cfg_attr(fuzzing, no_main)]

mod shared;

fn feed(bytes: &[u8]) -> shared::Outcome {
    shared::membership(&shared::file("csv", bytes), shared::shared_panel())
}

target!(feed);
