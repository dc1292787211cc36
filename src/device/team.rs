//! Loops within loops on one flat `parallel_for`: a task of a loop may run a loop of its own, and threads whose own
//! tasks are done help with it. A host's `parallel_for` need not nest, and no result depends on who helps whom.

use std::any::Any;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::Parallel;

/// How long a thread looks for work before it sleeps: longer than a thread takes to wake up, and shorter than a step.
const SPIN: Duration = Duration::from_micros(30);

/// A loop under way.
struct Loop {
    /// The task, whose lifetime is erased: [`Loop::run`] alone calls it.
    task: &'static (dyn Fn(usize) + Sync),
    count: usize,
    /// The next index to be started.
    next: AtomicUsize,
    /// Indices that have ended.
    ended: AtomicUsize,
    panic: Mutex<Option<Box<dyn Any + Send>>>,
}

impl Loop {
    /// Runs indices until all are started.
    fn run(&self) {
        loop {
            let index = self.next.fetch_add(1, Ordering::Relaxed);
            if index >= self.count {
                return;
            }
            if let Err(panic) = catch_unwind(AssertUnwindSafe(|| (self.task)(index))) {
                lock(&self.panic).get_or_insert(panic);
            }
            self.ended.fetch_add(1, Ordering::Release);
        }
    }

    /// Ends the indices that are not started without running them.
    fn skip(&self) {
        while self.next.fetch_add(1, Ordering::Relaxed) < self.count {
            self.ended.fetch_add(1, Ordering::Release);
        }
    }

    fn is_started(&self) -> bool {
        self.next.load(Ordering::Relaxed) >= self.count
    }

    fn is_done(&self) -> bool {
        self.ended.load(Ordering::Acquire) >= self.count
    }
}

/// Loops that threads may help with.
#[derive(Default)]
struct Queue {
    loops: VecDeque<Arc<Loop>>,
    sleeping: usize,
}

