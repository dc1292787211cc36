//! Times HRP through its plugin table, one thread. Prints one JSON line a case: variant, assets, rows, repeats, and the
//! median and the least of the seconds of one decision.
//!
//! `cargo bench --bench hrp -- VARIANT FILE ASSETS REPEATS OUT` takes returns `[rows, assets]` as raw 64-bit
//! little-endian numbers from a file, as `benches/hrp.py` writes them, and writes the weights to another. VARIANT may
//! be settings as JSON instead, `{"correlation": "kendall"}`. Without arguments, every variant runs on made-up returns
//! of 20, 100, 500 and 1000 assets.
#![allow(unsafe_code)]

use std::path::Path;
use std::time::Instant;

use jiff::ToSpan;
use jiff::civil::date;
use serde_json::{Map, Value as Json, json};
use walkforge::internals::model::Factory;
use walkforge::internals::settings::SettingValues;
use walkforge::{Panel, PanelKind, Plugin, register};

const ROWS: usize = 756;
const VARIANTS: [&str; 4] = ["lopez_de_prado", "pyportfolioopt", "skfolio", "riskfolio"];

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    // SAFETY: the function is the plugin's own entry, linked into this program.
    let plugin = unsafe { register(walkforge_hrp::wf_plugin_init_hrp, "hrp") }?;
    // Cargo adds `--bench` to what a user gives.
    let given: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    if let [variant, file, assets, repeats, out] = &given[..] {
        let returns: Vec<f64> = std::fs::read(Path::new(file))?
            .chunks_exact(8)
            .map(|bytes| f64::from_le_bytes(bytes.try_into().unwrap_or_default()))
            .collect();
        let weights = time(&plugin, variant, &returns, assets.parse()?, repeats.parse()?)?;
        std::fs::write(out, weights.iter().flat_map(|weight| weight.to_le_bytes()).collect::<Vec<u8>>())?;
        return Ok(());
    }
    for assets in [20, 100, 500, 1000] {
        let returns = made_up(assets);
        for variant in VARIANTS {
            time(&plugin, variant, &returns, assets, if assets > 100 { 7 } else { 51 })?;
        }
    }
    Ok(())
}

/// Returns of one market, twenty sectors and noise of each asset's own, `[rows, assets]`.
fn made_up(assets: usize) -> Vec<f64> {
    let mut state = 20_u64;
    let mut noise = || {
        (0..12)
            .map(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                (state >> 11) as f64 / (1_u64 << 53) as f64 - 0.5
            })
            .sum::<f64>()
    };
    let mut out = Vec::with_capacity(ROWS * assets);
    for _ in 0..ROWS {
        let (market, sectors) = (noise(), (0..20).map(|_| noise()).collect::<Vec<_>>());
        out.extend((0..assets).map(|asset| 0.01 * (market + sectors[asset % 20] + 1.5 * noise())));
    }
    out
}

/// Prints the line of a case and gives the weights of its decision.
fn time(plugin: &Plugin, variant: &str, returns: &[f64], assets: usize, repeats: usize) -> Result<Vec<f64>, Failure> {
    let rows = returns.len() / assets;
    let dates = (0..rows).map(|day| date(2000, 1, 1) + (day as i64).days()).collect();
    let names: Vec<String> = (0..assets).map(|asset| format!("A{asset:05}")).collect();
    let panel = Panel::from_arrays(PanelKind::Returns, dates, &names, returns)?;
    let columns: Vec<usize> = (0..assets).collect();
    let past = panel.past(0..rows, &columns)?;
    let mut given: Map<String, Json> = if variant.starts_with('{') {
        serde_json::from_str(variant)?
    } else {
        Map::from_iter([("variant".to_owned(), json!(variant))])
    };
    given.insert("lookback".to_owned(), json!(rows));
    let settings = SettingValues::check("settings", plugin.settings(), &given)?;
    let model = plugin.create(&settings, &walkforge::internals::model::Context::default())?.estimator()?;
    let weights = model.weights(&past)?;
    let mut seconds = Vec::with_capacity(repeats);
    for _ in 0..repeats {
        let clock = Instant::now();
        let again = model.weights(&past)?;
        seconds.push(clock.elapsed().as_secs_f64());
        if again != weights {
            return Err("two decisions from the same past differ".into());
        }
    }
    seconds.sort_by(f64::total_cmp);
    let line = json!({
        "variant": variant, "assets": assets, "rows": rows, "repeats": repeats,
        "median": seconds[repeats / 2], "least": seconds[0],
    });
    println!("{line}");
    Ok(weights)
}
