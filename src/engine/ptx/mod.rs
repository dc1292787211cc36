//! A linear network with the mean squared error on a device, through the same trait: what the CPU engine does in slices of
//! host memory, kernels in PTX (`kernels.ptx`) do in buffers behind handles. Between two epochs nothing crosses but batches
//! of sample numbers. The driver is `runner`, which runs PTX on the CPU; `gpu.py` beside it runs the same text on a GPU.

mod runner;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use runner::{Argument, Buffer, Driver};

use super::optimizer::AdamStep;
use super::{Engine, EpochWork, Hyperparameters, Planes, State, StateSelection, Stop, Tables, WindowView};
use crate::error::{Code, Error, Result, fail};
use crate::objective::{LabelKind, Objective};
use crate::ops::Op;
use crate::program::{InputSource, Plane, Program, ValueSource};

/// The kernels.
const KERNELS: &str = include_str!("kernels.ptx");
/// Threads of a block.
const THREADS: usize = 128;

/// A linear layer: its input, weights and bias by offset, inputs and outputs.
#[derive(Clone, Copy)]
struct Layer {
    weight: usize,
    bias: usize,
    inputs: usize,
    outputs: usize,
}

/// A replica on the device.
struct Slot {
    view: Arc<WindowView>,
    hyperparameters: Hyperparameters,
    parameters: Buffer,
    first: Buffer,
    second: Buffer,
    rows: Buffer,
    assets: Buffer,
    steps: u32,
}

/// An engine for programs that are a chain of linear layers over trailing returns.
pub(super) struct PtxEngine {
    driver: Driver,
    planes: Option<(Buffer, usize)>,
    lookback: usize,
    assets: usize,
    layers: Vec<Layer>,
    count: usize,
    slots: BTreeMap<usize, Slot>,
}

fn bytes_of<T, const N: usize>(values: &[T], to_bytes: impl Fn(&T) -> [u8; N]) -> Vec<u8> {
    values.iter().flat_map(to_bytes).collect()
}

fn floats(bytes: &[u8]) -> Vec<f32> {
    bytes.chunks_exact(4).map(|bytes| f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])).collect()
}

impl PtxEngine {
    /// An engine for a program.
    ///
    /// # Errors
    /// With the op or input that it has no kernel for.
    pub(super) fn new(program: &Program, objective: Objective) -> Result<Self> {
        if objective != Objective::MeanSquare || program.is_half() {
            fail!(Internal, "there are kernels for the mean squared error in single precision only");
        }
        let [input] = program.inputs() else { fail!(Internal, "there are kernels for one input only") };
        let InputSource::Trailing { plane: Plane::Returns, rows: lookback } = input.source else {
            fail!(Internal, "there is no kernel for input '{}'", input.name);
        };
        let mut layers = Vec::new();
        for (index, node) in program.nodes().enumerate() {
            let is_next = match node.operands[0].source {
                ValueSource::Node(before) => before + 1 == index,
                _ => index == 0,
            };
            let offset = |operand: usize| match node.operands[operand].source {
                ValueSource::Parameter(parameter) => program.parameters()[parameter].offset,
                _ => usize::MAX,
            };
            match node.op {
                // The same elements in another shape: nothing to do.
                Op::Reshape(_) if is_next => (),
                Op::Linear(_) if is_next => {
                    let (inputs, outputs) = (node.operands[1].shape[1], node.operands[1].shape[0]);
                    layers.push(Layer { weight: offset(1), bias: offset(2), inputs, outputs });
                }
                _ => fail!(Internal, "there is no kernel for op '{}'", node.op.name()),
            }
        }
        let driver = Driver::new(KERNELS).map_err(device_error)?;
        let (assets, count) = (input.shape[1], program.parameter_count());
        Ok(Self { driver, planes: None, lookback, assets, layers, count, slots: BTreeMap::new() })
    }

    fn slot(&self, slot: usize) -> Result<&Slot> {
        match self.slots.get(&slot) {
            Some(slot) => Ok(slot),
            None => fail!(Internal, "there is no replica in slot {slot}"),
        }
    }

    /// Runs a kernel with a thread per element.
    fn each(&mut self, name: &str, count: usize, arguments: &[Argument]) -> Result<()> {
        self.driver.launch(name, (count.div_ceil(THREADS), THREADS), arguments).map_err(device_error)
    }

    fn zeros(&mut self, count: usize) -> Buffer {
        self.driver.upload(&vec![0; 4 * count])
    }

