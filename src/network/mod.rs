//! A network bound to data: its head, its inputs and their normalisation; and the trained network, an estimator like
//! any other. Training, prediction and checkpoints share this module.

mod bound;
mod head;
mod inputs;
mod normalizer;
mod slots;
mod trained;

pub use bound::BoundNetwork;
pub use head::Head;
pub(crate) use inputs::Tables;
pub(crate) use normalizer::{Normalizer, ZScore};
pub(crate) use slots::AssetSlots;
pub(crate) use slots::{assign, none_eligible};
pub use trained::TrainedNetwork;
pub(crate) use trained::TrainedParts;
