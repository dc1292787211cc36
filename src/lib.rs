//! walkforge trains and validates portfolio models walk-forward, inside the process that embeds it, without look-ahead.
//!
//! A program hands over dated returns and names models; it gets back out-of-sample weights and the net return path that
//! holding them would have earned. Data flows one way: a [`Panel`] is cut into [`windows`], each model is fitted and asked
//! for decisions in each window, and the decisions become a net return path.
//!
//! # Examples
//! An experiment over two assets of made-up prices; the benchmark, equal weight, is always there:
//! ```
//! use std::path::PathBuf;
//! use walkforge::{Experiment, Panel, PanelKind, PluginSearch, Run, Runtime, date_of, days_of};
//!
//! // Five years of daily prices.
//! let start = days_of("2015-01-01".parse()?);
//! let dates: Vec<_> = (0..=5 * 365).filter_map(|day| date_of(start + day)).collect();
//! let prices: Vec<f64> = (0..2 * dates.len()).map(|element| 100.0 + (element as f64).sin()).collect();
//! let panel = Panel::from_arrays(PanelKind::Prices, dates, &["A".into(), "B".into()], &prices)?;
//!
//! let experiment = Experiment::from_toml("[portfolio]\ncost_bps = 0", PathBuf::new(), &[])?;
//! let mut run = Run::new(experiment, panel, &Runtime::new(PluginSearch::default(), 1)?)?;
//! assert_eq!(run.windows.len(), 1);
//! while run.progress().done < run.windows.len() {
//!     run.step()?;
//! }
//! assert_eq!(run.models[0].name, "equal_weight");
//! assert_eq!(run.targets[0][0].weights, [0.5, 0.5]);
//! assert_eq!(run.paths[0].net.len(), 365);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//! Plugins are written with the crate `walkforge-plugin`, or in C from one header. `examples/rust/` has programs that run
//! an experiment file, drive a run bar by bar, and bring a plugin of their own.
//!
//! Linux only: plugins are loaded, checked and contained with its system calls.

#![warn(missing_docs)]

pub mod conformance;
#[allow(unsafe_code)]
pub mod device;
pub mod error;
pub mod evaluate;
pub mod experiment;
pub mod job;
pub mod model;
pub mod network;
pub mod ops;
pub mod panel;
#[allow(unsafe_code)]
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

pub use error::{Code, Error, Result};
pub use evaluate::{METRICS, Metric, MetricValue};
pub use experiment::{Experiment, ModelSpec};
pub use job::{LoadedModel, ModelWindow, Runtime, allocate};
pub use model::{LogLevel, LogSink};
pub use panel::{Membership, Panel, PanelKind, Past, date_of, days_of};
pub use plugin::{Plugin, PluginSearch, register};
pub use portfolio::{Decision, Path, PortfolioSettings};
pub use run::{Audit, Progress, Run, RunDirectory, Target, TrainingProgress};
pub use train::{TrainSettings, TrainingHistory};
pub use windows::{Rebalance, Scheme, Span, Window, WindowSettings, windows};
