//! The options, and what each named variant sets them to.

use walkforge_plugin::{Coefficient, Covariance, Error, Missing, Requirements, Settings};

use crate::linkage::Linkage;
use crate::risk::Measure;

/// The declaration that the host checks a user's settings against. An option that is left out is what the variant says.
pub const DESCRIPTION: &str = concat!(
    r#"{"name": "hrp", "kind": "estimator", "version": ""#,
    env!("CARGO_PKG_VERSION"),
    r#"", "doc": "Hierarchical risk parity (Lopez de Prado 2016)", "settings": ["#,
    r#"{"name": "lookback", "type": "integer", "minimum": 2, "maximum": 100000, "default": 756, "#,
    r#""doc": "returns (rows) that correlations and variances are taken from"},"#,
    r#"{"name": "min_history", "type": "integer", "minimum": 2, "maximum": 100000, "default": null, "#,
    r#""doc": "finite returns an asset needs in the lookback to be weighed; half of the lookback if left out"},"#,
    r#"{"name": "variant", "type": "choice", "default": "lopez_de_prado", "#,
    r#""choices": ["lopez_de_prado", "pyportfolioopt", "skfolio", "riskfolio"], "#,
    r#""doc": "whose HRP the options below are set to where they are left out"},"#,
    r#"{"name": "distance", "type": "choice", "choices": ["lopez_de_prado", "correlation"], "default": null, "#,
    r#""doc": "what is clustered: distances between columns of d = sqrt((1 - correlation)/2), or d itself; "#,
    r#"if left out correlation, but lopez_de_prado for that variant"},"#,
    r#"{"name": "linkage", "type": "choice", "choices": ["single", "complete", "average", "ward"], "default": null, "#,
    r#""doc": "distance between clusters; if left out single, but ward for skfolio"},"#,
    r#"{"name": "optimal_leaf_order", "type": "boolean", "default": null, "#,
    r#""doc": "turn clusters so that neighbouring leaves are near; if left out true for skfolio and riskfolio"},"#,
    r#"{"name": "correlation", "type": "choice", "choices": ["pearson", "spearman", "kendall"], "default": "pearson", "#,
    r#""doc": "correlation that distances are made of"},"#,
    r#"{"name": "covariance", "type": "choice", "choices": ["sample", "ledoit_wolf"], "default": "sample", "#,
    r#""doc": "covariance that risks variance and std are taken from"},"#,
    r#"{"name": "risk", "type": "choice", "choices": ["variance", "std", "mad", "semi_std", "cvar"], "#,
    r#""default": "variance", "doc": "risk that weight is split by; cvar at 95 %"},"#,
    r#"{"name": "missing", "type": "choice", "choices": ["complete", "pairwise"], "default": "complete", "#,
    r#""doc": "rows in which all assets have a return, or for every pair those in which both have one"},"#,
    r#"{"name": "zero_variance", "type": "choice", "choices": ["error", "exclude"], "default": "error", "#,
    r#""doc": "refuse an asset whose returns do not vary, or give it no weight"}]}"#
);

/// What is clustered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Distance {
    /// Euclidean distance between the columns of d.
    LopezDePrado,
    /// d itself.
    Correlation,
}

/// A model's options.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    pub requirements: Requirements,
    pub distance: Distance,
    pub linkage: Linkage,
    pub optimal_leaf_order: bool,
    pub correlation: Coefficient,
    pub covariance: Covariance,
    pub measure: Measure,
    pub missing: Missing,
    /// Whether an asset whose returns do not vary gets no weight instead of being refused.
    pub exclude_flat: bool,
}

impl Options {
    /// Reads checked settings.
    ///
    /// # Errors
    /// `InvalidSetting` where two settings contradict each other: the name of one, what was found with what, and what
    /// is allowed.
    pub fn read(settings: &Settings) -> Result<Self, Error> {
        let lookback = settings.count("lookback").ok_or_else(|| Error::new("setting 'lookback' is missing"))?;
        let min_history = settings.count("min_history").unwrap_or(lookback.div_ceil(2).max(2));
        if min_history > lookback {
            return Err(Error::setting("min_history", min_history, format_args!("at most the lookback of {lookback}")));
        }
        let (distance, linkage, turned) = choice(
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
            optimal_leaf_order: settings.boolean("optimal_leaf_order").unwrap_or(turned),
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
                    .map(|measure| (measure.word(), measure)),
                None,
            )?,
            missing: choice(
                settings,
                "missing",
                &[("complete", Missing::Complete), ("pairwise", Missing::Pairwise)],
                None,
            )?,
            exclude_flat: choice(settings, "zero_variance", &[("error", false), ("exclude", true)], None)?,
        };
        options.check()
    }

    /// Refuses options that cannot be had together.
    fn check(self) -> Result<Self, Error> {
        let of_rows = !self.measure.is_of_covariance();
        let (pairwise, shrunk) = (self.missing == Missing::Pairwise, self.covariance == Covariance::LedoitWolf);
        let word = self.measure.word();
        if pairwise && shrunk {
            return Err(Error::setting("covariance", "ledoit_wolf with missing = pairwise", "sample"));
        }
        if pairwise && of_rows {
            return Err(Error::setting("risk", format_args!("{word} with missing = pairwise"), "variance or std"));
        }
        if shrunk && of_rows {
            let found = format_args!("ledoit_wolf with risk = {word}, which uses no covariance");
            return Err(Error::setting("covariance", found, "sample, or one of the risks variance and std"));
        }
        Ok(self)
    }
}

/// The value of the word that a setting holds; `left_out` where it was left out.
fn choice<T: Copy>(settings: &Settings, name: &str, words: &[(&str, T)], left_out: Option<T>) -> Result<T, Error> {
    let found = settings.text(name);
    let value = match found {
        None => left_out,
        Some(text) => words.iter().find(|(word, _)| *word == text).map(|(_, value)| *value),
    };
    value.ok_or_else(|| {
        let words: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
        Error::setting(name, found.unwrap_or("nothing"), format_args!("one of {}", words.join(", ")))
    })
}
