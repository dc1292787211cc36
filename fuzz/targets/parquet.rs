//! Prices in a Parquet file.
#![cfg_attr(fuzzing, no_main)]

mod shared;

use walkforge::panel::Kind;

fn feed(bytes: &[u8]) -> shared::Outcome {
    shared::values(Kind::Prices, &shared::file("parquet", bytes))
}

target!(feed);
