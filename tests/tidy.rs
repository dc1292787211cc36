//! Rules of the source tree that no lint can hold: who may use whom and where `unsafe` is allowed, both read from
//! ARCHITECTURE.md; lengths, headers and names of files; words that the prose has given up.

#[path = "tidy/source.rs"]
mod source;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use source::{Source, module_path};

/// Folders of build output and of files that are not ours.
const NOT_SOURCE: [&str; 6] = ["target", "out", "shared", "fuzz/target", "fuzz/corpus", "fuzz/artifacts"];
const MAX_LINES: usize = 600;
/// Inline modules of capped length: file, module, lines.
const MODULE_CAPS: [(&str, &str, usize); 1] = [("src/lib.rs", "internals", 150)];
/// Names that say nothing about what a file holds. Tests may share `common`.
const BANNED_NAMES: [&str; 6] = ["util", "utils", "common", "helper", "helpers", "misc"];
/// Dependencies that only these folders name.
const DEPENDENCY_OWNERS: [(&str, &[&str]); 2] =
    [("libloading", &["src/plugin/", "src/device/cuda/"]), ("cudarc", &["src/device/cuda/"])];
/// Words that once stood for many things, and how often comments of the library and its headers may still use each in
/// its plain sense. Lower a number whenever the count falls.
const WORD_ALLOWANCE: [(&str, usize); 6] =
    [("place", 9), ("places", 0), ("room", 0), ("told", 1), ("towards", 0), ("scored", 2)];
/// Lints that are allowed in tests, benches, examples, build scripts and xtask only.
const TEST_ONLY_ALLOWS: [&str; 3] = ["unwrap_used", "expect_used", "undocumented_unsafe_blocks"];

/// The folder that holds ARCHITECTURE.md, from whichever package this test is built in.
fn root() -> PathBuf {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package.ancestors().find(|folder| folder.join("ARCHITECTURE.md").exists()).unwrap().to_owned()
}

fn architecture() -> String {
    fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap()
}

/// Files below a folder by their paths from the root, without hidden folders and `NOT_SOURCE`.
fn walk(folder: &Path, out: &mut Vec<String>) {
    for entry in fs::read_dir(root().join(folder)).unwrap() {
        let name = entry.unwrap().file_name().to_string_lossy().into_owned();
        let path = folder.join(&name);
        if !root().join(&path).is_dir() {
            out.push(path.display().to_string());
        } else if !name.starts_with('.') && NOT_SOURCE.iter().all(|other| Path::new(other) != path) {
            walk(&path, out);
        }
    }
}

/// Path and text of every file below the root that ends in `.{extension}`.
fn files(extension: &str) -> Vec<(String, String)> {
    let mut paths = Vec::new();
    walk(Path::new(""), &mut paths);
    paths.retain(|path| Path::new(path).extension().is_some_and(|found| found == extension));
    paths.sort();
    paths.into_iter().map(|path| (path.clone(), fs::read_to_string(root().join(path)).unwrap())).collect()
}

/// A row of the module table of ARCHITECTURE.md.
struct Row {
    module: String,
    uses: BTreeSet<String>,
    /// Whether the table says `all above` instead of naming modules.
    all_above: bool,
}

