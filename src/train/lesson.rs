//! What every network of one window learns from: samples, scales, tables, labels, and the validation path that scores it.

use std::ops::Range;
use std::sync::Arc;

use super::data::{Places, Scales, Tables};
use super::form::{Form, Wanted};
use super::loss::Chain;
use super::scale::Scale;
use super::settings::{Loss, Order, TrainSettings};
use super::step::{Batch, Outcome, StepSettings, Stepper};
use super::task::{Sample, Samples, Task};
use super::trained::weights_of;
use crate::error::{Result, fail};
use crate::evaluate::{Value, sharpe};
use crate::model::{Network, Universe};
use crate::panel::Panel;
use crate::portfolio::Decision;
use crate::random::Random;

/// Stream of random numbers for the order of samples; ops and parameters have those below and above.
const ORDER_STREAM: u32 = u32::MAX;

/// One window's data, ready to be learned from.
pub(super) struct Lesson {
    pub(super) network: Arc<dyn Network>,
    pub(super) settings: TrainSettings,
    pub(super) step: StepSettings,
    pub(super) task: Task,
    pub(super) samples: Samples,
    pub(super) form: Form,
    pub(super) scales: Scales,
    pub(super) tables: Tables,
    /// Labels `[samples, dates, places]` of the train samples.
    pub(super) labels: Vec<f32>,
}

impl Lesson {
    /// Finds the samples and describes the network for them; tables and labels are still empty.
    pub(super) fn new(network: Arc<dyn Network>, settings: &TrainSettings, task: Task) -> Result<Self> {
        let samples = task.samples(&*network)?;
        if samples.train.len() < 2 {
            fail!(
                InvalidData,
                "the train span of {} rows has {} samples, with a lookback of {} rows and a horizon of {}; at least 2 are needed",
                task.train.len(),
                samples.train.len(),
                network.requirements().lookback,
                settings.horizon
            );
        }
        let names: Vec<String> = task.panel.features().iter().map(|feature| feature.name.clone()).collect();
        let Some(form) = Form::new(&*network, samples.places, &names, Wanted::Loss(settings.loss), settings.precision)?
        else {
            fail!(Internal, "a form for training is always one");
        };
        if network.universe() == Universe::ByDate
            && let Some(other) =
                Form::new(&*network, samples.places + 1, &names, Wanted::Loss(settings.loss), settings.precision)?
        {
            form.agree(&other, &*network)?;
        }
        if settings.turnover_bps > 0.0 && settings.order == Order::Shuffled && form.dates == 1 {
            fail!(
                InvalidSetting,
                "setting 'train.turnover_bps': found {} with order = \"shuffled\"; allowed is 0, or order = \"consecutive\"",
                settings.turnover_bps
            );
        }
        let step = StepSettings {
            loss: settings.loss,
            turnover: settings.turnover_bps * 1e-4,
            adam: settings.adam,
            clip_norm: settings.clip_norm,
        };
        let scales = Scales::of_planes(&task.panel, &task.train);
        let (tables, settings) = (Tables::default(), settings.clone());
        Ok(Self { network, settings, step, task, samples, form, scales, tables, labels: Vec::new() })
    }

    /// Fills tables and labels.
    pub(super) fn fill(&mut self) -> Result<()> {
        let (task, network, form) = (&self.task, &*self.network, &self.form);
        let mut tables = Tables::of_panel(&task.panel, &self.scales);
        let train = self.samples.train.iter().map(|sample| (sample, task.train.start));
        for (sample, start) in train.chain(self.samples.validation.iter().map(|sample| (sample, 0))) {
            let past = task.past(network, sample, start)?;
            tables.compute(network, form, sample.row, &past)?;
        }
        self.scales.computed = tables.fit_computed(form, &task.samples);
        tables.score_computed(&self.scales);
        self.tables = tables;
        let mut labels = labels(task, &self.samples.train, form, &self.settings);
        if self.settings.loss == Loss::MeanSquare {
            self.scales.label = Scale::of(labels.iter().map(|label| f64::from(*label)));
            for label in labels.iter_mut().filter(|label| label.is_finite()) {
                *label = self.scales.label.score(f64::from(*label));
            }
        }
        self.labels = labels;
        Ok(())
    }

    /// Samples of a batch.
    pub(super) fn batch(&self) -> usize {
        self.settings.batch.min(self.samples.train.len())
    }

    /// Numbers of one sample's output and label.
    pub(super) fn output(&self) -> usize {
        self.form.dates * self.form.assets
    }

    /// Bytes of the data, tables and labels.
    pub(super) fn bytes(&self) -> usize {
        self.task.panel.bytes() + self.tables.bytes() + size_of_val(self.labels.as_slice())
    }

    /// Bytes that [`Lesson::bytes`] will come to.
    pub(super) fn planned_bytes(&self) -> usize {
        let shown = |sample: &Sample| sample.places.iter().flatten().count();
        // A row that is both a sample and a decision is computed once.
        let mut rows: std::collections::BTreeMap<usize, usize> =
            self.samples.train.iter().map(|sample| (sample.row, shown(sample))).collect();
        rows.extend(self.samples.validation.iter().map(|sample| (sample.row, shown(sample))));
        let (shown, panel): (Vec<usize>, _) = (rows.into_values().collect(), &self.task.panel);
        let (rows, columns, features) = (panel.dates().len(), panel.assets().len(), panel.features().len());
        Panel::planned_bytes(rows, columns, features)
            + Tables::planned_bytes(&self.form, rows, columns, features, &shown)
            + self.samples.train.len() * self.output() * size_of::<f32>()
    }

