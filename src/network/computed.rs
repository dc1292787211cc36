//! Inputs that a network computes, kept once per run: what is computed at a row depends on the row alone where a
//! network's assets are those that are eligible there, so windows that overlap share it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::error::Result;
use crate::model::Network;
use crate::panel::Past;
use crate::program::{InputSource, Program};

/// Values by index of the input and as-of row.
type Values = BTreeMap<(usize, usize), Arc<[f32]>>;

/// Computed inputs as the network wrote them.
#[derive(Debug, Default)]
pub(crate) struct ComputedInputs {
    values: Mutex<Values>,
}

impl ComputedInputs {
    fn values(&self) -> MutexGuard<'_, Values> {
        self.values.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The values at an as-of row, if they are known.
    pub(crate) fn get(&self, input: usize, row: usize) -> Option<Arc<[f32]>> {
        self.values().get(&(input, row)).cloned()
    }

    /// Keeps the values at an as-of row.
    pub(crate) fn insert(&self, input: usize, row: usize, values: Arc<[f32]>) {
        self.values().insert((input, row), values);
    }

    /// Forgets the rows before `row`, which no window reads any more.
    pub(crate) fn forget_before(&self, row: usize) {
        self.values().retain(|(_, known), _| *known >= row);
    }
}

/// The computed inputs of a program: index and elements for this number of assets.
pub(crate) fn computed_inputs(program: &Program, assets: usize) -> impl Iterator<Item = (usize, usize)> + '_ {
    program.inputs().iter().filter_map(move |input| match &input.source {
        InputSource::Computed { index, shape, .. } => {
            Some((*index, shape.iter().map(|axis| axis.length(assets)).product()))
        }
        _ => None,
    })
}

/// Has the network compute one of its inputs from a past.
///
/// # Errors
/// Errors of [`Network::compute`].
pub(crate) fn compute(network: &dyn Network, (index, elements): (usize, usize), past: &Past) -> Result<Arc<[f32]>> {
    let mut out = vec![0.0; elements];
    network.compute(index, past, &mut out)?;
    Ok(out.into())
}
