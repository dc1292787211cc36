//! The loop: epochs over the train samples, the validation score of each on the net path, the best epoch's weights kept. It is
//! stepped by its caller, an epoch at a time, and can be stopped between any two batches and gone on with.

use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

use super::data::{Places, Scales, Tables};
use super::form::{Form, Wanted};
use super::loss::Chain;
use super::scale::Scale;
use super::schedule::{EarlyStop, LearningRate};
use super::settings::{Loss, Order, TrainSettings};
use super::step::{Batch, StepSettings, Stepper};
use super::task::{Sample, Samples, Task};
use super::trained::{Trained, weights_of};
use crate::error::{Error, Result, fail};
use crate::evaluate::{Value, sharpe};
use crate::model::{Network, Universe};
use crate::portfolio::Decision;
use crate::random::Random;

/// Stream of random numbers for the order of samples; ops and parameters have those below and above.
const ORDER_STREAM: u32 = u32::MAX;

/// One epoch, as progress and the learning curve tell it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Epoch {
    /// Mean loss of its batches, each before its step.
    pub loss: f64,
    /// Validation score: the Sharpe ratio of the net path, a year; `None` where there is no validation span or the ratio is
    /// undefined.
    pub validation: Option<f64>,
    /// Learning rate that its steps were taken with.
    pub learning_rate: f64,
}

/// Why training ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// All epochs were gone through.
    MaxEpochs,
    /// The validation score did not get better any more.
    EarlyStop,
    /// The time was up: the run depends on the clock.
    MaxSeconds,
}

impl Ended {
    /// Its name in `run.json`.
    pub fn name(self) -> &'static str {
        match self {
            Self::MaxEpochs => "max_epochs",
            Self::EarlyStop => "early_stop",
            Self::MaxSeconds => "max_seconds",
        }
    }
}

/// What training a network came to.
#[derive(Clone, Debug, PartialEq)]
pub struct Training {
    /// Every epoch, in order.
    pub epochs: Vec<Epoch>,
    /// The epoch whose weights were kept, from 1.
    pub best_epoch: u32,
    /// Why it ended.
    pub ended: Ended,
    /// Train samples, of which a batch takes some.
    pub samples: usize,
    /// Samples of a batch.
    pub batch: usize,
    /// Samples that were gone through at a time.
    pub micro_batch: usize,
    /// Trained numbers.
    pub parameters: usize,
    /// Bytes that were planned before the first step.
    pub planned_bytes: usize,
    /// Bytes that were taken.
    pub measured_bytes: usize,
    /// Seconds that it took.
    pub seconds: f64,
}

/// A network under training on one window.
pub struct Trainer {
    network: Arc<dyn Network>,
    settings: TrainSettings,
    task: Task,
    samples: Samples,
    form: Form,
    scales: Scales,
    tables: Tables,
    stepper: Stepper,
    /// Labels `[samples, dates, places]` of the train samples.
    labels: Vec<f32>,
    batch_labels: Vec<f32>,
    rate: LearningRate,
    stop: EarlyStop,
    best: Vec<f32>,
    epochs: Vec<Epoch>,
    /// Batches of the epoch under way that are done, and the sum of their losses.
    done: (usize, f64),
    seed: u64,
    seconds: f64,
    planned: usize,
}

impl Trainer {
    /// Prepares training: samples, scales, tables, the memory plan. `seed` is that of the window.
    ///
    /// # Errors
    /// `InvalidData` where the train span has too few samples; `InvalidSetting` where the memory budget is too small, with what
    /// is needed; what the network gives.
    pub fn new(network: Arc<dyn Network>, settings: &TrainSettings, task: Task, seed: u64) -> Result<Self> {
        let started = Instant::now();
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
        let Some(form) = Form::new(&*network, samples.places, &names, Wanted::Loss(settings.loss))? else {
            fail!(Internal, "a form for training is always one");
        };
        if network.universe() == Universe::ByDate
            && let Some(other) = Form::new(&*network, samples.places + 1, &names, Wanted::Loss(settings.loss))?
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
        let batch = settings.batch.min(samples.train.len());
        let step = StepSettings {
            loss: settings.loss,
            turnover: settings.turnover_bps * 1e-4,
            adam: settings.adam,
            clip_norm: settings.clip_norm,
        };
        let (micro_batch, planned) = fitting(&task, &samples, &form, &step, settings, batch)?;
        let mut scales = Scales::of_planes(&task.panel, &task.train);
        let mut tables = Tables::of_panel(&task.panel, &scales);
        for (sample, start) in samples
            .train
            .iter()
            .map(|sample| (sample, task.train.start))
            .chain(samples.validation.iter().map(|sample| (sample, 0)))
        {
            let past = task.past(&*network, sample, start)?;
            tables.compute(&*network, &form, sample.row, &past)?;
        }
        scales.computed = tables.fit_computed(&form, &task.samples);
        tables.score_computed(&scales);
        let mut labels = labels(&task, &samples.train, &form, settings);
        if settings.loss == Loss::MeanSquare {
            scales.label = Scale::of(labels.iter().map(|label| f64::from(*label)));
            for label in labels.iter_mut().filter(|label| label.is_finite()) {
                *label = scales.label.score(f64::from(*label));
            }
        }
        let stepper = Stepper::new(Arc::clone(&form.program), step, batch, micro_batch, seed);
        let best = stepper.parameters().to_vec();
        let batch_labels = vec![0.0; batch * form.dates * form.assets];
        Ok(Self {
            rate: LearningRate::new(settings.schedule, settings.learning_rate),
            stop: EarlyStop::new(settings.early_stop),
            network,
            settings: settings.clone(),
            task,
            samples,
            form,
            scales,
            tables,
            stepper,
            labels,
            batch_labels,
            best,
            epochs: Vec::new(),
            done: (0, 0.0),
            seed,
            seconds: started.elapsed().as_secs_f64(),
            planned,
        })
    }

