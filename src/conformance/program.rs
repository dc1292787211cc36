//! Checks of a network's program and computed inputs: both are reproducible, and gradients agree with finite
//! differences.

use std::sync::Arc;

use super::data::{DataRandom, ordinary_panel, past_for};
use super::{CheckOutcome, Subject};
use crate::engine::cpu::{MicroBatch, Replica};
use crate::error::Result;
use crate::model::{AssetSet, Context, Factory, Model, Network};
use crate::network::BoundNetwork;
use crate::objective::Head;
use crate::panel::Past;
use crate::program::{Input, InputSource, Plane, Precision, Program, Purpose};

/// The features of the synthetic data.
const FEATURES: [&str; 1] = ["volume"];

/// Two networks with default settings, in checking mode; otherwise why the check does not apply.
fn networks(subject: &Subject) -> Result<Result<[Arc<dyn Network>; 2], CheckOutcome>> {
    let plugin = subject.plugin()?;
    let settings = Subject::defaults(&plugin)?;
    let context = Context::default().checking();
    let models = [plugin.create(&settings, &context)?, plugin.create(&settings, &context)?];
    Ok(match models {
        [Model::Network(one), Model::Network(two)] => Ok([one, two]),
        _ => Err(CheckOutcome::Skipped("it is an estimator".to_owned())),
    })
}

/// Binds a network to the head with which it is trained by default.
pub(super) fn bind(network: &dyn Network, assets: usize) -> Result<BoundNetwork> {
    let features = FEATURES.map(str::to_owned);
    match BoundNetwork::new(network, assets, &features, Head::Weights, Precision::Fp32)? {
        Some(bound) => Ok(bound),
        None => crate::error::fail!(Internal, "the network has no head for training"),
    }
}

