#!/usr/bin/env python3
"""Compares the run directories of two builds: a change that must not affect results must leave them equal.

Usage: python3 tests/compare_runs.py BEFORE AFTER    (folders with run directories, as reference_runs.sh makes them)

A run directory is a folder with a run.json. Both folders must hold the same run directories with the same files:
  weights.csv, returns.csv  equal byte for byte, like files of any other name
  run.json                  equal keys, in any order, and equal values by their exact text. APART and PROSE below list
                            the only values that may differ
  report.html               equal in order: every number in a text or attribute, with its sign and digits, each lone
                            dash (an undefined value), and every drawing (d, points, viewBox, transform) as written.
                            The words of prose may differ, but not the numbers in it. Names of elements and attributes,
                            class, id and the style sheet are not compared

Prints one line per run directory, and for each difference the file, its location, and both values. The exit code is 0 if
all is equal, 1 if anything differs, 2 if the usage is wrong.
"""

import json
import re
import sys
from html.parser import HTMLParser
from pathlib import Path

# Paths in run.json, with `*` for any one key or index. Keys are compared everywhere, also under these paths.
# Values that depend on the machine or the build and are not results: they may differ, but not in type or count.
APART = {
    "machine": "threads and seconds",
    "models.*.sha256": "digest of the plugin file, which differs between builds",
}
# Texts for people: the words may differ, the numbers in them may not.
PROSE = {
    "summary.*.undefined.*": "why a metric has no value",
    "summary.*.overfitting.undefined.*": "why a figure of the overfitting monitor has no value",
    "summary.*.overfitting.reason": "why the verdict is what it is; the verdict itself is compared",
    "windows.*.models.*.train.undefined.*": "why a metric has no value",
    "windows.*.models.*.validation.undefined.*": "why a metric has no value",
    "windows.*.models.*.test.undefined.*": "why a metric has no value",
}

DRAWINGS = ("d", "points", "viewbox", "transform")
# Attributes that only name or style elements.
NAMING = ("class", "id")
NUMBER = re.compile(r"(?:(?<![\w.)])[-−+])?[0-9]+(?:\.[0-9]+)*(?:e[-+]?[0-9]+)?")
UNDEFINED = "–"
# The most differences of a file that are printed; the others are counted.
MOST = 10


class Number(str):
    """A number of run.json, as written."""


def unique(pairs):
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("an object has the same key twice")
    return found


def refuse(text):
    raise ValueError(f"{text} is not JSON")


def read_json(data):
    return json.loads(data, parse_float=Number, parse_int=Number, parse_constant=refuse, object_pairs_hook=unique)


def matches(pattern, path):
    parts = pattern.split(".")
    return len(parts) == len(path) and all(part in ("*", str(name)) for part, name in zip(parts, path))


def written(path):
    return "".join(f"[{name}]" if isinstance(name, int) else f".{name}" for name in path).lstrip(".") or "the whole"


def shortened(value):
    text = value if isinstance(value, Number) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 120 else text[:117] + "..."


class Document:
    """Compares two versions of run.json."""

    def __init__(self):
        self.values, self.differences = 0, []

    def differ(self, path, before, after):
        self.differences.append(f"{written(path)}: before {before}, after {after}")

    def compare(self, one, two, path=(), apart=False):
        apart = apart or any(matches(pattern, path) for pattern in APART)
        if type(one) is not type(two):
            self.differ(path, shortened(one), shortened(two))
        elif isinstance(one, dict):
            for key in [*one, *(key for key in two if key not in one)]:
                if key in one and key in two:
                    self.compare(one[key], two[key], (*path, key), apart)
                else:
                    self.differ((*path, key), *("present" if key in side else "missing" for side in (one, two)))
        elif isinstance(one, list):
            if len(one) != len(two):
                self.differ(path, f"{len(one)} entries", f"{len(two)} entries")
            for index, (left, right) in enumerate(zip(one, two)):
                self.compare(left, right, (*path, index), apart)
        elif not apart:
            self.values += 1
            if one != two and not self.same_prose(one, two, path):
                self.differ(path, shortened(one), shortened(two))

    def same_prose(self, one, two, path):
        prose = type(one) is str and any(matches(pattern, path) for pattern in PROSE)
        return prose and NUMBER.findall(one) == NUMBER.findall(two)


def compare_documents(before, after):
    document = Document()
    document.compare(read_json(before), read_json(after))
    return f"{document.values} values", document.differences