    /// Bytes that were planned, and those that are held.
    pub fn bytes(&self) -> (usize, usize) {
        let numbers = [&self.labels, &self.batch_labels, &self.best];
        let numbers: usize = numbers.iter().map(|numbers| size_of_val(numbers.as_slice())).sum();
        (self.planned, self.tables.bytes() + self.stepper.bytes() + numbers)
    }

    /// The network as it is trained.
    pub fn form(&self) -> &Form {
        &self.form
    }

    /// The epochs that are done.
    pub fn epochs(&self) -> &[Epoch] {
        &self.epochs
    }

    /// Why training is at its end, if it is.
    pub fn ended(&self) -> Option<Ended> {
        if self.epochs.is_empty() {
            None
        } else if self.epochs.len() as u32 >= self.settings.max_epochs {
            Some(Ended::MaxEpochs)
        } else if !self.task.validation.is_empty() && self.stop.stops() {
            Some(Ended::EarlyStop)
        } else if self.settings.max_seconds.is_some_and(|most| self.seconds >= most) {
            Some(Ended::MaxSeconds)
        } else {
            None
        }
    }

    /// Seconds that the epochs to come will take at most, by those that are done.
    pub fn seconds_left(&self) -> Option<f64> {
        if self.epochs.is_empty() {
            return None;
        }
        let left = self.settings.max_epochs.saturating_sub(self.epochs.len() as u32);
        let all = self.seconds / self.epochs.len() as f64 * f64::from(left);
        Some(self.settings.max_seconds.map_or(all, |most| all.min((most - self.seconds).max(0.0))))
    }

    /// Goes through one epoch. After an error the same batch is tried again by the next call.
    ///
    /// # Errors
    /// `Cancelled` where `cancelled` says so; `InvalidData` where a loss or gradient is no number, with epoch, batch and op; what
    /// books and constraints give on the validation path, with the date.
    pub fn epoch(&mut self, cancelled: &dyn Fn() -> bool) -> Result<Epoch> {
        let started = Instant::now();
        let outcome = self.go_through(cancelled);
        self.seconds += started.elapsed().as_secs_f64();
        outcome
    }

    fn go_through(&mut self, cancelled: &dyn Fn() -> bool) -> Result<Epoch> {
        let number = self.epochs.len() + 1;
        let batches = self.batches(number as u32);
        while let Some(batch) = batches.get(self.done.0) {
            if cancelled() {
                fail!(Cancelled, "training was cancelled; a further step goes on with it");
            }
            let (plugin, at) = (self.network.name(), self.done.0 + 1);
            let place =
                |error: Error| error.context(format!("the network of plugin '{plugin}', epoch {number}, batch {at}"));
            let loss = Self::learn(
                (&self.samples.train, &self.form, &self.tables),
                (&self.labels, &mut self.batch_labels),
                &mut self.stepper,
                batch,
                self.rate.rate(),
            );
            let loss = loss.map_err(place)?;
            self.done = (self.done.0 + 1, self.done.1 + loss);
        }
        let validation = self.validate().map_err(|error| error.context(format!("the validation of epoch {number}")))?;
        let epoch = Epoch { loss: self.done.1 / self.done.0 as f64, validation, learning_rate: self.rate.rate() };
        self.done = (0, 0.0);
        let score = validation.unwrap_or(f64::NAN);
        if self.stop.epoch(score) || self.task.validation.is_empty() {
            self.best.copy_from_slice(self.stepper.parameters());
        }
        self.rate.epoch(score);
        self.epochs.push(epoch);
        Ok(epoch)
    }

