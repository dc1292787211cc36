//! Prices in a CSV file.
#![cfg_attr(fuzzing, no_main)]

mod shared;

use walkforge::panel::Kind;

fn feed(bytes: &[u8]) -> shared::Outcome {
    shared::values(Kind::Prices, &shared::file("csv", bytes))
}

target!(feed);
