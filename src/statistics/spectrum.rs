//! The negative part of the spectrum of a symmetric matrix: Householder reflections to a tridiagonal matrix, bisection for
//! its eigenvalues, inverse iteration for their vectors (Golub and Van Loan, Matrix Computations, chapter 8).
//!
//! Sums run in eight lanes that are added in a fixed tree, so the result has the same bits on every machine.

use pulp::Arch;

use super::kernel::Rows;

/// Reflections that are applied to the rest of the matrix at once.
const PANEL: usize = 32;
/// Eigenvalues that are searched for side by side, and the lanes of a sum.
const LANES: usize = 8;
/// Eigenvalues no further below 0 than this, times the order and the norm of the matrix, are rounding.
const ROUNDING: f64 = f64::EPSILON;
/// Steps of bisection, each to half of the interval: down to the rounding of the largest eigenvalue.
const BISECTIONS: usize = 56;
/// Steps of inverse iteration. One is enough but for an unlucky start.
const ITERATIONS: usize = 2;

/// The vectors √|λ| v of the negative eigenvalues λ of a symmetric matrix, `[order, order]`, one per eigenvalue, as the
/// columns of the result; `None` if there are none. Only the lower triangle is read.
pub(super) fn negative_part(matrix: &[f64], order: usize) -> Option<Rows> {
    Arch::new().dispatch(
        #[inline(always)]
        || {
            let reduced = Tridiagonal::reduce(matrix.to_vec(), order);
            let values = reduced.negative_values();
            if values.is_empty() {
                return None;
            }
            let mut vectors = reduced.vectors(&values);
            reduced.turn_back(&mut vectors);
            let mut out = Rows::zeros(order, values.len());
            for (index, (value, vector)) in values.iter().zip(&vectors).enumerate() {
                let scale = value.abs().sqrt();
                (0..order).for_each(|asset| out.row_mut(asset)[index] = scale * vector[asset]);
            }
            Some(out)
        },
    )
}

/// A tridiagonal matrix T and the reflections H with A = H T Hᵀ.
struct Tridiagonal {
    order: usize,
    diagonal: Vec<f64>,
    /// Element i couples i and i + 1.
    off: Vec<f64>,
    /// The reflection of step k is I − factor·v·vᵀ, where v begins at element k + 1: row k.
    reflections: Vec<f64>,
    factors: Vec<f64>,
}

/// The dot product of two slices of equal length.
#[inline(always)]
#[allow(clippy::inline_always, reason = "compiled with the dispatched instruction set")]
fn dot(one: &[f64], two: &[f64]) -> f64 {
    let ((ones, one), (twos, two)) = (one.as_chunks::<LANES>(), two.as_chunks::<LANES>());
    let mut sums = [0.0; LANES];
    for (one, two) in ones.iter().zip(twos) {
        for lane in 0..LANES {
            sums[lane] += one[lane] * two[lane];
        }
    }
    let rest: f64 = one.iter().zip(two).map(|(one, two)| one * two).sum();
    let [a, b, c, d, e, f, g, h] = sums;
    ((a + e) + (b + f)) + ((c + g) + (d + h)) + rest
}

/// Adds a multiple of a slice to another of equal length.
#[inline(always)]
#[allow(clippy::inline_always, reason = "compiled with the dispatched instruction set")]
fn add_scaled(out: &mut [f64], scale: f64, values: &[f64]) {
    for (out, value) in out.iter_mut().zip(values) {
        *out += scale * value;
    }
}

