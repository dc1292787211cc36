//! The command line: parses arguments, calls the library and prints. Results go to stdout, messages to stderr.

use std::fmt::Write as _;
use std::io::{IsTerminal, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use clap::{Parser, Subcommand};
use serde_json::{Value as Json, json};
use walkforge::internals::conformance::{CheckOptions, CheckOutcome, Finding, check, run_here};
use walkforge::internals::device::CountingAllocator;
use walkforge::internals::model::{EQUAL_WEIGHT, EqualWeight, Factory};
use walkforge::internals::run::{DEFAULT_DATES, csv_cell};
use walkforge::internals::settings::{Choice as _, SettingValues};
use walkforge::{
    Code, Error, Experiment, LogLevel, MetricValue, PanelKind, PluginSearch, Result, Run, RunDirectory, RunDocument,
    Runtime, Span, allocate, skipped_tests, windows,
};

#[allow(unsafe_code)]
mod built_in;
mod show;

/// Counts bytes, for `machine.peak_bytes` of `run.json`.
#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

/// Walk-forward training and validation of portfolio models, without look-ahead.
#[derive(Parser)]
#[command(name = "walkforge", version, about)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run an experiment: all its models through all windows, written to a run directory.
    Run {
        /// The experiment file (TOML).
        experiment: PathBuf,
        /// The run directory.
        #[arg(long)]
        out: PathBuf,
        /// Change a setting: KEY is section.key.
        #[arg(long, value_name = "KEY=VALUE")]
        set: Vec<String>,
    },
    /// Check for look-ahead: change later data and compare weights. Exits with 1 if a weight differs.
    Audit {
        /// The experiment file (TOML).
        experiment: PathBuf,
        /// Maximum number of dates after which to change the data.
        #[arg(long, default_value_t = DEFAULT_DATES)]
        dates: usize,
        /// Change a setting: KEY is section.key.
        #[arg(long, value_name = "KEY=VALUE")]
        set: Vec<String>,
    },
    /// Print the walk-forward windows of a data file as CSV.
    Windows {
        /// Data file (CSV or Parquet): a date column, then one column per asset.
        #[arg(long)]
        data: PathBuf,
        /// Change a setting: KEY starts with windows., or is data.kind.
        #[arg(long, value_name = "KEY=VALUE")]
        set: Vec<String>,
    },
    /// Look at a data file.
    Data {
        #[command(subcommand)]
        command: DataCommand,
    },
    /// Check or describe plugins.
    Plugin {
        #[command(subcommand)]
        command: PluginCommand,
    },
    /// Fit a model once, as in a window whose first decision it is, and print its weights as CSV.
    Weights {
        /// A plugin, by name or path, or `equal_weight`.
        #[arg(long)]
        model: String,
        /// Data file (CSV or Parquet): a date column, then one column per asset.
        #[arg(long)]
        data: PathBuf,
        /// Last date that the model may use; by default the last date of the file.
        #[arg(long, value_name = "DATE")]
        as_of: Option<String>,
        /// Change a setting: KEY starts with model., portfolio., train. or windows., or is data.kind.
        #[arg(long, value_name = "KEY=VALUE")]
        set: Vec<String>,
    },
}

#[derive(Subcommand)]
enum DataCommand {
    /// Print what is likely a fault of the data as CSV: large moves, percentages, series that end, survivors, look-ahead.
    Check {
        /// Data file (CSV or Parquet): a date column, then one column per asset.
        file: PathBuf,
        /// Change a setting: KEY starts with data.
        #[arg(long, value_name = "KEY=VALUE")]
        set: Vec<String>,
    },
}

#[derive(Subcommand)]
enum PluginCommand {
    /// Run all conformance checks on a plugin file, each in its own process. Exits with 1 if one fails.
    Check {
        /// The plugin's library.
        file: PathBuf,
        /// Run only this check (after `load`); may be repeated.
        #[arg(long, value_name = "CHECK")]
        only: Vec<String>,
        /// Time limit of a check in seconds.
        #[arg(long, default_value_t = 120)]
        seconds: u64,
    },
    /// Print a plugin's description and settings, and for a network its program and memory.
    Show {
        /// The plugin, by name or path.
        file: String,
        /// Number of assets to describe a network for.
        #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=100_000))]
        assets: u32,
        /// A feature of the data; may be repeated.
        #[arg(long, value_name = "NAME")]
        feature: Vec<String>,
        /// Change a setting of the plugin.
        #[arg(long, value_name = "KEY=VALUE")]
        set: Vec<String>,
    },
    /// Run one check in this process; `check` starts these.
    #[command(hide = true)]
    CheckHere { file: PathBuf, check: String, report: PathBuf },
}

fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => error.exit(),
    };
    let shows = matches!(arguments.command, Command::Plugin { command: PluginCommand::Show { .. } });
    let checking = matches!(arguments.command, Command::Plugin { .. }) && !shows;
    let outcome = match arguments.command {
        Command::Run { experiment, out, set } => match run(&experiment, &out, &set) {
            Ok(ended) if !ended.is_empty() => {
                for model in ended {
                    eprintln!("walkforge: {model}");
                }
                return ExitCode::from(1);
            }
            outcome => outcome.map(drop),
        },
        Command::Audit { experiment, dates, set } => audit(&experiment, dates, &set),
        Command::Windows { data, set } => print_windows(&data, &set),
        Command::Data { command: DataCommand::Check { file, set } } => check_data(&file, &set),
        Command::Plugin { command: PluginCommand::Check { file, only, seconds } } => check_plugin(&file, only, seconds),
        Command::Plugin { command: PluginCommand::Show { file, assets, mut feature, set } } => {
            feature.sort();
            search()
                .and_then(|search| search.load(&file))
                .and_then(|plugin| show::text(&plugin, assets as usize, &feature, &set))
                .and_then(|text| print(&text))
        }
        Command::Plugin { command: PluginCommand::CheckHere { file, check, report } } => {
            check_here(&file, &check, &report)
        }
        Command::Weights { model, data, as_of, set } => print_weights(&model, &data, as_of.as_deref(), &set),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("walkforge: {error}");
            ExitCode::from(match error.code() {
                Code::LookAhead => 1,
                Code::Plugin if checking => 1,
                Code::Internal | Code::Poisoned => 3,
                _ => 2,
            })
        }
    }
}

/// Where plugins are found and which files may be loaded.
fn search() -> Result<PluginSearch> {
    let mut search = PluginSearch::standard().allow_by_environment()?;
    built_in::add(&mut search)?;
    Ok(search)
}

/// Writes a run directory. Returns the models whose path ended early, with the reason: the others are written.
fn run(experiment: &std::path::Path, out: &std::path::Path, set: &[String]) -> Result<Vec<String>> {
    let started = Instant::now();
    let experiment = Experiment::from_file(experiment, set)?;
    let threads = experiment.threads;
    let bar = progress_bar();
    bar.set_message("loading data and plugins");
    let panel = experiment.panel()?;
    let runtime = runtime(threads, &bar)?;
    let mut run = Run::new(experiment, panel, &runtime)?;
    // Claimed first, so that nothing is computed for a directory that cannot be written.
    let Some(directory) = RunDirectory::claim(out, &run)? else {
        bar.finish_and_clear();
        eprintln!("{} already holds this run; nothing was computed or changed", out.display());
        let earlier = RunDocument::read(out)?;
        let ended = earlier.summary.iter().filter_map(|(name, summary)| Some((name, summary.ended.as_ref()?)));
        return Ok(ended.map(|(name, ended)| ended_early(name, &ended.reason)).collect());
    };
    run.spill_to(directory.folder());
    let models = run.models.len();
    bar.set_length(run.windows.len() as u64);
    let networks = run.models.iter().any(|model| model.train_settings().is_some());
    show(&bar, &template(networks, false));
    bar.set_message(format!("running {models} models"));
    while run.progress().done < run.windows.len() {
        let done = run.step()?.done;
        // Until the first window is done the remaining time is unknown.
        if done > 0 && bar.position() == 0 {
            show(&bar, &template(networks, true));
        }
        bar.set_position(done as u64);
        if let Some((position, details)) = training_status(&run) {
            bar.set_message(position);
            bar.set_prefix(details);
        }
    }
    bar.set_prefix("");
    bar.set_message("scoring and writing");
    directory.write(&run, started.elapsed().as_secs_f64())?;
    bar.finish_and_clear();
    print_outcome(&run)?;
    eprintln!("report: {}", out.join("report.html").display());
    let ended = run.models.iter().zip(&run.ended);
    Ok(ended.filter_map(|(model, ended)| Some(ended_early(&model.name, &ended.as_ref()?.error.to_string()))).collect())
}

