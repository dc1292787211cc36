//! Services that compute for a plugin. What it passes is checked, and no panic leaves.

use std::panic::{AssertUnwindSafe, catch_unwind};

use walkforge_plugin_abi::{
    WF_CORRELATION_KENDALL, WF_CORRELATION_PEARSON, WF_CORRELATION_SPEARMAN, WF_COVARIANCE_LEDOIT_WOLF,
    WF_COVARIANCE_SAMPLE, WF_MISSING_COMPLETE, WF_MISSING_PAIRWISE, WF_OK, wf_statistics_service,
};

use crate::error::{Code, Result, fail, panic_message};
use crate::statistics::{Coefficient, Missing, Sample, all_finite, distances_into, repair};

/// Service `statistics`, version 1.
pub(in crate::plugin) static STATISTICS: wf_statistics_service = wf_statistics_service {
    struct_size: size_of::<wf_statistics_service>(),
    covariance,
    correlation,
    repair: repair_in_place,
    distances: distances_between,
};

/// Runs `body`; gives the code of its error, or `Internal` for a caught panic.
fn guard(body: impl FnOnce() -> Result<()>) -> i32 {
    match catch_unwind(AssertUnwindSafe(body)) {
        Ok(Ok(())) => WF_OK,
        Ok(Err(failed)) => failed.code().as_i32(),
        Err(panic) => {
            panic_message(panic);
            Code::Internal.as_i32()
        }
    }
}

/// The number of cells of a table that can lie in memory.
fn cells(rows: usize, columns: usize) -> Result<usize> {
    match rows.checked_mul(columns).filter(|cells| *cells <= isize::MAX as usize / size_of::<f64>()) {
        Some(cells) if cells > 0 => Ok(cells),
        _ => fail!(InvalidArgument, "a table of {rows} by {columns} numbers cannot be"),
    }
}

/// A plugin's table as a slice.
///
/// # Safety
/// `data` is null or points to `rows` × `columns` numbers that nobody writes while the slice lives.
unsafe fn table<'a>(data: *const f64, rows: usize, columns: usize) -> Result<&'a [f64]> {
    let cells = cells(rows, columns)?;
    if data.is_null() || !data.is_aligned() {
        fail!(InvalidArgument, "the input is null or not aligned");
    }
    // SAFETY: not null, aligned, and as large as it says by the contract of this function.
    Ok(unsafe { core::slice::from_raw_parts(data, cells) })
}

/// The plugin's room for a square matrix of `count` rows, checked.
struct Scratch {
    out: *mut f64,
    cells: usize,
}

impl Scratch {
    fn new(out: *mut f64, capacity: usize, count: usize) -> Result<Self> {
        let cells = cells(count, count)?;
        if out.is_null() || !out.is_aligned() {
            fail!(InvalidArgument, "the output is null or not aligned");
        }
        if capacity < cells {
            fail!(BufferTooSmall, "the output has room for {capacity} numbers; {cells} are needed");
        }
        Ok(Self { out, cells })
    }

    /// The room as a slice of zeros, for an answer that can no longer fail.
    ///
    /// # Safety
    /// The room that [`Self::new`] was told of is there, and nobody else uses it while the slice lives.
    unsafe fn zeros<'a>(self) -> &'a mut [f64] {
        // SAFETY: not null, aligned and large enough as `new` found; the plugin may leave its memory unset, so it is
        // written before it is a slice.
        unsafe {
            self.out.write_bytes(0, self.cells);
            core::slice::from_raw_parts_mut(self.out, self.cells)
        }
    }
}

fn missing(value: i32) -> Result<Missing> {
    match value {
        WF_MISSING_COMPLETE => Ok(Missing::Complete),
        WF_MISSING_PAIRWISE => Ok(Missing::Pairwise),
        other => fail!(InvalidArgument, "{other} is no way to treat missing returns; allowed are 0 and 1"),
    }
}

unsafe extern "C" fn covariance(
    returns: *const f64,
    rows: usize,
    assets: usize,
    estimator: i32,
    missing_returns: i32,
    out: *mut f64,
    capacity: usize,
) -> i32 {
    let body = || {
        let room = Scratch::new(out, capacity, assets)?;
        // SAFETY: the plugin passes rows x assets numbers, by the ABI, and leaves them alone during the call.
        let returns = unsafe { table(returns, rows, assets) }?;
        let sample = Sample::new(returns, assets, missing(missing_returns)?)?;
        match estimator {
            // SAFETY: the room is there and overlaps no input, by the ABI.
            WF_COVARIANCE_SAMPLE => sample.covariance_into(unsafe { room.zeros() }),
            WF_COVARIANCE_LEDOIT_WOLF => {
                sample.has_complete_rows()?;
                // SAFETY: as above.
                sample.ledoit_wolf_into(unsafe { room.zeros() }).map(|_| ())
            }
            other => fail!(InvalidArgument, "{other} is no covariance estimator; allowed are 0 and 1"),
        }
    };
    guard(body)
}

unsafe extern "C" fn correlation(
    returns: *const f64,
    rows: usize,
    assets: usize,
    coefficient: i32,
    missing_returns: i32,
    out: *mut f64,
    capacity: usize,
) -> i32 {
    let body = || {
        let room = Scratch::new(out, capacity, assets)?;
        let coefficient = match coefficient {
            WF_CORRELATION_PEARSON => Coefficient::Pearson,
            WF_CORRELATION_SPEARMAN => Coefficient::Spearman,
            WF_CORRELATION_KENDALL => Coefficient::Kendall,
            other => fail!(InvalidArgument, "{other} is no correlation coefficient; allowed are 0, 1 and 2"),
        };
        // SAFETY: as in `covariance`.
        let returns = unsafe { table(returns, rows, assets) }?;
        let matrix = Sample::new(returns, assets, missing(missing_returns)?)?.correlation(coefficient);
        // SAFETY: as in `covariance`.
        unsafe { room.zeros() }.copy_from_slice(&matrix);
        Ok(())
    };
    guard(body)
}

