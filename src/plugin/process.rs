//! What can be asked of the process itself, to see whether a plugin changed it.

/// The handler of each signal from 1 to 31, as a number; that of a signal that cannot be asked for is 0.
pub fn signal_handlers() -> Vec<usize> {
    (1..=31)
        .map(|signal| {
            let mut action = std::mem::MaybeUninit::<libc::sigaction>::zeroed();
            // SAFETY: asks only; `action` is zeroed, and so may be read whatever the call did.
            unsafe {
                libc::sigaction(signal, core::ptr::null(), action.as_mut_ptr());
                action.assume_init().sa_sigaction
            }
        })
        .collect()
}

/// Bytes that are allocated from the C library, which Rust, C and C++ share.
pub fn allocated_bytes() -> usize {
    // SAFETY: asks for numbers.
    let info = unsafe { libc::mallinfo2() };
    info.uordblks + info.hblkhd
}
