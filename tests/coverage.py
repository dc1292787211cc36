#!/usr/bin/env python3
"""Builds the workspace with coverage counters, runs every test, and prints how many lines of each file were executed.

Usage: python3 tests/coverage.py    (needs LLVM tools that match rustc: rustup component add llvm-tools, or llvm-NN)

Only the workspace's own crates have counters: the script is cargo's compiler wrapper for them.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

FOLDER = Path("target/coverage").absolute()
# Counted apart: pages and the command line are tested by what they print.
APART = ("src/report/", "cli/src/")


def compile_with_counters():
    os.execvp(sys.argv[1], [*sys.argv[1:], "-C", "instrument-coverage"])


def text_of(*command, **more):
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, **more).stdout


def tools():
    """The llvm-profdata and llvm-cov of rustc's LLVM version; others cannot read its counters."""
    version = re.search(r"LLVM version: (\d+)", text_of("rustc", "-vV")).group(1)
    host = re.search(r"host: (\S+)", text_of("rustc", "-vV")).group(1)
    own = Path(text_of("rustc", "--print", "sysroot").strip()) / "lib/rustlib" / host / "bin"
    for name in (str(own / "{}"), "{}-" + version):
        found = [shutil.which(name.format(tool)) for tool in ("llvm-profdata", "llvm-cov")]
        if all(found):
            return found
    sys.exit(f"coverage: needs llvm-profdata and llvm-cov {version}: rustup component add llvm-tools, or the package llvm-{version}")


def main():
    profdata, cov = tools()
    counters = FOLDER / "counters"
    shutil.rmtree(counters, ignore_errors=True)
    environment = dict(
        os.environ,
        CARGO_TARGET_DIR=str(FOLDER),
        RUSTC_WORKSPACE_WRAPPER=str(Path(__file__).absolute()),
        LLVM_PROFILE_FILE=str(counters / "%p-%m.profraw"),
    )
    built = text_of("cargo", "test", "--workspace", "--no-run", "--message-format=json", env=environment)
    objects = set()
    for line in built.splitlines():
        message = json.loads(line)
        if message["reason"] == "compiler-artifact" and message["package_id"].startswith("path+"):
            objects.update(name for name in message["filenames"] if name.endswith(".so"))
            objects.update([message["executable"]] if message["executable"] else [])
    run = subprocess.run(["cargo", "test", "--workspace", "--no-fail-fast", "--quiet"], env=environment)
    merged = FOLDER / "merged.profdata"
    # Tests that kill a process leave truncated files of counters.
    subprocess.run([profdata, "merge", "-sparse", "-failure-mode=all", "-o", merged, *counters.glob("*.profraw")], check=True)
    first, *others = sorted(name for name in objects if "build-script" not in name)
    report = json.loads(
        text_of(cov, "export", "-summary-only", f"-instr-profile={merged}", first, *(f"-object={name}" for name in others))
    )
    here = Path.cwd()
    sums = {}
    for file in report["data"][0]["files"]:
        path = Path(file["filename"])
        name = str(path.relative_to(here)) if path.is_relative_to(here) else None
        if name is None or not re.match(r"(src|bindings/c/src|cli/src)/|plugins/\w+/src/", name):
            continue
        lines = file["summary"]["lines"]
        print(f"{lines['covered'] / max(lines['count'], 1):7.1%} {lines['covered']:6} of {lines['count']:6}  {name}")
        part = "apart" if name.startswith(APART) else "plugins" if name.startswith("plugins/") else "library"
        covered, count = sums.get(part, (0, 0))
        sums[part] = (covered + lines["covered"], count + lines["count"])
    words = {
        "library": "src and bindings/c/src without src/report",
        "apart": "src/report and cli/src",
        "plugins": "plugins",
    }
    for part, (covered, count) in sorted(sums.items()):
        print(f"{covered / count:.1%} of the lines of {words[part]} ({covered} of {count})")
    sys.exit(run.returncode)


if len(sys.argv) > 1 and Path(sys.argv[1]).name.startswith("rustc"):
    compile_with_counters()
main()
