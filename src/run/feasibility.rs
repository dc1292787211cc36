//! Whether every decision of a run can be made, checked before anything is trained: there are assets with enough history,
//! rows that they have in common, and a portfolio within the constraints. It reads the membership of later rows, so it
//! may stop a run and can never change one.

use std::collections::BTreeSet;
use std::ops::Range;

use jiff::civil::Date;

use crate::error::{Code, Error, Result, fail};
use crate::experiment::{BenchmarkSource, Experiment};
use crate::job::LoadedModel;
use crate::model::{Model, Output, Requirements};
use crate::panel::Panel;
use crate::portfolio::{ExecutionModel, Feasibility};
use crate::windows::{RebalanceSchedule, SampleRule, Window, decisions, lookback_rows, train_samples};

/// What a run is made of, before it begins.
pub(super) struct Plan<'a> {
    pub experiment: &'a Experiment,
    pub panel: &'a Panel,
    pub windows: &'a [Window],
    pub schedule: &'a RebalanceSchedule,
    /// The models; the benchmark comes first.
    pub models: &'a [LoadedModel],
    /// How the decisions of the models become holdings.
    pub execution: &'a ExecutionModel,
}

/// A decision that cannot be made, and why.
struct Failure {
    row: usize,
    kind: Lack,
    reason: String,
}

/// What a decision lacks.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Lack {
    History,
    CommonRows,
    Portfolio,
    /// The asset of the benchmark is no member.
    Asset,
}

impl Lack {
    fn code(self) -> Code {
        match self {
            Self::History | Self::CommonRows | Self::Asset => Code::InvalidData,
            Self::Portfolio => Code::Infeasible,
        }
    }
}

/// What models with the same needs came to.
struct Checked {
    models: Vec<usize>,
    needs: Requirements,
    /// Decisions that cannot be made.
    failures: Vec<Failure>,
    /// Decisions at which the rows in common are fewer than half of the lookback: how many, and the row and number of
    /// the first.
    short: Option<(usize, usize, usize)>,
}

