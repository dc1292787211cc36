//! Hostile input: a million damaged CSV, TOML, JSON and Parquet inputs end in a panel, settings or an error that says
//! where the fault is; never in a panic, a hang or more memory than a good file of that size could need.
//!
//! The inputs are read by a process of its own under `ulimit -v`, so that an overflowing stack or a refused allocation
//! ends it and not the tests. `HOSTILE_INPUTS` says how many inputs (`make hostile`: a million), `HOSTILE_FROM` which is
//! the first, `HOSTILE_SEED` of which sequence: an input that failed is made again from the numbers printed.

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
use walkforge::panel::{Panel, PanelKind};

use crate::common::process::{alone, passed_alone, stderr, stdout};
use crate::common::root;

const SHARE: u64 = 60_000;
/// Address space of the process that reads, in KiB.
const MEMORY: u64 = 3 << 20;
/// An input that takes longer is a hang; on a loaded machine a good one takes milliseconds.
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

/// What an input is, and its share of 20.
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

    /// Makes input `number` and has it read; the input is left in the folder as `input` with the ending of its kind.
    fn read(&self, seed: u64, number: u64) -> (&'static str, Outcome) {
        let mut draws = Draws::new(seed, number);
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
                // Mostly one of those that are good.
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
            // A file that is no UTF-8 is refused by the read that comes before.
            "toml" => feed::experiment(&String::from_utf8_lossy(bytes), &[], &self.panel),
            "json" => feed::experiment_json(bytes, &self.panel),
            _ => feed::experiment(TOML, &[String::from_utf8_lossy(bytes).into_owned()], &self.panel),
        }
    }
}

fn number_in(variable: &str, default: u64) -> u64 {
    std::env::var(variable).map_or(default, |text| text.parse().expect(variable))
}

/// Runs `body` as the calling test in a process of its own, with its memory limited; gives what it printed, or nothing in
/// that process itself.
fn limited<F: FnOnce(&Reader)>(body: F) -> Option<String> {
    let mut command = alone(&format!("ulimit -v {MEMORY} || exit 1"), || {
        body(&Reader::new(Path::new(&std::env::var_os("HOSTILE_FOLDER").expect("HOSTILE_FOLDER"))));
    })?;
    // In memory where there is such a place: a million files are written.
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
    let printed = limited(read_the_damaged_inputs);
    assert!(printed.is_none_or(|printed| printed.contains("0 crashes")));
}

#[test]
fn what_once_failed_is_refused() {
    limited(read_what_once_failed);
}

fn read_the_damaged_inputs(reader: &Reader) {
    let (count, from) = (number_in("HOSTILE_INPUTS", SHARE), number_in("HOSTILE_FROM", 0));
    let seed = number_in("HOSTILE_SEED", 1);
    let now = Arc::new(AtomicU64::new(from));
    watch(&now);
    // The reader of Parquet files may panic on damage inside; that is caught, and not worth a line each.
    std::panic::set_hook(Box::new(|_| ()));
    let mut counts: BTreeMap<(&str, Outcome), u64> = BTreeMap::new();
    let (mut crashes, mut slowest) = (Vec::new(), (Duration::ZERO, 0));
    let started = Instant::now();
    for number in from..from + count {
        now.store(number, Ordering::Relaxed);
        let began = Instant::now();
        match catch_unwind(AssertUnwindSafe(|| reader.read(seed, number))) {
            Ok(read) => *counts.entry(read).or_default() += 1,
            Err(reason) => {
                let reason = reason.downcast_ref::<String>().cloned().unwrap_or_default();
                crashes.push(format!("input {number} of seed {seed}: {reason:.600}"));
            }
        }
        slowest = slowest.max((began.elapsed(), number));
    }
    for (kind, _) in KINDS {
        let of = |outcome| counts.get(&(kind, outcome)).copied().unwrap_or(0);
        let (read, refused, not_ours) = (of(Outcome::Read), of(Outcome::Refused), of(Outcome::NotOurs));
        println!("{kind}: {} inputs, {read} read, {refused} refused, {not_ours} no JSON", read + refused + not_ours);
        assert!(count < 5_000 || (read > 0 && refused > 0), "{kind}: the damage is too weak or too strong");
    }
    let (time, number) = slowest;
    println!("slowest: {time:?}, input {number}; {count} inputs of seed {seed} in {:?}", started.elapsed());
    for crash in crashes.iter().take(10) {
        println!("{crash}");
    }
    println!("{} crashes", crashes.len());
    assert!(crashes.is_empty(), "{}", crashes[0]);
}

/// Ends the process where an input takes too long.
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

/// A file that reads well, and then claims 2^40 rows, or too few, where its footer counts them.
#[test]
#[cfg(feature = "parquet")]
fn a_file_that_claims_too_many_rows_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("claim.parquet");
    let good = std::fs::read(root().join("tests/golden/panel_text.parquet")).unwrap();
    let footer = damage::footer(&good);
    let mut refused = 0;
    let mut places = Vec::new();
    for claim in [1 << 40, 1 << 33, 1 << 24, 1 << 62, 2] {
        // Four rows are written as an i64 (6) a field on (1), zigzag: of the file, of each chunk and of the row group.
        for place in (footer..good.len() - 9).filter(|&place| good[place..place + 2] == [0x16, 8]) {
            let mut bytes = good.clone();
            bytes.splice(place + 1..=place + 1, damage::varint(claim << 1));
            let (end, length) = (bytes.len() - 8, (bytes.len() - 8 - footer) as u32);
            bytes[end..end + 4].copy_from_slice(&length.to_le_bytes());
            std::fs::write(&path, &bytes).unwrap();
            match feed::values(PanelKind::Prices, &path) {
                Outcome::Refused => {
                    refused += 1;
                    places.push((claim, Panel::from_file(PanelKind::Prices, &path).unwrap_err().to_string()));
                }
                // A chunk's own count of values is not what is gone by.
                outcome => assert_eq!(outcome, Outcome::Read),
            }
        }
    }
    assert!(refused >= 8, "{refused}");
    let told = |claim: u64, text: &str| places.iter().any(|(of, message)| *of == claim && message.contains(text));
    assert!(told(1 << 40, "the file declares 1099511627776 rows; the calendar has"), "{places:?}");
    // Else a small file could count two rows and hold as many as it likes.
    assert!(told(2, "the file declares 2 rows, and 4 of them in a row group"), "{places:?}");
}

/// Inputs that once ended in a panic, a stack that overflowed, a message without a place or one as long as the file.
fn read_what_once_failed(reader: &Reader) {
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
    // A kilobyte that had its reader ask for 8 GiB.
    let input = std::fs::read(root().join("tests/hostile/inputs/children.parquet")).unwrap();
    assert_eq!(reader.take("parquet", &input), Outcome::Refused);
}
