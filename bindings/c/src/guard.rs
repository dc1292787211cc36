//! What every function of the C ABI goes through: panics become errors, pointers are checked, and handles track who
//! uses them.

use std::cell::UnsafeCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU64, Ordering};

use walkforge::internals::device::in_default_environment;
use walkforge::internals::error::panic_message;
use walkforge::internals::plugin::into_c;
pub(crate) use walkforge::internals::plugin::string;
use walkforge::{Code, Error, Result};
use walkforge_plugin_abi::{WF_OK, wf_error, wf_string};

/// Shorthand for `return Err(Error::new(code, format!(…)))`.
macro_rules! fail {
    ($code:ident, $($text:tt)*) => {
        return Err(walkforge::Error::new(walkforge::Code::$code, format!($($text)*)))
    };
}
pub(crate) use fail;

/// Runs `body` in the default floating-point environment and returns its code. An error or a panic is stored in `error`
/// if that is not null.
pub(crate) fn guard(error: *mut *mut wf_error, body: impl FnOnce() -> Result<()>) -> i32 {
    let failure = match in_default_environment(|| catch_unwind(AssertUnwindSafe(body))) {
        Ok(Ok(())) => return WF_OK,
        Ok(Err(failure)) => failure,
        Err(panic) => Error::new(Code::Internal, format!("a fault of walkforge: {}", panic_message(panic))),
    };
    let code = failure.code().as_i32();
    if !error.is_null() && error.is_aligned() {
        // SAFETY: not null, aligned, and writable by the contract of the C ABI.
        unsafe { error.write(into_c(failure)) };
    }
    code
}

/// Runs `body`, or returns `otherwise` if it panics: for functions that return no code.
pub(crate) fn catch_panic_or<T>(otherwise: T, body: impl FnOnce() -> T) -> T {
    in_default_environment(|| catch_unwind(AssertUnwindSafe(body))).unwrap_or_else(|panic| {
        panic_message(panic);
        otherwise
    })
}

/// A type that crosses the boundary as an opaque handle.
pub(crate) trait HandleType: Sized + 'static {
    /// The name of the handle in the header.
    const NAME: &'static str;
    /// The part that stays accessible while another thread uses the value.
    type Shared: 'static;
}

const FREE: i32 = 0;
const EXCLUSIVE: i32 = -1;

/// What a handle points to. The tag comes first in all of them, so that a handle of another type is recognised.
#[repr(C)]
pub(crate) struct Handle<T: HandleType> {
    tag: AtomicU64,
    process: u32,
    /// The number of shared borrows, or `EXCLUSIVE`.
    borrows: AtomicI32,
    /// A call panicked inside.
    poisoned: AtomicBool,
    shared: T::Shared,
    value: UnsafeCell<T>,
}

/// The tag of a handle type: a hash (FNV-1a) of its name, so that no tag is chosen by hand.
const fn tag(name: &str) -> u64 {
    let bytes = name.as_bytes();
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let mut index = 0;
    while index < bytes.len() {
        hash = (hash ^ bytes[index] as u64).wrapping_mul(0x0100_0000_01b3);
        index += 1;
    }
    hash
}

/// Ends a borrow when dropped, and poisons the handle if the call did not return.
struct BorrowGuard<'a> {
    borrows: &'a AtomicI32,
    poisoned: &'a AtomicBool,
    exclusive: bool,
    returned: bool,
}

impl Drop for BorrowGuard<'_> {
    fn drop(&mut self) {
        if !self.returned {
            self.poisoned.store(true, Ordering::Relaxed);
        }
        if self.exclusive {
            self.borrows.store(FREE, Ordering::Release);
        } else {
            self.borrows.fetch_sub(1, Ordering::Release);
        }
    }
}

impl<T: HandleType> Handle<T> {
    /// Creates a handle that the caller owns.
    pub(crate) fn into_raw(value: T, shared: T::Shared) -> *mut Self {
        Box::into_raw(Box::new(Self {
            tag: AtomicU64::new(tag(T::NAME)),
            process: std::process::id(),
            borrows: AtomicI32::new(FREE),
            poisoned: AtomicBool::new(false),
            shared,
            value: UnsafeCell::new(value),
        }))
    }

