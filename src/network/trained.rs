//! A trained network, which outputs weights like any other estimator.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::computed::{compute, computed_inputs};
use super::head::{head_weights, non_finite};
use super::{AssetSlots, BoundNetwork, assign, filled, none_eligible};
use crate::engine::cpu::{MicroBatch, PackedParameters, Replica};
use crate::engine::{EMPTY_SLOT, InputData, Normalizer, PlaneView, Tables};
use crate::error::{Result, fail};
use crate::model::{Answer, Estimator, Network, Requirements};
use crate::objective::Head;
use crate::panel::Past;
use crate::program::{Plan, Precision, Program, Purpose};

/// Most decisions that pass through a network together.
const TOGETHER: usize = 32;

/// An ensemble of trained networks, one per seed, whose weights are averaged.
pub struct TrainedNetwork {
    network: Arc<dyn Network>,
    bound: BoundNetwork,
    normalizer: Normalizer,
    fixed: Option<Vec<usize>>,
    features: Vec<String>,
    precision: Precision,
    /// Parameters of each seed in the network's precision.
    parameters: Vec<Vec<f32>>,
    /// Runners that are not in use, by number of slots and largest batch.
    idle: Mutex<BTreeMap<(usize, usize), Vec<Runner>>>,
    /// Packed parameters of each seed; programs that pack alike share one list.
    packed: Mutex<Vec<Arc<Vec<PackedParameters>>>>,
}

/// A bound network with the memory to run it.
struct Runner {
    bound: BoundNetwork,
    replica: Replica,
    tables: Tables,
    /// One per seed.
    packed: Arc<Vec<PackedParameters>>,
}

/// The output of one seed at one date, `[slots]`, and its scores, if it has any.
struct SeedOutput {
    output: Vec<f32>,
    scores: Option<Vec<f32>>,
}

/// The parts of a trained network: the result of training, or the content of a checkpoint.
pub(crate) struct TrainedParts {
    /// The network, for computed inputs and for binding it to other numbers of assets.
    pub(crate) network: Arc<dyn Network>,
    /// The network as it was bound for training.
    pub(crate) bound: BoundNetwork,
    /// The z-scores of inputs and labels, fitted on the train span.
    pub(crate) normalizer: Normalizer,
    /// The columns of a fixed asset set, one per slot; `None` for [`AssetSet::ByDate`](crate::model::AssetSet).
    pub(crate) fixed: Option<Vec<usize>>,
    /// The names of the panel's feature planes.
    pub(crate) features: Vec<String>,
    /// The precision of the program.
    pub(crate) precision: Precision,
    /// Master parameters of each seed, in the program's layout.
    pub(crate) parameters: Vec<Vec<f32>>,
}

impl TrainedNetwork {
    /// Assembles a trained network.
    pub(crate) fn new(parts: TrainedParts) -> Self {
        let TrainedParts { network, bound, normalizer, fixed, features, precision, mut parameters } = parts;
        for cast in &mut parameters {
            let master = cast.clone();
            bound.program.cast_parameters(&master, cast);
        }
        Self {
            network,
            bound,
            normalizer,
            fixed,
            features,
            precision,
            parameters,
            idle: Mutex::default(),
            packed: Mutex::default(),
        }
    }

    /// The parameters of each seed in the network's precision and the program's layout.
    pub fn parameters(&self) -> &[Vec<f32>] {
        &self.parameters
    }

    /// A new runner for at most `batch` dates at a time.
    fn runner(&self, slots: usize, batch: usize) -> Result<Runner> {
        let bound = if slots == self.bound.assets {
            self.bound.clone()
        } else {
            let head = self.bound.head;
            match BoundNetwork::new(&*self.network, slots, &self.features, head, self.precision)? {
                Some(bound) => bound,
                None => fail!(Internal, "the network lost the head that it was trained with"),
            }
        };
        self.bound.check_same_parameters(&bound, &*self.network)?;
        let plan: Arc<Plan> = Arc::new(bound.program.plan(Purpose::Predict, batch));
        let packed = self.packed(&bound.program);
        let replica = Replica::new(Arc::clone(&bound.program), plan, 0);
        Ok(Runner { bound, replica, tables: Tables::default(), packed })
    }

