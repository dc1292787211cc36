//! Both passes of a program: packed parameters, recomputation, micro-batches, memory.

use std::sync::Arc;

use super::{MicroBatch, Replica};
use crate::device::cpu::half_reads_are_fast;
use crate::ops::{Activation, Arithmetic, MatMul, Reduction, Reshape, Scale, Softmax, Transpose};
use crate::program::{Builder, Plan, Precision, Program, Purpose, ValueId};
use crate::random::Random;

const BATCH: usize = 6;

/// A two-layer LSTM with dropout, attention, a residual connection, layer normalisation and a masked softmax.
fn network() -> Program {
    let mut builder = Builder::new();
    let (x, mask) = (builder.input("x", &[5, 3]).unwrap(), builder.input("mask", &[4]).unwrap());
    let first = builder.lstm("lstm.0", x, 8).unwrap();
    let dropped = builder.dropout(first, 0.3).unwrap();
    let second = builder.lstm("lstm.1", dropped, 8).unwrap();
    let attended = builder.attention("attention", second, 2).unwrap();
    let sum = builder.arithmetic(Arithmetic::Add, attended, second).unwrap();
    let normal = builder.layer_norm("norm", sum).unwrap();
    let square = builder.arithmetic(Arithmetic::Multiply, normal, normal).unwrap();
    let mean = builder.reduce(Reduction::Mean, 0, square).unwrap();
    let activated = builder.activation(mean, Activation::Tanh).unwrap();
    let logits = builder.linear("head", activated, 4).unwrap();
    let weights = builder.masked_softmax(logits, mask).unwrap();
    builder.finish(weights).unwrap()
}

fn draw(stream: u32, count: usize) -> Vec<f32> {
    (0..count as u64).map(|position| Random::new(11, stream, 0).uniform(position) * 2.0 - 1.0).collect()
}

/// As [`network`], with attention of primitive ops instead of the fused one.
fn network_of_primitives() -> Program {
    let mut builder = Builder::new();
    let (x, mask) = (builder.input("x", &[5, 3]).unwrap(), builder.input("mask", &[4]).unwrap());
    let first = builder.lstm("lstm.0", x, 8).unwrap();
    let dropped = builder.dropout(first, 0.3).unwrap();
    let second = builder.lstm("lstm.1", dropped, 8).unwrap();
    let attended = attention_of_primitives(&mut builder, second, 2);
    let sum = builder.arithmetic(Arithmetic::Add, attended, second).unwrap();
    let normal = builder.layer_norm("norm", sum).unwrap();
    let square = builder.arithmetic(Arithmetic::Multiply, normal, normal).unwrap();
    let mean = builder.reduce(Reduction::Mean, 0, square).unwrap();
    let activated = builder.activation(mean, Activation::Tanh).unwrap();
    let logits = builder.linear("head", activated, 4).unwrap();
    let weights = builder.masked_softmax(logits, mask).unwrap();
    builder.finish(weights).unwrap()
}

/// Attention over x `[steps, width]`.
fn attention_of_primitives(builder: &mut Builder, x: ValueId, heads: usize) -> ValueId {
    let [steps, width] = *builder.shape(x) else { panic!("x has two axes") };
    let part = width / heads;
    let order = || Transpose { order: vec![1, 0, 2] };
    let [query, key, value] = ["query", "key", "value"].map(|name| {
        let projected = builder.linear(&format!("attention.{name}"), x, width).unwrap();
        let by_head = builder.op(Reshape { shape: vec![steps, heads, part] }, &[projected]).unwrap();
        builder.op(order(), &[by_head]).unwrap()
    });
    let scores = builder.op(MatMul { transpose_right: true }, &[query, key]).unwrap();
    let scores = builder.op(Scale { factor: 1.0 / (part as f32).sqrt(), offset: 0.0 }, &[scores]).unwrap();
    let weights = builder.op(Softmax, &[scores]).unwrap();
    let context = builder.op(MatMul { transpose_right: false }, &[weights, value]).unwrap();
    let context = builder.op(order(), &[context]).unwrap();
    let context = builder.op(Reshape { shape: vec![steps, width] }, &[context]).unwrap();
    builder.linear("attention.output", context, width).unwrap()
}