    /// Checks a handle that the caller passed.
    ///
    /// # Safety
    /// The handle contract: `handle` is null, or points to a [`Handle`] of any type that lives for `'a`.
    unsafe fn checked<'a>(handle: *const Self) -> Result<&'a Self> {
        if handle.is_null() {
            fail!(InvalidArgument, "the {} is null", T::NAME);
        }
        // SAFETY: aligned, and every handle begins with its tag.
        if !handle.is_aligned() || unsafe { (*handle.cast::<AtomicU64>()).load(Ordering::Relaxed) } != tag(T::NAME) {
            fail!(InvalidArgument, "the pointer is not a {}", T::NAME);
        }
        // SAFETY: the tag is that of `T`, so this is a `Handle<T>`.
        let handle = unsafe { &*handle };
        if handle.process != std::process::id() {
            fail!(Forked, "the {} was made before a fork; make a new one in this process", T::NAME);
        }
        Ok(handle)
    }

    /// Lends the value to `body`, concurrently with other readers.
    ///
    /// # Safety
    /// The handle contract of [`Handle::checked`].
    pub(crate) unsafe fn read<R>(handle: *const Self, body: impl FnOnce(&T) -> Result<R>) -> Result<R> {
        // SAFETY: the handle contract.
        let handle = unsafe { Self::checked(handle)? };
        let one_more = |borrows: i32| if borrows >= 0 { borrows.checked_add(1) } else { None };
        if handle.borrows.fetch_update(Ordering::Acquire, Ordering::Relaxed, one_more).is_err() {
            fail!(Busy, "another call is using the {}", T::NAME);
        }
        // SAFETY: nobody has exclusive access while the shared borrow is counted.
        handle.with_borrow(false, || body(unsafe { &*handle.value.get() }))
    }

    /// Lends the value to `body` exclusively.
    ///
    /// # Safety
    /// The handle contract of [`Handle::checked`].
    pub(crate) unsafe fn change<R>(handle: *mut Self, body: impl FnOnce(&mut T) -> Result<R>) -> Result<R> {
        // SAFETY: the handle contract.
        let handle = unsafe { Self::checked(handle)? };
        if handle.borrows.compare_exchange(FREE, EXCLUSIVE, Ordering::Acquire, Ordering::Relaxed).is_err() {
            fail!(Busy, "another call is using the {}", T::NAME);
        }
        // SAFETY: `EXCLUSIVE` keeps all other borrows out.
        handle.with_borrow(true, || body(unsafe { &mut *handle.value.get() }))
    }

    /// Runs `body` in a borrow that has begun, and ends it.
    fn with_borrow<R>(&self, exclusive: bool, body: impl FnOnce() -> Result<R>) -> Result<R> {
        let mut borrow = BorrowGuard { borrows: &self.borrows, poisoned: &self.poisoned, exclusive, returned: false };
        // Checked inside the borrow, so that what a call left behind when it panicked is never seen.
        let result = self.check_poison().and_then(|()| body());
        borrow.returned = true;
        result
    }

    fn check_poison(&self) -> Result<()> {
        if self.poisoned.load(Ordering::Relaxed) {
            fail!(Poisoned, "an earlier call on the {} failed inside; free it", T::NAME);
        }
        Ok(())
    }

    /// The part that stays accessible while another thread uses the value.
    ///
    /// # Safety
    /// The handle contract of [`Handle::checked`].
    pub(crate) unsafe fn shared<'a>(handle: *const Self) -> Result<&'a T::Shared> {
        // SAFETY: the handle contract.
        let handle = unsafe { Self::checked(handle)? };
        handle.check_poison()?;
        Ok(&handle.shared)
    }

    /// Frees a handle. Null and handles of another type are left alone.
    ///
    /// # Safety
    /// The handle contract of [`Handle::checked`]; no other call uses the handle, now or later.
    pub(crate) unsafe fn free(handle: *mut Self) {
        catch_panic_or((), || {
            // SAFETY: every handle begins with its tag.
            let is_own = unsafe {
                !handle.is_null()
                    && handle.is_aligned()
                    && (*handle.cast::<AtomicU64>()).load(Ordering::Relaxed) == tag(T::NAME)
            };
            if is_own {
                // SAFETY: made by `into_raw` and freed once. The tag is cleared so that a later use is more likely to
                // be recognised.
                unsafe {
                    (*handle).tag.store(0, Ordering::Relaxed);
                    // A forked child lacks the threads that the value may wait for, and its locks stay as they were at
                    // the fork: a handle made before the fork is leaked there.
                    if (*handle).process == std::process::id() {
                        drop(Box::from_raw(handle));
                    }
                }
            }
        });
    }
}

/// Writes an out-parameter.
///
/// # Safety
/// `out` is null or writable.
pub(crate) unsafe fn put<T>(name: &str, out: *mut T, value: T) -> Result<()> {
    check_pointer(name, out)?;
    // SAFETY: not null, aligned, and writable by the contract of this function.
    unsafe { out.write(value) };
    Ok(())
}

