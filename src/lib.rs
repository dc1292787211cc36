//! walkforge trains and validates portfolio models walk-forward, inside the process that embeds it, without look-ahead.

#![warn(missing_docs)]

#[allow(non_camel_case_types)]
pub mod capi;
pub mod conformance;
pub mod device;
pub mod error;
pub mod evaluate;
pub mod experiment;
pub mod job;
pub mod model;
pub mod network;
pub mod ops;
pub mod panel;
pub mod plugin;
pub mod portfolio;
pub mod program;
pub mod random;
pub mod report;
pub mod run;
pub mod settings;
pub mod statistics;
pub mod train;
pub mod windows;
