//! `wf_panel`: dated returns, from arrays or a file.

use core::mem::offset_of;
use std::path::Path;

use walkforge_plugin_abi::{wf_error, wf_string};

use super::guard::{Handle, Handled, fill, guard, options, put, slice, string, utf8, wanted};
use crate::error::{Code, Error, Result, fail};
use crate::panel::{Kind, Panel, date_of, days_of};

/// Dated returns of named assets.
pub enum wf_panel {}

/// Values are prices, above 0.
pub const WF_PRICES: i32 = 0;
/// Values are simple returns, at least -1.
pub const WF_RETURNS: i32 = 1;

/// Data of the caller's, copied by `wf_panel_new`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct wf_panel_arrays {
    /// Size of this struct in bytes.
    pub struct_size: usize,
    /// `WF_PRICES` or `WF_RETURNS`.
    pub kind: i32,
    /// Number of dates, at least 1.
    pub rows: usize,
    /// Number of assets, at least 1.
    pub assets: usize,
    /// Dates as days since 1970-01-01, strictly increasing, `[rows]`.
    pub dates: *const i32,
    /// Asset names, unique and not empty, `[assets]`.
    pub names: *const wf_string,
    /// Values, NaN where missing: that of a row and an asset is at `row * row_stride + asset * asset_stride`.
    pub values: *const f64,
    /// Values from one row to the next; 0 for `assets`.
    pub row_stride: usize,
    /// Values from one asset to the next; 0 for 1. `row_stride` 1 and `asset_stride` `rows` is column by column.
    pub asset_stride: usize,
}

/// Size of the first version of `wf_panel_arrays`, whose last field this was.
const FIRST: usize = offset_of!(wf_panel_arrays, asset_stride) + size_of::<usize>();

impl Handled for Panel {
    const NAME: &'static str = "wf_panel";
    type Aside = ();
}

fn kind_of(kind: i32) -> Result<Kind> {
    match kind {
        WF_PRICES => Ok(Kind::Prices),
        WF_RETURNS => Ok(Kind::Returns),
        _ => fail!(InvalidArgument, "'kind' is {kind}; allowed are WF_PRICES (0) and WF_RETURNS (1)"),
    }
}

/// Reads a panel handle.
///
/// # Safety
/// `panel` is null or one of ours that was not freed.
pub(super) unsafe fn read<R>(panel: *const wf_panel, body: impl FnOnce(&Panel) -> Result<R>) -> Result<R> {
    // SAFETY: as demanded of the caller.
    unsafe { Handle::read(panel.cast::<Handle<Panel>>(), body) }
}

/// Makes a panel from arrays, which are copied.
///
/// # Safety
/// `arrays` is as large as its size says, and its arrays are as large as it says; `panel` is writable, `error` null or
/// writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wf_panel_new(
    arrays: *const wf_panel_arrays,
    panel: *mut *mut wf_panel,
    error: *mut *mut wf_error,
) -> i32 {
    guard(error, || {
        wanted("panel", panel)?;
        wanted("arrays", arrays)?;
        let empty = wf_panel_arrays {
            struct_size: size_of::<wf_panel_arrays>(),
            kind: WF_PRICES,
            rows: 0,
            assets: 0,
            dates: core::ptr::null(),
            names: core::ptr::null(),
            values: core::ptr::null(),
            row_stride: 0,
            asset_stride: 0,
        };
        // SAFETY: as demanded of the caller.
        let (given, dates, names) = unsafe {
            let given = options("arrays", arrays, FIRST, empty)?;
            let dates = slice("arrays.dates", given.dates, given.rows)?;
            (given, dates, slice("arrays.names", given.names, given.assets)?)
        };
        let kind = kind_of(given.kind)?;
        let dates = dates
            .iter()
            .enumerate()
            .map(|(row, &days)| {
                let beyond = || format!("arrays.dates[{row}] is {days}, beyond the calendar (years -9999 to 9999)");
                date_of(days).ok_or_else(|| Error::new(Code::InvalidData, beyond()))
            })
            .collect::<Result<Vec<_>>>()?;
        let names = names
            .iter()
            .enumerate()
            // SAFETY: as demanded of the caller.
            .map(|(asset, &name)| unsafe { utf8(&format!("arrays.names[{asset}]"), name) }.map(str::to_owned))
            .collect::<Result<Vec<_>>>()?;
        let row_stride = if given.row_stride == 0 { given.assets } else { given.row_stride };
        let asset_stride = given.asset_stride.max(1);
        let reach = |count: usize, stride: usize| count.saturating_sub(1).checked_mul(stride);
        let reached = reach(given.rows, row_stride)
            .zip(reach(given.assets, asset_stride))
            .and_then(|(down, across)| down.checked_add(across)?.checked_add(1));
        let Some(reached) = reached else {
            fail!(InvalidArgument, "'arrays' reaches over more values than memory can hold");
        };
        let empty = given.rows == 0 || given.assets == 0;
        // SAFETY: as demanded of the caller.
        let values = unsafe { slice("arrays.values", given.values, if empty { 0 } else { reached })? };
        let values: Vec<f64> = (0..given.rows)
            .flat_map(|row| (0..given.assets).map(move |asset| values[row * row_stride + asset * asset_stride]))
            .collect();
        let made = Panel::from_arrays(kind, dates, &names, &values)?;
        // SAFETY: as demanded of the caller.
        unsafe { put("panel", panel, Handle::give(made, ()).cast()) }
    })
}

