"""The 29-window LSTM study, ours and the same protocol in PyTorch (benches/peers/lstm_study.py), one after the other in one run, on
two cores: PyTorch with two threads, and as two processes of one thread each, which is how a study is spread. Then how our
time grows with assets, windows and threads. Prints tables.

Run from the project's root: python3 benches/lstm_study.py WALKFORGE EPOCHS, where WALKFORGE is the release build of the command, its
plugins lie beside it, and Python has torch, numpy and pandas.
"""

import json
import os
import subprocess
import sys
import tempfile
import time

import numpy as np

WALKFORGE, EPOCHS = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 5
PRICES = "examples/data/sp500_20_prices.csv"


def ours(prices, settings, overrides=()):
    with tempfile.TemporaryDirectory() as folder:
        with open(f"{folder}/study.toml", "w") as out:
            out.write(f'seed = 7\n[data]\nprices = "{os.path.abspath(prices)}"\n[portfolio]\ncost_bps = 10.0\n')
            out.write(f'[[models]]\nname = "lstm"\n[models.settings]\n{settings}\n')
        command = [WALKFORGE, "run", f"{folder}/study.toml", "--out", f"{folder}/out"]
        for entry in overrides:
            command += ["--set", entry]
        started = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True)
        seconds = time.perf_counter() - started
        with open(f"{folder}/out/run.json") as file:
            document = json.load(file)
        sharpes = [window["models"]["lstm"]["test"]["sharpe"] for window in document["windows"]]
        return seconds, len(sharpes), float(np.mean(sharpes))


def theirs(processes, threads):
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}
    started = time.perf_counter()
    running = [
        subprocess.Popen(
            [sys.executable, "benches/peers/lstm_study.py", PRICES, str(EPOCHS), str(part), str(processes)],
            env=environment, stdout=subprocess.PIPE, text=True,
        )
        for part in range(processes)
    ]
    found = [json.loads(process.communicate()[0]) for process in running]
    seconds = time.perf_counter() - started
    windows = sum(part["windows"] for part in found)
    sharpe = sum(part["mean_test_sharpe"] * part["windows"] for part in found) / windows
    return seconds, windows, sharpe, found[0]["torch"]


epochs = f"train.max_epochs={EPOCHS}"
never = f"train.early_stop_epochs={EPOCHS + 1}"
seconds, windows, sharpe = ours(PRICES, "", [epochs, never, "threads=2"])
rows = [("walkforge, 2 threads", seconds, sharpe)]
for processes, threads in [(1, 2), (2, 1)]:
    took, count, found, version = theirs(processes, threads)
    assert count == windows
    rows.append((f"PyTorch {version}, {processes} process(es) of {threads} thread(s)", took, found))
print(f"{windows} windows, {EPOCHS} epochs each\n")
print("| study | seconds | times ours | mean test Sharpe of a window |\n|---|---|---|---|")
for name, took, found in rows:
    print(f"| {name} | {took:.1f} | {took / seconds:.2f} | {found:.2f} |")

print("\n| growth | seconds | windows |\n|---|---|---|")
small = "hidden_size = 32"
rng = np.random.default_rng(1)
with tempfile.TemporaryDirectory() as folder:
    days = np.arange(np.datetime64("2010-01-01"), np.datetime64("2015-01-01"))
    days = days[np.is_busday(days)]
    for assets in [20, 100, 500]:
        file = f"{folder}/{assets}.csv"
        walk = 100 * np.exp(np.cumsum(0.01 * rng.standard_normal((len(days), assets)), 0))
        with open(file, "w") as out:
            out.write("date," + ",".join(f"A{asset:03}" for asset in range(assets)) + "\n")
            for day, line in zip(days, walk):
                out.write(f"{day}," + ",".join(repr(float(price)) for price in line) + "\n")
        took, count, _ = ours(file, "", ["train.max_epochs=2", "threads=1"])
        print(f"| {assets} assets, hidden 128, 2 epochs, 1 thread | {took:.2f} | {count} |")
for step in [12, 1]:
    took, count, _ = ours(PRICES, small, ["train.max_epochs=2", "threads=2", f"windows.step_months={step}"])
    print(f"| step of {step} months, hidden 32, 2 epochs, 2 threads | {took:.2f} | {count} |")
for threads in [1, 2]:
    took, count, _ = ours(PRICES, small, ["train.max_epochs=4", f"threads={threads}"])
    print(f"| {threads} thread(s), hidden 32, 4 epochs | {took:.2f} | {count} |")
