//! What training minimises over the whole batch of an optimiser step. An objective states which head it takes and what
//! its labels are, and computes loss and gradient on each device. Nothing else names one.

mod mean_square;
mod sharpe;

pub use sharpe::sharpe;

use crate::settings::choices;

choices! {
    /// What training minimises; the setting `train.loss`.
    pub enum Objective {
        /// −mean/(std + ε) of the batch's portfolio returns.
        Sharpe = "sharpe",
        /// The mean squared difference between scores and standardised returns.
        MeanSquare = "mse",
    }
}

/// What a bound network outputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Head {
    /// Portfolio weights: those of the network, or the softmax of its scores over the eligible assets.
    Weights,
    /// The scores of the network.
    Scores,
}

/// The returns that labels are compounded from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LabelKind {
    /// What a holder earns: the move over a gap is earned once the price is back.
    Held,
    /// Observed returns only, standardised over the train span; a label with a gap in it is missing.
    Observed,
}

/// The output of a batch and its labels, both `[samples, dates, assets]`.
#[derive(Clone, Copy)]
pub(crate) struct BatchOutput<'a> {
    /// Weights or scores, according to the head.
    pub output: &'a [f32],
    /// Labels; non-finite where missing.
    pub labels: &'a [f32],
    /// Dates and assets in the output of one sample.
    pub layout: (usize, usize),
    /// The cost of Σ|Δw| between consecutive dates as a fraction, and which rows are consecutive; `None` where trading
    /// costs nothing.
    pub turnover: Option<(f64, Chain<'a>)>,
}

/// For turnover costs: which samples of a batch are consecutive dates, and which asset each weight belongs to.
#[derive(Clone, Copy, Debug)]
pub struct Chain<'a> {
    /// For each sample, the column of the asset in each slot; -1 for a slot that is masked out.
    pub slots: &'a [&'a [i32]],
    /// For each sample, whether its date comes directly after that of the sample before it.
    pub consecutive: &'a [bool],
}

/// The workspace of a loss over a whole batch.
#[derive(Clone, Debug, Default)]
pub(crate) struct LossWorkspace {
    /// Portfolio returns, `[rows]`; a row is one date of one sample.
    returns: Vec<f64>,
    /// `[rows, assets, 2]`: the derivative with respect to each weight of the turnover into its row, and of the
    /// turnover from its row to the next. Empty where trading costs nothing.
    turnover_grad: Vec<f32>,
}

impl LossWorkspace {
    /// A workspace for an output of `rows` dates in all; `turnover` is whether trading costs.
    pub(crate) fn new(objective: Objective, rows: usize, assets: usize, turnover: bool) -> Self {
        let [returns, turnover_grad] = objective.workspace(rows, assets, turnover);
        Self { returns: vec![0.0; returns], turnover_grad: vec![0.0; turnover_grad] }
    }

    /// The bytes that [`LossWorkspace::new`] allocates.
    pub(crate) fn planned_bytes(objective: Objective, rows: usize, assets: usize, turnover: bool) -> usize {
        let [returns, turnover_grad] = objective.workspace(rows, assets, turnover);
        returns * size_of::<f64>() + turnover_grad * size_of::<f32>()
    }

    /// The bytes that it holds.
    pub(crate) fn bytes(&self) -> usize {
        size_of_val(self.returns.as_slice()) + size_of_val(self.turnover_grad.as_slice())
    }
}

impl Objective {
    /// The head whose output it takes.
    pub fn head(self) -> Head {
        match self {
            Self::Sharpe => sharpe::HEAD,
            Self::MeanSquare => mean_square::HEAD,
        }
    }

    /// The returns that its labels are compounded from.
    pub fn label_kind(self) -> LabelKind {
        match self {
            Self::Sharpe => sharpe::LABEL,
            Self::MeanSquare => mean_square::LABEL,
        }
    }

    /// Whether it can charge trading costs.
    pub fn charges_turnover(self) -> bool {
        match self {
            Self::Sharpe => sharpe::CHARGES_TURNOVER,
            Self::MeanSquare => mean_square::CHARGES_TURNOVER,
        }
    }

    /// Whether the negated loss is the Sharpe ratio of portfolio returns over the rows of a label.
    pub fn is_sharpe(self) -> bool {
        match self {
            Self::Sharpe => true,
            Self::MeanSquare => false,
        }
    }

    /// Fewest samples of a batch for which it is defined.
    pub fn fewest_samples(self) -> usize {
        match self {
            Self::Sharpe => sharpe::FEWEST_SAMPLES,
            Self::MeanSquare => mean_square::FEWEST_SAMPLES,
        }
    }

    /// What it is, for the documentation of the setting.
    pub(crate) fn doc(self) -> &'static str {
        match self {
            Self::Sharpe => sharpe::DOC,
            Self::MeanSquare => mean_square::DOC,
        }
    }

    /// Elements of both buffers of [`LossWorkspace`].
    fn workspace(self, rows: usize, assets: usize, turnover: bool) -> [usize; 2] {
        match self {
            Self::Sharpe => sharpe::workspace(rows, assets, turnover),
            Self::MeanSquare => [0; 2],
        }
    }

    /// The loss of a batch on the CPU. Writes its gradient with respect to the output to `output_grad`.
    pub(crate) fn loss(self, batch: &BatchOutput, workspace: &mut LossWorkspace, output_grad: &mut [f32]) -> f64 {
        match self {
            Self::Sharpe => sharpe::cpu::loss(batch, workspace, output_grad),
            Self::MeanSquare => mean_square::cpu::loss(batch, output_grad),
        }
    }
}
