//! The code in the guides works: every block is compiled with warnings as errors, complete programs are run, complete
//! plugins pass `walkforge plugin check` and agree with each other, and every check is explained.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::common::compilers::{self, libraries};
use crate::common::process::{run, stdout, walkforge};
use crate::common::{built, folder, prices, root};

const PLUGIN_GUIDE: &str = "docs/plugin-guide.md";
const EMBEDDING_GUIDE: &str = "docs/embedding-guide.md";

/// A fenced block of a guide.
struct Block {
    language: String,
    /// The file name of a complete file; none for a fragment.
    file: Option<String>,
    line: usize,
    text: String,
}

/// A file of the repository.
fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap()
}

fn blocks(guide: &str) -> Vec<Block> {
    let text = read(guide);
    let mut out = Vec::new();
    let mut open: Option<Block> = None;
    for (index, line) in text.lines().enumerate() {
        match (&mut open, line.strip_prefix("```")) {
            (Some(block), None) => block.text.extend([line, "\n"]),
            (Some(_), Some(_)) => out.extend(open.take()),
            (None, Some(info)) => {
                let mut words = info.split(' ');
                let language = words.next().unwrap_or_default().to_owned();
                let file = words.next().map(|word| word.strip_prefix("file=").unwrap().to_owned());
                open = Some(Block { language, file, line: index + 1, text: String::new() });
            }
            (None, None) => (),
        }
    }
    assert!(open.is_none(), "{guide} ends inside a block");
    out
}

fn compiler(language: &str) -> Command {
    let (name, standard) = if language == "c" { ("cc", "-std=c11") } else { ("c++", "-std=c++17") };
    let mut command = compilers::compiler(name);
    command.arg(standard);
    command
}

/// The code around the fragments of a guide in a language: before all of them, and the head and tail of each.
fn around(guide: &str, language: &str) -> (&'static str, &'static str, &'static str) {
    match (guide, language) {
        (PLUGIN_GUIDE, "c") => (
            "#include <math.h>\n#include <stdio.h>\n#include <stdlib.h>\n#include <string.h>\n\
             #include \"walkforge_plugin.h\"\n\
             typedef struct model { size_t lookback, hidden; float dropout; } model;\n\
             static wf_string text(const char *from) { wf_string out = {from, strlen(from)}; return out; }\n\
             static int32_t fail(wf_error **error, int32_t code, const char *message) {\n\
             (void)error, (void)message; return code; }\n",
            "(const wf_host *host, const wf_settings *settings, const wf_past *past, wf_error **error, const model *model,\n\
             const wf_network_shape *shape, wf_program *program) {\n\
             (void)host, (void)settings, (void)past, (void)error, (void)text, (void)fail;\n\
             (void)model, (void)shape, (void)program;\n",
            "return WF_OK;\n}\n",
        ),
        (EMBEDDING_GUIDE, "c") => (
            "#include <string.h>\n#include \"walkforge.h\"\n\
             static wf_string text(const char *from) { wf_string out = {from, strlen(from)}; return out; }\n",
            "(size_t rows, size_t assets, const int32_t *dates, const wf_string *names, const double *by_column,\n\
             const double *volume) {\n wf_error *error = NULL;\n\
             (void)rows, (void)assets, (void)dates, (void)names, (void)by_column, (void)volume, (void)error, (void)text;\n",
            "return WF_OK;\n}\n",
        ),
        (EMBEDDING_GUIDE, "cpp") => (
            "#include <cstdio>\n#include <thread>\n#include <vector>\n#include \"walkforge.hpp\"\n",
            "([[maybe_unused]] wf::Runtime &runtime, [[maybe_unused]] wf::Panel &panel, [[maybe_unused]] wf::Run &run) {\n",
            "return WF_OK;\n}\n",
        ),
        _ => panic!("{guide} has a fragment in {language}, which this test cannot compile"),
    }
}

