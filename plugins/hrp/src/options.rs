//! The options of the model and the presets of its variants.

use walkforge_plugin::{Coefficient, Covariance, Error, Missing, Requirements, Settings};

use crate::linkage::Linkage;
use crate::risk::Measure;

/// The description of the plugin. An option with a default of null comes from the variant if it is not set.
pub(crate) const DESCRIPTION: &str = concat!(
    r#"{"name": "hrp", "kind": "estimator", "version": ""#,
    env!("CARGO_PKG_VERSION"),
    r#"", "doc": "Hierarchical risk parity (Lopez de Prado 2016)", "settings": ["#,
    r#"{"name": "lookback", "type": "integer", "minimum": 2, "maximum": 100000, "default": 756, "#,
    r#""doc": "number of returns used to estimate correlations and variances"},"#,
    r#"{"name": "min_history", "type": "integer", "minimum": 2, "maximum": 100000, "default": null, "#,
    r#""doc": "finite returns an asset needs in the lookback to be held; half of the lookback if not set"},"#,
    r#"{"name": "variant", "type": "choice", "default": "lopez_de_prado", "#,
    r#""choices": ["lopez_de_prado", "pyportfolioopt", "skfolio", "riskfolio"], "#,
    r#""doc": "preset for the options below that are not set: the paper, or the library whose result to reproduce"},"#,
    r#"{"name": "distance", "type": "choice", "choices": ["lopez_de_prado", "correlation"], "default": null, "#,
    r#""doc": "distance to cluster by; correlation: d = sqrt((1 - correlation)/2); lopez_de_prado: Euclidean "#,
    r#"distance between the columns of d; if not set lopez_de_prado for the variant of that name, else correlation"},"#,
    r#"{"name": "linkage", "type": "choice", "choices": ["single", "complete", "average", "ward"], "default": null, "#,
    r#""doc": "linkage of the hierarchical clustering; if not set ward for the variant skfolio, else single"},"#,
    r#"{"name": "optimal_leaf_order", "type": "boolean", "default": null, "#,
    r#""doc": "reorder leaves so that neighbours are similar; if not set true for variants skfolio and riskfolio"},"#,
    r#"{"name": "correlation", "type": "choice", "choices": ["pearson", "spearman", "kendall"], "#,
    r#""default": "pearson", "doc": "correlation coefficient for the distance"},"#,
    r#"{"name": "covariance", "type": "choice", "choices": ["sample", "ledoit_wolf"], "default": "sample", "#,
    r#""doc": "covariance estimator of the risks variance and std"},"#,
    r#"{"name": "risk", "type": "choice", "choices": ["variance", "std", "mad", "semi_std", "cvar"], "#,
    r#""default": "variance", "doc": "risk measure that weights are inversely proportional to; cvar at 95 %"},"#,
    r#"{"name": "missing", "type": "choice", "choices": ["complete", "pairwise"], "default": "complete", "#,
    r#""doc": "rows to use if returns are missing; complete: rows in which all assets have a return; pairwise: "#,
    r#"for each pair of assets, rows in which both have one"},"#,
    r#"{"name": "zero_variance", "type": "choice", "choices": ["error", "exclude"], "default": "error", "#,
    r#""doc": "what to do with an asset whose returns do not vary; error: stop; exclude: give it no weight"}]}"#
);

/// The distance that is clustered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Distance {
    /// d̃, the Euclidean distance between the columns of d.
    LopezDePrado,
    /// d = √((1 − ρ)/2).
    Correlation,
}

/// The options of a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Options {
    pub requirements: Requirements,
    pub distance: Distance,
    pub linkage: Linkage,
    pub optimal_leaf_order: bool,
    pub correlation: Coefficient,
    pub covariance: Covariance,
    pub measure: Measure,
    pub missing: Missing,
    /// Whether an asset with constant returns gets no weight instead of being an error.
    pub exclude_constant: bool,
}