struct BatchResult {
    output: Vec<f32>,
    gradients: Vec<f32>,
}

/// Runs both passes over the whole batch in micro-batches of `size` samples.
fn run_passes(program: &Arc<Program>, plan: &Arc<Plan>, parameters: &[f32], size: usize) -> BatchResult {
    let mut replica = Replica::new(Arc::clone(program), Arc::clone(plan), 3);
    let (x, output_grad) = (draw(1, BATCH * 15), draw(2, BATCH * 4));
    let mask: Vec<f32> = (0..BATCH * 4).map(|index| f32::from(u8::from(index % 5 != 2))).collect();
    let mut out = BatchResult { output: Vec::new(), gradients: vec![0.0; program.parameter_count()] };
    for offset in (0..BATCH).step_by(size) {
        let size = size.min(BATCH - offset);
        let micro_batch = MicroBatch { size, offset, training: true, step: 4 };
        replica.input(0, size).copy_from_slice(&x[offset * 15..][..size * 15]);
        replica.input(1, size).copy_from_slice(&mask[offset * 4..][..size * 4]);
        if plan.purpose().trains() {
            out.output.extend_from_slice(replica.forward(parameters, micro_batch));
            let output_grad = &output_grad[offset * 4..][..size * 4];
            replica.backward(parameters, output_grad, &mut out.gradients, micro_batch);
        } else {
            out.output.extend_from_slice(replica.predict(parameters, &program.pack(parameters), micro_batch));
        }
    }
    out
}