#[test]
fn every_fragment_compiles() {
    let folder = folder("guides/fragments");
    let mut count = 0;
    for guide in [PLUGIN_GUIDE, EMBEDDING_GUIDE] {
        let mut sources: BTreeMap<String, String> = BTreeMap::new();
        for block in blocks(guide) {
            if block.file.is_some() || ["sh", "cmake", "toml"].contains(&block.language.as_str()) {
                continue;
            }
            let (before, head, tail) = around(guide, &block.language);
            let source = sources.entry(block.language.clone()).or_insert_with(|| before.to_owned());
            let Block { line, text, .. } = block;
            // A line directive, so that messages of the compiler point into the guide.
            let name = format!("fragment_{line}");
            let parameters = head.split(") {").next().unwrap();
            let _ = write!(
                source,
                "int {name}{parameters});\nint {name}{head}\n#line {} \"{guide}\"\n{text}{tail}",
                line + 1
            );
            count += 1;
        }
        for (language, source) in sources {
            let path = folder.join(format!("{}.{language}", Path::new(guide).file_stem().unwrap().to_string_lossy()));
            fs::write(&path, source).unwrap();
            run(compiler(&language).arg("-fsyntax-only").arg(&path));
        }
    }
    assert!(count >= 15, "{count} fragments");
}

#[test]
fn every_program_of_the_embedding_guide_runs() {
    let folder = folder("guides/programs");
    let mut said = BTreeMap::new();
    for Block { language, file, text, .. } in blocks(EMBEDDING_GUIDE) {
        let Some(file) = file else { continue };
        let (source, program) = (folder.join(&file), folder.join(Path::new(&file).with_extension("out")));
        fs::write(&source, text).unwrap();
        let mut command = compiler(&language);
        command.arg(&source).arg("-o").arg(&program).arg("-L").arg(libraries());
        run(command.arg(format!("-Wl,-rpath,{}", libraries().display())).args(["-lwalkforge", "-pthread"]));
        let output = run(Command::new(&program).current_dir(&folder).arg(built()));
        said.insert(file, stdout(&output));
    }
    assert_eq!(said.len(), 3);
    assert!(said["walk.cpp"].contains("sharpe") && said["walk.cpp"].contains("rebalances"), "{said:?}");
    assert!(said["spans.c"].starts_with("equal weight over ") && !said["spans.c"].contains(" 0 windows"), "{said:?}");
    assert!(said["throwing.cpp"].contains("cannot read no such file.csv"), "{said:?}");
}

/// Builds the models of the plugin guide; returns their folder and names.
fn models() -> (PathBuf, [&'static str; 3]) {
    let folder = folder("guides/plugins");
    let crate_folder = folder.join("rust");
    fs::create_dir_all(crate_folder.join("src")).unwrap();
    for Block { language, file, text, .. } in blocks(PLUGIN_GUIDE) {
        match (language.as_str(), file) {
            (_, None) => (),
            ("c" | "cpp", Some(file)) => {
                let source = folder.join(&file);
                fs::write(&source, text).unwrap();
                let name = source.file_stem().unwrap().to_string_lossy().into_owned();
                let mut command = compiler(&language);
                let map = root().join("plugins/examples/plugin.map");
                command.args(["-O2", "-shared", "-fPIC"]).arg(format!("-Wl,--version-script={}", map.display()));
                command.arg(&source);
                run(command.arg("-o").arg(folder.join(format!("libwalkforge_{name}.so"))).arg("-lm"));
            }
            (_, Some(file)) => {
                // Here the SDK is in this repository, and the crate is a workspace of its own.
                let sdk = root().join("plugins/sdk");
                let text = text.replace("../walkforge/plugins/sdk", sdk.to_str().unwrap());
                let text = if file == "Cargo.toml" { format!("{text}\n[workspace]\n") } else { text };
                fs::write(crate_folder.join(file), text).unwrap();
            }
        }
    }
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["build", "--offline", "--quiet"]).current_dir(&crate_folder);
    run(cargo.env("CARGO_TARGET_DIR", folder.join("target")).env("RUSTFLAGS", "-D warnings"));
    let library = "libwalkforge_low_risk_rust.so";
    fs::copy(folder.join("target/debug").join(library), folder.join(library)).unwrap();
    (folder, ["low_risk_c", "low_risk_cpp", "low_risk_rust"])
}

