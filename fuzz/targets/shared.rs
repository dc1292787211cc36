//! What the targets share: a folder to put inputs in, and the program that reads files where no fuzzer is there.
#![allow(dead_code)] // no target needs all of it

use std::path::PathBuf;
use std::sync::OnceLock;

use walkforge::Panel;

#[path = "../../tests/hostile/feed.rs"]
mod feed;

pub(crate) use feed::*;

/// The panel that membership files and experiments are for.
pub fn shared_panel() -> &'static Panel {
    static PANEL: OnceLock<Panel> = OnceLock::new();
    PANEL.get_or_init(panel)
}

/// Puts an input into a file of this process.
pub fn file(ending: &str, bytes: &[u8]) -> PathBuf {
    static FOLDER: OnceLock<tempfile::TempDir> = OnceLock::new();
    let path = FOLDER.get_or_init(|| tempfile::tempdir().unwrap()).path().join("input").with_extension(ending);
    std::fs::write(&path, bytes).unwrap();
    path
}

/// Makes a target of a function of bytes: a fuzzer's, or a program of file names.
#[macro_export]
macro_rules! target {
    ($feed:expr) => {
        #[cfg(fuzzing)]
        // A panic that we catch, as of the reader of Parquet files, is no failure: the fuzzer's own hook would end
        // there. One that comes out of the target still is.
        libfuzzer_sys::fuzz_target!(init: std::panic::set_hook(Box::new(|fault| eprintln!("{fault}"))), |bytes: &[u8]| {
            $feed(bytes);
        });
        #[cfg(not(fuzzing))]
        fn main() {
            for name in std::env::args().skip(1) {
                println!("{name}: {:?}", $feed(&std::fs::read(&name).unwrap()));
            }
        }
    };
}
