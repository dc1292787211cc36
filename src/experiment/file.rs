//! Reads experiment files and the data files that they name.

use std::path::{Path, PathBuf};

use super::{Experiment, overrides};
use crate::error::{Code, Error, Result, fail};
use crate::panel::{Membership, Panel};
use crate::settings::parse_toml;

impl Experiment {
    /// Reads an experiment file and applies overrides of the form `section.key=value`.
    ///
    /// # Errors
    /// `NotFound` or `Io` if the file cannot be read; `InvalidSetting` that names the file and the setting.
    pub fn from_file(path: &Path, overrides: &[String]) -> Result<Self> {
        let text = std::fs::read_to_string(path).map_err(|error| Error::io("read", path, &error))?;
        let folder = path.parent().unwrap_or(Path::new("")).to_owned();
        Self::from_toml(&text, folder, overrides)
            .map_err(|error| error.context(format!("cannot use {}", path.display())))
    }

    /// Parses TOML text and applies overrides of the form `section.key=value`; data paths are relative to `folder`.
    ///
    /// # Examples
    /// ```
    /// use std::path::PathBuf;
    /// use walkforge::Experiment;
    ///
    /// let text = "[windows]\ntrain_months = 24\n";
    /// let overrides = ["portfolio.cost_bps=5".to_owned()];
    /// let experiment = Experiment::from_toml(text, PathBuf::new(), &overrides)?;
    /// assert_eq!(experiment.windows.train_months, 24);
    /// assert_eq!(experiment.portfolio.cost_bps, 5.0);
    /// # Ok::<(), walkforge::Error>(())
    /// ```
    ///
    /// # Errors
    /// `InvalidSetting` that names the setting.
    pub fn from_toml(text: &str, folder: PathBuf, overrides: &[String]) -> Result<Self> {
        let mut tree = parse_toml(text).map_err(|error| {
            // The parser does not locate tables that are nested too deeply.
            let location =
                if error.span().is_some() { String::new() } else { format!(" near line {}", deepest_line(text)) };
            Error::new(Code::InvalidSetting, format!("it is not TOML: {}{location}", error.to_string().trim_end()))
        })?;
        for entry in overrides {
            overrides::set(&mut tree, entry)?;
        }
        Self::from_json(&tree, folder)
    }

    /// Reads the panel from the files that `[data]` names.
    ///
    /// # Errors
    /// `InvalidSetting` if no data file is named; errors of reading the files.
    pub fn panel(&self) -> Result<Panel> {
        let Some((kind, path)) = &self.data else {
            fail!(InvalidSetting, "setting 'data.prices' is missing: name a file there, or in 'data.returns'");
        };
        let mut panel = Panel::from_file(*kind, &self.folder.join(path))?;
        if let Some(rows) = self.stale_rows {
            panel = panel.with_stale_rows(rows);
        }
        if let Some(path) = &self.membership {
            panel = panel.with_membership(&Membership::from_csv(&self.folder.join(path))?);
        }
        for (name, path) in &self.features {
            panel = panel.with_feature_file(name, &self.folder.join(path))?;
        }
        Ok(panel)
    }
}

/// The number, from 1, of the first line with the most characters that nest tables.
fn deepest_line(text: &str) -> usize {
    let depth = |line: &str| line.matches(['.', '[', '{']).count();
    text.lines()
        .enumerate()
        .max_by_key(|(index, line)| (depth(line), usize::MAX - index))
        .map_or(1, |(index, _)| index + 1)
}
