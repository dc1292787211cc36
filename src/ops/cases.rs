//! Cases that every op brings with it: shapes, an exact reference in double precision, and how near the op must come. Tests,
//! benches and other devices iterate the table.

use super::{
    Op, Operand, activation, arithmetic, dropout, linear, lstm, matmul, movement, normalization, reduction, softmax,
};

/// How the numbers of an operand are drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CaseValues {
    /// Uniform in [-1, 1).
    Uniform,
    /// 0 or 1; no gradient is asked for.
    Mask,
}

/// Exact values of the output, from those of the operands, `batch` samples.
pub type Reference = Box<dyn Fn(&[Vec<f64>], usize) -> Vec<f64>>;

/// One case.
pub struct Case {
    /// What is special about it.
    pub name: &'static str,
    /// The op.
    pub op: Box<dyn Op>,
    /// Its operands, and how they are drawn.
    pub operands: Vec<(Operand, CaseValues)>,
    /// The exact values.
    pub reference: Reference,
    /// Largest |difference| of a value; gradients may differ by ten times as much.
    pub tolerance: f64,
}

impl Case {
    pub(super) fn new(
        name: &'static str,
        op: impl Op + 'static,
        operands: Vec<(Operand, CaseValues)>,
        reference: impl Fn(&[Vec<f64>], usize) -> Vec<f64> + 'static,
    ) -> Self {
        Self { name, op: Box::new(op), operands, reference: Box::new(reference), tolerance: 2e-6 }
    }
}

/// One for each sample, uniform.
pub(super) fn batched(shape: &[usize]) -> (Operand, CaseValues) {
    (Operand::batched(shape), CaseValues::Uniform)
}

/// One for all samples, uniform.
pub(super) fn shared(shape: &[usize]) -> (Operand, CaseValues) {
    (Operand::shared(shape), CaseValues::Uniform)
}

/// Makes the cases of one op.
pub type Cases = fn() -> Vec<Case>;

/// Every op.
pub static TABLE: &[(&str, Cases)] = &[
    ("activation", activation::cases),
    ("arithmetic", arithmetic::cases),
    ("dropout", dropout::cases),
    ("linear", linear::cases),
    ("lstm", lstm::cases),
    ("matmul", matmul::cases),
    ("movement", movement::cases),
    ("normalization", normalization::cases),
    ("reduction", reduction::cases),
    ("softmax", softmax::cases),
];

#[cfg(test)]
mod tests {
    use super::super::{Backward, Call, Forward, Operand};
    use super::{Case, CaseValues, TABLE};
    use crate::random::Random;

    const BATCH: usize = 3;

    struct Numbers {
        inputs: Vec<Vec<f32>>,
        output: Operand,
        output_grad: Vec<f32>,
    }

    fn numbers(case: &Case) -> Numbers {
        let operands: Vec<Operand> = case.operands.iter().map(|(operand, _)| operand.clone()).collect();
        let shape = case.op.shape(&operands).unwrap();
        let output = Operand { shape, batched: operands.iter().any(|operand| operand.batched) };
        let draw = |stream: u32, count: usize, fill: CaseValues| -> Vec<f32> {
            let random = Random::new(3, stream, 0);
            let one = |place| match fill {
                CaseValues::Uniform => random.uniform(place) * 2.0 - 1.0,
                CaseValues::Mask => f32::from(u8::from(random.uniform(place) < 0.7)),
            };
            (0..count as u64).map(one).collect()
        };
        let inputs = case.operands.iter().enumerate();
        let inputs = inputs.map(|(at, (operand, fill))| draw(at as u32, operand.size(BATCH), *fill)).collect();
        Numbers { inputs, output_grad: draw(99, output.size(BATCH), CaseValues::Uniform), output }
    }

    /// Output and gradients of samples `first..first + batch`.
    fn passes(case: &Case, numbers: &Numbers, first: usize, batch: usize) -> (Vec<f32>, Vec<Vec<f32>>) {
        let operands: Vec<Operand> = case.operands.iter().map(|(operand, _)| operand.clone()).collect();
        let call = Call {
            operands: &operands,
            output: &numbers.output,
            batch,
            training: true,
            half: false,
            random: Random::new(5, 1, 2),
            first,
        };
        let part = |operand: &Operand, data: &[f32]| -> Vec<f32> {
            if operand.batched {
                data[first * operand.count()..][..operand.size(batch)].to_vec()
            } else {
                data.to_vec()
            }
        };
        let inputs: Vec<Vec<f32>> = operands.iter().zip(&numbers.inputs).map(|(o, data)| part(o, data)).collect();
        let inputs: Vec<&[f32]> = inputs.iter().map(Vec::as_slice).collect();
        let room = case.op.workspace(&operands, &numbers.output, batch);
        let mut output = vec![f32::NAN; numbers.output.size(batch)];
        let (mut saved, mut scratch) = (vec![f32::NAN; room.saved], vec![f32::NAN; room.forward]);
        case.op.forward(&mut Forward {
            call,
            inputs: &inputs,
            output: &mut output,
            saved: &mut saved,
            scratch: &mut scratch,
            packed: None,
        });
        // What a program would not keep is not there.
        let uses = case.op.uses();
        let kept: Vec<&[f32]> =
            inputs.iter().enumerate().map(|(at, input)| if uses.inputs[at] { *input } else { &[] }).collect();
        let mut gradients: Vec<Vec<f32>> = operands
            .iter()
            .zip(&case.operands)
            .map(
                |(operand, (_, fill))| {
                    if *fill == CaseValues::Mask { Vec::new() } else { vec![0.0; operand.size(batch)] }
                },
            )
            .collect();
        let mut scratch = vec![f32::NAN; room.backward];
        let gradient = part(&numbers.output, &numbers.output_grad);
        let mut views: Vec<&mut [f32]> = gradients.iter_mut().map(Vec::as_mut_slice).collect();
        case.op.backward(&mut Backward {
            call,
            inputs: &kept,
            output: if uses.output { &output } else { &[] },
            saved: &saved,
            scratch: &mut scratch,
            gradient: &gradient,
            gradients: &mut views,
        });
        (output, gradients)
    }

