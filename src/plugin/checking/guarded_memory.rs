//! The arrays that a plugin receives during a call.
//!
//! In checking mode each array lies at the end of pages of its own, between two inaccessible pages. A plugin that reads
//! or writes beyond its arrays, or uses their pointers after the call, ends its process, so checking belongs in a child
//! process. The bytes between the start of the pages and the array hold a mark, which reads as NaN.

use core::ffi::c_void;
use std::borrow::Cow;
use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use crate::error::{Code, Error, Result};

/// An array that a plugin may read during a call.
pub(in crate::plugin) enum InputArray<'a, T: Copy> {
    Plain(Cow<'a, [T]>),
    /// A copy in read-only pages.
    Guarded(GuardedPages<T>),
}

impl<'a, T: Copy> InputArray<'a, T> {
    /// Wraps `values`; if `guarded`, copies them into guarded pages.
    pub(in crate::plugin) fn new(values: Cow<'a, [T]>, guarded: bool) -> Result<Self> {
        if !guarded || values.is_empty() {
            return Ok(Self::Plain(values));
        }
        let pages = GuardedPages::new(&values)?;
        pages.protect(libc::PROT_READ);
        Ok(Self::Guarded(pages))
    }

    pub(in crate::plugin) fn as_ptr(&self) -> *const T {
        match self {
            Self::Plain(values) => values.as_ptr(),
            Self::Guarded(pages) => pages.first,
        }
    }

    pub(in crate::plugin) fn len(&self) -> usize {
        match self {
            Self::Plain(values) => values.len(),
            Self::Guarded(pages) => pages.count,
        }
    }
}

/// An array that a plugin writes during a call.
pub(in crate::plugin) struct OutputArray<'a, T: Copy> {
    out: &'a mut [T],
    pages: Option<GuardedPages<T>>,
}

impl<'a, T: Copy> OutputArray<'a, T> {
    /// Wraps `out`; if `guarded`, the plugin writes to a copy in guarded pages.
    pub(in crate::plugin) fn new(out: &'a mut [T], guarded: bool) -> Result<Self> {
        let pages = if guarded { Some(GuardedPages::new(out)?) } else { None };
        Ok(Self { out, pages })
    }

    pub(in crate::plugin) fn as_mut_ptr(&mut self) -> *mut T {
        self.pages.as_ref().map_or(self.out.as_mut_ptr(), |pages| pages.first)
    }

    /// Copies what the plugin wrote to `out`. Returns false if it wrote before the array.
    pub(in crate::plugin) fn finish(self) -> bool {
        self.pages.is_none_or(|pages| {
            self.out.copy_from_slice(pages.values());
            pages.is_intact_before()
        })
    }
}

/// The byte that fills the pages before the values: as a float it reads as NaN, and as a pointer it is invalid.
const MARK: u8 = 0xff;

/// Dropped pages that stay mapped, oldest first: address and size in bytes, including the inaccessible pages around
/// them.
static KEPT: Mutex<VecDeque<(usize, usize)>> = Mutex::new(VecDeque::new());

/// Maximum number of dropped pages that stay mapped. Linux allows a process about 65,000 mappings.
const MAX_KEPT: usize = 4096;

/// Values at the end of pages between two inaccessible pages. Dropped pages stay mapped and inaccessible for long, so
/// that a later use of them is noticed.
pub(in crate::plugin) struct GuardedPages<T: Copy> {
    pages: *mut c_void,
    page: usize,
    bytes: usize,
    first: *mut T,
    count: usize,
}

impl<T: Copy> GuardedPages<T> {
    /// Copies values into readable and writable pages.
    fn new(values: &[T]) -> Result<Self> {
        // SAFETY: the call only returns a constant of the system.
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
        // SAFETY: maps new pages at an address that the system chooses.
        let mapped = unsafe { libc::mmap(core::ptr::null_mut(), bytes + 2 * page, access, kind, -1, 0) };
        if mapped == libc::MAP_FAILED {
            return Err(refused("map"));
        }
        // SAFETY: all addresses lie within the `bytes + 2 * page` bytes that were just mapped. The values end where the
        // last page begins; that address and their size are multiples of their alignment, so their start is one too.
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

    /// Changes the access to the pages. If the system refuses, a fault of the plugin goes unnoticed.
    fn protect(&self, access: i32) {
        // SAFETY: the range is the pages that `new` mapped.
        unsafe { libc::mprotect(self.pages, self.bytes, access) };
    }

    /// Whether nothing was written between the start of the pages and the values.
    fn is_intact_before(&self) -> bool {
        let before = self.bytes - self.count * size_of::<T>();
        // SAFETY: `new` wrote this many bytes at the start of the pages, which are readable.
        unsafe { core::slice::from_raw_parts(self.pages.cast::<u8>(), before) }.iter().all(|byte| *byte == MARK)
    }

    /// The values as they are now.
    fn values(&self) -> &[T] {
        // SAFETY: `new` wrote this many values, which are readable.
        unsafe { core::slice::from_raw_parts(self.first, self.count) }
    }
}

impl<T: Copy> Drop for GuardedPages<T> {
    fn drop(&mut self) {
        self.protect(libc::PROT_NONE);
        let page = self.page;
        let mut kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner);
        kept.push_back((self.pages as usize - page, self.bytes + 2 * page));
        if kept.len() > MAX_KEPT
            && let Some((start, bytes)) = kept.pop_front()
        {
            // SAFETY: `new` mapped this range, its owner was dropped, and it leaves the list once.
            unsafe { libc::munmap(start as *mut c_void, bytes) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{GuardedPages, InputArray, KEPT, MAX_KEPT, OutputArray};

    #[test]
    fn the_oldest_dropped_pages_are_unmapped() {
        for round in 0..MAX_KEPT + 100 {
            assert_eq!(GuardedPages::new(&[round]).unwrap().values(), [round]);
        }
        assert_eq!(KEPT.lock().unwrap().len(), MAX_KEPT);
    }

    #[test]
    fn values_end_where_the_guard_page_begins() {
        for count in [1, 7, 512, 513, 5000] {
            let values: Vec<f64> = (0..count).map(f64::from).collect();
            let pages = GuardedPages::new(&values).unwrap();
            assert_eq!(pages.values(), values);
            let end = pages.first as usize + size_of_val(values.as_slice());
            assert_eq!((end % 4096, pages.first as usize % 8), (0, 0));
            assert!(pages.is_intact_before());
            if count % 512 != 0 {
                // SAFETY: the values do not fill their pages, so the element before them is in the pages too.
                unsafe { pages.first.sub(1).write(0.0) };
                assert!(!pages.is_intact_before());
            }
            let input = InputArray::new(values.as_slice().into(), true).unwrap();
            assert_eq!(input.len(), values.len());
            // SAFETY: the pages are readable until `input` is dropped.
            assert!(unsafe { *input.as_ptr().add(values.len() - 1) == f64::from(count - 1) });
        }
    }

    #[test]
    fn an_output_array_returns_what_was_written_to_guarded_pages() {
        for (guarded, offset, is_intact) in [(false, 0, true), (true, 0, true), (true, -1, false)] {
            let mut values = [1.0, 2.0, 3.0];
            let mut out = OutputArray::new(&mut values, guarded).unwrap();
            // SAFETY: the element before three values in guarded pages is in the pages too.
            unsafe { out.as_mut_ptr().offset(offset).write(7.0) };
            assert_eq!(out.finish(), is_intact);
            assert_eq!(values, [if offset == 0 { 7.0 } else { 1.0 }, 2.0, 3.0]);
        }
    }
}
