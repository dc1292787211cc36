//! What every function of the C ABI goes through: panics become errors, pointers are checked, handles know who uses them.

use std::cell::UnsafeCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU64, Ordering};

use walkforge_plugin_abi::{WF_OK, wf_error, wf_string};

use walkforge::error::{Code, Error, Result, panic_message};
use walkforge::plugin::into_c;
pub(crate) use walkforge::plugin::string;

/// Shorthand for `return Err(Error::new(code, format!(…)))`.
macro_rules! fail {
    ($code:ident, $($text:tt)*) => {
        return Err(walkforge::error::Error::new(walkforge::error::Code::$code, format!($($text)*)))
    };
}
pub(crate) use fail;

/// Runs `body`. An error or a caught panic is written to `error` where that is not null; the code is returned.
pub(crate) fn guard(error: *mut *mut wf_error, body: impl FnOnce() -> Result<()>) -> i32 {
    let failed = match catch_unwind(AssertUnwindSafe(body)) {
        Ok(Ok(())) => return WF_OK,
        Ok(Err(failed)) => failed,
        Err(panic) => Error::new(Code::Internal, format!("a fault of walkforge: {}", panic_message(panic))),
    };
    let code = failed.code().as_i32();
    if !error.is_null() && error.is_aligned() {
        // SAFETY: not null, aligned, and writable by the contract of every function of the ABI.
        unsafe { error.write(into_c(failed)) };
    }
    code
}

/// The same for functions that return no code: destructors and look-ups that cannot fail.
pub(crate) fn catch_panic_or<T>(otherwise: T, body: impl FnOnce() -> T) -> T {
    catch_unwind(AssertUnwindSafe(body)).unwrap_or_else(|panic| {
        panic_message(panic);
        otherwise
    })
}

/// A type that crosses the boundary as an opaque handle.
pub(crate) trait HandleType: Sized + 'static {
    /// The name of the handle in the header.
    const NAME: &'static str;
    /// What can be reached while another thread uses the value.
    type Shared: 'static;
}

const FREE: i32 = 0;
const TAKEN: i32 = -1;

/// What a handle points to. The tag comes first in every one, so that a handle of another type is told.
#[repr(C)]
pub(crate) struct Handle<T: HandleType> {
    tag: AtomicU64,
    process: u32,
    /// Readers inside, or `TAKEN` by one that changes the value.
    users: AtomicI32,
    /// A call panicked inside.
    poisoned: AtomicBool,
    shared: T::Shared,
    value: UnsafeCell<T>,
}

/// The tag of a type: a hash (FNV-1a) of its name, so that none is chosen by hand.
const fn tag(name: &str) -> u64 {
    let bytes = name.as_bytes();
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let mut at = 0;
    while at < bytes.len() {
        hash = (hash ^ bytes[at] as u64).wrapping_mul(0x0100_0000_01b3);
        at += 1;
    }
    hash
}

/// Leaves a reader's or the changer's place when dropped, and poisons the handle where the call did not come to its end.
struct BorrowGuard<'a> {
    users: &'a AtomicI32,
    poisoned: &'a AtomicBool,
    changes: bool,
    ended: bool,
}

impl Drop for BorrowGuard<'_> {
    fn drop(&mut self) {
        if !self.ended {
            self.poisoned.store(true, Ordering::Relaxed);
        }
        if self.changes {
            self.users.store(FREE, Ordering::Release);
        } else {
            self.users.fetch_sub(1, Ordering::Release);
        }
    }
}

impl<T: HandleType> Handle<T> {
    /// Makes a handle that the caller owns.
    pub(crate) fn give(value: T, shared: T::Shared) -> *mut Self {
        Box::into_raw(Box::new(Self {
            tag: AtomicU64::new(tag(T::NAME)),
            process: std::process::id(),
            users: AtomicI32::new(FREE),
            poisoned: AtomicBool::new(false),
            shared,
            value: UnsafeCell::new(value),
        }))
    }

