//! The benchmark of every run: the same weight for every member.

use super::{Context, Estimator, Factory, Model, Requirements};
use crate::error::Result;
use crate::panel::Past;
use crate::settings::{Setting, SettingValues};

/// The name of the benchmark in experiments and results.
pub const EQUAL_WEIGHT: &str = "equal_weight";

/// Weight 1/n for each of n members at the as-of row.
#[derive(Clone, Copy, Debug)]
pub struct EqualWeight;

impl Factory for EqualWeight {
    fn name(&self) -> &'static str {
        EQUAL_WEIGHT
    }

    fn version(&self) -> &'static str {
        env!("CARGO_PKG_VERSION")
    }

    fn settings(&self) -> &[Setting] {
        &[]
    }

    fn create(&self, _settings: &SettingValues, _context: &Context) -> Result<Model> {
        Ok(Model::Estimator(Box::new(Self)))
    }
}

impl Estimator for EqualWeight {
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
        let assets = past.assets().len();
        Ok(vec![1.0 / assets as f64; assets])
    }
}
