//! One block of memory for everything a program computes. The plan says who lives where; here it is made sure that what
//! is written overlaps nothing else that is in use.

use std::ops::Range;

/// Most ranges of one kind that are looked at together.
pub const MOST_VIEWS: usize = 12;

/// Numbers of a program, addressed by ranges.
#[derive(Debug, Default)]
pub struct Arena {
    data: Vec<f32>,
}

/// Ranges to read and to write, looked at together; those not asked for are empty.
pub struct Views<'a> {
    /// What may be read.
    pub reads: [&'a [f32]; MOST_VIEWS],
    /// What may be written.
    pub writes: [&'a mut [f32]; MOST_VIEWS],
}

impl Arena {
    /// Room for `count` numbers, all 0.
    pub fn new(count: usize) -> Self {
        Self { data: vec![0.0; count] }
    }

    /// How many numbers it has room for.
    pub fn len(&self) -> usize {
        self.data.len()
    }

    /// Whether it has room for nothing.
    pub fn is_empty(&self) -> bool {
        self.data.is_empty()
    }

    /// One range, to read.
    pub fn read(&self, range: Range<usize>) -> &[f32] {
        &self.data[range]
    }

    /// One range, to write.
    pub fn write(&mut self, range: Range<usize>) -> &mut [f32] {
        &mut self.data[range]
    }

    /// Several ranges at once. What is written must overlap nothing else.
    ///
    /// # Panics
    /// Where a range is beyond the arena or the written ones overlap: a plan that is wrong.
    pub fn views(&mut self, reads: &[Range<usize>], writes: &[Range<usize>]) -> Views<'_> {
        let apart = |one: &Range<usize>, two: &Range<usize>| {
            one.is_empty() || two.is_empty() || one.end <= two.start || two.end <= one.start
        };
        assert!(reads.len() <= MOST_VIEWS && writes.len() <= MOST_VIEWS, "more ranges than are looked at together");
        for (place, write) in writes.iter().enumerate() {
            assert!(write.start <= write.end && write.end <= self.data.len(), "a range beyond the arena");
            assert!(writes[..place].iter().all(|other| apart(write, other)), "two written ranges overlap");
            assert!(reads.iter().all(|read| apart(write, read)), "a written range overlaps a read one");
        }
        for read in reads {
            assert!(read.start <= read.end && read.end <= self.data.len(), "a range beyond the arena");
        }
        let mut out = Views { reads: [&[]; MOST_VIEWS], writes: std::array::from_fn(|_| Default::default()) };
        let base = self.data.as_mut_ptr();
        for (view, range) in out.reads.iter_mut().zip(reads) {
            // SAFETY: inside the arena, and no written range overlaps it; the arena is borrowed as long as the views.
            *view = unsafe { core::slice::from_raw_parts(base.add(range.start), range.len()) };
        }
        for (view, range) in out.writes.iter_mut().zip(writes) {
            // SAFETY: inside the arena, and it overlaps no other range.
            *view = unsafe { core::slice::from_raw_parts_mut(base.add(range.start), range.len()) };
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::Arena;

    #[test]
    fn ranges_that_do_not_overlap_are_seen_together() {
        let mut arena = Arena::new(10);
        let views = arena.views(&[0..3, 2..4], &[4..6, 8..10]);
        let [one, two, ..] = views.writes;
        one.fill(1.0);
        two.fill(2.0);
        assert_eq!((views.reads[0].len(), views.reads[1].len(), views.reads[2].len()), (3, 2, 0));
        assert_eq!(arena.read(4..10), [1.0, 1.0, 0.0, 0.0, 2.0, 2.0]);
    }

    #[test]
    #[should_panic(expected = "overlaps a read one")]
    fn what_is_written_may_not_be_read() {
        Arena::new(10).views(&[0..5, 5..6], &[5..8, 8..9]);
    }

    #[test]
    #[should_panic(expected = "two written ranges overlap")]
    fn nothing_is_written_twice() {
        Arena::new(10).views(&[], &[0..5, 4..8]);
    }

    #[test]
    #[should_panic(expected = "beyond the arena")]
    fn nothing_lies_beyond() {
        Arena::new(10).views(&[], &[0..1, 5..11]);
    }
}
