//! What several tests share: where files are, processes, compilers, plugins and panels.

pub(crate) mod compilers;
pub(crate) mod panels;
pub(crate) mod process;

use std::fs;
use std::path::{Path, PathBuf};

use walkforge::{Plugin, PluginSearch, Run, register};

/// The root of the repository.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// The daily prices of 20 stocks.
pub(crate) fn prices() -> PathBuf {
    root().join("examples/data/sp500_20_prices.csv")
}

/// The text of a file with expected values.
pub(crate) fn golden(name: &str) -> String {
    fs::read_to_string(root().join("tests/golden").join(name)).unwrap()
}

/// The folder of the C libraries and the plugins. Cargo builds them before these tests and puts them beside the test
/// program, because this package depends on them.
pub(crate) fn built() -> PathBuf {
    let folder = std::env::current_exe().unwrap().parent().unwrap().to_owned();
    for library in ["libwalkforge.so", "libwalkforge.a", "libwalkforge_hrp.so", "libwalkforge_lstm.so"] {
        let there = folder.join(library).is_file();
        assert!(there, "{library} is not in {}; run the tests with cargo test -p walkforge-cli", folder.display());
    }
    folder
}

/// The file of a plugin that ships.
pub(crate) fn library(plugin: &str) -> PathBuf {
    built().join(format!("libwalkforge_{plugin}.so"))
}

/// An empty folder below the target directory, which stays after the test.
pub(crate) fn folder(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    if path.exists() {
        fs::remove_dir_all(&path).unwrap();
    }
    fs::create_dir_all(&path).unwrap();
    path
}

/// HRP, linked into the tests.
pub(crate) fn hrp() -> Plugin {
    // SAFETY: the function is the plugin's entry.
    unsafe { register(walkforge_hrp::wf_plugin_init_hrp, "hrp") }.unwrap()
}

/// The LSTM, linked into the tests.
pub(crate) fn lstm() -> Plugin {
    // SAFETY: the function is the plugin's entry.
    unsafe { register(walkforge_lstm::wf_plugin_init_lstm, "lstm") }.unwrap()
}

/// A search that finds these plugins and no file.
pub(crate) fn search<const N: usize>(plugins: [(&str, Plugin); N]) -> PluginSearch {
    let mut search = PluginSearch::folders(Vec::new());
    for (name, plugin) in plugins {
        search.add(name, plugin).unwrap();
    }
    search
}

/// Steps a run to its end.
pub(crate) fn finish(run: &mut Run) {
    while run.progress().done < run.windows.len() {
        run.step().unwrap();
    }
}
