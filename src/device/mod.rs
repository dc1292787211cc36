//! Devices and threads. Parallel loops run on our thread pool or on that of the embedding program ([`Parallel`]).

pub(crate) mod cpu;
mod float_environment;
pub(crate) mod memory;
mod team;

pub use float_environment::{in_default_environment, keep_environment};
pub(crate) use team::Team;

use crate::error::{Code, Error, Result};

/// Runs independent tasks, possibly concurrently. The result of a task must not depend on how many run at once.
pub trait Parallel: Send + Sync {
    /// How many tasks may run concurrently, at least 1.
    fn threads(&self) -> usize;

    /// Calls `task` once for each index in `0..count` and waits for all calls. A panic in a task is propagated.
    fn for_each(&self, count: usize, task: &(dyn Fn(usize) + Sync));
}

/// The library's own thread pool.
pub(crate) struct Pool(rayon::ThreadPool);

impl Pool {
    /// Starts `threads` threads; 0 means one per core.
    ///
    /// # Errors
    /// `Io` if the threads cannot be started.
    pub(crate) fn new(threads: usize) -> Result<Self> {
        rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .thread_name(|index| format!("walkforge-{index}"))
            .build()
            .map(Self)
            .map_err(|error| Error::new(Code::Io, format!("cannot start {threads} threads: {error}")))
    }
}

impl Parallel for Pool {
    fn threads(&self) -> usize {
        self.0.current_num_threads()
    }

    fn for_each(&self, count: usize, task: &(dyn Fn(usize) + Sync)) {
        use rayon::prelude::*;
        self.0.install(|| (0..count).into_par_iter().with_max_len(1).for_each(task));
    }
}

#[cfg(test)]
mod tests {
    use super::{Parallel, Pool};
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn every_task_runs_once_and_a_panic_is_propagated() {
        let pool = Pool::new(3).unwrap();
        assert_eq!(pool.threads(), 3);
        let sum = AtomicUsize::new(0);
        pool.for_each(100, &|task| {
            sum.fetch_add(task + 1, Ordering::Relaxed);
        });
        assert_eq!(sum.into_inner(), 5050);
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            pool.for_each(4, &|task| assert!(task != 2, "task two"));
        }));
        assert!(outcome.is_err());
    }
}
