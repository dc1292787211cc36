//! The seed of a job.

use jiff::civil::Date;
use sha2::{Digest, Sha256};

/// The seed of a model in a window: a function of the experiment's seed, the model's name and the civil day on which
/// the window's test span nominally starts. Data added at the front, another step or another model move no seed.
pub(crate) fn job_seed(seed: u64, model: &str, test_start: Date) -> u64 {
    let mut hash = Sha256::new();
    hash.update(b"walkforge job\0");
    hash.update(seed.to_le_bytes());
    hash.update(test_start.to_string());
    hash.update(b"\0");
    hash.update(model);
    let digest = hash.finalize();
    digest.iter().take(8).rev().fold(0, |seed, byte| seed << 8 | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;

    use super::job_seed;

    #[test]
    fn a_seed_depends_on_seed_name_and_day_and_stays_as_it_is() {
        let seed = job_seed(7, "lstm", date(2014, 1, 1));
        // SHA-256 of "walkforge job\0", 7 in 8 bytes, "2014-01-01\0lstm", by another implementation.
        assert_eq!(seed, 0xa544_5177_71c0_f99c);
        let others = [
            job_seed(8, "lstm", date(2014, 1, 1)),
            job_seed(7, "lstm2", date(2014, 1, 1)),
            job_seed(7, "lstm", date(2014, 1, 2)),
        ];
        assert!(others.iter().all(|other| *other != seed));
    }
}
