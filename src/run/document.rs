//! `run.json` as types, so that a program reads back what a run wrote. A field that is null has no value; the reason is
//! under `undefined` beside it.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use crate::error::{Code, Error, Result, fail};

/// The layout of `run.json`.
pub(super) const SCHEMA: u32 = 2;
/// The rules that results follow; raised where the same run gives other results.
pub(super) const RESULTS: u32 = 3;

/// The contents of `run.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunDocument {
    /// The version of this layout.
    pub schema: u32,
    /// The version of the rules that results follow.
    pub results: u32,
    /// The version of the library.
    pub walkforge: String,
    /// The data.
    pub data: DataEntry,
    /// The settings that results depend on, with defaults filled in.
    pub settings: Json,
    /// The models; the benchmark comes first.
    pub models: Vec<ModelEntry>,
    /// The out-of-sample results by model.
    pub summary: BTreeMap<String, SummaryEntry>,
    /// When portfolios are rebalanced.
    pub schedule: ScheduleEntry,
    /// The windows.
    pub windows: Vec<WindowEntry>,
    /// What to know of the data: the findings of the data check, columns that are missing, uneven dates.
    pub warnings: Vec<String>,
    /// Threads, computing times and other things that no result depends on.
    pub machine: Json,
}

impl RunDocument {
    /// Reads the `run.json` of a run directory.
    ///
    /// # Examples
    /// ```
    /// use std::path::PathBuf;
    /// use walkforge::{
    ///     Experiment, Panel, PanelKind, PluginSearch, Run, RunDirectory, RunDocument, Runtime, date_of, days_of,
    /// };
    ///
    /// let start = days_of("2015-01-01".parse()?);
    /// let dates: Vec<_> = (0..=5 * 365).filter_map(|day| date_of(start + day)).collect();
    /// let prices: Vec<f64> = (0..2 * dates.len()).map(|element| 100.0 + (element as f64).sin()).collect();
    /// let panel = Panel::from_arrays(PanelKind::Prices, dates, &["A".into(), "B".into()], &prices)?;
    /// let experiment = Experiment::from_toml("", PathBuf::new(), &[])?;
    /// let mut run = Run::new(experiment, panel, &Runtime::new(PluginSearch::default(), 1)?)?;
    /// while run.progress().done < run.windows.len() {
    ///     run.step()?;
    /// }
    /// let folder = std::env::temp_dir().join(format!("walkforge-document-{}", std::process::id()));
    /// if let Some(directory) = RunDirectory::claim(&folder, &run)? {
    ///     directory.write(&run, 0.0)?;
    /// }
    ///
    /// let read = RunDocument::read(&folder)?;
    /// let summary = &read.summary["equal_weight"];
    /// let sharpe = summary.metrics.number("sharpe").ok_or("undefined")?;
    /// assert!(sharpe > summary.metrics.number("sharpe_low").ok_or("undefined")?);
    /// assert_eq!(read.data.periods_per_year, 365.0);
    /// # std::fs::remove_dir_all(&folder)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// `NotFound` or `Io` if the file cannot be read; `InvalidData` with the line if it is not such a file, or if its
    /// layout is of another version of this library.
    pub fn read(folder: &Path) -> Result<Self> {
        let path = folder.join("run.json");
        let text = std::fs::read_to_string(&path).map_err(|error| Error::io("read", &path, &error))?;
        let invalid =
            |error: serde_json::Error| Error::new(Code::InvalidData, format!("cannot use {}: {error}", path.display()));
        let Version { schema } = serde_json::from_str(&text).map_err(invalid)?;
        if schema != SCHEMA {
            fail!(
                InvalidData,
                "cannot use {}: its schema is {schema}, this version reads {SCHEMA}; compute the run again",
                path.display()
            );
        }
        serde_json::from_str(&text).map_err(invalid)
    }
}

/// The field that says how to read the others.
#[derive(Deserialize)]
struct Version {
    schema: u32,
}

/// The data of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DataEntry {
    /// The digest of dates, names and values.
    pub sha256: String,
    /// The first date.
    pub first_date: Option<String>,
    /// The last date.
    pub last_date: Option<String>,
    /// Number of dates.
    pub dates: usize,
    /// Number of assets.
    pub assets: usize,
    /// `prices` or `returns`.
    pub kind: String,
    /// Rows per year.
    pub periods_per_year: f64,
    /// The risk-free rate.
    pub risk_free: RiskFreeEntry,
    /// Rows without a price after which an asset that is held is delisted.
    pub delist_rows: usize,
    /// What a delisted asset earns, as set: a number or a file.
    pub delisting_return: String,
    /// The digest of costs, rates and delisting returns that were read from files; null where there are none.
    pub terms_sha256: Option<String>,
    /// The digest of the benchmark's returns that were read from a file; null where they were not.
    pub benchmark_sha256: Option<String>,
    /// Which assets may be held.
    pub universe: Json,
    /// The names of feature planes.
    pub features: Vec<String>,
}