class Figures(HTMLParser):
    """The numbers and drawings of a page, in order, as (kind, text, location)."""

    def __init__(self, text):
        super().__init__()
        self.found, self.inside = [], None
        self.feed(text)
        self.close()

    def add(self, kind, value, location):
        self.found.append((kind, value, f"line {self.getpos()[0]}, {location}"))

    def handle_starttag(self, tag, attributes):
        self.inside = tag
        for name, value in attributes:
            if name in DRAWINGS:
                self.add("drawing", value or "", f"{name} of <{tag}>")
            elif name not in NAMING:
                for number in NUMBER.findall(value or ""):
                    self.add("number", number, f"{name} of <{tag}>")

    def handle_endtag(self, tag):
        self.inside = None

    def handle_data(self, data):
        if self.inside in ("style", "script"):
            return
        location = f"text {shortened(data.strip())}"
        if data.strip() == UNDEFINED:
            self.add("number", UNDEFINED, location)
        for number in NUMBER.findall(data):
            self.add("number", number, location)


def compare_pages(before, after):
    one, two = (Figures(data.decode()).found for data in (before, after))
    differences = []
    for index, (left, right) in enumerate(zip(one, two)):
        if left[:2] != right[:2]:
            (_, was, was_at), (_, now, now_at) = left, right
            start = next((at for at, (a, b) in enumerate(zip(was, now)) if a != b), 0) if len(was) > 60 else 0
            start = max(0, start - 20)
            cut = f" from character {start + 1}" if start else ""
            before_it, after_it = (shortened(text[start : start + 60]) for text in (was, now))
            differences.append(f"figure {index + 1}{cut}: before {before_it} ({was_at}), after {after_it} ({now_at})")
    if len(one) != len(two):
        # After a missing or extra figure all later ones are shifted, so only the first difference is shown.
        differences = [f"before {len(one)} figures, after {len(two)}", *differences[:1]]
    drawings = sum(kind == "drawing" for kind, _, _ in one)
    return f"{len(one) - drawings} numbers, {drawings} drawings", differences


def lines(data):
    return f"{len(data.splitlines())} lines"


def compare_tables(before, after):
    one, two = before.split(b"\n"), after.split(b"\n")
    differences = []
    if before != after:
        names = one[0].decode().split(",")
        for row, (left, right) in enumerate(zip(one, two), 1):
            if left != right:
                was, now = (repr(line.decode(errors="replace")) for line in (left, right))
                cells, others = left.split(b","), right.split(b",")
                at = [name for name, a, b in zip(names, cells, others) if a != b] if len(cells) == len(others) else []
                differences.append(f"line {row}{''.join(f', {name}' for name in at)}: before {was}, after {now}")
        if len(one) != len(two):
            differences = [f"before {lines(before)}, after {lines(after)}", *differences[:1]]
    return lines(before), differences


HOW = {
    "weights.csv": compare_tables,
    "returns.csv": compare_tables,
    "run.json": compare_documents,
    "report.html": compare_pages,
}


def runs(folder):
    return {file.parent.relative_to(folder) for file in folder.rglob("run.json")}


def names(folder):
    return {path.name for path in folder.iterdir() if path.is_file()}


def compare_runs(before, after):
    """Compares two run directories; returns what was compared, and the differences."""
    counted, differences = [], []
    for name in sorted({*HOW, *names(before), *names(after)}):
        missing = [side for side, folder in (("before", before), ("after", after)) if not (folder / name).is_file()]
        if missing:
            differences.append(f"{name}: missing {' and '.join(missing)}")
            continue
        one, two = ((folder / name).read_bytes() for folder in (before, after))
        try:
            count, found = HOW.get(name, compare_tables)(one, two)
        except ValueError as error:
            differences.append(f"{name}: cannot be read: {error}")
            continue
        counted.append(f"{name} {count}")
        differences += [f"{name}: {difference}" for difference in found[:MOST]]
        if len(found) > MOST:
            differences.append(f"{name}: and {len(found) - MOST} more")
    return counted, differences


def main():
    folders = [Path(argument) for argument in sys.argv[1:]]
    if len(folders) != 2 or not all(folder.is_dir() for folder in folders) or folders[0].samefile(folders[1]):
        print("usage: python3 tests/compare_runs.py BEFORE AFTER, two folders with run directories", file=sys.stderr)
        return 2
    before, after = folders
    one, two = runs(before), runs(after)
    if not one and not two:
        print(f"neither {before} nor {after} holds a run directory", file=sys.stderr)
        return 2
    different = 0
    for run in sorted(one | two):
        if run not in one or run not in two:
            counted, differences = [], [f"no such run directory {'before' if run in two else 'after'}"]
        else:
            counted, differences = compare_runs(before / run, after / run)
        different += bool(differences)
        print(f"{'DIFFERS' if differences else 'equal'}  {run}: {'; '.join(counted) or 'nothing compared'}")
        for difference in differences:
            print(f"    {difference}")
    total = len(one | two)
    print(f"{different} of {total} run directories differ" if different else f"all {total} run directories are equal")
    return 1 if different else 0


if __name__ == "__main__":
    sys.exit(main())
