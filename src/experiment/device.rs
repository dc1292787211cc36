//! `device`: what models run on.

use crate::error::{Result, fail};

/// The device that models run on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Device {
    /// The CPU.
    Cpu,
}

impl Device {
    /// Parses `auto` or `cpu`.
    ///
    /// # Errors
    /// `InvalidSetting` for anything else, including CUDA devices, which this build does not support.
    pub fn parse(text: &str) -> Result<Self> {
        match text {
            "auto" => Ok(Self::Cpu),
            cpu if cpu == Self::Cpu.name() => Ok(Self::Cpu),
            cuda if cuda.strip_prefix("cuda:").is_some_and(|index| index.parse::<u32>().is_ok()) => fail!(
                InvalidSetting,
                "setting 'device': found \"{cuda}\", but this build has no CUDA; allowed are auto, cpu"
            ),
            _ => fail!(InvalidSetting, "setting 'device': found \"{text}\", allowed are auto, cpu"),
        }
    }

    /// The name in `run.json`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
        }
    }
}