/// The risk-free rate of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RiskFreeEntry {
    /// The rate, or the file, as set.
    pub setting: String,
    /// The digest of the return of each row, null where it is 0.
    pub sha256: Option<String>,
}

/// A model and its settings.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ModelEntry {
    /// The name in the experiment.
    pub name: String,
    /// The plugin.
    pub plugin: String,
    /// The version of the plugin.
    pub version: String,
    /// The digest of the plugin's file, null if it is part of the program.
    pub sha256: Option<String>,
    /// The model's settings.
    pub settings: Json,
    /// The settings of training, if it is a network.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub train: Option<Json>,
}

/// A figure: a number or a date.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Figure {
    /// A number.
    Number(f64),
    /// A date.
    Date(String),
}

/// Metrics by name, each with its value or null, and the reasons of those that are null.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MetricEntries {
    /// Why metrics are null.
    pub undefined: BTreeMap<String, String>,
    /// The metrics.
    #[serde(flatten)]
    pub values: BTreeMap<String, Option<Figure>>,
}

impl MetricEntries {
    /// The number of a metric; `None` if it is undefined, is a date, or is not there.
    pub fn number(&self, name: &str) -> Option<f64> {
        match self.values.get(name)? {
            Some(Figure::Number(value)) => Some(*value),
            _ => None,
        }
    }
}

/// What a rule of the constraints changed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ConstraintEntry {
    /// The number of decisions.
    pub decisions: usize,
    /// The weight moved, Σ|after − before|.
    pub moved: f64,
    /// Per decision its date and the weight moved.
    pub entries: Vec<(String, f64)>,
}

/// The out-of-sample results of a model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SummaryEntry {
    /// What constraints changed, by rule.
    pub constraints: BTreeMap<String, ConstraintEntry>,
    /// What could not be traded, series that ended, and days without a price.
    pub trading: TradingEntry,
    /// The deepest drawdowns.
    pub drawdowns: Vec<DrawdownEntry>,
    /// The net returns of calendar years and months.
    pub calendar: CalendarEntry,
    /// Where the path ends before the last window, as the model's choice left no portfolio within the constraints.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<EndedEntry>,
    /// The portfolio at the end of the path; none if it never traded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub current: Option<CurrentEntry>,
    /// The difference from the benchmark; the benchmark has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub against_benchmark: Option<DifferenceEntry>,
    /// The overfitting monitor of a fitted model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overfitting: Option<OverfittingEntry>,
    /// The metrics.
    #[serde(flatten)]
    pub metrics: MetricEntries,
}

/// Where the path of a model ends before the last window.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndedEntry {
    /// The first window without the model.
    pub window: usize,
    /// Why, with the date of the decision.
    pub reason: String,
}

/// What happened to a portfolio that its weights and returns do not show.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TradingEntry {
    /// Asset-days held without a price.
    pub days_without_price: usize,
    /// Moves of a price across a gap.
    pub moves_after_gap: usize,
    /// Orders that were not executed, as the asset had no price: the weight that was not bought, below 0 for one that was
    /// not sold.
    pub blocked: Vec<AssetEvent>,
    /// Per date of execution the share of wealth that was to be bought and stayed in cash.
    pub uninvested: Vec<(String, f64)>,
    /// Series that ended while they were held.
    pub delisted: Vec<DelistedEntry>,
    /// Delisted series that had a price again: the move that was not earned, times the weight that was held.
    pub relisted: Vec<AssetEvent>,
    /// What was sold before a gap between test spans at its last price, as it had none there.
    pub sold_without_price: Vec<AssetEvent>,
    /// What is held at the end without a price there.
    pub without_price_at_end: Vec<HeldAtEnd>,
    /// The day on which everything was lost.
    pub ruined: Option<String>,
}

/// Something that happened to a weight.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AssetEvent {
    /// The day.
    pub date: String,
    /// The asset.
    pub asset: String,
    /// The weight.
    pub weight: f64,
}

/// A series that ended while it was held: its weight became cash.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DelistedEntry {
    /// The day on which it counts as delisted.
    pub date: String,
    /// The asset.
    pub asset: String,
    /// The weight before that day.
    pub weight: f64,
    /// What it earned on that day.
    #[serde(rename = "return")]
    pub earned: f64,
}

/// A holding without a price at the end.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HeldAtEnd {
    /// The asset.
    pub asset: String,
    /// Its weight, at its last price.
    pub weight: f64,
    /// The day of its last price.
    pub last_price: Option<String>,
}

/// A drawdown.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DrawdownEntry {
    /// Lowest wealth over highest before it, minus 1.
    pub depth: f64,
    /// The day of the highest wealth.
    pub peak: String,
    /// The day of the lowest wealth.
    pub trough: String,
    /// The day on which wealth was as high again, null if it was not.
    pub recovery: Option<String>,
    /// Rows held until then, or until the end.
    pub rows: usize,
}

