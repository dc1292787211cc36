//! The instruction level that kernels run at: the best one of the machine, or one that the user pins. Bits may differ
//! between levels, and are equal on all machines at one level, so a process computes at a single one.

use std::sync::OnceLock;

use pulp::Arch;

use crate::error::{Result, fail};
use crate::settings::{Choice, choices};

choices! {
    /// An instruction level.
    pub enum SimdLevel {
        /// The best one that the CPU has.
        Auto = "auto",
        /// No vector instructions of our own choice.
        Scalar = "scalar",
        /// AVX2 and FMA.
        X86V3 = "x86-64-v3",
        /// AVX-512.
        X86V4 = "x86-64-v4",
        /// Neon of 64-bit Arm.
        Neon = "neon",
    }
}

/// The level of this process and its kernels, once one was chosen.
static CHOSEN: OnceLock<(SimdLevel, Arch)> = OnceLock::new();

impl SimdLevel {
    /// The kernels of this level; `None` where the CPU lacks it.
    fn arch(self) -> Option<Arch> {
        match self {
            Self::Auto => Some(Arch::new()),
            Self::Scalar => Some(Arch::Scalar),
            #[cfg(target_arch = "x86_64")]
            Self::X86V3 => pulp::x86::V3::try_new().map(Arch::V3),
            #[cfg(target_arch = "x86_64")]
            Self::X86V4 => pulp::x86::V4::try_new().map(Arch::V4),
            #[cfg(target_arch = "aarch64")]
            Self::Neon => pulp::aarch64::Neon::try_new().map(Arch::Neon),
            #[allow(unreachable_patterns)]
            _ => None,
        }
    }

    /// The levels of this machine, the best one last.
    pub fn available() -> Vec<Self> {
        [Self::Scalar, Self::X86V3, Self::X86V4, Self::Neon]
            .into_iter()
            .filter(|level| level.arch().is_some())
            .collect()
    }
}

fn best() -> (SimdLevel, Arch) {
    SimdLevel::available()
        .pop()
        .and_then(|level| Some((level, level.arch()?)))
        .unwrap_or((SimdLevel::Scalar, Arch::Scalar))
}

fn chosen() -> (SimdLevel, Arch) {
    *CHOSEN.get_or_init(best)
}

/// The kernels of the level of this process.
pub(crate) fn arch() -> Arch {
    chosen().1
}

/// Chooses the level of this process, if none was chosen, and returns the one that it has.
///
/// # Errors
/// `InvalidSetting` if the machine lacks the level, with those that it has, or if the process computes at another one.
pub fn choose_level(wanted: SimdLevel) -> Result<SimdLevel> {
    if wanted == SimdLevel::Auto {
        return Ok(chosen().0);
    }
    let Some(arch) = wanted.arch() else {
        let names: Vec<&str> = SimdLevel::available().into_iter().map(Choice::name).collect();
        fail!(
            InvalidSetting,
            "setting 'simd': found \"{}\", which this machine lacks; allowed are auto, {}",
            wanted.name(),
            names.join(", ")
        );
    };
    let (level, _) = *CHOSEN.get_or_init(|| (wanted, arch));
    if level != wanted {
        fail!(
            InvalidSetting,
            "setting 'simd': found \"{}\", but this process computes at \"{}\" since its first run; use one process \
             per level",
            wanted.name(),
            level.name()
        );
    }
    Ok(level)
}

#[cfg(test)]
mod tests {
    use super::{SimdLevel, choose_level};

    #[test]
    fn a_process_has_one_level_and_another_one_is_refused_by_name() {
        // Other tests of this process may have computed, so the level is the best one.
        let available = SimdLevel::available();
        let best = *available.last().unwrap();
        assert_eq!(available[0], SimdLevel::Scalar);
        assert_eq!(choose_level(SimdLevel::Auto).unwrap(), best);
        assert_eq!(choose_level(best).unwrap(), best);
        if best != SimdLevel::Scalar {
            let message = choose_level(SimdLevel::Scalar).unwrap_err().to_string();
            assert!(message.contains("found \"scalar\", but this process computes at \"x86-64-v"), "{message}");
        }
        let foreign = if cfg!(target_arch = "x86_64") { SimdLevel::Neon } else { SimdLevel::X86V3 };
        let message = choose_level(foreign).unwrap_err().to_string();
        assert!(message.contains("which this machine lacks; allowed are auto, scalar"), "{message}");
    }
}
