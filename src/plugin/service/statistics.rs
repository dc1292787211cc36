//! Service `statistics`: covariance, correlation and distance matrices for a plugin.
//!
//! The arguments are checked, and no panic leaves.

use std::panic::{AssertUnwindSafe, catch_unwind};

use walkforge_plugin_abi::{
    WF_CORRELATION_KENDALL, WF_CORRELATION_PEARSON, WF_CORRELATION_SPEARMAN, WF_COVARIANCE_LEDOIT_WOLF,
    WF_COVARIANCE_SAMPLE, WF_MISSING_COMPLETE, WF_MISSING_PAIRWISE, WF_OK, wf_statistics_service,
};

use crate::device::in_default_environment;
use crate::error::{Code, Result, fail, panic_message};
use crate::statistics::{Coefficient, Missing, Sample, all_finite, distances_into, repair};

/// Service `statistics`, version 1.
pub(super) static STATISTICS: wf_statistics_service = wf_statistics_service {
    struct_size: size_of::<wf_statistics_service>(),
    covariance,
    correlation,
    repair: repair_in_place,
    distances: distances_between,
};

/// Runs `body` and returns the code of its error, or `Internal` for a caught panic.
fn guard(body: impl FnOnce() -> Result<()>) -> i32 {
    match in_default_environment(|| catch_unwind(AssertUnwindSafe(body))) {
        Ok(Ok(())) => WF_OK,
        Ok(Err(error)) => error.code().as_i32(),
        Err(payload) => {
            // Drops the payload, which may panic too.
            panic_message(payload);
            Code::Internal.as_i32()
        }
    }
}

/// Returns the number of elements of a matrix; fails if it is empty or does not fit into memory.
fn elements(rows: usize, columns: usize) -> Result<usize> {
    match rows.checked_mul(columns).filter(|elements| *elements <= isize::MAX as usize / size_of::<f64>()) {
        Some(elements) if elements > 0 => Ok(elements),
        _ => fail!(InvalidArgument, "a matrix of {rows} by {columns} elements is not possible"),
    }
}

/// Borrows a matrix that the plugin passes as input.
///
/// # Safety
/// `data` is null or points to `rows` × `columns` elements that nobody writes while the slice lives. The plugin's
/// contract says so of every input of the service.
unsafe fn input<'a>(data: *const f64, rows: usize, columns: usize) -> Result<&'a [f64]> {
    let elements = elements(rows, columns)?;
    if data.is_null() || !data.is_aligned() {
        fail!(InvalidArgument, "the input is null or not aligned");
    }
    // SAFETY: `data` is not null and aligned; the caller vouches for the length.
    Ok(unsafe { core::slice::from_raw_parts(data, elements) })
}

/// The plugin's output buffer for a square matrix, large enough and not null.
struct OutputBuffer {
    out: *mut f64,
    elements: usize,
}

impl OutputBuffer {
    /// Checks a buffer of `capacity` elements for a matrix of `count` rows.
    ///
    /// # Safety
    /// `out` is null or points to `capacity` writable elements that overlap no input and that nobody else uses during
    /// the call. The plugin's contract says so of every output of the service.
    unsafe fn new(out: *mut f64, capacity: usize, count: usize) -> Result<Self> {
        let elements = elements(count, count)?;
        if out.is_null() || !out.is_aligned() {
            fail!(InvalidArgument, "the output is null or not aligned");
        }
        if capacity < elements {
            fail!(BufferTooSmall, "the output has {capacity} elements; {elements} are needed");
        }
        Ok(Self { out, elements })
    }

    /// Fills the buffer with zeros and borrows it. Call it only when the result can no longer fail.
    fn zeros(&mut self) -> &mut [f64] {
        // SAFETY: `new` found the buffer not null, aligned and large enough. Its memory may be uninitialised, so it is
        // written before it becomes a slice.
        unsafe {
            self.out.write_bytes(0, self.elements);
            core::slice::from_raw_parts_mut(self.out, self.elements)
        }
    }
}

