//! The integration tests: what must hold of the library, the C libraries, the command and the plugins together. One
//! module per promise. Cargo builds the command and the libraries first, as they are what this package consists of or
//! depends on.
#![allow(clippy::unwrap_used, clippy::expect_used, unsafe_code)]

mod allow_list;
mod benchmark;
mod built_in;
mod capi;
mod cases;
mod common;
mod conformance;
mod data_check;
mod directory;
mod feasibility;
mod guides;
mod hostile;
mod hostile_files;
mod hostile_networks;
mod hostile_plugins;
mod hrp_options;
mod hrp_peers;
mod look_ahead;
mod memory;
mod network_runs;
mod odd_settings;
#[cfg(feature = "parquet")]
mod panel;
mod plugins;
mod precision;
mod run;
mod schedule;
mod show;
mod tidy;
mod train;
mod training;
mod universe;
mod windows;
