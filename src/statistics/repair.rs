//! Making a matrix positive semi-definite.

use nalgebra::{Cholesky, DMatrix, SymmetricEigen};

use crate::error::{Result, fail};

/// Makes a symmetric matrix `[count, count]` with a positive diagonal positive semi-definite and says whether it had to
/// be changed. Where it has no Cholesky factor, its negative eigenvalues are set to 0, and rows and columns are scaled
/// so that the diagonal is what it was: the spectral decomposition of Rebonato and Jäckel (1999, "The most general
/// methodology to create a valid correlation matrix for risk management and option pricing purposes"), for a
/// covariance in units of its standard deviations.
///
/// # Errors
/// `InvalidArgument` where the length is not count × count; `InvalidData` where a number is not finite or a diagonal
/// element not positive.
pub fn repair(matrix: &mut [f64], count: usize) -> Result<bool> {
    if count.checked_mul(count) != Some(matrix.len()) {
        fail!(InvalidArgument, "{} numbers are no matrix of {count} rows and columns", matrix.len());
    }
    if matrix.iter().any(|value| !value.is_finite()) {
        fail!(InvalidData, "a matrix with numbers that are not finite cannot be made positive semi-definite");
    }
    let diagonal: Vec<f64> = (0..count).map(|place| matrix[place * count + place]).collect();
    if let Some(place) = diagonal.iter().position(|value| *value <= 0.0) {
        fail!(InvalidData, "diagonal element {place} is {}; it must be positive", diagonal[place]);
    }
    // Eigenvalues are cut in units of each variance, so that an asset's scale decides nothing.
    let unit: Vec<f64> = diagonal.iter().map(|value| value.sqrt()).collect();
    let scaled = DMatrix::from_fn(count, count, |i, j| matrix[i * count + j] / (unit[i] * unit[j]));
    if Cholesky::new(scaled.clone()).is_some() {
        return Ok(false);
    }
    let eigen = SymmetricEigen::new(scaled);
    let mut root = eigen.eigenvectors;
    for (mut column, value) in root.column_iter_mut().zip(eigen.eigenvalues.iter()) {
        column *= value.max(0.0).sqrt();
    }
    let cut = &root * root.transpose();
    for i in 0..count {
        for j in 0..i {
            let value = cut[(i, j)] / (cut[(i, i)].sqrt() * cut[(j, j)].sqrt()) * unit[i] * unit[j];
            matrix[i * count + j] = value;
            matrix[j * count + i] = value;
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::repair;
    use crate::error::Code;

    #[test]
    fn a_good_matrix_is_left_alone_to_the_bit() {
        let mut matrix = [2.0, 0.5, 0.5, 1.0];
        assert!(!repair(&mut matrix, 2).unwrap());
        assert_eq!(matrix, [2.0, 0.5, 0.5, 1.0]);
    }

    #[test]
    fn a_bad_matrix_keeps_its_diagonal_and_loses_its_negative_eigenvalue() {
        // Three assets that cannot all be so: eigenvalues 1.9, 1.9 and -0.8 with vectors (1, 1, 1)/√3 for the last.
        let mut matrix = [1.0, -0.9, -0.9, -0.9, 1.0, -0.9, -0.9, -0.9, 1.0];
        assert!(repair(&mut matrix, 3).unwrap());
        // 1.9 (I - 11'/3) scaled to a diagonal of 1 has -0.5 everywhere else.
        for (place, value) in matrix.iter().enumerate() {
            let expected = if place % 4 == 0 { 1.0 } else { -0.5 };
            assert!((value - expected).abs() < 1e-12, "{matrix:?}");
        }
    }

    #[test]
    fn a_covariance_is_cut_in_units_of_its_variances() {
        let (scale, correlation) = ([1.0, 10.0, 0.01], -0.9);
        let mut matrix = Vec::new();
        for (i, left) in scale.iter().enumerate() {
            for (j, right) in scale.iter().enumerate() {
                matrix.push(if i == j { left * right } else { left * right * correlation });
            }
        }
        assert!(repair(&mut matrix, 3).unwrap());
        assert!((matrix[1] + 5.0).abs() < 1e-11 && (matrix[5] + 0.05).abs() < 1e-13, "{matrix:?}");
        assert_eq!((matrix[0], matrix[4]), (1.0, 100.0));
    }

    #[test]
    fn what_is_no_covariance_is_refused() {
        assert_eq!(repair(&mut [1.0], 2).unwrap_err().code(), Code::InvalidArgument);
        assert_eq!(repair(&mut [f64::NAN], 1).unwrap_err().code(), Code::InvalidData);
        assert_eq!(repair(&mut [0.0], 1).unwrap_err().code(), Code::InvalidData);
    }
}