    /// Forward pass of some samples: the buffers of all layers, the input first.
    fn forward(&mut self, slot: usize, samples: Buffer, size: usize) -> Result<Vec<Buffer>> {
        let Some((plane, columns)) = self.planes else { fail!(Internal, "no planes were loaded") };
        let (lookback, assets) = (self.lookback, self.assets);
        let Slot { rows, assets: of_slots, parameters, .. } = *self.slot(slot)?;
        let score = self.slot(slot)?.view.normalizer.returns;
        let elements = size * lookback * assets;
        let mut out = vec![self.zeros(elements)];
        let [elements_, lookback_, assets_, columns_] = [elements, lookback, assets, columns].map(number);
        let arguments = [
            Argument::Buffer(plane),
            Argument::Buffer(rows),
            Argument::Buffer(of_slots),
            Argument::Buffer(samples),
            Argument::Buffer(out[0]),
            elements_,
            lookback_,
            assets_,
            columns_,
            Argument::F64(score.mean),
            Argument::F64(score.inverse),
        ];
        self.each("gather", elements, &arguments)?;
        for layer in self.layers.clone() {
            let output = self.zeros(size * layer.outputs);
            let count = size * layer.outputs;
            let arguments = [
                Argument::Buffer(out[out.len() - 1]),
                Argument::Buffer(offset(parameters, layer.weight)),
                Argument::Buffer(offset(parameters, layer.bias)),
                Argument::Buffer(output),
                number(count),
                number(layer.inputs),
                number(layer.outputs),
            ];
            self.each("linear_forward", count, &arguments)?;
            out.push(output);
        }
        Ok(out)
    }

    /// Queues one optimiser step; `total` receives the loss, and `flag` whether the step was left out.
    fn step(&mut self, index: usize, samples: &[u32], learning_rate: f64, total: Buffer, flag: Buffer) -> Result<()> {
        let Some((plane, columns)) = self.planes else { fail!(Internal, "no planes were loaded") };
        let size = samples.len();
        let samples = self.driver.upload(&bytes_of(samples, |sample| sample.to_le_bytes()));
        let values = self.forward(index, samples, size)?;
        let slot = self.slot(index)?;
        let (parameters, first, second) = (slot.parameters, slot.first, slot.second);
        let (label, score) = (slot.view.label, slot.view.normalizer.label);
        let (rows, of_slots, hyperparameters, steps) =
            (slot.rows, slot.assets, slot.hyperparameters.clone(), slot.steps + 1);
        let count = size * self.assets;
        let (labels, mut gradient) = (self.zeros(count), self.zeros(count));
        let arguments = [
            Argument::Buffer(plane),
            Argument::Buffer(rows),
            Argument::Buffer(of_slots),
            Argument::Buffer(samples),
            Argument::Buffer(labels),
            number(count),
            number(self.assets),
            number(columns),
            number(label.lag),
            number(label.horizon),
            Argument::F64(score.mean),
            Argument::F64(score.inverse),
        ];
        self.each("labels", count, &arguments)?;
        let output = values[values.len() - 1];
        let arguments = [output, labels, gradient, total].map(Argument::Buffer);
        let arguments = [&arguments[..], &[number(count)]].concat();
        self.driver.launch("mean_square", (1, THREADS), &arguments).map_err(device_error)?;
        let (gradients, one) = (self.zeros(self.count), self.driver.upload(&1.0_f32.to_le_bytes()));
        let mut held = vec![samples, labels, gradients, one];
        for (depth, layer) in self.layers.clone().into_iter().enumerate().rev() {
            let products = [
                (layer.weight, values[depth], layer.inputs, layer.inputs),
                // The bias is a weight of an input that is always 1.
                (layer.bias, one, 1, 0),
            ];
            for (at, right, columns, right_step) in products {
                let arguments = [
                    Argument::Buffer(gradient),
                    Argument::Buffer(right),
                    Argument::Buffer(offset(gradients, at)),
                    number(layer.outputs * columns),
                    number(columns),
                    number(size),
                    number(layer.outputs),
                    number(right_step),
                ];
                self.each("add_products", layer.outputs * columns, &arguments)?;
            }
            held.push(gradient);
            if depth > 0 {
                let below = self.zeros(size * layer.inputs);
                let arguments = [
                    Argument::Buffer(gradient),
                    Argument::Buffer(offset(parameters, layer.weight)),
                    Argument::Buffer(below),
                    number(size * layer.inputs),
                    number(layer.inputs),
                    number(layer.outputs),
                ];
                self.each("linear_input_gradient", size * layer.inputs, &arguments)?;
                gradient = below;
            }
        }
        let squares = self.driver.upload(&[0; 8]);
        held.push(squares);
        let arguments = [Argument::Buffer(gradients), Argument::Buffer(squares), number(self.count)];
        self.driver.launch("sum_of_squares", (1, THREADS), &arguments).map_err(device_error)?;
        let constants = AdamStep::new(hyperparameters.adam, steps, learning_rate).constants().map(Argument::F32);
        let buffers = [parameters, gradients, first, second, squares, flag].map(Argument::Buffer);
        let sizes = [number(self.count), Argument::F64(hyperparameters.clip_norm)];
        self.each("adam", self.count, &[&buffers[..], &sizes, &constants].concat())?;
        for buffer in values.into_iter().chain(held) {
            self.driver.free(buffer);
        }
        if let Some(slot) = self.slots.get_mut(&index) {
            slot.steps = steps;
        }
        Ok(())
    }
}

