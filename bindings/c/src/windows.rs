//! `wf_windows`: the walk-forward spans of a panel.

use core::mem::offset_of;
use std::ops::Range;

use walkforge_plugin_abi::{wf_error, wf_string};

use super::guard::{Handle, HandleType, answer, fail, guard, put, utf8, wanted};
use super::panel::{read, wf_panel};
use walkforge::error::Result;
use walkforge::experiment::Experiment;
use walkforge::windows::{Window, windows};

/// The walk-forward windows of a panel.
pub enum wf_windows {}

/// One window: rows of its three spans, half-open.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct wf_window {
    /// Size of this struct in bytes.
    pub struct_size: usize,
    /// Its number, from 0.
    pub index: usize,
    /// First row of the train span.
    pub train_start: usize,
    /// The row after its last.
    pub train_end: usize,
    /// First row of the validation span.
    pub validation_start: usize,
    /// The row after its last; equal to the first where there is no validation.
    pub validation_end: usize,
    /// First row of the test span.
    pub test_start: usize,
    /// The row after its last.
    pub test_end: usize,
}

/// Size of the first version of `wf_window`, whose last field this was.
const FIRST: usize = offset_of!(wf_window, test_end) + size_of::<usize>();

impl HandleType for Vec<Window> {
    const NAME: &'static str = "wf_windows";
    type Shared = ();
}

impl From<&Window> for wf_window {
    fn from(window: &Window) -> Self {
        let ends = |rows: &Range<usize>| (rows.start, rows.end);
        let (train_start, train_end) = ends(&window.train.rows);
        let (validation_start, validation_end) = ends(&window.validation.rows);
        let (test_start, test_end) = ends(&window.test.rows);
        Self {
            struct_size: size_of::<Self>(),
            index: window.index,
            train_start,
            train_end,
            validation_start,
            validation_end,
            test_start,
            test_end,
        }
    }
}

/// Writes a window into the caller's struct.
///
/// # Safety
/// `out` is null or starts with its size and is as large as it says.
pub(super) unsafe fn write(window: &Window, out: *mut wf_window) -> Result<()> {
    // SAFETY: as demanded of the caller.
    unsafe { answer("window", out, FIRST, &wf_window::from(window)) }
}

/// Cuts windows. `experiment` is TOML, of which `[windows]` is read; empty for 36 months of training, 12 of validation,
/// 12 of test and a step of 12. The handle is the caller's and does not need the panel any more. `WF_E_INVALID_SETTING`
/// where the experiment cannot be used, or where the panel is too short for one window.
///
/// # Safety
/// `panel` is one of ours; `experiment` is text; `windows` is writable, `error` null or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wf_windows_new(
    panel: *const wf_panel,
    experiment: wf_string,
    windows: *mut *mut wf_windows,
    error: *mut *mut wf_error,
) -> i32 {
    guard(error, || {
        wanted("windows", windows)?;
        // SAFETY: as demanded of the caller.
        unsafe {
            let experiment = Experiment::from_toml(utf8("experiment", experiment)?, "".into(), &[])?;
            let made = read(panel, |panel| self::windows(panel.dates(), &experiment.windows))?;
            put("windows", windows, Handle::give(made, ()).cast())
        }
    })
}

/// The number of windows.
///
/// # Safety
/// `windows` is one of ours; `count` is writable, `error` null or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wf_windows_count(
    windows: *const wf_windows,
    count: *mut usize,
    error: *mut *mut wf_error,
) -> i32 {
    guard(error, || {
        // SAFETY: as demanded of the caller.
        unsafe { Handle::read(windows.cast::<Handle<Vec<Window>>>(), |windows| put("count", count, windows.len())) }
    })
}

/// One window, by its number from 0. Set `struct_size` before the call. `WF_E_INVALID_ARGUMENT` beyond the last one.
///
/// # Safety
/// `windows` is one of ours; `window` is as large as its size says, `error` null or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wf_windows_get(
    windows: *const wf_windows,
    index: usize,
    window: *mut wf_window,
    error: *mut *mut wf_error,
) -> i32 {
    guard(error, || {
        // SAFETY: as demanded of the caller.
        unsafe {
            Handle::read(windows.cast::<Handle<Vec<Window>>>(), |windows| match windows.get(index) {
                Some(found) => write(found, window),
                None => fail!(InvalidArgument, "window {index} of {} windows", windows.len()),
            })
        }
    })
}

/// Frees windows; null is accepted.
///
/// # Safety
/// `windows` is null or one of ours, not used again.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wf_windows_free(windows: *mut wf_windows) {
    // SAFETY: as demanded of the caller.
    unsafe { Handle::free(windows.cast::<Handle<Vec<Window>>>()) };
}
