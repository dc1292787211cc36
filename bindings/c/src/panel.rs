//! `wf_panel`: dated returns, from arrays or a file.

use core::mem::offset_of;
use std::path::Path;

use walkforge_plugin_abi::{wf_error, wf_string};

use super::guard::{Handle, HandleType, fail, fill, guard, options, put, slice, string, utf8, wanted};
use walkforge::error::{Code, Error, Result};
use walkforge::panel::{Panel, PanelKind, date_of, days_of};

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
    /// 1 where an asset may be held after a decision at that row, else 0, laid out as `values`. Null: every asset may.
    pub members: *const u8,
    /// Rows after its last value for which an asset may still be held; 0 to hold only what has a value.
    pub stale_rows: usize,
}

/// Size of the first version of `wf_panel_arrays`, whose last field this was.
const FIRST: usize = offset_of!(wf_panel_arrays, asset_stride) + size_of::<usize>();

impl HandleType for Panel {
    const NAME: &'static str = "wf_panel";
    type Shared = ();
}

fn kind_of(kind: i32) -> Result<PanelKind> {
    match kind {
        WF_PRICES => Ok(PanelKind::Prices),
        WF_RETURNS => Ok(PanelKind::Returns),
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

/// Where the cell of a row and an asset lies in the caller's memory.
struct Layout {
    rows: usize,
    assets: usize,
    row_stride: usize,
    asset_stride: usize,
    /// Cells from the first to the last.
    reached: usize,
}

impl Layout {
    fn new(rows: usize, assets: usize, row_stride: usize, asset_stride: usize) -> Result<Self> {
        let row_stride = if row_stride == 0 { assets } else { row_stride };
        let asset_stride = asset_stride.max(1);
        let reach = |count: usize, stride: usize| count.saturating_sub(1).checked_mul(stride);
        let reached = reach(rows, row_stride)
            .zip(reach(assets, asset_stride))
            .and_then(|(down, across)| down.checked_add(across)?.checked_add(1));
        let cells = rows.checked_mul(assets).filter(|&cells| cells <= isize::MAX as usize / size_of::<f64>());
        let (Some(reached), Some(cells)) = (reached, cells) else {
            fail!(InvalidArgument, "{rows} rows of {assets} assets with these strides are more than memory can hold");
        };
        Ok(Self { rows, assets, row_stride, asset_stride, reached: if cells == 0 { 0 } else { reached } })
    }

    /// Copies the cells, row by row.
    ///
    /// # Safety
    /// `data` is null or reaches to the last cell.
    unsafe fn copy<T: Copy>(&self, name: &str, data: *const T) -> Result<Vec<T>> {
        // SAFETY: as demanded of the caller.
        let cells = unsafe { slice(name, data, self.reached)? };
        let at = |row: usize, asset: usize| cells[row * self.row_stride + asset * self.asset_stride];
        Ok((0..self.rows).flat_map(|row| (0..self.assets).map(move |asset| at(row, asset))).collect())
    }
}

/// Makes a panel from arrays, which are copied. The handle is the caller's, freed with `wf_panel_free`.
/// `WF_E_INVALID_DATA`, naming row or asset, for dates that do not increase, names that are empty or given twice, a price of
/// 0 or less, a return below -1, or a value that is infinite.
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
            members: core::ptr::null(),
            stale_rows: 0,
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
        let layout = Layout::new(given.rows, given.assets, given.row_stride, given.asset_stride)?;
        // SAFETY: as demanded of the caller.
        let values = unsafe { layout.copy("arrays.values", given.values)? };
        let mut made = Panel::from_arrays(kind, dates, &names, &values)?.with_stale_rows(given.stale_rows);
        if !given.members.is_null() {
            // SAFETY: as demanded of the caller.
            let members = unsafe { layout.copy("arrays.members", given.members)? };
            made = made.with_members(&members.iter().map(|&member| member != 0).collect::<Vec<_>>())?;
        }
        // SAFETY: as demanded of the caller.
        unsafe { put("panel", panel, Handle::give(made, ()).cast()) }
    })
}

/// Reads a panel from a file: a date column first, then one column an asset. Parquet where the name ends in `.parquet`
/// or `.pq`, else CSV with dates as YYYY-MM-DD. `kind` is `WF_PRICES` or `WF_RETURNS`. `WF_E_NOT_FOUND`, `WF_E_IO`, and
/// `WF_E_INVALID_DATA` that names the row.
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
        let made = Panel::from_file(kind_of(kind)?, Path::new(path))?;
        // SAFETY: as demanded of the caller.
        unsafe { put("panel", panel, Handle::give(made, ()).cast()) }
    })
}

/// Adds a feature plane, which is copied: numbers that models may look at beside returns, such as volume, NaN where
/// missing. Strides as in `wf_panel_arrays`. Runs that were made from the panel before do not see it.
/// `WF_E_INVALID_DATA` where the name is taken or has other than letters, digits and _, or a value is infinite.
///
/// # Safety
/// `panel` is one of ours; `name` is text; `values` is as large as panel and strides say; `error` is null or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wf_panel_add_feature(
    panel: *mut wf_panel,
    name: wf_string,
    values: *const f64,
    row_stride: usize,
    asset_stride: usize,
    error: *mut *mut wf_error,
) -> i32 {
    guard(error, || {
        // SAFETY: as demanded of the caller.
        unsafe {
            let name = utf8("name", name)?;
            Handle::change(panel.cast::<Handle<Panel>>(), |panel| {
                let layout = Layout::new(panel.dates().len(), panel.assets().len(), row_stride, asset_stride)?;
                // In place, so that names which the caller has asked for stay where they are.
                panel.add_feature(name, &layout.copy("values", values)?)
            })
        }
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

/// Copies the dates, days since 1970-01-01, `[rows]`. `WF_E_BUFFER_TOO_SMALL` where `capacity` is below the number of rows.
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

/// The name of an asset, counted from 0 in the caller's order; valid until the panel is freed.
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

/// SHA-256 of the data as 64 hexadecimal digits, whatever the order of the assets; valid until the panel is
/// changed or freed.
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
