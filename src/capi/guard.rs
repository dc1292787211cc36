//! What every function of the C ABI goes through: panics become errors, pointers are checked, handles know who uses them.

use std::cell::UnsafeCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicI32, AtomicU64, Ordering};

use walkforge_plugin_abi::{WF_OK, wf_error, wf_string};

use crate::error::{Code, Error, Result, fail};
use crate::plugin::error::into_c;
pub(super) use crate::plugin::error::string;

/// Runs `body`. An error or a caught panic is written to `error` where that is not null; the code is returned.
pub(super) fn guard(error: *mut *mut wf_error, body: impl FnOnce() -> Result<()>) -> i32 {
    let failed = match catch_unwind(AssertUnwindSafe(body)) {
        Ok(Ok(())) => return WF_OK,
        Ok(Err(failed)) => failed,
        Err(panic) => {
            let text = panic
                .downcast_ref::<String>()
                .map(String::as_str)
                .or_else(|| panic.downcast_ref::<&str>().copied())
                .unwrap_or("no message");
            Error::new(Code::Internal, format!("a fault of walkforge: {text}"))
        }
    };
    let code = failed.code().as_i32();
    if !error.is_null() {
        // SAFETY: not null, and writable by the contract of every function of the ABI.
        unsafe { error.write(into_c(failed)) };
    }
    code
}

/// The same for functions that return no code: destructors and look-ups that cannot fail.
pub(super) fn quietly<T>(otherwise: T, body: impl FnOnce() -> T) -> T {
    catch_unwind(AssertUnwindSafe(body)).unwrap_or(otherwise)
}

/// A type that crosses the boundary as an opaque handle.
pub(super) trait Handled: Sized + 'static {
    /// The name of the handle in the header.
    const NAME: &'static str;
    /// What can be reached while another thread uses the value.
    type Aside: 'static;
}

const FREE: i32 = 0;
const TAKEN: i32 = -1;
const POISONED: i32 = -2;

/// What a handle points to. The tag comes first in every one, so that a handle of another type is told.
#[repr(C)]
pub(super) struct Handle<T: Handled> {
    tag: AtomicU64,
    process: u32,
    /// Readers inside, or `TAKEN` by one that changes the value, or `POISONED`.
    users: AtomicI32,
    aside: T::Aside,
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

/// Leaves a reader's or the changer's place when dropped, and poisons where a panic passes through a change.
struct Seat<'a> {
    users: &'a AtomicI32,
    changes: bool,
}

impl Drop for Seat<'_> {
    fn drop(&mut self) {
        if self.changes {
            self.users.store(if std::thread::panicking() { POISONED } else { FREE }, Ordering::Release);
        } else {
            self.users.fetch_sub(1, Ordering::Release);
        }
    }
}

