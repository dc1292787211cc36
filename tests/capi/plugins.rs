//! The example plugins in C and C++: built with the plugin header only, run in a whole experiment, and compared with an
//! independent computation in Python; the network among them is trained.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use crate::common::compilers::{COMPILERS, examples};
use crate::common::process::{self, run, stderr};
use crate::common::{folder, golden, prices};

const EXPERIMENT: &str = "[portfolio]\nrebalance = \"monthly\"\n[[models]]\nname = \"momentum\"\n\
                          [[models]]\nname = \"min_variance\"\n";

fn walkforge(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = process::walkforge(arguments);
    command.env("WALKFORGE_PLUGIN_PATH", folder).current_dir(folder);
    command
}

/// The last of four columns of a CSV file by the other three.
fn cells(text: &str, columns: [usize; 4]) -> BTreeMap<[String; 3], f64> {
    let mut out = BTreeMap::new();
    for line in text.lines().skip(1) {
        let cells: Vec<&str> = line.split(',').collect();
        let key = [0, 1, 2].map(|index| cells[columns[index]].to_owned());
        out.insert(key, cells[columns[3]].parse().unwrap());
    }
    out
}

#[test]
fn the_weights_of_the_examples_equal_those_of_python() {
    let golden = cells(&golden("example_plugins.csv"), [0, 1, 2, 3]);
    for compilers in COMPILERS {
        let folder = folder(&format!("capi/plugins-{}", compilers.c));
        examples(compilers, &[], &folder);
        let experiment = format!("[data]\nprices = \"{}\"\n{EXPERIMENT}", prices().display());
        fs::write(folder.join("experiment.toml"), experiment).unwrap();
        run(&mut walkforge(&folder, &["run", "experiment.toml", "--out", "out"]));
        // weights.csv has date, window, model, asset, weight.
        let ours = cells(&fs::read_to_string(folder.join("out/weights.csv")).unwrap(), [0, 2, 3, 4]);
        let mut worst = BTreeMap::from([("momentum", 0.0_f64), ("min_variance", 0.0)]);
        for (key, weight) in &golden {
            let apart = worst.get_mut(key[1].as_str()).unwrap();
            *apart = apart.max((ours[key] - weight).abs());
        }
        println!("{}: {} weights, largest differences {worst:?}", compilers.c, golden.len());
        assert_eq!(golden.len(), 480);
        assert!(worst["momentum"] <= 1e-15 && worst["min_variance"] <= 1e-9, "{worst:?}");
    }
}

const TRAINED: &str = "[windows]\ntrain_months = 24\nvalidation_months = 6\ntest_months = 12\nstep_months = 12\n\
                       [train]\nmax_epochs = 3\n[[models]]\nname = \"mlp\"\n";

#[test]
fn the_network_in_c_is_trained_and_decides_in_every_window() {
    let mut all = Vec::new();
    for compilers in COMPILERS {
        let folder = folder(&format!("capi/network-{}", compilers.c));
        examples(compilers, &[], &folder);
        let experiment = format!("[data]\nprices = \"{}\"\n{TRAINED}", prices().display());
        fs::write(folder.join("experiment.toml"), experiment).unwrap();
        run(&mut walkforge(&folder, &["run", "experiment.toml", "--out", "out"]));
        let weights = cells(&fs::read_to_string(folder.join("out/weights.csv")).unwrap(), [0, 2, 3, 4]);
        let mut sums: BTreeMap<&str, f64> = BTreeMap::new();
        let mut uneven = 0.0_f64;
        for ([date, ..], weight) in weights.iter().filter(|(key, _)| key[1] == "mlp") {
            assert!(weight.is_finite() && *weight >= 0.0, "{date}: {weight}");
            *sums.entry(date).or_default() += weight;
            uneven = uneven.max((weight - 0.05).abs());
        }
        println!("{}: {} decisions, up to {uneven:.3} from equal weights", compilers.c, sums.len());
        assert!(sums.len() > 60 && sums.values().all(|sum| (sum - 1.0).abs() < 1e-9), "{sums:?}");
        assert!(uneven > 1e-3, "{uneven}");
        all.push(weights);
    }
    // The weights do not depend on the compiler.
    let apart = all[0].iter().map(|(key, weight)| (weight - all[1][key]).abs()).fold(0.0, f64::max);
    assert!(apart < 1e-6, "{apart:e}");
}

#[test]
fn the_examples_return_errors_with_messages_of_their_own() {
    let folder = folder("capi/plugins-refuse");
    examples(COMPILERS[0], &[], &folder);
    fs::write(folder.join("flat.csv"), "date,A,B\n2020-01-01,1,1\n2020-01-02,1,1\n2020-01-03,1,1\n").unwrap();
    for (model, set, message) in [
        ("momentum", "model.skip=300", "setting 'skip' must be less than 'lookback'"),
        ("momentum", "model.share=2", "a number from 0 to 1"),
        ("momentum", "model.lookback=4,model.skip=3", "no row is left before the last 'skip' rows"),
        ("min_variance", "model.lookback=3", "no return varies over the lookback"),
        ("min_variance", "model.ridge=0", "a number from 0.000000001 to 1000"),
        ("mlp", "model.dropout=1", "a number from 0 to 0.95"),
    ] {
        let mut command = walkforge(&folder, &["weights", "--model", model, "--data", "flat.csv"]);
        for set in set.split(',') {
            command.args(["--set", set]);
        }
        let output = command.output().unwrap();
        let found = stderr(&output);
        assert_eq!(output.status.code(), Some(2), "{model} {set}: {found}");
        assert!(found.contains(message), "{model} {set}: {found}");
    }
}