impl Plan<'_> {
    /// Checks every decision of the validation and test spans; returns warnings.
    ///
    /// # Errors
    /// `Infeasible` or `InvalidData` with all dates on which a model cannot decide; `InvalidSetting` for a model without
    /// scores that is to be ranked by them; errors of creating a model.
    pub(super) fn check(&self) -> Result<Vec<String>> {
        let rows = self.decision_rows()?;
        let mut constraints = Feasibility::new(&self.execution.constraints);
        let mut found: Vec<Checked> = Vec::new();
        for (index, model) in self.models.iter().enumerate() {
            let needs = self.requirements(index, model)?;
            // Models with the same needs are checked once, and named together. A benchmark is held to no constraint.
            let is_benchmark = index == 0;
            let is_same = |found: &&mut Checked| !is_benchmark && found.models[0] > 0 && found.needs == needs;
            if let Some(found) = found.iter_mut().find(is_same) {
                found.models.push(index);
                continue;
            }
            let mut checked = Checked { models: vec![index], needs, failures: Vec::new(), short: None };
            // Relaxed constraints can always be met.
            let is_held_to = !is_benchmark && self.experiment.portfolio.refuses_infeasible();
            self.check_rows(&rows, &mut checked, is_held_to.then_some(&mut constraints))?;
            found.push(checked);
        }
        let failing: Vec<&Checked> = found.iter().filter(|found| !found.failures.is_empty()).collect();
        if let Some(first) = failing.first() {
            let texts: Vec<String> = failing.iter().map(|found| self.refusal(found, rows.len())).collect();
            return Err(Error::new(first.failures[0].kind.code(), texts.join("\n")));
        }
        let warning = |found: &Checked| {
            let (count, row, common) = found.short?;
            Some(format!(
                "{}: on {count} decision dates, first on {}, the rows in which all assets have a return are fewer than half \
                 of the look-back, there {common}",
                self.names(&found.models),
                self.panel.dates()[row],
            ))
        };
        Ok(found.iter().filter_map(warning).collect())
    }

    /// The decision rows of all validation and test spans.
    fn decision_rows(&self) -> Result<Vec<usize>> {
        let (dates, lag) = (self.panel.dates(), self.execution.lag);
        let is_due = |row: usize| self.schedule.contains(row);
        let mut rows = BTreeSet::new();
        for window in self.windows {
            rows.extend(decisions(self.experiment.fit_rows(dates, window).validation, lag, is_due)?);
            rows.extend(decisions(window.test.rows.clone(), lag, is_due)?);
        }
        Ok(rows.into_iter().collect())
    }

    /// What a model needs at a decision.
    fn requirements(&self, index: usize, model: &LoadedModel) -> Result<Requirements> {
        let created = model.factory.create(&model.settings, &model.context);
        let created = created.map_err(|error| error.context(format!("model '{}'", model.name)))?;
        let is_ranked = index > 0 && self.experiment.portfolio.ranks_by_score();
        let (needs, gives_scores) = match created {
            Model::Estimator(estimator) => (estimator.requirements(), estimator.gives_scores()),
            Model::Network(network) => {
                self.check_samples(model, network.requirements().lookback)?;
                let gives_scores = || {
                    let features: Vec<String> =
                        self.panel.features().iter().map(|feature| feature.name.clone()).collect();
                    Ok::<_, Error>(network.build(self.panel.assets().len(), &features)?.kind == Output::Scores)
                };
                (network.requirements(), !is_ranked || gives_scores()?)
            }
        };
        if is_ranked && !gives_scores {
            fail!(
                InvalidSetting,
                "setting 'portfolio.top_k_by': found \"score\", but model '{}' gives no scores; allowed is \"weight\"",
                model.name
            );
        }
        Ok(needs)
    }

    /// Refuses a network for which look-back, label, lag and embargo leave no sample in the train span of a window.
    fn check_samples(&self, model: &LoadedModel, lookback: usize) -> Result<()> {
        let horizon = model.train.horizon.unwrap_or(self.schedule.holding());
        let rule = SampleRule { lookback, horizon, lag: self.execution.lag };
        for window in self.windows {
            let rows = self.experiment.fit_rows(self.panel.dates(), window).train;
            if train_samples(&rows, &rule).is_empty() {
                fail!(
                    InvalidData,
                    "model '{}', window {}: the train span of {} rows has 0 samples, with a lookback of {lookback} rows and a \
                     horizon of {horizon}; {} rows are without windows.embargo_days = {} and portfolio.execution_lag = {}",
                    model.name,
                    window.index,
                    rows.len(),
                    window.train.rows.len(),
                    self.experiment.windows.embargo_days,
                    self.execution.lag
                );
            }
        }
        Ok(())
    }

    /// Checks the decisions of models with the same needs, and the constraints if they are given.
    fn check_rows(&self, rows: &[usize], out: &mut Checked, mut constraints: Option<&mut Feasibility>) -> Result<()> {
        let (panel, needs) = (self.panel, out.needs);
        let mut history = History::new(panel);
        let held = match &self.experiment.benchmark.source {
            BenchmarkSource::Asset(name) => panel.assets().binary_search(name).ok().map(|column| (name, column)),
            _ => None,
        };
        for &row in rows {
            let lookback = lookback_rows(needs.lookback, 0, row);
            history.slide_to(lookback.clone());
            let open: Vec<bool> = panel
                .members(row)
                .iter()
                .zip(&history.finite)
                .map(|(member, finite)| *member && *finite >= needs.min_history)
                .collect();
            let mut fails = |kind, reason| out.failures.push(Failure { row, kind, reason });
            if !open.contains(&true) {
                let rows = if needs.lookback > row { "all".to_owned() } else { format!("the {}", needs.lookback) };
                let history = format!("{} finite returns in {rows} rows up to it", needs.min_history);
                fails(Lack::History, format!("no asset is a member with {history}"));
                continue;
            }
            if out.models[0] == 0
                && let Some((name, column)) = held
                && !open[column]
            {
                fails(Lack::Asset, format!("{name}, the setting benchmark.asset, is not a member"));
            }
            if needs.common_rows > 0 {
                let common = history.common_rows(&open);
                if common < needs.common_rows {
                    let assets = open.iter().filter(|open| **open).count();
                    let reason = format!(
                        "{common} of {} rows have a return for each of {assets} assets, {} are needed",
                        lookback.len(),
                        needs.common_rows
                    );
                    fails(Lack::CommonRows, reason);
                } else if 2 * common < needs.lookback.min(row + 1) {
                    let short = out.short.get_or_insert((0, row, common));
                    short.0 += 1;
                }
            }
            if let Some(constraints) = &mut constraints
                && let Some(reason) = constraints.reason(row, &open)?
            {
                fails(Lack::Portfolio, reason);
            }
        }
        Ok(())
    }

    /// The message that models cannot decide on some of `total` dates.
    fn refusal(&self, found: &Checked, total: usize) -> String {
        let (dates, Checked { models, failures, .. }) = (self.panel.dates(), found);
        let mut spells: Vec<(Date, Date, usize, &str)> = Vec::new();
        for Failure { row, reason, .. } in failures {
            match spells.last_mut() {
                Some((_, last, count, text)) if text == reason => (*last, *count) = (dates[*row], *count + 1),
                _ => spells.push((dates[*row], dates[*row], 1, reason)),
            }
        }
        let spell = |(first, last, count, reason): (Date, Date, usize, &str)| match count {
            1 => format!("{first}: {reason}"),
            _ => format!("{first} to {last} ({count} dates): {reason}"),
        };
        let list: Vec<String> = spells.into_iter().map(spell).collect();
        let lacks = |kind: Lack| failures.iter().any(|failure| failure.kind == kind);
        // Plugins declare such settings under these names.
        let setting = |name: &str| {
            let model = models.iter().find(|&&model| self.declares(model, name))?;
            Some(format!("models.{}.settings.{name}", self.models[*model].name))
        };
        let mut remedies = Vec::new();
        if lacks(Lack::History) || lacks(Lack::CommonRows) {
            remedies.push("begin later (windows.start)".to_owned());
            remedies.extend(
                ["lookback", "min_history"].into_iter().filter_map(setting).map(|path| format!("lower {path}")),
            );
        }
        if lacks(Lack::CommonRows) {
            remedies.extend(setting("missing").map(|path| format!("set {path} = \"pairwise\"")));
        }
        if lacks(Lack::Asset) {
            remedies.push("add it to the universe, or give its prices in benchmark.file".to_owned());
        }
        if lacks(Lack::Portfolio) {
            remedies.push("widen the constraint, or set portfolio.infeasible = \"relax\"".to_owned());
        }
        format!(
            "{} cannot decide on {} of {total} decision dates. {}. What helps: {}",
            self.names(models),
            failures.iter().map(|failure| failure.row).collect::<BTreeSet<_>>().len(),
            list.join("; "),
            remedies.join(", or ")
        )
    }

    /// Whether a model's plugin declares a setting.
    fn declares(&self, model: usize, setting: &str) -> bool {
        self.models[model].factory.settings().iter().any(|declared| declared.name == setting)
    }

    /// The models by name.
    fn names(&self, models: &[usize]) -> String {
        let names: Vec<String> = models.iter().map(|&model| format!("'{}'", self.models[model].name)).collect();
        format!("{} {}", if names.len() == 1 { "model" } else { "models" }, names.join(", "))
    }
}

