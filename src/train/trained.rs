//! A trained network, which gives weights as any model does.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use super::data::{Places, Scales, Tables};
use super::form::{Form, Wanted};
use super::lesson::Lesson;
use super::settings::Loss;
use super::task::{none_left, placed};
use crate::error::{Code, Error, Result, fail};
use crate::model::{Estimator, Network, Requirements};
use crate::panel::Past;
use crate::program::{PackedParameters, Plan, Precision, Program, Purpose, Replica, Step};

/// A network with its weights and scales.
pub struct Trained {
    network: Arc<dyn Network>,
    form: Form,
    loss: Loss,
    scales: Scales,
    fixed: Option<Vec<usize>>,
    features: Vec<String>,
    precision: Precision,
    /// Parameters by seed as they are used: rounded where the network computes in half precision.
    seeds: Vec<Vec<f32>>,
    /// Memory of predictions, by what is wanted and the number of places; one that is in use is not here.
    idle: Mutex<BTreeMap<(bool, usize), Vec<Runner>>>,
    /// The parameters of every seed, packed; forms that pack the same share one list.
    packed: Mutex<Vec<Arc<Vec<PackedParameters>>>>,
}

/// A form and the memory to run it in.
struct Runner {
    form: Form,
    replica: Replica,
    /// What was shown last.
    tables: Tables,
    /// By seed.
    packed: Arc<Vec<PackedParameters>>,
}

impl Trained {
    /// `best` are the master weights of every seed.
    pub(super) fn new(lesson: Lesson, mut best: Vec<Vec<f32>>) -> Self {
        let Lesson { network, settings, task, samples, form, scales, .. } = lesson;
        for parameters in &mut best {
            let master = parameters.clone();
            form.program.cast_parameters(&master, parameters);
        }
        Self {
            network,
            form,
            loss: settings.loss,
            scales,
            fixed: samples.fixed,
            features: task.panel.features().iter().map(|feature| feature.name.clone()).collect(),
            precision: settings.precision,
            seeds: best,
            idle: Mutex::default(),
            packed: Mutex::default(),
        }
    }

    /// The parameters of every seed as they are used, laid out as the program says.
    pub fn parameters(&self) -> &[Vec<f32>] {
        &self.seeds
    }

    fn runner(&self, wanted: Wanted, places: usize) -> Result<Option<Runner>> {
        let form = if places == self.form.assets && wanted == Wanted::Loss(self.loss) {
            self.form.clone()
        } else {
            let Some(form) = Form::new(&*self.network, places, &self.features, wanted, self.precision)? else {
                return Ok(None);
            };
            form
        };
        if !form.parameters_agree(&self.form) {
            fail!(
                Plugin,
                "the network has other parameters for {places} assets than for {}; allowed is that with a fixed universe alone",
                self.form.assets
            );
        }
        let plan: Arc<Plan> = Arc::new(form.program.plan(Purpose::Predict, 1));
        let packed = self.packed(&form.program);
        let replica = Replica::new(Arc::clone(&form.program), plan, 0);
        Ok(Some(Runner { form, replica, tables: Tables::default(), packed }))
    }

    /// The parameters of every seed as this program packs them.
    fn packed(&self, program: &Program) -> Arc<Vec<PackedParameters>> {
        let mut lists = self.packed.lock().unwrap_or_else(PoisonError::into_inner);
        let fitting = lists.iter().find(|list| list.iter().all(|seed| seed.fits(program)));
        if let Some(list) = fitting {
            return Arc::clone(list);
        }
        let list = Arc::new(self.seeds.iter().map(|parameters| program.pack(parameters)).collect());
        lists.push(Arc::clone(&list));
        list
    }

