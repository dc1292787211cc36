"""Holds the growth of the process against the memory plan: ten networks, on 1, 2 and 4 threads.

    python3 tests/process_memory.py WALKFORGE

Growth is the largest resident set of a run less that of the same run without the network. One window must stay within its
plan, and a run over several windows within the budget, whatever the threads; 16 MiB are allowed for what is not training
(code, stacks, plugins' own, scores). Prints a line per run; exit code 1 if one is beyond.
"""

import json
import os
import random
import subprocess
import sys
import tempfile

MARGIN = 16 << 20
SHAPES = [
    ("as it comes", 20, {}),
    ("hidden 64", 20, {"hidden_size": 64}),
    ("three layers", 20, {"layers": 3}),
    ("look-back 120", 20, {"lookback": 120}),
    ("100 assets", 100, {}),
    ("sequence", 20, {"output": "sequence"}),
    ("per asset", 10, {"arrangement": "per_asset", "hidden_size": 32}),
    ("attention", 20, {"attention": True}),
    ("half precision", 20, {}),
    ("three seeds", 20, {}),
]


def prices(folder, assets):
    draw, path = random.Random(assets), f"{folder}/prices{assets}.csv"
    if not os.path.exists(path):
        values = [100.0] * assets
        with open(path, "w") as file:
            file.write(",".join(["date", *(f"A{index:03d}" for index in range(assets))]) + "\n")
            for year in range(2010, 2018):
                for month in range(1, 13):
                    for day in range(1, 22):
                        values = [value * (1 + draw.gauss(0, 0.01)) for value in values]
                        file.write(f"{year}-{month:02}-{day:02}," + ",".join(f"{value:.4f}" for value in values) + "\n")
    return path


def run(walkforge, folder, path, model, train, threads, windows):
    """Largest resident set in bytes, and run.json."""
    lines = [f"threads = {threads}", "[data]", f'prices = "{path}"', "[windows]", "step_months = 6", "[portfolio]"]
    if windows == 1:
        lines[lines.index("step_months = 6")] = "step_months = 120"
    lines += ['rebalance = "monthly"', "[train]"] + [f"{key} = {json.dumps(value)}" for key, value in train.items()]
    if model is not None:
        lines += ["[[models]]", 'name = "lstm"', "[models.settings]"]
        lines += [f"{key} = {json.dumps(value)}" for key, value in model.items()]
    with open(f"{folder}/experiment.toml", "w") as file:
        file.write("\n".join(lines) + "\n")
    out = tempfile.mkdtemp(dir=folder)
    arguments = [walkforge, "run", f"{folder}/experiment.toml", "--out", f"{out}/run"]
    child = subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    message = child.stderr.read()
    _, status, usage = os.wait4(child.pid, 0)
    if status:
        sys.exit(message.decode())
    with open(f"{out}/run/run.json") as file:
        return usage.ru_maxrss * 1024, json.load(file)


def main():
    walkforge, beyond = os.path.abspath(sys.argv[1]), 0
    with tempfile.TemporaryDirectory() as folder:
        for name, assets, model in SHAPES:
            path = prices(folder, assets)
            train = {"max_epochs": 1}
            if name == "half precision":
                train["precision"] = "fp16"
            if name == "three seeds":
                train["seeds"] = 3
            plan = None
            for threads in (1, 2, 4):
                without = [run(walkforge, folder, path, None, {}, threads, windows)[0] for windows in (1, 8)]
                one, document = run(walkforge, folder, path, model, train, threads, 1)
                plan = document["windows"][0]["models"]["lstm"]["training"]["planned_bytes"]
                # Two units and a half fit, so that four threads wait.
                budget = plan * 5 // 2
                many, _ = run(walkforge, folder, path, model, {**train, "memory_budget": f"{budget}B"}, threads, 8)
                one, many = one - without[0], many - without[1]
                # Seeds of one window train side by side as far as the default budget goes.
                allowed = plan * min(threads, train.get("seeds", 1))
                good = plan * 0.6 <= one <= allowed + MARGIN and many <= budget + MARGIN
                beyond += not good
                sizes = [f"{size / 2**20:6.1f}" for size in (one, plan, many, budget)]
                print(
                    f"{name:16} {threads} threads: one window {sizes[0]} of {sizes[1]} MiB planned, "
                    f"many {sizes[2]} of {sizes[3]} MiB allowed{'' if good else '  BEYOND'}",
                    flush=True,
                )
    print(f"{3 * len(SHAPES)} comparisons, {beyond} beyond")
    sys.exit(1 if beyond else 0)


if __name__ == "__main__":
    main()
