//! Networks in the checks: trained for two epochs on the pasts that an estimator would be fitted on, and then called
//! like any other model.

use std::sync::Arc;

use serde_json::{Map, json};

use crate::error::{Result, fail};
use crate::model::{Context, Estimator, Model, Network, Requirements};
use crate::network::TrainedNetwork;
use crate::panel::{Panel, PanelKind, Past};
use crate::portfolio::{Constraints, ExecutionModel};
use crate::train::{TrainSettings, Trainer, TrainingSpan};

/// Wraps a model so that checks can call networks and estimators in the same way.
pub(super) fn as_estimator(model: Model, context: &Context) -> Box<dyn Estimator> {
    match model {
        Model::Estimator(model) => model,
        Model::Network(network) => Box::new(BrieflyTrained { network, context: context.clone(), trained: None }),
    }
}

/// A network that is trained for two epochs.
struct BrieflyTrained {
    network: Arc<dyn Network>,
    context: Context,
    trained: Option<TrainedNetwork>,
}

/// The most samples that a network is trained on, so that checks of large networks stay short.
const MAX_SAMPLES: usize = 48;

/// Rows between two decisions.
const MONTH: usize = 21;

/// A panel of the rows of `train`, followed by those of `validation`.
fn panel(train: &Past, validation: Option<&Past>) -> Result<Panel> {
    let both = || [Some(train), validation].into_iter().flatten();
    let dates = both().flat_map(|past| past.dates().to_vec()).collect();
    let returns: Vec<f64> = both().flat_map(|past| past.returns().to_vec()).collect();
    let members: Vec<bool> = both().flat_map(|past| past.members().to_vec()).collect();
    let mut out = Panel::from_arrays(PanelKind::Returns, dates, train.names(), &returns)?.with_members(&members)?;
    for (index, name) in train.feature_names().iter().enumerate() {
        let values: Vec<f64> = both().flat_map(|past| past.features()[index].clone()).collect();
        out.add_feature(name, &values)?;
    }
    Ok(out)
}

impl Estimator for BrieflyTrained {
    fn requirements(&self) -> Requirements {
        self.network.requirements()
    }

    fn needs_fit(&self) -> bool {
        true
    }

    fn fit(&mut self, train: &Past, validation: Option<&Past>) -> Result<()> {
        let settings = json!({"max_epochs": 2, "batch_size": 12, "accumulation_steps": 2});
        let settings = TrainSettings::from_sections(settings.as_object().unwrap_or(&Map::new()), None)?;
        let panel = panel(train, validation)?;
        let (train_end, end) = (train.rows().len(), panel.dates().len());
        let lookback = self.network.requirements().lookback;
        let first = (lookback - 1).max((train_end - 1).saturating_sub(MAX_SAMPLES)).min(train_end);
        let execution = ExecutionModel::new(Constraints::default(), 10.0, 0);
        let span = TrainingSpan {
            train: 0..train_end,
            samples: first..train_end - 1,
            horizon: 1,
            decisions: (train_end - 1..(end - 1).max(train_end)).step_by(MONTH).collect(),
            validation: if end > train_end { train_end..end } else { 0..0 },
            panel,
            execution,
        };
        let mut trainer = Trainer::new(Arc::clone(&self.network), &settings, span, 1)?;
        while !trainer.is_done() {
            trainer.epoch(&|| self.context.cancelled())?;
        }
        self.trained = Some(trainer.finish().0);
        Ok(())
    }

    fn can_allocate(&self, columns: &[usize]) -> bool {
        self.trained.as_ref().is_none_or(|trained| trained.can_allocate(columns))
    }

    fn weights(&self, past: &Past) -> Result<Vec<f64>> {
        self.trained()?.weights(past)
    }

    fn scores(&self, past: &Past) -> Result<Option<Vec<f64>>> {
        self.trained()?.scores(past)
    }
}

impl BrieflyTrained {
    fn trained(&self) -> Result<&TrainedNetwork> {
        match &self.trained {
            Some(trained) => Ok(trained),
            None => fail!(NotReady, "the network was not trained"),
        }
    }
}
