//! The values of a plane, shared by a panel, its slices and the engines that train on it: nothing is copied per window.

use std::ops::{Deref, Range};
use std::sync::Arc;

/// Read-only values `[rows, assets]`, row-major, of which copies and slices share the memory.
#[derive(Clone)]
pub(crate) struct SharedPlane<T> {
    values: Arc<[T]>,
    /// The values that can be reached through this one.
    cells: Range<usize>,
}

impl<T> SharedPlane<T> {
    /// The values `cells` of this plane. Nothing else can be reached through it.
    ///
    /// # Panics
    /// If `cells` reaches beyond this plane.
    pub(crate) fn slice(&self, cells: Range<usize>) -> Self {
        assert!(cells.start <= cells.end && cells.end <= self.cells.len(), "a slice reaches beyond its plane");
        let first = self.cells.start;
        Self { values: Arc::clone(&self.values), cells: first + cells.start..first + cells.end }
    }
}

impl<T> From<Vec<T>> for SharedPlane<T> {
    fn from(values: Vec<T>) -> Self {
        let cells = 0..values.len();
        Self { values: values.into(), cells }
    }
}

impl<T> Default for SharedPlane<T> {
    fn default() -> Self {
        Vec::new().into()
    }
}

impl<T> Deref for SharedPlane<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.values[self.cells.clone()]
    }
}

impl<T: std::fmt::Debug> std::fmt::Debug for SharedPlane<T> {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.deref().fmt(out)
    }
}

#[cfg(test)]
mod tests {
    use super::SharedPlane;

    #[test]
    fn a_slice_shares_the_memory_and_reaches_nothing_else() {
        let plane = SharedPlane::from(vec![0, 1, 2, 3, 4, 5]);
        let slice = plane.slice(1..5);
        assert_eq!(*slice, [1, 2, 3, 4]);
        assert_eq!(*slice.slice(1..3), [2, 3]);
        assert_eq!(slice.as_ptr(), plane[1..].as_ptr());
    }

    #[test]
    #[should_panic(expected = "reaches beyond its plane")]
    fn a_slice_of_a_slice_ends_with_it() {
        let _ = SharedPlane::from(vec![0, 1, 2, 3]).slice(1..3).slice(0..3);
    }
}
