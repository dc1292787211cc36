//! A tape of scalars in double precision: each value remembers what it was computed from, and gradients follow from it.
//! Slow, and with nothing in common with the backward passes of the kernels.

/// A value on the tape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Var(u32);

/// What a value was computed from: at most two others, and its derivative with respect to each.
#[derive(Clone, Copy)]
struct Record {
    value: f64,
    from: [(Var, f64); 2],
}

/// A computation.
#[derive(Default)]
pub(super) struct Tape {
    records: Vec<Record>,
}

impl Tape {
    fn push(&mut self, value: f64, from: [(Var, f64); 2]) -> Var {
        self.records.push(Record { value, from });
        Var(self.records.len() as u32 - 1)
    }

    /// A constant, or something to differentiate by.
    pub(super) fn number(&mut self, value: f64) -> Var {
        let own = Var(self.records.len() as u32);
        self.push(value, [(own, 0.0); 2])
    }

    pub(super) fn value(&self, var: Var) -> f64 {
        self.records[var.0 as usize].value
    }

    /// A function of one value, given with its derivative there.
    pub(super) fn one(&mut self, x: Var, value: f64, derivative: f64) -> Var {
        self.push(value, [(x, derivative), (x, 0.0)])
    }

    pub(super) fn add(&mut self, x: Var, y: Var) -> Var {
        self.push(self.value(x) + self.value(y), [(x, 1.0), (y, 1.0)])
    }

    pub(super) fn sub(&mut self, x: Var, y: Var) -> Var {
        self.push(self.value(x) - self.value(y), [(x, 1.0), (y, -1.0)])
    }

    pub(super) fn mul(&mut self, x: Var, y: Var) -> Var {
        let (a, b) = (self.value(x), self.value(y));
        self.push(a * b, [(x, b), (y, a)])
    }

    pub(super) fn div(&mut self, x: Var, y: Var) -> Var {
        let (a, b) = (self.value(x), self.value(y));
        self.push(a / b, [(x, 1.0 / b), (y, -a / (b * b))])
    }

    /// x · factor + offset.
    pub(super) fn scale(&mut self, x: Var, factor: f64, offset: f64) -> Var {
        self.one(x, self.value(x) * factor + offset, factor)
    }

    pub(super) fn exp(&mut self, x: Var) -> Var {
        let value = self.value(x).exp();
        self.one(x, value, value)
    }

    pub(super) fn tanh(&mut self, x: Var) -> Var {
        let value = self.value(x).tanh();
        self.one(x, value, 1.0 - value * value)
    }

    pub(super) fn sigmoid(&mut self, x: Var) -> Var {
        let value = 1.0 / (1.0 + (-self.value(x)).exp());
        self.one(x, value, value * (1.0 - value))
    }

    /// The square root; its gradient at 0 is 0.
    pub(super) fn sqrt(&mut self, x: Var) -> Var {
        let value = self.value(x).sqrt();
        self.one(x, value, if value > 0.0 { 0.5 / value } else { 0.0 })
    }

    /// |x|; its gradient at 0 is 0.
    pub(super) fn abs(&mut self, x: Var) -> Var {
        let value = self.value(x);
        let sign = if value == 0.0 { 0.0 } else { value.signum() };
        self.one(x, value.abs(), sign)
    }

    /// The larger of two; equal ones share the gradient.
    pub(super) fn max(&mut self, x: Var, y: Var) -> Var {
        let (a, b) = (self.value(x), self.value(y));
        let share = if a > b { 1.0 } else { f64::from(u8::from(a == b)) / 2.0 };
        self.push(a.max(b), [(x, share), (y, 1.0 - share)])
    }

    pub(super) fn sum(&mut self, values: impl IntoIterator<Item = Var>) -> Var {
        let zero = self.number(0.0);
        values.into_iter().fold(zero, |sum, value| self.add(sum, value))
    }

    /// Σ xᵢ yᵢ.
    pub(super) fn dot(&mut self, pairs: impl IntoIterator<Item = (Var, Var)>) -> Var {
        let zero = self.number(0.0);
        pairs.into_iter().fold(zero, |sum, (x, y)| {
            let product = self.mul(x, y);
            self.add(sum, product)
        })
    }

    /// The derivatives of `of` with respect to `by`.
    pub(super) fn gradients(&self, of: Var, by: &[Var]) -> Vec<f64> {
        let mut all = vec![0.0; self.records.len()];
        all[of.0 as usize] = 1.0;
        for index in (0..=of.0 as usize).rev() {
            for (from, derivative) in self.records[index].from {
                if derivative != 0.0 {
                    all[from.0 as usize] += all[index] * derivative;
                }
            }
        }
        by.iter().map(|var| all[var.0 as usize]).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::Tape;

    #[test]
    fn gradients_of_a_small_function_are_those_of_its_formula() {
        // f(x, y) = tanh(x y) / (x + 3) at (0.5, -0.4).
        let mut tape = Tape::default();
        let (x, y) = (tape.number(0.5), tape.number(-0.4));
        let product = tape.mul(x, y);
        let (numerator, denominator) = (tape.tanh(product), tape.scale(x, 1.0, 3.0));
        let f = tape.div(numerator, denominator);
        let t = (-0.2_f64).tanh();
        let slope = 1.0 - t * t;
        let expected = [-0.4 * slope / 3.5 - t / (3.5 * 3.5), 0.5 * slope / 3.5];
        for (ours, expected) in tape.gradients(f, &[x, y]).iter().zip(expected) {
            assert!((ours - expected).abs() < 1e-15, "{ours} {expected}");
        }
        // Used twice, a value gets both parts.
        let square = tape.mul(x, x);
        assert_eq!(tape.gradients(square, &[x, y]), [1.0, 0.0]);
    }
}
