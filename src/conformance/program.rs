//! What a network describes and computes: the same each time it is asked, with gradients that are slopes.

use std::sync::Arc;

use super::data::{DataRandom, ordinary, past_at_rows};
use super::{CheckOutcome, Subject};
use crate::error::Result;
use crate::model::{AssetSet, Context, Factory, InputSource, Model, Network, Plane};
use crate::network::{BoundNetwork, Head};
use crate::panel::Past;
use crate::program::{MicroBatch, Precision, Program, Purpose, Replica};

/// The feature plane of the data made here.
const FEATURES: [&str; 1] = ["volume"];

/// Two models with default settings, in checking mode; else why the check does not apply.
fn networks(subject: &Subject) -> Result<Result<[Arc<dyn Network>; 2], CheckOutcome>> {
    let plugin = subject.plugin()?;
    let settings = Subject::defaults(&plugin)?;
    let context = Context::default().checking();
    let made = [plugin.create(&settings, &context)?, plugin.create(&settings, &context)?];
    Ok(match made {
        [Model::Network(one), Model::Network(two)] => Ok([one, two]),
        _ => Err(CheckOutcome::Skipped("it is an estimator".to_owned())),
    })
}

/// The network with the head that it is trained with by default.
pub(super) fn bind(network: &dyn Network, assets: usize) -> Result<BoundNetwork> {
    let features = FEATURES.map(str::to_owned);
    match BoundNetwork::new(network, assets, &features, Head::Weights, Precision::Fp32)? {
        Some(bound) => Ok(bound),
        None => crate::error::fail!(Internal, "the head of training is missing"),
    }
}

pub(super) fn repeatable(subject: &Subject) -> Result<CheckOutcome> {
    let [one, two] = match networks(subject)? {
        Ok(made) => made,
        Err(outcome) => return Ok(outcome),
    };
    let first = bind(&*one, 8)?;
    let mut described = 0;
    for assets in [8, 2, 21, 8] {
        let bindings = [bind(&*one, assets)?, bind(&*one, assets)?, bind(&*two, assets)?];
        let texts = bindings.each_ref().map(|bound| bound.program.to_string());
        for (text, which) in [(&texts[1], "asked again"), (&texts[2], "another model was asked")] {
            let differs = texts[0].lines().zip(text.lines()).find(|(line, other)| line != other);
            if *text != texts[0] {
                return Ok(CheckOutcome::Failed(format!(
                    "for {assets} assets build described another network when {which}{}; it may depend on settings and shape \
                     alone",
                    differs.map_or_else(String::new, |(line, other)| format!(": \"{line}\" became \"{other}\""))
                )));
            }
        }
        if one.asset_set() == AssetSet::ByDate
            && let Err(error) = first.check_same_parameters(&bindings[0], &*one)
        {
            return Ok(CheckOutcome::Failed(error.to_string()));
        }
        described += bindings.len();
    }
    let program = &first.program;
    let count: usize = program.parameters().iter().map(crate::program::Parameter::count).sum();
    Ok(CheckOutcome::Passed(format!("described {described} times; {count} trained numbers for 8 assets")))
}

/// Assets and samples of the gradient check.
const ASSETS: usize = 4;
const BATCH: usize = 3;

/// Steps along a direction, as shares of a parameter's size, until one does well: a long one is bent, and a short one drowns in
/// rounding.
const STEPS: [f64; 4] = [1e-2, 3e-2, 3e-3, 1e-1];

/// How far from each other slope and gradient may be, as a share of the larger.
const TOLERANCE: f64 = 0.03;

/// A program whose inputs are filled, and the numbers that its outputs are weighed with.
struct Slopes {
    replica: Replica,
    fill: Vec<Vec<f32>>,
    output_grad: Vec<f32>,
}

impl Slopes {
    const STEP: MicroBatch = MicroBatch { size: BATCH, offset: 0, training: true, step: 1 };

