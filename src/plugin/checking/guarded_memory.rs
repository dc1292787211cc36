//! Memory that a plugin is lent during a call. In checking mode each array lies at the end of pages of its own, with an
//! unreadable page before and after them: a plugin that reads or writes beyond its arrays, or keeps their pointers after
//! the call, ends its process. So checking belongs in a process that may end. What lies between the start of the pages
//! and that of the array is filled with a mark, which reads as NaN.

use core::ffi::c_void;
use std::borrow::Cow;
use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use crate::error::{Code, Error, Result};

/// An array lent during a call.
pub(in crate::plugin) enum Lent<'a, T: Copy> {
    /// As it is.
    Open(Cow<'a, [T]>),
    /// In guarded pages.
    Guarded(Guarded<T>),
}

impl<'a, T: Copy> Lent<'a, T> {
    /// Lends values to be read; in checking mode a copy that cannot be written.
    pub(in crate::plugin) fn new(values: Cow<'a, [T]>, checking: bool) -> Result<Self> {
        if !checking || values.is_empty() {
            return Ok(Self::Open(values));
        }
        let guarded = Guarded::new(&values)?;
        guarded.protect(libc::PROT_READ);
        Ok(Self::Guarded(guarded))
    }

    pub(in crate::plugin) fn as_ptr(&self) -> *const T {
        match self {
            Self::Open(values) => values.as_ptr(),
            Self::Guarded(pages) => pages.first,
        }
    }

    pub(in crate::plugin) fn len(&self) -> usize {
        match self {
            Self::Open(values) => values.len(),
            Self::Guarded(pages) => pages.count,
        }
    }
}

/// What fills the room before the values: NaN as a number, and no address.
const MARK: u8 = 0xff;

/// Pages that were dropped and stay, the oldest first: addresses and bytes, the unreadable pages around them included.
static KEPT: Mutex<VecDeque<(usize, usize)>> = Mutex::new(VecDeque::new());

/// How many of them stay: the system allows a process some 65 000 pieces of memory.
const MOST_KEPT: usize = 4096;

/// SettingValues at the end of pages between two unreadable ones. When dropped the pages stay for long, unreadable, so that
/// no later use of them goes unseen.
pub(in crate::plugin) struct Guarded<T: Copy> {
    pages: *mut c_void,
    page: usize,
    bytes: usize,
    first: *mut T,
    count: usize,
}

impl<T: Copy> Guarded<T> {
    /// Copies values into pages that may be read and written.
    pub(in crate::plugin) fn new(values: &[T]) -> Result<Self> {
        // SAFETY: asks for a number.
        let page = usize::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).unwrap_or(4096);
        let size = size_of_val(values);
        let bytes = size.div_ceil(page).max(1) * page;
        let refused = |what: &str| {
            Error::new(
                Code::Io,
                format!("cannot {what} {bytes} bytes for a checked call: {}", std::io::Error::last_os_error()),
            )
        };
        let (access, kind) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
        // SAFETY: new pages, anywhere.
        let mapped = unsafe { libc::mmap(core::ptr::null_mut(), bytes + 2 * page, access, kind, -1, 0) };
        if mapped == libc::MAP_FAILED {
            return Err(refused("map"));
        }
        // SAFETY: the pages before and after the others are ours. The values end where the last begins; its start is a
        // multiple of their alignment, and so is their size.
        let (pages, first) = unsafe {
            let pages = mapped.byte_add(page);
            if libc::mprotect(mapped, page, libc::PROT_NONE) != 0
                || libc::mprotect(pages.byte_add(bytes), page, libc::PROT_NONE) != 0
            {
                return Err(refused("guard"));
            }
            pages.write_bytes(MARK, bytes - size);
            let first = pages.byte_add(bytes - size).cast::<T>();
            core::ptr::copy_nonoverlapping(values.as_ptr(), first, values.len());
            (pages, first)
        };
        Ok(Self { pages, page, bytes, first, count: values.len() })
    }

    /// Changes how the pages may be used.
    fn protect(&self, access: i32) {
        // SAFETY: the pages are ours. Where the system refuses, a fault of the plugin stays unseen, and nothing else.
        unsafe { libc::mprotect(self.pages, self.bytes, access) };
    }

    pub(in crate::plugin) fn as_mut_ptr(&mut self) -> *mut T {
        self.first
    }

    /// Whether nothing was written between the start of the pages and the values.
    pub(in crate::plugin) fn is_intact_before(&self) -> bool {
        let room = self.bytes - self.count * size_of::<T>();
        // SAFETY: bytes of our pages, still readable, all of them written.
        unsafe { core::slice::from_raw_parts(self.pages.cast::<u8>(), room) }.iter().all(|byte| *byte == MARK)
    }

    /// The values as they are now.
    pub(in crate::plugin) fn to_vec(&self) -> Vec<T> {
        // SAFETY: as many values as were copied here, still readable.
        unsafe { core::slice::from_raw_parts(self.first, self.count) }.to_vec()
    }
}

impl<T: Copy> Drop for Guarded<T> {
    fn drop(&mut self) {
        self.protect(libc::PROT_NONE);
        let page = self.page;
        let mut kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner);
        kept.push_back((self.pages as usize - page, self.bytes + 2 * page));
        if kept.len() > MOST_KEPT
            && let Some((start, bytes)) = kept.pop_front()
        {
            // SAFETY: pages of ours that were dropped, given back once.
            unsafe { libc::munmap(start as *mut c_void, bytes) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Guarded, KEPT, Lent, MOST_KEPT};

    #[test]
    fn what_was_dropped_is_given_back_in_the_end() {
        for round in 0..MOST_KEPT + 100 {
            assert_eq!(Guarded::new(&[round]).unwrap().to_vec(), [round]);
        }
        assert_eq!(KEPT.lock().unwrap().len(), MOST_KEPT);
    }

    #[test]
    fn values_end_where_the_guard_begins() {
        for count in [1, 7, 512, 513, 5000] {
            let values: Vec<f64> = (0..count).map(f64::from).collect();
            let mut guarded = Guarded::new(&values).unwrap();
            assert_eq!(guarded.to_vec(), values);
            let end = guarded.as_mut_ptr() as usize + size_of_val(values.as_slice());
            assert_eq!((end % 4096, guarded.as_mut_ptr() as usize % 8), (0, 0));
            assert!(guarded.is_intact_before());
            if count % 512 != 0 {
                // SAFETY: the pages reach to before the values.
                unsafe { guarded.as_mut_ptr().sub(1).write(0.0) };
                assert!(!guarded.is_intact_before());
            }
            let lent = Lent::new(values.as_slice().into(), true).unwrap();
            assert_eq!(lent.len(), values.len());
            // SAFETY: the pages may still be read.
            assert!(unsafe { *lent.as_ptr().add(values.len() - 1) == f64::from(count - 1) });
        }
    }
}