    /// The parameters of each seed as this program packs them.
    fn packed(&self, program: &Program) -> Arc<Vec<PackedParameters>> {
        let mut lists = self.packed.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(list) = lists.iter().find(|list| list.iter().all(|packed| packed.matches(program))) {
            return Arc::clone(list);
        }
        let list = Arc::new(self.parameters.iter().map(|parameters| program.pack(parameters)).collect());
        lists.push(Arc::clone(&list));
        list
    }

    /// The slots of a past, which hold indices of its assets.
    ///
    /// # Errors
    /// `InvalidData` if no slot is filled.
    fn slots(&self, past: &Past) -> Result<AssetSlots> {
        // `fixed` holds columns of the panel, which are looked up among the past's assets.
        let index = |column: &usize| past.assets().binary_search(column).map_or(EMPTY_SLOT, |index| index as i32);
        let slots: AssetSlots = match &self.fixed {
            Some(fixed) => fixed.iter().map(index).collect(),
            None => assign(&(0..past.assets().len()).collect::<Vec<_>>(), None, self.bound.assets),
        };
        if slots.iter().all(|slot| *slot == EMPTY_SLOT) {
            return Err(none_eligible(past.dates()[past.rows().len() - 1]));
        }
        Ok(slots)
    }

    /// Runs the network of each seed once on pasts with equal numbers of slots. Returns, per past and seed, the output
    /// for its last date.
    fn run(&self, pasts: &[(&Past, &AssetSlots)]) -> Result<Vec<Vec<SeedOutput>>> {
        let slots = pasts.first().map_or(0, |(_, slots)| slots.len());
        let batch = if pasts.len() > 1 { TOGETHER } else { 1 };
        let idle = {
            let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
            idle.get_mut(&(slots, batch)).and_then(Vec::pop)
        };
        let mut runner = match idle {
            Some(runner) => runner,
            None => self.runner(slots, batch)?,
        };
        let mut out: Vec<Vec<SeedOutput>> = pasts.iter().map(|_| Vec::with_capacity(self.parameters.len())).collect();
        for seed in 0..self.parameters.len() {
            for (sample, (past, slots)) in pasts.iter().enumerate() {
                self.fill(&mut runner, (sample, pasts.len()), past, slots)?;
            }
            let Runner { replica, packed, .. } = &mut runner;
            let micro_batch = MicroBatch { size: pasts.len(), offset: 0, training: false, step: 0 };
            let output = replica.predict(&self.parameters[seed], &packed[seed], micro_batch).to_vec();
            let scores = replica.scores(micro_batch);
            // Of a sequence of dates the last is the as-of row.
            let last = |values: &[f32], sample: usize| {
                let end = (sample + 1) * values.len() / pasts.len();
                values[end - slots..end].to_vec()
            };
            for (sample, out) in out.iter_mut().enumerate() {
                let scores = scores.map(|scores| last(scores, sample));
                out.push(SeedOutput { output: last(&output, sample), scores });
            }
        }
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).entry((slots, batch)).or_default().push(runner);
        Ok(out)
    }

    /// Fills the inputs of one sample of a batch.
    fn fill(
        &self,
        runner: &mut Runner,
        (sample, batch): (usize, usize),
        past: &Past,
        slots: &AssetSlots,
    ) -> Result<()> {
        let Runner { bound, replica, tables, .. } = runner;
        let last = past.rows().len() - 1;
        tables.clear();
        let assets = filled(slots).count();
        let mut restricted = None;
        for computed in computed_inputs(&bound.program, assets) {
            if assets < past.assets().len() && restricted.is_none() {
                restricted = Some(past.of_assets(&filled(slots).collect::<Vec<_>>()));
            }
            let seen = restricted.as_ref().unwrap_or(past);
            tables.insert(computed.0, last, compute(&*self.network, computed, seen)?);
        }
        let planes = PlaneView {
            columns: past.assets().len(),
            returns: past.returns(),
            members: past.members(),
            features: past.features().iter().map(Vec::as_slice).collect(),
        };
        let data = InputData { planes, normalizer: &self.normalizer, tables, end: last + 1 };
        for (index, input) in bound.program.inputs().iter().enumerate() {
            let out = replica.input(index, batch);
            let elements = out.len() / batch;
            data.fill(&input.source, last, slots, &mut out[sample * elements..][..elements]);
        }
        Ok(())
    }

    /// Weights and scores from the outputs of all seeds.
    fn answer(&self, past: &Past, slots: &AssetSlots, outputs: &[SeedOutput]) -> Result<Answer> {
        let (head, name) = (self.bound.head, self.network.name());
        let weights: Vec<Vec<f64>> =
            outputs.iter().map(|seed| head_weights(head, name, &seed.output, slots)).collect::<Result<_>>()?;
        let weights = by_asset(past, slots, mean(&weights, slots.len()).into_iter(), 0.0);
        let as_f64 = |values: &Vec<f32>| values.iter().map(|value| f64::from(*value)).collect::<Vec<f64>>();
        let scores: Option<Vec<Vec<f64>>> = outputs.iter().map(|seed| seed.scores.as_ref().map(as_f64)).collect();
        let Some(scores) = scores else { return Ok(Answer { weights, scores: None }) };
        let scores = mean(&scores, slots.len());
        let is_filled = |slot: &usize| slots[*slot] != EMPTY_SLOT;
        if (0..slots.len()).filter(is_filled).any(|slot| !scores[slot].is_finite()) {
            return Err(non_finite(Head::Scores, name));
        }
        let lowest = (0..slots.len()).filter(is_filled).map(|slot| scores[slot]).fold(f64::MAX, f64::min);
        // Assets without a slot rank below all others.
        let scores = by_asset(past, slots, scores.into_iter(), lowest - 1.0);
        Ok(Answer { weights, scores: Some(scores) })
    }

    /// The answer to one past.
    fn answer_one(&self, past: &Past) -> Result<Answer> {
        let slots = self.slots(past)?;
        let outputs = self.run(&[(past, &slots)])?;
        self.answer(past, &slots, &outputs[0])
    }
}

