//! Checks every case of every op: values, gradients, and bits that do not depend on the micro-batch.

use super::case::{Case, CaseValues};
use super::table::CASES;
use super::{Backward, Call, Forward, Operand, from_name};
use crate::random::Random;

const BATCH: usize = 3;

struct Tensors {
    inputs: Vec<Vec<f32>>,
    output: Operand,
    output_grad: Vec<f32>,
}

impl Tensors {
    fn draw(case: &Case) -> Self {
        let operands: Vec<Operand> = case.operands.iter().map(|(operand, _)| operand.clone()).collect();
        let shape = case.op.rule().shape(&operands).unwrap_or_else(|error| panic!("op '{}' {error}", case.op.name()));
        let output = Operand { shape, batched: operands.iter().any(|operand| operand.batched) };
        let draw = |stream: u32, count: usize, values: CaseValues| -> Vec<f32> {
            let random = Random::new(3, stream, 0);
            let value = |position| match values {
                CaseValues::Uniform => random.uniform(position) * 2.0 - 1.0,
                CaseValues::Positive => random.uniform(position) + 0.5,
                CaseValues::Mask => f32::from(u8::from(random.uniform(position) < 0.7)),
            };
            (0..count as u64).map(value).collect()
        };
        let inputs = case.operands.iter().zip(0..);
        let inputs = inputs.map(|((operand, values), stream)| draw(stream, operand.size(BATCH), *values)).collect();
        Self { inputs, output_grad: draw(99, output.size(BATCH), CaseValues::Uniform), output }
    }

    fn exact_inputs(&self) -> Vec<Vec<f64>> {
        self.inputs.iter().map(|input| input.iter().map(|value| f64::from(*value)).collect()).collect()
    }
}

/// Output and gradients of the samples `first..first + batch`.
fn run_passes(case: &Case, tensors: &Tensors, first: usize, batch: usize) -> (Vec<f32>, Vec<Vec<f32>>) {
    let operands: Vec<Operand> = case.operands.iter().map(|(operand, _)| operand.clone()).collect();
    let call = Call {
        operands: &operands,
        output: &tensors.output,
        batch,
        training: true,
        half: false,
        random: Random::new(5, 1, 2),
        offset: first,
        scalar: case.op.rule().scalar().map_or(0.0, |(_, value)| value),
        dates: None,
    };
    let samples = |operand: &Operand, values: &[f32]| -> Vec<f32> {
        if operand.batched {
            values[first * operand.count()..][..operand.size(batch)].to_vec()
        } else {
            values.to_vec()
        }
    };
    let inputs: Vec<Vec<f32>> = operands.iter().zip(&tensors.inputs).map(|(x, values)| samples(x, values)).collect();
    let inputs: Vec<&[f32]> = inputs.iter().map(Vec::as_slice).collect();
    let workspace = case.op.cpu().workspace(&operands, &tensors.output, batch);
    let mut output = vec![f32::NAN; tensors.output.size(batch)];
    let (mut saved, mut scratch) = (vec![f32::NAN; workspace.saved], vec![f32::NAN; workspace.forward]);
    case.op.cpu().forward(&mut Forward {
        call,
        inputs: &inputs,
        output: &mut output,
        saved: &mut saved,
        scratch: &mut scratch,
        packed: None,
    });
    // The backward pass gets only what the op says that it uses.
    let uses = case.op.rule().uses();
    let used = inputs.iter().zip(uses.inputs).map(|(input, is_used)| if is_used { *input } else { &[] });
    let used: Vec<&[f32]> = used.collect();
    let zeros = |(operand, values): &(Operand, CaseValues)| match values {
        CaseValues::Uniform | CaseValues::Positive => vec![0.0; operand.size(batch)],
        CaseValues::Mask => Vec::new(),
    };
    let mut gradients: Vec<Vec<f32>> = case.operands.iter().map(zeros).collect();
    let mut input_grads: Vec<&mut [f32]> = gradients.iter_mut().map(Vec::as_mut_slice).collect();
    case.op.cpu().backward(&mut Backward {
        call,
        inputs: &used,
        output: if uses.output { &output } else { &[] },
        saved: &saved,
        scratch: &mut vec![f32::NAN; workspace.backward],
        output_grad: &samples(&tensors.output, &tensors.output_grad),
        input_grads: &mut input_grads,
    });
    (output, gradients)
}