    /// Runs the network of every seed on a past: the last date's outputs and the places of the assets.
    fn run(&self, past: &Past, wanted: Wanted) -> Result<Option<(Vec<Vec<f32>>, Places)>> {
        // Columns of a past are its own; those of a fixed universe are the panel's.
        let own: Vec<usize> = (0..past.assets().len()).collect();
        let fixed = self
            .fixed
            .as_ref()
            .map(|fixed| fixed.iter().map(|column| past.assets().binary_search(column).ok()).collect::<Places>());
        let places = fixed.unwrap_or_else(|| placed(&own, None, self.form.assets));
        let last = past.rows().len() - 1;
        if places.iter().all(Option::is_none) {
            return Err(none_left(past.dates()[last]));
        }
        let key = (wanted == Wanted::Scores, places.len());
        let idle = {
            let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
            idle.get_mut(&key).and_then(Vec::pop)
        };
        let runner = match idle {
            Some(runner) => Some(runner),
            None => self.runner(wanted, places.len())?,
        };
        let Some(mut runner) = runner else { return Ok(None) };
        let Runner { form, replica, tables, packed } = &mut runner;
        tables.show(past, &self.scales);
        if form.inputs.iter().any(|source| matches!(source, crate::model::InputSource::Computed { .. })) {
            let shown = Self::shown(past, &places);
            tables.compute(&*self.network, form, last, shown.as_ref().unwrap_or(past))?;
            tables.score_computed(&self.scales);
        }
        let step = Step { batch: 1, first: 0, training: false, number: 0 };
        let mut out = Vec::with_capacity(self.seeds.len());
        for (parameters, packed) in self.seeds.iter().zip(&**packed) {
            for (input, source) in form.inputs.iter().enumerate() {
                tables.fill(source, last, &places, replica.input(input, 1));
            }
            let output = replica.predict(parameters, packed, step);
            out.push(output[output.len() - places.len()..].to_vec());
        }
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).entry(key).or_default().push(runner);
        Ok(Some((out, places)))
    }

    /// The part of a past that the network has places for, where that is not all of it.
    fn shown(past: &Past, places: &Places) -> Option<Past> {
        let there: Vec<usize> = places.iter().flatten().copied().collect();
        (there.len() < past.assets().len()).then(|| past.of_assets(&there))
    }

    /// Numbers by asset of a past, from numbers by place.
    fn by_asset(past: &Past, places: &Places, values: impl Iterator<Item = f64>, empty: f64) -> Vec<f64> {
        let mut out = vec![empty; past.assets().len()];
        for (place, value) in places.iter().zip(values) {
            if let Some(asset) = *place {
                out[asset] = value;
            }
        }
        out
    }
}

impl Estimator for Trained {
    fn requirements(&self) -> Requirements {
        self.network.requirements()
    }

    fn fits(&self) -> bool {
        true
    }

    fn can_weigh(&self, columns: &[usize]) -> bool {
        self.fixed.as_ref().map_or(!columns.is_empty(), |fixed| fixed.iter().any(|column| columns.contains(column)))
    }

    fn fit(&mut self, _train: &Past, _validation: Option<&Past>) -> Result<()> {
        fail!(Internal, "a network is trained by the trainer")
    }

    fn weights(&self, past: &Past) -> Result<Vec<f64>> {
        let Some((outputs, places)) = self.run(past, Wanted::Loss(self.loss))? else {
            fail!(Internal, "a form for training is always one");
        };
        let each = outputs.iter().map(|output| weights_of(output, &places, self.loss)).collect::<Result<Vec<_>>>()?;
        Ok(Self::by_asset(past, &places, mean(&each, places.len()).into_iter(), 0.0))
    }

    fn scores(&self, past: &Past) -> Result<Option<Vec<f64>>> {
        let Some((outputs, places)) = self.run(past, Wanted::Scores)? else { return Ok(None) };
        let each: Vec<Vec<f64>> =
            outputs.iter().map(|output| output.iter().map(|score| f64::from(*score)).collect()).collect();
        let scores = mean(&each, places.len());
        let there = |place: usize| places[place].is_some();
        if (0..places.len()).any(|place| there(place) && !scores[place].is_finite()) {
            return Err(not_finite("score"));
        }
        let least = (0..places.len()).filter(|place| there(*place)).map(|place| scores[place]).fold(f64::MAX, f64::min);
        // An asset that the network has no place for comes after those that it scores.
        Ok(Some(Self::by_asset(past, &places, scores.into_iter(), least - 1.0)))
    }
}

/// The mean of several lists, place by place; of one list, that list.
fn mean(lists: &[Vec<f64>], count: usize) -> Vec<f64> {
    let over = |place: usize| lists.iter().map(|list| list[place]).sum::<f64>() / lists.len() as f64;
    (0..count).map(over).collect()
}

fn not_finite(what: &str) -> Error {
    Error::new(Code::InvalidData, format!("the network gave a {what} that is no number"))
}

/// Weights by place, which sum to 1, of what a network gave: weights to single precision, or scores, of which the softmax is
/// taken over the assets that are there.
pub(super) fn weights_of(output: &[f32], places: &Places, loss: Loss) -> Result<Vec<f64>> {
    let there = |place: usize| places.get(place).is_some_and(Option::is_some);
    let inside: Range<usize> = 0..output.len();
    if inside.clone().any(|place| there(place) && !output[place].is_finite()) {
        return Err(not_finite(if loss == Loss::Sharpe { "weight" } else { "score" }));
    }
    let top =
        inside.clone().filter(|&place| there(place)).map(|place| f64::from(output[place])).fold(f64::MIN, f64::max);
    let raw: Vec<f64> = inside
        .map(|place| match loss {
            _ if !there(place) => 0.0,
            Loss::Sharpe => f64::from(output[place]),
            Loss::MeanSquare => (f64::from(output[place]) - top).exp(),
        })
        .collect();
    let sum: f64 = raw.iter().sum();
    // Single precision keeps a sum of many weights to about 1e-6; what is further off is no rounding.
    if loss == Loss::Sharpe && (sum - 1.0).abs() > 1e-3 {
        fail!(Plugin, "the weights of the network sum to {sum}; allowed is 1");
    }
    Ok(raw.into_iter().map(|weight| weight / sum).collect())
}
