//! A trained network, which gives weights as any model does.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::{AssetSlots, BoundNetwork, Head, Normalizer, Tables, assign, none_eligible};
use crate::error::{Result, fail};
use crate::model::{Estimator, InputSource, Network, Requirements};
use crate::panel::Past;
use crate::program::{MicroBatch, PackedParameters, Plan, Precision, Program, Purpose, Replica};

/// A network with its weights and scales.
pub struct TrainedNetwork {
    network: Arc<dyn Network>,
    bound: BoundNetwork,
    normalizer: Normalizer,
    fixed: Option<Vec<usize>>,
    features: Vec<String>,
    precision: Precision,
    /// Parameters by seed as they are used: rounded where the network computes in half precision.
    seeds: Vec<Vec<f32>>,
    /// Memory of predictions, by what is wanted and the number of slots; one that is in use is not here.
    idle: Mutex<BTreeMap<(Head, usize), Vec<Runner>>>,
    /// The parameters of every seed, packed; forms that pack the same share one list.
    packed: Mutex<Vec<Arc<Vec<PackedParameters>>>>,
}

/// A form and the memory to run it in.
struct Runner {
    bound: BoundNetwork,
    replica: Replica,
    /// What was shown last.
    tables: Tables,
    /// By seed.
    packed: Arc<Vec<PackedParameters>>,
}

/// What a trained network is made of: the result of training, or the content of a checkpoint.
pub struct TrainedParts {
    /// The network, for computed inputs and for binding it to other numbers of assets.
    pub network: Arc<dyn Network>,
    /// The network as it was trained.
    pub bound: BoundNetwork,
    /// Mean and deviation of each input, from the train span.
    pub normalizer: Normalizer,
    /// Columns of a network with a fixed asset set, one per slot.
    pub fixed: Option<Vec<usize>>,
    /// Names of the data's feature planes.
    pub features: Vec<String>,
    /// Precision of the program.
    pub precision: Precision,
    /// Master parameters of each seed, laid out as the program says.
    pub parameters: Vec<Vec<f32>>,
}

impl TrainedNetwork {
    /// Assembles a network from its parts.
    pub fn new(parts: TrainedParts) -> Self {
        let TrainedParts { network, bound, normalizer, fixed, features, precision, mut parameters } = parts;
        for parameters in &mut parameters {
            let master = parameters.clone();
            bound.program.cast_parameters(&master, parameters);
        }
        Self {
            network,
            bound,
            normalizer,
            fixed,
            features,
            precision,
            seeds: parameters,
            idle: Mutex::default(),
            packed: Mutex::default(),
        }
    }

    /// The parameters of every seed as they are used, laid out as the program says.
    pub fn parameters(&self) -> &[Vec<f32>] {
        &self.seeds
    }

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

    /// The parameters of every seed as this program packs them.
    fn packed(&self, program: &Program) -> Arc<Vec<PackedParameters>> {
        let mut lists = self.packed.lock().unwrap_or_else(PoisonError::into_inner);
        let fitting = lists.iter().find(|list| list.iter().all(|seed| seed.matches(program)));
        if let Some(list) = fitting {
            return Arc::clone(list);
        }
        let list = Arc::new(self.seeds.iter().map(|parameters| program.pack(parameters)).collect());
        lists.push(Arc::clone(&list));
        list
    }

    /// Runs the network of every seed on a past: the last date's outputs and the slots of the assets.
    fn run(&self, past: &Past, head: Head) -> Result<Option<(Vec<Vec<f32>>, AssetSlots)>> {
        // Columns of a past are its own; those of a fixed universe are the panel's.
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
        tables.show(past, &self.normalizer);
        if bound.inputs.iter().any(|source| matches!(source, InputSource::Computed { .. })) {
            let shown = Self::shown(past, &slots);
            tables.compute(&*self.network, bound, last, shown.as_ref().unwrap_or(past))?;
            tables.standardise_computed(&self.normalizer);
        }
        let step = MicroBatch { size: 1, offset: 0, training: false, step: 0 };
        let mut out = Vec::with_capacity(self.seeds.len());
        for (parameters, packed) in self.seeds.iter().zip(&**packed) {
            for (input, source) in bound.inputs.iter().enumerate() {
                tables.fill(source, last, &slots, replica.input(input, 1));
            }
            let output = replica.predict(parameters, packed, step);
            out.push(output[output.len() - slots.len()..].to_vec());
        }
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).entry(key).or_default().push(runner);
        Ok(Some((out, slots)))
    }

    /// The part of a past that the network has slots for, where that is not all of it.
    fn shown(past: &Past, slots: &AssetSlots) -> Option<Past> {
        let there: Vec<usize> = slots.iter().flatten().copied().collect();
        (there.len() < past.assets().len()).then(|| past.of_assets(&there))
    }

    /// Numbers by asset of a past, from numbers by place.
    fn by_asset(past: &Past, slots: &AssetSlots, values: impl Iterator<Item = f64>, empty: f64) -> Vec<f64> {
        let mut out = vec![empty; past.assets().len()];
        for (place, value) in slots.iter().zip(values) {
            if let Some(asset) = *place {
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
            fail!(Internal, "the head of training is missing");
        };
        let each = outputs
            .iter()
            .map(|output| self.bound.head.weights(self.network.name(), output, &slots))
            .collect::<Result<Vec<_>>>()?;
        Ok(Self::by_asset(past, &slots, mean(&each, slots.len()).into_iter(), 0.0))
    }

    fn scores(&self, past: &Past) -> Result<Option<Vec<f64>>> {
        let Some((outputs, slots)) = self.run(past, Head::Scores)? else { return Ok(None) };
        let each: Vec<Vec<f64>> =
            outputs.iter().map(|output| output.iter().map(|score| f64::from(*score)).collect()).collect();
        let scores = mean(&each, slots.len());
        let there = |place: usize| slots[place].is_some();
        if (0..slots.len()).any(|place| there(place) && !scores[place].is_finite()) {
            return Err(Head::Scores.non_finite(self.network.name()));
        }
        let least = (0..slots.len()).filter(|place| there(*place)).map(|place| scores[place]).fold(f64::MAX, f64::min);
        // An asset that the network has no place for comes after those that it scores.
        Ok(Some(Self::by_asset(past, &slots, scores.into_iter(), least - 1.0)))
    }
}

/// The mean of several lists, place by place; of one list, that list.
fn mean(lists: &[Vec<f64>], count: usize) -> Vec<f64> {
    let over = |place: usize| lists.iter().map(|list| list[place]).sum::<f64>() / lists.len() as f64;
    (0..count).map(over).collect()
}