/// Adds A·v to `out`, both from element `next` on, where A is symmetric and its lower triangle is given.
#[inline(always)]
#[allow(clippy::inline_always, reason = "compiled with the dispatched instruction set")]
fn times_lower(matrix: &[f64], (order, next): (usize, usize), v: &[f64], out: &mut [f64]) {
    const ROWS: usize = 4;
    let mut row = next;
    // Four rows at a time read v and write the result once. Left of the diagonal they are a rectangle.
    while row + ROWS <= order {
        let rows: [&[f64]; ROWS] = std::array::from_fn(|index| &matrix[(row + index) * order..][next..row]);
        let scales: [f64; ROWS] = std::array::from_fn(|index| v[row + index]);
        let whole = (row - next) / LANES * LANES;
        let mut sums = [[0.0; LANES]; ROWS];
        let lefts = v[next..next + whole].chunks_exact(LANES).zip(out[next..next + whole].chunks_exact_mut(LANES));
        for (chunk, (v, out)) in lefts.enumerate() {
            let mut change = [0.0; LANES];
            for index in 0..ROWS {
                let values = &rows[index][chunk * LANES..][..LANES];
                for lane in 0..LANES {
                    sums[index][lane] += values[lane] * v[lane];
                    change[lane] += scales[index] * values[lane];
                }
            }
            for lane in 0..LANES {
                out[lane] += change[lane];
            }
        }
        for index in 0..ROWS {
            let [a, b, c, d, e, f, g, h] = sums[index];
            out[row + index] += ((a + e) + (b + f)) + ((c + g) + (d + h));
            // What is left of whole lanes, and the triangle beside the diagonal.
            let own = &matrix[(row + index) * order..][..=row + index];
            for column in next + whole..row + index {
                out[row + index] += own[column] * v[column];
                out[column] += own[column] * v[row + index];
            }
            out[row + index] += own[row + index] * v[row + index];
        }
        row += ROWS;
    }
    for row in row..order {
        let own = &matrix[row * order..][..=row];
        for column in next..row {
            out[row] += own[column] * v[column];
            out[column] += own[column] * v[row];
        }
        out[row] += own[row] * v[row];
    }
}

impl Tridiagonal {
    /// Reduces a symmetric matrix, of which the lower triangle is used and overwritten.
    #[inline(always)]
    #[allow(clippy::inline_always, reason = "compiled with the dispatched instruction set")]
    fn reduce(mut matrix: Vec<f64>, order: usize) -> Self {
        let steps = order.saturating_sub(2);
        let mut out = Self {
            order,
            diagonal: vec![0.0; order],
            off: vec![0.0; order.saturating_sub(1)],
            reflections: vec![0.0; steps * order],
            factors: vec![0.0; steps],
        };
        for first in (0..steps).step_by(PANEL) {
            let last = (first + PANEL).min(steps);
            // The rest of the matrix is A − V Wᵀ − W Vᵀ until the panel is done; w_k is row k − first.
            let mut updates = vec![0.0; (last - first) * order];
            for step in first..last {
                out.step(&mut matrix, &mut updates, first, step);
            }
            out.update(&mut matrix, &updates, first, last);
        }
        for (index, value) in out.diagonal.iter_mut().enumerate().skip(steps) {
            *value = matrix[index * order + index];
        }
        if order > 1 {
            out.off[order - 2] = matrix[(order - 1) * order + order - 2];
        }
        out
    }

    /// One reflection: of column `step`, below the element beside the diagonal.
    #[inline(always)]
    #[allow(clippy::inline_always, reason = "compiled with the dispatched instruction set")]
    fn step(&mut self, matrix: &mut [f64], updates: &mut [f64], first: usize, step: usize) {
        let (order, next) = (self.order, step + 1);
        // The column as it is after the earlier reflections of the panel.
        let mut column: Vec<f64> = (step..order).map(|row| matrix[row * order + step]).collect();
        for earlier in first..step {
            let v = &self.reflections[earlier * order..][..order];
            let w = &updates[(earlier - first) * order..][..order];
            add_scaled(&mut column, -w[step], &v[step..]);
            add_scaled(&mut column, -v[step], &w[step..]);
        }
        self.diagonal[step] = column[0];
        let below = &column[1..];
        let norm = dot(below, below).sqrt();
        let beta = if below[0] > 0.0 { -norm } else { norm };
        self.off[step] = beta;
        let v = &mut self.reflections[step * order..][..order];
        v[next..].copy_from_slice(below);
        v[next] -= beta;
        let square = dot(&v[next..], &v[next..]);
        if square == 0.0 {
            // The column is 0 already.
            return;
        }
        let factor = 2.0 / square;
        self.factors[step] = factor;
        let v = &self.reflections[step * order..][..order];
        let mut w = vec![0.0; order];
        times_lower(matrix, (order, next), v, &mut w);
        for earlier in first..step {
            let earlier_v = &self.reflections[earlier * order..][..order];
            let earlier_w = &updates[(earlier - first) * order..][..order];
            let (with_v, with_w) = (dot(&earlier_v[next..], &v[next..]), dot(&earlier_w[next..], &v[next..]));
            add_scaled(&mut w[next..], -with_w, &earlier_v[next..]);
            add_scaled(&mut w[next..], -with_v, &earlier_w[next..]);
        }
        let half = 0.5 * factor * dot(&w[next..], &v[next..]);
        for (w, v) in w[next..].iter_mut().zip(&v[next..]) {
            *w = factor * (*w - half * v);
        }
        updates[(step - first) * order..][..order].copy_from_slice(&w);
    }

