//! A model that fits itself.

use crate::error::Result;
use crate::panel::Past;

/// How much history a model needs at a decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Requirements {
    /// Rows of returns up to and including the as-of row, at least 1. The model gets fewer where the data begin later.
    pub lookback: usize,
    /// Finite returns that an asset must have within the lookback to be eligible.
    pub min_history: usize,
    /// Rows of the lookback in which every eligible asset must have a finite return; 0 if the model copes with any.
    pub common_rows: usize,
}

impl Requirements {
    /// Of a model that copes with missing returns.
    pub const fn new(lookback: usize, min_history: usize) -> Self {
        Self { lookback, min_history, common_rows: 0 }
    }
}

/// What a model answers at a decision.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// Target weights of the assets in the past, `[assets]`; they sum to 1.
    pub weights: Vec<f64>,
    /// Scores of the assets in the past, `[assets]`, higher is better; `None` if the model has no scores.
    pub scores: Option<Vec<f64>>,
}

/// A model that fits itself.
pub trait Estimator: Send + Sync {
    /// How much history the model needs at a decision.
    fn requirements(&self) -> Requirements;

    /// Whether [`Estimator::scores`] may give any.
    fn gives_scores(&self) -> bool {
        true
    }

    /// Whether the model has anything to fit. If not, `fit` does nothing and train scores carry no information.
    fn needs_fit(&self) -> bool;

    /// Fits the model on the train span. The validation span is for choices such as early stopping.
    fn fit(&mut self, train: &Past, validation: Option<&Past>) -> Result<()>;

    /// Whether the model can give a weight to any of `columns`, the columns of the panel that are eligible at a date.
    fn can_allocate(&self, columns: &[usize]) -> bool {
        !columns.is_empty()
    }

    /// Target weights of the assets in `past`, `[assets]`; they sum to 1.
    fn weights(&self, past: &Past) -> Result<Vec<f64>>;

    /// Scores of the assets in `past`, `[assets]`, higher is better; `None` if the model has no scores.
    fn scores(&self, _past: &Past) -> Result<Option<Vec<f64>>> {
        Ok(None)
    }

    /// How many pasts [`Estimator::answers`] answers at no more cost in memory than is worth it.
    fn together(&self) -> usize {
        1
    }

    /// Weights and scores for several pasts, in order, each answered from its own past alone.
    fn answers(&self, pasts: &[Past]) -> Vec<Result<Answer>> {
        let answer = |past| Ok(Answer { weights: self.weights(past)?, scores: self.scores(past)? });
        pasts.iter().map(answer).collect()
    }
}