    /// Checks a pointer that came from outside.
    ///
    /// # Safety
    /// `handle` is null or a handle of this library that was not freed.
    unsafe fn checked<'a>(handle: *const Self) -> Result<&'a Self> {
        if handle.is_null() {
            fail!(InvalidArgument, "the {} is null", T::NAME);
        }
        // SAFETY: aligned, and every handle of this library begins with its tag.
        if !handle.is_aligned() || unsafe { (*handle.cast::<AtomicU64>()).load(Ordering::Relaxed) } != tag(T::NAME) {
            fail!(InvalidArgument, "the pointer is not a {}", T::NAME);
        }
        // SAFETY: the tag says that it is one of ours.
        let handle = unsafe { &*handle };
        if handle.process != std::process::id() {
            fail!(Forked, "the {} was made before a fork; make a new one in this process", T::NAME);
        }
        Ok(handle)
    }

    /// Uses the value beside other readers.
    ///
    /// # Safety
    /// As for [`Handle::checked`].
    pub(crate) unsafe fn read<R>(handle: *const Self, body: impl FnOnce(&T) -> Result<R>) -> Result<R> {
        // SAFETY: as demanded of our caller.
        let handle = unsafe { Self::checked(handle)? };
        let enter = |users: i32| if users >= 0 { users.checked_add(1) } else { None };
        if handle.users.fetch_update(Ordering::Acquire, Ordering::Relaxed, enter).is_err() {
            fail!(Busy, "another call is using the {}", T::NAME);
        }
        // SAFETY: nobody changes the value while a reader is counted.
        handle.with_borrow(false, || body(unsafe { &*handle.value.get() }))
    }

    /// Changes the value, alone.
    ///
    /// # Safety
    /// As for [`Handle::checked`].
    pub(crate) unsafe fn change<R>(handle: *mut Self, body: impl FnOnce(&mut T) -> Result<R>) -> Result<R> {
        // SAFETY: as demanded of our caller.
        let handle = unsafe { Self::checked(handle)? };
        if handle.users.compare_exchange(FREE, TAKEN, Ordering::Acquire, Ordering::Relaxed).is_err() {
            fail!(Busy, "another call is using the {}", T::NAME);
        }
        // SAFETY: `TAKEN` keeps everybody else out.
        handle.with_borrow(true, || body(unsafe { &mut *handle.value.get() }))
    }

    /// Runs `body` in the place that was taken, and leaves it.
    fn with_borrow<R>(&self, changes: bool, body: impl FnOnce() -> Result<R>) -> Result<R> {
        let mut seat = BorrowGuard { users: &self.users, poisoned: &self.poisoned, changes, ended: false };
        // Asked with the place taken, so that what a call left behind when it panicked is never seen.
        let outcome = self.sound().and_then(|()| body());
        seat.ended = true;
        outcome
    }

    fn sound(&self) -> Result<()> {
        if self.poisoned.load(Ordering::Relaxed) {
            fail!(Poisoned, "an earlier call on the {} failed inside; free it", T::NAME);
        }
        Ok(())
    }

    /// What can be reached while another thread uses the value.
    ///
    /// # Safety
    /// As for [`Handle::checked`].
    pub(crate) unsafe fn shared<'a>(handle: *const Self) -> Result<&'a T::Shared> {
        // SAFETY: as demanded of our caller.
        let handle = unsafe { Self::checked(handle)? };
        handle.sound()?;
        Ok(&handle.shared)
    }

