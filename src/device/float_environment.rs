//! The floating-point environment of a thread: rounding, traps, flushing of subnormal numbers, and the exceptions that
//! were raised. Results depend on it, so it is the default one while the library computes, whatever the host or a
//! plugin has set, and theirs again when control returns to them.

use core::ffi::c_int;

/// At least as large, and as strictly aligned, as `fenv_t` of any supported platform (32 bytes on x86-64, 8 on aarch64).
#[repr(C, align(16))]
#[derive(Clone, Copy)]
struct FloatEnvironment([u8; 64]);

/// `FE_DFL_ENV`: the environment that a program starts with.
const DEFAULT: *const FloatEnvironment = core::ptr::without_provenance(usize::MAX);

#[link(name = "m")]
unsafe extern "C" {
    fn fegetenv(out: *mut FloatEnvironment) -> c_int;
    fn fesetenv(environment: *const FloatEnvironment) -> c_int;
}

impl FloatEnvironment {
    fn current() -> Self {
        let mut out = Self([0; 64]);
        // SAFETY: `out` is large enough for `fenv_t`.
        unsafe { fegetenv(&raw mut out) };
        out
    }

    fn set(&self) {
        // SAFETY: made by `fegetenv`.
        unsafe { fesetenv(self) };
    }

    /// Rounding, traps and flushing, without the exceptions that were raised.
    fn modes(&self) -> u32 {
        let word = |at: usize| u32::from_le_bytes([self.0[at], self.0[at + 1], self.0[at + 2], self.0[at + 3]]);
        #[cfg(target_arch = "x86_64")]
        {
            // MXCSR is at byte 28. Its low six bits are the exceptions.
            word(28) & !0x3f
        }
        #[cfg(not(target_arch = "x86_64"))]
        {
            // The control register comes first; it holds no exceptions.
            word(0)
        }
    }
}

/// Sets an environment when dropped, also when a panic passes.
struct Restore(FloatEnvironment);

impl Drop for Restore {
    fn drop(&mut self) {
        self.0.set();
    }
}

/// Runs `body`, code of the library, in the default environment. The caller's is there again afterwards, with the
/// exceptions that it had raised.
pub fn in_default_environment<R>(body: impl FnOnce() -> R) -> R {
    let _restore = Restore(FloatEnvironment::current());
    // SAFETY: `FE_DFL_ENV` is a value that the function knows and does not read from.
    unsafe { fesetenv(DEFAULT) };
    body()
}

/// Runs `body`, code of a host or a plugin, and restores the environment that it was given. Second: whether `body` had
/// changed rounding, traps or flushing.
pub fn keep_environment<R>(body: impl FnOnce() -> R) -> (R, bool) {
    let restore = Restore(FloatEnvironment::current());
    let out = body();
    let changed = FloatEnvironment::current().modes() != restore.0.modes();
    (out, changed)
}

#[cfg(all(test, target_arch = "x86_64"))]
mod tests {
    use super::{in_default_environment, keep_environment};
    use core::arch::asm;

    fn mxcsr() -> u32 {
        let mut out = 0_u32;
        // SAFETY: writes four bytes to a local variable.
        unsafe { asm!("stmxcsr [{}]", in(reg) &raw mut out) };
        out
    }

    fn set_mxcsr(value: u32) {
        // SAFETY: reads a local variable; the tests set the default again before they compute.
        unsafe { asm!("ldmxcsr [{}]", in(reg) &raw const value) };
    }

    const DEFAULT: u32 = 0x1f80;

    #[test]
    fn the_library_computes_in_the_default_environment_and_the_caller_gets_its_own_back() {
        // Rounding up, division by zero traps, subnormal numbers flushed both ways, an exception raised.
        for own in [DEFAULT | 0x4000, DEFAULT & !0x200, DEFAULT | 0x8040, DEFAULT | 0x20, DEFAULT | 0x6000 | 0x8000] {
            set_mxcsr(own);
            let (inside, outside) = (in_default_environment(mxcsr), mxcsr());
            let caught = std::panic::catch_unwind(|| in_default_environment(|| std::panic::panic_any(1)));
            let after_panic = mxcsr();
            set_mxcsr(DEFAULT);
            assert_eq!((inside, outside, after_panic), (DEFAULT, own, own));
            assert!(caught.is_err());
        }
    }

    #[test]
    fn what_foreign_code_changes_is_undone_and_reported_but_for_exceptions() {
        for (set, reported) in
            [(DEFAULT | 0x2000, true), (DEFAULT & !0x80, true), (DEFAULT | 0x40, true), (DEFAULT | 1, false)]
        {
            let (value, changed) = keep_environment(|| {
                set_mxcsr(set);
                7
            });
            let after = mxcsr();
            set_mxcsr(DEFAULT);
            assert_eq!((value, changed, after & !0x3f), (7, reported, DEFAULT));
        }
    }
}
