//! What memory the machine has left, and how much this process has taken from the allocator.

use std::alloc::{GlobalAlloc, Layout, System};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// Bytes that are allocated.
static NOW: AtomicUsize = AtomicUsize::new(0);
/// The most bytes that were allocated at a time.
static PEAK: AtomicUsize = AtomicUsize::new(0);
/// Whether the process allocates through [`CountingAllocator`].
static IN_USE: AtomicBool = AtomicBool::new(false);

/// The system allocator, which counts bytes and gives large blocks back at once. The command and the C library use it; a
/// Rust program may.
pub struct CountingAllocator;

fn taken(bytes: usize) {
    let now = NOW.fetch_add(bytes, Ordering::Relaxed) + bytes;
    // Read first, as most allocations are below the peak.
    if now > PEAK.load(Ordering::Relaxed) {
        PEAK.fetch_max(now, Ordering::Relaxed);
        IN_USE.store(true, Ordering::Relaxed);
    }
}

fn freed(bytes: usize) {
    NOW.fetch_sub(bytes, Ordering::Relaxed);
}

/// From this size on a block is mapped by itself, so that its memory goes back to the system when it is freed. The system
/// allocator keeps freed blocks, for each thread, and a run on many threads would grow beyond its budget.
const LARGE: usize = 1 << 20;

fn is_large(size: usize, align: usize) -> bool {
    size >= LARGE && align <= 4096
}

/// Maps a block of zeros; null if there is no memory.
fn map(size: usize) -> *mut u8 {
    let (protection, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
    // SAFETY: an anonymous mapping at an address of the system's choice touches no memory that exists.
    let at = unsafe { libc::mmap(std::ptr::null_mut(), size, protection, flags, -1, 0) };
    if at == libc::MAP_FAILED { std::ptr::null_mut() } else { at.cast() }
}

// SAFETY: small blocks are those of the system allocator, called with the arguments of the caller, who keeps its contract.
// Large ones are mappings of their own, aligned to a page and of the size asked for; which a block is follows from its
// layout alone, so that it is freed as it was made.
unsafe impl GlobalAlloc for CountingAllocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let at = if is_large(layout.size(), layout.align()) {
            map(layout.size())
        } else {
            // SAFETY: the contract of this function is that of the system allocator.
            unsafe { System.alloc(layout) }
        };
        if !at.is_null() {
            taken(layout.size());
        }
        at
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        let at = if is_large(layout.size(), layout.align()) {
            map(layout.size())
        } else {
            // SAFETY: as for `alloc`.
            unsafe { System.alloc_zeroed(layout) }
        };
        if !at.is_null() {
            taken(layout.size());
        }
        at
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        let align = layout.align();
        if is_large(layout.size(), align) || is_large(size, align) {
            // SAFETY: the caller gives a size that is a valid layout with this alignment, and a block of `layout`; the two
            // blocks are distinct, and as many bytes are copied as both have.
            unsafe {
                let new = self.alloc(Layout::from_size_align_unchecked(size, align));
                if !new.is_null() {
                    std::ptr::copy_nonoverlapping(at, new, layout.size().min(size));
                    self.dealloc(at, layout);
                }
                return new;
            }
        }
        // SAFETY: as for `alloc`.
        let new = unsafe { System.realloc(at, layout, size) };
        if !new.is_null() {
            freed(layout.size());
            taken(size);
        }
        new
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        if is_large(layout.size(), layout.align()) {
            // SAFETY: a block of this layout is a mapping of this size, which the caller gives up.
            unsafe { libc::munmap(at.cast(), layout.size()) };
        } else {
            // SAFETY: as for `alloc`.
            unsafe { System.dealloc(at, layout) };
        }
        freed(layout.size());
    }
}

/// The most bytes that the process has had allocated at a time; `None` if it uses another allocator.
pub(crate) fn peak_bytes() -> Option<usize> {
    IN_USE.load(Ordering::Relaxed).then(|| PEAK.load(Ordering::Relaxed))
}

/// Bytes that the machine, or the control group of this process, has left; `None` where neither says so. Memory that the
/// kernel can take back from its page cache counts as left.
pub(crate) fn available() -> Option<u64> {
    available_below(Path::new("/"))
}

fn available_below(root: &Path) -> Option<u64> {
    let read = |path: &str| std::fs::read_to_string(root.join(path.trim_start_matches('/'))).ok();
    let machine = read("proc/meminfo").and_then(|text| {
        let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
        Some(line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok()? * 1024)
    });
    let group = read("proc/self/cgroup").and_then(|text| {
        let of_line = |line: &str| {
            let mut parts = line.splitn(3, ':');
            let (_, controllers, path) = (parts.next()?, parts.next()?, parts.next()?);
            if controllers.is_empty() {
                return left_in_group(&read, "sys/fs/cgroup", path, ["memory.max", "memory.current", "inactive_file"]);
            }
            let is_memory = controllers.split(',').any(|controller| controller == "memory");
            let files = ["memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"];
            is_memory.then(|| left_in_group(&read, "sys/fs/cgroup/memory", path, files)).flatten()
        };
        text.lines().filter_map(of_line).min()
    });
    machine.into_iter().chain(group).min()
}

