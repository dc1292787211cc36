//! The reference: an engine in double precision, naive on purpose, that computes what [`Program::nodes`] says and nothing
//! else. Other engines are compared with it. What it holds stays behind handles, as it would on a device.

mod ops;
mod tape;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use ops::{Call, Tensor, apply};
use tape::{Tape, Var};

use super::{
    Decay, Engine, EpochWork, Hyperparameters, InputData, Planes, State, StateSelection, Stop, Tables, WindowView,
};
use crate::error::{Code, Error, Result, fail};
use crate::objective::Objective;
use crate::program::{Program, ValueSource};
use crate::random::Random;

/// A buffer of the engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Handle(usize);

/// The engine's memory.
#[derive(Default)]
struct Memory {
    buffers: BTreeMap<Handle, Vec<f64>>,
    next: usize,
}

impl Memory {
    fn store(&mut self, values: &[f32]) -> Handle {
        self.next += 1;
        self.buffers.insert(Handle(self.next), values.iter().map(|value| f64::from(*value)).collect());
        Handle(self.next)
    }

    fn load(&self, handle: Handle) -> Vec<f32> {
        self.buffers[&handle].iter().map(|value| *value as f32).collect()
    }
}

/// A replica: handles of its tensors.
struct Slot {
    view: Arc<WindowView>,
    tables: Arc<Tables>,
    hyperparameters: Hyperparameters,
    parameters: Handle,
    first: Handle,
    second: Handle,
    steps: u32,
}

/// The reference engine, for programs in single precision, which it computes in double precision.
pub(crate) struct ReferenceEngine {
    program: Arc<Program>,
    objective: Objective,
    planes: Option<Arc<Planes>>,
    slots: BTreeMap<usize, Slot>,
    memory: Memory,
}

impl ReferenceEngine {
    pub(crate) fn new(program: Arc<Program>, objective: Objective) -> Self {
        Self { program, objective, planes: None, slots: BTreeMap::new(), memory: Memory::default() }
    }

    fn slot(&self, slot: usize) -> Result<&Slot> {
        match self.slots.get(&slot) {
            Some(slot) => Ok(slot),
            None => fail!(Internal, "there is no replica in slot {slot}"),
        }
    }

    /// Runs the program on some samples; returns its parameters and its output.
    fn run(&self, tape: &mut Tape, slot: &Slot, samples: &[u32], is_training: bool) -> Result<(Vec<Var>, Tensor)> {
        let Some(planes) = &self.planes else { fail!(Internal, "no planes were loaded") };
        let program = &self.program;
        let parameters: Vec<Var> =
            self.memory.buffers[&slot.parameters].iter().map(|value| tape.number(*value)).collect();
        let data = InputData {
            planes: planes.view(),
            normalizer: &slot.view.normalizer,
            tables: &slot.tables,
            end: slot.view.end(),
        };
        let inputs: Vec<Tensor> = program
            .inputs()
            .iter()
            .map(|input| {
                let mut line = vec![0.0; input.shape.iter().product()];
                let mut values = Vec::new();
                for sample in samples.iter().map(|sample| *sample as usize) {
                    data.fill(&input.source, slot.view.row(sample), slot.view.slots_of(sample), &mut line);
                    values.extend(line.iter().map(|value| tape.number(f64::from(*value))));
                }
                Tensor { shape: input.shape.clone(), is_batched: true, values }
            })
            .collect();
        let mut outputs: Vec<Tensor> = Vec::new();
        for (index, node) in program.nodes().enumerate() {
            let operand = |source: ValueSource| match source {
                ValueSource::Input(input) => inputs[input].clone(),
                ValueSource::Node(node) => outputs[node].clone(),
                ValueSource::Parameter(parameter) => {
                    let parameter = &program.parameters()[parameter];
                    let values = parameters[parameter.offset..][..parameter.count()].to_vec();
                    Tensor { shape: parameter.shape.clone(), is_batched: false, values }
                }
            };
            let operands: Vec<Tensor> = node.operands.iter().map(|value| operand(value.source)).collect();
            let random = Random::new(slot.hyperparameters.seed, index as u32, slot.steps);
            let (shape, is_batched, samples) = (node.output.shape, node.output.is_batched, samples.len());
            let scalar = f64::from(slot.hyperparameters.scalars[index]);
            let call = Call { shape, is_batched, samples, is_training, random, scalar };
            outputs.push(apply(tape, node.op, &operands, &call));
        }
        match program.output().source {
            ValueSource::Node(node) => Ok((parameters, outputs.swap_remove(node))),
            _ => fail!(Internal, "the output of a program is that of an op"),
        }
    }

