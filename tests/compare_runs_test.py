#!/usr/bin/env python3
"""Tests of compare_runs.py: two equal folders of small runs, then one of them with one thing changed.

Usage: python3 tests/compare_runs_test.py
"""

import json
import math
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

SCRIPT = Path(__file__).with_name("compare_runs.py")
WEIGHT = 0.1

DOCUMENT = {
    "schema": 1,
    "walkforge": "0.1.0",
    "data": {"sha256": "d" * 64, "kind": "prices"},
    "settings": {"portfolio": {"rebalance": "monthly", "cost_bps": 10.0}},
    "models": [
        {"name": "equal_weight", "version": "0.1.0", "sha256": None},
        {"name": "lstm", "version": "0.1.0", "sha256": "a" * 64},
    ],
    "summary": {
        "lstm": {
            "sharpe": 0.7001,
            "information_ratio": None,
            "undefined": {"information_ratio": "the denominator is zero"},
            "overfitting": {
                "verdict": "some_overfitting",
                "reason": "over 29 windows the gap of 0.39 is clear",
                "undefined": {"kept": "the train score is not above 0"},
            },
        }
    },
    "windows": [
        {
            "models": {
                "lstm": {
                    "train": {"undefined": {"sharpe": "there are no returns"}},
                    "validation": {"undefined": {"sharpe": "there are no returns"}},
                    "test": {"undefined": {"sharpe": "there are no returns"}},
                    "training": {"ended": "early_stop", "epochs": {"loss": [0.5, 0.25]}},
                }
            }
        }
    ],
    "machine": {"threads": 2, "seconds": 1.5, "training_seconds": {"lstm": [0.5, 0.75]}},
}

REPORT = """<!doctype html>
<html><head><title>Report 7</title><style>.s1{width:5px}</style></head><body class="c1">
<p class="lead">Out of sample 2020-01-02, <b>lstm</b> made 1 into −2.50.</p>
<svg viewBox="0 0 100 30"><rect x="3" y="0" width="7" height="30"/><path class="line s1" d="M0 5l10 -3"/></svg>
<svg viewBox="0 0 100 30"><polyline points="1,2 3,4"/></svg><span class="y" style="top:12.5%">20 %</span>
<table><tr><th title="2020-01-02 to 2020-12-31">2020</th><td>1.25</td>
<td><span title="too few">–</span></td></tr></table>
</body></html>
"""


def make(folder):
    for run in ("now", "demo/costs"):
        (folder / run).mkdir(parents=True)
        (folder / run / "weights.csv").write_text(f"date,window,model,asset,weight\n2020-01-31,0,lstm,A,{WEIGHT!r}\n")
        (folder / run / "returns.csv").write_text("date,window,model,net\n2020-02-03,0,lstm,-0.25\n")
        (folder / run / "run.json").write_text(json.dumps(DOCUMENT))
        (folder / run / "report.html").write_text(REPORT)