    /// Applies the reflections of a panel to the rest of the matrix, in tiles that stay in registers.
    #[inline(always)]
    #[allow(clippy::inline_always, reason = "compiled with the dispatched instruction set")]
    fn update(&self, matrix: &mut [f64], updates: &[f64], first: usize, last: usize) {
        const ROWS: usize = 4;
        let order = self.order;
        let panels = || {
            (first..last)
                .map(|step| (&self.reflections[step * order..][..order], &updates[(step - first) * order..][..order]))
        };
        for top in (last..order).step_by(ROWS) {
            let rows = ROWS.min(order - top);
            // Beyond the diagonal nothing is read again, so whole tiles may be written there.
            let end = (top + rows).next_multiple_of(LANES).min(order);
            for left in (last..end).step_by(LANES) {
                let width = LANES.min(order - left);
                let mut tile = [[0.0; LANES]; ROWS];
                if rows == ROWS && width == LANES {
                    for (v, w) in panels() {
                        let (across_v, across_w) = (&v[left..left + LANES], &w[left..left + LANES]);
                        for row in 0..ROWS {
                            let (down_v, down_w) = (v[top + row], w[top + row]);
                            for lane in 0..LANES {
                                tile[row][lane] += down_v * across_w[lane] + down_w * across_v[lane];
                            }
                        }
                    }
                } else {
                    for (v, w) in panels() {
                        for row in 0..rows {
                            for lane in 0..width {
                                tile[row][lane] += v[top + row] * w[left + lane] + w[top + row] * v[left + lane];
                            }
                        }
                    }
                }
                for row in 0..rows {
                    let target = &mut matrix[(top + row) * order + left..][..width];
                    target.iter_mut().zip(&tile[row]).for_each(|(target, change)| *target -= change);
                }
            }
        }
    }

    /// The negative eigenvalues, the least first.
    fn negative_values(&self) -> Vec<f64> {
        let bound = |index: usize| {
            let left = if index > 0 { self.off[index - 1].abs() } else { 0.0 };
            left + self.off.get(index).map_or(0.0, |off| off.abs())
        };
        let norm = (0..self.order).map(|index| self.diagonal[index].abs() + bound(index)).fold(0.0, f64::max);
        let zero = -ROUNDING * self.order as f64 * norm;
        let count = self.below([zero; LANES])[0];
        let mut out = Vec::with_capacity(count);
        for first in (0..count).step_by(LANES) {
            let (mut low, mut high) = ([-norm; LANES], [zero; LANES]);
            for _ in 0..BISECTIONS {
                let middle: [f64; LANES] = std::array::from_fn(|lane| 0.5 * (low[lane] + high[lane]));
                let counts = self.below(middle);
                for lane in 0..LANES {
                    if counts[lane] > first + lane { high[lane] = middle[lane] } else { low[lane] = middle[lane] }
                }
            }
            out.extend_from_slice(&high[..LANES.min(count - first)]);
        }
        out
    }

    /// The numbers of eigenvalues below some values: of negative pivots (Sylvester's law of inertia).
    #[inline(always)]
    #[allow(clippy::inline_always, reason = "compiled with the dispatched instruction set")]
    fn below(&self, values: [f64; LANES]) -> [usize; LANES] {
        // A pivot of 0 is replaced by a tiny one, as in LAPACK.
        let tiny = f64::MIN_POSITIVE * 1e16;
        let (mut counts, mut pivots) = ([0_u64; LANES], [1.0; LANES]);
        for (index, diagonal) in self.diagonal.iter().enumerate() {
            let square = if index > 0 { self.off[index - 1] * self.off[index - 1] } else { 0.0 };
            for lane in 0..LANES {
                let pivot = diagonal - values[lane] - square / pivots[lane];
                pivots[lane] = if pivot.abs() < tiny { -tiny } else { pivot };
                counts[lane] += u64::from(pivots[lane] < 0.0);
            }
        }
        counts.map(|count| count as usize)
    }