/// The message that the path of a model ended early.
fn ended_early(model: &str, reason: &str) -> String {
    format!("model '{model}' ended early, the results of the others are written: {reason}")
}

/// The position and the last scores of the first training in progress, if any. Windows count from 1, as in the bar.
fn training_status(run: &Run) -> Option<(String, String)> {
    let training = run.training();
    let first = training.first()?;
    let name = &run.models[first.model].name;
    let mut position = format!("{name}, window {}: epoch {}/{}", first.window + 1, first.epochs, first.max_epochs);
    // Writing to a string cannot fail.
    if let Some(seconds) = first.seconds_left {
        let _ = write!(position, ", at most {} left", duration_text(seconds));
    }
    if training.len() > 1 {
        let _ = write!(position, "; {} more in training", training.len() - 1);
    }
    let details = first.last.map_or_else(String::new, |last| {
        let sharpe = last.validation.map_or_else(|| "-".to_owned(), |sharpe| format!("{sharpe:.2}"));
        format!("loss {:.4}, validation Sharpe {sharpe}, learning rate {:.1e}", last.loss, last.learning_rate)
    });
    let memory = &first.memory;
    let recompute = if memory.recompute { " recomputed" } else { "" };
    let mebibytes = first.measured_bytes >> 20;
    let plan =
        format!("micro-batch {}{recompute}, {} seeds at a time, {mebibytes} MiB", memory.micro_batch, memory.stack);
    Some((position, if details.is_empty() { plan } else { format!("{details}; {plan}") }))
}

/// A duration for people.
fn duration_text(seconds: f64) -> String {
    let seconds = seconds.ceil() as u64;
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, seconds) => format!("{seconds} s"),
        (0, minutes, seconds) => format!("{minutes} min {seconds:02} s"),
        (hours, minutes, _) => format!("{hours} h {minutes:02} min"),
    }
}

/// Prints the first weight that differs as CSV, or only the header.
fn audit(experiment: &std::path::Path, dates: usize, set: &[String]) -> Result<()> {
    let experiment = Experiment::from_file(experiment, set)?;
    let runtime = runtime(1, &indicatif::ProgressBar::hidden())?;
    let panel = experiment.panel()?;
    let run = Run::new(experiment, panel, &runtime)?;
    let audit = run.audit(dates)?;
    let mut text = String::from("date,window,model,changed_after,change,difference\n");
    if let Some(moved) = &audit.moved {
        let name = &run.models[moved.model].name;
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "{},{},{name},{},{},{:?}",
            moved.date, moved.window, moved.after, moved.change, moved.difference
        );
    }
    print(&text)?;
    match &audit.moved {
        None => {
            eprintln!("no look-ahead: {} decisions compared, data changed after {} dates", audit.compared, audit.dates);
            Ok(())
        }
        Some(moved) => Err(Error::new(
            Code::LookAhead,
            format!(
                "look-ahead: model '{}', window {}: the decision of {} differs by {} after {}",
                run.models[moved.model].name,
                moved.window,
                moved.date,
                moved.difference,
                match moved.change {
                    "order" => "the windows were run in reverse order".to_owned(),
                    change => format!("the data after {} were {change}", moved.after),
                }
            ),
        )),
    }
}

/// A runtime that prints warnings and errors to stderr, above the progress bar.
fn runtime(threads: usize, bar: &indicatif::ProgressBar) -> Result<Runtime> {
    let bar = bar.clone();
    let mut runtime = Runtime::new(search()?, threads)?;
    runtime.log = Some(std::sync::Arc::new(move |level, message| {
        if level <= LogLevel::Warn {
            bar.suspend(|| eprintln!("walkforge: {message}"));
        }
    }));
    Ok(runtime)
}