    /// The batches of an epoch, by sample. An incomplete last one is dropped unless it is the only one.
    pub(super) fn batches(&self, seed: u64, epoch: u32) -> Vec<Vec<usize>> {
        let (count, batch) = (self.samples.train.len(), self.batch());
        let random = Random::new(seed, ORDER_STREAM, epoch);
        match self.settings.order {
            Order::Shuffled => random.permutation(count).chunks_exact(batch).map(<[usize]>::to_vec).collect(),
            Order::Consecutive => {
                // Blocks begin at another sample each epoch, so that every sample has its turn.
                let (blocks, spare) = (count / batch, count % batch);
                let first = (random.uniform_f64(count as u64) * (spare + 1) as f64) as usize;
                let block = |block: usize| (first + block * batch..first + (block + 1) * batch).collect();
                random.permutation(blocks).into_iter().map(block).collect()
            }
        }
    }

    /// An input of some samples, `[samples, shape]`.
    fn gather<'a>(&self, input: usize, samples: impl ExactSizeIterator<Item = &'a Sample>, out: &mut [f32]) {
        let each = out.len() / samples.len();
        for (out, sample) in out.chunks_exact_mut(each).zip(samples) {
            self.tables.fill(&self.form.inputs[input], sample.row, &sample.places, out);
        }
    }

    /// One step on a batch; `room` is for its labels.
    pub(super) fn learn(
        &self,
        stepper: &mut Stepper,
        room: &mut [f32],
        batch: &[usize],
        learning_rate: f64,
    ) -> Result<Outcome> {
        let (samples, labels, count) = (&self.samples.train, &self.labels, self.output());
        for (into, &sample) in room.chunks_exact_mut(count).zip(batch) {
            into.copy_from_slice(&labels[sample * count..][..count]);
        }
        let fill = |input: usize, of_batch: Range<usize>, out: &mut [f32]| {
            self.gather(input, batch[of_batch].iter().map(|&sample| &samples[sample]), out);
        };
        // Which weights follow on which matters where trading costs.
        let trades = self.step.turnover > 0.0;
        let row = |place: usize| samples[batch[place]].row;
        let follows = |place: usize| place > 0 && row(place) == row(place - 1) + 1;
        let (mut places, mut follow): (Vec<Places>, Vec<bool>) = (Vec::new(), Vec::new());
        if trades {
            places.extend(batch.iter().map(|&sample| samples[sample].places.clone()));
            follow.extend((0..batch.len()).map(follows));
        }
        let chain = trades.then_some(Chain { places: &places, follows: &follow });
        let batch = Batch { size: batch.len(), fill: &fill, labels: room, chain };
        stepper.step_with(&batch, learning_rate)
    }

    /// The network's decisions on the validation path.
    pub(super) fn decisions(&self, stepper: &mut Stepper) -> Result<Vec<Decision>> {
        let (samples, form) = (&self.samples.validation, &self.form);
        let fill = |input: usize, of_samples: Range<usize>, out: &mut [f32]| {
            self.gather(input, samples[of_samples].iter(), out);
        };
        let output = stepper.predict_with(samples.len(), &fill);
        let columns = self.task.panel.assets().len();
        let count = form.dates * form.assets;
        let mut out = Vec::with_capacity(samples.len());
        for (output, sample) in output.chunks_exact(count).zip(samples) {
            let last = &output[(form.dates - 1) * form.assets..];
            let weights = weights_of(self.network.name(), last, &sample.places, self.settings.loss)
                .map_err(|error| error.context(format!("the decision of {}", self.task.panel.dates()[sample.row])))?;
            let (mut target, mut shown, mut scores) =
                (vec![0.0; columns], vec![false; columns], vec![f64::NAN; columns]);
            for ((place, weight), score) in sample.places.iter().zip(weights).zip(last) {
                if let Some(column) = *place {
                    (target[column], shown[column], scores[column]) = (weight, true, f64::from(*score));
                }
            }
            // Weights that a softmax makes of scores are in the order of the scores.
            let scores = form.scores.then_some(scores);
            out.push(Decision { row: sample.row, target, shown, scores });
        }
        Ok(out)
    }

    /// The Sharpe ratio of the net validation path.
    pub(super) fn validate(&self, stepper: &mut Stepper) -> Result<Option<f64>> {
        if self.task.validation.is_empty() {
            return Ok(None);
        }
        let decisions = self.decisions(stepper)?;
        let (panel, market) = (&self.task.panel, &self.task.market);
        let walked = market.walk(panel, &mut market.cash(panel), &decisions, self.task.validation.clone())?;
        Ok(match sharpe(&walked.path.net) {
            Value::Number(ratio) => Some(ratio),
            _ => None,
        })
    }
}

/// Labels `[samples, dates, places]`: the return of each place over the rows that a decision at each date is held.
fn labels(task: &Task, samples: &[Sample], form: &Form, settings: &TrainSettings) -> Vec<f32> {
    let columns = task.panel.assets().len();
    let lag = task.market.lag;
    let value = |row: usize, column: usize| match settings.loss {
        // What a holder earns, gaps included; and for forecasts what was really seen.
        Loss::Sharpe => task.panel.held_returns()[row * columns + column],
        Loss::MeanSquare => task.panel.returns(row)[column],
    };
    let mut out = Vec::with_capacity(samples.len() * form.dates * form.assets);
    for sample in samples {
        for back in (0..form.dates).rev() {
            let held = (sample.row + 1 + lag).checked_sub(back).map(|first| first..first + settings.horizon);
            for place in &sample.places {
                out.push(match (place, &held) {
                    (Some(column), Some(held)) => {
                        let grown = held.clone().map(|row| 1.0 + value(row, *column)).product::<f64>();
                        (grown - 1.0) as f32
                    }
                    _ => f32::NAN,
                });
            }
        }
    }
    out
}