fn quoted(text: &str) -> Vec<String> {
    text.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// Reads the table `| module | what it holds | uses |`; each module may use only modules above it.
fn module_table(architecture: &str) -> Vec<Row> {
    let lines = architecture.lines().skip_while(|line| *line != "| module | what it holds | uses |").skip(2);
    let mut rows: Vec<Row> = Vec::new();
    for line in lines.take_while(|line| line.starts_with('|')) {
        let cells: Vec<&str> = line.trim_matches('|').split(" |").collect();
        let [module, _, uses] = cells[..] else { panic!("not a row of three cells: {line}") };
        let [module] = &quoted(module)[..] else { panic!("no module in the first cell: {line}") };
        let above: BTreeSet<String> = rows.iter().map(|row| row.module.clone()).collect();
        let all_above = uses.trim() == "all above";
        let uses = if all_above { above.clone() } else { quoted(uses).into_iter().collect() };
        assert!(!above.contains(module), "module '{module}' has two rows");
        assert!(uses.is_subset(&above), "module '{module}' uses what does not stand above it: {uses:?}");
        rows.push(Row { module: module.clone(), uses, all_above });
    }
    assert!(!rows.is_empty(), "ARCHITECTURE.md has no module table");
    rows
}

/// What a file of `src/` names of other modules, and the faults in it by the table.
fn edges(table: &[Row], file: &str, source: &Source, is_test: bool) -> (BTreeSet<String>, Vec<String>) {
    let module = module_path(file)[0].clone();
    let Some(index) = table.iter().position(|row| row.module == module) else {
        return (BTreeSet::new(), vec![format!("{file}: the table has no row for module '{module}'")]);
    };
    let (mut used, mut faults) = (BTreeSet::new(), Vec::new());
    for named in source.uses(file) {
        let context = format!("{file}:{}: ", named.line);
        let Some(target) = named.path.first() else {
            faults.push(context + "names the crate root; name a module of it");
            continue;
        };
        let Some(target_index) = table.iter().position(|row| row.module == *target) else {
            faults
                .push(format!("{context}'{target}' is no module of the table; name it by the module that defines it"));
            continue;
        };
        if *target == module {
            continue;
        }
        let in_test = is_test || named.in_test;
        if !(table[index].uses.contains(target) || in_test && target_index < index) {
            faults.push(format!("{context}'{module}' may not use '{target}' by the table of ARCHITECTURE.md"));
        }
        if !in_test {
            used.insert(target.clone());
        }
    }
    faults.dedup();
    (used, faults)
}

/// Lines of the inline module `name`, from its header to its closing brace.
fn module_length(source: &Source, name: &str) -> Option<usize> {
    let start = (0..source.tokens.len()).find(|at| source.reads(*at, &format!("mod {name} {{")))?;
    let end = source.group_end(start + 2) - 1;
    Some(source.tokens[end].line - source.tokens[start].line + 1)
}

/// How often a word stands in the comments, in any case.
fn count_word(source: &Source, word: &str) -> usize {
    let words = source.comments.split(|letter: char| !letter.is_alphanumeric() && letter != '_');
    words.filter(|other| other.eq_ignore_ascii_case(word)).count()
}

/// Where an `allow` or `expect` of a lint applies: the module of `src/` that is declared below it, else the file.
fn allowed_at(source: &Source, file: &str, lint: &str) -> Vec<String> {
    let mut found = Vec::new();
    for at in 0..source.tokens.len() {
        let is_list = ["allow", "expect"].contains(&source.text(at)) && source.text(at + 1) == "(";
        if !is_list || !(at..source.group_end(at + 1)).any(|inside| source.text(inside) == lint) {
            continue;
        }
        let item_end = (at..source.tokens.len()).find(|ahead| [";", "{"].contains(&source.text(*ahead))).unwrap_or(at);
        let declares = source.reads(at.saturating_sub(2), "# [")
            && source.text(item_end.saturating_sub(2)) == "mod"
            && source.text(item_end) == ";";
        if declares && file.starts_with("src/") {
            let module = [module_path(file), vec![source.text(item_end - 1).to_owned()]].concat();
            found.push(format!("src/{}", module.join("/")));
        } else {
            found.push(file.to_owned());
        }
    }
    found
}

/// Whether a path stands below one of the folders.
fn is_below(path: &str, folders: &[String]) -> bool {
    folders.iter().any(|folder| Path::new(path).starts_with(folder))
}

/// The folders in which ARCHITECTURE.md allows `unsafe`.
fn unsafe_folders(architecture: &str) -> Vec<String> {
    let start = "`unsafe` is denied everywhere but in ";
    let sentence = architecture.split_once(start).and_then(|(_, rest)| rest.split_once('.'));
    quoted(sentence.unwrap_or_else(|| panic!("ARCHITECTURE.md has no sentence '{start}…'")).0)
}

/// Paths that a document names in backticks: with a slash, without spaces, and up to the first component that stands
/// for many (`OP`, `*`).
fn paths_named(document: &str) -> Vec<String> {
    let is_path = |text: &String| {
        text.contains('/')
            && !text.starts_with('/')
            && text.chars().all(|c| c.is_alphanumeric() || "/._-*+".contains(c))
    };
    let stands_for_many = |part: &str| part.contains('*') || part.chars().all(|c| c.is_ascii_uppercase());
    let known = |path: String| path.split('/').take_while(|part| !stands_for_many(part)).collect::<Vec<_>>().join("/");
    quoted(document).into_iter().filter(is_path).map(known).collect()
}

#[track_caller]
fn assert_none(faults: &[String]) {
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
}

#[test]
fn modules_use_what_the_table_of_the_architecture_allows() {
    let table = module_table(&architecture());
    let (mut used, mut faults) = (BTreeMap::<String, BTreeSet<String>>::new(), Vec::new());
    let sources: Vec<(String, Source)> = files("rs")
        .into_iter()
        .filter(|(file, _)| file.starts_with("src/") && !file.starts_with("src/bin/") && file != "src/lib.rs")
        .map(|(file, text)| (file, Source::new(&text)))
        .collect();
    let tests: Vec<Vec<String>> = sources.iter().flat_map(|(file, source)| source.test_modules(file)).collect();
    for (file, source) in &sources {
        let module = module_path(file);
        let is_test = tests.iter().any(|test| module.starts_with(test));
        let (targets, found) = edges(&table, file, source, is_test);
        used.entry(module[0].clone()).or_default().extend(targets);
        faults.extend(found);
    }
    for row in &table {
        let Some(targets) = used.get(&row.module) else {
            faults.push(format!("ARCHITECTURE.md: there is no module '{}'", row.module));
            continue;
        };
        let unused: Vec<&String> = row.uses.difference(targets).collect();
        if !row.all_above && !unused.is_empty() {
            faults.push(format!("ARCHITECTURE.md: '{}' does not use {unused:?}; take it out of the table", row.module));
        }
    }
    assert_none(&faults);
}

#[test]
fn files_have_a_header_and_a_plain_name_and_are_not_too_long() {
    let mut faults = Vec::new();
    for (file, text) in files("rs") {
        if !text.starts_with("//! ") {
            faults.push(format!("{file} does not begin with a //! header"));
        }
        let lines = text.lines().count();
        if lines > MAX_LINES {
            faults.push(format!("{file} has {lines} lines; at most {MAX_LINES} are allowed"));
        }
        let mut names = file.trim_end_matches(".rs").split('/');
        if names.any(|name| BANNED_NAMES.contains(&name) && !(name == "common" && file.starts_with("tests/"))) {
            faults.push(format!("{file}: {BANNED_NAMES:?} say nothing; name it by what it holds"));
        }
    }
    for (file, module, cap) in MODULE_CAPS {
        let source = Source::new(&fs::read_to_string(root().join(file)).unwrap());
        match module_length(&source, module) {
            Some(lines) if lines <= cap => (),
            found => faults.push(format!("{file}: module {module} has {found:?} lines; {cap} are allowed")),
        }
    }
    assert_none(&faults);
}

#[test]
fn lints_are_lifted_only_where_the_architecture_says() {
    let folders = unsafe_folders(&architecture());
    let free = ["tests", "benches", "examples", "fuzz", "xtask", "build.rs"].map(str::to_owned);
    let (mut faults, mut lifted) = (Vec::new(), Vec::new());
    for (file, text) in files("rs").into_iter().filter(|(file, _)| !is_below(file, &free)) {
        let source = Source::new(&text);
        lifted.extend(allowed_at(&source, &file, "unsafe_code"));
        for lint in TEST_ONLY_ALLOWS {
            faults.extend(allowed_at(&source, &file, lint).into_iter().map(|at| format!("{at}: allows {lint}")));
        }
        for (dependency, owners) in DEPENDENCY_OWNERS {
            let named = source.tokens.iter().any(|token| token.text == dependency);
            if named && !owners.iter().any(|owner| file.starts_with(owner)) {
                faults.push(format!("{file}: only {owners:?} name {dependency}"));
            }
        }
    }
    for at in lifted.iter().filter(|at| !is_below(at, &folders)) {
        faults.push(format!("{at}: allows unsafe_code, which ARCHITECTURE.md does not"));
    }
    for folder in folders.iter().filter(|folder| !lifted.iter().any(|at| is_below(at, &[(*folder).clone()]))) {
        faults.push(format!("ARCHITECTURE.md: nothing in {folder} allows unsafe_code"));
    }
    assert_none(&faults);
}

#[test]
fn every_path_that_the_architecture_names_exists() {
    let paths = paths_named(&architecture());
    assert!(paths.len() > 5, "{paths:?}");
    let missing: Vec<String> = paths.into_iter().filter(|path| !root().join(path).exists()).collect();
    assert!(missing.is_empty(), "ARCHITECTURE.md names what is not there: {missing:?}");
}

#[test]
fn comments_keep_to_the_words_of_the_field() {
    let is_ours = |file: &str| file.starts_with("src/") || file.starts_with("include/");
    let sources = files("rs").into_iter().chain(files("h")).filter(|(file, _)| is_ours(file));
    let sources: Vec<(String, Source)> = sources.map(|(file, text)| (file, Source::new(&text))).collect();
    let mut faults = Vec::new();
    for (word, allowance) in WORD_ALLOWANCE {
        let counts = sources.iter().map(|(file, source)| (count_word(source, word), file));
        let found: Vec<(usize, &String)> = counts.filter(|(count, _)| *count > 0).collect();
        let total: usize = found.iter().map(|(count, _)| count).sum();
        if total > allowance {
            faults.push(format!("'{word}' stands {total} times in comments; {allowance} are allowed: {found:?}"));
        }
    }
    assert_none(&faults);
}

/// The faults in one file of `panel` by a small table.
fn faults_in_panel(text: &str) -> Vec<String> {
    let table = module_table(
        "| module | what it holds | uses |\n|---|---|---|\n| `error` | | |\n| `random` | | |\n| `statistics` | | `error` |\n\
         | `panel` | | `error` |\n| `train` | | `error`, `panel` |\n| `run` | | all above |\n",
    );
    edges(&table, "src/panel/read/csv.rs", &Source::new(text), false).1
}

#[test]
fn an_edge_that_the_table_lacks_is_reported() {
    for (text, fault) in [
        ("use crate::statistics::Covariance;", "csv.rs:1: 'panel' may not use 'statistics'"),
        ("use crate::{\n    error::Result,\n    run::Run,\n};", "csv.rs:3: 'panel' may not use 'run'"),
        ("use crate::{error::{Code, Result}, train::{self, Trainer as T}};", "csv.rs:1: 'panel' may not use 'train'"),
        ("pub use crate::train::*;", "'panel' may not use 'train'"),
        ("use super::super::super::run::Run;", "'panel' may not use 'run'"),
        ("mod inner { use super::super::super::super::run::Run; }", "'panel' may not use 'run'"),
        ("fn f() -> crate::run::Run { todo() }", "'panel' may not use 'run'"),
        ("fn f() { let x = 'x'; super::super::super::run::start(x); }", "'panel' may not use 'run'"),
        ("macro_rules! m { () => { $crate::run::start() } }", "'panel' may not use 'run'"),
        ("#[cfg(test)]\nfn only_in_tests() {}\n\nfn f(_: crate::run::Run) {}", "csv.rs:4: 'panel' may not use 'run'"),
        (
            "struct A {\n    #[cfg(test)]\n    pub(crate) b: u8,\n    c: crate::run::Run,\n}",
            "csv.rs:4: 'panel' may not use 'run'",
        ),
        ("#[cfg(test)]\nmod tests {\n    use crate::train::Trainer;\n}", "csv.rs:3: 'panel' may not use 'train'"),
        ("use walkforge::Run;", "'Run' is no module of the table"),
        ("use crate as root;", "names the crate root"),
        ("use crate::{self, error::Result};", "names the crate root"),
        ("use super::super::super::*;", "'*' is no module of the table"),
        ("use crate::Panel;", "'Panel' is no module of the table"),
    ] {
        let faults = faults_in_panel(text);
        assert!(faults.len() == 1 && faults[0].contains(fault), "{text}: {faults:?}");
    }
}

#[test]
fn what_the_table_allows_is_not_reported() {
    for text in [
        "use crate::error::{Code, Result};\nuse super::raw::{RawTable, decode};\nuse super::super::Panel;\nuse std::fs;",
        "// crate::run::Run\n/* /* crate::run */ crate::run */\nconst A: &str = \"crate::run\"; const B: &str = r#\"\"crate::run\"#;",
        "pub(crate) fn f<'a>(x: &'a str) -> char { '\\'' } pub(in crate::panel) fn g() {} pub(super) fn h() { self.run() }",
        "#[cfg(test)]\nmod tests {\n    use super::*;\n    use crate::random::Random;\n    use crate::statistics::Covariance;\n}",
        "#[cfg(all(test, feature = \"parquet\"))]\nuse crate::random::Random;",
    ] {
        assert_eq!(faults_in_panel(text), [""; 0], "{text}");
    }
}

#[test]
fn the_readers_of_rust_and_of_the_architecture_find_what_they_count() {
    let source = Source::new("mod a;\nmod internals {\n    mod b {}\n    use c::{d};\n}\nfn e() {}\n");
    assert_eq!(module_length(&source, "internals"), Some(4));
    assert_eq!(module_length(&source, "externals"), None);

    let source =
        Source::new("/// A place, two Places.\nfn place() { told(\"place\") } // told, retold\n/* scored:\nplace */");
    assert_eq!(["place", "places", "told", "scored", "room"].map(|word| count_word(&source, word)), [2, 1, 1, 1, 0]);

    let source = Source::new(
        "#![allow(dead_code)]\n#[allow(x, unsafe_code)]\npub(crate) mod device;\n#[expect(unsafe_code)]\nfn f() {}",
    );
    assert_eq!(allowed_at(&source, "src/lib.rs", "unsafe_code"), ["src/device", "src/lib.rs"]);
    assert_eq!(allowed_at(&source, "plugins/sdk/src/lib.rs", "dead_code"), ["plugins/sdk/src/lib.rs"]);

    let document = "`src/ops/OP/mod.rs`, `panel/` and `a b/c`, `/proc/self`, `docs/decisions/*.md`, `error`\n";
    assert_eq!(paths_named(document), ["src/ops", "panel", "docs/decisions"]);
    assert_eq!(unsafe_folders("`unsafe` is denied everywhere but in `src/a` and\n`src/b`. `c`"), ["src/a", "src/b"]);
}
