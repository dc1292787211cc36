//! The data that all replicas of one window train on: samples, scales, computed inputs, and the validation path that
//! scores an epoch. The engine gathers inputs and labels from it; nothing is held per sample but its row and slots.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use super::memory::MemoryPlan;
use super::settings::{SampleOrder, TrainSettings};
use super::span::{Samples, TrainingSample, TrainingSpan};
use crate::device::Team;
use crate::engine::cpu::CpuEngine;
use crate::engine::{
    EMPTY_SLOT, Engine, Hyperparameters, LabelRule, Normalizer, Planes, Stop, Tables, WindowView, ZScore,
    ZeroDispersion,
};
use crate::error::{Result, fail};
use crate::evaluate::{Conventions, MetricValue, sharpe};
use crate::model::{AssetSet, Network};
use crate::network::{
    BoundNetwork, ComputedInputs, TrainedNetwork, TrainedParts, compute, computed_inputs, head_weights,
};
use crate::objective::LabelKind;
use crate::panel::Panel;
use crate::portfolio::{Decision, ExecutionModel};
use crate::program::{Axis, Input, InputSource};
use crate::random::Random;
use crate::settings::Choice as _;

/// Random stream of the sample order; ops, parameters and seeds use other streams.
const ORDER_STREAM: u32 = u32::MAX;

/// Validation samples whose output is held at a time.
const DECIDED_TOGETHER: usize = 64;

/// What a run holds for all its trainings.
#[derive(Clone)]
pub(crate) struct TrainingContext {
    /// The raw planes of the run's panel.
    pub(crate) planes: Arc<Planes>,
    /// Inputs that the network has computed in other windows.
    pub(crate) computed: Arc<ComputedInputs>,
    /// The threads.
    pub(crate) team: Arc<Team>,
    /// What the validation score is computed with.
    pub(crate) conventions: Conventions,
    /// How decisions of the validation path become holdings.
    pub(crate) execution: ExecutionModel,
    /// Bytes that the run may hold of decisions that are made and of targets.
    pub(crate) decisions: usize,
}

impl TrainingContext {
    /// For the trainings of one model on a panel.
    pub(crate) fn new(panel: &Panel, team: Arc<Team>, conventions: Conventions, execution: ExecutionModel) -> Self {
        let planes = Arc::new(Planes::of(panel));
        Self { planes, computed: Arc::default(), team, conventions, execution, decisions: 0 }
    }

    /// Bytes that the run holds for all its trainings.
    pub(crate) fn held_bytes(&self) -> usize {
        self.planes.bytes() + self.decisions
    }

    /// For the trainings of another model on the same panel.
    pub(crate) fn of_another_model(&self) -> Self {
        Self { computed: Arc::default(), ..self.clone() }
    }
}

/// What an epoch came to on the validation path.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Score {
    /// The Sharpe ratio of the net path.
    Sharpe(f64),
    /// There is no validation span, or the ratio is undefined.
    Undefined,
    /// Everything was lost on the way, which is worse than any ratio.
    Ruined,
    /// The network's output was non-finite.
    NonFinite,
}

/// The data of one window, shared by its replicas.
pub(super) struct TrainingData {
    pub(super) network: Arc<dyn Network>,
    pub(super) settings: TrainSettings,
    pub(super) span: TrainingSpan,
    pub(super) samples: Samples,
    pub(super) bound: BoundNetwork,
    pub(super) context: TrainingContext,
    normalizer: Normalizer,
    /// Rows, slots and scales; `None` before [`TrainingData::fill`].
    view: Option<Arc<WindowView>>,
    tables: Arc<Tables>,
}

