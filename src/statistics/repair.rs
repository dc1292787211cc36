//! Making a matrix positive semi-definite.

use super::kernel::gram;
use super::spectrum::negative_part;
use crate::error::{Result, fail};

/// Makes a symmetric matrix, `[count, count]`, with a positive diagonal positive semi-definite, and returns whether it
/// had to change. A matrix with negative eigenvalues, beyond rounding, gets them set to 0, and its rows and columns
/// scaled so that the diagonal is unchanged: the spectral decomposition of Rebonato and Jäckel (1999, "The most general
/// methodology to create a valid correlation matrix for risk management and option pricing purposes"), applied to a
/// covariance in units of its standard deviations.
///
/// # Errors
/// `InvalidArgument` if the length is not count × count; `InvalidData` if an element is non-finite or a diagonal
/// element is not positive.
pub(crate) fn repair(matrix: &mut [f64], count: usize) -> Result<bool> {
    if count.checked_mul(count) != Some(matrix.len()) {
        fail!(InvalidArgument, "{} elements are not a matrix of {count} rows and {count} columns", matrix.len());
    }
    if matrix.iter().any(|value| !value.is_finite()) {
        fail!(InvalidData, "a matrix with an element that is not finite cannot be made positive semi-definite");
    }
    let diagonal: Vec<f64> = (0..count).map(|index| matrix[index * count + index]).collect();
    if let Some(index) = diagonal.iter().position(|value| *value <= 0.0) {
        fail!(InvalidData, "diagonal element {index} is {}; it must be positive", diagonal[index]);
    }
    // Eigenvalues are clipped in units of standard deviations, so that the scale of an asset has no influence.
    let unit: Vec<f64> = diagonal.iter().map(|value| value.sqrt()).collect();
    let scaled = |i: usize, j: usize| matrix[i * count + j] / (unit[i] * unit[j]);
    let mut clipped: Vec<f64> =
        (0..count).flat_map(|i| (0..count).map(move |j| (i, j))).map(|(i, j)| scaled(i, j)).collect();
    let Some(negative) = negative_part(&clipped, count) else { return Ok(false) };
    // What the negative eigenvalues take away is added back.
    for (value, product) in clipped.iter_mut().zip(gram(&negative)) {
        *value += product;
    }
    let root: Vec<f64> = (0..count).map(|index| clipped[index * count + index].sqrt()).collect();
    for i in 0..count {
        for j in 0..i {
            let value = clipped[i * count + j] / (root[i] * root[j]) * unit[i] * unit[j];
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
    fn a_valid_matrix_keeps_its_bits() {
        let mut matrix = [2.0, 0.5, 0.5, 1.0];
        assert!(!repair(&mut matrix, 2).unwrap());
        assert_eq!(matrix, [2.0, 0.5, 0.5, 1.0]);
    }

    #[test]
    fn an_indefinite_matrix_keeps_its_diagonal_and_loses_its_negative_eigenvalue() {
        // Three assets cannot all be correlated so: the eigenvalues are 1.9, 1.9 and -0.8, the last with (1, 1, 1)/√3.
        let mut matrix = [1.0, -0.9, -0.9, -0.9, 1.0, -0.9, -0.9, -0.9, 1.0];
        assert!(repair(&mut matrix, 3).unwrap());
        // 1.9 (I - 11'/3) scaled to a diagonal of 1 has -0.5 everywhere else.
        for (cell, value) in matrix.iter().enumerate() {
            let expected = if cell % 4 == 0 { 1.0 } else { -0.5 };
            assert!((value - expected).abs() < 1e-12, "{matrix:?}");
        }
    }

    #[test]
    fn eigenvalues_of_a_covariance_are_clipped_in_units_of_its_standard_deviations() {
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
    fn invalid_matrices_are_refused() {
        assert_eq!(repair(&mut [1.0], 2).unwrap_err().code(), Code::InvalidArgument);
        assert_eq!(repair(&mut [f64::NAN], 1).unwrap_err().code(), Code::InvalidData);
        assert_eq!(repair(&mut [0.0], 1).unwrap_err().code(), Code::InvalidData);
    }
}