    /// Frees a handle; null and what is no such handle are left alone.
    ///
    /// # Safety
    /// As for [`Handle::checked`]; the handle is not used again.
    pub(crate) unsafe fn free(handle: *mut Self) {
        catch_panic_or((), || {
            // SAFETY: as demanded of our caller.
            let ours = unsafe {
                !handle.is_null()
                    && handle.is_aligned()
                    && (*handle.cast::<AtomicU64>()).load(Ordering::Relaxed) == tag(T::NAME)
            };
            if ours {
                // SAFETY: made by `give`, freed once; the tag is cleared so that a second use is told where it can be.
                unsafe {
                    (*handle).tag.store(0, Ordering::Relaxed);
                    // In a forked child the threads that the value may wait for are not there, and their locks stay
                    // as they were at the fork: what was inherited is forgotten, and goes with the process.
                    if (*handle).process == std::process::id() {
                        drop(Box::from_raw(handle));
                    }
                }
            }
        });
    }
}

/// An out-parameter.
///
/// # Safety
/// `out` is null or writable.
pub(crate) unsafe fn put<T>(name: &str, out: *mut T, value: T) -> Result<()> {
    wanted(name, out)?;
    // SAFETY: not null, aligned, writable by the contract of this function.
    unsafe { out.write(value) };
    Ok(())
}

/// Fails where a pointer of the caller's is null or not aligned, before anything is done that would be lost.
pub(crate) fn wanted<T>(name: &str, out: *const T) -> Result<()> {
    if out.is_null() || !out.is_aligned() {
        fail!(InvalidArgument, "'{name}' is null or not aligned");
    }
    Ok(())
}

/// Numbers that came from outside as pointer and count.
///
/// # Safety
/// `data` is null or points to `count` values.
pub(crate) unsafe fn slice<'a, T>(name: &str, data: *const T, count: usize) -> Result<&'a [T]> {
    if count == 0 {
        return Ok(&[]);
    }
    if data.is_null() || !data.is_aligned() {
        fail!(InvalidArgument, "'{name}' is null or not aligned, with a count of {count}");
    }
    if count > isize::MAX as usize / size_of::<T>().max(1) {
        fail!(InvalidArgument, "'{name}' has a count of {count}, more than memory can hold");
    }
    // SAFETY: not null, aligned, and as long as it says by the contract of this function.
    Ok(unsafe { core::slice::from_raw_parts(data, count) })
}

/// Fails where a buffer of the caller's cannot take `needed` values.
pub(crate) fn room<T>(name: &str, out: *const T, capacity: usize, needed: usize) -> Result<()> {
    if capacity < needed {
        fail!(BufferTooSmall, "'{name}' has room for {capacity} values; {needed} are needed");
    }
    if needed > 0 && (out.is_null() || !out.is_aligned()) {
        fail!(InvalidArgument, "'{name}' is null or not aligned, with a capacity of {capacity}");
    }
    Ok(())
}

/// Copies values into the caller's buffer.
///
/// # Safety
/// `out` is null or has room for `capacity` values.
pub(crate) unsafe fn fill<T: Copy>(name: &str, out: *mut T, capacity: usize, values: &[T]) -> Result<()> {
    room(name, out, capacity, values.len())?;
    if !values.is_empty() {
        // SAFETY: not null, aligned, room for `capacity` values, at least as many as are copied.
        unsafe { core::ptr::copy_nonoverlapping(values.as_ptr(), out, values.len()) };
    }
    Ok(())
}

/// Text that came from outside; it must be UTF-8.
///
/// # Safety
/// `text.data` is null or points to `text.length` bytes.
pub(crate) unsafe fn utf8<'a>(name: &str, text: wf_string) -> Result<&'a str> {
    // SAFETY: as demanded of our caller.
    let bytes = unsafe { slice(name, text.data.cast::<u8>(), text.length)? };
    core::str::from_utf8(bytes)
        .map_err(|error| Error::new(Code::InvalidArgument, format!("'{name}' is not UTF-8: {error}")))
}

