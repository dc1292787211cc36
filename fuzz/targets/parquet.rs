//! Prices in a Parquet file.
#![cfg_attr(fuzzing, no_main)]

mod shared;

use walkforge::PanelKind;

fn feed(bytes: &[u8]) -> shared::Outcome {
    shared::values(PanelKind::Prices, &shared::file("parquet", bytes))
}

target!(feed);