    /// Unit eigenvectors of the tridiagonal matrix for eigenvalues in ascending order, orthogonal to each other.
    #[inline(always)]
    #[allow(clippy::inline_always, reason = "compiled with the dispatched instruction set")]
    fn vectors(&self, values: &[f64]) -> Vec<Vec<f64>> {
        let mut out: Vec<Vec<f64>> = Vec::with_capacity(values.len());
        for (index, value) in values.iter().enumerate() {
            let factors = Factors::of(self, *value);
            // A start that no eigenvector is orthogonal to, but by chance, and another one for each.
            let mut vector: Vec<f64> =
                (0..self.order).map(|row| 1.0 + 0.5 * ((row * (index + 3) + index) % 101) as f64 / 101.0).collect();
            for _ in 0..ITERATIONS {
                factors.solve(&mut vector);
                // Neighbours are close to each other, so all are kept orthogonal.
                for other in &out {
                    let along = dot(other, &vector);
                    add_scaled(&mut vector, -along, other);
                }
                let norm = dot(&vector, &vector).sqrt();
                for element in &mut vector {
                    *element /= norm;
                }
            }
            out.push(vector);
        }
        out
    }

    /// Turns eigenvectors of the tridiagonal matrix into those of the matrix; each reflection is read once for several.
    #[inline(always)]
    #[allow(clippy::inline_always, reason = "compiled with the dispatched instruction set")]
    fn turn_back(&self, vectors: &mut [Vec<f64>]) {
        for together in vectors.chunks_mut(LANES) {
            for step in (0..self.factors.len()).rev() {
                let v = &self.reflections[step * self.order + step + 1..(step + 1) * self.order];
                for vector in &mut *together {
                    let along = self.factors[step] * dot(v, &vector[step + 1..]);
                    add_scaled(&mut vector[step + 1..], -along, v);
                }
            }
        }
    }
}

/// The factors of T − λI with row exchanges, for inverse iteration.
struct Factors {
    /// The diagonals of the upper factor: its own, the one beside it and the next.
    upper: [Vec<f64>; 3],
    /// Per row, the multiple of it that is taken from the next one, and whether the two are exchanged first.
    lower: Vec<(f64, bool)>,
}

impl Factors {
    fn of(matrix: &Tridiagonal, value: f64) -> Self {
        let order = matrix.order;
        let off = |index: usize| matrix.off.get(index).copied().unwrap_or(0.0);
        let mut upper = [vec![0.0; order], vec![0.0; order], vec![0.0; order]];
        let mut lower = vec![(0.0, false); order];
        let scale =
            matrix.diagonal.iter().chain(&matrix.off).fold(f64::MIN_POSITIVE, |most, value| most.max(value.abs()));
        // The row at hand: its elements at the diagonal, beside it and next.
        let mut row = [matrix.diagonal[0] - value, off(0), 0.0];
        for index in 0..order {
            let below = [off(index), matrix.diagonal.get(index + 1).map_or(0.0, |next| next - value), off(index + 1)];
            let is_exchanged = index + 1 < order && below[0].abs() > row[0].abs();
            let (mut pivot, rest) = if is_exchanged { (below, row) } else { (row, below) };
            if pivot[0].abs() < f64::EPSILON * scale {
                pivot[0] = f64::EPSILON * scale;
            }
            // Exchanged, the row below begins at the diagonal as well.
            let multiple = if index + 1 < order { rest[0] / pivot[0] } else { 0.0 };
            lower[index] = (multiple, is_exchanged);
            for (diagonal, value) in upper.iter_mut().zip(pivot) {
                diagonal[index] = value;
            }
            row = [rest[1] - multiple * pivot[1], rest[2] - multiple * pivot[2], 0.0];
        }
        Self { upper, lower }
    }