pub(super) fn repeatable(subject: &Subject) -> Result<CheckOutcome> {
    let [one, two] = match networks(subject)? {
        Ok(networks) => networks,
        Err(outcome) => return Ok(outcome),
    };
    let first = bind(&*one, 8)?;
    let mut described = 0;
    for assets in [8, 2, 21, 8] {
        let bindings = [bind(&*one, assets)?, bind(&*one, assets)?, bind(&*two, assets)?];
        let texts = bindings.each_ref().map(|bound| bound.program.to_string());
        for (text, which) in [(&texts[1], "called again"), (&texts[2], "called for another model")] {
            let differs = texts[0].lines().zip(text.lines()).find(|(line, other)| line != other);
            if *text != texts[0] {
                return Ok(CheckOutcome::Failed(format!(
                    "for {assets} assets build described another network when {which}{}; it may depend only on \
                     settings and shape",
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
    Ok(CheckOutcome::Passed(format!("built {described} times; {count} parameters for 8 assets")))
}

/// Assets and samples of the gradient check.
const ASSETS: usize = 4;
const BATCH: usize = 3;

/// Step sizes of finite differences, relative to the norm of a parameter, tried in this order until one is accurate:
/// with a long step curvature matters, with a short one rounding.
const STEPS: [f64; 4] = [1e-2, 3e-2, 3e-3, 1e-1];

/// The largest allowed difference between finite difference and gradient, relative to the larger.
const TOLERANCE: f64 = 0.03;

/// A program with fixed inputs, and the coefficients of a weighted sum of its outputs.
struct GradientCheck {
    replica: Replica,
    inputs: Vec<Vec<f32>>,
    output_grad: Vec<f32>,
}

impl GradientCheck {
    const MICRO_BATCH: MicroBatch = MicroBatch { size: BATCH, offset: 0, training: true, step: 1 };

    fn new(bound: &BoundNetwork) -> Self {
        let program = &bound.program;
        let plan = Arc::new(program.plan(Purpose::Train, BATCH));
        let mut draws = DataRandom(41);
        // Standardised inputs have a standard deviation of about 1; flags are set.
        let is_flag = |source: &InputSource| match source {
            InputSource::Mask => true,
            InputSource::Trailing { plane, .. } => matches!(plane, Plane::Known | Plane::Members),
            InputSource::Computed { .. } | InputSource::Given => false,
        };
        let values = |input: &Input| {
            let count = BATCH * input.shape.iter().product::<usize>();
            (0..count).map(|_| if is_flag(&input.source) { 1.0 } else { 1.7 * draws.next() as f32 }).collect()
        };
        let inputs = program.inputs().iter().map(values).collect();
        let outputs = BATCH * program.output_shape().iter().product::<usize>();
        let output_grad = (0..outputs).map(|_| draws.next() as f32).collect();
        Self { replica: Replica::new(Arc::clone(program), plan, 1), inputs, output_grad }
    }

    /// The weighted sum of the outputs, and the sum of its terms' absolute values, which bounds rounding errors.
    fn weighted_sum(&mut self, parameters: &[f32]) -> (f64, f64) {
        for (input, values) in self.inputs.iter().enumerate() {
            self.replica.input(input, BATCH).copy_from_slice(values);
        }
        let output = self.replica.forward(parameters, Self::MICRO_BATCH);
        let terms = output.iter().zip(&self.output_grad).map(|(value, weight)| f64::from(*value) * f64::from(*weight));
        terms.fold((0.0, 0.0), |(sum, magnitude), term| (sum + term, magnitude + term.abs()))
    }

    /// The gradient of the weighted sum.
    fn gradients(&mut self, parameters: &[f32]) -> Vec<f32> {
        self.weighted_sum(parameters);
        let mut out = vec![0.0; parameters.len()];
        self.replica.backward(parameters, &self.output_grad, &mut out, Self::MICRO_BATCH);
        out
    }

    /// The relative difference between the finite difference and the `gradient` along a direction of the parameter at
    /// `offset`, and the finite difference, for the most accurate step size.
    fn relative_error(
        &mut self,
        parameters: &[f32],
        gradient: f64,
        offset: usize,
        direction: &[f32],
        size: f64,
    ) -> (f64, f64) {
        let mut best = (f64::INFINITY, f64::NAN);
        for step in STEPS {
            let mut moved = |sign: f64| {
                let mut moved = parameters.to_vec();
                for (value, component) in moved[offset..].iter_mut().zip(direction) {
                    *value += (sign * step * size * f64::from(*component)) as f32;
                }
                self.weighted_sum(&moved)
            };
            let ((above, magnitude), (below, _)) = (moved(1.0), moved(-1.0));
            let slope = (above - below) / (2.0 * step * size);
            let rounding = f64::from(f32::EPSILON) * 4.0 * magnitude / (step * size);
            if !(slope.is_finite() && gradient.is_finite()) {
                return (f64::INFINITY, slope);
            }
            let error = ((slope - gradient).abs() - rounding).max(0.0) / slope.abs().max(gradient.abs()).max(1e-30);
            if error < best.0 {
                best = (error, slope);
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

/// Compares gradients with finite differences for each parameter, along its gradient and along a random direction.
/// Returns the number of directions, the largest relative error and the first fault.
fn compare_gradients(program: &Program, check: &mut GradientCheck) -> (usize, f64, Option<String>) {
    let parameters = check.replica.initial_parameters();
    let gradients = check.gradients(&parameters);
    let mut draws = DataRandom(42);
    let (mut checked, mut worst) = (0, 0.0_f64);
    for parameter in program.parameters() {
        let range = parameter.offset..parameter.offset + parameter.count();
        let own_gradient = &gradients[range.clone()];
        // Steps are relative to the norm of the parameter; for one that is 0, to that of the inputs.
        let size = norm(parameters[range].iter().copied());
        let size = if size > 0.0 { size } else { 0.1 * (parameter.count() as f64).sqrt() };
        let length = norm(own_gradient.iter().copied()).max(1e-30);
        let along: Vec<f32> = own_gradient.iter().map(|value| (f64::from(*value) / length) as f32).collect();
        let random: Vec<f32> = own_gradient.iter().map(|_| draws.next() as f32).collect();
        let length = norm(random.iter().copied());
        let random: Vec<f32> = random.iter().map(|value| (f64::from(*value) / length) as f32).collect();
        for direction in [along, random] {
            let gradient =
                own_gradient.iter().zip(&direction).map(|(one, two)| f64::from(*one) * f64::from(*two)).sum();
            let (error, slope) = check.relative_error(&parameters, gradient, parameter.offset, &direction, size);
            if error > TOLERANCE {
                let fault = format!(
                    "the gradient of parameter '{}' is {gradient:.3e} along a direction in which the finite \
                     difference of the output is {slope:.3e}; with its initial parameters the network is not \
                     differentiable there, or gives non-finite values",
                    parameter.name
                );
                return (checked, worst, Some(fault));
            }
            (checked, worst) = (checked + 1, worst.max(error));
        }
    }
    (checked, worst, None)
}

pub(super) fn gradient(subject: &Subject) -> Result<CheckOutcome> {
    let [network, _] = match networks(subject)? {
        Ok(networks) => networks,
        Err(outcome) => return Ok(outcome),
    };
    let bound = bind(&*network, ASSETS)?;
    let (checked, worst, fault) = compare_gradients(&bound.program, &mut GradientCheck::new(&bound));
    Ok(match fault {
        Some(fault) => CheckOutcome::Failed(fault),
        None => CheckOutcome::Passed(format!(
            "{checked} directions of {} parameters; gradients and finite differences differ by at most {:.2} %",
            bound.program.parameters().len(),
            100.0 * worst
        )),
    })
}

/// The bits of the computed inputs of a network.
fn computed(network: &dyn Network, inputs: &[Input], past: &Past) -> Result<Vec<u32>> {
    let mut out = Vec::new();
    for input in inputs {
        if let InputSource::Computed { index, shape, .. } = &input.source {
            let mut values = vec![0.0; shape.iter().map(|axis| axis.length(past.assets().len())).product()];
            network.compute(*index, past, &mut values)?;
            out.extend(values.into_iter().map(f32::to_bits));
        }
    }
    Ok(out)
}

pub(super) fn compute(subject: &Subject) -> Result<CheckOutcome> {
    let [one, two] = match networks(subject)? {
        Ok(networks) => networks,
        Err(outcome) => return Ok(outcome),
    };
    let program = bind(&*one, 8)?.program;
    let inputs = program.inputs();
    let count = inputs.iter().filter(|input| matches!(input.source, InputSource::Computed { .. })).count();
    if count == 0 {
        return Ok(CheckOutcome::Skipped("it computes no input".to_owned()));
    }
    let lookback = one.requirements().lookback;
    let rows = lookback.min(4000) + 40;
    let panel = ordinary_panel(rows, 8)?;
    // Early rows too, at which the past is shorter than the lookback.
    let sampled_rows = (0..rows).step_by(rows.div_ceil(24)).chain([rows - 1]);
    let mut pasts = Vec::new();
    for row in sampled_rows {
        pasts.extend(past_for(&panel, one.requirements(), row)?);
    }
    let first = pasts.iter().map(|past| computed(&*one, inputs, past)).collect::<Result<Vec<_>>>()?;
    for (past, first) in pasts.iter().zip(&first).rev() {
        for (network, which) in [(&one, "called again, in another order"), (&two, "called for another model")] {
            if computed(&**network, inputs, past)? != *first {
                return Ok(CheckOutcome::Failed(format!(
                    "compute wrote other values at row {} when {which}; it must keep nothing between calls",
                    past.rows().end - 1
                )));
            }
        }
    }
    Ok(CheckOutcome::Passed(format!(
        "{count} computed inputs at {} dates, equal bit for bit in three calls; every element was written, none beyond",
        pasts.len()
    )))
}
