//! `wf_windows`: the walk-forward windows of a panel.

use core::mem::offset_of;
use std::ops::Range;

use walkforge_plugin_abi::{wf_error, wf_string};

use super::guard::{Handle, HandleType, check_pointer, fail, guard, put, utf8, write_struct};
use super::panel::{wf_panel, with_panel};
use walkforge::{Experiment, Result, Window, windows};

/// The walk-forward windows of a panel.
pub enum wf_windows {}

/// A window: three spans of rows. Each ends before its `end` row.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct wf_window {
    /// Size of this struct in bytes.
    pub struct_size: usize,
    /// Index of the window, from 0.
    pub index: usize,
    /// First row of the train span.
    pub train_start: usize,
    /// One past its last row.
    pub train_end: usize,
    /// First row of the validation span.
    pub validation_start: usize,
    /// One past its last row; equal to `validation_start` if there is no validation span.
    pub validation_end: usize,
    /// First row of the test span.
    pub test_start: usize,
    /// One past its last row.
    pub test_end: usize,
}

/// Size of the first version of `wf_window`, which ended with this field.
const FIRST: usize = offset_of!(wf_window, test_end) + size_of::<usize>();

impl HandleType for Vec<Window> {
    const NAME: &'static str = "wf_windows";
    type Shared = ();
}

impl From<&Window> for wf_window {
    fn from(window: &Window) -> Self {
        let bounds = |rows: &Range<usize>| (rows.start, rows.end);
        let (train_start, train_end) = bounds(&window.train.rows);
        let (validation_start, validation_end) = bounds(&window.validation.rows);
        let (test_start, test_end) = bounds(&window.test.rows);
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

/// Writes a window to a struct of the caller.
///
/// # Safety
/// The contract of the C ABI.
unsafe fn write(window: &Window, out: *mut wf_window) -> Result<()> {
    // SAFETY: the contract of the C ABI.
    unsafe { write_struct("window", out, FIRST, &wf_window::from(window)) }
}

/// Cuts a panel into windows. `experiment` is TOML, of which only `[windows]` is used; empty for the defaults: 36
/// months of training, 12 of validation, 12 of test, in steps of 12. The caller frees the handle, which does not depend
/// on the panel, with `wf_windows_free`.
///
/// Errors: `WF_E_INVALID_SETTING` if the experiment is invalid or the panel is too short for one window.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wf_windows_new(
    panel: *const wf_panel,
    experiment: wf_string,
    windows: *mut *mut wf_windows,
    error: *mut *mut wf_error,
) -> i32 {
    guard(error, || {
        check_pointer("windows", windows)?;
        // SAFETY: the contract of the C ABI.
        unsafe {
            let experiment = Experiment::from_toml(utf8("experiment", experiment)?, "".into(), &[])?;
            let made = with_panel(panel, |panel| self::windows(panel.dates(), &experiment.windows))?;
            put("windows", windows, Handle::into_raw(made, ()).cast())
        }
    })
}

/// Gets the number of windows.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wf_windows_count(
    windows: *const wf_windows,
    count: *mut usize,
    error: *mut *mut wf_error,
) -> i32 {
    guard(error, || {
        // SAFETY: the contract of the C ABI.
        unsafe { Handle::read(windows.cast::<Handle<Vec<Window>>>(), |windows| put("count", count, windows.len())) }
    })
}

/// Gets a window by index. Set `window->struct_size` before the call.
///
/// Errors: `WF_E_INVALID_ARGUMENT` if the index is out of range.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wf_windows_get(
    windows: *const wf_windows,
    index: usize,
    window: *mut wf_window,
    error: *mut *mut wf_error,
) -> i32 {
    guard(error, || {
        // SAFETY: the contract of the C ABI.
        unsafe {
            Handle::read(windows.cast::<Handle<Vec<Window>>>(), |windows| match windows.get(index) {
                Some(found) => write(found, window),
                None => fail!(InvalidArgument, "window {index} is out of range: there are {} windows", windows.len()),
            })
        }
    })
}

/// Frees windows; null is accepted.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wf_windows_free(windows: *mut wf_windows) {
    // SAFETY: the contract of the C ABI.
    unsafe { Handle::free(windows.cast::<Handle<Vec<Window>>>()) };
}
