//! Runs a program for a stack of replicas on one device. The seam is cut at the epoch: host and device meet once an
//! epoch, and nothing of a device shows in this file. Raw planes are resident, a window is rows and scales
//! ([`WindowView`]), and what training changes is a [`State`].

pub(crate) mod cpu;
mod gather;
mod loss_scale;
mod normalizer;
mod optimizer;
mod planes;
#[cfg(test)]
mod ptx;
#[cfg(test)]
pub(crate) mod reference;

use std::sync::Arc;

pub(crate) use gather::{InputData, Tables};
pub use loss_scale::LossScale;
pub(crate) use normalizer::{Normalizer, ZScore, ZeroDispersion};
pub use optimizer::{AdamSettings, Decay};
pub(crate) use planes::{EMPTY_SLOT, LabelRule, PlaneView, Planes, WindowView};

use crate::error::{Error, Result};
use crate::program::{Init, Program};
use crate::random::Random;

/// First random stream of the parameters. The streams below belong to the nodes, by index.
const PARAMETER_STREAM: u32 = 1 << 30;

/// What training changes: the tensors of a checkpoint. Tensors are in the program's layout of parameters.
#[derive(Clone, Debug, PartialEq)]
pub struct State {
    /// Master parameters, in single precision.
    pub parameters: Vec<f32>,
    /// First moments of the optimiser.
    pub first: Vec<f32>,
    /// Second moments of the optimiser.
    pub second: Vec<f32>,
    /// Optimiser steps taken, which also key the random numbers of a step.
    pub steps: u32,
    /// The loss scale; `None` in single precision.
    pub loss_scale: Option<LossScale>,
}

impl State {
    /// The state before the first step, with parameters drawn from `seed`.
    pub fn initial(program: &Program, seed: u64) -> Self {
        let count = program.parameter_count();
        let mut parameters = vec![0.0; count];
        for (parameter, stream) in program.parameters().iter().zip(PARAMETER_STREAM..) {
            let random = Random::new(seed, stream, 0);
            for (value, position) in parameters[parameter.offset..][..parameter.count()].iter_mut().zip(0..) {
                *value = match parameter.init {
                    Init::Uniform(bound) => (random.uniform(position) * 2.0 - 1.0) * bound,
                    Init::Constant(value) => value,
                };
            }
        }
        let loss_scale = program.is_half().then(LossScale::default);
        Self { parameters, first: vec![0.0; count], second: vec![0.0; count], steps: 0, loss_scale }
    }

    /// Bytes of the tensors of a program.
    pub(crate) fn planned_bytes(program: &Program) -> usize {
        3 * program.parameter_count() * size_of::<f32>()
    }
}

/// What [`Engine::read`] returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StateSelection {
    /// Master parameters only; the moments are empty.
    Parameters,
    /// Everything.
    #[cfg_attr(not(test), expect(dead_code, reason = "checkpoints will read it"))]
    All,
}

/// What replicas of one shape may differ in.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Hyperparameters {
    /// Keys the random numbers of the replica: those of dropout.
    pub seed: u64,
    /// The optimiser.
    pub adam: AdamSettings,
    /// The norm to which gradients are clipped.
    pub clip_norm: f64,
    /// Cost of Σ|Δw| between consecutive dates in the loss, as a fraction; 0 for none.
    pub turnover: f64,
    /// Per op of the program, its scalar, such as the share of dropout; those of the program are
    /// [`Program::scalars`].
    pub scalars: Arc<[f32]>,
}

/// One epoch of one replica. The engine moves `cursor`, `loss` and `skipped` on; a call that was stopped is continued by
/// the next one.
#[derive(Debug)]
pub(crate) struct EpochWork {
    /// The replica.
    pub slot: usize,
    /// The samples of each batch, ascending within a batch.
    pub batches: Arc<Vec<Vec<u32>>>,
    /// Batches that are done.
    pub cursor: usize,
    /// Learning rate of the steps.
    pub learning_rate: f64,
    /// Sum of the losses of the steps that were taken.
    pub loss: f64,
    /// Steps that were skipped because half precision overflowed.
    pub skipped: u32,
    /// Why this replica cannot go on: a non-finite loss or gradient. The others do.
    pub fault: Option<Error>,
}

/// Asks whether to stop; called from any thread.
pub(crate) type Stop<'a> = dyn Fn() -> bool + Sync + 'a;

/// A device that trains a stack of replicas of one program and objective.
pub(crate) trait Engine: Send + Sync {
    /// Takes the raw planes of a run, which stay resident.
    ///
    /// # Errors
    /// If the device has no memory for them.
    fn load(&mut self, planes: &Arc<Planes>) -> Result<()>;

    /// Begins a replica in a slot of the stack.
    ///
    /// # Errors
    /// If there is no such slot, no planes were loaded, or the program has an input that the device cannot fill.
    fn begin(
        &mut self,
        slot: usize,
        view: &Arc<WindowView>,
        tables: &Arc<Tables>,
        hyperparameters: Hyperparameters,
        state: State,
    ) -> Result<()>;

    /// Trains the rest of an epoch of some replicas. What makes one replica fail is its `fault`.
    ///
    /// # Errors
    /// `Cancelled` if `stop` returned true: the batch under way is begun anew by the next call. Errors of the device.
    fn epoch(&mut self, work: &mut [EpochWork], stop: &Stop) -> Result<()>;

    /// The output of some samples with the current parameters of a replica, `[samples, output shape]`.
    ///
    /// # Errors
    /// `Cancelled` if `stop` returned true; errors of the device.
    fn predict(&mut self, slot: usize, samples: &[u32], out: &mut [f32], stop: &Stop) -> Result<()>;

    /// The state of a replica.
    ///
    /// # Errors
    /// If there is no replica in the slot; errors of the device.
    fn read(&mut self, slot: usize, selection: StateSelection) -> Result<State>;

    /// Lets this many replicas train side by side. It moves time, never a bit.
    fn set_side_by_side(&mut self, count: usize);

    /// Bytes that it holds: states, and the workspace of one replica in training, as the memory plan counts them.
    fn bytes(&self) -> usize;

    /// Frees a slot and returns the state of its replica.
    ///
    /// # Errors
    /// As [`Engine::read`].
    fn end(&mut self, slot: usize) -> Result<State>;
}
