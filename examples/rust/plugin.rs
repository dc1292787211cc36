//! A plugin in Rust, linked into the program that uses it: inverse volatility. As a file of its own it would be a
//! library of crate type `cdylib` with the same code.
#![allow(unsafe_code)]

use std::path::PathBuf;

use walkforge::{Experiment, Panel, PanelKind, PluginSearch, Run, Runtime, date_of, days_of, register};
use walkforge_plugin::{Context, Error, Estimator, Past, Requirements, Settings, export_estimator};

/// Weights in inverse proportion to the volatility of the last `lookback` rows.
struct InverseVolatility {
    lookback: usize,
}

impl Estimator for InverseVolatility {
    const DESCRIPTION: &'static str = r#"{"name": "inverse_volatility", "version": "1.0", "kind": "estimator",
        "doc": "weights in inverse proportion to volatility",
        "settings": [{"name": "lookback", "type": "integer", "default": 60, "minimum": 2, "maximum": 5000,
            "doc": "rows of returns that volatility is estimated from"}]}"#;
    const FITS: bool = false;

    fn create(settings: &Settings, _context: Context) -> Result<Self, Error> {
        Ok(Self { lookback: settings.integer("lookback").unwrap_or(60) as usize })
    }

    fn requirements(&self) -> Requirements {
        Requirements { lookback: self.lookback, min_history: 2 }
    }

    fn weights(&self, past: &Past, out: &mut [f64]) -> Result<(), Error> {
        let assets = past.names.len();
        for (asset, weight) in out.iter_mut().enumerate() {
            let returns = past.returns.iter().skip(asset).step_by(assets).filter(|value| value.is_finite());
            let count = returns.clone().count() as f64;
            let mean = returns.clone().sum::<f64>() / count;
            let variance = returns.map(|value| (value - mean).powi(2)).sum::<f64>() / (count - 1.0);
            *weight = 1.0 / variance.sqrt().max(1e-12);
        }
        let sum: f64 = out.iter().sum();
        for weight in out {
            *weight /= sum;
        }
        Ok(())
    }
}

export_estimator!(wf_plugin_init_inverse_volatility, InverseVolatility);

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let start = days_of("2015-01-01".parse()?);
    let dates: Vec<_> = (0..5 * 365).filter_map(|day| date_of(start + day)).collect();
    // The second asset moves twice as much as the first one.
    let returns: Vec<f64> =
        (0..dates.len()).flat_map(|row| [0.01, 0.02].map(|size| if row % 2 == 0 { size } else { -size })).collect();
    let panel = Panel::from_arrays(PanelKind::Returns, dates, &["CALM".into(), "WILD".into()], &returns)?;

    let mut search = PluginSearch::default();
    // SAFETY: the macro above made this function to the contract of a plugin's entry, and it lives as long as the
    // program.
    let plugin = unsafe { register(wf_plugin_init_inverse_volatility, "this program") }?;
    search.add("inverse_volatility", plugin)?;
    let text = "[[models]]\nname = \"inverse_volatility\"\n[models.settings]\nlookback = 20";
    let experiment = Experiment::from_toml(text, PathBuf::new(), &[])?;
    let mut run = Run::new(experiment, panel, &Runtime::new(search, 1)?)?;
    while run.progress().done < run.windows.len() {
        run.step()?;
    }
    let weights = &run.targets[1][0].weights;
    println!("CALM {:.4}, WILD {:.4}", weights[0], weights[1]);
    assert!((weights[0] - 2.0 / 3.0).abs() < 1e-12, "twice the volatility, half the weight");
    Ok(())
}