    /// Solves for a right-hand side, in place, up to a factor that keeps the result finite.
    fn solve(&self, vector: &mut [f64]) {
        let order = vector.len();
        for index in 0..order.saturating_sub(1) {
            let (multiple, is_exchanged) = self.lower[index];
            if is_exchanged {
                vector.swap(index, index + 1);
            }
            vector[index + 1] -= multiple * vector[index];
        }
        let [own, beside, next] = &self.upper;
        for index in (0..order).rev() {
            let after = |ahead: usize| vector.get(index + ahead).copied().unwrap_or(0.0);
            let value = (vector[index] - beside[index] * after(1) - next[index] * after(2)) / own[index];
            vector[index] = value;
            if value.abs() > 1e150 {
                for element in vector.iter_mut() {
                    *element *= 1e-150;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::negative_part;
    use crate::random::Random;

    /// A symmetric matrix with these eigenvalues: reflected at random vectors.
    fn with_spectrum(values: &[f64]) -> Vec<f64> {
        let order = values.len();
        let random = Random::new(3, 0, 0);
        let mut out = vec![0.0; order * order];
        (0..order).for_each(|index| out[index * order + index] = values[index]);
        for turn in 0..order.min(12) {
            let v: Vec<f64> = (0..order).map(|index| random.normal((turn * order + index) as u64)).collect();
            let square: f64 = v.iter().map(|v| v * v).sum();
            let product: Vec<f64> =
                (0..order).map(|row| (0..order).map(|column| out[row * order + column] * v[column]).sum()).collect();
            let both: f64 = product.iter().zip(&v).map(|(one, two)| one * two).sum();
            for row in 0..order {
                for column in 0..order {
                    out[row * order + column] += -2.0 / square * (v[row] * product[column] + product[row] * v[column])
                        + 4.0 / (square * square) * both * v[row] * v[column];
                }
            }
        }
        out
    }

    /// The largest element of A·x − λ·x over what is found, and how far the vectors are from orthogonal.
    fn check(values: &[f64]) {
        let order = values.len();
        let matrix = with_spectrum(values);
        let mut expected: Vec<f64> = values.iter().copied().filter(|value| *value < 0.0).collect();
        expected.sort_by(f64::total_cmp);
        let Some(found) = negative_part(&matrix, order) else {
            assert!(expected.is_empty());
            return;
        };
        assert_eq!(found.length(), expected.len());
        let scale = values.iter().fold(0.0_f64, |most, value| most.max(value.abs()));
        let column = |index: usize| -> Vec<f64> { (0..order).map(|row| found.row(row)[index]).collect() };
        for (index, value) in expected.iter().enumerate() {
            let vector = column(index);
            let square: f64 = vector.iter().map(|element| element * element).sum();
            assert!((square + value).abs() < 1e-12 * scale * order as f64, "{square} {value}");
            for row in 0..order {
                let product: f64 = (0..order).map(|column| matrix[row * order + column] * vector[column]).sum();
                assert!((product - value * vector[row]).abs() < 1e-11 * scale.powf(1.5), "{index} {row}");
            }
            for other in index + 1..expected.len() {
                let product: f64 = vector.iter().zip(column(other)).map(|(one, two)| one * two).sum();
                assert!(product.abs() < 1e-11 * scale, "{product}");
            }
        }
    }

    #[test]
    fn vectors_of_negative_eigenvalues_are_found_whatever_the_spectrum() {
        check(&[1.0]);
        check(&[-1.0]);
        check(&[2.0, -1.0]);
        check(&[1.0, -0.5, 3.0]);
        // Equal ones, nearly equal ones, and far apart.
        check(&[-1.0, -1.0, -1.0, 2.0, 2.0]);
        check(&[5.0, -1.0, -1.0 - 1e-9, -1.0 + 1e-12, 0.0, 3.0, -1e-3]);
        let wide: Vec<f64> =
            (0..40).map(|index| if index % 3 == 0 { -1.0 } else { 1.0 } * 10_f64.powi(index / 4 - 7)).collect();
        check(&wide);
        let many: Vec<f64> = (0..150).map(|index| f64::from(index) / 50.0 - 1.0).collect();
        check(&many);
    }

    #[test]
    fn rounding_below_zero_is_no_negative_eigenvalue() {
        let singular: Vec<f64> = (0..60).map(|index| if index < 30 { 0.0 } else { 1.0 }).collect();
        assert!(negative_part(&with_spectrum(&singular), 60).is_none());
        // A diagonal matrix needs no reflection.
        assert!(negative_part(&[1.0, 0.0, 0.0, 0.0, 2.0, 0.0, 0.0, 0.0, 3.0], 3).is_none());
        let found = negative_part(&[1.0, 0.0, 0.0, 0.0, -4.0, 0.0, 0.0, 0.0, 3.0], 3).unwrap();
        assert!((found.row(1)[0].abs() - 2.0).abs() < 1e-15 && found.row(0)[0].abs() < 1e-15);
    }
}
