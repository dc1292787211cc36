//! Runs an experiment file and prints the net Sharpe ratio of each model. HRP is linked into the program; other plugins
//! are sought as files.
//!
//! usage: cargo run --example run [EXPERIMENT.toml [OUT]]
#![allow(unsafe_code)]

use std::path::Path;

use walkforge::{Experiment, MetricValue, PluginSearch, Run, RunDirectory, Runtime, register};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let file = arguments.next().unwrap_or_else(|| "examples/experiments/hrp.toml".to_owned());
    let experiment = Experiment::from_file(Path::new(&file), &[])?;
    let panel = experiment.panel()?;
    let mut search = PluginSearch::standard();
    // SAFETY: the plugin's crate made this function to the contract of a plugin's entry, and it lives as long as the
    // program.
    search.add("hrp", unsafe { register(walkforge_hrp::wf_plugin_init_hrp, "this program") }?)?;
    let mut run = Run::new(experiment, panel, &Runtime::new(search, 0)?)?;
    while run.progress().done < run.windows.len() {
        let progress = run.step()?;
        eprintln!("window {} of {}", progress.done, progress.windows);
    }
    for (index, model) in run.models.iter().enumerate() {
        match run.metric(index, "sharpe")? {
            MetricValue::Number(sharpe) => println!("{}: net Sharpe ratio {sharpe:.3}", model.name),
            other => println!("{}: {other:?}", model.name),
        }
    }
    // Weights, returns, run.json and the report, where a folder is named.
    if let Some(folder) = arguments.next()
        && let Some(directory) = RunDirectory::claim(Path::new(&folder), &run)?
    {
        directory.write(&run, 0.0)?;
    }
    Ok(())
}