/// The progress bar, hidden unless stderr is a terminal.
fn progress_bar() -> indicatif::ProgressBar {
    if !std::io::stderr().is_terminal() {
        return indicatif::ProgressBar::hidden();
    }
    let bar = indicatif::ProgressBar::new(0);
    show(&bar, "{msg}");
    bar.enable_steady_tick(std::time::Duration::from_millis(200));
    bar
}

/// The bar of a run. With networks the training status stands above it, cut to one line.
fn template(networks: bool, end_known: bool) -> String {
    let before = if networks { "{wide_msg}\n{prefix}\n" } else { "{msg} " };
    let after = if end_known { ", {eta} left" } else { "" };
    format!("{before}{{wide_bar}} {{pos}}/{{len}} windows, {{elapsed}}{after}")
}

fn show(bar: &indicatif::ProgressBar, template: &str) {
    if let Ok(style) = indicatif::ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
}

/// Prints one line per model to stderr.
fn print_outcome(run: &Run) -> Result<()> {
    let width = run.models.iter().map(|model| model.name.len()).max().unwrap_or(0);
    for (model, entry) in run.models.iter().enumerate() {
        let figure = |metric: &str, scale: f64, digits: usize| {
            run.metric(model, metric).map(|value| match value {
                MetricValue::Number(number) => format!("{:.digits$}", number * scale),
                _ => "-".to_owned(),
            })
        };
        eprintln!(
            "{:width$}  net Sharpe {:>6}  CAGR {:>6} %  drawdown {:>6} %  turnover {:>6} % a year",
            entry.name,
            figure("sharpe", 1.0, 2)?,
            figure("cagr", 100.0, 1)?,
            figure("max_drawdown", 100.0, 1)?,
            figure("turnover", 100.0, 0)?,
        );
    }
    Ok(())
}

/// Prints the outcome of each check as CSV.
fn check_plugin(file: &std::path::Path, only: Vec<String>, seconds: u64) -> Result<()> {
    let program =
        std::env::current_exe().map_err(|error| Error::io("find", std::path::Path::new("walkforge"), &error))?;
    let options = CheckOptions {
        program,
        arguments: vec!["plugin".to_owned(), "check-here".to_owned()],
        timeout: std::time::Duration::from_secs(seconds),
        only,
    };
    print("check,outcome,detail\n")?;
    let mut printed = Ok(());
    let findings = check(file, &options, &mut |finding| {
        let line = format!(
            "{},{},{}\n",
            finding.check,
            finding.outcome.name(),
            csv_cell(&finding.outcome.text().replace('\n', " "))
        );
        if printed.is_ok() {
            printed = print(&line);
        }
    })?;
    printed?;
    let failed: Vec<&Finding> =
        findings.iter().filter(|finding| matches!(finding.outcome, CheckOutcome::Failed(_))).collect();
    let Some(first) = failed.first() else {
        eprintln!("{}: all {} checks passed or do not apply", file.display(), findings.len());
        return Ok(());
    };
    let message = format!(
        "{}: {} of {} checks failed; the first, '{}', requires: {}",
        file.display(),
        failed.len(),
        findings.len(),
        first.check,
        first.demand
    );
    Err(Error::new(Code::Plugin, message))
}

fn check_here(file: &std::path::Path, check: &str, report: &std::path::Path) -> Result<()> {
    let outcome = run_here(file, check, report)?;
    std::fs::write(report, format!("{}\n{}\n", outcome.name(), outcome.text()))
        .map_err(|error| Error::io("write", report, &error))
}

/// An experiment with one data file, which holds prices unless the settings have `data.kind=returns`.
fn experiment_of(data: &std::path::Path, set: &[String], models: Json) -> Result<Experiment> {
    let (kinds, rest): (Vec<&String>, Vec<&String>) = set.iter().partition(|entry| entry.starts_with("data.kind="));
    let name = kinds.last().map_or(PanelKind::Prices.name(), |entry| &entry["data.kind=".len()..]);
    let Some(kind) = PanelKind::from_name(name).map(PanelKind::name) else {
        let message = format!("setting 'data.kind': found \"{name}\", allowed is one of {}", PanelKind::list());
        return Err(Error::new(Code::InvalidSetting, message));
    };
    let file = std::path::absolute(data).map_err(|error| Error::io("find", data, &error))?;
    let mut tree = json!({"data": {kind: file.to_string_lossy()}});
    if let Json::Array(list) = &models
        && !list.is_empty()
    {
        tree["models"] = models;
    }
    let text = toml::to_string(&tree).map_err(|error| Error::new(Code::Internal, error.to_string()))?;
    Experiment::from_toml(&text, PathBuf::new(), &rest.into_iter().cloned().collect::<Vec<_>>())
}