    fn each(mut check: impl FnMut(&str, &Case, &Numbers)) {
        let mut cases = 0;
        for (name, made) in TABLE {
            for case in made() {
                check(name, &case, &numbers(&case));
                cases += 1;
            }
        }
        println!("{cases} cases");
        assert!(cases >= TABLE.len());
    }

    #[test]
    fn values_are_those_of_the_reference() {
        each(|name, case, numbers| {
            let exact: Vec<Vec<f64>> =
                numbers.inputs.iter().map(|input| input.iter().map(|value| f64::from(*value)).collect()).collect();
            let (ours, expected) = (passes(case, numbers, 0, BATCH).0, (case.reference)(&exact, BATCH));
            assert_eq!(ours.len(), expected.len(), "{name}, {}", case.name);
            for (place, (ours, expected)) in ours.iter().zip(&expected).enumerate() {
                let apart = (f64::from(*ours) - expected).abs();
                assert!(apart <= case.tolerance, "{name}, {}, {place}: {ours}, expected {expected}", case.name);
            }
        });
    }

    #[test]
    fn gradients_are_the_slopes_of_the_reference() {
        each(|name, case, numbers| {
            let mut exact: Vec<Vec<f64>> =
                numbers.inputs.iter().map(|input| input.iter().map(|value| f64::from(*value)).collect()).collect();
            let loss = |exact: &[Vec<f64>]| -> f64 {
                let values = (case.reference)(exact, BATCH);
                values.iter().zip(&numbers.output_grad).map(|(value, weight)| value * f64::from(*weight)).sum()
            };
            let ours = passes(case, numbers, 0, BATCH).1;
            for (operand, gradient) in ours.iter().enumerate() {
                for (place, ours) in gradient.iter().enumerate() {
                    const STEP: f64 = 1e-5;
                    let middle = exact[operand][place];
                    exact[operand][place] = middle + STEP;
                    let above = loss(&exact);
                    exact[operand][place] = middle - STEP;
                    let below = loss(&exact);
                    exact[operand][place] = middle;
                    let slope = (above - below) / (2.0 * STEP);
                    let near = 1e-5 * slope.abs().max(1.0);
                    assert!(
                        (f64::from(*ours) - slope).abs() <= near.max(10.0 * case.tolerance),
                        "{name}, {}, operand {operand}, {place}: {ours}, expected {slope}",
                        case.name
                    );
                }
            }
        });
    }

    #[test]
    fn a_sample_has_the_same_bits_in_any_micro_batch() {
        each(|name, case, numbers| {
            let (whole, gradients) = passes(case, numbers, 0, BATCH);
            if !numbers.output.batched {
                return;
            }
            for (first, batch) in [(0, 1), (1, 2), (2, 1)] {
                let (part, of_part) = passes(case, numbers, first, batch);
                let count = numbers.output.count();
                let same = |one: &[f32], two: &[f32]| one.iter().zip(two).all(|(a, b)| a.to_bits() == b.to_bits());
                assert!(same(&part, &whole[first * count..][..part.len()]), "{name}, {}", case.name);
                for ((operand, _), (part, whole)) in case.operands.iter().zip(of_part.iter().zip(&gradients)) {
                    if operand.batched && !whole.is_empty() {
                        assert!(same(part, &whole[first * operand.count()..][..part.len()]), "{name}, {}", case.name);
                    }
                }
            }
        });
    }

    #[test]
    fn the_same_call_gives_the_same_bits_again() {
        each(|name, case, numbers| {
            let bits = |(output, gradients): (Vec<f32>, Vec<Vec<f32>>)| -> Vec<u32> {
                output.iter().chain(gradients.iter().flatten()).map(|value| value.to_bits()).collect()
            };
            let (one, two) = (bits(passes(case, numbers, 0, BATCH)), bits(passes(case, numbers, 0, BATCH)));
            assert!(one == two, "{name}, {}", case.name);
        });
    }
}