#[test]
fn the_three_models_of_the_plugin_guide_pass_every_check_and_agree() {
    let (folder, names) = models();
    let mut answers = Vec::new();
    for name in names {
        let plugin = folder.join(format!("libwalkforge_{name}.so"));
        let output = run(walkforge(&["plugin", "check"]).arg(plugin));
        let report = stdout(&output);
        // They are not networks.
        let of_networks = ["program,", "gradient,", "compute,"];
        let skipped = report.lines().filter(|line| line.contains(",skipped,"));
        let skipped: Vec<&str> =
            skipped.filter(|line| !of_networks.iter().any(|name| line.starts_with(name))).collect();
        assert!(skipped.is_empty(), "{skipped:?}");
        let mut weights = walkforge(&["weights", "--model", name, "--set", "model.lookback=250", "--data"]);
        let output = run(weights.arg(prices()).env("WALKFORGE_PLUGIN_PATH", &folder));
        let table = stdout(&output);
        let cells = table.lines().skip(1).map(|line| line.split_once(',').unwrap().1.parse::<f64>().unwrap());
        answers.push(cells.collect::<Vec<f64>>());
    }
    for answer in &answers {
        let apart = answer.iter().zip(&answers[0]).map(|(one, other)| (one - other).abs()).fold(0.0, f64::max);
        assert!(answer.len() == 20 && apart <= 1e-14, "{apart:e}");
    }
}

#[test]
fn every_op_is_in_the_table_with_valid_attributes() {
    let text = read(PLUGIN_GUIDE);
    let (_, table) = text.split_once("| op | operands | attributes | result |\n").unwrap();
    let code = |cell: &str| cell.trim().trim_matches('`').to_owned();
    let mut documented = Vec::new();
    for line in table.lines().skip(1).take_while(|line| line.starts_with('|')) {
        let cells: Vec<&str> = line.split('|').collect();
        let (name, attributes) = (code(cells[1]), code(cells[3]));
        let op = walkforge::internals::ops::from_name(&name, &attributes)
            .unwrap_or_else(|error| panic!("op '{name}' {error}"));
        // No attribute is missing; values may be formatted in another way.
        assert_eq!(op.attributes().matches('=').count(), attributes.matches('=').count(), "{name}");
        documented.push(name);
    }
    documented.sort();
    assert_eq!(documented, walkforge::internals::ops::names());
}

#[test]
fn the_network_of_the_guide_is_that_of_the_example() {
    let example = read("plugins/examples/mlp.c");
    let lines: Vec<&str> = example.lines().map(str::trim).collect();
    let shown = blocks(PLUGIN_GUIDE).into_iter().find(|block| block.text.contains("output_scores")).unwrap();
    let strange: Vec<&str> = shown.text.lines().map(str::trim).filter(|line| !lines.contains(line)).collect();
    assert!(strange.is_empty(), "{strange:#?}");
}

#[test]
fn every_check_is_explained_and_no_other() {
    let text = read(PLUGIN_GUIDE);
    let explained: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("### `")?.strip_suffix('`')).collect();
    let checks: Vec<&str> = walkforge::internals::conformance::CHECKS.iter().map(|check| check.name).collect();
    assert_eq!(explained, checks);
}

#[test]
fn the_files_that_guides_name_are_there() {
    let mut links = 0;
    for guide in [PLUGIN_GUIDE, EMBEDDING_GUIDE] {
        let text = read(guide);
        let links_in = text.split("](").skip(1).map(|rest| rest.split(')').next().unwrap());
        for target in links_in.filter(|target| Path::new(target).extension().is_some_and(|ending| ending == "md")) {
            assert!(root().join("docs").join(target).is_file(), "{guide} links to {target}");
            links += 1;
        }
        for path in text.split('`').filter(|word| ["plugins/", "bindings/"].iter().any(|root| word.starts_with(root))) {
            assert!(root().join(path).is_file(), "{guide} names {path}");
            links += 1;
        }
    }
    assert!(links >= 5);
}
