//! Benchmarks beside equal weight: one asset, and an index that is no portfolio of the panel's assets.

use super::{Context, Estimator, Factory, Model, Requirements};
use crate::error::{Result, fail};
use crate::panel::Past;
use crate::settings::{Setting, SettingValues};

/// All weight in one asset.
#[derive(Clone, Debug)]
pub(crate) struct HeldAsset(pub(crate) String);

/// No portfolio: the returns come from elsewhere.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NoPortfolio;

impl Factory for HeldAsset {
    fn name(&self) -> &'static str {
        "asset"
    }

    fn version(&self) -> &'static str {
        env!("CARGO_PKG_VERSION")
    }

    fn settings(&self) -> &[Setting] {
        &[]
    }

    fn create(&self, _settings: &SettingValues, _context: &Context) -> Result<Model> {
        Ok(Model::Estimator(Box::new(self.clone())))
    }
}

impl Estimator for HeldAsset {
    fn requirements(&self) -> Requirements {
        Requirements::new(1, 0)
    }

    fn gives_scores(&self) -> bool {
        false
    }

    fn needs_fit(&self) -> bool {
        false
    }

    fn fit(&mut self, _train: &Past, _validation: Option<&Past>) -> Result<()> {
        Ok(())
    }

    fn weights(&self, past: &Past) -> Result<Vec<f64>> {
        let Some(held) = past.names().iter().position(|name| *name == self.0) else {
            fail!(InvalidData, "the asset of the benchmark, {}, is not a member", self.0);
        };
        let mut out = vec![0.0; past.assets().len()];
        out[held] = 1.0;
        Ok(out)
    }
}

impl Factory for NoPortfolio {
    fn name(&self) -> &'static str {
        "file"
    }

    fn version(&self) -> &'static str {
        env!("CARGO_PKG_VERSION")
    }

    fn settings(&self) -> &[Setting] {
        &[]
    }

    fn create(&self, _settings: &SettingValues, _context: &Context) -> Result<Model> {
        Ok(Model::Estimator(Box::new(*self)))
    }
}

impl Estimator for NoPortfolio {
    fn requirements(&self) -> Requirements {
        Requirements::new(1, 0)
    }

    fn gives_scores(&self) -> bool {
        false
    }

    fn needs_fit(&self) -> bool {
        false
    }

    fn fit(&mut self, _train: &Past, _validation: Option<&Past>) -> Result<()> {
        Ok(())
    }

    fn weights(&self, past: &Past) -> Result<Vec<f64>> {
        Ok(vec![0.0; past.assets().len()])
    }
}
