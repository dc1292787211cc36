//! The decisions of a window, in memory or in a file: a run over many windows reads them back for its scores only.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use crate::error::{Code, Error, Result};
use crate::portfolio::Decision;

/// The decisions of one model in one window.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SpanDecisions {
    /// Of the train span, made from inputs inside it; `None` if the model has nothing to fit.
    pub train: Option<Vec<Decision>>,
    /// Of the validation span.
    pub validation: Vec<Decision>,
    /// Of the test span.
    pub test: Vec<Decision>,
}

/// Decisions that may lie in a file.
#[derive(Clone, Debug)]
pub struct StoredDecisions(Held);

#[derive(Clone, Debug)]
enum Held {
    InMemory(Arc<SpanDecisions>),
    InFile { file: Arc<SpillFile>, offset: u64, bytes: usize },
}

impl From<SpanDecisions> for StoredDecisions {
    fn from(decisions: SpanDecisions) -> Self {
        Self(Held::InMemory(Arc::new(decisions)))
    }
}

impl StoredDecisions {
    /// The decisions.
    ///
    /// # Errors
    /// `Io` with the file if they cannot be read back.
    pub fn get(&self) -> Result<Arc<SpanDecisions>> {
        match &self.0 {
            Held::InMemory(decisions) => Ok(Arc::clone(decisions)),
            Held::InFile { file, offset, bytes } => Ok(Arc::new(file.read(*offset, *bytes)?)),
        }
    }

    /// Bytes that they take in memory.
    pub(crate) fn bytes(&self) -> usize {
        let of = |decision: &Decision| {
            let scores = decision.scores.as_ref().map_or(0, |scores| size_of_val(scores.as_slice()));
            size_of::<Decision>() + size_of_val(decision.target.as_slice()) + decision.shown.len() + scores
        };
        match &self.0 {
            Held::InMemory(decisions) => {
                let SpanDecisions { train, validation, test } = &**decisions;
                train.iter().flatten().chain(validation).chain(test).map(of).sum()
            }
            Held::InFile { .. } => 0,
        }
    }

    /// Moves them to a file.
    ///
    /// # Errors
    /// `Io` with the file if they cannot be written; they then stay in memory.
    pub(crate) fn spill(&mut self, file: &Arc<SpillFile>) -> Result<()> {
        if let Held::InMemory(decisions) = &self.0 {
            let (offset, bytes) = file.append(decisions)?;
            self.0 = Held::InFile { file: Arc::clone(file), offset, bytes };
        }
        Ok(())
    }
}

/// A file without a name, whose space is free again when the run ends, however it ends.
#[derive(Debug)]
pub(crate) struct SpillFile {
    folder: PathBuf,
    file: File,
    end: Mutex<u64>,
}

impl SpillFile {
    /// Creates the file in a folder.
    ///
    /// # Errors
    /// `Io` with the folder.
    pub(crate) fn create(folder: &Path) -> Result<Self> {
        let error = |error: std::io::Error| Self::error(folder, "create", &error);
        let nameless = OpenOptions::new().read(true).write(true).custom_flags(libc::O_TMPFILE).mode(0o600).open(folder);
        let file = if let Ok(file) = nameless {
            file
        } else {
            // Some file systems know no nameless files: the name goes as soon as the file is open.
            let path = folder.join(format!(".walkforge-decisions-{}", std::process::id()));
            let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path);
            let file = file.map_err(error)?;
            std::fs::remove_file(&path).map_err(error)?;
            file
        };
        Ok(Self { folder: folder.to_owned(), file, end: Mutex::new(0) })
    }

    fn error(folder: &Path, action: &str, error: &std::io::Error) -> Error {
        let message = format!("cannot {action} the temporary file of decisions in {}: {error}", folder.display());
        Error::new(Code::Io, message)
    }

    /// Appends decisions; returns where they begin and how many bytes they take.
    fn append(&self, decisions: &SpanDecisions) -> Result<(u64, usize)> {
        let mut bytes = Vec::new();
        write_list(&mut bytes, decisions.train.as_deref());
        write_list(&mut bytes, Some(&decisions.validation));
        write_list(&mut bytes, Some(&decisions.test));
        let mut end = self.end.lock().unwrap_or_else(PoisonError::into_inner);
        self.file.write_all_at(&bytes, *end).map_err(|error| Self::error(&self.folder, "write to", &error))?;
        let offset = *end;
        *end += bytes.len() as u64;
        Ok((offset, bytes.len()))
    }

    fn read(&self, offset: u64, count: usize) -> Result<SpanDecisions> {
        let mut bytes = vec![0; count];
        self.file.read_exact_at(&mut bytes, offset).map_err(|error| Self::error(&self.folder, "read", &error))?;
        let mut rest = bytes.as_slice();
        let mut next = || read_list(&mut rest);
        let decisions = (|| Some(SpanDecisions { train: next()?, validation: next()??, test: next()?? }))();
        decisions.ok_or_else(|| {
            let damaged = std::io::Error::new(std::io::ErrorKind::InvalidData, "it was changed");
            Self::error(&self.folder, "read", &damaged)
        })
    }
}

