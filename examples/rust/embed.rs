//! A small backtester that owns the data and the clock: it brings its prices as an array, lets the library compute, and
//! asks at each bar which weights are due.

use std::path::PathBuf;

use walkforge::{Experiment, Panel, PanelKind, PluginSearch, Run, Runtime, date_of, days_of};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // Six years of daily bars of three assets, each with a rhythm of its own.
    let start = days_of("2014-01-01".parse()?);
    let dates: Vec<_> = (0..6 * 365).filter_map(|day| date_of(start + day)).collect();
    let price = |bar: usize, asset: usize| 100.0 * (1.0 + 0.1 * (bar as f64 * 0.01 * (asset + 1) as f64).sin());
    let prices: Vec<f64> = (0..dates.len()).flat_map(|bar| (0..3).map(move |asset| price(bar, asset))).collect();
    let names = ["OIL", "GOLD", "RICE"].map(str::to_owned);
    let panel = Panel::from_arrays(PanelKind::Prices, dates.clone(), &names, &prices)?;

    // Columns inside the library are in order of their names; output_order leads back to ours.
    let columns = panel.output_order().to_vec();
    let experiment = Experiment::from_toml("[portfolio]\nmax_weight = 0.5", PathBuf::new(), &[])?;
    let mut run = Run::new(experiment, panel, &Runtime::new(PluginSearch::default(), 2)?)?;
    while run.progress().done < run.windows.len() {
        run.step()?;
    }

    let mut rebalances = 0;
    for (bar, date) in dates.iter().enumerate() {
        if let Some(target) = run.target(0, bar)? {
            let ours: Vec<f64> = columns.iter().map(|&column| target.weights[column]).collect();
            if rebalances == 0 {
                println!("{date}: {ours:.3?}");
            }
            rebalances += 1;
        }
    }
    println!("{rebalances} rebalances in {} windows", run.windows.len());
    assert!(rebalances > 12, "one rebalance per month of each test span");
    Ok(())
}