/// Reads a panel from a CSV file: a date column (YYYY-MM-DD) first, then one column an asset. `kind` is `WF_PRICES` or
/// `WF_RETURNS`.
///
/// # Safety
/// `path` is text; `panel` is writable, `error` null or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wf_panel_read(
    path: wf_string,
    kind: i32,
    panel: *mut *mut wf_panel,
    error: *mut *mut wf_error,
) -> i32 {
    guard(error, || {
        wanted("panel", panel)?;
        // SAFETY: as demanded of the caller.
        let path = unsafe { utf8("path", path)? };
        let made = Panel::from_csv(kind_of(kind)?, Path::new(path))?;
        // SAFETY: as demanded of the caller.
        unsafe { put("panel", panel, Handle::give(made, ()).cast()) }
    })
}

/// The number of rows (dates) and of assets.
///
/// # Safety
/// `panel` is one of ours; `rows` and `assets` are writable, `error` null or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wf_panel_shape(
    panel: *const wf_panel,
    rows: *mut usize,
    assets: *mut usize,
    error: *mut *mut wf_error,
) -> i32 {
    guard(error, || {
        wanted("rows", rows)?;
        wanted("assets", assets)?;
        // SAFETY: as demanded of the caller.
        unsafe {
            read(panel, |panel| {
                put("rows", rows, panel.dates().len())?;
                put("assets", assets, panel.assets().len())
            })
        }
    })
}

/// Copies the dates, days since 1970-01-01, `[rows]`.
///
/// # Safety
/// `panel` is one of ours; `out` has room for `capacity` values; `error` is null or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wf_panel_dates(
    panel: *const wf_panel,
    out: *mut i32,
    capacity: usize,
    error: *mut *mut wf_error,
) -> i32 {
    guard(error, || {
        // SAFETY: as demanded of the caller.
        unsafe {
            read(panel, |panel| {
                let dates: Vec<i32> = panel.dates().iter().map(|&date| days_of(date)).collect();
                fill("out", out, capacity, &dates)
            })
        }
    })
}

/// The name of an asset, in the caller's order; valid until the panel is freed.
///
/// # Safety
/// `panel` is one of ours; `name` is writable, `error` null or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wf_panel_asset(
    panel: *const wf_panel,
    asset: usize,
    name: *mut wf_string,
    error: *mut *mut wf_error,
) -> i32 {
    guard(error, || {
        // SAFETY: as demanded of the caller.
        unsafe {
            read(panel, |panel| {
                let Some(&column) = panel.output_order().get(asset) else {
                    fail!(InvalidArgument, "asset {asset} of a panel with {} assets", panel.assets().len());
                };
                put("name", name, string(&panel.assets()[column]))
            })
        }
    })
}

/// SHA-256 of the data as 64 hexadecimal digits, whatever the order of the assets; valid until the panel is freed.
///
/// # Safety
/// `panel` is one of ours; `fingerprint` is writable, `error` null or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wf_panel_fingerprint(
    panel: *const wf_panel,
    fingerprint: *mut wf_string,
    error: *mut *mut wf_error,
) -> i32 {
    guard(error, || {
        // SAFETY: as demanded of the caller.
        unsafe { read(panel, |panel| put("fingerprint", fingerprint, string(panel.fingerprint()))) }
    })
}

/// Frees a panel; null is accepted.
///
/// # Safety
/// `panel` is null or one of ours, not used again.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wf_panel_free(panel: *mut wf_panel) {
    // SAFETY: as demanded of the caller.
    unsafe { Handle::free(panel.cast::<Handle<Panel>>()) };
}
