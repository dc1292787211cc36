//! Every public struct has in C and in C++ the layout that it has in Rust. The structs and fields are taken from the
//! headers, so one that the table below lacks fails the test.

use std::collections::BTreeMap;
use std::mem::{align_of, offset_of, size_of};
use std::path::{Path, PathBuf};
use std::process::Command;

use walkforge_plugin_abi::{
    wf_cancel_service, wf_feature, wf_host, wf_log_service, wf_network_shape, wf_past, wf_plugin_api,
    wf_program_service, wf_requirements, wf_settings_service, wf_statistics_service, wf_string,
};

use crate::{wf_audit, wf_panel_arrays, wf_path, wf_progress, wf_runtime_options, wf_window};

/// Size of a field's type, found without a value.
const fn width<S, F>(_: fn(&S) -> &F) -> usize {
    size_of::<F>()
}

/// For each struct its size and alignment, for each field its offset and size.
macro_rules! layouts {
    ($($name:ident { $($field:ident),* $(,)? })*) => {{
        let mut out = BTreeMap::new();
        $(
            out.insert(stringify!($name).to_owned(), (size_of::<$name>(), align_of::<$name>()));
            $(out.insert(
                concat!(stringify!($name), ".", stringify!($field)).to_owned(),
                (offset_of!($name, $field), width(|whole: &$name| &whole.$field)),
            );)*
        )*
        out
    }};
}

fn ours() -> BTreeMap<String, (usize, usize)> {
    layouts! {
        wf_panel_arrays {
            struct_size, kind, rows, assets, dates, names, values, row_stride, asset_stride, members, stale_rows
        }
        wf_audit { struct_size, dates, compared, moved, date, row, window, model, changed_after, change, difference }
        wf_progress {
            struct_size, done, windows, finished, training, window, model, epoch, max_epochs, loss, validation_sharpe,
            learning_rate, seconds_left, micro_batch, stack, recompute, planned_bytes, measured_bytes
        }
        wf_path { struct_size, capacity, rows, gross, cost, net, turnover }
        wf_runtime_options {
            struct_size, threads, plugin_path, log, log_data, parallel_for, parallel_data, plugin_sha256
        }
        wf_window {
            struct_size, index, train_start, train_end, validation_start, validation_end, test_start, test_end
        }
        wf_string { data, length }
        wf_past { struct_size, rows, assets, dates, names, returns, members, context, feature_count, features, constant_within }
        wf_feature { name, values }
        wf_requirements { struct_size, lookback, min_history, universe, common_rows }
        wf_network_shape { struct_size, assets, feature_count, features }
        wf_program_service {
            struct_size, trailing, mask, computed, parameter, linear, lstm, layer_norm, attention, dropout, op, shape,
            output_scores, output_weights
        }
        wf_host { struct_size, abi_major, abi_minor, error_new, get_service }
        wf_settings_service { struct_size, get_integer, get_real, get_boolean, get_text }
        wf_log_service { struct_size, write }
        wf_cancel_service { struct_size, requested }
        wf_statistics_service { struct_size, covariance, correlation, repair, distances }
        wf_plugin_api {
            struct_size, abi_major, abi_minor, describe, create, destroy, requirements, fit, weights, scores, build, compute
        }
    }
}

/// What a command prints; it must succeed.
fn printed(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| {
        panic!("{command:?} cannot be started: {error}; `make tools` installs what the tests need")
    });
    assert!(output.status.success(), "{command:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn every_struct_has_the_same_layout_in_c_and_cpp_as_in_rust() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let headers: Vec<PathBuf> =
        ["walkforge.h", "walkforge_plugin.h"].map(|name| root.join("include").join(name)).into();
    let folder = tempfile::tempdir().unwrap();
    let mut script = Command::new("python3");
    let program = printed(script.arg("-B").arg(root.join("tests/capi/layout.py")).args(&headers));
    let ours = ours();
    for (compiler, standard, ending) in [
        ("gcc", "-std=c11", "c"),
        ("clang", "-std=c11", "c"),
        ("g++", "-std=c++17", "cpp"),
        ("clang++", "-std=c++17", "cpp"),
    ] {
        let (source, out) = (folder.path().join(format!("layout.{ending}")), folder.path().join(compiler));
        std::fs::write(&source, &program).unwrap();
        let mut command = Command::new(compiler);
        command.args([standard, "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-I"]).arg(root.join("include"));
        // C++ defines offsetof for standard-layout types only, which these structs are.
        printed(command.arg(&source).arg("-o").arg(&out));
        let table = printed(&mut Command::new(&out));
        let theirs: BTreeMap<String, (usize, usize)> = table
            .lines()
            .map(|line| {
                let cells: Vec<&str> = line.split(' ').collect();
                (cells[0].to_owned(), (cells[1].parse().unwrap(), cells[2].parse().unwrap()))
            })
            .collect();
        for (what, layout) in &theirs {
            assert_eq!(ours.get(what), Some(layout), "{what} with {compiler}; the table of this test may lack it");
        }
        assert_eq!(ours.len(), theirs.len(), "the table of this test has entries that the headers lack");
    }
    let structs = ours.keys().filter(|what| !what.contains('.')).count();
    println!("{structs} structs, {} fields, in C and C++ of two compilers", ours.len() - structs);
}