/// Calls `check` with a name and the tensors of every case.
fn for_each_case(mut check: impl FnMut(&str, &Case, &Tensors)) {
    let mut count = 0;
    for (file, cases) in CASES {
        for case in cases() {
            check(&format!("{file}, {}", case.name), &case, &Tensors::draw(&case));
            count += 1;
        }
    }
    println!("{count} cases");
    assert!(count >= CASES.len());
}

#[test]
fn values_equal_the_reference() {
    for_each_case(|name, case, tensors| {
        let ours = run_passes(case, tensors, 0, BATCH).0;
        let expected = (case.reference)(&tensors.exact_inputs(), BATCH);
        assert_eq!(ours.len(), expected.len(), "{name}");
        for (index, (ours, expected)) in ours.iter().zip(&expected).enumerate() {
            let error = (f64::from(*ours) - expected).abs();
            assert!(error <= case.tolerance, "{name}, {index}: {ours}, expected {expected}");
        }
    });
}

#[test]
fn gradients_equal_central_differences_of_the_reference() {
    for_each_case(|name, case, tensors| {
        let mut exact = tensors.exact_inputs();
        let loss = |exact: &[Vec<f64>]| -> f64 {
            let values = (case.reference)(exact, BATCH);
            values.iter().zip(&tensors.output_grad).map(|(value, grad)| value * f64::from(*grad)).sum()
        };
        let gradients = run_passes(case, tensors, 0, BATCH).1;
        for (operand, gradient) in gradients.iter().enumerate() {
            for (index, ours) in gradient.iter().enumerate() {
                const STEP: f64 = 1e-5;
                let value = exact[operand][index];
                exact[operand][index] = value + STEP;
                let above = loss(&exact);
                exact[operand][index] = value - STEP;
                let below = loss(&exact);
                exact[operand][index] = value;
                let slope = (above - below) / (2.0 * STEP);
                let tolerance = (1e-5 * slope.abs().max(1.0)).max(10.0 * case.tolerance);
                assert!(
                    (f64::from(*ours) - slope).abs() <= tolerance,
                    "{name}, operand {operand}, {index}: {ours}, expected {slope}"
                );
            }
        }
    });
}

#[test]
fn a_sample_has_the_same_bits_in_any_micro_batch() {
    let same = |one: &[f32], two: &[f32]| one.iter().zip(two).all(|(a, b)| a.to_bits() == b.to_bits());
    for_each_case(|name, case, tensors| {
        let (whole, gradients) = run_passes(case, tensors, 0, BATCH);
        for (first, batch) in [(0, 1), (1, 2), (2, 1)] {
            let (part, part_gradients) = run_passes(case, tensors, first, batch);
            let start = if tensors.output.batched { first * tensors.output.count() } else { 0 };
            assert!(same(&part, &whole[start..][..part.len()]), "{name}");
            for ((operand, _), (part, whole)) in case.operands.iter().zip(part_gradients.iter().zip(&gradients)) {
                if operand.batched && !whole.is_empty() {
                    assert!(same(part, &whole[first * operand.count()..][..part.len()]), "{name}");
                }
            }
        }
    });
}

#[test]
fn a_nan_in_any_operand_reaches_the_output() {
    for_each_case(|name, case, tensors| {
        for (operand, (_, values)) in case.operands.iter().enumerate() {
            if *values == CaseValues::Mask {
                continue;
            }
            let inputs = tensors.inputs[operand].len();
            let reached = (0..inputs).filter(|index| {
                let mut with_nan = Tensors::draw(case);
                with_nan.inputs[operand][*index] = f32::NAN;
                run_passes(case, &with_nan, 0, BATCH).0.iter().any(|value| value.is_nan())
            });
            // Dropout, a slice, a stride and a mask leave elements out; all other ops must pass on each of them.
            let (reached, expected) = (reached.count(), if is_selective(case) { 1 } else { inputs });
            assert!(reached >= expected, "{name}, operand {operand}: {reached} of {inputs}");
        }
    });
}

