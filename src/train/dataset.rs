//! The data that all replicas of one window train on: samples, normalizer, input tables, labels, and the validation
//! path that scores an epoch.

use std::ops::Range;
use std::sync::Arc;

use super::loss::{Chain, Loss};
use super::settings::{SampleOrder, TrainSettings};
use super::span::{Samples, TrainingSample, TrainingSpan};
use super::step::{Batch, StepOutcome, StepSettings, Stepper};
use crate::error::{Result, fail};
use crate::evaluate::{MetricValue, sharpe};
use crate::model::{AssetSet, Network};
use crate::network::{AssetSlots, BoundNetwork, Normalizer, Tables, TrainedNetwork, TrainedParts, ZScore};
use crate::panel::Panel;
use crate::portfolio::Decision;
use crate::random::Random;

/// Random stream of the sample order; ops, parameters and seeds use other streams.
const ORDER_STREAM: u32 = u32::MAX;

/// The data of one window, shared by its replicas.
pub(super) struct TrainingData {
    pub(super) network: Arc<dyn Network>,
    pub(super) settings: TrainSettings,
    pub(super) step: StepSettings,
    pub(super) span: TrainingSpan,
    pub(super) samples: Samples,
    pub(super) bound: BoundNetwork,
    pub(super) normalizer: Normalizer,
    /// Input tables; empty before [`TrainingData::fill`].
    pub(super) tables: Tables,
    /// Labels `[samples, dates, slots]` of the train samples; empty before [`TrainingData::fill`].
    pub(super) labels: Vec<f32>,
}

impl TrainingData {
    /// Finds the samples and binds the network to them. Tables and labels are filled later, once the memory is planned.
    ///
    /// # Errors
    /// `InvalidData` if there are fewer than 2 samples; `InvalidSetting` if the network cannot use a setting; errors of
    /// the network.
    pub(super) fn new(network: Arc<dyn Network>, settings: &TrainSettings, span: TrainingSpan) -> Result<Self> {
        let samples = span.samples(&*network)?;
        if samples.train.len() < 2 {
            fail!(
                InvalidData,
                "the train span of {} rows has {} samples, with a lookback of {} rows and a horizon of {}; at least 2 \
                 are needed",
                span.train.len(),
                samples.train.len(),
                network.requirements().lookback,
                settings.horizon
            );
        }
        let names: Vec<String> = span.panel.features().iter().map(|feature| feature.name.clone()).collect();
        let bind = |slots: usize| {
            let bound = BoundNetwork::new(&*network, slots, &names, settings.loss.head(), settings.precision)?;
            match bound {
                Some(bound) => Ok(bound),
                None => fail!(
                    InvalidSetting,
                    "setting 'train.loss': found \"mse\", but the network outputs weights; allowed is \"sharpe\""
                ),
            }
        };
        let bound = bind(samples.slots)?;
        if network.asset_set() == AssetSet::ByDate {
            bound.check_same_parameters(&bind(samples.slots + 1)?, &*network)?;
        }
        let has_consecutive_dates = match settings.order {
            SampleOrder::Shuffled => bound.dates != 1,
            SampleOrder::Consecutive => true,
        };
        if settings.turnover_bps > 0.0 && !has_consecutive_dates {
            fail!(
                InvalidSetting,
                "setting 'train.turnover_bps': found {} with order = \"shuffled\"; allowed is 0, or order = \
                 \"consecutive\"",
                settings.turnover_bps
            );
        }
        let step = StepSettings {
            loss: settings.loss,
            turnover: settings.turnover_bps * 1e-4,
            adam: settings.adam,
            clip_norm: settings.clip_norm,
        };
        let normalizer = Normalizer::fit_planes(&span.panel, &span.train);
        let (tables, settings) = (Tables::default(), settings.clone());
        Ok(Self { network, settings, step, span, samples, bound, normalizer, tables, labels: Vec::new() })
    }