class Comparison(unittest.TestCase):
    def setUp(self):
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        self.before, self.after = Path(scratch.name) / "before", Path(scratch.name) / "after"
        make(self.before)
        make(self.after)

    def run_script(self, *arguments):
        return subprocess.run([sys.executable, SCRIPT, *arguments], capture_output=True, text=True)

    def passes(self):
        done = self.run_script(self.before, self.after)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        return done.stdout

    def fails(self, *expected):
        """Checks that one run differs and that the output contains these texts."""
        done = self.run_script(self.before, self.after)
        self.assertEqual(done.returncode, 1, done.stdout + done.stderr)
        self.assertEqual(done.stdout.count("DIFFERS"), 1, done.stdout)
        for text in expected:
            self.assertIn(text, done.stdout)

    def change(self, name, old, new, run="now"):
        file = self.after / run / name
        text = file.read_text()
        self.assertEqual(text.count(old), 1, f"{old} in {name}")
        file.write_text(text.replace(old, new))

    def change_document(self, change):
        file = self.after / "now/run.json"
        document = json.loads(file.read_text())
        change(document)
        file.write_text(json.dumps(document))

    def test_equal_runs_pass_and_are_counted(self):
        output = self.passes()
        self.assertIn("equal  demo/costs: report.html 21 numbers, 4 drawings; returns.csv 2 lines; run.json 22 ", output)
        self.assertIn("equal  now: ", output)

    def test_a_weight_one_ulp_apart(self):
        next_one = repr(math.nextafter(WEIGHT, 1.0))
        self.change("weights.csv", repr(WEIGHT), next_one)
        self.fails("weights.csv: line 2, weight: before ", "lstm,A,0.1'", f"lstm,A,{next_one}'")

    def test_a_return_and_the_end_of_a_line(self):
        self.change("returns.csv", "-0.25", "-0.250")
        self.fails("returns.csv: line 2, net: ")
        self.change("returns.csv", "-0.250\n", "-0.25")
        self.fails("returns.csv: ")

    def test_an_extra_row(self):
        with (self.after / "now/weights.csv").open("a") as file:
            file.write("2020-02-28,0,lstm,A,0.1\n")
        self.fails("weights.csv: before 2 lines, after 3 lines")

    def test_a_renamed_key(self):
        self.change_document(lambda of: of["data"].update(type=of["data"].pop("kind")))
        self.fails("data.kind: before present, after missing", "data.type: before missing, after present")

    def test_renamed_keys_where_values_are_apart(self):
        def rename(of):
            of["machine"]["cores"] = of["machine"].pop("threads")
            of["models"][1]["digest"] = of["models"][1].pop("sha256")
            undefined = of["summary"]["lstm"]["undefined"]
            undefined["appraisal_ratio"] = undefined.pop("information_ratio")

        self.change_document(rename)
        self.fails("machine.cores: ", "models[1].digest: ", "summary.lstm.undefined.appraisal_ratio: ")

    def test_keys_in_another_order(self):
        self.change_document(lambda of: of.update(schema=of.pop("schema")))
        self.assertNotEqual((self.before / "now/run.json").read_text(), (self.after / "now/run.json").read_text())
        self.passes()

    def test_the_name_of_a_choice(self):
        self.change("run.json", '"early_stop"', '"stopped_early"')
        self.fails('windows[0].models.lstm.training.ended: before "early_stop", after "stopped_early"')
        self.change("run.json", '"stopped_early"', '"early_stop"')
        self.change("run.json", '"some_overfitting"', '"overfit"')
        self.fails("summary.lstm.overfitting.verdict: ")

    def test_numbers_of_the_document(self):
        for old, new, path in [
            ("0.7001", repr(math.nextafter(0.7001, 1.0)), "summary.lstm.sharpe: before 0.7001, after 0.7001"),
            ('"schema": 1', '"schema": 1.0', "schema: before 1, after 1.0"),
            ('"schema": 1', '"schema": "1"', 'schema: before 1, after "1"'),
            ("0.25]", "0.25, 0.125]", "loss: before 2 entries, after 3 entries"),
            ('"information_ratio": null', '"information_ratio": 0', "summary.lstm.information_ratio: before null"),
        ]:
            self.change("run.json", old, new)
            self.fails(f"run.json: {'windows[0].models.lstm.training.epochs.' if path[:4] == 'loss' else ''}{path}")
            self.change("run.json", new, old)

    def test_versions_and_the_digest_of_the_data(self):
        self.change_document(lambda of: (of.update(walkforge="0.2.0"), of["data"].update(sha256="e" * 64)))
        self.fails("walkforge: ", "data.sha256: ")

    def test_the_same_key_twice(self):
        self.change("run.json", '"schema": 1', '"schema": 2, "schema": 1')
        self.fails("run.json: cannot be read")

    def test_the_words_of_prose_may_differ(self):
        def reword(of):
            of["summary"]["lstm"]["undefined"]["information_ratio"] = "it divides by nothing"
            of["summary"]["lstm"]["overfitting"]["reason"] = "a gap, of 29 windows, of 0.39"
            of["summary"]["lstm"]["overfitting"]["undefined"]["kept"] = "train: 0 or less"
            for span in ("train", "validation", "test"):
                of["windows"][0]["models"]["lstm"][span]["undefined"]["sharpe"] = "no return"

        self.change_document(reword)
        self.passes()

    def test_the_numbers_in_prose_may_not_differ(self):
        self.change("run.json", "gap of 0.39", "gap of 0.38")
        self.fails("summary.lstm.overfitting.reason: ")

    def test_machine_and_digests_of_plugins_may_differ(self):
        def elsewhere(of):
            of["machine"] = {"threads": 64, "seconds": 0.1, "training_seconds": {"lstm": [0.0, 9.5]}}
            of["models"][1]["sha256"] = "b" * 64

        self.change_document(elsewhere)
        self.passes()

    def test_a_plugin_that_is_no_longer_a_file(self):
        self.change_document(lambda of: of["models"][1].update(sha256=None))
        self.fails("models[1].sha256: ")

    def test_drawings_and_numbers_of_the_report(self):
        for old, new, expected in [
            ("l10 -3", "l10 -4", 'before "M0 5l10 -3" (line 4, d of <path>), after "M0 5l10 -4" (line 4, d of <path>)'),
            ("3,4", "3,5", "points of <polyline>"),
            ('x="3"', 'x="4"', "x of <rect>"),
            ("12.5%", "12.6%", "style of <span>"),
            ("2020-12-31", "2020-12-30", "title of <th>"),
            ("−2.50", "2.50", 'before "−2.50" (line 3, text '),
            ("1.25", "1.26", 'before "1.25" (line 6, text "1.25"), after "1.26" (line 6, text "1.26")'),
            (">–<", ">0<", 'before "–" (line 7, '),
            ("<td>1.25</td>", "<td>1.25</td><td>3</td>", "report.html: before 25 figures, after 26"),
        ]:
            self.change("report.html", old, new)
            self.fails(expected)
            self.change("report.html", new, old)

    def test_words_and_style_of_the_report_may_differ(self):
        for old, new in [
            (".s1{width:5px}", ".s1{width:6px}"),
            ('"line s1"', '"line s2"'),
            ("Out of sample", "Unseen"),
            ("too few", "not enough"),
            ("<b>lstm</b>", "<strong>lstm</strong>"),
        ]:
            self.change("report.html", old, new)
        self.passes()

    def test_a_missing_run_directory(self):
        for file in (self.after / "demo/costs").iterdir():
            file.unlink()
        self.fails("DIFFERS  demo/costs: ", "no such run directory after")
        self.before, self.after = self.after, self.before
        self.fails("no such run directory before")

    def test_a_missing_or_extra_file(self):
        (self.after / "now/returns.csv").unlink()
        self.fails("returns.csv: missing after")
        (self.before / "now/returns.csv").unlink()
        self.fails("returns.csv: missing before and after")
        (self.after / "now/turnover.csv").write_text("")
        self.fails("turnover.csv: missing before")

    def test_many_differences_are_counted(self):
        for folder, weight in ((self.before, "1"), (self.after, "2")):
            (folder / "now/weights.csv").write_text("weight\n" + f"{weight}\n" * 30)
        self.fails("weights.csv: line 11, weight: ", "weights.csv: and 20 more")
        self.assertNotIn("line 12", self.run_script(self.before, self.after).stdout)

    def test_wrong_usage(self):
        empty = self.before.parent / "empty"
        empty.mkdir()
        for arguments in [(), (self.before,), (self.before, empty / "none"), (self.before, self.before)]:
            self.assertEqual(self.run_script(*arguments).returncode, 2, arguments)
        other = self.before.parent / "other"
        other.mkdir()
        self.assertEqual(self.run_script(empty, other).returncode, 2)
        self.assertEqual(self.run_script(self.before, empty).returncode, 1)


if __name__ == "__main__":
    unittest.main()
