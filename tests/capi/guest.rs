//! A Rust program that links the static C library: two copies of Rust's runtime in one program, a panic in each.

#[repr(C)]
struct Text {
    data: *const u8,
    length: usize,
}

unsafe extern "C" {
    fn wf_version() -> Text;
    fn wf_run_step(run: *mut u8, progress: *mut u8, error: *mut *mut u8) -> i32;
}

fn main() {
    let caught = std::panic::catch_unwind(|| assert!(std::env::args().count() > 9, "a panic of the program"));
    assert!(caught.is_err());
    let message = std::thread::spawn(|| {
        // SAFETY: a null run is refused; the text lives for ever.
        unsafe {
            assert_ne!(wf_run_step(std::ptr::null_mut(), std::ptr::null_mut(), std::ptr::null_mut()), 0);
            let text = wf_version();
            std::str::from_utf8(std::slice::from_raw_parts(text.data, text.length)).unwrap()
        }
    });
    println!("walkforge {}", message.join().unwrap());
}
