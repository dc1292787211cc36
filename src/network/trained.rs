//! A trained network, which outputs weights like any other estimator.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::{AssetSlots, BoundNetwork, Head, Normalizer, Tables, assign, none_eligible};
use crate::error::{Result, fail};
use crate::model::{Estimator, InputSource, Network, Requirements};
use crate::panel::Past;
use crate::program::{MicroBatch, PackedParameters, Plan, Precision, Program, Purpose, Replica};

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
    /// Runners that are not in use, by head and number of slots.
    idle: Mutex<BTreeMap<(Head, usize), Vec<Runner>>>,
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

/// The parts of a trained network: the result of training, or the content of a checkpoint.
pub struct TrainedParts {
    /// The network, for computed inputs and for binding it to other numbers of assets.
    pub network: Arc<dyn Network>,
    /// The network as it was bound for training.
    pub bound: BoundNetwork,
    /// The z-scores of inputs and labels, fitted on the train span.
    pub normalizer: Normalizer,
    /// The columns of a fixed asset set, one per slot; `None` for [`AssetSet::ByDate`](crate::model::AssetSet).
    pub fixed: Option<Vec<usize>>,
    /// The names of the panel's feature planes.
    pub features: Vec<String>,
    /// The precision of the program.
    pub precision: Precision,
    /// Master parameters of each seed, in the program's layout.
    pub parameters: Vec<Vec<f32>>,
}

impl TrainedNetwork {
    /// Assembles a trained network.
    pub fn new(parts: TrainedParts) -> Self {
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

    /// A new runner; `None` if the network has no output of this kind.
    fn runner(&self, head: Head, slots: usize) -> Result<Option<Runner>> {
        let bound = if slots == self.bound.assets && head == self.bound.head {
            self.bound.clone()
        } else {
            let Some(bound) = BoundNetwork::new(&*self.network, slots, &self.features, head, self.precision)? else {
                return Ok(None);
            };
            bound
        };
        self.bound.check_same_parameters(&bound, &*self.network)?;
        let plan: Arc<Plan> = Arc::new(bound.program.plan(Purpose::Predict, 1));
        let packed = self.packed(&bound.program);
        let replica = Replica::new(Arc::clone(&bound.program), plan, 0);
        Ok(Some(Runner { bound, replica, tables: Tables::default(), packed }))
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

    /// Runs the network of each seed on a past. Returns each output for the last date, `[slots]`, and the slots, which
    /// hold indices of the past's assets; `None` if the network has no output of this kind.
    fn run(&self, past: &Past, head: Head) -> Result<Option<(Vec<Vec<f32>>, AssetSlots)>> {
        // `fixed` holds columns of the panel, which are looked up among the past's assets.
        let own: Vec<usize> = (0..past.assets().len()).collect();
        let fixed = self
            .fixed
            .as_ref()
            .map(|fixed| fixed.iter().map(|column| past.assets().binary_search(column).ok()).collect::<AssetSlots>());
        let slots = fixed.unwrap_or_else(|| assign(&own, None, self.bound.assets));
        let last = past.rows().len() - 1;
        if slots.iter().all(Option::is_none) {
            return Err(none_eligible(past.dates()[last]));
        }
        let key = (head, slots.len());
        let idle = {
            let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
            idle.get_mut(&key).and_then(Vec::pop)
        };
        let runner = match idle {
            Some(runner) => Some(runner),
            None => self.runner(head, slots.len())?,
        };
        let Some(mut runner) = runner else { return Ok(None) };
        let Runner { bound, replica, tables, packed } = &mut runner;
        tables.load(past, &self.normalizer);
        if bound.inputs.iter().any(|source| matches!(source, InputSource::Computed { .. })) {
            let restricted = Self::restrict_to_slots(past, &slots);
            tables.compute(&*self.network, bound, last, restricted.as_ref().unwrap_or(past))?;
            tables.standardise_computed(&self.normalizer);
        }
        let sample = MicroBatch { size: 1, offset: 0, training: false, step: 0 };
        let mut out = Vec::with_capacity(self.parameters.len());
        for (parameters, packed) in self.parameters.iter().zip(&**packed) {
            for (input, source) in bound.inputs.iter().enumerate() {
                tables.gather(source, last, &slots, replica.input(input, 1));
            }
            let output = replica.predict(parameters, packed, sample);
            out.push(output[output.len() - slots.len()..].to_vec());
        }
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).entry(key).or_default().push(runner);
        Ok(Some((out, slots)))
    }

    /// The past restricted to assets that have a slot; `None` if all have one.
    fn restrict_to_slots(past: &Past, slots: &AssetSlots) -> Option<Past> {
        let assets: Vec<usize> = slots.iter().flatten().copied().collect();
        (assets.len() < past.assets().len()).then(|| past.of_assets(&assets))
    }

    /// Values by slot as values by asset of a past, with `empty` for assets without a slot.
    fn by_asset(past: &Past, slots: &AssetSlots, values: impl Iterator<Item = f64>, empty: f64) -> Vec<f64> {
        let mut out = vec![empty; past.assets().len()];
        for (slot, value) in slots.iter().zip(values) {
            if let Some(asset) = *slot {
                out[asset] = value;
            }
        }
        out
    }
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
        let Some((outputs, slots)) = self.run(past, self.bound.head)? else {
            fail!(Internal, "the network lost the head that it was trained with");
        };
        let weights = outputs
            .iter()
            .map(|output| self.bound.head.weights(self.network.name(), output, &slots))
            .collect::<Result<Vec<_>>>()?;
        Ok(Self::by_asset(past, &slots, mean(&weights, slots.len()).into_iter(), 0.0))
    }

    fn scores(&self, past: &Past) -> Result<Option<Vec<f64>>> {
        let Some((outputs, slots)) = self.run(past, Head::Scores)? else { return Ok(None) };
        let scores: Vec<Vec<f64>> =
            outputs.iter().map(|output| output.iter().map(|score| f64::from(*score)).collect()).collect();
        let scores = mean(&scores, slots.len());
        let filled = || (0..slots.len()).filter(|&slot| slots[slot].is_some());
        if filled().any(|slot| !scores[slot].is_finite()) {
            return Err(Head::Scores.non_finite(self.network.name()));
        }
        let lowest = filled().map(|slot| scores[slot]).fold(f64::MAX, f64::min);
        // Assets without a slot rank below all others.
        Ok(Some(Self::by_asset(past, &slots, scores.into_iter(), lowest - 1.0)))
    }
}

/// The element-wise mean of lists of `count` values.
fn mean(lists: &[Vec<f64>], count: usize) -> Vec<f64> {
    (0..count).map(|index| lists.iter().map(|list| list[index]).sum::<f64>() / lists.len() as f64).collect()
}