/// Fails if a required pointer is null or misaligned. Called before any work is done whose result would be lost.
pub(crate) fn check_pointer<T>(name: &str, pointer: *const T) -> Result<()> {
    if pointer.is_null() || !pointer.is_aligned() {
        fail!(InvalidArgument, "'{name}' is null or not aligned");
    }
    Ok(())
}

/// The elements of an array that the caller passed.
///
/// # Safety
/// `data` is null or points to `count` elements that live for `'a`.
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
    // SAFETY: not null, aligned, and `count` elements long by the contract of this function.
    Ok(unsafe { core::slice::from_raw_parts(data, count) })
}

/// Fails if a buffer of the caller cannot take `needed` elements.
pub(crate) fn check_capacity<T>(name: &str, out: *const T, capacity: usize, needed: usize) -> Result<()> {
    if capacity < needed {
        fail!(BufferTooSmall, "'{name}' has a capacity of {capacity} values; {needed} are needed");
    }
    if needed > 0 && (out.is_null() || !out.is_aligned()) {
        fail!(InvalidArgument, "'{name}' is null or not aligned, with a capacity of {capacity}");
    }
    Ok(())
}

/// Copies values into a buffer of the caller.
///
/// # Safety
/// `out` is null or has `capacity` writable elements.
pub(crate) unsafe fn copy_out<T: Copy>(name: &str, out: *mut T, capacity: usize, values: &[T]) -> Result<()> {
    check_capacity(name, out, capacity, values.len())?;
    if !values.is_empty() {
        // SAFETY: not null, aligned, and of `capacity` elements, which are at least as many as are copied.
        unsafe { core::ptr::copy_nonoverlapping(values.as_ptr(), out, values.len()) };
    }
    Ok(())
}

/// The text of a `wf_string` that the caller passed; it must be UTF-8.
///
/// # Safety
/// `text.data` is null or points to `text.length` bytes that live for `'a`.
pub(crate) unsafe fn utf8<'a>(name: &str, text: wf_string) -> Result<&'a str> {
    // SAFETY: by the contract of this function.
    let bytes = unsafe { slice(name, text.data.cast::<u8>(), text.length)? };
    core::str::from_utf8(bytes)
        .map_err(|error| Error::new(Code::InvalidArgument, format!("'{name}' is not UTF-8: {error}")))
}

/// Reads a struct of the caller, which may be of an older, smaller version: the missing tail is taken from `default`.
///
/// # Safety
/// `given` is null or points to as many readable bytes as its `struct_size` says, and the bytes are valid for `T`.
pub(crate) unsafe fn read_struct<T: Copy>(name: &str, given: *const T, first_version: usize, default: T) -> Result<T> {
    if given.is_null() {
        return Ok(default);
    }
    // SAFETY: by the contract of this function.
    let size = unsafe { struct_size(name, given, first_version)? };
    let mut out = default;
    // SAFETY: no more bytes than both structs have.
    unsafe {
        core::ptr::copy_nonoverlapping(given.cast::<u8>(), (&raw mut out).cast::<u8>(), size.min(size_of::<T>()));
    }
    Ok(out)
}

/// The `struct_size` of a struct of the caller. Fails if it is less than the size of the struct's first version.
///
/// # Safety
/// `given` is null or starts with its size.
pub(crate) unsafe fn struct_size<T>(name: &str, given: *const T, first_version: usize) -> Result<usize> {
    check_pointer(name, given)?;
    // SAFETY: not null, and every public struct starts with its size.
    let size = unsafe { given.cast::<usize>().read_unaligned() };
    if size < first_version {
        fail!(InvalidArgument, "'{name}' has a struct_size of {size}; set it to sizeof, at least {first_version}");
    }
    Ok(size)
}