    /// Fills the tables and labels.
    ///
    /// # Errors
    /// Errors of [`Network::compute`].
    pub(super) fn fill(&mut self) -> Result<()> {
        let (span, network, bound) = (&self.span, &*self.network, &self.bound);
        let mut tables = Tables::from_panel(&span.panel, &self.normalizer);
        let train = self.samples.train.iter().map(|sample| (sample, span.train.start));
        for (sample, start) in train.chain(self.samples.validation.iter().map(|sample| (sample, 0))) {
            let past = span.past(network, sample, start)?;
            tables.compute(network, bound, sample.row, &past)?;
        }
        self.normalizer.computed = tables.fit_computed(bound, &span.samples);
        tables.standardise_computed(&self.normalizer);
        self.tables = tables;
        let mut labels = labels(span, &self.samples.train, bound, &self.settings);
        match self.settings.loss {
            Loss::Sharpe => (),
            Loss::MeanSquare => {
                self.normalizer.label = ZScore::fit(labels.iter().map(|label| f64::from(*label)));
                for label in labels.iter_mut().filter(|label| label.is_finite()) {
                    *label = self.normalizer.label.standardise(f64::from(*label));
                }
            }
        }
        self.labels = labels;
        Ok(())
    }

    /// Samples per optimiser step.
    pub(super) fn batch(&self) -> usize {
        self.settings.batch.min(self.samples.train.len())
    }

    /// The trained network with these parameters of each seed.
    pub(super) fn into_trained(self, parameters: Vec<Vec<f32>>) -> TrainedNetwork {
        let Self { network, settings, span, samples, bound, normalizer, .. } = self;
        let features = span.panel.features().iter().map(|feature| feature.name.clone()).collect();
        let (fixed, precision) = (samples.fixed, settings.precision);
        TrainedNetwork::new(TrainedParts { network, bound, normalizer, fixed, features, precision, parameters })
    }

    /// Number of elements in the output, and in the label, of one sample.
    pub(super) fn output_elements(&self) -> usize {
        self.bound.dates * self.bound.assets
    }

    /// Bytes of panel, tables and labels.
    pub(super) fn bytes(&self) -> usize {
        self.span.panel.bytes() + self.tables.bytes() + size_of_val(self.labels.as_slice())
    }

    /// The bytes that [`TrainingData::bytes`] will be after [`TrainingData::fill`].
    pub(super) fn planned_bytes(&self) -> usize {
        let shown = |sample: &TrainingSample| sample.slots.iter().flatten().count();
        // Inputs of a row that is both a sample and a decision are computed once.
        let mut rows: std::collections::BTreeMap<usize, usize> =
            self.samples.train.iter().map(|sample| (sample.row, shown(sample))).collect();
        rows.extend(self.samples.validation.iter().map(|sample| (sample.row, shown(sample))));
        let (shown, panel): (Vec<usize>, _) = (rows.into_values().collect(), &self.span.panel);
        let (rows, columns, features) = (panel.dates().len(), panel.assets().len(), panel.features().len());
        Panel::planned_bytes(rows, columns, features)
            + Tables::planned_bytes(&self.bound, rows, columns, features, &shown)
            + self.samples.train.len() * self.output_elements() * size_of::<f32>()
    }

    /// The batches of an epoch, as indices of train samples. An incomplete last batch is dropped.
    pub(super) fn batches(&self, seed: u64, epoch: u32) -> Vec<Vec<usize>> {
        let (count, batch) = (self.samples.train.len(), self.batch());
        let random = Random::new(seed, ORDER_STREAM, epoch);
        match self.settings.order {
            SampleOrder::Shuffled => random.permutation(count).chunks_exact(batch).map(<[usize]>::to_vec).collect(),
            SampleOrder::Consecutive => {
                // The first block starts at a random sample, so that no sample is left out in every epoch.
                let (blocks, rest) = (count / batch, count % batch);
                let first = (random.uniform_f64(count as u64) * (rest + 1) as f64) as usize;
                let block = |block: usize| (first + block * batch..first + (block + 1) * batch).collect();
                random.permutation(blocks).into_iter().map(block).collect()
            }
        }
    }