fn missing(value: i32) -> Result<Missing> {
    match value {
        WF_MISSING_COMPLETE => Ok(Missing::Complete),
        WF_MISSING_PAIRWISE => Ok(Missing::Pairwise),
        other => fail!(InvalidArgument, "{other} is not a treatment of missing returns; allowed are 0 and 1"),
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
        // SAFETY: the plugin keeps the contracts of `OutputBuffer::new` and `input`.
        let (mut buffer, returns) =
            unsafe { (OutputBuffer::new(out, capacity, assets)?, input(returns, rows, assets)?) };
        let sample = Sample::new(returns, assets, missing(missing_returns)?)?;
        match estimator {
            WF_COVARIANCE_SAMPLE => sample.covariance_into(buffer.zeros()),
            WF_COVARIANCE_LEDOIT_WOLF => {
                sample.has_complete_rows()?;
                sample.ledoit_wolf_into(buffer.zeros()).map(|_| ())
            }
            other => fail!(InvalidArgument, "{other} is not a covariance estimator; allowed are 0 and 1"),
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
        // SAFETY: the plugin keeps the contracts of `OutputBuffer::new` and `input`.
        let (mut buffer, returns) =
            unsafe { (OutputBuffer::new(out, capacity, assets)?, input(returns, rows, assets)?) };
        let coefficient = match coefficient {
            WF_CORRELATION_PEARSON => Coefficient::Pearson,
            WF_CORRELATION_SPEARMAN => Coefficient::Spearman,
            WF_CORRELATION_KENDALL => Coefficient::Kendall,
            other => fail!(InvalidArgument, "{other} is not a correlation coefficient; allowed are 0, 1 and 2"),
        };
        let matrix = Sample::new(returns, assets, missing(missing_returns)?)?.correlation(coefficient);
        buffer.zeros().copy_from_slice(&matrix);
        Ok(())
    };
    guard(body)
}

unsafe extern "C" fn repair_in_place(matrix: *mut f64, count: usize, changed: *mut i32) -> i32 {
    let body = || {
        // SAFETY: the plugin keeps the contract of `input`.
        let mut copy = unsafe { input(matrix, count, count) }?.to_vec();
        let repaired = repair(&mut copy, count)?;
        if repaired {
            // SAFETY: `input` found `matrix` not null and aligned; it is as large as the copy and does not overlap it.
            unsafe { core::ptr::copy_nonoverlapping(copy.as_ptr(), matrix, copy.len()) };
        }
        if !changed.is_null() {
            // SAFETY: `changed` is not null, so it is writable by the plugin's contract.
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
        // SAFETY: the plugin keeps the contracts of `OutputBuffer::new` and `input`.
        let (mut buffer, points) =
            unsafe { (OutputBuffer::new(out, capacity, count)?, input(points, count, dimensions)?) };
        all_finite(points)?;
        distances_into(points, count, buffer.zeros())
    };
    guard(body)
}

#[cfg(test)]
mod tests {
    use core::ptr::{null, null_mut};

    use walkforge_plugin_abi::WF_OK;

    use super::{Code, STATISTICS, guard};

    const RETURNS: [f64; 8] = [1.0, 2.0, 2.0, 9.0, 3.0, 6.0, 2.0, 1.0];

    /// Calls `covariance` and returns its code and the output.
    fn covariance(
        returns: *const f64,
        rows: usize,
        assets: usize,
        (estimator, missing): (i32, i32),
        capacity: usize,
    ) -> (i32, [f64; 4]) {
        let mut out = [-7.0; 4];
        // SAFETY: the service must find what is wrong with the arguments before it uses them; `out` has `capacity`
        // elements.
        let status =
            unsafe { (STATISTICS.covariance)(returns, rows, assets, estimator, missing, out.as_mut_ptr(), capacity) };
        (status, out)
    }

    #[test]
    fn a_covariance_crosses_the_boundary() {
        let (status, out) = covariance(RETURNS.as_ptr(), 4, 2, (0, 0), 4);
        assert_eq!((status, out), (WF_OK, [2.0 / 3.0, 4.0 / 3.0, 4.0 / 3.0, 41.0 / 3.0]));
    }

    #[test]
    fn invalid_arguments_return_codes_and_leave_the_output_untouched() {
        let (good, bad) = (RETURNS.as_ptr(), Code::InvalidArgument);
        for (index, (case, code)) in [
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
            assert_eq!(case, (code.as_i32(), [-7.0; 4]), "case {index}");
        }
        let mut out = [-7.0; 4];
        // SAFETY: the service must refuse null and unknown constants; other arguments are valid.
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
    fn repair_works_in_place_and_reports_whether_it_changed_the_matrix() {
        let (mut matrix, mut changed) = ([1.0, -0.9, -0.9, -0.9, 1.0, -0.9, -0.9, -0.9, 1.0], -1);
        let mut refused = [1.0, f64::NAN, f64::NAN, 1.0];
        // SAFETY: the matrices have 3 x 3 and 2 x 2 elements.
        unsafe {
            let status = (STATISTICS.repair)(matrix.as_mut_ptr(), 3, &raw mut changed);
            assert_eq!((status, changed), (WF_OK, 1));
            let status = (STATISTICS.repair)(refused.as_mut_ptr(), 2, &raw mut changed);
            assert_eq!((status, changed), (Code::InvalidData.as_i32(), 1));
        }
        assert!((matrix[1] + 0.5).abs() < 1e-12, "{matrix:?}");
    }

    #[test]
    fn a_panic_becomes_a_code() {
        assert_eq!(guard(|| panic!("on purpose")), Code::Internal.as_i32());
    }
}
