//! Hostile input: a million damaged CSV, TOML, JSON and Parquet inputs give a panel, settings or an error that locates
//! the fault; never a panic, a hang or more memory than a good file of that size could need.
//!
//! The inputs are read in a process of its own under `ulimit -v`, so that a stack overflow or a failed allocation ends
//! that process and not the tests. `HOSTILE_INPUTS` is the number of inputs (`make hostile`: a million), `HOSTILE_FROM`
//! the index of the first, `HOSTILE_SEED` the seed of the sequence: with them an input that failed is generated a
//! second time.

mod damage;
mod feed;

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use damage::Draws;
use feed::{Outcome, PANEL, panel};
use walkforge::{Panel, PanelKind};

use crate::common::process::{alone, passed_alone, stderr, stdout};
use crate::common::root;

const SHARE: u64 = 60_000;
/// Address space of the process that reads the inputs, in KiB.
const MEMORY: u64 = 3 << 20;
/// An input that takes longer counts as a hang; even on a loaded machine a good one takes milliseconds.
const PATIENCE: Duration = Duration::from_secs(20);

const MEMBERSHIP: &str = "ticker,start,end,index_name\nAAA,2020-01-02,2020-01-06,X\nBBB,2020-01-02,2020-01-02,X\n\
                          AAA,2020-01-08,2024-12-31,X\nZZZ,2014-01-02,,X\n";
const FEATURE: &str = "date,BBB,AAA\n2020-01-02,1e6,2.5e6\n2020-01-06,,0\n2020-01-08,-3,4\n";
const TOML: &str = "seed = 7\nthreads = 2\ndevice = \"cpu\"\n[data]\nprices = \"prices.csv\"\nmembership = \"members.csv\"\n\
    stale_rows = 3\n[data.features]\nvolume = \"volume.csv\"\n[windows]\nstart = \"2020-01-01\"\nscheme = \"expanding\"\n\
    train_months = 1\nvalidation_months = 0\ntest_months = 1\nstep_months = 1\npartial_test = true\n[portfolio]\n\
    rebalance = \"monthly\"\ncost_bps = 12.5\nmax_weight = 0.5\nmin_weight = 0.01\ntop_k = 30\nmax_turnover = 0.3\n\
    [portfolio.groups.tech]\nassets = [\"AAA\", \"CCC\"]\nmin = 0.1\nmax = 0.6\n[[models]]\nname = \"hrp\"\n\
    [models.settings]\nlookback = 252\n[[models]]\nname = \"other\"\nplugin = \"hrp\"\n";
const JSON: &str = r#"{"seed": 7, "windows": {"train_months": 1, "validation_months": 0, "test_months": 1, "partial_test": true},
    "portfolio": {"rebalance": 5, "max_weight": 0.5, "groups": {"tech": {"assets": ["AAA"], "max": 0.5}}},
    "models": [{"name": "hrp", "settings": {"lookback": 252}}]}"#;
const OVERRIDES: [&str; 6] = [
    "windows.train_months=1",
    "portfolio.rebalance=weekly",
    "portfolio.groups.tech.assets=[\"AAA\"]",
    "seed=3",
    "data.features.volume=\"x.csv\"",
    "models=[{name = \"hrp\"}]",
];

/// The kinds of inputs, and of 20 inputs how many are of each.
const KINDS: [(&str, usize); 8] = [
    ("prices", 4),
    ("returns", 1),
    ("membership", 3),
    ("feature", 2),
    ("toml", 4),
    ("json", 2),
    ("set", 1),
    ("parquet", 3),
];

struct Reader {
    folder: PathBuf,
    panel: Panel,
    parquet: Vec<Vec<u8>>,
    json: serde_json::Value,
}

impl Reader {
    fn new(folder: &Path) -> Self {
        let golden = ["pandas", "groups", "text", "undated", "flags", "nested"];
        let parquet =
            golden.map(|name| std::fs::read(root().join(format!("tests/golden/panel_{name}.parquet"))).unwrap());
        Self {
            folder: folder.to_owned(),
            panel: panel(),
            parquet: parquet.into(),
            json: serde_json::from_str(JSON).unwrap(),
        }
    }

