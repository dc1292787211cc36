//! The taste of the house, kept by a failing test: who may import whom, a header in every file, no file too long, unsafe
//! only where it is allowed and explained.

use std::path::{Path, PathBuf};

/// A module may use only those before it.
const ORDER: [&str; 21] = [
    "random",
    "error",
    "settings",
    "statistics",
    "panel",
    "windows",
    "portfolio",
    "evaluate",
    "device",
    "ops",
    "program",
    "model",
    "network",
    "train",
    "plugin",
    "experiment",
    "job",
    "report",
    "run",
    "conformance",
    "capi",
];
const UNSAFE_FOLDERS: [&str; 5] = ["src/plugin", "src/capi", "src/device", "plugins/sdk/src", "plugins/abi/src"];
const MOST_LINES: usize = 600;

fn sources(folder: &Path, out: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, out);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            out.push(path);
        }
    }
}

fn all() -> Vec<(String, String)> {
    let mut paths = Vec::new();
    for folder in ["src", "plugins", "tests"] {
        sources(Path::new(folder), &mut paths);
    }
    assert!(paths.len() > 20);
    paths.sort();
    paths.into_iter().map(|path| (path.display().to_string(), std::fs::read_to_string(&path).unwrap())).collect()
}

/// The part of a file before its unit tests.
fn code(text: &str) -> &str {
    text.split("#[cfg(test)]").next().unwrap_or_default()
}

#[test]
fn a_module_uses_only_what_stands_before_it() {
    let mut edges = 0;
    for (path, text) in all() {
        let Some(module) = path.strip_prefix("src/").and_then(|rest| rest.split(['/', '.']).next()) else { continue };
        let Some(place) = ORDER.iter().position(|name| *name == module) else {
            assert!(["lib", "bin"].contains(&module), "{path}: module '{module}' has no place in the order");
            continue;
        };
        for used in code(&text).split("crate::").skip(1) {
            let name: String =
                used.chars().take_while(|letter| letter.is_ascii_lowercase() || *letter == '_').collect();
            let Some(other) = ORDER.iter().position(|known| *known == name) else { continue };
            edges += 1;
            assert!(other <= place, "{path}: '{module}' may not use '{name}'");
        }
    }
    assert!(edges > 20);
}

#[test]
fn every_file_says_what_it_is_for_and_is_not_too_long() {
    for (path, text) in all() {
        assert!(text.starts_with("//! "), "{path} does not begin with a //! header");
        let lines = code(&text).lines().count();
        assert!(lines <= MOST_LINES, "{path} has {lines} lines of code; {MOST_LINES} are allowed");
    }
}

#[test]
fn unsafe_stands_only_where_it_is_allowed_and_says_why() {
    let word = concat!("unsafe", " {");
    for (path, text) in all().into_iter().filter(|(path, _)| !path.starts_with("tests/")) {
        let lines: Vec<&str> = text.lines().collect();
        for (place, line) in lines.iter().enumerate().filter(|(_, line)| line.contains(word)) {
            assert!(UNSAFE_FOLDERS.iter().any(|folder| path.starts_with(folder)), "{path}:{}: {line}", place + 1);
            let reason = lines[place.saturating_sub(4)..place].iter().any(|above| above.contains("SAFETY:"));
            assert!(reason, "{path}:{}: no SAFETY: line above", place + 1);
        }
    }
}

#[test]
fn nothing_outside_tests_unwraps() {
    for (path, text) in all().into_iter().filter(|(path, _)| !path.contains("tests/")) {
        for forbidden in [concat!(".unw", "rap()"), concat!(".exp", "ect("), concat!("to", "do!(")] {
            assert!(!code(&text).contains(forbidden), "{path} uses {forbidden}");
        }
    }
}