    /// The loss of a batch.
    fn loss(&self, tape: &mut Tape, slot: &Slot, samples: &[u32], output: &Tensor) -> Result<Var> {
        let Some(planes) = &self.planes else { fail!(Internal, "no planes were loaded") };
        let per_sample: usize = output.shape.iter().product();
        let mut labels = vec![0.0; per_sample];
        let mut rows: Vec<Vec<(Var, f64)>> = Vec::new();
        let assets = output.shape.last().copied().unwrap_or(1);
        for (index, sample) in samples.iter().enumerate() {
            slot.view.labels(planes, *sample as usize, &mut labels);
            for (weights, labels) in output.of(index).chunks(assets).zip(labels.chunks(assets)) {
                rows.push(weights.iter().zip(labels).map(|(weight, label)| (*weight, f64::from(*label))).collect());
            }
        }
        if self.objective == Objective::MeanSquare {
            let known: Vec<(Var, f64)> = rows.into_iter().flatten().filter(|(_, label)| label.is_finite()).collect();
            let count = known.len().max(1) as f64;
            let squares: Vec<Var> = known
                .into_iter()
                .map(|(value, label)| {
                    let difference = tape.scale(value, 1.0, -label);
                    tape.mul(difference, difference)
                })
                .collect();
            let sum = tape.sum(squares);
            return Ok(tape.scale(sum, 1.0 / count, 0.0));
        }
        let mut returns: Vec<Var> = rows
            .iter()
            .map(|row| {
                let terms: Vec<Var> = row
                    .iter()
                    .map(|(weight, label)| tape.scale(*weight, if label.is_finite() { *label } else { 0.0 }, 0.0))
                    .collect();
                tape.sum(terms)
            })
            .collect();
        let cost = slot.hyperparameters.turnover;
        let dates = per_sample / assets;
        for row in 1..rows.len() {
            let (now, before) = (row / dates, (row - 1) / dates);
            let view_row = |index: usize| slot.view.row(samples[index] as usize);
            let follows = now == before || dates == 1 && view_row(now) == view_row(before) + 1;
            if cost > 0.0 && follows {
                let traded = traded(tape, slot, (samples[before], &rows[row - 1]), (samples[now], &rows[row]));
                let charge = tape.scale(traded, -cost, 0.0);
                returns[row] = tape.add(returns[row], charge);
            }
        }
        let count = returns.len() as f64;
        let sum = tape.sum(returns.iter().copied());
        let mean = tape.scale(sum, 1.0 / count, 0.0);
        let centred: Vec<Var> = returns.iter().map(|value| tape.sub(*value, mean)).collect();
        let squares = tape.dot(centred.iter().map(|value| (*value, *value)));
        let variance = tape.scale(squares, 1.0 / (count - 1.0), 0.0);
        let deviation = tape.sqrt(variance);
        let denominator = tape.scale(deviation, 1.0, 1e-6);
        let ratio = tape.div(mean, denominator);
        Ok(tape.scale(ratio, -1.0, 0.0))
    }

    /// Takes an optimiser step.
    fn step(&mut self, index: usize, samples: &[u32], learning_rate: f64) -> Result<f64> {
        let mut tape = Tape::default();
        let slot = self.slot(index)?;
        let (parameters, output) = self.run(&mut tape, slot, samples, true)?;
        let loss = self.loss(&mut tape, slot, samples, &output)?;
        let mut gradients = tape.gradients(loss, &parameters);
        let norm = gradients.iter().map(|value| value * value).sum::<f64>().sqrt();
        let Hyperparameters { adam, clip_norm, .. } = slot.hyperparameters;
        let clip = (clip_norm / (norm + 1e-6)).min(1.0);
        for gradient in &mut gradients {
            *gradient *= clip;
        }
        let (handles, steps) = ([slot.parameters, slot.first, slot.second], slot.steps + 1);
        let mut tensors = handles.map(|handle| self.memory.buffers[&handle].clone());
        let [parameters, first, second] = &mut tensors;
        let correction = |beta: f64| 1.0 - beta.powi(steps as i32);
        for (index, gradient) in gradients.into_iter().enumerate() {
            let mut gradient = gradient;
            match adam.decay {
                Decay::Gradient => gradient += adam.weight_decay * parameters[index],
                Decay::Decoupled => parameters[index] *= 1.0 - learning_rate * adam.weight_decay,
            }
            first[index] = adam.betas.0 * first[index] + (1.0 - adam.betas.0) * gradient;
            second[index] = adam.betas.1 * second[index] + (1.0 - adam.betas.1) * gradient * gradient;
            let root = (second[index] / correction(adam.betas.1)).sqrt() + adam.epsilon;
            parameters[index] -= learning_rate * first[index] / correction(adam.betas.0) / root;
        }
        for (handle, tensor) in handles.into_iter().zip(tensors) {
            self.memory.buffers.insert(handle, tensor);
        }
        if let Some(slot) = self.slots.get_mut(&index) {
            slot.steps = steps;
        }
        Ok(tape.value(loss))
    }
}

