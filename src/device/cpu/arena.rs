//! One allocation for every buffer of a program. The plan assigns the ranges; the arena checks that a range that is
//! written overlaps no other range of the same call. It begins at a cache line, from which the plan aligns them.

use std::ops::Range;

use super::aligned::AlignedVec;

/// Most ranges that one call of [`Arena::views`] takes to read, and to write.
pub(crate) const MOST_VIEWS: usize = 12;

/// A block of `f32` memory that is addressed by ranges.
#[derive(Debug, Default)]
pub(crate) struct Arena {
    data: AlignedVec<f32>,
}

/// Several ranges of an arena, borrowed together. Entries beyond the requested ranges are empty.
pub(crate) struct Views<'a> {
    /// The ranges to read.
    pub reads: [&'a [f32]; MOST_VIEWS],
    /// The ranges to write.
    pub writes: [&'a mut [f32]; MOST_VIEWS],
}

impl Arena {
    /// Allocates `count` elements, all 0.
    pub(crate) fn new(count: usize) -> Self {
        Self { data: AlignedVec::new(count, 0.0) }
    }

    /// Its size in elements.
    pub(crate) fn len(&self) -> usize {
        self.data.get().len()
    }

    /// One range, to read.
    pub(crate) fn read(&self, range: Range<usize>) -> &[f32] {
        &self.data.get()[range]
    }

    /// One range, to write.
    pub(crate) fn write(&mut self, range: Range<usize>) -> &mut [f32] {
        &mut self.data.get_mut()[range]
    }

    /// Borrows several ranges at once. A written range must overlap no other range; read ranges may overlap each other.
    ///
    /// # Panics
    /// If a range ends beyond the arena, a written range overlaps another one, or there are too many ranges.
    pub(crate) fn views(&mut self, reads: &[Range<usize>], writes: &[Range<usize>]) -> Views<'_> {
        let disjoint = |one: &Range<usize>, two: &Range<usize>| {
            one.is_empty() || two.is_empty() || one.end <= two.start || two.end <= one.start
        };
        assert!(reads.len() <= MOST_VIEWS && writes.len() <= MOST_VIEWS, "more than {MOST_VIEWS} ranges");
        for (index, write) in writes.iter().enumerate() {
            assert!(write.start <= write.end && write.end <= self.len(), "a range beyond the arena");
            assert!(writes[..index].iter().all(|other| disjoint(write, other)), "two written ranges overlap");
            assert!(reads.iter().all(|read| disjoint(write, read)), "a written range overlaps a read one");
        }
        for read in reads {
            assert!(read.start <= read.end && read.end <= self.len(), "a range beyond the arena");
        }
        let mut out = Views { reads: [&[]; MOST_VIEWS], writes: std::array::from_fn(|_| Default::default()) };
        let base = self.data.get_mut().as_mut_ptr();
        for (view, range) in out.reads.iter_mut().zip(reads) {
            // SAFETY: the range lies inside `data` and no written range overlaps it, both asserted above; `self` is
            // mutably borrowed for the lifetime of the views, so nothing else writes to `data`.
            *view = unsafe { core::slice::from_raw_parts(base.add(range.start), range.len()) };
        }
        for (view, range) in out.writes.iter_mut().zip(writes) {
            // SAFETY: the range lies inside `data` and overlaps no other range of the call, both asserted above, so
            // this is the only reference to it; `self` is mutably borrowed for the lifetime of the views.
            *view = unsafe { core::slice::from_raw_parts_mut(base.add(range.start), range.len()) };
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::Arena;

    #[test]
    fn disjoint_ranges_are_borrowed_together() {
        let mut arena = Arena::new(10);
        let views = arena.views(&[0..3, 2..4], &[4..6, 8..10]);
        let [one, two, ..] = views.writes;
        one.fill(1.0);
        two.fill(2.0);
        assert_eq!((views.reads[0].len(), views.reads[1].len(), views.reads[2].len()), (3, 2, 0));
        assert_eq!(arena.read(4..10), [1.0, 1.0, 0.0, 0.0, 2.0, 2.0]);
    }

    #[test]
    fn an_arena_begins_at_a_cache_line() {
        for count in [1, 100, 1_000_000] {
            assert_eq!(Arena::new(count).read(0..1).as_ptr().align_offset(64), 0);
        }
    }

    #[test]
    #[should_panic(expected = "overlaps a read one")]
    fn a_written_range_may_not_overlap_a_read_one() {
        Arena::new(10).views(&[0..5, 5..6], &[5..8, 8..9]);
    }

    #[test]
    #[should_panic(expected = "two written ranges overlap")]
    fn written_ranges_may_not_overlap() {
        Arena::new(10).views(&[], &[0..5, 4..8]);
    }

    #[test]
    #[should_panic(expected = "beyond the arena")]
    fn a_range_may_not_end_beyond_the_arena() {
        Arena::new(10).views(&[], &[0..1, 5..11]);
    }
}