    fn new(bound: &BoundNetwork) -> Self {
        let program = &bound.program;
        let plan = Arc::new(program.plan(Purpose::Train, BATCH));
        let mut draws = DataRandom(41);
        // Scored inputs are as large as one deviation; flags are set.
        let flag = |source: &InputSource| match source {
            InputSource::Mask => true,
            InputSource::Trailing { plane, .. } => matches!(plane, Plane::Known | Plane::Members),
            InputSource::Computed { .. } => false,
        };
        let of_input = |(source, input): (&InputSource, &crate::program::Input)| {
            let count = BATCH * input.shape.iter().product::<usize>();
            (0..count).map(|_| if flag(source) { 1.0 } else { 1.7 * draws.next() as f32 }).collect()
        };
        let fill = bound.inputs.iter().zip(program.inputs()).map(of_input).collect();
        let outputs = BATCH * program.output_shape().iter().product::<usize>();
        let output_grad = (0..outputs).map(|_| draws.next() as f32).collect();
        Self { replica: Replica::new(Arc::clone(program), plan, 1), fill, output_grad }
    }

    /// The weighed sum of the outputs, and the sum of its parts' sizes, by which rounding is measured.
    fn sum(&mut self, parameters: &[f32]) -> (f64, f64) {
        for (input, values) in self.fill.iter().enumerate() {
            self.replica.input(input, BATCH).copy_from_slice(values);
        }
        let output = self.replica.forward(parameters, Self::STEP);
        let parts = output.iter().zip(&self.output_grad).map(|(value, weight)| f64::from(*value) * f64::from(*weight));
        parts.fold((0.0, 0.0), |(sum, size), part| (sum + part, size + part.abs()))
    }

    fn gradients(&mut self, parameters: &[f32]) -> Vec<f32> {
        self.sum(parameters);
        let mut out = vec![0.0; parameters.len()];
        self.replica.backward(parameters, &self.output_grad, &mut out, Self::STEP);
        out
    }

    /// How far the slope along a direction is from what the gradient says, and both: for the step that does best.
    fn apart(&mut self, parameters: &[f32], gradient: f64, at: usize, direction: &[f32], size: f64) -> (f64, f64) {
        let mut best = (f64::INFINITY, f64::NAN);
        for step in STEPS {
            let mut moved = |sign: f64| {
                let mut moved = parameters.to_vec();
                for (value, along) in moved[at..].iter_mut().zip(direction) {
                    *value += (sign * step * size * f64::from(*along)) as f32;
                }
                self.sum(&moved)
            };
            let ((above, parts), (below, _)) = (moved(1.0), moved(-1.0));
            let slope = (above - below) / (2.0 * step * size);
            let rounding = f64::from(f32::EPSILON) * 4.0 * parts / (step * size);
            if !(slope.is_finite() && gradient.is_finite()) {
                return (f64::INFINITY, slope);
            }
            let apart = ((slope - gradient).abs() - rounding).max(0.0) / slope.abs().max(gradient.abs()).max(1e-30);
            if apart < best.0 {
                best = (apart, slope);
            }
            if best.0 < TOLERANCE / 10.0 {
                break;
            }
        }
        best
    }
}

fn norm(values: impl Iterator<Item = f32>) -> f64 {
    values.map(|value| f64::from(value).powi(2)).sum::<f64>().sqrt()
}

