//! Which values of a program depend on the date of a step alone. The last rows of a plane at two dates that lie close share
//! most of their rows, and so does what is computed from them row by row; an LSTM over such rows need not compute the same
//! product for each date that sees a row.

use crate::ops::Op;
use crate::program::{InputSource, Program, ValueSource};

/// Per node, whether it is an LSTM over rows `[steps, inputs]` that depend on their date alone.
pub(super) fn lstms_by_date(program: &Program) -> Vec<bool> {
    // Per node, whether its output is `[steps, …]` with rows that depend on their date alone.
    let mut by_date: Vec<bool> = Vec::new();
    let mut out = Vec::new();
    for node in program.nodes() {
        let is_by_date = |operand: usize| {
            node.operands.get(operand).is_some_and(|value| match value.source {
                ValueSource::Input(input) => {
                    let input = &program.inputs()[input];
                    matches!(input.source, InputSource::Trailing { .. }) && input.shape.len() == 2
                }
                ValueSource::Node(node) => by_date[node],
                ValueSource::Parameter(_) => false,
            })
        };
        let rank = node.operands.first().map_or(0, |value| value.shape.len());
        let all = (0..node.operands.len()).all(is_by_date);
        // A parameter of one axis is the same in each row.
        let is_row = |operand: usize| {
            node.operands.get(operand).is_some_and(|value| !value.is_batched && value.shape.len() <= 1)
        };
        let rows_stay = match node.op {
            Op::Activation(_) | Op::Elementwise(_) | Op::Scale(_) => is_by_date(0),
            Op::Arithmetic(_) => all || (is_by_date(0) && is_row(1)) || (is_row(0) && is_by_date(1)),
            Op::Concat(concat) => concat.axis == 1 && rank == 2 && all,
            Op::Slice(slice) => slice.axis == 1 && is_by_date(0),
            Op::Linear(_) | Op::LayerNorm(_) => is_by_date(0) && rank == 2,
            Op::Softmax(_) => is_by_date(0) && node.operands.len() == 1,
            Op::Conv1d(_)
            | Op::Dropout(_)
            | Op::Lstm(_)
            | Op::MatMul(_)
            | Op::Reduce(_)
            | Op::Reshape(_)
            | Op::Attention(_)
            | Op::Transpose(_) => false,
        };
        out.push(matches!(node.op, Op::Lstm(_)) && is_by_date(0) && rank == 2);
        by_date.push(rows_stay);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::lstms_by_date;
    use crate::ops::{Activation, Concat, Transpose};
    use crate::program::{Builder, InputSource, Plane};

    #[test]
    fn an_lstm_over_rows_of_planes_goes_by_date_and_the_one_above_it_does_not() {
        let mut builder = Builder::new();
        let trailing = |plane| InputSource::Trailing { plane, rows: 6 };
        let returns = builder.input_from("returns", &[6, 3], trailing(Plane::Returns)).unwrap();
        let known = builder.input_from("known", &[6, 3], trailing(Plane::Known)).unwrap();
        let given = builder.input("given", &[6, 3]).unwrap();
        let both = builder.op(Concat { axis: 1 }, &[returns, known]).unwrap();
        let bent = builder.activation(both, Activation::Tanh).unwrap();
        let first = builder.lstm("first", bent, 4).unwrap();
        let second = builder.lstm("second", first, 4).unwrap();
        let dropped = builder.dropout(returns, 0.5).unwrap();
        let third = builder.lstm("third", dropped, 4).unwrap();
        let fourth = builder.lstm("fourth", given, 4).unwrap();
        let turned = builder.op(Transpose { order: vec![1, 0] }, &[returns]).unwrap();
        let fifth = builder.lstm("fifth", turned, 4).unwrap();
        let rows = builder.op(Concat { axis: 0 }, &[second, third, fourth, fifth]).unwrap();
        let y = builder.linear("head", rows, 1).unwrap();
        let program = builder.finish(y).unwrap();
        let found: Vec<bool> = lstms_by_date(&program)
            .into_iter()
            .zip(program.nodes())
            .filter(|(_, node)| node.op.name() == "lstm")
            .map(|(by_date, _)| by_date)
            .collect();
        assert_eq!(found, [true, false, false, false, false]);
    }
}