impl TrainingData {
    /// Finds the samples and binds the network to them. Inputs are computed later, once the memory is planned.
    ///
    /// # Errors
    /// `InvalidData` if there are too few samples for the objective; `InvalidSetting` if the network cannot use a
    /// setting; errors of the network.
    pub(super) fn new(
        network: Arc<dyn Network>,
        settings: &TrainSettings,
        span: TrainingSpan,
        context: TrainingContext,
    ) -> Result<Self> {
        let samples = span.samples(&*network)?;
        let fewest = settings.objective.fewest_samples();
        if samples.train.len() < fewest {
            fail!(
                InvalidData,
                "the train span of {} rows has {} samples, with a lookback of {} rows and a horizon of {}; at least \
                 {fewest} are needed",
                span.train.len(),
                samples.train.len(),
                network.requirements().lookback,
                span.horizon
            );
        }
        let names: Vec<String> = span.panel.features().iter().map(|feature| feature.name.clone()).collect();
        let bind = |slots: usize| {
            let bound = BoundNetwork::new(&*network, slots, &names, settings.objective.head(), settings.precision)?;
            match bound {
                Some(bound) => Ok(bound),
                None => fail!(
                    InvalidSetting,
                    "setting 'train.loss': found \"{}\", which takes scores, but the network outputs weights",
                    settings.objective.name()
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
                "setting 'train.turnover_bps': found {} with order = \"{}\"; allowed is 0, or order = \"{}\"",
                settings.turnover_bps,
                settings.order.name(),
                SampleOrder::Consecutive.name()
            );
        }
        let normalizer = Normalizer::fit_planes(&span.panel, &span.train);
        let (tables, settings) = (Arc::default(), settings.clone());
        Ok(Self { network, settings, span, samples, bound, context, normalizer, view: None, tables })
    }

    /// Computes the inputs of every sample that no other window has computed, and fits their scales and those of the
    /// labels.
    ///
    /// # Errors
    /// Errors of [`Network::compute`]; `Cancelled` if `stop` returned true.
    pub(super) fn fill(&mut self, stop: &Stop) -> Result<()> {
        let (span, network, program) = (&self.span, &*self.network, &self.bound.program);
        // What a fixed asset set sees at a row depends on its window.
        let is_shared = network.asset_set() == AssetSet::ByDate;
        let mut tables = Tables::default();
        let train = self.samples.train.iter().map(|sample| (sample, span.train.start));
        for (sample, start) in train.chain(self.samples.validation.iter().map(|sample| (sample, 0))) {
            let assets = sample.slots.iter().filter(|column| **column != EMPTY_SLOT).count();
            let mut past = None;
            for (index, elements) in computed_inputs(program, assets) {
                if tables.get(index, sample.row).is_some() {
                    continue;
                }
                let known = if is_shared { self.context.computed.get(index, sample.row) } else { None };
                let values = if let Some(values) = known {
                    values
                } else {
                    if stop() {
                        fail!(Cancelled, "training was cancelled; further steps continue it");
                    }
                    let past = match &mut past {
                        Some(past) => past,
                        none => none.insert(span.past(network, sample, start)?),
                    };
                    let values = compute(network, (index, elements), past)?;
                    if is_shared {
                        self.context.computed.insert(index, sample.row, Arc::clone(&values));
                    }
                    values
                };
                tables.insert(index, sample.row, values);
            }
        }
        self.normalizer.computed = self.fit_computed(&tables);
        let label = LabelRule {
            kind: self.settings.objective.label_kind(),
            horizon: self.span.horizon,
            lag: span.execution.lag,
        };
        let view = |normalizer: &Normalizer| {
            let samples = self.samples.train.iter().chain(&self.samples.validation);
            let samples = samples.map(|sample| (sample.row, sample.slots.as_slice()));
            WindowView::new(span.panel.dates().len(), self.samples.slots, samples, normalizer.clone(), label)
        };
        match label.kind {
            LabelKind::Held => (),
            LabelKind::Observed => {
                // The labels as they are, which their scale is fitted to.
                let (raw, planes, dates) = (view(&self.normalizer), &self.context.planes, self.bound.dates);
                let labels = (0..self.samples.train.len()).flat_map(|sample| {
                    let raw = &raw;
                    (0..dates).flat_map(move |back| {
                        let columns = raw.slots_of(sample).iter();
                        columns.map(move |&column| raw.raw_label(planes, sample, back, column))
                    })
                });
                self.normalizer.label = ZScore::fit(labels, ZeroDispersion::Within(span.panel.constant_within()));
            }
        }
        self.view = Some(Arc::new(view(&self.normalizer)));
        self.tables = Arc::new(tables);
        Ok(())
    }

    /// Fits the scales of computed inputs to the train samples: one per component of the last axis.
    fn fit_computed(&self, tables: &Tables) -> Vec<Vec<ZScore>> {
        let program = &self.bound.program;
        let mut out = vec![Vec::new(); program.inputs().len()];
        for input in program.inputs() {
            if let InputSource::Computed { index, shape, normalise: true } = &input.source {
                let width = shape.last().map_or(1, |axis| if let Axis::Fixed(width) = axis { *width } else { 1 });
                let rows = self.samples.train.iter().filter_map(|sample| tables.get(*index, sample.row));
                let fit_component = |component: usize| {
                    let values = rows.clone().flat_map(move |values| {
                        values.iter().skip(component).step_by(width).map(|value| f64::from(*value))
                    });
                    ZScore::fit(values, ZeroDispersion::Relative)
                };
                out[*index] = (0..width).map(fit_component).collect();
            }
        }
        out
    }

    /// Whether [`TrainingData::fill`] is done.
    pub(super) fn is_filled(&self) -> bool {
        self.view.is_some()
    }

    /// Rows, slots and scales, and computed inputs.
    ///
    /// # Errors
    /// `Internal` before [`TrainingData::fill`].
    pub(super) fn view(&self) -> Result<(&Arc<WindowView>, &Arc<Tables>)> {
        match &self.view {
            Some(view) => Ok((view, &self.tables)),
            None => fail!(Internal, "the data of the window are not filled"),
        }
    }

    /// Samples per optimiser step.
    pub(super) fn batch(&self) -> usize {
        self.settings.batch.min(self.samples.train.len())
    }

    /// The most distinct rows of a plane that samples of this window see, for any number of them.
    pub(super) fn date_rows(&self) -> usize {
        let rows = |input: &Input| if let InputSource::Trailing { rows, .. } = input.source { rows } else { 0 };
        let steps = self.bound.program.inputs().iter().map(rows).max().unwrap_or(0);
        let mut spans: BTreeMap<&[i32], (usize, usize)> = BTreeMap::new();
        for sample in self.samples.train.iter().chain(&self.samples.validation) {
            let span = spans.entry(sample.slots.as_slice()).or_insert((sample.row, sample.row));
            *span = (span.0.min(sample.row), span.1.max(sample.row));
        }
        spans.values().map(|(first, last)| last - first + steps).sum()
    }

    /// Cost of Σ|Δw| in the loss, as a fraction.
    fn turnover(&self) -> f64 {
        self.settings.turnover_bps * 1e-4
    }

    /// Whether the loss charges trading costs.
    pub(super) fn charges_turnover(&self) -> bool {
        self.turnover() > 0.0
    }

    /// What the replica with this seed and these scalars trains with.
    pub(super) fn hyperparameters(&self, seed: u64, scalars: &[f32]) -> Hyperparameters {
        let TrainSettings { adam, clip_norm, .. } = self.settings;
        Hyperparameters { seed, adam, clip_norm, turnover: self.turnover(), scalars: scalars.into() }
    }

    /// An engine for the replicas of this window.
    ///
    /// # Errors
    /// Errors of [`Engine::load`].
    pub(super) fn engine(&self, plan: &MemoryPlan) -> Result<Box<dyn Engine>> {
        let (program, objective) = (Arc::clone(&self.bound.program), self.settings.objective);
        let stack = (plan.stack, Arc::clone(&self.context.team));
        let mut engine = CpuEngine::new(program, objective, plan.step, self.charges_turnover(), stack);
        engine.load(&self.context.planes)?;
        Ok(Box::new(engine))
    }

    /// The trained network with these parameters of each seed.
    pub(super) fn into_trained(self, parameters: Vec<Vec<f32>>) -> TrainedNetwork {
        let Self { network, settings, span, samples, bound, normalizer, .. } = self;
        let features = span.panel.features().iter().map(|feature| feature.name.clone()).collect();
        let (fixed, precision) = (samples.fixed, settings.precision);
        TrainedNetwork::new(TrainedParts { network, bound, normalizer, fixed, features, precision, parameters })
    }

    /// Number of elements in the output, and in the label, of one sample.
    fn output_elements(&self) -> usize {
        self.bound.dates * self.bound.assets
    }

    /// Bytes that this window holds beside its replicas: samples with their slots, computed inputs, and the decisions of
    /// one validation path with the output that they are made from.
    pub(super) fn planned_bytes(&self) -> usize {
        let samples = self.samples.train.iter().chain(&self.samples.validation);
        let slots = (self.samples.train.len() + self.samples.validation.len()) * self.samples.slots;
        let mut rows = std::collections::BTreeSet::new();
        let computed: usize = samples
            .filter(|sample| rows.insert(sample.row))
            .map(|sample| {
                let assets = sample.slots.iter().filter(|column| **column != EMPTY_SLOT).count();
                computed_inputs(&self.bound.program, assets).map(|(_, elements)| elements).sum::<usize>()
            })
            .sum();
        let decision = self.span.panel.assets().len() * (2 * size_of::<f64>() + size_of::<bool>());
        let output = DECIDED_TOGETHER.min(self.samples.validation.len()) * self.output_elements();
        // Slots stand in the samples and, at most once more, in the view.
        2 * slots * size_of::<i32>() + (computed + output) * size_of::<f32>() + self.samples.validation.len() * decision
    }

    /// The bytes that are held, of [`TrainingData::planned_bytes`].
    pub(super) fn bytes(&self) -> usize {
        let samples = self.samples.train.iter().chain(&self.samples.validation);
        let slots: usize = samples.map(|sample| size_of_val(sample.slots.as_slice())).sum();
        slots + self.view.as_ref().map_or(0, |view| view.bytes()) + self.tables.bytes()
    }

    /// The batches of an epoch, as train samples in ascending order. An incomplete last batch is dropped.
    pub(super) fn batches(&self, seed: u64, epoch: u32) -> Vec<Vec<u32>> {
        let (count, batch) = (self.samples.train.len(), self.batch());
        let random = Random::new(seed, ORDER_STREAM, epoch);
        match self.settings.order {
            SampleOrder::Shuffled => {
                let ascending = |samples: &[usize]| {
                    let mut out: Vec<u32> = samples.iter().map(|sample| *sample as u32).collect();
                    // Neighbours in time share most of their inputs, so a part of a batch reads fewer rows.
                    out.sort_unstable();
                    out
                };
                random.permutation(count).chunks_exact(batch).map(ascending).collect()
            }
            SampleOrder::Consecutive => {
                // The first block starts at a random sample, so that no sample is left out in every epoch.
                let (blocks, rest) = (count / batch, count % batch);
                let first = (random.uniform_f64(count as u64) * (rest + 1) as f64) as usize;
                let samples = |block: usize| first + block * batch..first + (block + 1) * batch;
                let block = |block: usize| samples(block).map(|sample| sample as u32).collect();
                random.permutation(blocks).into_iter().map(block).collect()
            }
        }
    }

    /// The network's decisions on the validation path; `None` if an output is non-finite.
    fn decisions(&self, engine: &mut dyn Engine, slot: usize, stop: &Stop) -> Result<Option<Vec<Decision>>> {
        let (samples, bound, elements) = (&self.samples.validation, &self.bound, self.output_elements());
        let columns = self.span.panel.assets().len();
        let first = self.samples.train.len();
        let mut output = vec![0.0; DECIDED_TOGETHER.min(samples.len()) * elements];
        let mut out = Vec::with_capacity(samples.len());
        for start in (0..samples.len()).step_by(DECIDED_TOGETHER) {
            let range: Range<usize> = start..samples.len().min(start + DECIDED_TOGETHER);
            let indices: Vec<u32> = range.clone().map(|sample| (first + sample) as u32).collect();
            let output = &mut output[..range.len() * elements];
            engine.predict(slot, &indices, output, stop)?;
            for (output, sample) in output.chunks_exact(elements).zip(&samples[range]) {
                let last = &output[(bound.dates - 1) * bound.assets..];
                if sample.slots.iter().zip(last).any(|(slot, value)| *slot != EMPTY_SLOT && !value.is_finite()) {
                    return Ok(None);
                }
                out.push(self.decision(sample, last, columns)?);
            }
        }
        Ok(Some(out))
    }

    /// The decision from the output `[slots]` at a sample.
    fn decision(&self, sample: &TrainingSample, output: &[f32], columns: usize) -> Result<Decision> {
        let weights = head_weights(self.bound.head, self.network.name(), output, &sample.slots)
            .map_err(|error| error.context(format!("the decision of {}", self.span.panel.dates()[sample.row])))?;
        let (mut target, mut shown, mut scores) = (vec![0.0; columns], vec![false; columns], vec![f64::NAN; columns]);
        for ((&column, weight), score) in sample.slots.iter().zip(weights).zip(output) {
            if column != EMPTY_SLOT {
                let column = column as usize;
                (target[column], shown[column], scores[column]) = (weight, true, f64::from(*score));
            }
        }
        // The output may be a softmax of the scores, which ranks assets as the scores do.
        let scores = self.bound.has_scores.then_some(scores);
        Ok(Decision { row: sample.row, target, shown, scores })
    }

    /// Scores the current parameters of a replica on the net validation path.
    ///
    /// # Errors
    /// Errors of the path and of the engine.
    pub(super) fn validate(&self, engine: &mut dyn Engine, slot: usize, stop: &Stop) -> Result<Score> {
        if self.span.validation.is_empty() {
            return Ok(Score::Undefined);
        }
        let Some(decisions) = self.decisions(engine, slot, stop)? else { return Ok(Score::NonFinite) };
        let (panel, execution) = (&self.span.panel, &self.span.execution);
        let rows = self.span.validation.clone();
        let mut account = execution.cash(panel);
        let simulated = execution.simulate(panel, &mut account, &decisions, rows)?;
        if account.is_ruined() {
            return Ok(Score::Ruined);
        }
        let conventions = &self.context.conventions;
        let excess = conventions.excess(&simulated.path.rows, &simulated.path.net);
        Ok(match sharpe(&excess, conventions.periods_per_year) {
            MetricValue::Number(ratio) => Score::Sharpe(ratio),
            _ => Score::Undefined,
        })
    }
}