/// Values by slot as values by asset of a past, with `empty` for assets without a slot.
fn by_asset(past: &Past, slots: &AssetSlots, values: impl Iterator<Item = f64>, empty: f64) -> Vec<f64> {
    let mut out = vec![empty; past.assets().len()];
    for (&slot, value) in slots.iter().zip(values) {
        if slot != EMPTY_SLOT {
            out[slot as usize] = value;
        }
    }
    out
}

impl Estimator for TrainedNetwork {
    fn requirements(&self) -> Requirements {
        self.network.requirements()
    }

    fn needs_fit(&self) -> bool {
        true
    }

    fn can_allocate(&self, columns: &[usize]) -> bool {
        self.fixed.as_ref().map_or(!columns.is_empty(), |fixed| fixed.iter().any(|column| columns.contains(column)))
    }

    fn fit(&mut self, _train: &Past, _validation: Option<&Past>) -> Result<()> {
        fail!(Internal, "a network is trained by the trainer")
    }

    fn weights(&self, past: &Past) -> Result<Vec<f64>> {
        Ok(self.answer_one(past)?.weights)
    }

    fn scores(&self, past: &Past) -> Result<Option<Vec<f64>>> {
        Ok(self.answer_one(past)?.scores)
    }

    fn together(&self) -> usize {
        TOGETHER
    }

    fn answers(&self, pasts: &[Past]) -> Vec<Result<Answer>> {
        let mut out = Vec::with_capacity(pasts.len());
        let mut slots = Vec::new();
        for group in pasts.chunks(TOGETHER) {
            slots.clear();
            // A past without a slot fails alone, and pasts of different widths do not pass together.
            let found: Result<()> = group.iter().try_for_each(|past| {
                slots.push(self.slots(past)?);
                Ok(())
            });
            let is_uniform = found.is_ok() && slots.iter().all(|other| other.len() == slots[0].len());
            let together: Vec<(&Past, &AssetSlots)> = group.iter().zip(&slots).collect();
            let outputs = if is_uniform && group.len() > 1 { self.run(&together).ok() } else { None };
            match outputs {
                Some(outputs) => out.extend(
                    together.iter().zip(outputs).map(|((past, slots), outputs)| self.answer(past, slots, &outputs)),
                ),
                // One by one, so that an error belongs to its date.
                None => out.extend(group.iter().map(|past| self.answer_one(past))),
            }
        }
        out
    }
}

/// The element-wise mean of lists of `count` values.
fn mean(lists: &[Vec<f64>], count: usize) -> Vec<f64> {
    (0..count).map(|index| lists.iter().map(|list| list[index]).sum::<f64>() / lists.len() as f64).collect()
}
