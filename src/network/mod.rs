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
pub use inputs::Tables;
pub use normalizer::{Normalizer, ZScore};
pub use slots::AssetSlots;
pub(crate) use slots::{assign, none_eligible};
pub use trained::{TrainedNetwork, TrainedParts};
