//! A network bound to data: its head, inputs and normalizer; and the trained network, which outputs weights as any model
//! does. Shared by training, prediction and checkpoints.

mod bound;
mod head;
mod inputs;
mod normalizer;
mod slots;
mod trained;

pub use bound::BoundNetwork;
pub use head::Head;
pub use inputs::{Normalizer, Tables};
pub use normalizer::ZScore;
pub use slots::AssetSlots;
pub(crate) use slots::{assign, none_eligible};
pub use trained::{TrainedNetwork, TrainedParts};