/// The finite returns of each asset in rows that slide forward.
struct History<'a> {
    panel: &'a Panel,
    rows: Range<usize>,
    /// Per asset.
    finite: Vec<usize>,
}

impl<'a> History<'a> {
    fn new(panel: &'a Panel) -> Self {
        Self { panel, rows: 0..0, finite: vec![0; panel.assets().len()] }
    }

    /// Moves to rows that begin and end no earlier.
    fn slide_to(&mut self, rows: Range<usize>) {
        let mut count = |row: usize, change: fn(usize) -> usize| {
            for (finite, value) in self.finite.iter_mut().zip(self.panel.returns(row)) {
                if value.is_finite() {
                    *finite = change(*finite);
                }
            }
        };
        (self.rows.end..rows.end).for_each(|row| count(row, |finite| finite + 1));
        (self.rows.start..rows.start).for_each(|row| count(row, |finite| finite - 1));
        self.rows = rows;
    }

    /// The rows in which each of the assets has a finite return.
    fn common_rows(&self, assets: &[bool]) -> usize {
        let gappy: Vec<usize> =
            (0..assets.len()).filter(|&asset| assets[asset] && self.finite[asset] < self.rows.len()).collect();
        let is_common = |row: &usize| gappy.iter().all(|&asset| self.panel.returns(*row)[asset].is_finite());
        self.rows.clone().filter(is_common).count()
    }
}

#[cfg(test)]
mod tests {
    use jiff::ToSpan as _;
    use jiff::civil::date;

    use super::History;
    use crate::panel::{Panel, PanelKind};

    #[test]
    fn finite_returns_and_common_rows_are_counted_as_rows_slide() {
        let (rows, nan) = (12, f64::NAN);
        let dates = (0..rows).map(|day| date(2020, 1, 1) + i64::from(day).days()).collect();
        let names = ["A", "B", "C"].map(str::to_owned);
        let cell = |row: i32, asset: i32| if (3 * row + asset) % 5 == 0 && asset > 0 { nan } else { 0.01 };
        let values: Vec<f64> = (0..rows).flat_map(|row| (0..3).map(move |asset| cell(row, asset))).collect();
        let panel = Panel::from_arrays(PanelKind::Returns, dates, &names, &values).unwrap();
        let mut history = History::new(&panel);
        for rows in [0..4, 2..7, 2..8, 8..12] {
            history.slide_to(rows.clone());
            let finite = |row: usize, asset: usize| panel.returns(row)[asset].is_finite();
            let counted = |asset: usize| rows.clone().filter(|&row| finite(row, asset)).count();
            assert_eq!(history.finite, [counted(0), counted(1), counted(2)], "{rows:?}");
            let common = |assets: &[usize]| rows.clone().filter(|&row| assets.iter().all(|&a| finite(row, a))).count();
            assert_eq!(history.common_rows(&[true, true, true]), common(&[0, 1, 2]), "{rows:?}");
            assert_eq!(history.common_rows(&[true, false, true]), common(&[0, 2]), "{rows:?}");
            assert_eq!(history.common_rows(&[true, false, false]), rows.len());
        }
    }
}