    /// The batches of an epoch, by sample. An incomplete last one is dropped unless it is the only one.
    fn batches(&self, epoch: u32) -> Vec<Vec<usize>> {
        let (count, batch) = (self.samples.train.len(), self.settings.batch.min(self.samples.train.len()));
        let random = Random::new(self.seed, ORDER_STREAM, epoch);
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

    /// One step on a batch; gives its loss.
    fn learn(
        (samples, form, tables): (&[Sample], &Form, &Tables),
        (labels, room): (&[f32], &mut [f32]),
        stepper: &mut Stepper,
        batch: &[usize],
        learning_rate: f64,
    ) -> Result<f64> {
        let count = form.dates * form.assets;
        for (into, &sample) in room.chunks_exact_mut(count).zip(batch) {
            into.copy_from_slice(&labels[sample * count..][..count]);
        }
        let fill = |input: usize, of_batch: Range<usize>, out: &mut [f32]| {
            let each = out.len() / of_batch.len();
            for (out, &sample) in out.chunks_exact_mut(each).zip(&batch[of_batch]) {
                tables.fill(&form.inputs[input], samples[sample].row, &samples[sample].places, out);
            }
        };
        let places: Vec<Places> = batch.iter().map(|&sample| samples[sample].places.clone()).collect();
        let row = |place: usize| samples[batch[place]].row;
        let follows: Vec<bool> = (0..batch.len()).map(|place| place > 0 && row(place) == row(place - 1) + 1).collect();
        let chain = Chain { places: &places, follows: &follows };
        let batch = Batch { size: batch.len(), fill: &fill, labels: room, chain: Some(chain) };
        Ok(stepper.step_with(&batch, learning_rate)?.loss)
    }

    /// The network's decisions on the validation path.
    ///
    /// # Errors
    /// `InvalidData` where an output is no number.
    pub fn decisions(&mut self) -> Result<Vec<Decision>> {
        let (samples, form, tables) = (&self.samples.validation, &self.form, &self.tables);
        let fill = |input: usize, of_samples: Range<usize>, out: &mut [f32]| {
            let each = out.len() / of_samples.len();
            for (out, sample) in out.chunks_exact_mut(each).zip(&samples[of_samples]) {
                tables.fill(&form.inputs[input], sample.row, &sample.places, out);
            }
        };
        let output = self.stepper.predict_with(samples.len(), &fill);
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
    fn validate(&mut self) -> Result<Option<f64>> {
        if self.task.validation.is_empty() {
            return Ok(None);
        }
        let decisions = self.decisions()?;
        let (panel, market) = (&self.task.panel, &self.task.market);
        let walked = market.walk(panel, &mut market.cash(panel), &decisions, self.task.validation.clone())?;
        Ok(match sharpe(&walked.path.net) {
            Value::Number(ratio) => Some(ratio),
            _ => None,
        })
    }

    /// The trained network, with the best epoch's weights, and how it came about.
    pub fn finish(self) -> (Trained, Training) {
        let (planned_bytes, measured_bytes) = self.bytes();
        let best_epoch = match self.stop.best() {
            Some((epoch, _)) if !self.task.validation.is_empty() => epoch,
            _ => self.epochs.len() as u32,
        };
        let training = Training {
            best_epoch,
            ended: self.ended().unwrap_or(Ended::MaxEpochs),
            samples: self.samples.train.len(),
            batch: self.settings.batch.min(self.samples.train.len()),
            micro_batch: self.stepper.micro_batch(),
            parameters: self.form.program.parameters().iter().map(crate::program::Parameter::count).sum(),
            planned_bytes,
            measured_bytes,
            seconds: self.seconds,
            epochs: self.epochs,
        };
        let features = self.task.panel.features().iter().map(|feature| feature.name.clone()).collect();
        let trained = Trained::new(
            self.network,
            self.form,
            self.settings.loss,
            self.scales,
            self.samples.fixed,
            features,
            self.best,
        );
        (trained, training)
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

/// The largest micro-batch whose plan fits the budget, and the bytes of that plan.
fn fitting(
    task: &Task,
    samples: &Samples,
    form: &Form,
    step: &StepSettings,
    settings: &TrainSettings,
    batch: usize,
) -> Result<(usize, usize)> {
    let count = form.dates * form.assets;
    let shown = |sample: &Sample| sample.places.iter().flatten().count();
    // A row that is both a sample and a decision is computed once.
    let mut rows: std::collections::BTreeMap<usize, usize> =
        samples.train.iter().map(|sample| (sample.row, shown(sample))).collect();
    rows.extend(samples.validation.iter().map(|sample| (sample.row, shown(sample))));
    let shown: Vec<usize> = rows.into_values().collect();
    let panel = &task.panel;
    let tables = Tables::planned_bytes(form, panel.dates().len(), panel.assets().len(), panel.features().len(), &shown);
    let numbers = samples.train.len() * count + batch * count + form.program.parameter_count();
    let fixed = tables + numbers * size_of::<f32>();
    let plan = |micro: usize| fixed + Stepper::planned_bytes(&form.program, step, batch, micro);
    let micros = (1..=batch).rev().filter(|micro| batch.is_multiple_of(*micro));
    for micro in micros {
        let planned = plan(micro);
        if planned <= settings.memory_budget {
            return Ok((micro, planned));
        }
    }
    fail!(
        InvalidSetting,
        "setting 'train.memory_budget': found {} bytes, but training takes at least {} bytes, one sample at a time; allowed is that \
         much, or a smaller network",
        settings.memory_budget,
        plan(1)
    )
}