    /// Generates the input with this index and reads it. It stays in the folder as `input` with the extension of its
    /// kind.
    fn read(&self, seed: u64, index: u64) -> (&'static str, Outcome) {
        let mut draws = Draws::new(seed, index);
        let mut ticket = draws.below(20);
        let kind = KINDS
            .iter()
            .find(|(_, share)| {
                let here = ticket < *share;
                ticket = ticket.wrapping_sub(*share);
                here
            })
            .map_or("parquet", |(kind, _)| *kind);
        let texts: [&[u8]; 5] = [PANEL, MEMBERSHIP, FEATURE, TOML, JSON].map(str::as_bytes);
        let good = match kind {
            "prices" | "returns" => texts[0],
            "membership" => texts[1],
            "feature" => texts[2],
            "toml" => texts[3],
            "json" => texts[4],
            "set" => draws.of(&OVERRIDES).as_bytes(),
            _ => {
                // Mostly one of the valid files.
                let count = if draws.below(4) > 0 { 3 } else { self.parquet.len() };
                &self.parquet[draws.below(count)]
            }
        };
        let bytes = if kind == "parquet" {
            let others: Vec<&[u8]> = self.parquet.iter().map(Vec::as_slice).collect();
            damage::parquet(good, &others, &mut draws)
        } else if kind == "json" && draws.below(4) > 0 {
            damage::tree(&self.json, &mut draws).to_string().into_bytes()
        } else {
            damage::text(good, &texts, &mut draws)
        };
        (kind, self.take(kind, &bytes))
    }

    fn take(&self, kind: &str, bytes: &[u8]) -> Outcome {
        let ending = match kind {
            "toml" | "json" | "parquet" => kind,
            "set" => "txt",
            _ => "csv",
        };
        let path = self.folder.join("input").with_extension(ending);
        std::fs::write(&path, bytes).unwrap();
        match kind {
            "returns" => feed::values(PanelKind::Returns, &path),
            "prices" | "parquet" => feed::values(PanelKind::Prices, &path),
            "membership" => feed::membership(&path, &self.panel),
            "feature" => feed::feature("volume", &path, &self.panel),
            // A file that is not UTF-8 is already refused when it is read.
            "toml" => feed::experiment(&String::from_utf8_lossy(bytes), &[], &self.panel),
            "json" => feed::experiment_json(bytes, &self.panel),
            _ => feed::experiment(TOML, &[String::from_utf8_lossy(bytes).into_owned()], &self.panel),
        }
    }
}

fn integer_in(variable: &str, default: u64) -> u64 {
    std::env::var(variable).map_or(default, |text| text.parse().expect(variable))
}

/// Runs `body` as `test` in a process of its own with limited memory, and returns what it printed; in that process
/// returns nothing.
fn limited(test: &str, body: impl FnOnce(&Reader)) -> Option<String> {
    let mut command = alone(test, &format!("ulimit -v {MEMORY} || exit 1"), || {
        body(&Reader::new(Path::new(&std::env::var_os("HOSTILE_FOLDER").expect("HOSTILE_FOLDER"))));
    })?;
    // In memory if possible: a million files are written.
    let memory = Path::new("/dev/shm");
    let folder = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }.unwrap();
    let output = command.env("HOSTILE_FOLDER", folder.path()).output().unwrap();
    println!("{}", stdout(&output));
    if !passed_alone(&output) {
        let kept = folder.keep();
        panic!("{}: the last input is in {}\n{:.3000}", output.status, kept.display(), stderr(&output));
    }
    Some(stdout(&output))
}

#[test]
fn damaged_inputs_are_read_or_refused_and_nothing_else() {
    let test = "hostile::damaged_inputs_are_read_or_refused_and_nothing_else";
    let printed = limited(test, read_the_damaged_inputs);
    assert!(printed.is_none_or(|printed| printed.contains("0 crashes")));
}

#[test]
fn inputs_that_once_failed_are_refused() {
    limited("hostile::inputs_that_once_failed_are_refused", read_inputs_that_once_failed);
}

fn read_the_damaged_inputs(reader: &Reader) {
    let (count, from) = (integer_in("HOSTILE_INPUTS", SHARE), integer_in("HOSTILE_FROM", 0));
    let seed = integer_in("HOSTILE_SEED", 1);
    let now = Arc::new(AtomicU64::new(from));
    watch(&now);
    // The Parquet reader may panic on damaged files. That is caught; do not print each panic.
    std::panic::set_hook(Box::new(|_| ()));
    let mut counts: BTreeMap<(&str, Outcome), u64> = BTreeMap::new();
    let (mut crashes, mut slowest) = (Vec::new(), (Duration::ZERO, 0));
    let started = Instant::now();
    for index in from..from + count {
        now.store(index, Ordering::Relaxed);
        let began = Instant::now();
        match catch_unwind(AssertUnwindSafe(|| reader.read(seed, index))) {
            Ok(read) => *counts.entry(read).or_default() += 1,
            Err(reason) => {
                let reason = reason.downcast_ref::<String>().cloned().unwrap_or_default();
                crashes.push(format!("input {index} of seed {seed}: {reason:.600}"));
            }
        }
        slowest = slowest.max((began.elapsed(), index));
    }
    for (kind, _) in KINDS {
        let of = |outcome| counts.get(&(kind, outcome)).copied().unwrap_or(0);
        let (read, refused, not_ours) = (of(Outcome::Read), of(Outcome::Refused), of(Outcome::NotOurs));
        println!("{kind}: {} inputs, {read} read, {refused} refused, {not_ours} not JSON", read + refused + not_ours);
        assert!(count < 5_000 || (read > 0 && refused > 0), "{kind}: the damage is too weak or too strong");
    }
    let (time, index) = slowest;
    println!("slowest: {time:?}, input {index}; {count} inputs of seed {seed} in {:?}", started.elapsed());
    for crash in crashes.iter().take(10) {
        println!("{crash}");
    }
    println!("{} crashes", crashes.len());
    assert!(crashes.is_empty(), "{}", crashes[0]);
}

