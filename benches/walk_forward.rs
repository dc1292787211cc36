//! The walk-forward of HRP over the example prices: 36 months train, 1 month test, a step of a month, simulated with
//! costs and measured. Prints one JSON line: windows, and seconds of each part. `benches/walk_forward.py` runs it
//! beside its peer.
#![allow(unsafe_code)]

use std::path::Path;
use std::time::Instant;

use walkforge::internals::run::scores;
use walkforge::{Experiment, Panel, PanelKind, PluginSearch, Result, Run, Runtime, register};

const EXPERIMENT: &str = "[windows]\ntrain_months = 36\nvalidation_months = 0\ntest_months = 1\nstep_months = 1\n\
                          [[models]]\nname = \"hrp\"\n[models.settings]\nvariant = \"skfolio\"\n";

fn main() -> Result<()> {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/data/sp500_20_prices.csv");
    let started = Instant::now();
    let panel = Panel::from_csv(PanelKind::Prices, &data)?;
    let read = started.elapsed().as_secs_f64();
    let mut search = PluginSearch::folders(Vec::new());
    // SAFETY: the function is the plugin's own entry, linked into this program.
    search.add("hrp", unsafe { register(walkforge_hrp::wf_plugin_init_hrp, "hrp") }?)?;
    let runtime = Runtime::new(search, 1)?;
    let mut seconds = Vec::new();
    let mut windows = 0;
    let mut sharpe = 0.0;
    for _ in 0..9 {
        let started = Instant::now();
        let mut run = Run::new(Experiment::from_toml(EXPERIMENT, "".into(), &[])?, panel.clone(), &runtime)?;
        while run.step()?.done < run.windows.len() {}
        let walked = started.elapsed().as_secs_f64();
        let scored = scores(&run)?;
        seconds.push((started.elapsed().as_secs_f64(), walked));
        windows = run.windows.len();
        if let walkforge::MetricValue::Number(value) = scored.total[1].metrics[0] {
            sharpe = value;
        }
    }
    seconds.sort_by(|one, two| one.0.total_cmp(&two.0));
    let (all, walked) = seconds[seconds.len() / 2];
    println!(
        "{{\"windows\": {windows}, \"read\": {read}, \"walked\": {walked}, \"walked_and_measured\": {all}, \"sharpe\": {sharpe}}}"
    );
    Ok(())
}
