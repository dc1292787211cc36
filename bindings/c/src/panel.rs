//! `wf_panel`: dated prices or returns, from arrays or a file.

use core::mem::offset_of;
use std::path::Path;

use walkforge_plugin_abi::{wf_error, wf_string};

use super::guard::{Handle, HandleType, check_pointer, copy_out, fail, guard, put, read_struct, slice, string, utf8};
use walkforge::{Code, Error, Panel, PanelKind, Result, date_of, days_of};

/// A panel: prices or returns by date and asset.
pub enum wf_panel {}

/// Values are prices, above 0.
pub const WF_PRICES: i32 = 0;
/// Values are simple returns, at least -1.
pub const WF_RETURNS: i32 = 1;

/// The caller's data, which `wf_panel_new` copies.
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
    /// Values, NaN if missing. The value of a row and an asset is at `row * row_stride + asset * asset_stride`.
    pub values: *const f64,
    /// Distance between rows, in elements; 0 for `assets`.
    pub row_stride: usize,
    /// Distance between assets, in elements; 0 for 1. For column-major data set `row_stride` to 1 and `asset_stride` to
    /// `rows`.
    pub asset_stride: usize,
    /// 1 if the asset is in the universe at that row, so that a decision there may hold it, else 0; laid out like
    /// `values`. Null: every asset always is.
    pub members: *const u8,
    /// Number of rows after its last value for which an asset may still be held; 0 for a week of rows, as they are read
    /// from the dates (4 for daily data), `SIZE_MAX` to require a value.
    pub stale_rows: usize,
}

/// Size of the first version of `wf_panel_arrays`, which ended with this field.
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

/// Lends the panel of a handle to `body`.
///
/// # Safety
/// The handle contract of [`Handle::read`].
pub(super) unsafe fn with_panel<R>(panel: *const wf_panel, body: impl FnOnce(&Panel) -> Result<R>) -> Result<R> {
    // SAFETY: the handle contract.
    unsafe { Handle::read(panel.cast::<Handle<Panel>>(), body) }
}

/// How the caller's array of values is laid out in memory.
struct Layout {
    rows: usize,
    assets: usize,
    row_stride: usize,
    asset_stride: usize,
    /// Number of elements from the first value to the last.
    length: usize,
}

impl Layout {
    fn new(rows: usize, assets: usize, row_stride: usize, asset_stride: usize) -> Result<Self> {
        let row_stride = if row_stride == 0 { assets } else { row_stride };
        let asset_stride = asset_stride.max(1);
        let reach = |count: usize, stride: usize| count.saturating_sub(1).checked_mul(stride);
        let length = reach(rows, row_stride)
            .zip(reach(assets, asset_stride))
            .and_then(|(down, across)| down.checked_add(across)?.checked_add(1));
        let cells = rows.checked_mul(assets).filter(|&cells| cells <= isize::MAX as usize / size_of::<f64>());
        let (Some(length), Some(cells)) = (length, cells) else {
            fail!(InvalidArgument, "{rows} rows of {assets} assets with these strides are more than memory can hold");
        };
        Ok(Self { rows, assets, row_stride, asset_stride, length: if cells == 0 { 0 } else { length } })
    }

    /// Copies the values, row by row.
    ///
    /// # Safety
    /// `data` is null or has `self.length` elements.
    unsafe fn copy<T: Copy>(&self, name: &str, data: *const T) -> Result<Vec<T>> {
        // SAFETY: by the contract of this function.
        let data = unsafe { slice(name, data, self.length)? };
        let value = |row: usize, asset: usize| data[row * self.row_stride + asset * self.asset_stride];
        Ok((0..self.rows).flat_map(|row| (0..self.assets).map(move |asset| value(row, asset))).collect())
    }
}

/// Makes a panel from arrays, which are copied. The caller frees the handle with `wf_panel_free`.
///
/// Errors: `WF_E_INVALID_DATA`, naming the row or asset, for dates that do not increase, names that are empty or not
/// unique, a price of 0 or less, a return below -1, or an infinite value.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wf_panel_new(
    arrays: *const wf_panel_arrays,
    panel: *mut *mut wf_panel,
    error: *mut *mut wf_error,
) -> i32 {
    guard(error, || {
        check_pointer("panel", panel)?;
        check_pointer("arrays", arrays)?;
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
        // SAFETY: the contract of the C ABI.
        let (given, dates, names) = unsafe {
            let given = read_struct("arrays", arrays, FIRST, empty)?;
            let dates = slice("arrays.dates", given.dates, given.rows)?;
            (given, dates, slice("arrays.names", given.names, given.assets)?)
        };
        let kind = kind_of(given.kind)?;
        let dates = dates
            .iter()
            .enumerate()
            .map(|(row, &days)| {
                let message = || format!("arrays.dates[{row}] is {days}, beyond the calendar (years -9999 to 9999)");
                date_of(days).ok_or_else(|| Error::new(Code::InvalidData, message()))
            })
            .collect::<Result<Vec<_>>>()?;
        let names = names
            .iter()
            .enumerate()
            // SAFETY: the contract of the C ABI.
            .map(|(asset, &name)| unsafe { utf8(&format!("arrays.names[{asset}]"), name) }.map(str::to_owned))
            .collect::<Result<Vec<_>>>()?;
        let layout = Layout::new(given.rows, given.assets, given.row_stride, given.asset_stride)?;
        // SAFETY: the contract of the C ABI.
        let values = unsafe { layout.copy("arrays.values", given.values)? };
        let mut made = Panel::from_arrays(kind, dates, &names, &values)?;
        made = match given.stale_rows {
            0 => made,
            usize::MAX => made.with_stale_rows(0),
            rows => made.with_stale_rows(rows),
        };
        if !given.members.is_null() {
            // SAFETY: the contract of the C ABI.
            let members = unsafe { layout.copy("arrays.members", given.members)? };
            made = made.with_members(&members.iter().map(|&member| member != 0).collect::<Vec<_>>())?;
        }
        // SAFETY: the contract of the C ABI.
        unsafe { put("panel", panel, Handle::into_raw(made, ()).cast()) }
    })
}