/// A buffer from an element on.
fn offset(buffer: Buffer, elements: usize) -> Buffer {
    buffer.at(4 * elements as u64)
}

fn number(value: usize) -> Argument {
    Argument::U32(value as u32)
}

fn device_error(message: String) -> Error {
    Error::new(Code::Internal, message)
}

impl Engine for PtxEngine {
    fn load(&mut self, planes: &Arc<Planes>) -> Result<()> {
        let returns = bytes_of(&planes.returns, |value| value.to_le_bytes());
        self.planes = Some((self.driver.upload(&returns), planes.columns));
        Ok(())
    }

    fn begin(
        &mut self,
        slot: usize,
        view: &Arc<WindowView>,
        _tables: &Arc<Tables>,
        hyperparameters: Hyperparameters,
        state: State,
    ) -> Result<()> {
        if view.label.kind != LabelKind::Observed {
            fail!(Internal, "there is no kernel for labels of held returns");
        }
        let mut upload = |values: &[f32]| self.driver.upload(&bytes_of(values, |value| value.to_le_bytes()));
        let (parameters, first, second) = (upload(&state.parameters), upload(&state.first), upload(&state.second));
        let samples = 0..view.sample_count();
        let rows: Vec<u32> = samples.clone().map(|sample| view.row(sample) as u32).collect();
        let assets: Vec<i32> = samples.flat_map(|sample| view.slots_of(sample).to_vec()).collect();
        let rows = self.driver.upload(&bytes_of(&rows, |row| row.to_le_bytes()));
        let assets = self.driver.upload(&bytes_of(&assets, |column| column.to_le_bytes()));
        let (view, steps) = (Arc::clone(view), state.steps);
        self.slots.insert(slot, Slot { view, hyperparameters, parameters, first, second, rows, assets, steps });
        Ok(())
    }

    fn epoch(&mut self, work: &mut [EpochWork], stop: &Stop) -> Result<()> {
        for work in work {
            let (total, flag) = (self.driver.upload(&work.loss.to_le_bytes()), self.driver.upload(&[0; 4]));
            while let Some(batch) = work.batches.get(work.cursor).cloned() {
                if stop() {
                    return Err(Error::new(Code::Cancelled, "training was cancelled; further steps continue it"));
                }
                self.step(work.slot, &batch, work.learning_rate, total, flag)?;
                work.cursor += 1;
            }
            // The one meeting of host and device in an epoch.
            let bytes = self.driver.download(total);
            work.loss = f64::from_le_bytes(bytes.try_into().unwrap_or_default());
            if self.driver.download(flag) != [0; 4] {
                work.fault = Some(Error::new(Code::InvalidData, "a gradient is non-finite"));
            }
            self.driver.free(total);
            self.driver.free(flag);
        }
        Ok(())
    }

    fn predict(&mut self, slot: usize, samples: &[u32], out: &mut [f32], _stop: &Stop) -> Result<()> {
        let size = samples.len();
        let samples = self.driver.upload(&bytes_of(samples, |sample| sample.to_le_bytes()));
        let values = self.forward(slot, samples, size)?;
        out.copy_from_slice(&floats(&self.driver.download(values[values.len() - 1])));
        for buffer in values.into_iter().chain([samples]) {
            self.driver.free(buffer);
        }
        Ok(())
    }

    fn read(&mut self, slot: usize, selection: StateSelection) -> Result<State> {
        let Slot { parameters, first, second, steps, .. } = *self.slot(slot)?;
        let load = |buffer| floats(&self.driver.download(buffer));
        let moments = |buffer| if selection == StateSelection::All { load(buffer) } else { Vec::new() };
        let (first, second) = (moments(first), moments(second));
        Ok(State { parameters: load(parameters), first, second, steps, loss_scale: None })
    }

    fn set_side_by_side(&mut self, _count: usize) {}

    fn bytes(&self) -> usize {
        self.driver.bytes()
    }

    fn end(&mut self, slot: usize) -> Result<State> {
        let state = self.read(slot, StateSelection::All)?;
        if let Some(Slot { parameters, first, second, rows, assets, .. }) = self.slots.remove(&slot) {
            for buffer in [parameters, first, second, rows, assets] {
                self.driver.free(buffer);
            }
        }
        Ok(state)
    }
}