/// A struct of the caller's whose size may be older than ours: the tail that is missing has its default.
///
/// # Safety
/// `given` is null or starts with its size and is as large as it says; every bit pattern of `T` after the size is valid.
pub(crate) unsafe fn options<T: Copy>(name: &str, given: *const T, first_version: usize, default: T) -> Result<T> {
    if given.is_null() {
        return Ok(default);
    }
    // SAFETY: as demanded of the caller.
    let size = unsafe { sized(name, given, first_version)? };
    let mut out = default;
    // SAFETY: as many bytes as both have.
    unsafe {
        core::ptr::copy_nonoverlapping(given.cast::<u8>(), (&raw mut out).cast::<u8>(), size.min(size_of::<T>()));
    }
    Ok(out)
}

/// The size that a struct of the caller's states, at least that of its first version.
///
/// # Safety
/// `given` is null or starts with its size.
pub(crate) unsafe fn sized<T>(name: &str, given: *const T, first_version: usize) -> Result<usize> {
    wanted(name, given)?;
    // SAFETY: not null, and every public struct starts with its size.
    let size = unsafe { given.cast::<usize>().read_unaligned() };
    if size < first_version {
        fail!(InvalidArgument, "'{name}' has a struct_size of {size}; set it to sizeof, at least {first_version}");
    }
    Ok(size)
}