/// Along each parameter's gradient, and along a random direction, the output must change as the gradient says.
fn slopes(program: &Program, slopes: &mut Slopes) -> (usize, f64, Option<String>) {
    let parameters = slopes.replica.initial_parameters();
    let gradients = slopes.gradients(&parameters);
    let mut draws = DataRandom(42);
    let (mut checked, mut worst) = (0, 0.0_f64);
    for parameter in program.parameters() {
        let range = parameter.offset..parameter.offset + parameter.count();
        let own = &gradients[range.clone()];
        // A step is measured by how large the parameter is; one that begins at 0 by what inputs are.
        let size = norm(parameters[range].iter().copied());
        let size = if size > 0.0 { size } else { 0.1 * (parameter.count() as f64).sqrt() };
        let length = norm(own.iter().copied()).max(1e-30);
        let along: Vec<f32> = own.iter().map(|value| (f64::from(*value) / length) as f32).collect();
        let drawn: Vec<f32> = own.iter().map(|_| draws.next() as f32).collect();
        let length = norm(drawn.iter().copied());
        let drawn: Vec<f32> = drawn.iter().map(|value| (f64::from(*value) / length) as f32).collect();
        for direction in [along, drawn] {
            let gradient = own.iter().zip(&direction).map(|(one, two)| f64::from(*one) * f64::from(*two)).sum();
            let (apart, slope) = slopes.apart(&parameters, gradient, parameter.offset, &direction, size);
            if apart > TOLERANCE {
                let told = format!(
                    "the gradient of parameter '{}' is {gradient:.3e} along a direction in which the slope of the output is \
                     {slope:.3e}; as it begins the network stands at a kink, or gives numbers that are none",
                    parameter.name
                );
                return (checked, worst, Some(told));
            }
            (checked, worst) = (checked + 1, worst.max(apart));
        }
    }
    (checked, worst, None)
}

pub(super) fn gradient(subject: &Subject) -> Result<CheckOutcome> {
    let [network, _] = match networks(subject)? {
        Ok(made) => made,
        Err(outcome) => return Ok(outcome),
    };
    let bound = bind(&*network, ASSETS)?;
    let (checked, worst, fault) = slopes(&bound.program, &mut Slopes::new(&bound));
    Ok(match fault {
        Some(fault) => CheckOutcome::Failed(fault),
        None => CheckOutcome::Passed(format!(
            "{checked} directions of {} parameters; slope and gradient at most {:.2} % apart",
            bound.program.parameters().len(),
            100.0 * worst
        )),
    })
}

/// What the computed inputs of a network come to, bit for bit.
fn computed(network: &dyn Network, sources: &[InputSource], past: &Past) -> Result<Vec<u32>> {
    let mut out = Vec::new();
    for source in sources {
        if let InputSource::Computed { index, shape, .. } = source {
            let mut values = vec![0.0; shape.iter().map(|axis| axis.length(past.assets().len())).product()];
            network.compute(*index, past, &mut values)?;
            out.extend(values.into_iter().map(f32::to_bits));
        }
    }
    Ok(out)
}

pub(super) fn compute(subject: &Subject) -> Result<CheckOutcome> {
    let [one, two] = match networks(subject)? {
        Ok(made) => made,
        Err(outcome) => return Ok(outcome),
    };
    let sources = bind(&*one, 8)?.inputs;
    let count = sources.iter().filter(|source| matches!(source, InputSource::Computed { .. })).count();
    if count == 0 {
        return Ok(CheckOutcome::Skipped("it computes no input".to_owned()));
    }
    let lookback = one.requirements().lookback;
    let rows = lookback.min(4000) + 40;
    let panel = ordinary(rows, 8)?;
    // Early rows too, at which less is shown than was asked for.
    let places = (0..rows).step_by(rows.div_ceil(24)).chain([rows - 1]);
    let mut pasts = Vec::new();
    for row in places {
        pasts.extend(past_at_rows(&panel, one.requirements(), row)?);
    }
    let first = pasts.iter().map(|past| computed(&*one, &sources, past)).collect::<Result<Vec<_>>>()?;
    for (past, first) in pasts.iter().zip(&first).rev() {
        for (network, which) in [(&one, "asked again, in another order"), (&two, "asked of another model")] {
            if computed(&**network, &sources, past)? != *first {
                return Ok(CheckOutcome::Failed(format!(
                    "compute gave other numbers at row {} when {which}; it must keep nothing between calls",
                    past.rows().end - 1
                )));
            }
        }
    }
    Ok(CheckOutcome::Passed(format!(
        "{count} computed inputs at {} dates, three times bit for bit; every number was written, none beyond them",
        pasts.len()
    )))
}