fn print(text: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        // The reader, such as `head`, may close the pipe.
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        other => other.map_err(|error| Error::new(Code::Io, format!("cannot write to stdout: {error}"))),
    }
}

/// Prints what the data check found.
fn check_data(file: &std::path::Path, set: &[String]) -> Result<()> {
    let panel = experiment_of(file, set, json!([]))?.panel()?;
    let findings = panel.check();
    let mut text = String::from("finding,row,date,column,detail\n");
    for finding in &findings {
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "{},{},{},{},{}",
            finding.kind.name(),
            finding.row.map_or(String::new(), |row| row.to_string()),
            finding.date.map_or(String::new(), |date| date.to_string()),
            csv_cell(finding.column.as_deref().unwrap_or("")),
            csv_cell(&finding.text)
        );
    }
    print(&text)?;
    let dates = panel.dates();
    eprintln!(
        "{}: {} dates from {} to {}, {} assets{}; {} findings",
        file.display(),
        dates.len(),
        dates[0],
        dates[dates.len() - 1],
        panel.assets().len(),
        panel.layout().map_or_else(String::new, |layout| format!(", read with {layout}")),
        findings.len()
    );
    Ok(())
}

fn print_windows(data: &std::path::Path, set: &[String]) -> Result<()> {
    let experiment = experiment_of(data, set, json!([]))?;
    let panel = experiment.panel()?;
    let dates = panel.dates();
    let bounds = |span: &Span| match (dates.get(span.rows.start), span.rows.end.checked_sub(1)) {
        (Some(first), Some(last)) if !span.rows.is_empty() => format!("{first},{}", dates[last]),
        _ => ",".to_owned(),
    };
    let mut text = String::from(
        "window,train_start,train_end,validation_start,validation_end,test_start,test_end,train_rows,validation_rows,\
         test_rows\n",
    );
    for window in windows(dates, &experiment.windows)? {
        let (train, validation, test) = (&window.train, &window.validation, &window.test);
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "{},{},{},{},{},{},{}",
            window.index,
            bounds(train),
            bounds(validation),
            bounds(test),
            train.rows.len(),
            validation.rows.len(),
            test.rows.len()
        );
    }
    print(&text)?;
    for span in skipped_tests(dates, &experiment.windows)? {
        eprintln!("skipped: no date lies in the test span from {} to before {}", span.start, span.end);
    }
    Ok(())
}

fn print_weights(model: &str, data: &std::path::Path, as_of: Option<&str>, set: &[String]) -> Result<()> {
    let (own, rest): (Vec<String>, Vec<String>) = set.iter().cloned().partition(|entry| entry.starts_with("model."));
    let experiment = experiment_of(data, &rest, json!([]))?;
    let given = show::settings_of(own.iter().map(|entry| &entry["model.".len()..]))?;
    let panel = experiment.panel()?;
    let dates = panel.dates();
    let row = match as_of {
        None => dates.len() - 1,
        Some(text) => {
            let day = text.parse::<jiff::civil::Date>().map_err(|_| {
                Error::new(Code::InvalidSetting, format!("--as-of: found '{text}', allowed is a date as YYYY-MM-DD"))
            })?;
            dates.partition_point(|date| *date <= day).checked_sub(1).ok_or_else(|| {
                Error::new(Code::InvalidSetting, format!("--as-of: found {day}, but the data begin on {}", dates[0]))
            })?
        }
    };
    let factory: Box<dyn Factory> =
        if model == EQUAL_WEIGHT { Box::new(EqualWeight) } else { Box::new(search()?.load(model)?) };
    let settings = SettingValues::check("model", factory.settings(), &given)?;
    let weights = allocate(&experiment, &panel, factory, settings, row)?;
    let mut text = String::from("asset,weight\n");
    for &column in panel.output_order() {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{},{:?}", csv_cell(&panel.assets()[column]), weights[column]);
    }
    print(&text)
}