/// Ends the process if an input takes too long.
fn watch(now: &Arc<AtomicU64>) {
    let now = Arc::clone(now);
    std::thread::spawn(move || {
        loop {
            let before = now.load(Ordering::Relaxed);
            std::thread::sleep(PATIENCE);
            if now.load(Ordering::Relaxed) == before {
                eprintln!("input {before} takes longer than {PATIENCE:?}");
                std::process::exit(9);
            }
        }
    });
}

/// A valid file whose footer is changed to claim 2^40 rows, or too few.
#[test]
#[cfg(feature = "parquet")]
fn a_file_that_claims_too_many_rows_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("claim.parquet");
    let good = std::fs::read(root().join("tests/golden/panel_text.parquet")).unwrap();
    let footer = damage::footer(&good);
    let mut refused = 0;
    let mut messages = Vec::new();
    for claim in [1 << 40, 1 << 33, 1 << 24, 1 << 62, 2] {
        // Four rows are encoded as an i64 (6) one field further (1), zigzag: of the file, each chunk and the row group.
        for at in (footer..good.len() - 9).filter(|&at| good[at..at + 2] == [0x16, 8]) {
            let mut bytes = good.clone();
            bytes.splice(at + 1..=at + 1, damage::varint(claim << 1));
            let (end, length) = (bytes.len() - 8, (bytes.len() - 8 - footer) as u32);
            bytes[end..end + 4].copy_from_slice(&length.to_le_bytes());
            std::fs::write(&path, &bytes).unwrap();
            match feed::values(PanelKind::Prices, &path) {
                Outcome::Refused => {
                    refused += 1;
                    messages.push((claim, Panel::from_file(PanelKind::Prices, &path).unwrap_err().to_string()));
                }
                // The reader does not rely on the value count of a chunk.
                outcome => assert_eq!(outcome, Outcome::Read),
            }
        }
    }
    assert!(refused >= 8, "{refused}");
    let refused_with =
        |claim: u64, text: &str| messages.iter().any(|(of, message)| *of == claim && message.contains(text));
    assert!(refused_with(1 << 40, "the file declares 1099511627776 rows; the calendar has"), "{messages:?}");
    // Else a small file could claim two rows and contain any number of them.
    assert!(refused_with(2, "the file declares 2 rows, and 4 of them in a row group"), "{messages:?}");
}

/// Inputs that once gave a panic, a stack overflow, a message that did not locate the fault or one as long as the file.
fn read_inputs_that_once_failed(reader: &Reader) {
    let deep = format!("{}=1", vec!["a"; 1_000_000].join("."));
    let long = "x".repeat(30_000_000);
    for (kind, input) in [
        ("set", deep.clone()),
        ("toml", format!("{deep}\n")),
        ("toml", format!("[{}]\n", &deep[..deep.len() - 2])),
        ("toml", format!("v = {}", "[".repeat(1_000_000))),
        ("toml", format!("v = {}1{}", "{a=".repeat(100_000), "}".repeat(100_000))),
        ("json", format!("{}1{}", "{\"windows\":".repeat(100), "}".repeat(100))),
        ("toml", format!("{long} = 1\n")),
        ("toml", format!("[[models]]\nname = \"{long}\"\n")),
        ("toml", format!("models = \"{long}\"\n")),
        ("set", format!("windows.scheme={long}")),
        ("set", long.clone()),
        ("prices", format!("date,A\n{long},1\n")),
        ("prices", format!("date,A\n2020-01-02,{long}\n")),
        ("membership", format!("ticker,start,end\nA,{long},\n")),
        ("membership", format!("{long},start,end\nA,,\n")),
        ("feature", format!("date,{long}\n2020-01-02,1\n")),
    ] {
        let outcome = reader.take(kind, input.as_bytes());
        assert_eq!(outcome, Outcome::Refused, "{kind}: {input:.60}");
    }
    // A file of one kilobyte that made the reader allocate 8 GiB.
    let input = std::fs::read(root().join("tests/hostile/inputs/children.parquet")).unwrap();
    assert_eq!(reader.take("parquet", &input), Outcome::Refused);
}