/// Net returns of calendar years and months, each compounded over the rows held in it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CalendarEntry {
    /// The year, and its return.
    pub years: Vec<(String, f64)>,
    /// The month as `YYYY-MM`, and its return.
    pub months: Vec<(String, f64)>,
}

/// The portfolio at the end of the out-of-sample path, and what its last rebalance traded.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CurrentEntry {
    /// The last day of the path.
    pub date: String,
    /// The day on which the last rebalance was decided.
    pub decided: String,
    /// The day at whose close it was executed.
    pub executed: String,
    /// The rows that the shares of risk are taken over; null where there are none.
    pub risk_rows: Option<usize>,
    /// Why there are none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub undefined: Option<String>,
    /// The assets that are held or were traded.
    pub holdings: Vec<HoldingEntry>,
}

/// An asset of the current portfolio.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HoldingEntry {
    /// The asset.
    pub asset: String,
    /// Its weight at the close of the last day.
    pub weight: f64,
    /// The weight that the last rebalance bought, below 0 where it sold.
    pub traded: f64,
    /// Its share in the variance of the portfolio after the last rebalance; the shares sum to 1.
    pub risk: Option<f64>,
}

/// A difference of Sharpe ratios; null with a reason where there is none.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DifferenceEntry {
    /// The model's minus the benchmark's.
    pub sharpe_difference: Option<f64>,
    /// Its standard error.
    pub standard_error: Option<f64>,
    /// Its 95 % interval.
    pub interval: Option<[f64; 2]>,
    /// The p-value of no difference.
    pub p: Option<f64>,
    /// The p-value after Holm's correction for the number of models.
    pub adjusted_p: Option<f64>,
    /// Why there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub undefined: Option<String>,
}

/// The overfitting monitor of a model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OverfittingEntry {
    /// The verdict.
    pub verdict: String,
    /// Its reason.
    pub reason: String,
    /// What else stands out.
    pub findings: Vec<FindingEntry>,
    /// The scores of each window.
    pub windows: WindowScoreLists,
    /// Means over windows, their errors, and what is derived from them.
    #[serde(flatten)]
    pub figures: MetricEntries,
}

/// Scores as lists with one element per window, null where a window has none.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WindowScoreLists {
    /// The epoch with the best validation score, if the model is a network.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peak_epoch: Option<Vec<Option<u32>>>,
    /// The other lists by name, such as `train_excess` and `gap`.
    #[serde(flatten)]
    pub scores: BTreeMap<String, Vec<Option<f64>>>,
}

/// Something that stands out beside the verdict.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FindingEntry {
    /// Its name.
    pub name: String,
    /// A sentence with the figures.
    pub text: String,
}

/// When portfolios are rebalanced.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScheduleEntry {
    /// The date of the experiment's first decision, from which a number of rows in `portfolio.rebalance` counts.
    pub first_decision: String,
    /// The windows that own no row of the schedule, so that their models are never held.
    pub never_held: Vec<usize>,
    /// Dates between test spans over which nothing is held.
    pub gaps: Vec<SpanEntry>,
    /// Test spans without a date, for which there is no window.
    pub skipped: Vec<SkippedEntry>,
}

/// A test span without a date.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SkippedEntry {
    /// Its first day.
    pub start: String,
    /// The day after its last.
    pub end: String,
}

/// A window.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WindowEntry {
    /// Its index.
    pub window: usize,
    /// The train span.
    pub train: SpanEntry,
    /// The validation span.
    pub validation: SpanEntry,
    /// The test span.
    pub test: SpanEntry,
    /// Whether the data have a date after the test span, so that none of its own is missing.
    pub complete: bool,
    /// The models, without those that ended before the window.
    pub models: BTreeMap<String, WindowModelEntry>,
}

/// The rows of a span.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpanEntry {
    /// The first date.
    pub start: Option<String>,
    /// The last date.
    pub end: Option<String>,
    /// Number of rows.
    pub rows: usize,
}

/// A model in a window.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WindowModelEntry {
    /// The metrics of the train span.
    pub train: MetricEntries,
    /// The metrics of the validation span.
    pub validation: MetricEntries,
    /// The metrics of the test span, alone and from cash.
    pub test: MetricEntries,
    /// The metrics of the rows of the out-of-sample path that the window decided, as they were held.
    pub held: MetricEntries,
    /// What constraints changed, by span and rule.
    pub constraints: BTreeMap<String, BTreeMap<String, ConstraintEntry>>,
    /// The last rows that the model was shown.
    pub integrity: IntegrityEntry,
    /// The training, if it is a network.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub training: Option<Json>,
}

/// The last rows that a model was shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IntegrityEntry {
    /// By the fit.
    pub fit_highest_row_shown: Option<usize>,
    /// By each decision.
    pub decisions: Vec<DecisionEntry>,
}

/// The last row that a decision was shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DecisionEntry {
    /// The date of the decision.
    pub as_of: String,
    /// Its row.
    pub row: usize,
    /// The last row shown.
    pub highest_row_shown: usize,
}
