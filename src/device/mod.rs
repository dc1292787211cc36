//! Where work runs. Loops go through [`Parallel`]: a thread pool of ours, or the embedding program's own `parallel_for`.

pub mod cpu;

use crate::error::{Code, Error, Result};

/// Runs independent tasks, perhaps at once. What a task computes must not depend on how many run at once.
pub trait Parallel: Send + Sync {
    /// How many tasks may run at once, at least 1.
    fn threads(&self) -> usize;

    /// Calls `task` once for each of `0..count` and returns when all have ended. A panic in a task is passed on.
    fn for_each(&self, count: usize, task: &(dyn Fn(usize) + Sync));
}

/// A thread pool of our own.
pub struct Pool(rayon::ThreadPool);

impl Pool {
    /// A pool of `threads` threads; 0 for one a core.
    ///
    /// # Errors
    /// `Io` where the threads cannot be started.
    pub fn new(threads: usize) -> Result<Self> {
        rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .thread_name(|number| format!("walkforge-{number}"))
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
    fn every_task_runs_once_and_a_panic_comes_back() {
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