impl<T: Handled> Handle<T> {
    /// Makes a handle that the caller owns.
    pub(super) fn give(value: T, aside: T::Aside) -> *mut Self {
        Box::into_raw(Box::new(Self {
            tag: AtomicU64::new(tag(T::NAME)),
            process: std::process::id(),
            users: AtomicI32::new(FREE),
            aside,
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
    pub(super) unsafe fn read<R>(handle: *const Self, body: impl FnOnce(&T) -> Result<R>) -> Result<R> {
        // SAFETY: as demanded of our caller.
        let handle = unsafe { Self::checked(handle)? };
        let enter = |users: i32| if users >= 0 { users.checked_add(1) } else { None };
        if let Err(users) = handle.users.fetch_update(Ordering::Acquire, Ordering::Relaxed, enter) {
            return Err(occupied(T::NAME, users));
        }
        let _seat = Seat { users: &handle.users, changes: false };
        // SAFETY: nobody changes the value while a reader is counted.
        body(unsafe { &*handle.value.get() })
    }

    /// Changes the value, alone.
    ///
    /// # Safety
    /// As for [`Handle::checked`].
    pub(super) unsafe fn change<R>(handle: *mut Self, body: impl FnOnce(&mut T) -> Result<R>) -> Result<R> {
        // SAFETY: as demanded of our caller.
        let handle = unsafe { Self::checked(handle)? };
        if let Err(users) = handle.users.compare_exchange(FREE, TAKEN, Ordering::Acquire, Ordering::Relaxed) {
            return Err(occupied(T::NAME, users));
        }
        let _seat = Seat { users: &handle.users, changes: true };
        // SAFETY: `TAKEN` keeps everybody else out.
        body(unsafe { &mut *handle.value.get() })
    }

    /// What can be reached while another thread uses the value.
    ///
    /// # Safety
    /// As for [`Handle::checked`].
    pub(super) unsafe fn aside<'a>(handle: *const Self) -> Result<&'a T::Aside> {
        // SAFETY: as demanded of our caller.
        unsafe { Self::checked(handle) }.map(|handle| &handle.aside)
    }

    /// Frees a handle; null and what is no such handle are left alone.
    ///
    /// # Safety
    /// As for [`Handle::checked`]; the handle is not used again.
    pub(super) unsafe fn free(handle: *mut Self) {
        quietly((), || {
            // SAFETY: as demanded of our caller. A forked child may free what it inherited.
            let ours = unsafe {
                !handle.is_null()
                    && handle.is_aligned()
                    && (*handle.cast::<AtomicU64>()).load(Ordering::Relaxed) == tag(T::NAME)
            };
            if ours {
                // SAFETY: made by `give`, freed once; the tag is cleared so that a second use is told where it can be.
                unsafe {
                    (*handle).tag.store(0, Ordering::Relaxed);
                    drop(Box::from_raw(handle));
                }
            }
        });
    }
}

fn occupied(name: &str, users: i32) -> Error {
    if users == POISONED {
        return Error::new(Code::Poisoned, format!("an earlier call on the {name} failed inside; free it"));
    }
    Error::new(Code::Busy, format!("another call is using the {name}"))
}

/// An out-parameter.
///
/// # Safety
/// `out` is null or writable.
pub(super) unsafe fn put<T>(name: &str, out: *mut T, value: T) -> Result<()> {
    if out.is_null() {
        fail!(InvalidArgument, "the out-parameter '{name}' is null");
    }
    // SAFETY: not null, writable by the contract of this function.
    unsafe { out.write(value) };
    Ok(())
}

/// Fails where an out-parameter is null, before anything is done that would be lost.
pub(super) fn wanted<T>(name: &str, out: *const T) -> Result<()> {
    if out.is_null() {
        fail!(InvalidArgument, "the out-parameter '{name}' is null");
    }
    Ok(())
}

/// Numbers that came from outside as pointer and count.
///
/// # Safety
/// `data` is null or points to `count` values.
pub(super) unsafe fn slice<'a, T>(name: &str, data: *const T, count: usize) -> Result<&'a [T]> {
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

/// Copies values into the caller's buffer.
///
/// # Safety
/// `out` is null or has room for `capacity` values.
pub(super) unsafe fn fill<T: Copy>(name: &str, out: *mut T, capacity: usize, values: &[T]) -> Result<()> {
    if capacity < values.len() {
        fail!(BufferTooSmall, "'{name}' has room for {capacity} values; {} are needed", values.len());
    }
    if values.is_empty() {
        return Ok(());
    }
    if out.is_null() || !out.is_aligned() {
        fail!(InvalidArgument, "'{name}' is null or not aligned, with a capacity of {capacity}");
    }
    // SAFETY: room for `capacity` values, at least as many as are copied.
    unsafe { core::ptr::copy_nonoverlapping(values.as_ptr(), out, values.len()) };
    Ok(())
}

/// Text that came from outside; it must be UTF-8.
///
/// # Safety
/// `text.data` is null or points to `text.length` bytes.
pub(super) unsafe fn utf8<'a>(name: &str, text: wf_string) -> Result<&'a str> {
    // SAFETY: as demanded of our caller.
    let bytes = unsafe { slice(name, text.data.cast::<u8>(), text.length)? };
    core::str::from_utf8(bytes)
        .map_err(|error| Error::new(Code::InvalidArgument, format!("'{name}' is not UTF-8: {error}")))
}

/// A struct of the caller's whose size may be older than ours: the tail that is missing has its default.
///
/// # Safety
/// `given` is null or starts with its size and is as large as it says; every bit pattern of `T` after the size is valid.
pub(super) unsafe fn options<T: Copy>(name: &str, given: *const T, first_version: usize, default: T) -> Result<T> {
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
pub(super) unsafe fn sized<T>(name: &str, given: *const T, first_version: usize) -> Result<usize> {
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
pub(super) unsafe fn answer<T: Copy>(name: &str, out: *mut T, first_version: usize, value: &T) -> Result<()> {
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
