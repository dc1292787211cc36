//! Experiment files, and the data files that they name.

use std::path::{Path, PathBuf};

use serde_json::Value as Json;

use super::{Experiment, overrides};
use crate::error::{Code, Error, Result, fail};
use crate::panel::{Membership, Panel};

impl Experiment {
    /// Reads an experiment file and applies `section.key=value` overrides.
    ///
    /// # Errors
    /// `NotFound`, `Io`, and `InvalidSetting` that names the file and the setting.
    pub fn from_file(path: &Path, overrides: &[String]) -> Result<Self> {
        let text = std::fs::read_to_string(path).map_err(|error| Error::io("read", path, &error))?;
        let folder = path.parent().unwrap_or(Path::new("")).to_owned();
        Self::from_toml(&text, folder, overrides)
            .map_err(|error| error.context(format!("cannot use {}", path.display())))
    }

    /// From TOML text; data paths are relative to `folder`.
    ///
    /// # Errors
    /// `InvalidSetting` that names the setting.
    pub fn from_toml(text: &str, folder: PathBuf, overrides: &[String]) -> Result<Self> {
        let mut tree: Json = toml::from_str(text).map_err(|error| {
            // Of what is nested too deeply the parser does not say where.
            let place =
                if error.span().is_some() { String::new() } else { format!(" near line {}", deepest_line(text)) };
            Error::new(Code::InvalidSetting, format!("it is not TOML: {}{place}", error.to_string().trim_end()))
        })?;
        for entry in overrides {
            overrides::set(&mut tree, entry)?;
        }
        Self::from_json(&tree, folder)
    }

    /// Reads the panel that `[data]` names.
    ///
    /// # Errors
    /// `InvalidSetting` where none is named, and what reading gives.
    pub fn panel(&self) -> Result<Panel> {
        let Some((kind, path)) = &self.data else {
            fail!(InvalidSetting, "setting 'data.prices' is missing: name a file there, or in 'data.returns'");
        };
        let mut panel = Panel::from_file(*kind, &self.folder.join(path))?.with_stale_rows(self.stale_rows);
        if let Some(path) = &self.membership {
            panel = panel.with_membership(&Membership::from_csv(&self.folder.join(path))?);
        }
        for (name, path) in &self.features {
            panel = panel.with_feature_file(name, &self.folder.join(path))?;
        }
        Ok(panel)
    }

    /// Whether it names data of its own, which an embedding program that brings a panel must not.
    pub fn names_data(&self) -> bool {
        self.data.is_some() || self.membership.is_some() || self.stale_rows > 0 || !self.features.is_empty()
    }
}

/// The line, from 1, with the most signs of tables in tables.
fn deepest_line(text: &str) -> usize {
    let depth = |line: &str| line.matches(['.', '[', '{']).count();
    text.lines()
        .enumerate()
        .max_by_key(|(place, line)| (depth(line), usize::MAX - place))
        .map_or(1, |(place, _)| place + 1)
}
