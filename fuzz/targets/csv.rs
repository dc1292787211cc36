//! Prices in a CSV file.
#![cfg_attr(fuzzing, no_main)]

mod shared;

use walkforge::PanelKind;

fn feed(bytes: &[u8]) -> shared::Outcome {
    shared::values(PanelKind::Prices, &shared::file("csv", bytes))
}

target!(feed);
