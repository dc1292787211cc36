//! `device`: what models are computed on.

use crate::error::{Result, fail};

/// What models are computed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Device {
    /// The processor.
    Cpu,
}

impl Device {
    /// Reads `auto` or `cpu`.
    ///
    /// # Errors
    /// `InvalidSetting` with what is allowed; CUDA devices are refused, as this build has none.
    pub fn parse(text: &str) -> Result<Self> {
        match text {
            "auto" => Ok(Self::Cpu),
            cpu if cpu == Self::Cpu.name() => Ok(Self::Cpu),
            cuda if cuda.strip_prefix("cuda:").is_some_and(|number| number.parse::<u32>().is_ok()) => fail!(
                InvalidSetting,
                "setting 'device': found \"{cuda}\", but this build has no CUDA; allowed are auto, cpu"
            ),
            _ => fail!(InvalidSetting, "setting 'device': found \"{text}\", allowed are auto, cpu"),
        }
    }

    /// Its name in `run.json`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
        }
    }
}
