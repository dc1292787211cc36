//! Memory that begins at a cache line.

/// Bytes of a cache line.
const LINE: usize = 64;

/// Elements that begin at a cache line: an AVX-512 vector that begins elsewhere crosses two lines, and reading it takes
/// twice as long. An allocator promises 16 bytes only.
#[derive(Debug)]
pub(crate) struct AlignedVec<T> {
    elements: Vec<T>,
    first: usize,
}

impl<T> Default for AlignedVec<T> {
    fn default() -> Self {
        Self { elements: Vec::new(), first: 0 }
    }
}

impl<T: Copy> AlignedVec<T> {
    /// `count` elements of `value`. Memory of zeros is not touched.
    pub(crate) fn new(count: usize, value: T) -> Self {
        let most = LINE / size_of::<T>();
        let mut elements = vec![value; count + most];
        let first = elements.as_ptr().align_offset(LINE).min(most);
        elements.truncate(first + count);
        Self { elements, first }
    }

    /// A copy of elements; `zero` fills the memory before them.
    pub(crate) fn copied(from: &[T], zero: T) -> Self {
        let mut out = Self::new(from.len(), zero);
        out.get_mut().copy_from_slice(from);
        out
    }

    pub(crate) fn get(&self) -> &[T] {
        &self.elements[self.first..]
    }

    pub(crate) fn get_mut(&mut self) -> &mut [T] {
        &mut self.elements[self.first..]
    }
}

#[cfg(test)]
mod tests {
    use super::{AlignedVec, LINE};

    #[test]
    fn an_aligned_vec_begins_at_a_cache_line() {
        for count in [0_u16, 1, 3, 64, 1000] {
            let elements: Vec<u16> = (0..count).collect();
            let aligned = AlignedVec::copied(&elements, 7);
            assert_eq!(aligned.get(), elements);
            assert_eq!(aligned.get().as_ptr().align_offset(LINE), 0);
            let aligned = AlignedVec::new(usize::from(count), 1.5_f32);
            assert_eq!(aligned.get(), vec![1.5; usize::from(count)]);
            assert_eq!(aligned.get().as_ptr().align_offset(LINE), 0);
        }
    }
}