/// Σ|Δw| between two rows, asset by asset.
fn traded(tape: &mut Tape, slot: &Slot, before: (u32, &[(Var, f64)]), now: (u32, &[(Var, f64)])) -> Var {
    let by_column = |(sample, row): (u32, &[(Var, f64)])| -> BTreeMap<i32, Var> {
        let slots = slot.view.slots_of(sample as usize).iter().zip(row);
        slots.filter(|(column, _)| **column >= 0).map(|(column, (weight, _))| (*column, *weight)).collect()
    };
    let (before, now) = (by_column(before), by_column(now));
    let zero = tape.number(0.0);
    let columns: std::collections::BTreeSet<&i32> = before.keys().chain(now.keys()).collect();
    let changes: Vec<Var> = columns
        .into_iter()
        .map(|column| {
            let of = |row: &BTreeMap<i32, Var>| row.get(column).copied().unwrap_or(zero);
            let change = tape.sub(of(&now), of(&before));
            tape.abs(change)
        })
        .collect();
    tape.sum(changes)
}

impl Engine for ReferenceEngine {
    fn load(&mut self, planes: &Arc<Planes>) -> Result<()> {
        self.planes = Some(Arc::clone(planes));
        Ok(())
    }

    fn begin(
        &mut self,
        slot: usize,
        view: &Arc<WindowView>,
        tables: &Arc<Tables>,
        hyperparameters: Hyperparameters,
        state: State,
    ) -> Result<()> {
        if state.loss_scale.is_some() {
            fail!(Internal, "the reference has no half precision");
        }
        let [parameters, first, second] =
            [&state.parameters, &state.first, &state.second].map(|tensor| self.memory.store(tensor));
        let (view, tables) = (Arc::clone(view), Arc::clone(tables));
        self.slots.insert(slot, Slot { view, tables, hyperparameters, parameters, first, second, steps: state.steps });
        Ok(())
    }

    fn epoch(&mut self, work: &mut [EpochWork], stop: &Stop) -> Result<()> {
        for work in work {
            while let Some(batch) = work.batches.get(work.cursor).cloned() {
                if stop() {
                    return Err(Error::new(Code::Cancelled, "training was cancelled; further steps continue it"));
                }
                work.loss += self.step(work.slot, &batch, work.learning_rate)?;
                work.cursor += 1;
            }
        }
        Ok(())
    }

    fn predict(&mut self, slot: usize, samples: &[u32], out: &mut [f32], _stop: &Stop) -> Result<()> {
        let mut tape = Tape::default();
        let (_, output) = self.run(&mut tape, self.slot(slot)?, samples, false)?;
        for (out, value) in out.iter_mut().zip(&output.values) {
            *out = tape.value(*value) as f32;
        }
        Ok(())
    }

    fn read(&mut self, slot: usize, selection: StateSelection) -> Result<State> {
        let slot = self.slot(slot)?;
        let moments = |handle| if selection == StateSelection::All { self.memory.load(handle) } else { Vec::new() };
        let parameters = self.memory.load(slot.parameters);
        let (first, second) = (moments(slot.first), moments(slot.second));
        Ok(State { parameters, first, second, steps: slot.steps, loss_scale: None })
    }

    fn set_side_by_side(&mut self, _count: usize) {}

    fn bytes(&self) -> usize {
        self.memory.buffers.values().map(|buffer| size_of_val(buffer.as_slice())).sum()
    }

    fn end(&mut self, slot: usize) -> Result<State> {
        let state = self.read(slot, StateSelection::All)?;
        if let Some(slot) = self.slots.remove(&slot) {
            for handle in [slot.parameters, slot.first, slot.second] {
                self.memory.buffers.remove(&handle);
            }
        }
        Ok(state)
    }
}