    /// Gathers an input of some samples, `[samples, shape]`.
    fn gather<'a>(&self, input: usize, samples: impl ExactSizeIterator<Item = &'a TrainingSample>, out: &mut [f32]) {
        let elements = out.len() / samples.len();
        for (out, sample) in out.chunks_exact_mut(elements).zip(samples) {
            self.tables.gather(&self.bound.inputs[input], sample.row, &sample.slots, out);
        }
    }

    /// Takes one optimiser step on a batch of train samples; `batch_labels` is a buffer for their labels.
    pub(super) fn train_step(
        &self,
        stepper: &mut Stepper,
        batch_labels: &mut [f32],
        batch: &[usize],
        learning_rate: f64,
    ) -> Result<StepOutcome> {
        let (samples, labels, elements) = (&self.samples.train, &self.labels, self.output_elements());
        for (out, &sample) in batch_labels.chunks_exact_mut(elements).zip(batch) {
            out.copy_from_slice(&labels[sample * elements..][..elements]);
        }
        let gather = |input: usize, range: Range<usize>, out: &mut [f32]| {
            self.gather(input, batch[range].iter().map(|&sample| &samples[sample]), out);
        };
        let turnover = self.step.turnover > 0.0;
        let row = |position: usize| samples[batch[position]].row;
        let is_consecutive = |position: usize| position > 0 && row(position) == row(position - 1) + 1;
        let (mut slots, mut consecutive): (Vec<AssetSlots>, Vec<bool>) = (Vec::new(), Vec::new());
        if turnover {
            slots.extend(batch.iter().map(|&sample| samples[sample].slots.clone()));
            consecutive.extend((0..batch.len()).map(is_consecutive));
        }
        let chain = turnover.then_some(Chain { slots: &slots, consecutive: &consecutive });
        let batch = Batch { size: batch.len(), gather: &gather, labels: batch_labels, chain };
        stepper.step_with(&batch, learning_rate)
    }

    /// The network's decisions on the validation path.
    pub(super) fn decisions(&self, stepper: &mut Stepper) -> Result<Vec<Decision>> {
        let (samples, bound) = (&self.samples.validation, &self.bound);
        let gather = |input: usize, range: Range<usize>, out: &mut [f32]| {
            self.gather(input, samples[range].iter(), out);
        };
        let output = stepper.predict_with(samples.len(), &gather);
        let columns = self.span.panel.assets().len();
        let mut out = Vec::with_capacity(samples.len());
        for (output, sample) in output.chunks_exact(self.output_elements()).zip(samples) {
            let last = &output[(bound.dates - 1) * bound.assets..];
            let weights =
                self.bound.head.weights(self.network.name(), last, &sample.slots).map_err(|error| {
                    error.context(format!("the decision of {}", self.span.panel.dates()[sample.row]))
                })?;
            let (mut target, mut shown, mut scores) =
                (vec![0.0; columns], vec![false; columns], vec![f64::NAN; columns]);
            for ((slot, weight), score) in sample.slots.iter().zip(weights).zip(last) {
                if let Some(column) = *slot {
                    (target[column], shown[column], scores[column]) = (weight, true, f64::from(*score));
                }
            }
            // The output may be a softmax of the scores, which ranks assets as the scores do.
            let scores = bound.has_scores.then_some(scores);
            out.push(Decision { row: sample.row, target, shown, scores });
        }
        Ok(out)
    }

    /// The Sharpe ratio of the net validation path; `None` if there is no validation span or the ratio is undefined.
    pub(super) fn validate(&self, stepper: &mut Stepper) -> Result<Option<f64>> {
        if self.span.validation.is_empty() {
            return Ok(None);
        }
        let decisions = self.decisions(stepper)?;
        let (panel, execution) = (&self.span.panel, &self.span.execution);
        let rows = self.span.validation.clone();
        let simulated = execution.simulate(panel, &mut execution.cash(panel), &decisions, rows)?;
        Ok(match sharpe(&simulated.path.net) {
            MetricValue::Number(ratio) => Some(ratio),
            _ => None,
        })
    }
}

/// Labels `[samples, dates, slots]`: the return of each asset, compounded over the `horizon` rows from which a decision
/// at the date is held.
fn labels(span: &TrainingSpan, samples: &[TrainingSample], bound: &BoundNetwork, settings: &TrainSettings) -> Vec<f32> {
    let columns = span.panel.assets().len();
    let lag = span.execution.lag;
    let value = |row: usize, column: usize| match settings.loss {
        // A holder earns the move over a gap once the price is back; a forecast is compared with observed returns only.
        Loss::Sharpe => span.panel.held_returns()[row * columns + column],
        Loss::MeanSquare => span.panel.returns(row)[column],
    };
    let mut out = Vec::with_capacity(samples.len() * bound.dates * bound.assets);
    for sample in samples {
        for back in (0..bound.dates).rev() {
            let held = (sample.row + 1 + lag).checked_sub(back).map(|first| first..first + settings.horizon);
            for slot in &sample.slots {
                out.push(match (slot, &held) {
                    (Some(column), Some(held)) => {
                        let growth = held.clone().map(|row| 1.0 + value(row, *column)).product::<f64>();
                        (growth - 1.0) as f32
                    }
                    _ => f32::NAN,
                });
            }
        }
    }
    out
}