/// Whether the op of a case leaves out elements of its operands.
fn is_selective(case: &Case) -> bool {
    let has_mask = case.operands.iter().any(|(_, values)| *values == CaseValues::Mask);
    has_mask || ["conv1d", "dropout", "slice"].contains(&case.op.name())
}

#[test]
fn repeated_calls_give_the_same_bits() {
    for_each_case(|name, case, tensors| {
        let bits = |(output, gradients): (Vec<f32>, Vec<Vec<f32>>)| -> Vec<u32> {
            output.iter().chain(gradients.iter().flatten()).map(|value| value.to_bits()).collect()
        };
        let (one, two) = (bits(run_passes(case, tensors, 0, BATCH)), bits(run_passes(case, tensors, 0, BATCH)));
        assert!(one == two, "{name}");
    });
}

#[test]
fn attributes_that_make_values_or_gradients_wrong_are_refused() {
    const SLOPE: &str = "takes a finite slope of at least 0, found";
    const SCALE: &str = "takes a finite factor and offset, found";
    const EPSILON: &str = "takes a finite epsilon above 0, found";
    const CLIP: &str = "takes finite bounds min and max, or one of them, with min <= max, found";
    const SHARE: &str = "takes a share from 0 to below 1, found";
    let x = Operand::batched(&[2, 3]);
    let row = Operand::shared(&[3]);
    let shape = |name: &str, attributes: &str| {
        let op = from_name(name, attributes).unwrap_or_else(|error| panic!("op '{name}' {error}"));
        if name == "layer_norm" {
            op.rule().shape(&[x.clone(), row.clone(), row.clone()])
        } else {
            op.rule().shape(std::slice::from_ref(&x))
        }
    };
    for (name, attributes, message) in [
        ("leaky_relu", "slope=-0.5", format!("{SLOPE} -0.5")),
        ("leaky_relu", "slope=inf", format!("{SLOPE} inf")),
        ("leaky_relu", "slope=NaN", format!("{SLOPE} NaN")),
        ("scale", "factor=inf offset=0", format!("{SCALE} inf and 0")),
        ("scale", "factor=1 offset=NaN", format!("{SCALE} 1 and NaN")),
        ("layer_norm", "epsilon=0", format!("{EPSILON} 0")),
        ("layer_norm", "epsilon=-0.00001", format!("{EPSILON} -0.00001")),
        ("layer_norm", "epsilon=NaN", format!("{EPSILON} NaN")),
        ("layer_norm", "epsilon=inf", format!("{EPSILON} inf")),
        ("dropout", "share=-0.1", format!("{SHARE} -0.1")),
        ("dropout", "share=1", format!("{SHARE} 1")),
        ("dropout", "share=NaN", format!("{SHARE} NaN")),
        ("clip", "", format!("{CLIP} -inf and inf")),
        ("clip", "min=1 max=0", format!("{CLIP} 1 and 0")),
        ("clip", "min=NaN", format!("{CLIP} NaN and inf")),
    ] {
        assert_eq!(shape(name, attributes), Err(message), "{name} {attributes}");
    }
    for (name, attributes) in [
        ("leaky_relu", "slope=0"),
        ("leaky_relu", "slope=0.2"),
        ("scale", "factor=-1.5 offset=0.25"),
        ("layer_norm", "epsilon=1e-30"),
        ("dropout", "share=0"),
        ("dropout", "share=0.95"),
        ("clip", "max=0"),
        ("clip", "min=-1 max=-1"),
    ] {
        assert_eq!(shape(name, attributes), Ok(vec![2, 3]), "{name} {attributes}");
    }
}