/// Writes a struct to one of the caller, as much of it as the caller's version has. `struct_size` is kept.
///
/// # Safety
/// `out` is null or points to as many writable bytes as its `struct_size` says.
pub(crate) unsafe fn write_struct<T: Copy>(name: &str, out: *mut T, first_version: usize, value: &T) -> Result<()> {
    // SAFETY: by the contract of this function; no more bytes than both structs have.
    unsafe {
        let size = struct_size(name, out, first_version)?;
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
    use walkforge::internals::plugin::from_c;
    use walkforge::{Error, Result};
    use walkforge_plugin_abi::{WF_E_BUSY, WF_E_INTERNAL, WF_E_INVALID_ARGUMENT, WF_E_POISONED, WF_OK, wf_error};

    /// Counts how many instances are alive.
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
        Handle::into_raw(Thing(alive, 7), 8)
    }

    /// The code and the message of a guarded body.
    fn result(body: impl FnOnce() -> Result<()>) -> (i32, String) {
        let mut error: *mut wf_error = core::ptr::null_mut();
        let code = guard(&raw mut error, body);
        // SAFETY: `guard` stored an error or left null.
        (code, unsafe { from_c(error) }.as_ref().map_or(String::new(), Error::to_string))
    }

    #[test]
    fn a_panic_becomes_an_error_and_poisons_the_handle() {
        static ALIVE: AtomicI32 = AtomicI32::new(0);
        for reader in [true, false] {
            let handle = thing(&ALIVE);
            // SAFETY: the handle is alive.
            let failed = result(|| unsafe {
                if reader {
                    Handle::read(handle, |thing| -> Result<()> { panic!("at {}", thing.1) })
                } else {
                    Handle::change(handle, |thing| -> Result<()> { panic!("at {}", thing.1) })
                }
            });
            assert_eq!(failed, (WF_E_INTERNAL, "a fault of walkforge: at 7".to_owned()));
            // SAFETY: as above.
            unsafe {
                assert_eq!(result(|| Handle::read(handle, |_| Ok(()))).0, WF_E_POISONED);
                assert_eq!(result(|| Handle::change(handle, |_| Ok(()))).0, WF_E_POISONED);
                assert_eq!(result(|| Handle::shared(handle).map(|_| ())).0, WF_E_POISONED);
                Handle::free(handle);
            }
        }
        assert_eq!(ALIVE.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn an_error_or_a_panic_of_the_caller_does_not_poison_the_handle() {
        static ALIVE: AtomicI32 = AtomicI32::new(0);
        /// Uses a handle while its thread unwinds, as a destructor of the host may.
        struct Late(*mut Handle<Thing>);
        impl Drop for Late {
            fn drop(&mut self) {
                // SAFETY: the handle outlives this.
                assert_eq!(result(|| unsafe { Handle::change(self.0, |_| Ok(())) }).0, WF_OK);
            }
        }
        let handle = thing(&ALIVE);
        // SAFETY: the handle is alive.
        let refused = result(|| unsafe { Handle::change(handle, |_| -> Result<()> { fail!(InvalidArgument, "no") }) });
        assert_eq!(refused.0, WF_E_INVALID_ARGUMENT);
        let late = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let _late = Late(handle);
            panic!("the host");
        }));
        assert!(late.is_err());
        // SAFETY: as above.
        unsafe {
            assert_eq!(result(|| Handle::read(handle, |_| Ok(()))).0, WF_OK);
            Handle::free(handle);
        }
    }

    #[test]
    fn reads_may_overlap_a_change_is_exclusive_and_the_shared_part_is_always_accessible() {
        static ALIVE: AtomicI32 = AtomicI32::new(0);
        let handle = thing(&ALIVE);
        // SAFETY: the handle is alive; the inner calls are refused before they touch the value.
        unsafe {
            let outer = result(|| {
                Handle::read(handle, |_| {
                    assert_eq!(result(|| Handle::read(handle, |_| Ok(()))).0, WF_OK);
                    assert_eq!(result(|| Handle::change(handle, |_| Ok(()))).0, WF_E_BUSY);
                    Ok(())
                })
            });
            assert_eq!(outer.0, WF_OK);
            let outer = result(|| {
                Handle::change(handle, |_| {
                    assert_eq!(result(|| Handle::read(handle, |_| Ok(()))).0, WF_E_BUSY);
                    assert_eq!(result(|| Handle::change(handle, |_| Ok(()))).0, WF_E_BUSY);
                    assert_eq!(*Handle::shared(handle)?, 8);
                    Ok(())
                })
            });
            assert_eq!(outer.0, WF_OK);
            Handle::free(handle);
        }
    }

    #[test]
    fn null_and_handles_of_another_type_are_refused_and_not_freed() {
        static ALIVE: AtomicI32 = AtomicI32::new(0);
        let handle = thing(&ALIVE);
        let other = handle.cast::<Handle<Other>>();
        // SAFETY: every pointer is null, misaligned, or a live handle of some type.
        unsafe {
            assert_eq!(result(|| Handle::read(other, |_| Ok(()))), (1, "the pointer is not a wf_other".to_owned()));
            let null = core::ptr::null::<Handle<Other>>();
            assert_eq!(result(|| Handle::read(null, |_| Ok(()))), (1, "the wf_other is null".to_owned()));
            assert_eq!(result(|| Handle::read(handle.wrapping_byte_add(1), |_| Ok(()))).0, WF_E_INVALID_ARGUMENT);
            Handle::free(other);
            assert_eq!(ALIVE.load(Ordering::Relaxed), 1);
            Handle::free(handle);
        }
        assert_eq!(ALIVE.load(Ordering::Relaxed), 0);
    }
}
