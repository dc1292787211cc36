//! Runs a bench at every instruction level of the machine.

use walkforge::internals::device::cpu::{SimdLevel, choose_level};
use walkforge::internals::settings::Choice as _;
use walkforge::{Code, Error, Result};

/// Calls `bench` once per level but scalar, in a process per level: a process computes at one level.
pub(crate) fn at_every_level(bench: impl FnOnce(SimdLevel) -> Result<()>) -> Result<()> {
    const LEVEL: &str = "WALKFORGE_BENCH_LEVEL";
    if let Some(name) = std::env::var_os(LEVEL) {
        let level = SimdLevel::from_name(&name.to_string_lossy()).unwrap_or(SimdLevel::Auto);
        return bench(choose_level(level)?);
    }
    for level in SimdLevel::available().into_iter().filter(|level| *level != SimdLevel::Scalar) {
        let program = std::env::current_exe().map_err(|error| Error::new(Code::Io, error.to_string()))?;
        let status = std::process::Command::new(program).env(LEVEL, level.name()).status();
        if !status.is_ok_and(|status| status.success()) {
            return Err(Error::new(Code::Internal, format!("the bench failed at {}", level.name())));
        }
    }
    Ok(())
}
