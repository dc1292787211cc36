//! The settings that `run.json` records.

use serde_json::{Value as Json, json};

use super::Experiment;

impl Experiment {
    /// The settings that results depend on, with defaults filled in. The kind of device is among them because other
    /// kinds round differently. The number of threads is not, as it changes no result.
    pub fn effective(&self) -> Json {
        json!({
            "seed": self.seed,
            "device": self.device.name(),
            "windows": self.windows_values.to_json(),
            "portfolio": self.portfolio.effective(),
            "benchmark": self.benchmark.effective(&self.models),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::Experiment;

    #[test]
    fn effective_settings_hold_the_seed_and_the_device_but_not_the_threads() {
        let effective = |overrides: &[&str]| {
            let overrides: Vec<String> = overrides.iter().map(|&entry| entry.to_owned()).collect();
            Experiment::from_toml("", "".into(), &overrides).unwrap().effective()
        };
        let plain = effective(&[]);
        assert_eq!((&plain["seed"], &plain["device"]), (&0.into(), &"cpu".into()));
        assert_eq!(effective(&["threads=3", "device=cpu"]), plain);
        assert_eq!(effective(&["seed=7"])["seed"], 7);
    }
}