/// Writes a struct of ours into the caller's, as much of it as the caller's version has.
///
/// # Safety
/// `out` is null or starts with its size and is as large as it says.
pub(crate) unsafe fn answer<T: Copy>(name: &str, out: *mut T, first_version: usize, value: &T) -> Result<()> {
    // SAFETY: as demanded of the caller; every public struct starts with its size, which is kept.
    unsafe {
        let size = sized(name, out, first_version)?;
        let skip = size_of::<usize>();
        let count = size.min(size_of::<T>()) - skip;
        let (from, to) = (core::ptr::from_ref(value).cast::<u8>().add(skip), out.cast::<u8>().add(skip));
        core::ptr::copy_nonoverlapping(from, to, count);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicI32, Ordering};

    use super::{Handle, HandleType, guard};
    use walkforge::error::{Error, Result};
    use walkforge::plugin::from_c;
    use walkforge_plugin_abi::{WF_E_BUSY, WF_E_INTERNAL, WF_E_INVALID_ARGUMENT, WF_E_POISONED, WF_OK, wf_error};

    /// Counts how many of it live.
    struct Thing(&'static AtomicI32, u32);

    impl HandleType for Thing {
        const NAME: &'static str = "wf_thing";
        type Shared = u32;
    }

    impl Drop for Thing {
        fn drop(&mut self) {
            self.0.fetch_sub(1, Ordering::Relaxed);
        }
    }

    struct Other;

    impl HandleType for Other {
        const NAME: &'static str = "wf_other";
        type Shared = ();
    }

    fn thing(alive: &'static AtomicI32) -> *mut Handle<Thing> {
        alive.fetch_add(1, Ordering::Relaxed);
        Handle::give(Thing(alive, 7), 8)
    }

    /// The code and the message of a guarded body.
    fn told(body: impl FnOnce() -> Result<()>) -> (i32, String) {
        let mut error: *mut wf_error = core::ptr::null_mut();
        let code = guard(&raw mut error, body);
        // SAFETY: `guard` stored an error of ours or left null.
        (code, unsafe { from_c(error) }.as_ref().map_or(String::new(), Error::to_string))
    }

    #[test]
    fn a_panic_becomes_an_error_and_poisons_the_handle_for_readers_and_changers() {
        static ALIVE: AtomicI32 = AtomicI32::new(0);
        for reader in [true, false] {
            let handle = thing(&ALIVE);
            // SAFETY: the handle is ours and lives.
            let failed = told(|| unsafe {
                if reader {
                    Handle::read(handle, |thing| -> Result<()> { panic!("at {}", thing.1) })
                } else {
                    Handle::change(handle, |thing| -> Result<()> { panic!("at {}", thing.1) })
                }
            });
            assert_eq!(failed, (WF_E_INTERNAL, "a fault of walkforge: at 7".to_owned()));
            // SAFETY: as above.
            unsafe {
                assert_eq!(told(|| Handle::read(handle, |_| Ok(()))).0, WF_E_POISONED);
                assert_eq!(told(|| Handle::change(handle, |_| Ok(()))).0, WF_E_POISONED);
                assert_eq!(told(|| Handle::shared(handle).map(|_| ())).0, WF_E_POISONED);
                Handle::free(handle);
            }
        }
        assert_eq!(ALIVE.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn an_error_or_a_panic_of_the_caller_poisons_nothing() {
        static ALIVE: AtomicI32 = AtomicI32::new(0);
        /// Uses a handle while its thread unwinds, as a destructor of the host may.
        struct Late(*mut Handle<Thing>);
        impl Drop for Late {
            fn drop(&mut self) {
                // SAFETY: the handle outlives this.
                assert_eq!(told(|| unsafe { Handle::change(self.0, |_| Ok(())) }).0, WF_OK);
            }
        }
        let handle = thing(&ALIVE);
        // SAFETY: the handle is ours and lives.
        let refused = told(|| unsafe { Handle::change(handle, |_| -> Result<()> { fail!(InvalidArgument, "no") }) });
        assert_eq!(refused.0, WF_E_INVALID_ARGUMENT);
        let late = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let _late = Late(handle);
            panic!("the host");
        }));
        assert!(late.is_err());
        // SAFETY: as above.
        unsafe {
            assert_eq!(told(|| Handle::read(handle, |_| Ok(()))).0, WF_OK);
            Handle::free(handle);
        }
    }

    #[test]
    fn readers_share_a_changer_is_alone_and_the_aside_is_always_there() {
        static ALIVE: AtomicI32 = AtomicI32::new(0);
        let handle = thing(&ALIVE);
        // SAFETY: the handle is ours and lives; the inner calls are refused before they touch the value.
        unsafe {
            let outer = told(|| {
                Handle::read(handle, |_| {
                    assert_eq!(told(|| Handle::read(handle, |_| Ok(()))).0, WF_OK);
                    assert_eq!(told(|| Handle::change(handle, |_| Ok(()))).0, WF_E_BUSY);
                    Ok(())
                })
            });
            assert_eq!(outer.0, WF_OK);
            let outer = told(|| {
                Handle::change(handle, |_| {
                    assert_eq!(told(|| Handle::read(handle, |_| Ok(()))).0, WF_E_BUSY);
                    assert_eq!(told(|| Handle::change(handle, |_| Ok(()))).0, WF_E_BUSY);
                    assert_eq!(*Handle::shared(handle)?, 8);
                    Ok(())
                })
            });
            assert_eq!(outer.0, WF_OK);
            Handle::free(handle);
        }
    }

    #[test]
    fn what_is_no_handle_of_the_type_is_told_and_not_freed() {
        static ALIVE: AtomicI32 = AtomicI32::new(0);
        let handle = thing(&ALIVE);
        let other = handle.cast::<Handle<Other>>();
        // SAFETY: every pointer is null, not aligned, or a live handle of some type.
        unsafe {
            assert_eq!(told(|| Handle::read(other, |_| Ok(()))), (1, "the pointer is not a wf_other".to_owned()));
            let null = core::ptr::null::<Handle<Other>>();
            assert_eq!(told(|| Handle::read(null, |_| Ok(()))), (1, "the wf_other is null".to_owned()));
            assert_eq!(told(|| Handle::read(handle.wrapping_byte_add(1), |_| Ok(()))).0, WF_E_INVALID_ARGUMENT);
            Handle::free(other);
            assert_eq!(ALIVE.load(Ordering::Relaxed), 1);
            Handle::free(handle);
        }
        assert_eq!(ALIVE.load(Ordering::Relaxed), 0);
    }
}