/// Bytes that a control group and those above it have left. `files` are those of the limit and of the use, and the name
/// of what of it can be taken back.
fn left_in_group(read: &dyn Fn(&str) -> Option<String>, mount: &str, path: &str, files: [&str; 3]) -> Option<u64> {
    let number = |folder: &str, file: &str| read(&format!("{folder}/{file}"))?.trim().parse::<u64>().ok();
    let left = |folder: &str| {
        let (limit, used) = (number(folder, files[0])?, number(folder, files[1])?);
        let statistics = read(&format!("{folder}/memory.stat"))?;
        let of_cache = |line: &str| line.strip_prefix(files[2])?.trim().parse::<u64>().ok();
        let cache = statistics.lines().find_map(of_cache).unwrap_or(0);
        Some(limit.saturating_sub(used.saturating_sub(cache)))
    };
    let mut out: Option<u64> = None;
    let mut path = path.trim_end_matches('/');
    loop {
        out = out.into_iter().chain(left(&format!("{mount}{path}"))).min();
        let Some(parent) = path.rfind('/') else { return out };
        path = &path[..parent];
    }
}

#[cfg(test)]
mod tests {
    use super::available_below;

    /// A file system with these files.
    fn available(name: &str, files: &[(&str, &str)]) -> Option<u64> {
        let root = std::env::temp_dir().join(format!("walkforge-memory-{name}-{}", std::process::id()));
        for (path, text) in files {
            let path = root.join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        let out = available_below(&root);
        let _ = std::fs::remove_dir_all(&root);
        out
    }

    const MACHINE: (&str, &str) = ("proc/meminfo", "MemTotal:  9000 kB\nMemAvailable:    4000 kB\nCached: 1 kB\n");

    #[test]
    fn the_machine_and_every_control_group_above_the_process_count() {
        assert_eq!(available("none", &[]), None);
        assert_eq!(available("machine", &[MACHINE]), Some(4_096_000));
        let group = |maximum: &'static str| {
            [
                MACHINE,
                ("proc/self/cgroup", "0::/service/job\n"),
                // The group itself is not limited, the one above it is; 300 of its 700 bytes are page cache.
                ("sys/fs/cgroup/service/job/memory.max", "max\n"),
                ("sys/fs/cgroup/service/job/memory.current", "700\n"),
                ("sys/fs/cgroup/service/job/memory.stat", "anon 400\ninactive_file 300\n"),
                ("sys/fs/cgroup/service/memory.max", maximum),
                ("sys/fs/cgroup/service/memory.current", "700\n"),
                ("sys/fs/cgroup/service/memory.stat", "anon 400\ninactive_file 300\n"),
            ]
        };
        assert_eq!(available("v2", &group("1000\n")), Some(600));
        assert_eq!(available("above", &group("9000000000\n")), Some(4_096_000));
        assert_eq!(available("over", &group("100\n")), Some(0));
        let version_one = [
            MACHINE,
            ("proc/self/cgroup", "3:cpu,memory:/job\n1:name=systemd:/\n"),
            ("sys/fs/cgroup/memory/job/memory.limit_in_bytes", "5000\n"),
            ("sys/fs/cgroup/memory/job/memory.usage_in_bytes", "4000\n"),
            ("sys/fs/cgroup/memory/job/memory.stat", "total_inactive_file 500\n"),
        ];
        assert_eq!(available("v1", &version_one), Some(1500));
    }

    #[test]
    fn blocks_keep_their_bytes_across_the_sizes_of_both_kinds() {
        use std::alloc::{GlobalAlloc, Layout};
        let allocator = super::CountingAllocator;
        let mut size = 1000;
        // SAFETY: each block is used within its size, and freed once with the layout that it has.
        unsafe {
            let layout = |size| Layout::from_size_align(size, 64).unwrap();
            let mut at = allocator.alloc(layout(size));
            (0..1000).for_each(|index| at.add(index).write(index as u8));
            for next in [super::LARGE - 1, super::LARGE, 3 * super::LARGE, super::LARGE + 5, 2000] {
                at = allocator.realloc(at, layout(size), next);
                assert!(!at.is_null() && at.addr().is_multiple_of(64));
                at.add(next - 1).write(7);
                assert!((0..1000).all(|index| at.add(index).read() == index as u8), "{size} to {next}");
                size = next;
            }
            allocator.dealloc(at, layout(size));
            let zeros = allocator.alloc_zeroed(layout(super::LARGE));
            assert!((0..super::LARGE).all(|index| zeros.add(index).read() == 0));
            allocator.dealloc(zeros, layout(super::LARGE));
        }
        assert!(super::peak_bytes().is_some_and(|peak| peak >= 3 * super::LARGE));
    }

    #[test]
    fn this_machine_says_what_it_has_left() {
        assert!(super::available().is_some_and(|bytes| bytes > 1 << 20));
    }
}
