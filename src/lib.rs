//! walkforge trains and validates portfolio models walk-forward, inside the process that embeds it, without look-ahead.
//!
//! A program hands over dated returns and names models; it gets back out-of-sample weights and the net return path that
//! holding them would have earned. Data flows one way: a [`Panel`] is cut into [`windows`], each model is fitted and
//! asked for decisions in each window, and the decisions become a net return path.
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
//! Plugins are written with the crate `walkforge-plugin`, or in C from one header. `examples/rust/` has programs that
//! run an experiment file, drive a run bar by bar, and bring a plugin of their own.
//!
//! Linux only: plugins are loaded, checked and contained with its system calls.

#![warn(missing_docs)]

mod conformance;
#[allow(unsafe_code)]
mod device;
mod engine;
mod error;
mod evaluate;
mod experiment;
mod job;
mod model;
mod network;
mod objective;
mod ops;
mod panel;
#[allow(unsafe_code)]
mod plugin;
mod portfolio;
mod program;
mod random;
mod report;
mod run;
mod settings;
mod statistics;
mod train;
mod windows;

pub use error::{Code, Error, Result};
pub use evaluate::{METRICS, Metric, MetricValue};
pub use experiment::{Benchmark, BenchmarkSource, Experiment, ModelSpec};
pub use job::{LoadedModel, ModelWindow, Runtime, SpanDecisions, StoredDecisions, allocate};
pub use model::{LogLevel, LogSink};
pub use panel::{DataFinding, FindingKind, Membership, Panel, PanelKind, Past, date_of, days_of};
pub use plugin::{Plugin, PluginSearch, register};
pub use portfolio::{Decision, Path, PortfolioSettings};
pub use run::{Audit, Progress, Run, RunDirectory, RunDocument, Target, TrainingProgress};
/// The parts of a [`RunDocument`].
pub mod document {
    pub use crate::run::document::{
        AssetEvent, CalendarEntry, ConstraintEntry, CurrentEntry, DataEntry, DecisionEntry, DelistedEntry,
        DifferenceEntry, DrawdownEntry, Figure, FindingEntry, HeldAtEnd, HoldingEntry, IntegrityEntry, MetricEntries,
        ModelEntry, OverfittingEntry, RiskFreeEntry, ScheduleEntry, SkippedEntry, SpanEntry, SummaryEntry,
        TradingEntry, WindowEntry, WindowModelEntry, WindowScoreLists,
    };
}
pub use train::{TrainSettings, TrainingHistory};
pub use windows::{Rebalance, Scheme, Span, Window, WindowSettings, skipped_tests, windows};

/// What the packages of this workspace need beyond the names above: the C library, the command, tests, benches and fuzz
/// targets. No promise holds here.
#[doc(hidden)]
#[allow(missing_docs)]
pub mod internals {
    pub mod conformance {
        pub use crate::conformance::{CHECKS, CheckOptions, CheckOutcome, Finding, check, run_here};
    }
    pub mod device {
        pub mod cpu {
            pub use crate::device::cpu::{SimdLevel, choose_level, round_to_half};
        }
        pub use crate::device::memory::CountingAllocator;
        pub use crate::device::{Parallel, in_default_environment, keep_environment};
    }
    pub mod error {
        pub use crate::error::panic_message;
    }
    pub mod experiment {
        pub use crate::experiment::{benchmark_settings, data_settings, model_settings, top_settings};
    }
    pub mod model {
        pub use crate::model::{AssetSet, Context, EQUAL_WEIGHT, EqualWeight, Estimator, Factory, Model, Network};
    }
    pub mod engine {
        pub use crate::engine::cpu::{MicroBatch, Replica, StepOutcome, StepSettings, Stepper};
        pub use crate::engine::{AdamSettings, Decay, LossScale, State};
    }
    pub mod network {
        pub use crate::network::{BoundNetwork, TrainedNetwork};
    }
    pub mod objective {
        pub use crate::objective::{Head, Objective, sharpe};
    }
    pub mod ops {
        pub use crate::ops::{Activation, Attribute, Op, Reshape, Transpose, from_name, names};
    }
    pub mod plugin {
        pub use crate::plugin::{from_c, into_c, level_code, string};
    }
    pub mod portfolio {
        pub use crate::portfolio::{Constraints, ExecutionModel, group_settings, portfolio_settings};
    }
    pub mod program {
        pub use crate::program::{
            Builder, Dtype, Input, InputSource, Node, Parameter, Precision, Program, Purpose, Value, ValueSource,
        };
    }
    pub mod random {
        pub use crate::random::Random;
    }
    pub mod run {
        pub use crate::run::{DEFAULT_DATES, Pipeline, WindowDecisions, csv_cell, scores, write_directory};
    }
    pub mod settings {
        pub use crate::settings::{Choice, Setting, SettingType, SettingValues, parse_toml};
    }
    pub mod statistics {
        pub use crate::statistics::{Coefficient, Missing, Sample};
    }
    pub mod train {
        pub use crate::train::{LearningRate, Schedule, StopReason, Trainer, TrainingSpan, train_settings};
    }
    pub mod windows {
        pub use crate::windows::{
            FitRows, RebalanceSchedule, SampleRule, StitchedPath, decisions, stitch, train_samples,
        };
    }
}