unsafe extern "C" fn repair_in_place(matrix: *mut f64, count: usize, changed: *mut i32) -> i32 {
    let body = || {
        // SAFETY: the plugin passes count x count numbers, by the ABI, and leaves them alone during the call.
        let mut copy = unsafe { table(matrix, count, count) }?.to_vec();
        let repaired = repair(&mut copy, count)?;
        if repaired {
            // SAFETY: `table` found it not null; it is as large as the copy, which does not overlap it.
            unsafe { core::ptr::copy_nonoverlapping(copy.as_ptr(), matrix, copy.len()) };
        }
        if !changed.is_null() {
            // SAFETY: not null, and room for one number by the ABI.
            unsafe { changed.write(i32::from(repaired)) };
        }
        Ok(())
    };
    guard(body)
}

unsafe extern "C" fn distances_between(
    points: *const f64,
    count: usize,
    dimensions: usize,
    out: *mut f64,
    capacity: usize,
) -> i32 {
    let body = || {
        let room = Scratch::new(out, capacity, count)?;
        // SAFETY: the plugin passes count x dimensions numbers, by the ABI, and leaves them alone during the call.
        let points = unsafe { table(points, count, dimensions) }?;
        all_finite(points)?;
        // SAFETY: as in `covariance`.
        distances_into(points, count, unsafe { room.zeros() })
    };
    guard(body)
}

#[cfg(test)]
mod tests {
    use core::ptr::{null, null_mut};

    use walkforge_plugin_abi::WF_OK;

    use super::{Code, STATISTICS, guard};

    const RETURNS: [f64; 8] = [1.0, 2.0, 2.0, 9.0, 3.0, 6.0, 2.0, 1.0];

    /// Calls the covariance; gives its code and the output.
    fn covariance(
        returns: *const f64,
        rows: usize,
        assets: usize,
        kinds: (i32, i32),
        capacity: usize,
    ) -> (i32, [f64; 4]) {
        let mut out = [-7.0; 4];
        // SAFETY: what is wrong with the arguments is what the service must find; the output is as large as it says.
        let status =
            unsafe { (STATISTICS.covariance)(returns, rows, assets, kinds.0, kinds.1, out.as_mut_ptr(), capacity) };
        (status, out)
    }

    #[test]
    fn a_covariance_crosses_the_boundary() {
        let (status, out) = covariance(RETURNS.as_ptr(), 4, 2, (0, 0), 4);
        assert_eq!((status, out), (WF_OK, [2.0 / 3.0, 4.0 / 3.0, 4.0 / 3.0, 41.0 / 3.0]));
    }

    #[test]
    fn bad_arguments_are_codes_and_leave_the_output_alone() {
        let (good, bad) = (RETURNS.as_ptr(), Code::InvalidArgument);
        for (place, (case, code)) in [
            (covariance(null(), 4, 2, (0, 0), 4), bad),
            (covariance(good.cast::<u8>().wrapping_add(1).cast(), 4, 2, (0, 0), 4), bad),
            (covariance(good, 0, 2, (0, 0), 4), bad),
            (covariance(good, 4, 0, (0, 0), 4), bad),
            (covariance(good, usize::MAX, 2, (0, 0), 4), bad),
            (covariance(good, 4, usize::MAX / 2, (0, 0), 4), bad),
            (covariance(good, 4, 2, (2, 0), 4), bad),
            (covariance(good, 4, 2, (0, -1), 4), bad),
            (covariance(good, 4, 2, (0, 0), 3), Code::BufferTooSmall),
            (covariance(good, 1, 2, (0, 0), 4), Code::InvalidData),
        ]
        .into_iter()
        .enumerate()
        {
            assert_eq!(case, (code.as_i32(), [-7.0; 4]), "case {place}");
        }
        let mut out = [-7.0; 4];
        // SAFETY: null and unknown constants are what the service must find.
        let codes = unsafe {
            [
                (STATISTICS.distances)(good, 4, 2, null_mut(), 16),
                (STATISTICS.distances)(null(), 2, 2, out.as_mut_ptr(), 4),
                (STATISTICS.correlation)(good, 4, 2, 3, 0, out.as_mut_ptr(), 4),
                (STATISTICS.repair)(null_mut(), 2, null_mut()),
            ]
        };
        assert_eq!((codes, out), ([bad.as_i32(); 4], [-7.0; 4]));
    }

    #[test]
    fn a_repair_is_in_place_and_says_what_it_did() {
        let (mut matrix, mut changed) = ([1.0, -0.9, -0.9, -0.9, 1.0, -0.9, -0.9, -0.9, 1.0], -1);
        let mut refused = [1.0, f64::NAN, f64::NAN, 1.0];
        // SAFETY: the matrices are as large as they are said to be.
        unsafe {
            let status = (STATISTICS.repair)(matrix.as_mut_ptr(), 3, &raw mut changed);
            assert_eq!((status, changed), (WF_OK, 1));
            let status = (STATISTICS.repair)(refused.as_mut_ptr(), 2, &raw mut changed);
            assert_eq!((status, changed), (Code::InvalidData.as_i32(), 1));
        }
        assert!((matrix[1] + 0.5).abs() < 1e-12, "{matrix:?}");
    }

    #[test]
    fn a_panic_inside_is_a_code() {
        assert_eq!(guard(|| panic!("on purpose")), Code::Internal.as_i32());
    }
}