/// Reads a panel from a file: Parquet if the path ends in `.parquet` or `.pq`, else CSV. The first column holds dates
/// (in CSV as YYYY-MM-DD), every other column an asset. `kind` is `WF_PRICES` or `WF_RETURNS`.
///
/// Errors: `WF_E_NOT_FOUND`, `WF_E_IO`, or `WF_E_INVALID_DATA`, naming the row.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wf_panel_read(
    path: wf_string,
    kind: i32,
    panel: *mut *mut wf_panel,
    error: *mut *mut wf_error,
) -> i32 {
    guard(error, || {
        check_pointer("panel", panel)?;
        // SAFETY: the contract of the C ABI.
        let path = unsafe { utf8("path", path)? };
        let made = Panel::from_file(kind_of(kind)?, Path::new(path))?;
        // SAFETY: the contract of the C ABI.
        unsafe { put("panel", panel, Handle::into_raw(made, ()).cast()) }
    })
}

/// Adds a feature, `[rows, assets]`, which is copied: further input for models, such as volume; NaN if missing. Strides
/// are as in `wf_panel_arrays`. Existing runs made from the panel do not see it.
///
/// Errors: `WF_E_INVALID_DATA` if the name is taken or has characters other than letters, digits and _, or a value is
/// infinite.
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
        // SAFETY: the contract of the C ABI.
        unsafe {
            let name = utf8("name", name)?;
            Handle::change(panel.cast::<Handle<Panel>>(), |panel| {
                let layout = Layout::new(panel.dates().len(), panel.assets().len(), row_stride, asset_stride)?;
                // In place, because the caller may hold pointers to asset names.
                panel.add_feature(name, &layout.copy("values", values)?)
            })
        }
    })
}

/// Gets the number of rows (dates) and of assets.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wf_panel_shape(
    panel: *const wf_panel,
    rows: *mut usize,
    assets: *mut usize,
    error: *mut *mut wf_error,
) -> i32 {
    guard(error, || {
        check_pointer("rows", rows)?;
        check_pointer("assets", assets)?;
        // SAFETY: the contract of the C ABI.
        unsafe {
            with_panel(panel, |panel| {
                put("rows", rows, panel.dates().len())?;
                put("assets", assets, panel.assets().len())
            })
        }
    })
}

/// Copies the dates, `[rows]`, as days since 1970-01-01.
///
/// Errors: `WF_E_BUFFER_TOO_SMALL` if `capacity` is less than the number of rows.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wf_panel_dates(
    panel: *const wf_panel,
    out: *mut i32,
    capacity: usize,
    error: *mut *mut wf_error,
) -> i32 {
    guard(error, || {
        // SAFETY: the contract of the C ABI.
        unsafe {
            with_panel(panel, |panel| {
                let dates: Vec<i32> = panel.dates().iter().map(|&date| days_of(date)).collect();
                copy_out("out", out, capacity, &dates)
            })
        }
    })
}

/// Gets the name of an asset by its index in the caller's order. Valid until the panel is freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wf_panel_asset(
    panel: *const wf_panel,
    asset: usize,
    name: *mut wf_string,
    error: *mut *mut wf_error,
) -> i32 {
    guard(error, || {
        // SAFETY: the contract of the C ABI.
        unsafe {
            with_panel(panel, |panel| {
                let Some(&column) = panel.output_order().get(asset) else {
                    fail!(
                        InvalidArgument,
                        "asset {asset} is out of range: the panel has {} assets",
                        panel.assets().len()
                    );
                };
                put("name", name, string(&panel.assets()[column]))
            })
        }
    })
}

/// Gets the SHA-256 of the data as 64 hexadecimal digits; it does not depend on the order of the assets. Valid until
/// the panel is changed or freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wf_panel_fingerprint(
    panel: *const wf_panel,
    fingerprint: *mut wf_string,
    error: *mut *mut wf_error,
) -> i32 {
    guard(error, || {
        // SAFETY: the contract of the C ABI.
        unsafe { with_panel(panel, |panel| put("fingerprint", fingerprint, string(panel.fingerprint()))) }
    })
}

/// Frees a panel; null is accepted.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wf_panel_free(panel: *mut wf_panel) {
    // SAFETY: the contract of the C ABI.
    unsafe { Handle::free(panel.cast::<Handle<Panel>>()) };
}
