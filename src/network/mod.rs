//! A network bound to data: its head and its computed inputs; and the trained network, an estimator like any other.
//! Training, prediction and checkpoints share this module.

mod bound;
mod computed;
mod head;
mod slots;
mod trained;

pub use bound::BoundNetwork;
pub(crate) use computed::{ComputedInputs, compute, computed_inputs};
pub(crate) use head::head_weights;
pub(crate) use slots::{AssetSlots, assign, filled, none_eligible};
pub use trained::TrainedNetwork;
pub(crate) use trained::TrainedParts;