impl Options {
    /// Reads validated settings.
    ///
    /// # Errors
    /// `InvalidSetting` if two settings contradict each other. The message names one, with the values of both and what
    /// is allowed.
    pub(crate) fn read(settings: &Settings) -> Result<Self, Error> {
        let lookback = settings.count("lookback").ok_or_else(|| Error::new("setting 'lookback' is missing"))?;
        let min_history = settings.count("min_history").unwrap_or(lookback.div_ceil(2).max(2));
        if min_history > lookback {
            return Err(Error::setting("min_history", min_history, format_args!("at most the lookback of {lookback}")));
        }
        let (distance, linkage, optimal_leaf_order) = choice(
            settings,
            "variant",
            &[
                ("lopez_de_prado", (Distance::LopezDePrado, Linkage::Single, false)),
                ("pyportfolioopt", (Distance::Correlation, Linkage::Single, false)),
                ("skfolio", (Distance::Correlation, Linkage::Ward, true)),
                ("riskfolio", (Distance::Correlation, Linkage::Single, true)),
            ],
            None,
        )?;
        let options = Self {
            requirements: Requirements { lookback, min_history },
            distance: choice(
                settings,
                "distance",
                &[("lopez_de_prado", Distance::LopezDePrado), ("correlation", Distance::Correlation)],
                Some(distance),
            )?,
            linkage: choice(
                settings,
                "linkage",
                &[
                    ("single", Linkage::Single),
                    ("complete", Linkage::Complete),
                    ("average", Linkage::Average),
                    ("ward", Linkage::Ward),
                ],
                Some(linkage),
            )?,
            optimal_leaf_order: settings.boolean("optimal_leaf_order").unwrap_or(optimal_leaf_order),
            correlation: choice(
                settings,
                "correlation",
                &[
                    ("pearson", Coefficient::Pearson),
                    ("spearman", Coefficient::Spearman),
                    ("kendall", Coefficient::Kendall),
                ],
                None,
            )?,
            covariance: choice(
                settings,
                "covariance",
                &[("sample", Covariance::Sample), ("ledoit_wolf", Covariance::LedoitWolf)],
                None,
            )?,
            measure: choice(
                settings,
                "risk",
                &[Measure::Variance, Measure::Std, Measure::Mad, Measure::SemiStd, Measure::Cvar]
                    .map(|measure| (measure.name(), measure)),
                None,
            )?,
            missing: choice(
                settings,
                "missing",
                &[("complete", Missing::Complete), ("pairwise", Missing::Pairwise)],
                None,
            )?,
            exclude_constant: choice(settings, "zero_variance", &[("error", false), ("exclude", true)], None)?,
        };
        options.check()
    }

    /// Refuses combinations of options that have no meaning.
    fn check(self) -> Result<Self, Error> {
        let needs_returns = !self.measure.uses_covariance();
        let (pairwise, shrunk) = (self.missing == Missing::Pairwise, self.covariance == Covariance::LedoitWolf);
        let measure = self.measure.name();
        if pairwise && shrunk {
            return Err(Error::setting("covariance", "ledoit_wolf with missing = pairwise", "sample"));
        }
        if pairwise && needs_returns {
            return Err(Error::setting("risk", format_args!("{measure} with missing = pairwise"), "variance or std"));
        }
        if shrunk && needs_returns {
            let found = format_args!("ledoit_wolf with risk = {measure}, which uses no covariance");
            return Err(Error::setting("covariance", found, "sample, or one of the risks variance and std"));
        }
        Ok(self)
    }
}

/// Reads a choice and returns the value of the chosen name, or `default` if the setting was omitted.
fn choice<T: Copy>(settings: &Settings, name: &str, choices: &[(&str, T)], default: Option<T>) -> Result<T, Error> {
    let found = settings.text(name);
    let value = match found {
        None => default,
        Some(text) => choices.iter().find(|(choice, _)| *choice == text).map(|(_, value)| *value),
    };
    value.ok_or_else(|| {
        let names: Vec<&str> = choices.iter().map(|(choice, _)| *choice).collect();
        Error::setting(name, found.unwrap_or("nothing"), format_args!("one of {}", names.join(", ")))
    })
}
