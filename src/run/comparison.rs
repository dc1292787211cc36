//! How the Sharpe ratios of the out-of-sample paths differ from the benchmark's.

use sha2::{Digest as _, Sha256};

use crate::evaluate::{Difference, compare, holm};
use crate::run::runner::Run;

/// A model's Sharpe ratio minus the benchmark's on the out-of-sample path.
#[derive(Clone, Copy, Debug)]
pub struct Comparison {
    /// The difference, or why there is none.
    pub difference: Result<Difference, &'static str>,
    /// The p-value after Holm's correction for the number of models.
    pub adjusted_p: Option<f64>,
}

/// The Sharpe ratio of each model's out-of-sample path minus the benchmark's; none for the benchmark.
pub(super) fn comparisons(run: &Run) -> Vec<Option<Comparison>> {
    let excess = |model: usize| run.conventions.excess(&run.paths[model].rows, &run.paths[model].net);
    let (periods, benchmark) = (run.conventions.periods_per_year, excess(0));
    let compared: Vec<Result<Difference, &'static str>> = (1..run.models.len())
        .map(|model| match excess(model) {
            excess if excess.len() == benchmark.len() => {
                compare(&excess, &benchmark, periods, comparison_key(run, model))
            }
            _ => Err("one of the two paths ends early"),
        })
        .collect();
    let p: Vec<f64> = compared.iter().flatten().map(|found| found.p).collect();
    let mut adjusted = holm(&p).into_iter();
    let comparison = |difference: Result<Difference, &'static str>| {
        let adjusted_p = difference.ok().and_then(|_| adjusted.next());
        Some(Comparison { difference, adjusted_p })
    };
    std::iter::once(None).chain(compared.into_iter().map(comparison)).collect()
}

/// The key of the random numbers of a comparison, a function of the experiment's seed and of both names.
fn comparison_key(run: &Run, model: usize) -> u64 {
    let mut digest = Sha256::new();
    digest.update(run.experiment.seed.to_le_bytes());
    for text in ["difference", &run.models[model].name, &run.models[0].name] {
        digest.update((text.len() as u64).to_le_bytes());
        digest.update(text.as_bytes());
    }
    digest.finalize().iter().take(8).fold(0, |key, byte| key << 8 | u64::from(*byte))
}