fn network_and_parameters() -> (Arc<Program>, Vec<f32>) {
    let program = Arc::new(network());
    let plan = Arc::new(program.plan(Purpose::Train, BATCH));
    let parameters = Replica::new(Arc::clone(&program), plan, 3).initial_parameters();
    (program, parameters)
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

#[test]
fn gradients_equal_central_differences_of_the_loss() {
    let (program, mut parameters) = network_and_parameters();
    let plan = Arc::new(program.plan(Purpose::Train, BATCH));
    let output_grad = draw(2, BATCH * 4);
    let ours = run_passes(&program, &plan, &parameters, BATCH).gradients;
    let mut checked = 0;
    for parameter in program.parameters() {
        for element in (0..parameter.count()).step_by(parameter.count().div_ceil(7)) {
            const STEP: f32 = 1e-2;
            let index = parameter.offset + element;
            let value = parameters[index];
            let mut loss = |value: f32| -> f64 {
                parameters[index] = value;
                let output = run_passes(&program, &plan, &parameters, BATCH).output;
                output.iter().zip(&output_grad).map(|(value, grad)| f64::from(value * grad)).sum()
            };
            let slope = (loss(value + STEP) - loss(value - STEP)) / f64::from(2.0 * STEP);
            parameters[index] = value;
            let error = (f64::from(ours[index]) - slope).abs();
            assert!(
                error < 2e-4 + 0.01 * slope.abs(),
                "{} {element}: {}, expected {slope}",
                parameter.name,
                ours[index]
            );
            checked += 1;
        }
    }
    assert!(checked > 80, "{checked}");
}

#[test]
fn sharing_memory_does_not_change_the_bits() {
    let (program, parameters) = network_and_parameters();
    let shared = Arc::new(program.plan(Purpose::Train, BATCH));
    let separate = Arc::new(program.plan(Purpose::Train, BATCH).without_sharing());
    assert!(shared.bytes() * 10 < separate.bytes() * 9, "{} {}", shared.bytes(), separate.bytes());
    let (one, two) =
        (run_passes(&program, &shared, &parameters, BATCH), run_passes(&program, &separate, &parameters, BATCH));
    assert_eq!((bits(&one.output), bits(&one.gradients)), (bits(&two.output), bits(&two.gradients)));
}

#[test]
fn a_prediction_gives_the_same_bits_in_less_memory() {
    let (program, parameters) = network_and_parameters();
    let train = Arc::new(program.plan(Purpose::Train, BATCH));
    let predict = Arc::new(program.plan(Purpose::Predict, BATCH));
    assert!(predict.bytes() * 2 < train.bytes(), "{} {}", predict.bytes(), train.bytes());
    let (one, two) =
        (run_passes(&program, &train, &parameters, BATCH), run_passes(&program, &predict, &parameters, BATCH));
    assert_eq!(bits(&one.output), bits(&two.output));
}

#[test]
fn packing_in_half_precision_keeps_the_bits_and_halves_the_bytes_where_that_is_fast() {
    let single = Arc::new(network());
    let half = Arc::new(network().with_precision(Precision::Fp16));
    let master = Replica::new(Arc::clone(&half), Arc::new(half.plan(Purpose::Predict, 1)), 3).initial_parameters();
    let mut parameters = master.clone();
    half.cast_parameters(&master, &mut parameters);
    let plan = |purpose| Arc::new(half.plan(purpose, BATCH));
    let (train, predict) = (plan(Purpose::Train), plan(Purpose::Predict));
    for size in [1, BATCH] {
        let (one, two) = (run_passes(&half, &train, &parameters, size), run_passes(&half, &predict, &parameters, size));
        assert_eq!(bits(&one.output), bits(&two.output));
    }
    let (whole, less) = (single.pack(&master).bytes(), half.pack(&parameters).bytes());
    if half_reads_are_fast() {
        assert!(less * 10 < whole * 6, "{less} {whole}");
    } else {
        assert_eq!(less, whole);
    }
}

#[test]
fn packed_parameters_match_programs_that_pack_the_same() {
    let (program, parameters) = network_and_parameters();
    let packed = program.pack(&parameters);
    assert!(packed.matches(&program) && packed.matches(&network()));
    let other = |layers: usize, hidden: usize| {
        let mut builder = Builder::new();
        let mut x = builder.input("x", &[5, 3]).unwrap();
        for layer in 0..layers {
            x = builder.lstm(&format!("lstm.{layer}"), x, hidden).unwrap();
        }
        builder.finish(x).unwrap()
    };
    assert!(packed.matches(&other(2, 8)));
    for (layers, hidden) in [(1, 8), (3, 8), (2, 9)] {
        assert!(!packed.matches(&other(layers, hidden)), "{layers} {hidden}");
    }
}

#[test]
fn recomputation_gives_the_same_bits_in_less_memory() {
    let (program, parameters) = network_and_parameters();
    let save = Arc::new(program.plan(Purpose::Train, BATCH));
    let recompute = Arc::new(program.plan(Purpose::TrainRecompute, BATCH));
    let one = run_passes(&program, &save, &parameters, BATCH);
    let two = run_passes(&program, &recompute, &parameters, BATCH);
    assert_eq!((bits(&one.output), bits(&one.gradients)), (bits(&two.output), bits(&two.gradients)));
    // A block of sequences is recomputed at a time, so it only saves memory with many sequences.
    let bytes = |purpose| program.plan(purpose, 400).bytes();
    let (save, recompute) = (bytes(Purpose::Train), bytes(Purpose::TrainRecompute));
    assert!(recompute * 10 < save * 9, "{recompute} {save}");
}

#[test]
fn micro_batches_give_the_same_outputs_and_the_same_gradients_to_rounding() {
    let (program, parameters) = network_and_parameters();
    let plan = |batch| Arc::new(program.plan(Purpose::Train, batch));
    let whole = run_passes(&program, &plan(BATCH), &parameters, BATCH);
    for size in [1, 2, 4] {
        let parts = run_passes(&program, &plan(size), &parameters, size);
        assert_eq!(bits(&parts.output), bits(&whole.output), "{size}");
        let error = |one: &f32, two: &f32| (one - two).abs() / (1e-3 + two.abs());
        let worst = parts.gradients.iter().zip(&whole.gradients).map(|(a, b)| error(a, b)).fold(0.0, f32::max);
        assert!(worst < 1e-4, "{size}: {worst}");
    }
}

#[test]
fn fused_attention_computes_what_primitive_ops_do_in_less_memory() {
    let (fused, primitive) = (Arc::new(network()), Arc::new(network_of_primitives()));
    let names = |program: &Program| -> Vec<(String, Vec<usize>)> {
        program.parameters().iter().map(|parameter| (parameter.name.clone(), parameter.shape.clone())).collect()
    };
    assert_eq!(names(&fused), names(&primitive));
    let plan = |program: &Program, purpose| Arc::new(program.plan(purpose, BATCH));
    let parameters = network_and_parameters().1;
    for purpose in [Purpose::Train, Purpose::TrainRecompute] {
        let one = run_passes(&fused, &plan(&fused, purpose), &parameters, BATCH);
        let two = run_passes(&primitive, &plan(&primitive, purpose), &parameters, BATCH);
        let worst = |one: &[f32], two: &[f32]| one.iter().zip(two).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(worst(&one.output, &two.output) < 1e-6 && worst(&one.gradients, &two.gradients) < 2e-6);
        assert!(one.gradients.iter().any(|gradient| gradient.abs() > 1e-2));
    }
    // In half precision scores are no longer rounded, so the fused op is at least as close to the exact values.
    let halves = [network(), network_of_primitives()].map(|program| Arc::new(program.with_precision(Precision::Fp16)));
    let exact = run_passes(&fused, &plan(&fused, Purpose::Train), &parameters, BATCH);
    let errors = halves.map(|half| {
        let mut cast = parameters.clone();
        half.cast_parameters(&parameters, &mut cast);
        let ours = run_passes(&half, &plan(&half, Purpose::Train), &cast, BATCH);
        ours.gradients.iter().zip(&exact.gradients).map(|(ours, exact)| f64::from(ours - exact).powi(2)).sum::<f64>()
    });
    assert!(errors[0] > 0.0 && errors[0] < 2.0 * errors[1], "{errors:?}");
    // Weights [heads, steps, steps] are not kept.
    let bytes = |attention: fn(&mut Builder, ValueId) -> ValueId| {
        let mut builder = Builder::new();
        let x = builder.input("x", &[60, 32]).unwrap();
        let y = attention(&mut builder, x);
        builder.finish(y).unwrap().plan(Purpose::Train, 32).bytes()
    };
    let fused = bytes(|builder, x| builder.attention("attention", x, 4).unwrap());
    let primitive = bytes(|builder, x| attention_of_primitives(builder, x, 4));
    assert!(fused * 3 < primitive, "{fused} {primitive}");
}

#[test]
fn the_plan_counts_the_bytes_that_are_allocated() {
    let program = Arc::new(network());
    for batch in [1, 6, 32] {
        let plan = Arc::new(program.plan(Purpose::Train, batch));
        assert_eq!(plan.bytes(), Replica::new(Arc::clone(&program), Arc::clone(&plan), 1).bytes());
    }
}

#[test]
fn a_pass_stops_between_two_ops() {
    let (program, parameters) = network_and_parameters();
    let plan = Arc::new(program.plan(Purpose::Train, 1));
    let mut replica = Replica::new(Arc::clone(&program), plan, 3);
    let micro_batch = MicroBatch { size: 1, offset: 0, training: true, step: 0 };
    let asked = std::sync::atomic::AtomicUsize::new(0);
    let after = |count: usize| move || asked.fetch_add(1, std::sync::atomic::Ordering::Relaxed) >= count;
    let stop = after(5);
    assert!(!replica.forward_until(&parameters, micro_batch, &stop));
    assert!(replica.forward_until(&parameters, micro_batch, &|| false));
    let mut gradients = vec![0.0; parameters.len()];
    assert!(!replica.backward_until(&parameters, &[1.0; 4], &mut gradients, micro_batch, &|| true));
    assert!(replica.backward_until(&parameters, &[1.0; 4], &mut gradients, micro_batch, &|| false));
}