/// Writes a list of decisions; each number is 8 bytes, the lowest first.
fn write_list(out: &mut Vec<u8>, list: Option<&[Decision]>) {
    let number = |out: &mut Vec<u8>, number: u64| out.extend(number.to_le_bytes());
    number(out, list.map_or(u64::MAX, |list| list.len() as u64));
    for decision in list.into_iter().flatten() {
        number(out, decision.row as u64);
        number(out, decision.target.len() as u64);
        number(out, u64::from(decision.scores.is_some()));
        out.extend(decision.target.iter().flat_map(|weight| weight.to_le_bytes()));
        out.extend(decision.scores.iter().flatten().flat_map(|score| score.to_le_bytes()));
        out.extend(decision.shown.iter().map(|shown| u8::from(*shown)));
    }
}

/// Reads what [`write_list`] wrote, and moves `rest` behind it; `None` if it is damaged.
#[allow(clippy::option_option)]
fn read_list(rest: &mut &[u8]) -> Option<Option<Vec<Decision>>> {
    fn take<'a>(rest: &mut &'a [u8], count: usize) -> Option<&'a [u8]> {
        let (first, behind) = rest.split_at_checked(count)?;
        *rest = behind;
        Some(first)
    }
    fn number(rest: &mut &[u8]) -> Option<u64> {
        Some(u64::from_le_bytes(take(rest, 8)?.try_into().ok()?))
    }
    fn reals(rest: &mut &[u8], count: usize) -> Option<Vec<f64>> {
        let bytes = take(rest, count.checked_mul(8)?)?;
        bytes.chunks_exact(8).map(|bytes| Some(f64::from_le_bytes(bytes.try_into().ok()?))).collect()
    }
    let count = number(rest)?;
    if count == u64::MAX {
        return Some(None);
    }
    let mut out = Vec::new();
    for _ in 0..count {
        let (row, assets, has_scores) = (number(rest)? as usize, number(rest)? as usize, number(rest)? != 0);
        let target = reals(rest, assets)?;
        let scores = if has_scores { Some(reals(rest, assets)?) } else { None };
        let shown = take(rest, assets)?.iter().map(|shown| *shown != 0).collect();
        out.push(Decision { row, target, shown, scores });
    }
    Some(Some(out))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt;
    use std::sync::Arc;

    use super::{SpanDecisions, SpillFile, StoredDecisions};
    use crate::error::Code;
    use crate::portfolio::Decision;

    fn decisions(row: usize, train: bool) -> SpanDecisions {
        let decision = |row: usize, scores: bool| Decision {
            row,
            target: vec![0.1 * row as f64, -0.0, f64::MIN_POSITIVE],
            shown: vec![true, false, row.is_multiple_of(2)],
            scores: scores.then(|| vec![1.5, f64::NAN, -3.0]),
        };
        SpanDecisions {
            train: train.then(|| vec![decision(row, true), decision(row + 1, false)]),
            validation: Vec::new(),
            test: vec![decision(row + 2, true)],
        }
    }

    /// Equal bit for bit; NaN equals itself.
    fn text(decisions: &SpanDecisions) -> String {
        format!("{decisions:?}")
    }

    #[test]
    fn decisions_come_back_from_the_file_as_they_were_and_nothing_is_left_behind() {
        let folder = std::env::temp_dir().join(format!("walkforge-spill-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let file = Arc::new(SpillFile::create(&folder).unwrap());
        let all: Vec<SpanDecisions> = (0..4).map(|index| decisions(10 * index, index % 2 == 0)).collect();
        let mut stored: Vec<StoredDecisions> = all.iter().cloned().map(StoredDecisions::from).collect();
        // 3 assets: row, target, shown and scores, and what a decision is besides.
        assert_eq!(stored[1].bytes(), size_of::<Decision>() + 24 + 3 + 24);
        for stored in &mut stored {
            stored.spill(&file).unwrap();
        }
        for (stored, expected) in stored.iter().zip(&all) {
            assert_eq!((text(&stored.get().unwrap()), stored.bytes()), (text(expected), 0));
        }
        assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 0);
        // A file that someone truncated or wrote to is an error that names its folder.
        file.file.write_all_at(&[0xff; 8], 8).unwrap();
        file.file.set_len(200).unwrap();
        for stored in [&stored[0], &stored[3]] {
            let error = stored.get().unwrap_err();
            assert_eq!(error.code(), Code::Io);
            assert!(error.to_string().contains(&*folder.to_string_lossy()), "{error}");
        }
        std::fs::remove_dir(&folder).unwrap();
        let missing = SpillFile::create(&folder).unwrap_err().to_string();
        assert!(missing.starts_with("cannot create the temporary file of decisions in "), "{missing}");
    }
}