/// Threads that run loops within loops.
pub(crate) struct Team {
    parallel: Arc<dyn Parallel>,
    threads: usize,
    queue: Mutex<Queue>,
    /// Signalled when a loop begins and when an index of a loop ends.
    changed: Condvar,
    /// Whether an outermost loop is under way.
    is_running: AtomicBool,
    /// Whether `parallel` left out a worker.
    left_out: AtomicBool,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Team {
    /// A team of at most `threads` threads of `parallel`.
    pub(crate) fn new(parallel: Arc<dyn Parallel>, threads: usize) -> Self {
        let threads = threads.clamp(1, parallel.threads().max(1));
        let (queue, changed) = (Mutex::default(), Condvar::new());
        Self { parallel, threads, queue, changed, is_running: AtomicBool::new(false), left_out: AtomicBool::new(false) }
    }

    /// A team of the calling thread alone.
    pub(crate) fn alone() -> Self {
        Self::new(Arc::new(Alone), 1)
    }

    /// Whether `parallel` has left out a task since the last call. A loop of which it began none was not run.
    pub(crate) fn take_left_out(&self) -> bool {
        self.left_out.swap(false, Ordering::Relaxed)
    }

    /// Waits until `is_done`, and helps with loops meanwhile if `helps` is set.
    fn wait(&self, helps: bool, is_done: &dyn Fn() -> bool) {
        let mut since = Instant::now();
        while !is_done() {
            let next = if helps { self.next_loop() } else { None };
            if let Some(next) = next {
                next.run();
                self.wake();
                since = Instant::now();
            } else if since.elapsed() < SPIN {
                std::hint::spin_loop();
            } else {
                let mut queue = lock(&self.queue);
                queue.sleeping += 1;
                // Checked under the lock that `wake` takes, so that no change between check and sleep is missed.
                let has_work = helps && queue.loops.iter().any(|next| !next.is_started());
                if !is_done() && !has_work {
                    queue = self.changed.wait(queue).unwrap_or_else(PoisonError::into_inner);
                }
                queue.sleeping -= 1;
            }
        }
    }

    /// A loop that has an index to be started.
    fn next_loop(&self) -> Option<Arc<Loop>> {
        let mut queue = lock(&self.queue);
        queue.loops.retain(|next| !next.is_started());
        queue.loops.front().cloned()
    }

    fn wake(&self) {
        let queue = lock(&self.queue);
        if queue.sleeping > 0 {
            self.changed.notify_all();
        }
    }

    /// Runs a loop whose indices other threads may take.
    fn share(count: usize, task: &(dyn Fn(usize) + Sync), run: impl FnOnce(&Arc<Loop>)) {
        // SAFETY: only the lifetime changes. `Loop::run` alone calls the task, for indices below `count`; this function
        // returns, or unwinds, only after every one of them has ended (`run` waits for that), so the task outlives all
        // calls. A thread that still holds the loop finds every index started and calls nothing.
        let task = unsafe { std::mem::transmute::<&(dyn Fn(usize) + Sync), &'static (dyn Fn(usize) + Sync)>(task) };
        let (next, ended) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let shared = Arc::new(Loop { task, count, next, ended, panic: Mutex::new(None) });
        run(&shared);
        debug_assert!(shared.is_done(), "a loop was left before its end");
        if let Some(panic) = lock(&shared.panic).take() {
            resume_unwind(panic);
        }
    }
}

impl Parallel for Team {
    fn threads(&self) -> usize {
        self.threads
    }

    fn for_each(&self, count: usize, task: &(dyn Fn(usize) + Sync)) {
        if self.threads == 1 || count == 0 {
            (0..count).for_each(task);
            return;
        }
        if self.is_running.swap(true, Ordering::Acquire) {
            // A loop within a loop: others may help.
            Self::share(count, task, |shared| {
                lock(&self.queue).loops.push_back(Arc::clone(shared));
                self.changed.notify_all();
                shared.run();
                self.wait(false, &|| shared.is_done());
            });
            return;
        }
        // The outermost loop: every thread takes its indices first, then helps until all have ended.
        Self::share(count, task, |shared| {
            let begun = AtomicUsize::new(0);
            let workers = catch_unwind(AssertUnwindSafe(|| {
                self.parallel.for_each(self.threads, &|_| {
                    begun.fetch_add(1, Ordering::Relaxed);
                    shared.run();
                    self.wake();
                    self.wait(true, &|| shared.is_done());
                });
            }));
            // A host may leave out workers, and a panic of its own must not leave the loop before its end. A loop that
            // it did not begin is not run.
            let begun = begun.load(Ordering::Relaxed);
            if begun == 0 {
                shared.skip();
            } else {
                shared.run();
            }
            self.wait(false, &|| shared.is_done());
            if begun < self.threads {
                self.left_out.store(true, Ordering::Relaxed);
            }
            self.is_running.store(false, Ordering::Release);
            if let Err(panic) = workers {
                lock(&shared.panic).get_or_insert(panic);
            }
        });
    }
}

/// The calling thread.
struct Alone;

impl Parallel for Alone {
    fn threads(&self) -> usize {
        1
    }

    fn for_each(&self, count: usize, task: &(dyn Fn(usize) + Sync)) {
        (0..count).for_each(task);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::{Arc, Barrier, Mutex};
    use std::thread::ThreadId;

    use super::super::{Parallel, Pool};
    use super::Team;

    fn team(threads: usize) -> Team {
        Team::new(Arc::new(Pool::new(threads).unwrap()), threads)
    }

    #[test]
    fn loops_within_loops_run_every_index_once() {
        for threads in [1, 2, 4] {
            let (team, sum) = (team(threads), AtomicUsize::new(0));
            for outer in [1, 3, 9] {
                sum.store(0, Ordering::Relaxed);
                team.for_each(outer, &|outer| {
                    for _ in 0..20 {
                        team.for_each(7, &|inner| {
                            sum.fetch_add(10 * outer + inner, Ordering::Relaxed);
                        });
                    }
                });
                let expected = 20 * (0..outer).map(|outer| 70 * outer + 21).sum::<usize>();
                assert_eq!(sum.load(Ordering::Relaxed), expected, "{threads} threads, {outer}");
            }
        }
    }

    #[test]
    fn a_thread_without_a_task_of_its_own_helps_with_the_loop_of_another() {
        let (team, seen, both) = (team(2), Mutex::new(BTreeSet::<String>::new()), Barrier::new(2));
        let name = |id: ThreadId| format!("{id:?}");
        team.for_each(1, &|_| {
            // Two indices that wait for each other end only if two threads run them.
            team.for_each(2, &|_| {
                both.wait();
                seen.lock().unwrap().insert(name(std::thread::current().id()));
            });
        });
        assert_eq!(seen.into_inner().unwrap().len(), 2);
    }

    #[test]
    fn a_panic_of_an_inner_index_reaches_the_caller_and_the_team_goes_on() {
        let team = team(2);
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            team.for_each(2, &|outer| team.for_each(4, &|inner| assert!(outer + inner != 3, "three")));
        }));
        assert!(outcome.is_err());
        let sum = AtomicUsize::new(0);
        team.for_each(5, &|index| {
            sum.fetch_add(index, Ordering::Relaxed);
        });
        assert_eq!(sum.into_inner(), 10);
    }

    /// A host that runs its tasks one after another, and leaves out the last.
    struct Careless;

    impl Parallel for Careless {
        fn threads(&self) -> usize {
            4
        }

        fn for_each(&self, count: usize, task: &(dyn Fn(usize) + Sync)) {
            (0..count - 1).for_each(task);
        }
    }

    #[test]
    fn a_host_that_runs_tasks_in_turn_or_leaves_some_out_still_ends_every_loop() {
        let (team, sum) = (Team::new(Arc::new(Careless), 4), AtomicUsize::new(0));
        team.for_each(3, &|_| {
            team.for_each(5, &|inner| {
                sum.fetch_add(inner, Ordering::Relaxed);
            });
        });
        assert_eq!(sum.into_inner(), 30);
        assert!(team.take_left_out() && !team.take_left_out());
    }

    /// A host that does nothing.
    struct Idle;

    impl Parallel for Idle {
        fn threads(&self) -> usize {
            2
        }

        fn for_each(&self, _count: usize, _task: &(dyn Fn(usize) + Sync)) {}
    }

    #[test]
    fn a_loop_that_the_host_does_not_begin_is_not_run_and_known() {
        let team = Team::new(Arc::new(Idle), 2);
        team.for_each(3, &|_| panic!("it ran"));
        assert!(team.take_left_out());
    }
}
